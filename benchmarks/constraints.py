#!/usr/bin/env python3
"""Mean temperature of each ensemble with each constraint, against the target.

usage: constraints.py [--time 20] [--output FILE]

EMT copper at 300 K, steps of 5 fs, after an equilibration of a fifth of the time. For each
constraint and each ensemble of `ase_pet.md`: degrees of freedom, mean temperature with its standard
error, the deviation from 300 K in standard errors (not in NVE), pressure, and the drift of the
conserved energy. What is refused is quoted. There is no error of a mean that still drifts, or that
has too few independent samples.
"""

import argparse
import tempfile
import time
import warnings
from pathlib import Path

from ase.build import bulk, fcc111
from ase.calculators.emt import EMT
from ase.constraints import (
    FixAtoms,
    FixBondLengths,
    FixCartesian,
    FixCom,
    FixedPlane,
    FixSymmetry,
    Hookean,
)

from ase_pet import md

KELVIN = 300
THERMOSTAT = 30  # fs, of the order of a vibration: chains of few atoms are slow with longer times


def crystal():
    """Periodic copper, 32 atoms."""
    return bulk("Cu", cubic=True).repeat(2)


def slab():
    """Slab of copper, 16 atoms in 4 layers."""
    return fcc111("Cu", (2, 2, 4), vacuum=6)


def distorted():
    """Cell of copper of low symmetry, so that the symmetry leaves some freedom."""
    atoms = bulk("Cu", cubic=True).repeat((2, 1, 1))
    atoms.positions[1] += [0.3, 0.1, 0.05]
    return atoms


CASES = {
    "none": (crystal, lambda atoms: []),
    "FixAtoms, two layers": (slab, lambda atoms: FixAtoms(mask=atoms.get_tags() > 2)),
    "FixAtoms, one atom free": (crystal, lambda atoms: FixAtoms(range(31))),
    "FixAtoms, all": (crystal, lambda atoms: FixAtoms(range(32))),
    "FixCartesian, two half fixed": (
        crystal,
        lambda atoms: FixCartesian([0, 1], [True, False, False]),
    ),
    "FixedPlane, all atoms": (crystal, lambda atoms: FixedPlane(range(32), [0, 0, 1])),
    "FixCom": (crystal, lambda atoms: FixCom()),
    "FixBondLengths, 3 bonds": (crystal, lambda atoms: FixBondLengths([[0, 1], [2, 3], [4, 5]])),
    "FixSymmetry": (distorted, FixSymmetry),
    "Hookean": (crystal, lambda atoms: Hookean(0, 1, 5.0, 2.7)),
    "FixCom + FixAtoms": (crystal, lambda atoms: [FixAtoms([0]), FixCom()]),
}
ENSEMBLES = {
    "nve": {"ensemble": "nve"},
    "langevin": {"ensemble": "nvt", "thermostat": "langevin"},
    "bussi": {"ensemble": "nvt", "thermostat": "bussi"},
    "nose-hoover": {"ensemble": "nvt", "thermostat": "nose-hoover"},
    "npt": {"ensemble": "npt", "barostat": "isotropic"},
}


def line(name, ensemble, picoseconds):
    """Row of the table for a constraint and an ensemble."""
    make, constraints = CASES[name]
    atoms = make()
    atoms.calc = EMT()
    atoms.set_constraint(constraints(atoms))
    begin = f"{name:30s}{ensemble:13s}"
    with tempfile.TemporaryDirectory() as folder:
        try:
            result = md.run(
                atoms,
                Path(folder) / "run",
                temperature=KELVIN,
                equilibrate=picoseconds / 5,
                time=picoseconds,
                timestep=5.0,
                thermostat_time=THERMOSTAT,
                thermo_interval=4,
                interval=10000,
                checkpoint=10000,
                **ENSEMBLES[ensemble],
            )
        except ValueError as error:
            return f"{begin}refused: {error}"
        means = result.summary()
    thermostat = None if ensemble == "nve" else ensemble
    count = md.degrees_of_freedom(atoms, thermostat)
    mean = means["mean_temperature_K"]
    error = means.get("error_temperature_K")
    known = error is not None and ensemble != "nve"
    deviation = f"{(mean - KELVIN) / error:+.1f}" if known else ""
    text = f"{begin}{count:4d}  {mean:6.1f} {with_error(error, 5, 1)} {deviation:>6s}"
    if "mean_pressure_GPa" in means:
        error = means.get("error_pressure_GPa")
        text += f"  {means['mean_pressure_GPa']:6.2f} {with_error(error, 4, 2)}"
    else:
        text += " " * 16
    if "error_drift" in means:
        drift = means["drift_meV_per_atom_per_ps"]
        text += f"  {drift:8.4f} +- {means['error_drift']:.4f}"
    return text


def with_error(error, width, digits):
    """Text of an error bar, or of its absence."""
    return "no error" if error is None else f"+- {error:{width}.{digits}f}"


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--time", type=float, default=20.0, help="ps")
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    # constraints of atoms in a symmetric crystal warn on their own
    warnings.simplefilter("ignore")
    begin = time.time()
    heading = f"{'constraint':30s}{'ensemble':13s} dof  mean T (K), errors from 300 K"
    rows = [f"{heading}  pressure (GPa)  drift (meV/atom/ps)"]
    print(rows[0])
    for name in CASES:
        for ensemble in ENSEMBLES:
            rows.append(line(name, ensemble, args.time).rstrip())
            print(rows[-1], flush=True)
    rows.append(f"{args.time:g} ps each, {time.time() - begin:.0f} s together")
    print(rows[-1])
    if args.output is not None:
        args.output.write_text("\n".join(rows) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
