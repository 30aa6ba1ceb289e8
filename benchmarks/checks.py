#!/usr/bin/env python3
"""Every quick check on Lennard-Jones argon, EMT copper, a random MACE, silicon without and with ECSE, ethanol: one table.

usage: checks.py [--names lj emt mace silicon silicon+ecse ethanol] [--full] [--only CHECKS] [--output FILE.json]
mace needs an environment with mace-torch (see mace_random.py); run it there first, then the others, with one FILE.json.
Each cell is the value and what became of it: pass, FAIL, - (not applicable), nothing (a number without a limit). What is
in FILE.json is not measured again, so that a run may be stopped.
"""

import argparse
import importlib
import json
from pathlib import Path

from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones

from ase_pet import PETCalculator, checks

CALCULATORS = {  # name: calculator, species, temperature in K
    "lj": (lambda: LennardJones(sigma=3.4, epsilon=0.0104, rc=7.5, ro=5.0, smooth=True), ["Ar"], 60.0),
    "emt": (EMT, ["Cu"], 300.0),
    "mace": (lambda: importlib.import_module("mace_random").calculator(), ["Si"], 300.0),
    "silicon": (lambda: PETCalculator("silicon"), None, 300.0),
    "silicon+ecse": (lambda: PETCalculator("silicon", symmetrise="ecse"), None, 300.0),
    "ethanol": (lambda: PETCalculator("ethanol"), None, 300.0),
}


def main():
    """Run what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--names", nargs="+", choices=CALCULATORS, default=list(CALCULATORS))
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--only", nargs="+", default=None)
    parser.add_argument("--output", type=Path, default=Path("runs/checks.json"))
    arguments = parser.parse_args()
    found = json.loads(arguments.output.read_text()) if arguments.output.exists() else {}
    level = "full" if arguments.full else "quick"
    for name in arguments.names:
        make, species, temperature = CALCULATORS[name]
        rows = found.setdefault(name, {})
        missing = [check for check in arguments.only or checks.names(level) if check not in rows]
        calculator = make() if missing else None
        for check in missing:
            results = checks.run(calculator, species=species, level=level, only=[check], temperature=temperature)
            rows[check] = [result.as_dict() for result in results]
            arguments.output.parent.mkdir(parents=True, exist_ok=True)
            arguments.output.write_text(json.dumps(found))
    print(table({name: found[name] for name in arguments.names}))


def table(found):
    """Text: a line for each quantity, a column for each calculator."""
    width = max(len(name) for name in found) + 8
    lines = [" ".join([f"{'check':18s}{'quantity':26s}{'unit':16s}", *(f"{name:>{width}s}" for name in found)])]
    for check in sorted({check for rows in found.values() for check in rows}):
        columns = [{row["quantity"]: row for row in rows.get(check, [])} for rows in found.values()]
        for quantity in next(filter(None, columns)):
            unit = next(column[quantity]["unit"] for column in columns if column)
            cells = [_cell(column.get(quantity)) for column in columns]
            lines.append(" ".join([f"{check:18s}{quantity:26s}{unit:16s}", *(f"{cell:>{width}s}" for cell in cells)]))
    fails = [sum(row["status"] == "fail" for rows in found[name].values() for row in rows) for name in found]
    lines.append(" ".join([f"{'failed':60s}", *(f"{count:>{width}d}" for count in fails)]))
    return "\n".join(lines)


def _cell(row):
    if row is None:
        return ""
    if row["status"] == "not applicable":
        return "-"
    value = "error" if row["value"] is None else f"{float(row['value']):.2g}"
    return value + {"pass": " pass", "fail": " FAIL", "info": "     "}[row["status"]]


if __name__ == "__main__":
    main()
