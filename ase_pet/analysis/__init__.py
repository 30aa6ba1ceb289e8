"""Analysis of trajectories: structure, motion, vibrations, heat capacity, thermal expansion.

`analyse("run").write("analysis")` makes all analyses that a trajectory allows, of a run of this
package or of any file that ASE reads. The functions can be used one by one: they take what `read`
returns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import deferred

if TYPE_CHECKING:
    from ._results import Analysis
    from .motion import mean_square_displacement, vibrational_density_of_states
    from .run import Results, analyse
    from .structure import radial_distribution
    from .thermodynamics import (
        averages,
        expansion_from_fluctuations,
        heat_capacity,
        thermal_expansion,
    )
    from .trajectory import Trajectory, read

__all__ = [
    "Analysis",
    "Results",
    "Trajectory",
    "analyse",
    "averages",
    "expansion_from_fluctuations",
    "heat_capacity",
    "mean_square_displacement",
    "radial_distribution",
    "read",
    "thermal_expansion",
    "vibrational_density_of_states",
]

# Public names are imported when they are first used: `ase-pet analyse --help` must not wait.
MODULES = {
    "Analysis": "_results",
    "Results": "run",
    "Trajectory": "trajectory",
    "analyse": "run",
    "averages": "thermodynamics",
    "expansion_from_fluctuations": "thermodynamics",
    "heat_capacity": "thermodynamics",
    "mean_square_displacement": "motion",
    "radial_distribution": "structure",
    "read": "trajectory",
    "thermal_expansion": "thermodynamics",
    "vibrational_density_of_states": "motion",
}


def __getattr__(name: str) -> Any:
    return deferred.attribute(__name__, name, MODULES)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
