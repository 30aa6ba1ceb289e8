"""First energy: a shipped calculator on a crystal, its results, and its error for bad input.

Writes first_energy.json. Takes a few seconds.
"""

import argparse
import json
from pathlib import Path

from ase.build import bulk

from ase_pet import InvalidStructure, PETCalculator, shipped

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("calculator", nargs="?", default="silicon", help="calculator of silicon")
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

# `evaluate` computes many structures in one call
crystals = [bulk("Si", a=a) for a in (5.3, 5.4, 5.5, 5.6)]
rows = atoms.calc.evaluate(crystals, ("energy",))
for crystal, row in zip(crystals, rows, strict=True):
    volume = crystal.get_volume() / 2
    print(f"volume {volume:7.3f} A^3/atom   energy {row['energy'] / 2:9.4f} eV/atom")

atoms.positions[3] = atoms.positions[2]
try:
    atoms.get_potential_energy()
except InvalidStructure as error:
    print("two atoms at the same position:", error)
