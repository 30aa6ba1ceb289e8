"""Data that checks return: limits, measured values, results and their plots."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

TAIL_FACTOR = 5.0  # further factor in float64
NOISE_FACTOR = 20.0  # a limit is at least this times the scatter of the calculator
MOST_OF_NOISE = 10.0  # a limit rises with the scatter up to this times the limit of float32

Values = Sequence[float] | np.ndarray  # (m,)


class NotApplicable(Exception):
    """The law does not apply to this calculator or structure; the text is the reason."""


@dataclass(frozen=True)
class Limit:
    """Range of values that pass, for each precision of the calculator.

    Attributes
    ----------
    unit:
        Unit of the values, "" for numbers without one.
    float64:
        Largest value that passes for a calculator in float64; None: every value does.
    float32:
        The same for a calculator in float32.
    low:
        Smallest value that passes.
    most:
        Up to this the largest value rises with the scatter of the calculator; None: ten times that
        of float32.
    """

    unit: str
    float64: float | None = None
    float32: float | None = None
    low: float = 0.0
    most: float | None = None

    def high(self, dtype: str) -> float | None:
        """Largest value that passes for `dtype`, "float64" or "float32"; None: every value does."""
        return {"float64": self.float64, "float32": self.float32}[dtype]


@dataclass(frozen=True)
class Plot:
    """Curves that show how a value was obtained.

    Attributes
    ----------
    x:
        Label of the horizontal axis.
    y:
        Label of the vertical axis.
    curves:
        {label: (x, y)}, each of x and y of shape (m,).
    """

    x: str
    y: str
    curves: Mapping[str, tuple[Values, Values]]


@dataclass(frozen=True)
class Measured:
    """Value of one quantity of a check on one structure.

    Attributes
    ----------
    quantity:
        Name of the quantity, one of the check's LIMITS.
    value:
        Value in the unit of its Limit. A value that is not finite fails.
    note:
        Details for the reader.
    plot:
        Curves that show how the value was obtained.
    noise:
        Part of the value, in its unit, that the scatter of the calculator can cause; see
        `_noise.Noise`. The limit rises with it.
    """

    quantity: str
    value: float
    note: str = ""
    plot: Plot | None = field(default=None, compare=False)
    noise: float = 0.0


@dataclass(frozen=True)
class Result:
    """One quantity of one check, on the structure where it is worst.

    Attributes
    ----------
    check:
        Name of the check.
    quantity:
        Name of the quantity.
    unit:
        Unit of `value`, `limit` and `low`.
    status:
        "pass", "fail", "not applicable" (the note says why) or "info" (no limit).
    value:
        Worst value; None where nothing was measured: the check is not applicable, or the
        calculator raised an error, which is then the note.
    limit:
        Largest value that passes; None for "info". It includes the scatter of the calculator.
    low:
        Smallest value that passes.
    dtype:
        Precision that the limit is for, "float64" or "float32".
    structure:
        Name of the structure where the value is worst.
    structures:
        Number of structures measured.
    note:
        Details of the measurement, or the reason why there is no value.
    seconds:
        Wall time of the check divided by its number of quantities.
    plot:
        Curves that show how the value was obtained.
    remedy:
        What helps, of a failed quantity.
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
    remedy: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Fields of the result without its plot, and its severity, for JSON.

        Infinities and NaN become text.
        """
        fields = {}
        for name, value in {**vars(self), "severity": self.severity}.items():
            if isinstance(value, float) and not math.isfinite(value):
                fields[name] = str(value)
            elif name != "plot":
                fields[name] = value
        return fields

    @property
    def severity(self) -> float | None:
        """Factor by which the value is beyond its limit, above 1 where it fails.

        None without a value or a limit; infinite where a limit of zero is exceeded or the value is
        not finite.
        """
        if self.value is None or self.limit is None:
            return None
        if not math.isfinite(self.value):
            return math.inf
        # Below a range that begins above zero, as the rms ratio of `nve`.
        if self.value < self.low:
            return _ratio(self.low, self.value)
        return _ratio(self.value, self.limit)

    @property
    def range(self) -> str:
        """Text of the range of values that pass, "" without a limit."""
        if self.limit is None:
            return ""
        if self.low > 0:
            return f"{self.low:.3g} to {self.limit:.3g}"
        return f"<= {self.limit:.3g}"


def worst_index(values: np.ndarray) -> int:
    """Index of the largest of values (m,); one that is not a number is larger than all."""
    comparable = np.nan_to_num(values, nan=np.inf)
    return int(comparable.argmax())


def _ratio(value: float, limit: float) -> float:
    """value / limit, infinite for a limit of zero that is exceeded."""
    if limit > 0:
        return value / limit
    return math.inf if value > 0 else 0.0


def allowed(measured: Measured, limit: Limit, dtype: str) -> float | None:
    """Largest value that passes, None without a limit: that of `dtype`, or a multiple of the noise.

    At most `limit.most`: a calculator that scatters more than that fails.

    Parameters
    ----------
    measured:
        Value with its noise.
    limit:
        Values that pass without noise.
    dtype:
        Precision of the calculator, "float64" or "float32".
    """
    high = limit.high(dtype)
    if high is None or limit.float32 is None or not math.isfinite(measured.noise):
        return high
    most = MOST_OF_NOISE * limit.float32 if limit.most is None else limit.most
    factor = NOISE_FACTOR
    # the errors of self-consistent calculators, in float64, have a long tail
    if dtype == "float64":
        factor = TAIL_FACTOR * NOISE_FACTOR
    return max(high, min(factor * measured.noise, most))


def status(value: float, limit: Limit, dtype: str, high: float | None = None) -> str:
    """Status of a value: "pass", "fail" or "info".

    Parameters
    ----------
    value:
        Measured value. One that is not finite fails.
    limit:
        Values that pass.
    dtype:
        Precision of the calculator, "float64" or "float32".
    high:
        Largest value that passes, None for that of the limit.
    """
    if high is None:
        high = limit.high(dtype)
    if not math.isfinite(value):
        return "fail"
    if high is None:
        return "info"
    return "pass" if limit.low <= value <= high else "fail"


def excess(measured: Measured, limit: Limit, dtype: str) -> float:
    """Distance by which a value exceeds its limits: the largest marks the worst structure.

    Parameters
    ----------
    measured:
        Measured value. One that is not finite is the worst.
    limit:
        Values that pass. Without a limit, the largest value is the worst.
    dtype:
        Precision of the calculator, "float64" or "float32".
    """
    high = allowed(measured, limit, dtype)
    if not math.isfinite(measured.value):
        return math.inf
    if high is None:
        return measured.value
    return max(measured.value - high, limit.low - measured.value)
