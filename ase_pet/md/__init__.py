"""Molecular dynamics with any ASE calculator: NVE, NVT, NPT, multiple time steps, restart to the
last bit.

`run(atoms, folder, ensemble="nvt", temperature=300, time=10)` is the whole of it; `Settings` lists
what else may be said.
"""

from .integrators import conserved_energy, integrator
from .momenta import freedoms, thermalise
from .multiple_time_step import MultipleTimeStep
from .run import Exploded, Result, run
from .settings import Settings
from .thermo import plot, read, summary

__all__ = [
    "Exploded",
    "MultipleTimeStep",
    "Result",
    "Settings",
    "conserved_energy",
    "freedoms",
    "integrator",
    "plot",
    "read",
    "run",
    "summary",
    "thermalise",
]
