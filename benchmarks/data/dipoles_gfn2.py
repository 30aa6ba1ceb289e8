#!/usr/bin/env python3
"""Energies, forces and dipoles of small molecules by GFN2-xTB, to train a model of dipoles.

usage: dipoles_gfn2.py OUT.extxyz [--seed S] | dipoles_gfn2.py --check

Needs tblite (pip install tblite), in an environment of its own. Molecules of ASE's g2 set: H, C, N,
O, neutral, closed shells, 2 to 9 atoms. For each: RUNS Langevin runs at 300 to 600 K from a random
orientation, SNAPSHOTS of each. A run is in one split only, as neighbouring snapshots are
correlated. The molecules in UNSEEN are written to OUT_unseen.extxyz and are not used in training.
Molecules that are in the files are skipped, so that an interrupted run can be resumed; each
molecule has its own seed.

--check: dipole against the derivative of the energy with respect to a uniform field, d = -dE/dF,
and its direction in molecules where it is known.
"""

import argparse
from pathlib import Path

import numpy as np
from ase import units
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.collections import g2
from ase.io import read, write
from ase.md.langevin import Langevin
from tblite.ase import TBLite
from tblite.interface import Calculator
from tblite.library import ffi

METHOD = "GFN2-xTB"
LEFT_OUT = (
    "O3",
    "CH2_s1A1d",
)  # one determinant does not describe ozone; singlet methylene reacts with anything
UNSEEN = ("CH3OH", "HCOOH", "CH3CN", "CH3CONH2", "H2CCO", "CH2NHCH2")
RUNS = ("train", "train", "train", "train", "val", "test")
SNAPSHOTS = 10
EQUILIBRATION, INTERVAL = 100, 30  # steps of 0.5 fs


def names():
    """Sorted names of the molecules in ASE's g2 set."""
    selected = []
    for name in g2.names:
        atoms = molecule(name)
        closed = atoms.numbers.sum() % 2 == 0 and not atoms.get_initial_magnetic_moments().any()
        if (
            closed
            and 2 <= len(atoms) <= 9
            and set(atoms.symbols) <= set("HCNO")
            and name not in LEFT_OUT
        ):
            selected.append(name)
    return sorted(selected)


def calculator():
    """GFN2-xTB.

    `dipole` in its results is in e A, whatever its documentation says (see --check).
    """
    return TBLite(method=METHOD, accuracy=0.1, verbosity=0)


def snapshots(name, rng, split):
    """Labelled structures of one Langevin run."""
    atoms, temperature, frames = molecule(name), rng.uniform(300, 600), []
    matrix, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    atoms.positions = atoms.positions @ matrix.T
    atoms.calc = calculator()
    atoms.set_momenta(
        rng.normal(size=(len(atoms), 3))
        * np.sqrt(units.kB * temperature * atoms.get_masses())[:, None]
    )
    run = Langevin(
        atoms,
        0.5 * units.fs,
        temperature_K=temperature,
        friction=0.02 / units.fs,
        rng=rng,
        fixcm=False,
    )
    run.run(EQUILIBRATION)
    for _ in range(SNAPSHOTS):
        run.run(INTERVAL)
        results = atoms.calc.results
        copy = type(atoms)(atoms.symbols, atoms.positions - atoms.get_center_of_mass())
        copy.calc = SinglePointCalculator(
            copy,
            energy=results["energy"],
            forces=results["forces"].copy(),
            dipole=results["dipole"].copy(),
        )
        copy.info.update(config_type=name, split=split, temperature=round(temperature))
        frames.append(copy)
    return frames


def generate(out, seed):
    """Append the missing molecules to the files."""
    out = Path(out)
    unseen = out.with_name(f"{out.stem}_unseen{out.suffix}")
    done = {
        atoms.info["config_type"]
        for path in (out, unseen)
        if path.exists()
        for atoms in read(path, ":")
    }
    for number, name in enumerate(names()):
        if name in done:
            continue
        rng = np.random.default_rng([seed, number])
        splits = ("test",) * 3 if name in UNSEEN else RUNS
        frames = [atoms for split in splits for atoms in snapshots(name, rng, split)]
        write(unseen if name in UNSEEN else out, frames, format="extxyz", append=True)
        print(name, len(frames), flush=True)


def energy(atoms, field):
    """Energy in eV in a uniform field (3,) in V/A."""
    xtb = Calculator(METHOD, atoms.numbers, atoms.positions / units.Bohr)
    xtb.set("verbosity", 0)
    xtb.set("accuracy", 1e-3)
    field = np.ascontiguousarray(field * units.Bohr / units.Hartree)
    xtb.add("electric-field", ffi.cast("double*", field.ctypes.data))
    return xtb.singlepoint()["energy"] * units.Hartree


def check(step=1e-3):
    """Print dipoles, their size in Debye and their difference from -dE/dF."""
    for name, direction in (
        ("H2O", "from O to H"),
        ("HF", "from F to H"),
        ("CO", "from O to C"),
        ("NH3", "from N to H"),
    ):
        atoms = molecule(name)
        atoms.rotate(37, (1, 2, 3))
        atoms.calc = TBLite(method=METHOD, accuracy=1e-3, verbosity=0)
        atoms.get_potential_energy()
        dipole = atoms.calc.results["dipole"]
        slope = [
            -(energy(atoms, step * e) - energy(atoms, -step * e)) / (2 * step) for e in np.eye(3)
        ]
        heavy = atoms.symbols == direction.split()[1]
        axis = atoms.positions[~heavy].mean(0) - atoms.positions[heavy].mean(0)
        along = dipole @ axis / np.linalg.norm(axis) / units.Debye
        print(
            f"{name}: dipole {dipole} e A; {along:+.3f} D along the axis {direction}; "
            f"largest difference from -dE/dF {np.abs(dipole - slope).max():.1e} e A"
        )


def main():
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", nargs="?")
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    if args.check:
        check()
    if args.out:
        generate(args.out, args.seed)


if __name__ == "__main__":
    main()
