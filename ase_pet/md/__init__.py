"""Molecular dynamics with any ASE calculator: NVE, NVT, NPT, multiple time steps, exact restarts.

`run(atoms, folder, ensemble="nvt", temperature=300, time=10)` runs 10 ps at 300 K. `Settings` lists
the other options.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .. import deferred

if TYPE_CHECKING:
    from .integrators import conserved_energy, integrator
    from .loop import UnstableRun
    from .loop import UnstableRun as Exploded
    from .momenta import degrees_of_freedom, thermalise
    from .momenta import degrees_of_freedom as freedoms
    from .multiple_time_step import MultipleTimeStep
    from .settings import Settings
    from .simulation import Result, run
    from .thermo import linear_drift, plot, read, summary

__all__ = [
    "Exploded",
    "MultipleTimeStep",
    "Result",
    "Settings",
    "UnstableRun",
    "conserved_energy",
    "degrees_of_freedom",
    "freedoms",
    "integrator",
    "linear_drift",
    "plot",
    "read",
    "run",
    "summary",
    "thermalise",
]

# Public names are imported when they are first used: `ase-pet md --help` must not wait for ase.md.
# {name: module}, with the name there if it is another one; no module may have the name of a
# function, which would hide it.
NAMES = {
    "Exploded": "loop:UnstableRun",  # name in version 0.1
    "MultipleTimeStep": "multiple_time_step",
    "Result": "simulation",
    "Settings": "settings",
    "UnstableRun": "loop",
    "conserved_energy": "integrators",
    "degrees_of_freedom": "momenta",
    "freedoms": "momenta:degrees_of_freedom",  # name in version 0.1
    "integrator": "integrators",
    "linear_drift": "thermo",
    "plot": "thermo",
    "read": "thermo",
    "run": "simulation",
    "summary": "thermo",
    "thermalise": "momenta",
}
# modules that are reached as `md.thermo`, without an import of their own
MODULES = ("folders", "momenta", "outputs", "plots", "report", "state", "thermo")


def __getattr__(name: str) -> Any:
    if name in MODULES:
        return importlib.import_module(f".{name}", __name__)
    return deferred.attribute(__name__, name, NAMES)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
