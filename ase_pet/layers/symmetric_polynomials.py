"""Symmetric polynomials of the components of an atom's features, channel by channel.

The products of degree v of n components are as many as there are multisets of v of them, the
monomials. A tensor U (2L+1, n, ..., n, K) that is contracted with v equal vectors depends on its
sums over permutations only: a table (2L+1, monomials, K). Components have the parity of their
degree l, and only monomials whose parity is that of L occur.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable
from dataclasses import dataclass

import torch

Monomial = tuple[int, ...]
OTHER_PARITY = 1e-6  # share of coefficients of the other parity that is rounding


def parities(degree: int) -> list[int]:
    """Parity, 0 or 1, of each component of the degrees l = 0..degree.

    Parameters
    ----------
    degree:
        Largest l.
    """
    return [order % 2 for order in range(degree + 1) for _ in range(2 * order + 1)]


@functools.cache
def monomials(degree: int, power: int, parity: int) -> tuple[Monomial, ...]:
    """Monomials of a power and a parity, each the sorted indices of its factors.

    Parameters
    ----------
    degree:
        Largest l of the components.
    power:
        Number of factors.
    parity:
        0 for even, 1 for odd.
    """
    of_component = parities(degree)
    every = itertools.combinations_with_replacement(range(len(of_component)), power)
    return tuple(each for each in every if sum(of_component[index] for index in each) % 2 == parity)


def summed(tensor: torch.Tensor, degree: int, parity: int) -> torch.Tensor:
    """Table (2L+1, monomials, K) of a tensor (2L+1, n, ..., n, K), in its dtype.

    Parameters
    ----------
    tensor:
        Coefficients of products of components.
    degree:
        Largest l of the components.
    parity:
        Parity of L.

    Raises
    ------
    ValueError
        The tensor has coefficients of products of the other parity.
    """
    power = tensor.dim() - 2
    n_components = (degree + 1) ** 2
    # the sorted indices of each product and of each monomial as digits of a number
    digits = n_components ** torch.arange(power)
    axis = torch.arange(n_components)
    grid = torch.cartesian_prod(*[axis] * power)
    grid = grid.view(-1, power).sort(1).values
    table = tensor.flatten(1, -2)  # (2L+1, n^v, K)
    every = torch.zeros_like(table)
    every.index_add_(1, (grid * digits).sum(1), table)
    indices = torch.tensor(monomials(degree, power, parity))
    indices = indices.view(-1, power)
    kept = every.index_select(1, (indices * digits).sum(1))
    others = every.abs().sum() - kept.abs().sum()
    if others > OTHER_PARITY * every.abs().sum():
        raise ValueError("it couples products to features of the other parity")
    return kept


def contract(
    features: torch.Tensor, table: torch.Tensor, weights: torch.Tensor, degree: int, power: int
) -> torch.Tensor:
    """Sums (n, 2L+1, C) over monomials: U weights (products of features), the plain equation.

    Parameters
    ----------
    features:
        Features (n, components, C).
    table:
        U (2L+1, monomials, K).
    weights:
        Weights (K, C) of the element of the atoms.
    degree:
        Largest l of the features.
    power:
        Number of factors.
    """
    parity = (len(table) - 1) // 2 % 2
    indices = torch.tensor(monomials(degree, power, parity), device=features.device)
    products = features[:, indices].prod(2)  # (n, monomials, C)
    return torch.einsum("Mmk,kc,nmc->nMc", table.to(features.dtype), weights, products)


@dataclass(frozen=True)
class Chosen:
    """Some monomials of at most two factors, those of fewer factors first.

    Attributes
    ----------
    monomials:
        The monomials.
    singles:
        Component (n_singles,) of each monomial of one factor.
    pairs:
        Components (2, n_pairs) of each monomial of two factors.
    """

    monomials: tuple[Monomial, ...]
    singles: torch.Tensor
    pairs: torch.Tensor

    def of(self, features: torch.Tensor) -> torch.Tensor:
        """Values (len(monomials), ...) of the monomials of `features` (components, ...)."""
        parts = [features.index_select(0, self.singles)]
        if () in self.monomials:
            parts.insert(0, torch.ones_like(features[:1]))
        first, second = self.pairs
        parts.append(features.index_select(0, first) * features.index_select(0, second))
        return torch.cat(parts)


def _chosen(found: set[Monomial], device: torch.device) -> Chosen:
    ordered = tuple(sorted(found, key=lambda each: (len(each), each)))
    singles = [each[0] for each in ordered if len(each) == 1]
    pairs = [each for each in ordered if len(each) == 2]
    return Chosen(
        ordered,
        torch.tensor(singles, dtype=torch.int64, device=device),
        torch.tensor(pairs, dtype=torch.int64, device=device).view(-1, 2).T.contiguous(),
    )


@dataclass(frozen=True)
class Factors:
    """Monomials as products of a left and a right one, so that a matrix product sums them.

    With left monomials a and right monomials b, the sum over monomials is sum_b (sum_a T_ab a) b.

    Attributes
    ----------
    left:
        Left monomials, the same for all ranks.
    right:
        Right monomials of each parity.
    place:
        {(parity, power): (left, right)}, the two indices (monomials,) of each monomial.
    """

    left: Chosen
    right: dict[int, Chosen]
    place: dict[tuple[int, int], tuple[torch.Tensor, torch.Tensor]]


@functools.cache
def factors(degree: int, largest: int, device: torch.device) -> Factors:
    """Factors of all monomials of up to `largest` factors of components up to l = degree.

    Parameters
    ----------
    degree:
        Largest l of the components.
    largest:
        Largest number of factors, 4 at most.
    device:
        Device of all indices.
    """
    of_component = parities(degree)
    splits = {}
    lefts: set[Monomial] = set()
    rights: dict[int, set[Monomial]] = {0: set(), 1: set()}
    for parity in (0, 1):
        for power in range(1, largest + 1):
            pairs = [_split(each, of_component) for each in monomials(degree, power, parity)]
            lefts |= {left for left, _ in pairs}
            rights[parity] |= {right for _, right in pairs}
            splits[parity, power] = pairs
    # indices of both factors among those that occur
    left = _chosen(lefts, device)
    right = {parity: _chosen(found, device) for parity, found in rights.items()}
    place = {}
    for (parity, power), pairs in splits.items():
        of_left, of_right = zip(*pairs, strict=True) if pairs else ((), ())
        place[parity, power] = (
            _indices(of_left, left),
            _indices(of_right, right[parity]),
        )
    return Factors(left, right, place)


def _indices(every: Iterable[Monomial], chosen: Chosen) -> torch.Tensor:
    place = {each: index for index, each in enumerate(chosen.monomials)}
    return torch.tensor(
        [place[each] for each in every], dtype=torch.int64, device=chosen.singles.device
    )


def _split(monomial: Monomial, of_component: list[int]) -> tuple[Monomial, Monomial]:
    """Left and right monomial: the left one is even, so that one set serves all ranks."""
    odd = tuple(index for index in monomial if of_component[index])
    even = tuple(index for index in monomial if not of_component[index])
    match len(monomial), len(odd):
        case 1, _:
            return (), monomial
        case 2, 1:
            return even, odd
        case 2, _:
            return monomial, ()
    # two of the same parity to the left
    taken = odd[:2] if len(odd) >= 2 else even[:2]
    rest = list(monomial)
    for index in taken:
        rest.remove(index)
    return taken, tuple(rest)
