"""Products of the features of an atom with themselves: equivariant polynomials, channel by channel.

    B_LM = sum_power sum_k w_k(Z) sum_monomials U_LM,k (product of `power` components of A)

U are coupling coefficients, summed over the orders of the factors (`symmetric_polynomials`), and
w_k(Z) weights of each element and channel. `plain` is this equation. `factorised` writes each
monomial as the product a b of a left and a right one, B = sum_b (sum_a T_ab a) b, where T = U w is
computed once for frozen weights, and the inner sum is a product of matrices.
"""

from __future__ import annotations

import functools

import torch
from torch import nn

from .couplings import symmetric_couplings
from .equivariant_linear import Elements, Features
from .linear import derived
from .radial import Constants
from .symmetric_polynomials import contract, factors, monomials, products_of

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
                    n_monomials = len(monomials(degree, power, rank % 2))
                    shape = (2 * rank + 1, n_monomials, of_rank[power - 1])
                    values = torch.zeros(shape, dtype=torch.float64)
                # on the device of the other weights; `empty` is on the default device
                device = torch.empty(0).device
                self.register_buffer(f"table_{rank}_{power}", values.to(device))

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
        self.ranks = tuple(counts)
        self.powers = range(1, largest + 1)
        self.couplings = Couplings(degree, largest, counts)
        self.weights = nn.ParameterDict()
        for rank in self.ranks:
            for power in self.powers:
                count = self.couplings.table(rank, power).shape[2]
                values = torch.randn(n_species, count, width) / max(1, count)
                self.weights[f"{rank}_{power}"] = values

    def forward(self, a: Features, elements: Elements) -> Features:
        """Products {L: (n, 2L+1, C)} of features `a` of atoms sorted by `elements`."""
        joined = torch.cat(list(a.values()), 1)  # (n, components, C)
        compute = self.factorised if self.fast else self.plain
        parts = [compute(joined[atoms], row) for row, atoms in elements]
        return {rank: torch.cat([part[rank] for part in parts]) for rank in self.ranks}

    def plain(self, a: torch.Tensor, row: int) -> Features:
        """Products of the features a (n, components, C) of the element in a row."""
        products = {}
        for rank in self.ranks:
            terms = [
                contract(
                    a,
                    self.couplings.table(rank, power),
                    self.weights[f"{rank}_{power}"][row],
                    self.degree,
                    power,
                )
                for power in self.powers
            ]
            products[rank] = torch.stack(terms).sum(0)
        return products

    def factorised(self, a: torch.Tensor, row: int) -> Features:
        """As `plain`, for a (n, components, C) of an element, with monomials in two factors."""
        split = factors(self.degree, self.powers[-1])
        build = functools.partial(self._table, row)
        table = derived(self, f"table {row}", self.weights.values(), build)
        x = a.permute(1, 2, 0).contiguous()  # (components, C, n)
        left = products_of(x, split.left).transpose(0, 1)  # (C, a, n)
        sums = torch.bmm(table, left)  # (C, (L, M, b), n)
        right = [products_of(x, split.right[parity]).transpose(0, 1) for parity in (0, 1)]
        products = {}
        start = 0
        for rank in self.ranks:
            b = right[rank % 2]  # (C, b, n)
            size = (2 * rank + 1) * b.shape[1]
            part = sums[:, start : start + size].unflatten(1, (2 * rank + 1, -1))
            products[rank] = (part * b[:, None]).sum(2).permute(2, 1, 0)  # (n, 2L+1, C)
            start += size
        return products

    def _table(self, row: int) -> torch.Tensor:
        """Coefficients T (C, (L, M, b), a) of an element."""
        split = factors(self.degree, self.powers[-1])
        parts = []
        for rank in self.ranks:
            n_right = len(split.right[rank % 2])
            first = self.weights[f"{rank}_1"]
            part = first.new_zeros(len(split.left), n_right, 2 * rank + 1, first.shape[2])
            for power in self.powers:
                coupling = self.couplings.table(rank, power).to(first.dtype)
                weight = self.weights[f"{rank}_{power}"][row]  # (K, C)
                values = torch.matmul(coupling, weight).transpose(0, 1)  # (monomials, 2L+1, C)
                place = [indices.to(values.device) for indices in split.place[rank % 2, power]]
                part = part.index_put(tuple(place), values)
            parts.append(part.permute(3, 2, 1, 0).flatten(1, 2))
        return torch.cat(parts, 1).contiguous()
