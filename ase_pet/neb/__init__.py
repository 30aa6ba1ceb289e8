"""Minimum-energy paths between two structures by nudged elastic bands, with any ASE calculator.

`run(initial, final)` returns a `Band`: images, barrier, whether it converged. One calculator
evaluates all images, in a batch if it has `evaluate`. `write` writes files.
"""

from .run import INTERPOLATIONS, Band, evaluate, run
from .write import REPORT, plot, write

__all__ = ["INTERPOLATIONS", "REPORT", "Band", "evaluate", "plot", "run", "write"]
