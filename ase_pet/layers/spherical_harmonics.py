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
ROUNDING = 1e-12  # of an integral of three harmonics


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
    directions = vectors / lengths[:, None]
    sine, height, cosine = directions.unbind(1)  # sin(theta) sin(phi), cos(theta), ...
    # sin^m(theta) (cos(m phi) + i sin(m phi)) is the m-th power of that for m = 1
    cosines = [torch.ones_like(cosine)]
    sines = [torch.zeros_like(sine)]
    for m in range(degree):
        last_cosine = cosines[m]
        last_sine = sines[m]
        cosines.append(last_cosine * cosine - last_sine * sine)
        sines.append(last_cosine * sine + last_sine * cosine)
    columns = []
    for order in range(degree + 1):
        orders = range(order + 1)
        polynomials = [_legendre(order, m, height) for m in orders]
        negative = [polynomials[m] * sines[m] for m in orders if m > 0]
        columns += negative[::-1]  # m = -l..-1
        columns += [polynomials[m] * cosines[m] for m in orders]
    return torch.stack(columns, 1)


def _legendre(order: int, m: int, z: torch.Tensor) -> torch.Tensor:
    """P_lm(z) / sin^m(theta) for l = order, times the normalisation; a polynomial in z."""
    ratio = math.factorial(order - m) / math.factorial(order + m)
    square = (2 * order + 1) * ratio
    norm = math.sqrt(square if m == 0 else 2 * square)
    total = torch.zeros_like(z)
    # Horner's rule
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
    degrees = (l1, l2, l3)
    total = sum(degrees)
    if total % 2 or not abs(l1 - l2) <= l3 <= l1 + l2:
        raise ValueError(f"`coupling` of degrees {l1}, {l2}, {l3}: their integral vanishes")
    points, weights = _quadrature(total)
    lengths = torch.ones_like(weights)
    every = spherical_harmonics(points, lengths, max(degrees))
    values = [every[:, order**2 : (order + 1) ** 2] for order in degrees]
    integral = torch.einsum("p,pi,pj,pk->ijk", weights, *values)
    # entries that vanish by symmetry are rounding of the sum
    is_zero = integral.abs() < ROUNDING
    integral = integral.masked_fill(is_zero, 0.0)
    return integral / integral.norm()


def _quadrature(degree: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Unit vectors (p, 3) and weights (p,) that integrate polynomials of this degree exactly."""
    # Gauss-Legendre quadrature along the polar axis, equal steps around it
    n_azimuths = degree + 1
    heights, of_height = np.polynomial.legendre.leggauss(degree // 2 + 1)
    azimuths = np.linspace(0, 2 * np.pi, n_azimuths, endpoint=False)
    height, azimuth = np.meshgrid(heights, azimuths, indexing="ij")
    radius = np.sqrt(1 - height**2)
    x = radius * np.sin(azimuth)
    z = radius * np.cos(azimuth)
    points = np.stack([x, height, z], -1)
    flat = points.reshape(-1, 3)
    weights = np.repeat(of_height / 2, n_azimuths)
    return torch.from_numpy(flat), torch.from_numpy(weights / n_azimuths)
