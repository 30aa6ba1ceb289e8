"""Action when the predicted uncertainty of an atom is high: ignore it, warn, or stop the run."""

from __future__ import annotations

import numbers
import warnings
from typing import Any

import numpy as np

from .choices import shown
from .models.base import AtomisticModel

POLICIES = ("off", "warn", "stop")
PROPERTIES = ("energy_uncertainty", "energies_uncertainty")
THRESHOLD = 0.1  # eV
LARGEST = 1e6  # eV


class TooUncertain(RuntimeError):
    """The energy of an atom is less certain than the calculator was told to accept."""


class UncertaintyPolicy:
    """What happens when the standard deviation of an atom's energy exceeds a threshold.

    Parameters
    ----------
    policy:
        "off", "warn" or "stop".
    threshold:
        Largest accepted standard deviation in eV.

    Attributes
    ----------
    properties:
        Properties that `apply` needs among the results.

    Raises
    ------
    ValueError
        The policy or the threshold is invalid.
    """

    policy: str
    threshold: float
    properties: tuple[str, ...]
    _was_above: bool

    def __init__(self, policy: str, threshold: float) -> None:
        if not isinstance(policy, str) or policy not in POLICIES:
            names = [repr(name) for name in POLICIES]
            choices = ", ".join(names)
            raise ValueError(f"`uncertainty` is {shown(policy)}: valid choices are {choices}")
        # True is a number of Python
        is_flag = isinstance(threshold, bool)
        is_number = isinstance(threshold, numbers.Real) and not is_flag
        if not is_number or not 0 < threshold <= LARGEST:
            raise ValueError(
                f"`uncertainty_threshold` is {shown(threshold)}: expected an energy in eV above 0"
            )
        self.policy = policy
        self.threshold = float(threshold)
        self.properties = () if policy == "off" else PROPERTIES
        self._was_above = False  # whether the last results were above the threshold

    def check_model(self, model: AtomisticModel) -> None:
        """Raise ValueError for a model without uncertainties, unless the policy is "off".

        Parameters
        ----------
        model:
            Model that the policy is for.
        """
        if self.policy != "off" and model.uncertainty is None:
            raise ValueError(
                f"`uncertainty` is {self.policy!r}, but this model has no uncertainties: use 'off',"
                " a checkpoint with the covariance of its last layer (LLPR), or add them to a"
                " calculator folder with `ase-pet uncertainty`"
            )

    def apply(self, results: dict[str, Any]) -> None:
        """Warn, or raise TooUncertain, where atoms are above the threshold.

        A second warning follows only after all atoms were below it.

        Parameters
        ----------
        results:
            {name: value} with `energies_uncertainty` (n,) in eV.
        """
        if self.policy == "off":
            return
        deviations = results["energies_uncertainty"]
        # also where it is no number: nan is not below anything
        atoms = np.flatnonzero(~(deviations <= self.threshold))
        # a run above the threshold warns once, not at each step
        was_above = self._was_above
        self._was_above = len(atoms) > 0
        if not len(atoms):
            return
        text = (
            f"the energy of {len(atoms)} of {len(deviations)} atoms is uncertain by more than"
            f" {self.threshold:g} eV, at most {deviations.max():.3g} eV of atom"
            f" {int(deviations.argmax())}: {_listed(atoms)}"
        )
        if self.policy == "stop":
            raise TooUncertain(
                f"{text}. The results of this step are kept in the calculator; raise "
                "`uncertainty_threshold` (if structures of the training are above it, too) or use"
                " uncertainty='warn' to go on"
            )
        if not was_above:
            warnings.warn(
                f"{text}. Results are an extrapolation, unless structures of the training are above"
                " it, too: then raise `uncertainty_threshold`",
                stacklevel=4,
            )


def _listed(atoms: np.ndarray) -> str:
    more = ", ..." if len(atoms) > 8 else ""
    return "atoms " + ", ".join(map(str, atoms[:8].tolist())) + more
