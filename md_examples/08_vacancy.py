"""A vacancy: energy of formation, and whether the relaxed structure is a minimum, from the exact
Hessian.

The shipped calculator of silicon has never seen a vacancy (its card says so): this shows the way,
not the number.
"""

import argparse
import json
from pathlib import Path

import ase.build
import numpy as np

from ase_pet import PETCalculator, phonons

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument(
    "calculator", nargs="?", default="silicon", help="name or folder of a calculator of silicon"
)
parser.add_argument("--output", type=Path, default=Path("demo"), help="folder to write to")
parser.add_argument("--repeats", type=int, default=2, help="of the cubic cell of 8 atoms")
arguments = parser.parse_args()
arguments.output.mkdir(parents=True, exist_ok=True)

unit = ase.build.bulk("Si", a=5.47, cubic=True)
unit.calc = calculator = PETCalculator(arguments.calculator, dtype="float64")
crystal = phonons.relax(unit).atoms * (arguments.repeats, arguments.repeats, arguments.repeats)
crystal.calc = calculator
per_atom = crystal.get_potential_energy() / len(crystal)

defect = crystal.copy()
del defect[0]
defect.calc = calculator
unrelaxed = defect.get_potential_energy() - len(defect) * per_atom
relaxed = phonons.relax(defect, cell=False, fmax=1e-3)  # keeps the symmetry of the site
formation = relaxed.atoms.get_potential_energy() - len(defect) * per_atom
print(
    f"{len(defect)} atoms, {relaxed.space_group}: formation energy {unrelaxed:.3f} eV at the sites"
    f" of the crystal, {formation:.3f} eV after {relaxed.steps} steps"
)

curvatures = np.linalg.eigvalsh(
    calculator.hessian(relaxed.atoms)
)  # eV/A^2; three are zero: translations
downhill = int((curvatures < -0.01).sum())
print(
    f"lowest curvatures {curvatures[:4].round(3)} eV/A^2:",
    f"{downhill} ways down, so symmetry holds it at a saddle" if downhill else "a minimum",
)
report = {
    "formation_energy": formation,
    "unrelaxed": unrelaxed,
    "downhill": downhill,
} | relaxed.as_dict()
(arguments.output / "vacancy.json").write_text(json.dumps(report, indent=1) + "\n")
