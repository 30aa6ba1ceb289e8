"""Ethanol, PBE/def2-SVP with PySCF: energies and forces of the structures of ethanol_gfn2.py.

    python benchmarks/data/ethanol_pbe.py GEOMETRIES.extxyz OUT.extxyz [--worker 0/2] [--minutes 60]
        [--level 4] [--in-order]  (pip install pyscf ase)

RKS, density fitting, grid level 4, 1e-9 Hartree, grid response in the gradient: the level of theory
of the revised MD17 set. Restartable: structures in OUT are skipped. Each worker takes every N-th of
the list, which interleaves 950 structures for training, 50 for validation and tests at 500 K (200),
300 K (60) and 800 K (60), so that every prefix of it holds all of them in proportion. 12
CPU-seconds for each. --level 2: 5 CPU-seconds; on four structures forces changed by 0.4 meV/A (mean
of the components, at most 2.3) and energies by 0.04 meV, which is enough to train on, not to test.
--in-order: all structures of GEOMETRIES in the order of the file.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from ase import units
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write
from pyscf import dft, gto, lib

SHARES = {"train": 950, "val": 50, "ethanol_500K": 200, "ethanol_300K": 60, "ethanol_800K": 60}
SEED = 20261120


def label(atoms, level=4):
    """Energy (eV) and forces (eV/A), or None where the density does not converge."""
    molecule = gto.M(
        atom=list(zip(atoms.get_chemical_symbols(), atoms.positions, strict=True)),
        basis="def2-svp",
        verbose=0,
    )
    field = dft.RKS(molecule, xc="pbe").density_fit()
    field.grids.level, field.conv_tol = level, 1e-9
    energy = field.kernel()
    if not field.converged:
        return None
    method = field.nuc_grad_method()
    method.grid_response = True
    return energy * units.Hartree, -method.kernel() * units.Hartree / units.Bohr


def schedule(structures):
    """Structures in the order in which they are labelled."""
    pools = {}
    for atoms in structures:
        kind = atoms.info["config_type"] if atoms.info["split"] == "test" else atoms.info["split"]
        pools.setdefault(kind, []).append(atoms)
    random, queue = np.random.default_rng(SEED), []
    for kind, count in SHARES.items():
        pool = pools.get(kind, [])
        picked = [pool[k] for k in random.permutation(len(pool))[:count]]
        queue += [((k + 0.5) / count, kind, atoms) for k, atoms in enumerate(picked)]
    return [atoms for _, _, atoms in sorted(queue, key=lambda entry: entry[:2])]


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("geometries")
    parser.add_argument("out", type=Path)
    parser.add_argument("--worker", default="0/1")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--level", type=int, default=4, help="of the grid")
    parser.add_argument("--in-order", action="store_true")
    arguments = parser.parse_args()
    worker, workers = map(int, arguments.worker.split("/"))
    lib.num_threads(1)
    done = (
        {atoms.info["config_id"] for atoms in read(arguments.out, ":")}
        if arguments.out.exists()
        else set()
    )
    end = time.time() + 60 * arguments.minutes
    structures = read(arguments.geometries, ":")
    for k, atoms in enumerate(structures if arguments.in_order else schedule(structures)):
        if time.time() > end:
            break
        if k % workers != worker or atoms.info["config_id"] in done:
            continue
        labels = label(atoms, arguments.level)
        if labels is None:
            print("not converged", atoms.info["config_id"], flush=True)
            continue
        labelled = atoms.copy()
        labelled.info.update({"grid_level": arguments.level} if arguments.level != 4 else {})
        labelled.calc = SinglePointCalculator(labelled, energy=labels[0], forces=labels[1])
        write(arguments.out, labelled, format="extxyz", append=True)


if __name__ == "__main__":
    main()
