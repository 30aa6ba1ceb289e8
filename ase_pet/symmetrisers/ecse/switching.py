"""The switching function of ECSE weights."""

from __future__ import annotations

import torch

# within this of its ends, `smooth_step` differs from 0 and 1 by less than the rounding of float64
SATURATED = 0.02


def smooth_step(t: torch.Tensor) -> torch.Tensor:
    """Switching function, 0 for t <= 0 and 1 for t >= 1, with all derivatives.

        (1 - tanh(1 / (y + 1) + 1 / (y - 1))) / 2,     y = 2 t - 1

    Where tanh is 1 in float64 the argument is held constant, so that no derivative is an infinity
    times zero.

    Parameters
    ----------
    t:
        Argument, of any shape.
    """
    y = 2 * t.clamp(SATURATED, 1 - SATURATED) - 1
    return (1 - torch.tanh(1 / (y + 1) + 1 / (y - 1))) / 2
