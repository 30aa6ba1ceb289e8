"""Rotation matrices: random elements of O(3), two rotation groups and a quadrature of SO(3).

A rotation Q acts on row vectors as x @ Q.T.
"""

from __future__ import annotations

import itertools

import numpy as np
import torch


def random_orthogonal(
    count: int, generator: torch.Generator, dtype: torch.dtype = torch.float64
) -> torch.Tensor:
    """(count, 3, 3) orthogonal matrices, Haar-distributed over O(3): half of them are improper.

    They are the Q of the QR decomposition of Gaussian matrices, with columns multiplied by the
    signs of the diagonal of R. Source: F. Mezzadri, Notices of the AMS 54, 592 (2007).

    Parameters
    ----------
    count:
        Number of matrices.
    generator:
        Random number generator on the CPU, so that a seed fixes the result.
    dtype:
        Floating point type of the result; the matrices are computed in float64.
    """
    gaussian = torch.randn(count, 3, 3, generator=generator, dtype=torch.float64)
    q, r = torch.linalg.qr(gaussian)
    signs = r.diagonal(dim1=-2, dim2=-1).sign()  # (count, 3)
    orthogonal: torch.Tensor = q * signs[:, None, :]
    return orthogonal.to(dtype)


def octahedral() -> torch.Tensor:
    """(24, 3, 3) float64 proper rotations of the cube with its axes along x, y and z.

    They are the signed permutation matrices with determinant 1. scipy's
    `Rotation.create_group("O")` has the same elements in another order and with rounding errors,
    which would change energies in float32 by rounding.
    """
    identity = np.eye(3)
    # signs and order of the rows of the unit matrix
    matrices = []
    for order in itertools.permutations(range(3)):
        permutation = identity[list(order)]
        for signs in itertools.product((1.0, -1.0), repeat=3):
            matrices.append(np.array(signs)[:, None] * permutation)
    proper = [matrix for matrix in matrices if np.linalg.det(matrix) > 0]
    return torch.tensor(np.array(proper))


def icosahedral() -> torch.Tensor:
    """(60, 3, 3) float64 proper rotations of an icosahedron with two-fold axes along x, y and z.

    Their unit quaternions are 1, i, j, k, (1 +- i +- j +- k)/2 and the even permutations of
    (0, 1/phi, 1, phi)/2 with all signs, one of each pair +-q. Source: J. H. Conway and D. A. Smith,
    On Quaternions and Octonions (2003).

    scipy's `Rotation.create_group("I")` is the group of another icosahedron, rotated by 90 degrees
    about z. Energies averaged over a group depend on its orientation, and so do the grids of
    orientations of trained models.
    """
    golden = (1 + 5**0.5) / 2
    seeds = np.array([[1, 0, 0, 0], [0.5, 0.5, 0.5, 0.5], [0, 0.5 / golden, 0.5, 0.5 * golden]])
    signs = np.array(list(itertools.product((1, -1), repeat=4)))  # (16, 4)
    even_permutations = []
    for permutation in itertools.permutations(range(4)):
        order = list(permutation)
        matrix = np.eye(4)[order]
        if np.linalg.det(matrix) > 0:
            even_permutations.append(order)
    quaternions = set()
    for seed in seeds:
        for order in even_permutations:
            # + 0.0 turns -0.0 into 0.0, so that equal quaternions are equal tuples
            quaternions |= {tuple(row + 0.0) for row in signs * seed[order]}
    # q and -q are the same rotation: keep the one whose first component that is not 0 is positive
    positive = [q for q in sorted(quaternions) if next(x for x in q if x != 0) > 0]
    return _matrices(np.array(positive))


