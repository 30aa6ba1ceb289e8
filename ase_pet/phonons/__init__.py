"""Phonons, relaxation, elastic constants with any ASE calculator.

`run(atoms, supercell=(2, 2, 2))` relaxes, displaces, projects onto the symmetry of the crystal and
says which modes are imaginary; `relax`, `elastic`, `equation_of_state` and `conductivity` stand on
their own. All of them see `Atoms` with a calculator; one that has `evaluate` (a list of Atoms in
one batch), `displaced_forces` (copies with one atom displaced) or `hessian` is used by these.
"""

from .conductivity import Conductivity, conductivity
from .elasticity import Elasticity, elastic
from .equation_of_state import EquationOfState, equation_of_state
from .force_constants import CHUNK_MOVES, PROJECTIONS, Crystal
from .relaxation import NotRelaxed, Relaxation, relax
from .run import METHODS, run
from .spectrum import IMAGINARY, Spectrum
from .write import plot, write

__all__ = [
    "CHUNK_MOVES",
    "Conductivity",
    "Crystal",
    "Elasticity",
    "EquationOfState",
    "IMAGINARY",
    "METHODS",
    "NotRelaxed",
    "PROJECTIONS",
    "Relaxation",
    "Spectrum",
    "conductivity",
    "elastic",
    "equation_of_state",
    "plot",
    "relax",
    "run",
    "write",
]
