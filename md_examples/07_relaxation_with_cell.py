"""Relaxation of a compressed silicon crystal within its space group, then its elastic constants.

The bulk modulus is computed twice: from stresses and from the equation of state. Takes a few
seconds.
"""

import argparse
import json
from pathlib import Path

import ase.build
import ase.io
import numpy as np

from ase_pet import PETCalculator, phonons

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("calculator", nargs="?", default="silicon", help="calculator of silicon")
parser.add_argument("--output", type=Path, default=Path("demo"), help="folder to write to")
parser.add_argument("--points", type=int, default=9, help="volumes of the equation of state")
arguments = parser.parse_args()
arguments.output.mkdir(parents=True, exist_ok=True)

atoms = ase.build.bulk("Si", a=5.3)  # 3 % too small
atoms.calc = PETCalculator(arguments.calculator, dtype="float64")
relaxed = phonons.relax(atoms, fmax=1e-4)
length = 2**0.5 * relaxed.atoms.cell.lengths()[0]
print(f"{relaxed.space_group}: a = {length:.4f} A after {relaxed.steps} steps")
print(f"energy change {1000 * relaxed.energy_change:.1f} meV", end=", ")
print(f"largest stress {relaxed.largest_stress:.0e} GPa")
# forces are zero by symmetry: this is how far the model breaks it
print(f"symmetry error of the forces {relaxed.largest_force:.0e} eV/A")

elasticity = phonons.elastic(relaxed.atoms)
state = phonons.equation_of_state(relaxed.atoms, points=arguments.points)
normal = elasticity.constants[:3, :3]
c11 = np.diag(normal).mean()
c12 = (normal.sum() - np.trace(normal)) / 6
c44 = np.diag(elasticity.constants)[3:].mean()
stability = "stable" if elasticity.stable else "UNSTABLE"
print(f"C11 {c11:.1f}, C12 {c12:.1f}, C44 {c44:.1f} GPa; {stability}")
print(f"bulk modulus {elasticity.moduli()['bulk_hill']:.1f} GPa from stresses", end=", ")
print(f"{state.bulk_modulus:.1f} GPa from the equation of state")

ase.io.write(arguments.output / "relaxed.extxyz", relaxed.atoms)
report = {
    "relaxation": relaxed.as_dict(),
    "elasticity": elasticity.as_dict(),
    "equation_of_state": state.as_dict(),
}
(arguments.output / "elasticity.json").write_text(json.dumps(report, indent=1) + "\n")
