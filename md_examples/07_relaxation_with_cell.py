"""A strained crystal of silicon relaxed within its space group.

Then its elastic constants by two roads.
"""

import argparse
import json
from pathlib import Path

import ase.build
import ase.io
import numpy as np

from ase_pet import PETCalculator, phonons

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument(
    "calculator", nargs="?", default="silicon", help="name or folder of a calculator of silicon"
)
parser.add_argument("--output", type=Path, default=Path("demo"), help="folder to write to")
parser.add_argument("--points", type=int, default=9, help="volumes of the equation of state")
arguments = parser.parse_args()
arguments.output.mkdir(parents=True, exist_ok=True)

atoms = ase.build.bulk("Si", a=5.3)  # 3 % too small
atoms.calc = PETCalculator(arguments.calculator, dtype="float64")
relaxed = phonons.relax(atoms, fmax=1e-4)
print(
    f"{relaxed.space_group}: a = {2**0.5 * relaxed.atoms.cell.lengths()[0]:.4f} A after"
    f" {relaxed.steps} steps, {1000 * relaxed.energy_change:.1f} meV, largest stress"
    f" {relaxed.largest_stress:.0e} GPa"
)
print(
    f"largest force {relaxed.largest_force:.0e} eV/A: zero by symmetry, so this is how far the"
    " model breaks it"
)

elasticity = phonons.elastic(relaxed.atoms)
state = phonons.equation_of_state(relaxed.atoms, points=arguments.points)
c = elasticity.constants
print(
    f"C11 {np.diag(c)[:3].mean():.1f}, C12 {(c[:3, :3].sum() - np.trace(c[:3, :3])) / 6:.1f}, "
    f"C44 {np.diag(c)[3:].mean():.1f} GPa; {'stable' if elasticity.stable else 'UNSTABLE'}"
)
print(
    f"bulk modulus {elasticity.moduli()['bulk_hill']:.1f} GPa, from the equation of state"
    f" {state.bulk_modulus:.1f} GPa"
)

ase.io.write(arguments.output / "relaxed.extxyz", relaxed.atoms)
report = {
    "relaxation": relaxed.as_dict(),
    "elasticity": elasticity.as_dict(),
    "equation_of_state": state.as_dict(),
}
(arguments.output / "elasticity.json").write_text(json.dumps(report, indent=1) + "\n")
