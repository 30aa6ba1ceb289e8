"""Physical checks of any ASE calculator, here EMT copper, with a report in HTML.

EMT fails one of them: its energy has a small jump at the cutoff. Takes about half a minute.
"""

import argparse
from pathlib import Path

from ase.build import bulk
from ase.calculators.emt import EMT

from ase_pet import checks

quick = checks.names("quick")
parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--output", type=Path, default=Path("demo"), help="folder to write to")
parser.add_argument("--only", nargs="+", choices=checks.names(), default=quick, help="checks")
arguments = parser.parse_args()
arguments.output.mkdir(parents=True, exist_ok=True)

# Replace EMT by your calculator. The same on the command line:
# ase-pet check --calculator module:factory
results = checks.run(
    EMT(),
    {"copper": bulk("Cu", cubic=True)},
    only=arguments.only,
    temperature=300,
    on_check=lambda name: print("...", name),
)
report = checks.html(results, "EMT copper")
(arguments.output / "checks_emt.html").write_text(report, encoding="utf-8")

print(f"{'check':18} {'quantity':26} {'value':>10} {'limit':>12}  unit")
for result in results:
    value = "" if result.value is None else f"{result.value:.2g}"
    quantity = f"{result.check:18} {result.quantity:26}"
    print(f"{quantity} {value:>10} {result.range:>12}  {result.unit:16} {result.status}")
failed = sorted({result.check for result in results if result.status == "fail"})
print("failed:", ", ".join(failed) or "none")
