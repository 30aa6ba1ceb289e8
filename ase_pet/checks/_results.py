"""What checks return: measured numbers, limits, results."""

import math
from dataclasses import dataclass, field


class NotApplicable(Exception):
    """A law that says nothing about this calculator or structure; the text is the reason."""


@dataclass(frozen=True)
class Limit:
    """Values that pass: from `low` to `float64` or `float32`, by the dtype of the calculator; None.

    No limit.
    """

    unit: str
    float64: float | None = None
    float32: float | None = None
    low: float = 0.0

    def high(self, dtype):
        """Largest value that passes for a dtype, None where every value does."""
        return getattr(self, dtype)


@dataclass(frozen=True)
class Plot:
    """Curves that show where a number comes from: {name: (x, y)} and what the axes are."""

    x: str
    y: str
    curves: dict


@dataclass(frozen=True)
class Measured:
    """A value of one quantity, in the unit of its Limit. A value that is not finite fails."""

    quantity: str
    value: float
    note: str = ""
    plot: Plot | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Result:
    """One quantity of one check on the structure where it is worst.

    status: "pass", "fail", "not applicable" (the note says why) or "info" (a number without a
    limit).
    value: None where nothing was measured: not applicable, or the calculator failed, with its error
    in the note.
    limit: largest value that passes, None for "info"; low: smallest. dtype: precision that the
    limit is for.
    structures: number of structures measured.
    """

    check: str
    quantity: str
    unit: str
    status: str
    value: float | None = None
    limit: float | None = None
    low: float = 0.0
    dtype: str = ""
    structure: str = ""
    structures: int = 0
    note: str = ""
    seconds: float = 0.0
    plot: Plot | None = field(default=None, repr=False, compare=False)

    def as_dict(self):
        """The result for JSON, without its plot; numbers that JSON cannot hold become text."""
        found = {name: value for name, value in vars(self).items() if name != "plot"}
        return {
            name: value if not isinstance(value, float) or math.isfinite(value) else str(value)
            for name, value in found.items()
        }

    @property
    def range(self):
        """Text of the values that pass."""
        if self.limit is None:
            return ""
        return f"{self.low:.3g} to {self.limit:.3g}" if self.low > 0 else f"<= {self.limit:.3g}"


def status(value, limit, dtype):
    """Status of a value: "pass", "fail" or "info".

    What is not finite fails also where there is no limit.
    """
    high = limit.high(dtype)
    if not math.isfinite(value):
        return "fail"
    if high is None:
        return "info"
    return "pass" if limit.low <= value <= high else "fail"


def excess(value, limit, dtype):
    """How bad a value is: larger is worse, so that the worst of several structures can be found."""
    high = limit.high(dtype)
    if not math.isfinite(value):
        return math.inf
    return max(value - high, limit.low - value) if high is not None else value
