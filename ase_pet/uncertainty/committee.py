"""Several calculators as one: their mean, and their standard deviation as an uncertainty."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.abc import GetPropertiesMixin
from ase.calculators.mixing import AverageCalculator

from ..uncertainty_policy import THRESHOLD, UncertaintyPolicy

AVERAGED = ("energy", "free_energy", "energies", "forces", "stress")
DEVIATIONS = {  # name of the standard deviation of each property
    "energy": "energy_uncertainty",
    "energies": "energies_uncertainty",
    "forces": "forces_uncertainty",
    "stress": "stress_uncertainty",
}


class Committee(AverageCalculator):
    """ASE calculator of the mean of several ones, such as models trained with different seeds.

    Results are the means over the members, in eV and A, and their standard deviations (divisor:
    number of members - 1) as energy_uncertainty, energies_uncertainty, forces_uncertainty and
    stress_uncertainty. The mean force is the derivative of the mean energy.

    Parameters
    ----------
    members:
        Two or more ASE calculators of the same potential energy surface.
    uncertainty:
        Action when the standard deviation of an atomic energy exceeds `uncertainty_threshold`:
        "off", "warn" or "stop" (raises `ase_pet.TooUncertain`).
    uncertainty_threshold:
        Energy in eV.

    Raises
    ------
    ValueError
        There are fewer than two members, one occurs twice, or the members share no energy.
    """

    name = "committee"

    def __init__(
        self,
        members: Sequence[Any],
        uncertainty: str = "off",
        uncertainty_threshold: float = THRESHOLD,
    ) -> None:
        self.members = list(members) if isinstance(members, Iterable) else []
        for each in self.members:
            if not isinstance(each, GetPropertiesMixin):
                kind = type(each).__name__
                raise ValueError(f"`members` holds a {kind}: expected ASE calculators")
        if len(self.members) < 2 or len({id(each) for each in self.members}) < len(self.members):
            raise ValueError(
                f"`members` are {len(self.members)} calculators: expected at least two, each once"
            )
        super().__init__(self.members)  # type: ignore[no-untyped-call]
        shared = set.intersection(*(set(each.implemented_properties) for each in self.members))
        if "energy" not in shared:
            raise ValueError("`members` share no energy: expected calculators of energies")
        averaged = [name for name in AVERAGED if name in shared]
        deviations = [DEVIATIONS[name] for name in averaged if name in DEVIATIONS]
        self.implemented_properties = [*averaged, *deviations]
        self._policy = UncertaintyPolicy(uncertainty, uncertainty_threshold)
        if uncertainty != "off" and "energies" not in shared:
            raise ValueError(
                f"`uncertainty` is {uncertainty!r}, but the members have no atomic energies"
            )
        # what runs compare before they continue
        self.parameters = {
            "members": [dict(each.parameters) for each in self.members],
            "uncertainty": uncertainty,
            "uncertainty_threshold": uncertainty_threshold,
        }

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = ("positions",),
    ) -> None:
        """Compute properties of all members into `results`.

        Parameters
        ----------
        atoms:
            Structure, None for that of the last call.
        properties:
            Names of properties.
        system_changes:
            What changed since the last call, as ASE names it.
        """
        structure: Any = self.atoms if atoms is None else atoms
        if system_changes:
            self.results = {}
            self.atoms = structure.copy()
        wanted = [*properties, *self._policy.properties, "energy"]
        sources = {deviation: name for name, deviation in DEVIATIONS.items()}
        names = [sources.get(name, name) for name in wanted]
        for name in dict.fromkeys(names):
            values = []
            for each in self.members:
                value = each.get_property(name, structure)
                values.append(np.asarray(value))
            table = np.array(values, dtype=float)  # (members, ...)
            self._set(name, table.mean(0))
            if name in DEVIATIONS:
                deviation = table.std(0, ddof=1)
                self._set(DEVIATIONS[name], deviation)
        self._policy.apply(self.results)

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """Changes since the last calculation, as ASE and the members name them.

        Parameters
        ----------
        atoms:
            Structure.
        tol:
            Smallest change of positions and cell in A.
        """
        changes: list[str] = super().check_state(atoms, tol)  # type: ignore[no-untyped-call]
        # a member may depend on more than ASE compares, such as charge and spin in `info`
        for each in self.members:
            own: list[str] = each.check_state(atoms, tol)
            changes += [change for change in own if change not in changes]
        return changes

    def _set(self, name: str, value: np.ndarray) -> None:
        """Store a result; ASE expects numbers without a shape as floats."""
        self.results[name] = value if np.ndim(value) else float(value)
