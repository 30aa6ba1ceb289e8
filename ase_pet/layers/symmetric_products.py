"""Products of the features of an atom with themselves: equivariant polynomials, channel by channel.

    B_LM = sum_power sum_k w_k(Z) sum_monomials U_LM,k (product of `power` components of A)

U are coupling coefficients, summed over the orders of the factors (`symmetric_polynomials`), and
w_k(Z) weights of each element and channel. `plain` is this equation. `factorised` writes each
monomial as the product a b of a left and a right one, B = sum_b (sum_a T_ab a) b, where T = U w is
computed once for frozen weights, and the inner sum is a product of matrices.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import nn

from .couplings import symmetric_couplings
from .equivariant_linear import Elements, Features
from .initial import Shape, initial
from .linear import derived
from .radial import Constants
from .symmetric_polynomials import contract, factors, monomials

# number of products of 1, 2, ... factors of each rank L; None for all that are independent
Counts = dict[int, tuple[int, ...] | None]


class Couplings(Constants):
    """Coupling coefficients U (2L+1, monomials, K), in float64 whatever the dtype of weights.

    Parameters
    ----------
    degree:
        Largest degree of the components.
    largest:
        Largest number of factors.
    counts:
        Number of products; where it is None, independent ones are made.
    """

    def __init__(self, degree: int, largest: int, counts: Counts) -> None:
        super().__init__()
        for rank, of_rank in counts.items():
            for power in range(1, largest + 1):
                if of_rank is None:
                    values = symmetric_couplings(degree, rank, power)
                else:
                    count = of_rank[power - 1]
                    of_parity = monomials(degree, power, rank % 2)
                    n_m = 2 * rank + 1
                    shape = (n_m, len(of_parity), count)
                    values = torch.zeros(shape, dtype=torch.float64)
                # on the device of the other weights; `empty` is on the default device
                device = torch.empty(0).device
                values = values.to(device)
                self.register_buffer(f"table_{rank}_{power}", values)

    def table(self, rank: int, power: int) -> torch.Tensor:
        """U of products of `power` factors and of this `rank` L."""
        table: torch.Tensor = getattr(self, f"table_{rank}_{power}")
        return table


class SymmetricProducts(nn.Module):
    """Products B of each rank L.

    Parameters
    ----------
    degree:
        Largest degree of the components of A, which are all degrees up to it.
    largest:
        Largest number of factors.
    counts:
        Number of products of each rank L.
    width:
        Number of channels C.
    n_species:
        Number of elements.
    """

    fast = True  # False: `plain`, for comparison

    def __init__(
        self, degree: int, largest: int, counts: Counts, width: int, n_species: int
    ) -> None:
        super().__init__()
        self.degree = degree
        self.width = width
        self.ranks = tuple(counts)
        self.powers = range(1, largest + 1)
        self.couplings = Couplings(degree, largest, counts)
        self.weights = nn.ParameterDict()
        for rank in self.ranks:
            for power in self.powers:
                table = self.couplings.table(rank, power)
                count = table.shape[2]
                name = f"{rank}_{power}"
                shape = (n_species, count, width)
                self.weights[name] = initial(
                    shape, functools.partial(_normal, divisor=max(1, count))
                )

    def forward(self, a: Features, elements: Elements) -> Features:
        """Products {L: (n, 2L+1, C)} of features `a` of atoms sorted by `elements`."""
        joined = torch.cat(list(a.values()), 1)  # (n, components, C)
        return self.factorised(joined, elements) if self.fast else self.plain(joined, elements)

    def plain(self, a: torch.Tensor, elements: Elements) -> Features:
        """Products of features `a` (n, components, C) of `elements`, as the equation is written."""
        return {
            rank: torch.cat([self._sum(a[atoms], rank, row) for row, atoms in elements])
            for rank in self.ranks
        }

    def _sum(self, a: torch.Tensor, rank: int, row: int) -> torch.Tensor:
        """Products (n, 2L+1, C) of the element in a row."""
        total = a.new_zeros(len(a), 2 * rank + 1, a.shape[2])
        for power in self.powers:
            table = self.couplings.table(rank, power)
            weight = self.weights[f"{rank}_{power}"][row]
            total = total + contract(a, table, weight, self.degree, power)
        return total

    def factorised(self, a: torch.Tensor, elements: Elements) -> Features:
        """As `plain` of `a` and `elements`, with each monomial as the product of two."""
        split = factors(self.degree, self.powers[-1], a.device)
        x = a.permute(1, 2, 0).contiguous()  # (components, C, n)
        left = split.left.of(x)
        left = left.transpose(0, 1)  # (C, a, n)
        sums = []
        for row, atoms in elements:
            table = self._table(row)  # (C, (L, M, b), a)
            of_element = left[:, :, atoms]
            sums.append(torch.bmm(table, of_element))
        joined = torch.cat(sums, 2)
        joined = _ContiguousGradient.apply(joined)  # (C, (L, M, b), n)
        right = {}
        for parity, chosen in split.right.items():
            right[parity] = chosen.of(x).transpose(0, 1)  # (C, b, n)
        products = {}
        start = 0
        for rank in self.ranks:
            n_m = 2 * rank + 1
            b = right[rank % 2]  # (C, b, n)
            b = b[:, None]
            stop = start + n_m * b.shape[2]
            part = joined[:, start:stop]
            part = part.unflatten(1, (n_m, -1))  # (C, M, b, n)
            weighted = part * b
            product = weighted.sum(2)
            products[rank] = product.permute(2, 1, 0)
            start = stop
        return products

    def _table(self, row: int) -> torch.Tensor:
        """Coefficients T (C, (L, M, b), a) of an element."""
        build = functools.partial(self._compute_table, row)
        table: torch.Tensor = derived(self, f"table {row}", self.weights.values(), build)
        return table

    def _compute_table(self, row: int) -> torch.Tensor:
        parts = [self._table_of_rank(rank, row) for rank in self.ranks]
        return torch.cat(parts, 1).contiguous()

    def _table_of_rank(self, rank: int, row: int) -> torch.Tensor:
        """Coefficients (C, (M, b), a) of a rank and an element."""
        parity = rank % 2
        device = self.weights[f"{rank}_1"].device
        split = factors(self.degree, self.powers[-1], device)
        left_monomials = split.left.monomials
        right_monomials = split.right[parity].monomials
        table = self.weights[f"{rank}_1"].new_zeros(
            len(left_monomials),
            len(right_monomials),
            2 * rank + 1,
            self.width,
        )
        for power in self.powers:
            weight = self.weights[f"{rank}_{power}"][row]  # (K, C)
            coupling = self.couplings.table(rank, power)
            coupling = coupling.to(weight.dtype)
            values = torch.matmul(coupling, weight)  # (2L+1, monomials, C)
            values = values.transpose(0, 1)
            table = table.index_put(split.place[parity, power], values)
        table = table.permute(3, 2, 1, 0)  # (C, M, b, a)
        return table.flatten(1, 2)


def _normal(shape: Shape, divisor: int) -> torch.Tensor:
    """Random numbers of a normal distribution, divided."""
    return torch.randn(shape) / divisor


class _ContiguousGradient(torch.autograd.Function):
    """Identity with a contiguous gradient: `bmm` would treat matrices one by one without."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        return gradient.contiguous()
