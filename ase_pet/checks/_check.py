"""The contract of a check: the names that each file of this folder defines, and their types."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any, Protocol, cast

from ase import Atoms

from .. import plugins
from ._results import Limit, Measured
from ._subject import Subject

# {"energy": eV, "forces": (n, 3) eV/A, "stress": (6,) eV/A^3 where the structure has a volume}
Properties = dict[str, Any]
Calculate = Callable[[Atoms], Properties]
HELPS = "What helps: "  # begins the paragraph of a docstring that says what helps


class Check(Protocol):
    """Module of a check.

    Attributes
    ----------
    LEVEL:
        "quick", or "full" for a check that takes minutes.
    STRUCTURES:
        Structures that it runs on: "any", "periodic" (three directions), "free" (no periodic
        direction) or "pair" (two atoms, for each pair of elements).
    LIMITS:
        {quantity: Limit}: what is measured, its unit, and the range of values that pass.
    """

    LEVEL: str
    STRUCTURES: str
    LIMITS: dict[str, Limit]

    def measure(self, subject: Subject, atoms: Atoms) -> Iterator[Measured]:
        """Yield a Measured for each quantity that can be measured on one structure.

        Parameters
        ----------
        subject:
            Calculator to check.
        atoms:
            Structure without a calculator, displaced so that symmetry makes no force zero.

        Raises
        ------
        NotApplicable
            The law does not apply to the calculator or the structure; the text says why.
        """

    def broken(self, calculate: Calculate) -> Calculate:
        """Variant of `calculate` that violates the law, on which the check must fail."""


def remedy(check: Check) -> str:
    """What helps where a check fails, of the paragraph "What helps: " of its docstring, or ""."""
    for paragraph in (inspect.getdoc(check) or "").split("\n\n"):
        if paragraph.startswith(HELPS):
            return " ".join(paragraph.removeprefix(HELPS).split())
    return ""


def names() -> list[str]:
    """Sorted names of all checks."""
    checks: list[str] = plugins.names(__package__)
    return checks


def load(name: str) -> Check:
    """Module of the check `name`; ValueError with the valid names if there is none."""
    return cast(Check, plugins.load(__package__, name))
