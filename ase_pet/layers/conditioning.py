"""What all atoms of a structure share: its total charge and spin multiplicity, as vectors."""

import torch
from torch import nn

from .linear import Embedding, Linear


class Conditioning(nn.Module):
    """(n_structures, d) vectors that tell every atom the total charge and the spin multiplicity."""

    def __init__(self, d, max_charge, max_spin):
        super().__init__()
        self.max_charge, self.max_spin = max_charge, max_spin
        self.charge_embedding = Embedding(2 * self.max_charge + 1, d)
        self.spin_multiplicity_embedding = Embedding(self.max_spin, d)
        self.project = nn.Sequential(Linear(2 * d, d), nn.SiLU(), Linear(d, d))
        nn.init.zeros_(self.project[2].weight)
        nn.init.zeros_(self.project[2].bias)

    def forward(self, charge, spin):
        if (charge.abs() > self.max_charge).any():
            raise ValueError(
                f"`charge` {charge.tolist()}: the model knows -{self.max_charge} to"
                f" {self.max_charge}"
            )
        if ((spin < 1) | (spin > self.max_spin)).any():
            raise ValueError(
                f"`spin` {spin.tolist()}: the model knows multiplicities 1 to {self.max_spin}"
            )
        pair = [
            self.charge_embedding(charge + self.max_charge),
            self.spin_multiplicity_embedding(spin - 1),
        ]
        return self.project(torch.cat(pair, -1))
