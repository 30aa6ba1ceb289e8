#!/usr/bin/env python3
"""PBE data of diamond silicon with Quantum ESPRESSO, the training data of `calculators/silicon`.

usage: silicon_pbe.py OUT.extxyz --worker 0/2 --minutes 60 [--eos | --big N | --chains N | --close N
| --vacuum]

Needs pw.x (Debian: quantum-espresso, quantum-espresso-data, mpi-default-bin) and matscipy.
Restartable: configurations that are in OUT (by info["config_id"]) are skipped; worker k of N
computes the ids with id % N == k, and the list of configurations depends on the seed in this file
only, so that it can be extended. Merge the files of several workers by config_id. Splits are part
of the data: id % 10 == 7 test, 3 val, else train.
"""

import argparse
import itertools
import os
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.io import read, write
from ase.io.espresso import write_espresso_in
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import thermalize_momenta
from matscipy.calculators.manybody import Manybody
from matscipy.calculators.manybody.explicit_forms import StillingerWeber
from matscipy.calculators.manybody.explicit_forms.stillinger_weber import (
    Stillinger_Weber_PRB_31_5262_Si as SW,
)

PSEUDO_DIR = os.environ.get("ESPRESSO_PSEUDO", "/usr/share/espresso/pseudo")
PSEUDO = "Si.pbe-nl-rrkjus_psl.1.0.0.UPF"
ECUTWFC, ECUTRHO, CONVERGENCE = 30, 130, 1e-9  # Ry
A0 = 5.47  # A
SEED = 20261120
BLOCKS = 40  # of 12 configurations
SIZES = [8, 2, 8, 16, 8, 8, 2, 8, 8, 8, 8, 8]  # atoms, within a block
RATTLED = (0, 3, 4, 9)  # places in a block that are rattled; the others are thermal
EOS = [
    5.15,
    5.22,
    5.29,
    5.35,
    5.40,
    5.43,
    5.45,
    5.47,
    5.49,
    5.52,
    5.57,
    5.63,
    5.70,
    5.78,
    5.88,
]  # A
FIRST_EOS, FIRST_BIG, FIRST_CHAIN, FIRST_CLOSE, FIRST_VACUUM = (
    100000,
    200000,
    300000,
    400000,
    500000,
)  # config_id
CLOSE = (1.35, 1.95)  # A, of a bond pressed together
VACUUM = [None, 1.6, 2.0, 2.3, 2.8]  # A, distances of two atoms of a triplet; None: one atom
BOX = 10.0  # A, edge of the periodic cell around them
PRIMITIVE = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]) / 2  # rows, in lattice constants


def folded_kpoints(cell):
    """The shifted 4x4x4 mesh of the cubic 8-atom cell in a cell of fcc vectors: rows (k, weight).

    cell: rows in lattice constants. A shifted Monkhorst-Pack mesh along primitive fcc vectors is
    not closed under the cubic group: on distorted cells it gives a spurious shear stress of about
    0.15 GPa.
    """
    folded = {}
    for n in itertools.product((-3, -1, 1, 3), repeat=3):
        for g in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)):
            k = cell @ (np.array(n) / 8 + g)
            k, minus = k - np.floor(k + 1e-9), -k - np.floor(-k + 1e-9)
            key = min(tuple(np.round(point * 16).astype(int) % 16) for point in (k, minus))
            folded.setdefault(key, [k, 0])[1] += 1
    return np.array([[*k, weight / 256] for k, weight in folded.values()])


def kpoints(atoms):
    """k-points of a cell, all equivalent to one cubic mesh.

    Energies per atom are then comparable between cells.
    """
    if len(atoms) == 2:
        return folded_kpoints(PRIMITIVE)
    if len(atoms) == 4:
        return folded_kpoints(PRIMITIVE * np.array(CHAINS[atoms.info["chain"]])[:, None])
    return {8: (4, 4, 4), 16: (2, 4, 4), 64: (2, 2, 2)}[len(atoms)]


# Primitive cells doubled along one vector: the smallest cells that hold phonons of an L point,
# which no cubic cell of 8 or 16 atoms does.
CHAINS = [(2, 1, 1), (1, 2, 1), (1, 1, 2)]


