"""Phonons of silicon in one call, from displacements and from exact second derivatives.

Both give the same frequencies; second derivatives need no choice of a displacement. Takes about
ten seconds on one core.
"""

import argparse
from pathlib import Path

import ase.build
import numpy as np

from ase_pet import PETCalculator, phonons

POINTS = {"Gamma": (0, 0, 0), "X": (0.5, 0, 0.5), "L": (0.5, 0.5, 0.5)}

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("calculator", nargs="?", default="silicon", help="calculator of silicon")
parser.add_argument("--output", type=Path, default=Path("demo"), help="folder to write to")
parser.add_argument("--supercell", type=int, default=4, help="repeats; even for X and L")
parser.add_argument("--mesh", type=int, default=20, help="q-points in each direction")
arguments = parser.parse_args()

atoms = ase.build.bulk("Si", a=5.47)
atoms.calc = PETCalculator(arguments.calculator, dtype="float64")
options = {"supercell": 3 * [arguments.supercell], "mesh": 3 * [arguments.mesh]}

spectrum = phonons.run(atoms, **options)
report = spectrum.as_dict()
print(report["imaginary"]["modes"], "imaginary modes")
print(
    f"{report['displaced_supercells']} displaced supercells of {report['supercell_atoms']} atoms"
    f" in {report['seconds']:.1f} s"
)
for when, residuals in spectrum.residuals.items():
    texts = [f"{name} {value:.1e}" for name, value in residuals.items()]
    print(f"{when:6} the projection: {', '.join(texts)}")

exact = phonons.run(spectrum.relaxation.atoms, relaxed=False, method="hessian", **options)
points = list(POINTS.values())
by_displacements = spectrum.phonopy.run_qpoints(points).frequencies
by_derivatives = exact.phonopy.run_qpoints(points).frequencies
for name, first, second in zip(POINTS, by_displacements, by_derivatives, strict=True):
    difference = np.abs(first - second).max()
    print(f"{name:5}", *(f"{value:6.2f}" for value in first), f"THz; difference {difference:.0e}")

thermal = spectrum.thermal()
room = int(np.argmin(np.abs(np.array(thermal["temperature"]) - 300)))
print(f"heat capacity at 300 K: {thermal['heat_capacity'][room]:.2f} J/K/mol of primitive cells")
print("written:", *(path.name for path in phonons.write(spectrum, arguments.output)))
