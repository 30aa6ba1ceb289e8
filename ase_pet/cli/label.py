"""`ase-pet label`: training data from structures, with labels of a calculator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from . import _labelling, options

PARTS = ("train", "val", "test")  # as `split_key` of a recipe expects them
TOTAL = 1e-6  # deviation of the sum of the fractions from 1
OUTPUT = Path("labelled.extxyz")


@options.with_options(options.structure_options(), options.calculator_options())
def command(
    calc: options.Calc = None,
    files: _labelling.Files = None,
    *,
    calculator: options.Factory = None,
    output: Path = OUTPUT,
    workers: options.Workers = 1,
    split: str | None = None,
    seed: int = 0,
    prefix: str = "",
    restart: options.Restart = False,
    json: options.Json = False,
    **chosen: Any,
) -> None:
    """Training data: structures with labels of a calculator, and a split.

    As `ase-pet singlepoint`, by several processes; --split marks each structure as train, val or
    test (`split_key = "split"` in a recipe), at random, the same for the same --seed.

    Parameters
    ----------
    calc:
        Name, calculator folder or checkpoint.
    files:
        Files of structures, each with one or more.
    calculator:
        module:factory of any ASE calculator, instead of CALC.
    output:
        File to write; it must not exist.
    workers:
        Processes that share the work; each computes with one thread, or OMP_NUM_THREADS.
    split:
        Fractions of train, val and test, such as 0.8,0.1,0.1.
    seed:
        Seed of the split.
    prefix:
        Beginning of the names of labels, such as REF_ for REF_energy, REF_forces and REF_stress;
        default: the names of ASE.
    restart:
        Continue an interrupted run, whose file holds the first structures. --resume is an alias.
    json:
        Print JSON for programs.
    chosen:
        --format, and options of the calculator, `options.CALCULATOR`.

    Examples
    --------
    Example: ase-pet label silicon md/trajectory.traj --workers 4 --split 0.8,0.1,0.1
    """
    if prefix and not prefix.isidentifier():
        raise ValueError(f"`--prefix` is {prefix!r}: expected letters, digits and _, such as REF_")
    shares = None if split is None else _fractions(split)
    _labelling.run(
        calc,
        files,
        calculator,
        output,
        restart=restart,
        workers=workers,
        json=json,
        chosen=chosen,
        prefix=prefix,
        marks=None if shares is None else lambda count: _parts(shares, count, seed),
    )


def _fractions(text: str) -> list[float]:
    """Fractions of the three parts."""
    try:
        fractions = [float(part) for part in text.split(",")]
    except ValueError:
        fractions = []
    is_whole = abs(sum(fractions) - 1) < TOTAL
    if len(fractions) != len(PARTS) or not is_whole or min(fractions) < 0:
        raise ValueError(
            f"`--split` is {text!r}: expected fractions of train, val and test that add up to 1,"
            " such as 0.8,0.1,0.1"
        )
    return fractions


def _parts(fractions: list[float], count: int, seed: int) -> list[str]:
    """Part of each of a number of structures, in random order."""
    import numpy as np

    # the ends of the parts are rounded, so that the parts add up
    ends = np.rint(np.cumsum(fractions) * count).astype(int)
    sizes = np.diff(ends, prepend=0)
    parts = np.repeat(PARTS, sizes)
    shuffled: list[str] = np.random.default_rng(seed).permutation(parts).tolist()
    return shuffled
