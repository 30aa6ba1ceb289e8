"""Molecular dynamics with any ASE calculator: NVE, NVT, NPT, multiple time steps, exact restarts.

`run(atoms, folder, ensemble="nvt", temperature=300, time=10)` runs 10 ps at 300 K. `Settings` lists
the other options.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

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
# {name: (module, name in it)}; no module may have the name of a function, which would hide it.
NAMES = {
    "Exploded": ("loop", "UnstableRun"),  # name in version 0.1
    "MultipleTimeStep": ("multiple_time_step", "MultipleTimeStep"),
    "Result": ("simulation", "Result"),
    "Settings": ("settings", "Settings"),
    "UnstableRun": ("loop", "UnstableRun"),
    "conserved_energy": ("integrators", "conserved_energy"),
    "degrees_of_freedom": ("momenta", "degrees_of_freedom"),
    "freedoms": ("momenta", "degrees_of_freedom"),  # name in version 0.1
    "integrator": ("integrators", "integrator"),
    "linear_drift": ("thermo", "linear_drift"),
    "plot": ("thermo", "plot"),
    "read": ("thermo", "read"),
    "run": ("simulation", "run"),
    "summary": ("thermo", "summary"),
    "thermalise": ("momenta", "thermalise"),
}
# modules that are reached as `md.thermo`, without an import of their own
MODULES = ("folders", "momenta", "outputs", "plots", "report", "state", "thermo")


def __getattr__(name: str) -> Any:
    if name in MODULES:
        return importlib.import_module(f".{name}", __name__)
    if name not in NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = NAMES[name]
    value = getattr(importlib.import_module(f".{module}", __name__), attribute)
    globals()[name] = value  # so that this function is called once for each name
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
