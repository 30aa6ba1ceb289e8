"""A vacancy in silicon: formation energy, and whether the relaxed structure is a minimum.

The second question is answered by the exact Hessian. The shipped calculator of silicon was not
trained on vacancies (see its README): this shows the method, not an accurate number. Takes about
15 seconds on one core.
"""

import argparse
import json
from pathlib import Path

import ase.build
import numpy as np

from ase_pet import PETCalculator, phonons

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("calculator", nargs="?", default="silicon", help="calculator of silicon")
parser.add_argument("--output", type=Path, default=Path("demo"), help="folder to write to")
parser.add_argument("--repeats", type=int, default=2, help="of the cubic cell of 8 atoms")
arguments = parser.parse_args()
arguments.output.mkdir(parents=True, exist_ok=True)

unit = ase.build.bulk("Si", a=5.47, cubic=True)
unit.calc = calculator = PETCalculator(arguments.calculator, dtype="float64")
crystal = phonons.relax(unit).atoms.repeat(arguments.repeats)
crystal.calc = calculator
per_atom = crystal.get_potential_energy() / len(crystal)

defect = crystal.copy()
del defect[0]
defect.calc = calculator
unrelaxed = defect.get_potential_energy() - len(defect) * per_atom
relaxed = phonons.relax(defect, cell=False, fmax=1e-3)  # keeps the symmetry of the site
formation = relaxed.atoms.get_potential_energy() - len(defect) * per_atom
print(f"{len(defect)} atoms, {relaxed.space_group}, {relaxed.steps} steps of relaxation")
print(f"formation energy {unrelaxed:.3f} eV unrelaxed, {formation:.3f} eV relaxed")

# eigenvalues in eV/A^2; three are zero, those of translations
eigenvalues = np.linalg.eigvalsh(calculator.hessian(relaxed.atoms))
negative = int((eigenvalues < -0.01).sum())
kind = f"a saddle point, {negative} negative" if negative else "a minimum"
print(f"lowest eigenvalues of the Hessian {eigenvalues[:4].round(3)} eV/A^2: {kind}")
report = {
    "formation_energy": formation,
    "unrelaxed": unrelaxed,
    "negative_eigenvalues": negative,
    **relaxed.as_dict(),
}
(arguments.output / "vacancy.json").write_text(json.dumps(report, indent=1) + "\n")
