"""Energy consistent with the forces.

A potential has no electrons at a temperature, so it equals the energy.
"""

from .energy import GRADIENT, UNIT, compute

__all__ = ["GRADIENT", "UNIT", "compute"]
