#!/usr/bin/env python3
"""Table of all checks on argon, copper, a random MACE, silicon (plain and ECSE) and ethanol.

usage: checks.py [--names broken lj emt mace silicon silicon+ecse ethanol] [--full] [--only CHECKS]
       [--output FILE.json] [--take NAME=RESULTS.json]

broken: argon with one defect for each check, which that check must detect. mace: a MACE
with random weights of tests/data, as this package reads it.

Each cell is the value and its status: pass, FAIL, - (not applicable), empty (a number without a
limit). Results in FILE.json are reused, so an interrupted run can be resumed; --again measures the
calculators listed after it anew. --take reads the column of NAME from the output of `ase-pet check
CALC --json` without measuring. The checks nvt and memory take long and need --full. Calculators
without results are omitted.

--seeds N: another table, of hidden defects (defects.py), each by the check that must find it,
and of the quantities in which good calculators fail with N seeds. Its results are kept in FILE.json
too.
"""

import argparse
import importlib
import json
import time
from pathlib import Path

import defects
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones

from ase_pet import PETCalculator, checks, plugins


def argon():
    """Lennard-Jones argon with a smooth cutoff."""
    return LennardJones(sigma=3.4, epsilon=0.0104, rc=7.5, ro=5.0, smooth=True)


class Broken(Calculator):
    """Argon with the defect that a check detects."""

    implemented_properties = ["energy", "free_energy", "energies", "forces", "stress"]
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
        """Results of the defective function."""
        super().calculate(atoms, properties, system_changes)
        self.results = dict(self.wrong(self.atoms))


MACE = Path(__file__).resolve().parents[1] / "tests" / "data" / "oracles" / "mace" / "organic.model"
CALCULATORS = {  # name: calculator of a check, species, temperature in K
    "broken": (Broken, ["Ar"], 60.0),
    "lj": (lambda _: argon(), ["Ar"], 60.0),
    "emt": (lambda _: EMT(), ["Cu"], 300.0),
    "mace": (lambda _: PETCalculator(MACE, dtype="float64"), ["H", "C", "O"], 300.0),
    "silicon": (lambda _: PETCalculator("silicon"), None, 300.0),
    "silicon+ecse": (lambda _: PETCalculator("silicon", symmetrise="ecse"), None, 300.0),
    "ethanol": (lambda _: PETCalculator("ethanol"), None, 300.0),
}


def main():
    """Run the missing checks, then print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--names", nargs="+", choices=CALCULATORS, default=list(CALCULATORS))
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--only", nargs="+", default=None)
    parser.add_argument(
        "--again",
        nargs="+",
        choices=CALCULATORS,
        default=[],
        help="repeat the measurements of these calculators",
    )
    parser.add_argument("--take", nargs="+", default=[], metavar="NAME=FILE")
    parser.add_argument("--output", type=Path, default=Path("runs/checks.json"))
    parser.add_argument("--seeds", type=int, default=0, metavar="N")
    arguments = parser.parse_args()
    if arguments.seeds:
        seeds_table(arguments.output, arguments.seeds)
        return
    reports = json.loads(arguments.output.read_text()) if arguments.output.exists() else {}
    reports = {name: rows for name, rows in reports.items() if name not in arguments.again}
    taken = {
        name: from_command(Path(path))
        for name, path in (pair.split("=") for pair in arguments.take)
    }
    if taken:
        reports |= taken
        arguments.output.write_text(json.dumps(reports))
    level = "full" if arguments.full else "quick"
    for name in arguments.again or taken or arguments.names:
        make, species, temperature = CALCULATORS[name]
        rows = reports.setdefault(name, {})
        for check in (
            check for check in arguments.only or checks.names(level) if check not in rows
        ):
            results = checks.run(
                make(check), species=species, level=level, only=[check], temperature=temperature
            )
            rows[check] = [result.as_dict() for result in results]
            arguments.output.parent.mkdir(parents=True, exist_ok=True)
            arguments.output.write_text(json.dumps(reports))
    print(table({name: reports[name] for name in CALCULATORS if name in reports}))


def gfn2():
    """GFN2-xTB of tblite."""
    return importlib.import_module("tblite.ase").TBLite(method="GFN2-xTB", verbosity=0)


def stillinger_weber():
    """Stillinger-Weber silicon of matscipy."""
    forms = importlib.import_module("matscipy.calculators.manybody.explicit_forms")
    table = importlib.import_module(f"{forms.__name__}.stillinger_weber")
    manybody = importlib.import_module("matscipy.calculators.manybody")
    parameters = table.Stillinger_Weber_PRB_31_5262_Si
    return manybody.Manybody(**forms.StillingerWeber(parameters))


GOOD = {  # name: calculator, species, temperature in K
    "lj": (argon, ["Ar"], 60.0),
    "pair": (defects.Pair, ["Cu"], 300.0),
    "emt": (EMT, ["Cu"], 300.0),
    "sw": (stillinger_weber, ["Si"], 300.0),
    "gfn2": (gfn2, ["H", "C", "O"], 300.0),
}


def seeds_table(output, seeds):
    """Measure what is missing of defects and seeds, and print both tables so far."""
    kept = json.loads(output.read_text()) if output.exists() else {}
    # slow ones last
    names = sorted(defects.DEFECTS, key=lambda name: defects.DEFECTS[name][2] == "full")
    jobs = [("defect", name) for name in names]
    jobs += [(name, seed) for name in GOOD for seed in range(seeds)]
    for kind, item in jobs:
        key = f"{kind}: {item}"
        if key in kept:
            continue
        start = time.perf_counter()
        if kind == "defect":
            make, check, level = defects.DEFECTS[item]
            options = {"only": [check], "level": level, "species": defects.SPECIES}
        else:
            make, species, temperature = GOOD[kind]
            options = {"species": species, "temperature": temperature, "seed": item}
        results = checks.run(make(), **options)
        failed = [
            f"{result.check}, {result.quantity}: {result.value:.2g}"
            for result in results
            if result.status == "fail" and result.value is not None
        ]
        kept[key] = {"failed": failed, "seconds": round(time.perf_counter() - start, 1)}
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(json.dumps(kept, indent=1))
        print(
            f"{key:45s} {kept[key]['seconds']:7.1f} s  {'; '.join(failed) or 'passes'}", flush=True
        )


def from_command(path):
    """{check: rows} of the output of `ase-pet check --json`."""
    rows = {}
    for row in json.loads(path.read_text())["results"]:
        rows.setdefault(row["check"], []).append(row)
    return rows


def table(reports):
    """Table with a line for each quantity and a column for each calculator.

    Limits are those of float64 / float32.
    """
    width = max(len(name) for name in reports) + 1
    head = f"{'check':18s}{'quantity':30s}{'unit':16s}{'limits 64 / 32':>18s}"
    lines = [" ".join([head, *(f"{name:>{width}s}" for name in reports)])]
    for check in sorted({check for rows in reports.values() for check in rows}):
        columns = [
            {row["quantity"]: row for row in rows.get(check, [])} for rows in reports.values()
        ]
        for quantity, limit in plugins.load("ase_pet.checks", check).LIMITS.items():
            head = f"{check:18s}{quantity:30s}{limit.unit:16s}{_limits(limit):>18s}"
            lines.append(
                " ".join(
                    [head, *(f"{_cell(column.get(quantity)):>{width}s}" for column in columns)]
                )
            )
    fails = [
        sum(row["status"] == "fail" for rows in reports[name].values() for row in rows)
        for name in reports
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
