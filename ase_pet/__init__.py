"""ase_pet.

Trained PET models as ASE calculators, with energies, forces and stresses from autograd.
"""

from .calculator import PETCalculator
from .graph import InvalidStructure
from .store import shipped
from .uncertainty_policy import TooUncertain

__version__ = "0.1.0"
__all__ = ["InvalidStructure", "PETCalculator", "TooUncertain", "__version__", "shipped"]
