"""torch-sim: many systems in one batch on one device, with a calculator of this package.

A state of torch-sim becomes a `Graph` on its own device, without objects of ASE.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from .. import arguments
from ..calculator import PETCalculator
from ..evaluation import Evaluation
from ..extras import how_to_install
from ..graph import InvalidStructure
from ..graph_inputs import GraphInputs
from ._moving_pairs import MovingPairs, Systems

try:
    from torch_sim.models.interface import ModelInterface
except ImportError as error:
    raise ImportError(
        f"torch-sim is not installed, or not a version that works here ({error}): expected"
        f" torch-sim-atomistic 0.3 or later, of the extra `engines`: {how_to_install('engines')}"
    ) from None


class TorchSimModel(ModelInterface):  # type: ignore[misc]
    """Model of torch-sim that evaluates a calculator: plain, symmetrised, of any kind.

    Energies (eV), forces (eV/A), stress (eV/A^3) and energies of atoms are those of ASE. States are
    float64, whatever the precision of the weights, as positions are in ASE; a state of another
    dtype gets results of its own dtype.

    Parameters
    ----------
    calculator:
        A calculator, or what `PETCalculator` takes: name, folder, checkpoint or module.
    compute_forces:
        Whether `forward` returns forces.
    compute_stress:
        Whether `forward` returns the stress; NaN for a system without a volume.
    options:
        Further arguments of `PETCalculator`, where `calculator` is none.

    Raises
    ------
    ValueError
        An argument is invalid, or the calculator has an uncertainty policy, which torch-sim would
        not obey.
    """

    def __init__(
        self,
        calculator: PETCalculator | str | Path | nn.Module,
        *,
        compute_forces: bool = True,
        compute_stress: bool = True,
        **options: Any,
    ) -> None:
        super().__init__()
        calculator = _calculator(calculator, options)
        chosen = calculator.parameters
        self.model = calculator.model
        # torch-sim reads these four
        self._device = calculator.device
        self._dtype = torch.float64
        self._compute_forces = compute_forces
        self._compute_stress = compute_stress
        self._direct = arguments.direct_heads(
            self.model, chosen["non_conservative"], calculator.card
        )
        inputs = GraphInputs(self.model, self._device, calculator.dtype, calculator.card)
        self._pairs = MovingPairs(inputs, chosen["skin"])

    @property
    def compute_forces(self) -> bool:
        """Whether `forward` returns forces."""
        return self._compute_forces

    @compute_forces.setter
    def compute_forces(self, value: bool) -> None:
        """Whether `forward` returns forces is `value` from now on."""
        self._compute_forces = value

    @property
    def compute_stress(self) -> bool:
        """Whether `forward` returns the stress."""
        return self._compute_stress

    @compute_stress.setter
    def compute_stress(self, value: bool) -> None:
        """Whether `forward` returns the stress is `value` from now on."""
        self._compute_stress = value

    @property
    def searches(self) -> int:
        """Number of neighbour searches so far."""
        return self._pairs.searches

    def forward(self, state: Any, **_: Any) -> dict[str, torch.Tensor]:
        """energy (s,), energies (n,), forces (n, 3) and stress (s, 3, 3) of s systems of n atoms.

        Parameters
        ----------
        state:
            SimState, or a mapping with its attributes.

        Raises
        ------
        InvalidStructure
            A system has no valid energy; the message names it.
        """
        systems = Systems.of(state, self._device)
        # the first of them that needs derivatives runs the model for all
        results = Evaluation(self.model, self._pairs.graph(systems), direct=self._direct)
        values = {}
        if self._compute_forces:
            values["forces"] = results.forces
        if self._compute_stress:
            values["stress"] = results.stress
        values["energy"] = results.energy
        values["energies"] = results.energies
        _check_finite(values, systems)
        return {name: value.detach().to(systems.dtype) for name, value in values.items()}


def _calculator(given: Any, options: dict[str, Any]) -> PETCalculator:
    """The calculator that was given, or one of its arguments."""
    if isinstance(given, PETCalculator) and options:
        raise ValueError(
            f"`{next(iter(options))}` is an option of a calculator, and `calculator` is one"
            " already: expected its name"
        )
    made = given if isinstance(given, PETCalculator) else PETCalculator(given, **options)
    policy = made.parameters["uncertainty"]
    if policy != "off":
        raise ValueError(
            f"`uncertainty` is {policy!r}: torch-sim moves all systems whatever their uncertainty;"
            " expected 'off'"
        )
    return made


def _check_finite(values: dict[str, torch.Tensor], systems: Systems) -> None:
    """Raise InvalidStructure for energies or forces that are not finite."""
    for name in ("energies", "forces"):
        if name not in values:
            continue
        bad = ~torch.isfinite(values[name].reshape(len(systems.numbers), -1)).all(1)
        if bool(bad.any()):
            first = int(systems.system[bad][0])
            raise InvalidStructure(
                f"system {first}: `{name}` is not finite: the model has no value for this structure"
            )
