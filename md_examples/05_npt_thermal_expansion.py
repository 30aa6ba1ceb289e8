"""NPT: lattice constant of silicon at several temperatures, and its thermal expansion.

The nuclei are classical. Real silicon expands less at and below room temperature, where quantum
effects freeze its stiff modes. Takes about ten minutes on one core.
"""

import argparse
from pathlib import Path

from ase.build import bulk

from ase_pet import PETCalculator, analysis, md

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("calculator", nargs="?", default="silicon", help="calculator of silicon")
parser.add_argument("--output", type=Path, default=Path("demo"), help="folder to write to")
parser.add_argument("--temperatures", type=float, nargs="+", default=[300, 600, 900], help="K")
parser.add_argument("--time", type=float, default=10.0, help="ps at each temperature")
parser.add_argument("--repeats", type=int, default=2, help="of the cubic cell of 8 atoms")
arguments = parser.parse_args()
calculator = PETCalculator(arguments.calculator)
settings = {"ensemble": "npt", "pressure": 0.0, "time": arguments.time, "timestep": 2.0}
settings |= {"thermostat_time": 50, "barostat_time": 300, "thermo_interval": 5}
folders = []

for kelvin in arguments.temperatures:
    atoms = bulk("Si", cubic=True, a=5.47).repeat(arguments.repeats)
    atoms.calc = calculator
    folder = arguments.output / f"npt_{kelvin:.0f}K"
    settings |= {"temperature": kelvin, "start_temperature": 2 * kelvin}
    # restart: continue if this script was interrupted
    run = md.run(atoms, folder, restart=True, **settings)
    folders.append(folder)
    for quantity, value, unit in md.thermo.described(run.summary()):
        print(f"{kelvin:5.0f} K: {quantity} {value} {unit}")

# a straight line through the volumes, weighted by their standard errors
expansion = analysis.thermal_expansion(folders)
for name, result in expansion.values.items():
    print(f"{name}: {result['value']:.3g} ± {result['error'] or float('nan'):.2g}")
for note in expansion.notes:
    print(note)
expansion.write(arguments.output, "silicon")
