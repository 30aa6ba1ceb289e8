"""Energies of a batch of structures and their derivatives.

derivatives     forces and virial of the gradient with respect to pair vectors
energies        Evaluation: energies, forces and stress of a batch, each computed once, on demand
heads           other heads of a model, such as the dipole or direct forces
uncertainties   standard deviations and ensembles from the last layer (LLPR)
hessian         second derivatives
local_models    what is cheaper where an atom's energy depends on its own edges only
"""

from .energies import Evaluation
from .hessian import hessian
from .undefined import Undefined

__all__ = ["Evaluation", "Undefined", "hessian"]
