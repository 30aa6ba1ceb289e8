"""What a run does where the model does not know.

Nothing, warn, or stop, above a threshold for the energy of any atom.
"""

import math
import numbers
import warnings

import numpy as np

POLICIES = ("off", "warn", "stop")
PROPERTIES = ("energy_uncertainty", "energies_uncertainty")
THRESHOLD = 0.1  # eV


class TooUncertain(RuntimeError):
    """The energy of an atom is less certain than the calculator was told to accept."""


class Guard:
    """Policy and threshold in eV for the standard deviations of the energies of atoms.

    Raises ValueError for an unknown policy or threshold, and for a model without uncertainties
    unless the policy is "off".
    """

    def __init__(self, policy, threshold, model):
        if policy not in POLICIES:
            raise ValueError(
                f"`uncertainty` is {policy!r}: valid choices are {', '.join(map(repr, POLICIES))}"
            )
        if not isinstance(threshold, numbers.Real) or not 0 < threshold < math.inf:
            raise ValueError(
                f"`uncertainty_threshold` is {threshold!r}: expected an energy in eV above 0"
            )
        if policy != "off" and model.uncertainty is None:
            raise ValueError(
                f"`uncertainty` is {policy!r}, but this model has no uncertainties: use 'off', or a"
                " checkpoint with the covariance of its last layer (LLPR)"
            )
        self.policy, self.threshold = policy, float(threshold)
        self.properties = () if policy == "off" else PROPERTIES
        self._above = False

    def check(self, results):
        """Warn, or raise TooUncertain, where `results` has atoms above the threshold.

        Warn again only after a return.
        """
        if self.policy == "off":
            return
        deviations = results["energies_uncertainty"]
        atoms = np.flatnonzero(deviations > self.threshold)
        before, self._above = self._above, len(atoms) > 0
        if not len(atoms):
            return
        text = (
            f"the energy of {len(atoms)} of {len(deviations)} atoms is uncertain by more than"
            f" {self.threshold:g} eV, at most {deviations.max():.3g} eV of atom"
            f" {int(deviations.argmax())}: {_shown(atoms)}"
        )
        if self.policy == "stop":
            raise TooUncertain(
                f"{text}. The results of this step are kept in the calculator; raise "
                "`uncertainty_threshold` or use uncertainty='warn' to go on"
            )
        if not before:
            warnings.warn(f"{text}. Results are an extrapolation.", stacklevel=4)


def _shown(atoms):
    return "atoms " + ", ".join(map(str, atoms[:8].tolist())) + (", ..." if len(atoms) > 8 else "")
