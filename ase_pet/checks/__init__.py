"""Checks of any ASE calculator against laws of physics, one law per file.

A check is one file of this folder, and its name is the name of the file. Files whose names begin
with an underscore are not checks. A check (the protocol `Check` has the types) consists of

docstring
    The first line is "Title: the law." A paragraph that begins with "What helps: " tells users how
    to repair a failure, and the last one, "Where it fails, ", what it means for them; reports show
    all three.
`LEVEL`
    "quick", or "full" for a check that takes minutes.
`STRUCTURES`
    Structures that it runs on: "any", "periodic", "free" (no periodic direction) or "pair" (two
    atoms, for each pair of elements).
`LIMITS`
    {quantity: Limit}: what is measured, its unit, and the largest value that passes in float64 and
    in float32.
`measure(subject, atoms)`
    Yields a `Measured` for each quantity that it could measure on one structure, or raises
    `NotApplicable` with the reason. `subject` evaluates the calculator. The atoms are displaced, so
    that symmetry makes no force zero.
`broken(calculate)`
    Takes a function Atoms -> {"energy", "forces", "stress"} and returns a similar function that
    violates the law. The tests require that the check fails on it, in every quantity with a limit.
"""

from ._check import Check
from ._describe import describe, sentence
from ._report import html, markdown, severity, versions
from ._results import Limit, Measured, NotApplicable, Plot, Result
from ._run import names, run
from ._structures import defaults

__all__ = [
    "Check",
    "Limit",
    "Measured",
    "NotApplicable",
    "Plot",
    "Result",
    "defaults",
    "describe",
    "html",
    "markdown",
    "names",
    "run",
    "sentence",
    "severity",
    "versions",
]
