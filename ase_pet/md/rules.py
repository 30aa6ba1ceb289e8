"""Which values each setting of a run accepts."""

from __future__ import annotations

import dataclasses
import math
import numbers
from collections.abc import Callable
from typing import Any

Temperature = float | tuple[float, ...]  # K, constant or the points of a ramp


def _is_real(value: object) -> bool:
    """Whether a value is a finite number; True and False are not."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)


def _is_whole(value: object) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


@dataclasses.dataclass(frozen=True)
class Rule:
    """Which values a setting accepts.

    Attributes
    ----------
    expected:
        Description of the accepted values, for the error message.
    accepts:
        Function of the value, True where it is accepted.
    """

    expected: str
    accepts: Callable[[Any], bool]


def _within(low: float, high: float) -> Callable[[Any], bool]:
    """Function that says whether a value is a number above 0 from low to high."""
    return lambda value: _is_real(value) and value > 0 and low <= value <= high


# of lengths that no run has: what is made of them would overflow
LONGEST = 1e9  # ps
LARGEST = 2**63 - 1  # steps, as programs that read files of the run hold them
POSITIVE = Rule("a number above 0", lambda value: _is_real(value) and value > 0)
TIME = Rule(f"a number above 0, at most {LONGEST:g}, in ps", _within(0, LONGEST))
TIMESTEP = Rule("a number above 0 in fs, from 1e-6 to 1000", _within(1e-6, 1e3))
RELAXATION_TIME = Rule("a number above 0 in fs, from 1e-6 to 1e12", _within(1e-6, 1e12))
COUNT = Rule(
    "a whole number, 1 or more, less than 2^63",
    lambda value: _is_whole(value) and 1 <= value <= LARGEST,
)
SEED = Rule("a whole number, 0 or more", lambda value: _is_whole(value) and value >= 0)
PRESSURE = Rule(
    "a number in GPa, of 1e6 at most", lambda value: _is_real(value) and abs(value) <= 1e6
)
OPTIONAL_TEMPERATURE = Rule(
    "K, 0 or more, or None", lambda value: value is None or (_is_real(value) and value >= 0)
)
LENGTH = Rule(
    f"a length in ps, 0 or more, at most {LONGEST:g}",
    lambda value: _is_real(value) and 0 <= value <= LONGEST,
)
OPTIONAL_POSITIVE = Rule(
    "a number above 0, or None", lambda value: value is None or POSITIVE.accepts(value)
)
OPTIONAL_TIME = Rule(
    f"a number above 0, or None; at most {LONGEST:g}, in ps",
    lambda value: value is None or TIME.accepts(value),
)
TEMPERATURE = Rule(
    "K, above 0, or a ramp such as 300:1200",
    lambda value: all(POSITIVE.accepts(point) for point in temperatures(value)),
)
NVE_TEMPERATURE = Rule(
    "K, 0 or more; ramps need `ensemble` nvt or npt", lambda value: _is_real(value) and value >= 0
)


def parse_temperature(value: Any) -> Any:
    """Temperature in K of a number or its text, points of a ramp of "300:1200:300" or a sequence.

    Other values are returned as they are; `Settings` refuses them.

    Parameters
    ----------
    value:
        Number, text or sequence of numbers.
    """
    if isinstance(value, list | tuple):
        return tuple(value) if len(value) != 1 else value[0]
    if not isinstance(value, str):
        return value
    try:
        return parse_temperature([float(part) for part in value.split(":")])
    except ValueError:
        return value


def temperatures(value: Any) -> tuple[Any, ...]:
    """Points of a temperature, one unless it is a ramp.

    Parameters
    ----------
    value:
        Temperature in K, or points of a ramp.
    """
    return value if isinstance(value, tuple) else (value,)
