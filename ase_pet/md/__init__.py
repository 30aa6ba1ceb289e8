"""Molecular dynamics with any ASE calculator: NVE, NVT, NPT, multiple time steps, exact restarts.

`run(atoms, folder, ensemble="nvt", temperature=300, time=10)` runs 10 ps at 300 K. `Settings` lists
the other options.
"""

from .integrators import conserved_energy, integrator
from .momenta import degrees_of_freedom, thermalise
from .multiple_time_step import MultipleTimeStep
from .run import Result, UnstableRun, run
from .settings import Settings
from .thermo import linear_drift, plot, read, summary

Exploded = UnstableRun  # name in version 0.1
freedoms = degrees_of_freedom  # name in version 0.1

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
