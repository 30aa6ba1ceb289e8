#!/usr/bin/env python3
"""Multiple time steps with non-conservative forces: energy conservation and its order.

usage: multiple_time_step.py [CALC] [--time 1] [--temperature 300] [--multiple 4]

Eight atoms of silicon in NVE from one state. The cheap forces are those of the calculator, 3 % too
large, plus 0.05 eV/A^2 times the displacement of each atom rotated by 90 degrees about z: an error
of the size that direct heads have, with a curl. (The shipped calculators have no direct heads, so
that only the correction is measured, not the cost.) For runs with the cheap forces alone, with
multiple time steps, and with velocity Verlet of the same outer step: drift of the energy of the
calculator, its standard error, and rms about the straight line, in meV/atom/ps and meV/atom.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes

from ase_pet import PETCalculator, md

SCALE, CURL = 1.03, 0.05  # eV/A^2
MINIMUM = 0.01  # ps for each fs of the outer step, for a line through ten points


class Direct(Calculator):
    """Energy of a calculator, and forces that deviate from its gradient."""

    implemented_properties = ["energy", "free_energy", "forces"]

    def __init__(self, exact, sites):
        super().__init__()
        self.exact, self.sites = exact, sites

    def calculate(self, atoms=None, properties=("forces",), system_changes=all_changes):
        """ASE's."""
        super().calculate(atoms, properties, system_changes)
        energy, forces = (
            self.exact.get_property(name, self.atoms) for name in ("energy", "forces")
        )
        moved = self.atoms.positions - self.sites
        rotated = np.cross([0, 0, 1], moved - moved.mean(axis=0))
        self.results = {
            "energy": energy,
            "free_energy": energy,
            "forces": SCALE * forces + CURL * rotated,
        }


def crystal():
    """Perfect silicon."""
    return bulk("Si", "diamond", 5.4695, cubic=True)


def start(calc, temperature):
    """Crystal after 0.3 ps of equilibration."""
    atoms = crystal()
    atoms.calc = PETCalculator(calc, dtype="float64")
    with tempfile.TemporaryDirectory() as folder:
        md.run(atoms, folder, time=0.3, temperature=temperature, start_temperature=2 * temperature)
    return atoms


def measure(name, atoms, **values):
    """Print the results of a run from these atoms; returns the rms of its energy."""
    with tempfile.TemporaryDirectory() as folder:
        table = md.run(
            atoms, Path(folder), momenta="keep", thermo_interval=1, max_temperature=1e6, **values
        ).thermo()
    # the first tenth is left out; runs of a few steps have a slope, but no error
    late = slice(len(table["step"]) // 10, None)
    energy = 1000 * table["conserved_eV"][late] / len(atoms)
    drift, error, rms = md.linear_drift(table["time_ps"][late], energy)
    print(
        f"{name:58} drift {drift:10.4f} ± {error:.4f}   rms {rms:.5f}  "
        f" {table['temperature_K'][late].mean():.0f} K",
        flush=True,
    )
    return rms


def main():
    """Run all cases and print the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("calc", nargs="?", default="silicon")
    parser.add_argument("--time", type=float, default=1.0, help="ps")
    parser.add_argument("--temperature", type=float, default=300.0, help="K")
    parser.add_argument("--multiple", type=int, default=4)
    args = parser.parse_args()
    if args.time < MINIMUM * args.multiple:
        parser.error(f"--time is {args.time:g}: expected {MINIMUM * args.multiple:g} ps or more")
    first, several, plain = start(args.calc, args.temperature), [], []

    def fresh(direct=False):
        atoms, exact = first.copy(), PETCalculator(args.calc, dtype="float64")
        atoms.calc = Direct(exact, crystal().positions) if direct else exact
        return atoms

    measure("cheap forces alone, 1 fs", fresh(direct=True), time=args.time, timestep=1.0)
    for inner in (1.0, 0.5):
        outer = args.multiple * inner
        several.append(
            measure(
                f"multiple time steps, {inner:g} fs inside {outer:g} fs",
                fresh(),
                time=args.time,
                timestep=inner,
                multiple=args.multiple,
                fast=fresh(direct=True).calc,
            )
        )
        plain.append(
            measure(f"velocity Verlet, {outer:g} fs", fresh(), time=args.time, timestep=outer)
        )
    print(
        f"halving the steps divides the rms by {several[0] / several[1]:.2f} (multiple),"
        f" {plain[0] / plain[1]:.2f} (Verlet)"
    )


if __name__ == "__main__":
    main()
