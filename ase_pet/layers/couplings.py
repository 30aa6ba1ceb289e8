"""Independent equivariant polynomials of an atom's features, from Wigner's 3j symbols.

A polynomial of degree v and rank L is made of one of degree v - 1 and rank l, and the components of
degree l2, with the 3j symbols of l, l2 and L. Those that are linear combinations of others are
dropped. All have the natural parity (-1)^l, also within.
"""

from __future__ import annotations

import functools

import numpy as np
import torch

from .spherical_harmonics import coupling
from .symmetric_polynomials import monomials

INDEPENDENT = 1e-8  # singular values below it, relative to the largest, are rounding


@functools.cache
def symmetric_couplings(degree: int, rank: int, power: int) -> torch.Tensor:
    """Table (2L+1, monomials, K) of orthonormal polynomials of rank L, float64 on the CPU.

    Parameters
    ----------
    degree:
        Largest l of the components.
    rank:
        L of the polynomials.
    power:
        Number of factors v.
    """
    # all have the parity of L
    n_monomials = len(monomials(degree, power, rank % 2))
    if power == 1:
        every = [_of_degree_1(degree, rank)] if rank <= degree else []
    else:
        every = [
            _times_components(degree, inner, last, rank, power)
            for inner in range(rank + degree + 1)
            for last in range(degree + 1)
            if (inner + last + rank) % 2 == 0 and abs(inner - last) <= rank <= inner + last
        ]
    tables = np.concatenate([np.zeros((2 * rank + 1, n_monomials, 0)), *every], axis=2)
    return torch.from_numpy(_independent(tables))


def _of_degree_1(degree: int, rank: int) -> np.ndarray:
    """Table (2L+1, components of the parity, 1) of the components of degree L themselves."""
    indices = [index for (index,) in monomials(degree, 1, rank % 2)]
    first = rank**2
    table = np.zeros((2 * rank + 1, len(indices), 1))
    for m in range(2 * rank + 1):
        table[m, indices.index(first + m), 0] = 1.0
    return table


def _times_components(degree: int, inner: int, last: int, rank: int, power: int) -> np.ndarray:
    """Table (2L+1, monomials, K) of polynomials of rank `inner` times components of l = last."""
    shorter = monomials(degree, power - 1, inner % 2)
    place = {each: index for index, each in enumerate(monomials(degree, power, rank % 2))}
    factor = symmetric_couplings(degree, inner, power - 1).numpy()  # (2 inner + 1, monomials, K)
    n_products = factor.shape[2]
    table = np.zeros((2 * rank + 1, len(place), n_products))
    if n_products == 0:
        return table
    symbols = coupling(inner, last, rank).numpy()  # (2 inner + 1, 2 last + 1, 2L+1)
    first = last**2  # component of m = -last
    for m in range(2 * last + 1):
        of_component = symbols[:, m]  # (2 inner + 1, 2L+1)
        terms = np.einsum("aM,apk->Mpk", of_component, factor)
        # monomials with one more factor; those that become equal are added
        longer = []
        for each in shorter:
            factors = sorted((*each, first + m))
            longer.append(place[tuple(factors)])
        np.add.at(table, (slice(None), longer), terms)
    return table


def _independent(tables: np.ndarray) -> np.ndarray:
    """Orthonormal polynomials (2L+1, monomials, K') that span those of tables (..., K)."""
    if tables.size == 0:
        return tables
    flat = tables.reshape(-1, tables.shape[2])
    left, values, _ = np.linalg.svd(flat, full_matrices=False)
    kept = values > INDEPENDENT * values.max(initial=1.0)
    return np.ascontiguousarray(left[:, kept]).reshape(*tables.shape[:2], -1)
