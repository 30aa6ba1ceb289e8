"""First energy.

A shipped calculator on a crystal, what it gives, and what it says to structures that make no sense.
"""

import argparse
import json
from pathlib import Path

from ase.build import bulk

from ase_pet import InvalidStructure, PETCalculator, shipped

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument(
    "calculator", nargs="?", default="silicon", help="name or folder of a calculator of silicon"
)
parser.add_argument("--output", type=Path, default=Path("demo"), help="folder to write to")
arguments = parser.parse_args()
arguments.output.mkdir(parents=True, exist_ok=True)
print("shipped calculators:", ", ".join(shipped()))

atoms = bulk("Si", cubic=True)
atoms.calc = PETCalculator(arguments.calculator)
atoms.rattle(0.05, seed=0)
result = {
    "energy_eV": atoms.get_potential_energy(),
    "energies_eV": atoms.get_potential_energies().tolist(),
    "forces_eV_per_A": atoms.get_forces().tolist(),
    "stress_eV_per_A3": atoms.get_stress().tolist(),
}
(arguments.output / "first_energy.json").write_text(json.dumps(result, indent=1) + "\n")
print(f"energy          {result['energy_eV']:.4f} eV")
print(f"largest force   {abs(atoms.get_forces()).max():.4f} eV/A")
print(f"pressure        {-atoms.get_stress()[:3].mean():.5f} eV/A^3")

crystals = [bulk("Si", a=a) for a in (5.3, 5.4, 5.5, 5.6)]
for crystal, row in zip(
    crystals, atoms.calc.evaluate(crystals, ("energy",)), strict=True
):  # many in one call
    print(
        f"volume {crystal.get_volume() / 2:7.3f} A^3/atom   energy {row['energy'] / 2:9.4f} eV/atom"
    )

atoms.positions[3] = atoms.positions[2]
try:
    atoms.get_potential_energy()
except InvalidStructure as error:
    print("two atoms in one place:", error)
