#!/usr/bin/env python3
"""Test errors of a recipe against the number of training structures, at equal numbers of steps.

usage: learning_curve.py [RECIPE] [--counts 35 69 138] [--steps 6000] [--output runs/learning-curve]

Writes one recipe and one calculator folder for each count (resumable: finished ones are skipped)
and a table.
"""

import argparse
import json
import math
import tomllib
from pathlib import Path

import tomli_w
from rich.console import Console
from rich.table import Table

from ase_pet.train import train


def shortened(recipe, folder, count, steps):
    """The recipe as a dict, with `count` structures, about `steps` steps and absolute paths."""
    content = json.loads(json.dumps(recipe))
    content["data"]["files"] = [str((folder / name).resolve()) for name in content["data"]["files"]]
    content["data"]["limit"] = count
    if "start" in content:
        content["start"] = str((folder / content["start"]).resolve())
    content["optimiser"]["epochs"] = steps // math.ceil(count / content["optimiser"]["batch_size"])
    content["optimiser"]["validate_every"] = 20
    return content


def main():
    """Train the missing models and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "recipe", nargs="?", type=Path, default=Path("benchmarks/data/silicon_first.toml")
    )
    parser.add_argument("--counts", type=int, nargs="+", default=[35, 69, 138])
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--output", type=Path, default=Path("runs/learning-curve"))
    args = parser.parse_args()
    recipe = tomllib.loads(args.recipe.read_text())
    table = Table(
        "structures",
        "energy RMSE (meV/atom)",
        "forces RMSE (meV/A)",
        "stress RMSE (GPa)",
        title=f"test errors after {args.steps} steps",
    )
    args.output.mkdir(parents=True, exist_ok=True)
    for count in args.counts:
        folder, path = args.output / str(count), args.output / f"{count}.toml"
        if not (folder / "metrics.json").exists():
            path.write_text(tomli_w.dumps(shortened(recipe, args.recipe.parent, count, args.steps)))
            train(path, folder, resume=(folder / "state.pt").exists())
        errors = json.loads((folder / "metrics.json").read_text())["test"]
        table.add_row(
            str(count),
            f"{1e3 * errors['energy']['rmse']:.2f}",
            f"{1e3 * errors['forces']['rmse']:.1f}",
            f"{160.21766208 * errors['stress']['rmse']:.3f}",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
