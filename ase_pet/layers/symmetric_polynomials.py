"""Symmetric polynomials of the components of an atom's features, channel by channel.

The products of degree v of n components are as many as there are multisets of v of them, the
monomials. A tensor U (2L+1, n, ..., n, K) that is contracted with v equal vectors depends on its
sums over permutations only: a table (2L+1, monomials, K). Components have the parity of their
degree l, and only monomials whose parity is that of L occur.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass

import torch

Monomial = tuple[int, ...]


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
    # number of the sorted indices in base n of each product, and of each monomial
    grid = torch.cartesian_prod(*[torch.arange(n_components)] * power).view(-1, power)
    places = n_components ** torch.arange(power)
    codes = (grid.sort(1).values * places).sum(1)
    table = tensor.flatten(1, -2)  # (2L+1, n^v, K)
    every = table.new_zeros(len(table), n_components**power, table.shape[2])
    every.index_add_(1, codes, table)
    indices = torch.tensor(monomials(degree, power, parity)).view(-1, power)
    kept = every.index_select(1, (indices * places).sum(1))
    if kept.abs().sum() < every.abs().sum() * (1 - 1e-6):
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
class Factors:
    """Monomials as products of a left and a right one, so that a matrix product sums them.

    With left monomials a and right monomials b, the sum over monomials is sum_b (sum_a T_ab a) b.

    Attributes
    ----------
    left:
        Left monomials, of at most two factors; the same for all ranks.
    right:
        Right monomials of each parity.
    place:
        {(parity, power): (left, right)}, the two indices (monomials,) of each monomial.
    """

    left: tuple[Monomial, ...]
    right: dict[int, tuple[Monomial, ...]]
    place: dict[tuple[int, int], tuple[torch.Tensor, torch.Tensor]]


@functools.cache
def factors(degree: int, largest: int) -> Factors:
    """Factors of all monomials of up to `largest` factors of components up to l = degree.

    Parameters
    ----------
    degree:
        Largest l of the components.
    largest:
        Largest number of factors, 4 at most.
    """
    of_component = parities(degree)
    splits = {
        (parity, power): [_split(each, of_component) for each in monomials(degree, power, parity)]
        for parity in (0, 1)
        for power in range(1, largest + 1)
    }
    every = itertools.chain(*splits.values())
    left = tuple(sorted({a for a, _ in every}, key=lambda each: (len(each), each)))
    right = {}
    place = {}
    for parity in (0, 1):
        of_parity = [pairs for (other, _), pairs in splits.items() if other == parity]
        found = {b for _, b in itertools.chain(*of_parity)}
        right[parity] = tuple(sorted(found, key=lambda each: (len(each), each)))
    for (parity, power), pairs in splits.items():
        rows = [left.index(a) for a, _ in pairs]
        columns = [right[parity].index(b) for _, b in pairs]
        place[parity, power] = torch.tensor(rows, device="cpu"), torch.tensor(columns, device="cpu")
    return Factors(left, right, place)


def _split(monomial: Monomial, of_component: list[int]) -> tuple[Monomial, Monomial]:
    """Left and right monomial: the left one is even, so that one set serves all ranks."""
    odd = tuple(index for index in monomial if of_component[index])
    even = tuple(index for index in monomial if not of_component[index])
    if len(monomial) == 1:
        return (), monomial
    if len(monomial) == 2:
        return (even, odd) if len(odd) == 1 else (monomial, ())
    taken = odd[:2] if len(odd) >= 2 else even[:2]
    rest = list(monomial)
    for index in taken:
        rest.remove(index)
    return taken, tuple(rest)


def products_of(features: torch.Tensor, chosen: tuple[Monomial, ...]) -> torch.Tensor:
    """Monomials (len(chosen), ...) of at most two factors of features (components, ...).

    Parameters
    ----------
    features:
        Components, in the first dimension.
    chosen:
        Monomials, in rising order of their powers.
    """
    parts = []
    if chosen and not chosen[0]:
        parts.append(torch.ones_like(features[:1]))
    singles = [each[0] for each in chosen if len(each) == 1]
    if singles:
        parts.append(features[singles])
    pairs = [each for each in chosen if len(each) == 2]
    if pairs:
        first, second = zip(*pairs, strict=True)
        parts.append(features[list(first)] * features[list(second)])
    return torch.cat(parts)
