"""Real spherical harmonics of edge directions, and the coupling of three of them.

The polar axis is y: theta is the angle to it, and phi the azimuth from z to x. The harmonics of
degree l are, with a normalisation that has no sign,

    Y_l,-m = P_lm(cos theta) sin(m phi),  Y_l0 = P_l0(cos theta),  Y_lm = P_lm(cos theta) cos(m phi)

in the order m = -l..l; those of l = 1 are sqrt(3) (x, y, z) / r. The sum of the squares of a
degree is 2l + 1. P_lm are the associated Legendre functions without the phase (-1)^m. Source: D. A.
Varshalovich et al., Quantum Theory of Angular Momentum, 1988.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import torch

LARGEST_DEGREE = 3  # that models use; the formulas hold for any


def spherical_harmonics(vectors: torch.Tensor, lengths: torch.Tensor, degree: int) -> torch.Tensor:
    """Harmonics (E, (degree + 1)^2) of the directions of vectors, l = 0..degree, without unit.

    Parameters
    ----------
    vectors:
        Vectors (E, 3) in A.
    lengths:
        Their lengths (E,) in A.
    degree:
        Largest l.
    """
    y, z, x = (vectors / lengths[:, None]).unbind(1)  # (X, Y, Z) = (z, x, y), cyclic
    # sin^m(theta) (cos(m phi), sin(m phi)) = (x + i y)^m
    cosines = [torch.ones_like(x)]
    sines = [torch.zeros_like(x)]
    for m in range(degree):
        cosines.append(cosines[m] * x - sines[m] * y)
        sines.append(cosines[m] * y + sines[m] * x)
    columns = []
    for order in range(degree + 1):
        polynomials = [_legendre(order, m, z) for m in range(order + 1)]
        columns += [polynomials[m] * sines[m] for m in range(order, 0, -1)]
        columns += [polynomials[m] * cosines[m] for m in range(order + 1)]
    return torch.stack(columns, 1)


def _legendre(order: int, m: int, z: torch.Tensor) -> torch.Tensor:
    """P_lm(z) / sin^m(theta) for l = order, times the normalisation; a polynomial in z."""
    # (l - m)! / (l + m)!
    ratio = math.factorial(order - m) / math.factorial(order + m)
    norm = math.sqrt((2 * order + 1) * ratio * (1 if m == 0 else 2))
    total = torch.zeros_like(z)
    for coefficient in reversed(_coefficients(order, m)):
        total = total * z + norm * coefficient
    return total


@functools.cache
def _coefficients(order: int, m: int) -> tuple[float, ...]:
    """Coefficients of the m-th derivative of the Legendre polynomial P_l, lowest power first."""
    polynomial = np.polynomial.legendre.leg2poly([0.0] * order + [1.0])
    return tuple(np.polynomial.polynomial.polyder(polynomial, m).tolist())


@functools.cache
def coupling(l1: int, l2: int, l3: int) -> torch.Tensor:
    """Real Wigner 3j symbols (2 l1 + 1, 2 l2 + 1, 2 l3 + 1) for l1 + l2 + l3 even, float64.

    They are the only tensor, up to a factor, that no rotation of all three indices changes. So is
    the integral of three harmonics over the sphere, which does not vanish for an even sum and a
    possible triangle: divided by its norm, it is the tensor of norm 1.

    Parameters
    ----------
    l1, l2, l3:
        Degrees of the harmonics.

    Raises
    ------
    ValueError
        The sum is odd, or the degrees do not form a triangle: the integral vanishes.
    """
    total = l1 + l2 + l3
    if total % 2 or not abs(l1 - l2) <= l3 <= l1 + l2:
        raise ValueError(f"`coupling` of degrees {l1}, {l2}, {l3}: their integral vanishes")
    points, weights = _quadrature(total)
    lengths = torch.ones_like(weights)
    values = spherical_harmonics(points, lengths, max(l1, l2, l3))
    a, b, c = (values[:, order**2 : (order + 1) ** 2] for order in (l1, l2, l3))
    integral = torch.einsum("p,pi,pj,pk->ijk", weights, a, b, c)
    # entries that vanish by symmetry are rounding of the sum
    integral = torch.where(integral.abs() > 1e-12, integral, 0.0)
    return integral / integral.norm()


def _quadrature(degree: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Unit vectors (p, 3) and weights (p,) that integrate polynomials of this degree exactly."""
    heights, height_weights = np.polynomial.legendre.leggauss(degree // 2 + 1)
    azimuths = 2 * np.pi * np.arange(degree + 1) / (degree + 1)
    height, azimuth = np.meshgrid(heights, azimuths, indexing="ij")
    radius = np.sqrt(1 - height**2)
    points = np.stack([radius * np.sin(azimuth), height, radius * np.cos(azimuth)], -1)
    weights = np.repeat(height_weights, degree + 1) / (2 * (degree + 1))
    return torch.from_numpy(points.reshape(-1, 3)), torch.from_numpy(weights)
