"""Energies of a batch of structures and their derivatives.

derivatives     forces and virial of the gradient with respect to pair vectors
energies        Evaluation: energies, forces and stress of a batch, each computed once, on demand
heads           other heads of a model, such as the dipole or direct forces
uncertainties   standard deviations and ensembles from the last layer (LLPR)
hessian         second derivatives
virials         virials of single atoms, for stresses of atoms and heat fluxes
local_models    Hessians and displaced forces at less cost where energies depend on an atom's own
                edges only

An `Evaluation` runs the model at most once for its energies and, where derivatives are needed,
differentiates that run. Heads or features that the caller asked for in the constructor come from
the same run (`HeadEvaluation.run`, `UncertaintyEvaluation.run`); those that are asked for later
take a run of their own, whose energies the `Evaluation` keeps.
"""

from .energies import Evaluation, check_volumes
from .hessian import hessian
from .undefined import Undefined

__all__ = ["Evaluation", "Undefined", "check_volumes", "hessian"]
