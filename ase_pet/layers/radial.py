"""Radial functions of pairs: Bessel functions, transforms of distances, and screened repulsion.

    R_n(d) = c sin(k_n t) / t,    k_n = n pi / r,    c = sqrt(2 / r)

where r is the cutoff, and t the distance d itself, or a transform of it in units of the covalent
radii R_i and R_j:

    agnesi:  t = 1 / (1 + a x^q / (1 + x^(q - p))),        x = 2 d / (R_i + R_j)
    soft:    t = b + (d - b) s,   s = sigmoid(2 alpha (d - m) / (e - b)),
             b = 3/4 (R_i + R_j),  e = 4/3 (R_i + R_j),  m = (b + e) / 2

Sources: J. Gasteiger et al., arXiv:2003.03123 (Bessel functions); W. C. Witt et al.,
J. Chem. Phys. 159, 164101 (2023) (Agnesi). Constants are buffers in float64 whatever the dtype of
the weights: their rounding would be an error of the energy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import nn

from . import cutoff
from .initial import Shape, initial

TRANSFORMS = {"none": 0, "agnesi": 3, "soft": 1}  # number of constants: none; a, q, p; alpha
AGNESI = (1.0805, 0.9183, 4.5791)  # a, q, p
SOFT = (4.0,)  # alpha
# of the screened repulsion: weights of four exponentials, power of Z, screening length in bohr
ZBL = (0.1818, 0.5099, 0.2802, 0.02817, 0.3, 0.4543)
RATES = (3.2, 0.9423, 0.4028, 0.2016)
COULOMB = 14.3996  # eV A
BOHR = 0.529  # A


class Constants(nn.Module):
    """Module whose buffers stay in float64."""

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Constants:
        """As of any module, but buffers keep their precision."""
        exact = dict(self._buffers)
        super()._apply(fn, recurse)
        for name, value in exact.items():
            moved = self._buffers[name]
            # to the same device; the values are those before
            if value is not None and moved is not None and value.is_floating_point():
                self._buffers[name] = value.to(moved.device)
        return self


class BesselBasis(Constants):
    """Bessel functions of pairs.

    Parameters
    ----------
    n_functions:
        Number of functions N.
    radius:
        Cutoff in A.
    transform:
        One of TRANSFORMS.
    n_species:
        Number of elements, for their covalent radii.
    """

    def __init__(self, n_functions: int, radius: float, transform: str, n_species: int) -> None:
        super().__init__()
        self.transform = transform

        def multiples(shape: Shape) -> torch.Tensor:
            n = torch.arange(1, shape[0] + 1, dtype=torch.float64)
            return n * math.pi / radius

        frequencies = initial((n_functions,), multiples, torch.float64)
        self.register_buffer("frequencies", frequencies)  # (N,)
        self.register_buffer("prefactor", torch.full((), math.sqrt(2 / radius)).double())
        if transform != "none":
            values = AGNESI if transform == "agnesi" else SOFT
            self.register_buffer("constants", torch.tensor(values, dtype=torch.float64))
            self.register_buffer("radii", torch.ones(n_species, dtype=torch.float64))  # A

    def forward(
        self, distances: torch.Tensor, rows_i: torch.Tensor, rows_j: torch.Tensor
    ) -> torch.Tensor:
        """Values (P, N) at `distances` (P,) in A of pairs of elements in rows_i and rows_j (P,)."""
        t = self._transformed(distances, rows_i, rows_j)[:, None]
        return self.prefactor * torch.sin(self.frequencies * t) / t

    def _transformed(
        self, distances: torch.Tensor, rows_i: torch.Tensor, rows_j: torch.Tensor
    ) -> torch.Tensor:
        """Argument t (P,) of the Bessel functions."""
        if self.transform == "none":
            return distances
        contact = self.radii[rows_i] + self.radii[rows_j]  # R_i + R_j
        if self.transform == "soft":
            alpha = self.constants[0]
            begin = 0.75 * contact
            end = contact * 4 / 3
            middle = (begin + end) / 2
            switch = torch.sigmoid(2 * alpha * (distances - middle) / (end - begin))
            return begin + (distances - begin) * switch
        a, q, p = self.constants.unbind()
        x = 2 * distances / contact
        return 1 / (1 + a * x**q / (1 + x ** (q - p)))


class ScreenedRepulsion(Constants):
    """Repulsion of screened nuclei up to the contact of their covalent spheres.

    E(d) = k z_i z_j / d sum_n c_n exp(-b_n d / s) f_p(d / (R_i + R_j)), s = s0 / (z_i^w + z_j^w).
    This form of ZBL is that of MACE, whose numbers and whose cutoff differ from `layers.zbl`.

    Parameters
    ----------
    power:
        p of the cutoff function.
    n_species:
        Number of elements, for their covalent radii.
    """

    def __init__(self, power: int, n_species: int) -> None:
        super().__init__()
        self.power = power
        self.register_buffer("constants", torch.tensor(ZBL, dtype=torch.float64))
        self.register_buffer("radii", torch.ones(n_species, dtype=torch.float64))  # A

    def forward(
        self,
        distances: torch.Tensor,
        numbers: Sequence[torch.Tensor],
        rows: Sequence[torch.Tensor],
    ) -> torch.Tensor:
        """Energies (P,) in eV at `distances` (P,) in A; numbers and rows (P,) of both elements."""
        z_i, z_j = (z.to(distances.dtype) for z in numbers)
        *weights, power, length = self.constants.unbind()
        inverse_length = (z_i**power + z_j**power) / (length * BOHR)  # 1 / s
        scaled = distances * inverse_length
        screening = torch.zeros_like(distances)
        for weight, rate in zip(weights, RATES, strict=True):
            term = torch.exp(-rate * scaled)
            screening = screening + weight * term
        radius_i, radius_j = (self.radii[row] for row in rows)
        envelope = cutoff.polynomial(distances, radius_i + radius_j, self.power)
        coulomb = COULOMB * z_i * z_j / distances
        return coulomb * screening * envelope


class Shifts(Constants):
    """Energy in eV that each of `n_heads` heads adds for each atom, in float64."""

    def __init__(self, n_heads: int) -> None:
        super().__init__()
        self.register_buffer("of_heads", torch.zeros(n_heads, dtype=torch.float64))
