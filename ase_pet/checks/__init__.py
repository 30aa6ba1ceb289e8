"""Checks: one law of physics per file, on any ASE calculator.

Each file has
- a docstring whose first line says the law, and whose last paragraph begins with "Where it fails,
";
- `LEVEL`: "quick", or "full" for what takes minutes;
- `STRUCTURES`: what it runs on: "any", "periodic", "free" (no periodic direction) or "pair" (two
atoms of each pair of
  elements);
- `LIMITS`: {quantity: Limit}, what is measured, its unit and the largest value that passes for each
dtype;
- `measure(subject, atoms)`: yields a Measured for each quantity that it could measure on one
structure, or raises
  NotApplicable with the reason. Atoms come with forces that no symmetry makes zero;
- `broken(calculate)`: a function like `calculate` (Atoms -> {"energy", "forces", "stress"}) that
violates the law, on
  which the check must fail.
Files whose name begins with an underscore are not checks.
"""

from ._report import html, markdown
from ._results import Limit, Measured, NotApplicable, Plot, Result
from ._run import names, run
from ._structures import defaults

__all__ = [
    "Limit",
    "Measured",
    "NotApplicable",
    "Plot",
    "Result",
    "defaults",
    "html",
    "markdown",
    "names",
    "run",
]