# Rotations of the groups O and I away from the axes of crystals, as quaternions, scalar part first.
# Found by a search for small overlaps of what the group leaves invariant with what the rotations of
# a cubic or hexagonal crystal with its axes along x, y and z do, in the lowest degrees: for O and a
# cubic crystal 0.0004 of degree 4 and 0.013 of degree 6, where a crystal along the axes of the
# group has 1. See `ase_pet.symmetrisers.group`.
GENERIC = {
    "O": (-0.856215, 0.476318, 0.185867, 0.073963),
    "I": (0.568882, -0.092726, -0.000762, -0.817175),
}


def generic(group: str) -> torch.Tensor:
    """(3, 3) float64 rotation before a group, away from the axes of crystals.

    Parameters
    ----------
    group:
        "O" or "I".
    """
    quaternion = np.array([GENERIC[group]])
    return _matrices(quaternion / np.linalg.norm(quaternion))[0]


def with_inversion(rotations: torch.Tensor) -> torch.Tensor:
    """(2 n, 3, 3): the rotations (n, 3, 3), followed by each of them times -1."""
    return torch.cat([rotations, -rotations])


def quadrature(order: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Rotations (n, 3, 3) and weights (n,) of a quadrature of SO(3), float64, n = L (2L - 1)^2.

    Euler angles zxz: 2L - 1 equal steps of the first and the last, Gauss-Legendre points of the
    cosine of the second. The weights add up to 1. Products of up to 2L - 2 matrix elements are
    integrated exactly.

    Parameters
    ----------
    order:
        Order L, 1 or more.
    """
    if order < 1:
        raise ValueError(f"`order` is {order}: expected 1 or more")
    n_steps = 2 * order - 1
    steps = 2 * np.pi * np.arange(n_steps) / n_steps  # radians
    cosines, weights = np.polynomial.legendre.leggauss(order)
    angles = np.arccos(cosines)
    # All combinations of the three angles, each (n_steps, L, n_steps).
    first, second, last = np.meshgrid(steps, angles, steps, indexing="ij")
    matrices = _about_z(first) @ _about_x(second)
    matrices = matrices @ _about_z(last)
    matrices = matrices.reshape(-1, 3, 3)
    # Gauss-Legendre weights add up to 2, the length of the interval of the cosine.
    weights = weights / (2 * n_steps**2)
    weights = np.broadcast_to(weights[:, None], first.shape)
    return torch.tensor(matrices), torch.tensor(weights.flatten())


def _about_z(angle: np.ndarray) -> np.ndarray:
    """(..., 3, 3) rotations about z by angles (...) in radians."""
    cosine = np.cos(angle)
    sine = np.sin(angle)
    zero = np.zeros_like(angle)
    one = zero + 1
    rows = [[cosine, -sine, zero], [sine, cosine, zero], [zero, zero, one]]
    return np.moveaxis(np.array(rows), (0, 1), (-2, -1))


def _about_x(angle: np.ndarray) -> np.ndarray:
    """(..., 3, 3) rotations about x by angles (...) in radians."""
    cosine = np.cos(angle)
    sine = np.sin(angle)
    zero = np.zeros_like(angle)
    one = zero + 1
    rows = [[one, zero, zero], [zero, cosine, -sine], [zero, sine, cosine]]
    return np.moveaxis(np.array(rows), (0, 1), (-2, -1))


def _matrices(quaternions: np.ndarray) -> torch.Tensor:
    """(n, 3, 3) rotations of unit quaternions (n, 4), scalar part first."""
    # Products of two components of each quaternion, q_a q_b (4, 4, n).
    products = quaternions.T[:, None] * quaternions.T
    (ww, wx, wy, wz), (_, xx, xy, xz), (_, _, yy, yz), (_, _, _, zz) = products
    elements = [
        ww + xx - yy - zz,
        2 * (xy - wz),
        2 * (xz + wy),
        2 * (xy + wz),
        ww - xx + yy - zz,
        2 * (yz - wx),
        2 * (xz - wy),
        2 * (yz + wx),
        ww - xx - yy + zz,
    ]  # row by row, each (n,)
    return torch.tensor(np.stack(elements, axis=-1).reshape(-1, 3, 3))
