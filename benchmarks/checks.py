#!/usr/bin/env python3
"""Every check on Lennard-Jones argon, EMT copper, a random MACE, silicon without and with ECSE,
ethanol: one table.

usage: checks.py [--names broken lj emt mace silicon silicon+ecse ethanol] [--full] [--only CHECKS]
       [--output FILE.json] [--take NAME=RESULTS.json]
broken: argon made wrong, for each check in the way that it looks for; each must fail there. mace
needs an environment with mace-torch (see mace_random.py); run it there first, then the others, with
one FILE.json. Each cell is the value and what became of it: pass, FAIL, - (not applicable), nothing
(a number without a limit). What is in FILE.json is not measured again, so that a run may be
stopped; --again measures the calculators of --names anew. So the column of one calculator is
remade, and the whole table printed, by: checks.py --again ethanol --take: the column of NAME anew
from what `ase-pet check CALC --json` printed, with nothing measured. The checks nvt and memory take
long and are run with --full; names whose column is empty in FILE.json are left out.
"""

import argparse
import importlib
import json
from pathlib import Path

from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones

from ase_pet import PETCalculator, checks, plugins


def argon():
    """Lennard-Jones argon with a smooth cutoff."""
    return LennardJones(sigma=3.4, epsilon=0.0104, rc=7.5, ro=5.0, smooth=True)


class Broken(Calculator):
    """Argon made wrong in the way that a check looks for."""

    implemented_properties = ["energy", "forces", "stress"]
    cutoff = 7.5

    def __init__(self, check):
        super().__init__()

        def right(atoms):
            calculator = argon()
            calculator.calculate(atoms, ["energy"])
            return {
                name: calculator.results[name]
                for name in self.implemented_properties
                if name in calculator.results
            }

        self.wrong = plugins.load("ase_pet.checks", check).broken(right)
        if hasattr(self.wrong, "evaluate"):
            self.evaluate = self.wrong.evaluate

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        """What the wrong function gives."""
        super().calculate(atoms, properties, system_changes)
        self.results = dict(self.wrong(self.atoms))


CALCULATORS = {  # name: calculator of a check, species, temperature in K
    "broken": (Broken, ["Ar"], 60.0),
    "lj": (lambda _: argon(), ["Ar"], 60.0),
    "emt": (lambda _: EMT(), ["Cu"], 300.0),
    "mace": (lambda _: importlib.import_module("mace_random").calculator(), ["Si"], 300.0),
    "silicon": (lambda _: PETCalculator("silicon"), None, 300.0),
    "silicon+ecse": (lambda _: PETCalculator("silicon", symmetrise="ecse"), None, 300.0),
    "ethanol": (lambda _: PETCalculator("ethanol"), None, 300.0),
}


def main():
    """Run what is missing, then print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--names", nargs="+", choices=CALCULATORS, default=list(CALCULATORS))
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--only", nargs="+", default=None)
    parser.add_argument(
        "--again", nargs="+", choices=CALCULATORS, default=[], help="measure these anew"
    )
    parser.add_argument("--take", nargs="+", default=[], metavar="NAME=FILE")
    parser.add_argument("--output", type=Path, default=Path("runs/checks.json"))
    arguments = parser.parse_args()
    found = json.loads(arguments.output.read_text()) if arguments.output.exists() else {}
    found = {name: rows for name, rows in found.items() if name not in arguments.again}
    taken = {
        name: from_command(Path(path))
        for name, path in (pair.split("=") for pair in arguments.take)
    }
    if taken:
        found |= taken
        arguments.output.write_text(json.dumps(found))
    level = "full" if arguments.full else "quick"
    for name in arguments.again or taken or arguments.names:
        make, species, temperature = CALCULATORS[name]
        rows = found.setdefault(name, {})
        for check in (
            check for check in arguments.only or checks.names(level) if check not in rows
        ):
            results = checks.run(
                make(check), species=species, level=level, only=[check], temperature=temperature
            )
            rows[check] = [result.as_dict() for result in results]
            arguments.output.parent.mkdir(parents=True, exist_ok=True)
            arguments.output.write_text(json.dumps(found))
    print(table({name: found[name] for name in CALCULATORS if name in found}))


def from_command(path):
    """{check: rows} of what the command printed."""
    rows = {}
    for row in json.loads(path.read_text())["results"]:
        rows.setdefault(row["check"], []).append(row)
    return rows


def table(found):
    """Text: a line for each quantity, a column for each calculator.

    Limits are those of float64 / float32.
    """
    width = max(len(name) for name in found) + 1
    head = f"{'check':18s}{'quantity':30s}{'unit':16s}{'limits 64 / 32':>18s}"
    lines = [" ".join([head, *(f"{name:>{width}s}" for name in found)])]
    for check in sorted({check for rows in found.values() for check in rows}):
        columns = [{row["quantity"]: row for row in rows.get(check, [])} for rows in found.values()]
        for quantity, limit in plugins.load("ase_pet.checks", check).LIMITS.items():
            head = f"{check:18s}{quantity:30s}{limit.unit:16s}{_limits(limit):>18s}"
            lines.append(
                " ".join(
                    [head, *(f"{_cell(column.get(quantity)):>{width}s}" for column in columns)]
                )
            )
    fails = [
        sum(row["status"] == "fail" for rows in found[name].values() for row in rows)
        for name in found
    ]
    lines.append(
        " ".join([f"{'quantities that failed':82s}", *(f"{count:>{width}d}" for count in fails)])
    )
    return "\n".join(lines)


def _limits(limit):
    if limit.float64 is None:
        return ""
    low = f"{limit.low:.3g} to " if limit.low else ""
    return low + (
        f"{limit.float64:.3g}"
        if limit.float64 == limit.float32
        else f"{limit.float64:.3g} / {limit.float32:.3g}"
    )


def _cell(row):
    if row is None:
        return ""
    if row["status"] == "not applicable":
        return "-"
    value = "error" if row["value"] is None else f"{float(row['value']):.2g}"
    return value + {"pass": " pass", "fail": " FAIL", "info": "     "}[row["status"]]


if __name__ == "__main__":
    main()