def scf(atoms):
    """The structure with energy, forces and stress of pw.x; None where the run did not converge."""
    folder = tempfile.mkdtemp(prefix="qe_", dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
    settings = {
        "control": {
            "calculation": "scf",
            "tprnfor": True,
            "tstress": True,
            "pseudo_dir": PSEUDO_DIR,
            "outdir": folder,
            "disk_io": "none",
        },
        "system": {"ecutwfc": ECUTWFC, "ecutrho": ECUTRHO},
        "electrons": {"conv_thr": CONVERGENCE, "mixing_beta": 0.7, "diagonalization": "david"},
    }
    alone = "unpaired" in atoms.info
    mesh = {"kpts": None} if alone else {"kpts": kpoints(atoms), "koffset": (1, 1, 1)}
    if alone:
        settings["system"] |= {
            "nspin": 2,
            "tot_magnetization": atoms.info["unpaired"],
            "nosym": True,
        }
        settings["electrons"] |= {
            "mixing_beta": 0.3,
            "conv_thr": 1e-6,
        }  # density gradients of empty space are noisy
        atoms.set_initial_magnetic_moments(np.full(len(atoms), 0.5))
    try:
        with open(f"{folder}/pw.in", "w") as file:
            write_espresso_in(
                file, atoms, input_data=settings, pseudopotentials={"Si": PSEUDO}, **mesh
            )
        with open(f"{folder}/pw.out", "w") as file:
            subprocess.run(
                ["nice", "-n", "10", "pw.x", "-in", "pw.in"],
                cwd=folder,
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
        text = Path(f"{folder}/pw.out").read_text()
        if "convergence has been achieved" not in text or "JOB DONE" not in text:
            return None
        result = read(f"{folder}/pw.out", format="espresso-out")
        spent = re.search(r"PWSCF\s+:\s+(?:(\d+)m)?\s*([\d.]+)s CPU", text)
        result.info["cpu_s"] = (
            60 * float(spent.group(1) or 0) + float(spent.group(2)) if spent else -1.0
        )
        return result
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def cell(size):
    """Diamond cell of 2, 8, 16 or 64 atoms at A0."""
    if size == 2:
        return bulk("Si", "diamond", A0)
    return bulk("Si", "diamond", A0, cubic=True).repeat({8: 1, 16: (2, 1, 1), 64: 2}[size])


def strained(atoms, rng, volume, shear):
    """The cell with a random shear and a random change of all lengths.

    Both uniform within the limits.
    """
    strain = rng.uniform(-shear, shear, (3, 3))
    strain = (strain + strain.T) / 2
    strain -= np.eye(3) * np.trace(strain) / 3
    atoms.set_cell(
        atoms.cell.array @ (np.eye(3) * (1 + rng.uniform(-volume, volume)) + strain),
        scale_atoms=True,
    )
    return atoms


def thermal(atoms, temperature, rng, steps=400):
    """A Langevin snapshot of the Stillinger-Weber potential: correlated displacements.

    The label will be PBE.
    """
    atoms.calc = Manybody(**StillingerWeber(SW))
    thermalize_momenta(atoms, temperature_K=2 * temperature, rng=rng)
    Langevin(
        atoms, 1.5 * units.fs, temperature_K=temperature, friction=0.05 / units.fs, rng=rng
    ).run(steps)
    atoms.calc = None
    atoms.set_momenta(np.zeros((len(atoms), 3)))
    return atoms


def configuration(config_id):
    """Structure and type of a config_id."""
    rng = np.random.default_rng([SEED, config_id])
    if config_id >= FIRST_VACUUM:
        return vacuum(VACUUM[config_id - FIRST_VACUUM])
    if config_id >= FIRST_CLOSE:
        return close(rng)
    if config_id >= FIRST_CHAIN:
        return chain(config_id, rng)
    place = config_id % 12
    big = config_id >= FIRST_BIG
    size = 64 if big else SIZES[place]
    atoms, (volume, shear) = cell(size), (0.03, 0.04) if size <= 8 else (0.012, 0.012)
    if size == 2:
        atoms = strained(atoms, rng, 0.05, 0.06)
        amplitude = float(rng.choice([0.0, 0.03, 0.08, 0.15]))
        if amplitude:
            atoms.positions += rng.normal(0, amplitude, (size, 3))
        kind = f"strain+rattle{amplitude}"
    elif place in RATTLED and not big:
        amplitude = float(rng.choice([0.01, 0.03, 0.06, 0.10, 0.16]))
        atoms = strained(atoms, rng, volume, shear)
        atoms.positions += rng.normal(0, amplitude, (size, 3))
        kind = f"strain+rattle{amplitude}"
    else:
        temperature = float(
            [300, 600, 900][config_id % 3] if big else rng.choice([150, 300, 600, 1000, 1500])
        )
        atoms = thermal(strained(atoms, rng, volume * 0.6, shear * 0.6), temperature, rng)
        kind = f"SWMD{int(temperature)}K"
    atoms.wrap()
    return atoms, f"Si{size}_{kind}"


def chain(config_id, rng):
    """Strained, rattled 4-atom cell and its type."""
    which = config_id % len(CHAINS)
    atoms = strained(bulk("Si", "diamond", A0).repeat(CHAINS[which]), rng, 0.03, 0.04)
    amplitude = float(rng.choice([0.01, 0.03, 0.06, 0.10, 0.16]))
    atoms.positions += rng.normal(0, amplitude, (4, 3))
    atoms.info["chain"] = which
    atoms.wrap()
    return atoms, f"Si4_strain+rattle{amplitude}"


def close(rng):
    """A strained, hot 8-atom cell in which one bond is pressed together, and its type."""
    atoms = thermal(strained(cell(8), rng, 0.02, 0.03), float(rng.choice([300, 1000, 1500])), rng)
    bonded = 1 + int(atoms.get_distances(0, range(1, 8), mic=True).argmin())
    vector = atoms.get_distance(0, bonded, mic=True, vector=True)
    length = float(rng.uniform(*CLOSE))
    excess = (1 - length / np.linalg.norm(vector)) * vector / 2
    atoms.positions[[0, bonded]] += [excess, -excess]
    atoms.info["pair"] = [0, bonded]
    return atoms, f"Si8_close{length:.2f}"


def vacuum(distance):
    """One atom, or two at a distance in A along (111), in an empty box.

    With two unpaired electrons; and its type.
    """
    positions = [[0, 0, 0]] if distance is None else [[0, 0, 0], np.full(3, distance / np.sqrt(3))]
    atoms = Atoms(f"Si{len(positions)}", positions=positions, cell=[BOX] * 3, pbc=True)
    atoms.info["unpaired"] = 2
    return atoms, "Si1_vacuum" if distance is None else f"Si2_vacuum{distance}"


def jobs(args, worker, workers):
    """Pairs of config_id and a function that makes its structure and type."""
    if args.eos:
        return [
            (FIRST_EOS + k, lambda a=a: (bulk("Si", "diamond", a, cubic=True), "Si8_eos"))
            for k, a in enumerate(EOS)
        ]
    asked = {
        FIRST_BIG: args.big,
        FIRST_CHAIN: args.chains,
        FIRST_CLOSE: args.close,
        FIRST_VACUUM: len(VACUUM) * args.vacuum,
    }
    ids = [k for first, count in asked.items() for k in range(first, first + count)] or range(
        12 * BLOCKS
    )
    return [(k, lambda k=k: configuration(k)) for k in ids if k % workers == worker]


def split_of(config_id):
    """Split of a config_id; it never changes.

    Undistorted and 64-atom cells, and atoms in vacuum, are for training.
    """
    if FIRST_EOS <= config_id < FIRST_CHAIN or config_id >= FIRST_VACUUM:
        return "train"
    return {7: "test", 3: "val"}.get(config_id % 10, "train")


def main():
    """Compute the missing configurations until the time limit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out")
    parser.add_argument("--worker", default="0/1")
    parser.add_argument("--minutes", type=float, default=25)
    parser.add_argument(
        "--eos", action="store_true", help="undistorted cells of 15 lattice constants"
    )
    parser.add_argument("--big", type=int, default=0, help="this many 64-atom cells")
    parser.add_argument("--chains", type=int, default=0, help="this many 4-atom cells")
    parser.add_argument(
        "--close", type=int, default=0, help="this many 8-atom cells with one short bond"
    )
    parser.add_argument(
        "--vacuum",
        action="store_true",
        help="one atom and pairs in an empty box, to compare energies",
    )
    args = parser.parse_args()
    worker, workers = map(int, args.worker.split("/"))
    done = (
        {int(atoms.info["config_id"]) for atoms in read(args.out, ":")}
        if os.path.exists(args.out)
        else set()
    )
    end = time.time() + 60 * args.minutes
    for config_id, make in jobs(args, worker, workers):
        if time.time() > end:
            break
        if config_id in done:
            continue
        atoms, kind = make()
        result = scf(atoms)
        if result is None:
            print("FAILED", config_id, kind, flush=True)
            continue
        result.info.update(config_id=config_id, config_type=kind, split=split_of(config_id))
        result.info.update({key: atoms.info[key] for key in ("pair",) if key in atoms.info})
        write(args.out, result, format="extxyz", append=True)
        print(
            config_id,
            kind,
            f"{result.get_potential_energy() / len(result):.4f} eV/atom",
            flush=True,
        )


if __name__ == "__main__":
    main()
