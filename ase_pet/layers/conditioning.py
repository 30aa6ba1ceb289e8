"""Embedding of the total charge and the spin multiplicity of a structure."""

from __future__ import annotations

import torch
from torch import nn

from .linear import Embedding, Linear


class Conditioning(nn.Module):
    """Vectors (n_structures, d) of total charge and spin multiplicity, zero before training.

    Parameters
    ----------
    d:
        Width of the vectors.
    max_charge:
        Largest total charge in e, of either sign.
    max_spin:
        Largest spin multiplicity 2S+1.
    """

    def __init__(self, d: int, max_charge: int, max_spin: int) -> None:
        super().__init__()
        self.max_charge = max_charge
        self.max_spin = max_spin
        # one vector per charge from -max_charge to max_charge
        self.charge_embedding = Embedding(2 * max_charge + 1, d)
        self.spin_multiplicity_embedding = Embedding(max_spin, d)
        self.project = nn.Sequential(Linear(2 * d, d), nn.SiLU(), Linear(d, d))
        output = self.project[2]
        nn.init.zeros_(output.weight)
        nn.init.zeros_(output.bias)

    def forward(self, charge: torch.Tensor, spin: torch.Tensor) -> torch.Tensor:
        """Vectors (n_structures, d).

        Parameters
        ----------
        charge:
            Total charges (n_structures,) in e.
        spin:
            Spin multiplicities (n_structures,).
        """
        # rows of the tables start with charge -max_charge and multiplicity 1
        of_charge = self.charge_embedding(charge + self.max_charge)
        of_spin = self.spin_multiplicity_embedding(spin - 1)
        return self.project(torch.cat([of_charge, of_spin], -1))

    def check(self, charge: torch.Tensor, spin: torch.Tensor) -> None:
        """Raise ValueError for a charge or a multiplicity that has no vector.

        Parameters
        ----------
        charge:
            Total charges (n_structures,) in e.
        spin:
            Spin multiplicities (n_structures,).
        """
        if (charge.abs() > self.max_charge).any():
            raise ValueError(
                f"`charge` {charge.tolist()}: the model knows -{self.max_charge} to"
                f" {self.max_charge}"
            )
        if ((spin < 1) | (spin > self.max_spin)).any():
            raise ValueError(
                f"`spin` {spin.tolist()}: the model knows multiplicities 1 to {self.max_spin}"
            )
