"""ase_pet: trained PET, PONITA and MACE models as ASE calculators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import deferred

if TYPE_CHECKING:
    from .calculator import MLIPCalculator, PETCalculator
    from .graph import InvalidStructure
    from .store import shipped
    from .uncertainty.committee import Committee
    from .uncertainty_policy import TooUncertain

__version__ = "0.2.0"
__all__ = [
    "Committee",
    "InvalidStructure",
    "MLIPCalculator",
    "PETCalculator",
    "TooUncertain",
    "__version__",
    "shipped",
]

# Public names are imported when they are first used: `ase-pet --help` must not wait for torch.
MODULES = {
    "Committee": "uncertainty.committee",
    "InvalidStructure": "graph",
    "MLIPCalculator": "calculator",
    "PETCalculator": "calculator",
    "TooUncertain": "uncertainty_policy",
    "shipped": "store",
}


def __getattr__(name: str) -> Any:
    return deferred.attribute(__name__, name, MODULES)


def __dir__() -> list[str]:
    return sorted({*globals(), *MODULES})
