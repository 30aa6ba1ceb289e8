"""Phonons of silicon in one call, and again from exact second derivatives.

Same frequencies, no step length to choose.
"""

import argparse
from pathlib import Path

import ase.build
import numpy as np

from ase_pet import PETCalculator, phonons

POINTS = {"Gamma": (0, 0, 0), "X": (0.5, 0, 0.5), "L": (0.5, 0.5, 0.5)}

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument(
    "calculator", nargs="?", default="silicon", help="name or folder of a calculator of silicon"
)
parser.add_argument("--output", type=Path, default=Path("demo"), help="folder to write to")
parser.add_argument(
    "--supercell", type=int, default=4, help="repeats of the primitive cell; even for X and L"
)
parser.add_argument("--mesh", type=int, default=20, help="q-points in each direction")
arguments = parser.parse_args()

atoms = ase.build.bulk("Si", a=5.47)
atoms.calc = PETCalculator(arguments.calculator, dtype="float64")
options = {"supercell": 3 * [arguments.supercell], "mesh": 3 * [arguments.mesh]}

found = phonons.run(atoms, **options)
report = found.as_dict()
print(
    f"{report['imaginary']['modes']} imaginary modes; {report['displaced_supercells']} displaced"
    f" supercells of {report['supercell_atoms']} atoms in {report['seconds']:.1f} s"
)
for when, residuals in found.residuals.items():
    print(
        f"{when:6} the projection: "
        + ", ".join(f"{name} {value:.1e}" for name, value in residuals.items())
    )

exact = phonons.run(found.relaxation.atoms, relaxed=False, method="hessian", **options)
pairs = [road.phonopy.run_qpoints(list(POINTS.values())).frequencies for road in (found, exact)]
for name, *rows in zip(POINTS, *pairs, strict=True):
    print(
        f"{name:5}",
        *(f"{value:6.2f}" for value in rows[0]),
        f"THz; second derivatives: within {np.ptp(rows, 0).max():.0e}",
    )

thermal = found.thermal()
warm = int(np.argmin(np.abs(np.array(thermal["temperature"]) - 300)))
print(
    f"heat capacity at {thermal['temperature'][warm]:.0f} K {thermal['heat_capacity'][warm]:.2f}"
    " J/K/mol of cells"
)
print("written:", *(path.name for path in phonons.write(found, arguments.output)))
