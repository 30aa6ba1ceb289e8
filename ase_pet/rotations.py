"""Rotations of space: random elements of O(3), the rotation groups of octahedron and icosahedron, a
quadrature of SO(3).

A rotation Q acts on row vectors as x @ Q.T.
"""

import itertools

import numpy as np
import torch


def random_orthogonal(count, generator, dtype=torch.float64):
    """(count, 3, 3) orthogonal matrices, Haar-distributed over O(3): half of them are improper.

    generator: torch.Generator, so that a seed fixes the result.
    Source: F. Mezzadri, Notices of the AMS 54, 592 (2007): QR of a Gaussian matrix with the signs
    of R removed.
    """
    gaussian = torch.randn(count, 3, 3, generator=generator, dtype=torch.float64)
    q, r = torch.linalg.qr(gaussian)
    return (q * r.diagonal(dim1=-2, dim2=-1).sign()[:, None, :]).to(dtype)


def octahedral():
    """(24, 3, 3) float64 proper rotations of the cube.

    Signed permutations of the axes with determinant 1.
    """
    identity = np.eye(3)
    matrices = [
        np.array(signs)[:, None] * identity[list(order)]
        for order in itertools.permutations(range(3))
        for signs in itertools.product((1.0, -1.0), repeat=3)
    ]
    return torch.tensor(np.array([matrix for matrix in matrices if np.linalg.det(matrix) > 0]))


def icosahedral():
    """(60, 3, 3) float64 proper rotations of the icosahedron whose two-fold axes lie along x, y and
    z.

    Their unit quaternions are 1, i, j, k, (1 +- i +- j +- k)/2 and the even permutations of (0,
    1/phi, 1, phi)/2 with all signs, one of each pair +-q. Source: J. H. Conway and D. A. Smith, On
    Quaternions and Octonions (2003).
    """
    golden = (1 + 5**0.5) / 2
    even = [
        order
        for order in itertools.permutations(range(4))
        if np.linalg.det(np.eye(4)[list(order)]) > 0
    ]
    signs = np.array(list(itertools.product((1, -1), repeat=4)))
    seeds = np.array([[1, 0, 0, 0], [0.5, 0.5, 0.5, 0.5], [0, 0.5 / golden, 0.5, 0.5 * golden]])
    quaternions = {
        tuple(row + 0.0) for seed in seeds for order in even for row in signs * seed[list(order)]
    }
    positive = [q for q in sorted(quaternions) if next(x for x in q if x != 0) > 0]
    return _matrices(np.array(positive))


def with_inversion(rotations):
    """(2 n, 3, 3): the rotations (n, 3, 3) and each of them times -1."""
    return torch.cat([rotations, -rotations])


def quadrature(order):
    """Rotations (n, 3, 3) and weights (n,), float64, of a quadrature of SO(3) with n = L (2L - 1)^2
    for order L.

    Euler angles zxz: 2L - 1 equal steps of the first and the last, Gauss-Legendre points of the
    cosine of the second. The weights add up to 1; products of up to 2L - 2 matrix elements are
    integrated exactly.
    """
    if order < 1:
        raise ValueError(f"`order` is {order}: expected 1 or more")
    steps = 2 * np.pi * np.arange(2 * order - 1) / (2 * order - 1)
    cosines, weights = np.polynomial.legendre.leggauss(order)
    first, second, last = np.meshgrid(steps, np.arccos(cosines), steps, indexing="ij")
    points = _about_z(first) @ _about_x(second) @ _about_z(last)
    shares = np.broadcast_to(weights[None, :, None], first.shape) / (2 * len(steps) ** 2)
    return torch.tensor(points.reshape(-1, 3, 3)), torch.tensor(shares.flatten())


def _about_z(angle):
    c, s, o = np.cos(angle), np.sin(angle), np.zeros_like(angle)
    return np.moveaxis(np.array([[c, -s, o], [s, c, o], [o, o, o + 1]]), (0, 1), (-2, -1))


def _about_x(angle):
    c, s, o = np.cos(angle), np.sin(angle), np.zeros_like(angle)
    return np.moveaxis(np.array([[o + 1, o, o], [o, c, -s], [o, s, c]]), (0, 1), (-2, -1))


def _matrices(quaternions):
    """(n, 3, 3) rotations of unit quaternions (n, 4)."""
    w, x, y, z = quaternions.T
    rows = [
        [w * w + x * x - y * y - z * z, 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), w * w - x * x + y * y - z * z, 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), w * w - x * x - y * y + z * z],
    ]
    return torch.tensor(np.moveaxis(np.array(rows), -1, 0).copy())
