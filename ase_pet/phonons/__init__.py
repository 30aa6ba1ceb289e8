"""Phonons, relaxation, elastic constants and thermal conductivity with any ASE calculator.

`run(atoms, supercell=(2, 2, 2))` relaxes a crystal, computes its force constants, projects them
onto the symmetry of the crystal and reports imaginary modes. `relax`, `elastic`,
`equation_of_state` and `conductivity` can be used separately. All of them take ASE's `Atoms` with a
calculator. Its methods `evaluate` (a list of Atoms in one batch), `displaced_forces` (copies with
one displaced atom) and `hessian` are used if it has them.
"""

from ..duplicates import merge_duplicates
from ._folder import identity, require_own
from ._paths import band_path, q_points
from ._symmetry import space_group
from ._write_quasi_harmonic import plot_quasi_harmonic, write_quasi_harmonic
from .conductivity import Conductivity, conductivity
from .elasticity import Elasticity, elastic
from .equation_of_state import EquationOfState, equation_of_state
from .force_constants import CHUNK_MOVES, PROJECTIONS, Crystal
from .gruneisen import Gruneisen, gruneisen, plot_gruneisen
from .quasi_harmonic import QuasiHarmonic, quasi_harmonic
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
    "Gruneisen",
    "IMAGINARY",
    "METHODS",
    "NotRelaxed",
    "PROJECTIONS",
    "QuasiHarmonic",
    "Relaxation",
    "Spectrum",
    "band_path",
    "conductivity",
    "elastic",
    "equation_of_state",
    "gruneisen",
    "plot",
    "plot_gruneisen",
    "plot_quasi_harmonic",
    "quasi_harmonic",
    "identity",
    "merge_duplicates",
    "q_points",
    "relax",
    "require_own",
    "run",
    "space_group",
    "write",
    "write_quasi_harmonic",
]
