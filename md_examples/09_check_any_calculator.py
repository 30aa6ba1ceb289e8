"""Checks.

The laws of physics on any ASE calculator, here on EMT copper, with a report to look at.
"""

import argparse
from pathlib import Path

from ase.build import bulk
from ase.calculators.emt import EMT

from ase_pet import checks

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--output", type=Path, default=Path("demo"), help="folder to write to")
parser.add_argument(
    "--only", nargs="+", choices=checks.names(), default=checks.names("quick"), help="checks to run"
)
arguments = parser.parse_args()
arguments.output.mkdir(parents=True, exist_ok=True)

calculator = (
    EMT()
)  # your calculator stands here; on the command line: ase-pet check --calculator module:factory
results = checks.run(
    calculator,
    {"copper": bulk("Cu", cubic=True)},
    only=arguments.only,
    temperature=300,
    on_check=lambda name: print("...", name),
)
(arguments.output / "checks_emt.html").write_text(
    checks.html(results, "EMT copper"), encoding="utf-8"
)

print(f"{'check':18} {'quantity':26} {'value':>10} {'limit':>12}  unit")
for result in results:
    value = "" if result.value is None else f"{result.value:.2g}"
    print(
        f"{result.check:18} {result.quantity:26} {value:>10} {result.range:>12}  {result.unit:16}"
        f" {result.status}"
    )
failed = sorted({result.check for result in results if result.status == "fail"})
print(
    "failed:", ", ".join(failed) or "nothing"
)  # EMT: its neighbour list ends with a small jump of the energy
