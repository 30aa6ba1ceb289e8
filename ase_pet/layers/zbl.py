"""Ziegler-Biersack-Littmark (ZBL) repulsion of screened nuclei.

It is switched off at the distance where the covalent spheres of two atoms touch.
"""

from __future__ import annotations

import torch
from ase.data import covalent_radii  # a table, not an engine

from ..graph import Graph

# screening function phi(x) = sum_k c_k exp(-d_k x)
_C = (0.18175, 0.50986, 0.28022, 0.02817)
_D = (3.19980, 0.94229, 0.40290, 0.20162)
# e^2 / (4 pi eps0) in eV A, CODATA 2018; ase.units has CODATA 2014, 14.399645351950548
COULOMB = 14.399645478425668
SCREENING = 0.46850  # A
HEAVIEST = 96  # curium, the last element that B. Cordero et al. give a radius of
# covalent radii in A by atomic number; from B. Cordero et al., Dalton Trans. 2832 (2008)
RADII = tuple(covalent_radii[: HEAVIEST + 1].tolist())


def _screened(
    z_i: torch.Tensor, z_j: torch.Tensor, r: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Screened Coulomb energy (P,) in eV, and its first two derivatives at r (P,) in A.

    E(r) = k z_i z_j phi(r / a) / r with a = 0.4685 A / (z_i^0.23 + z_j^0.23). Screening length and
    prefactor are rounded to float32, as in the public implementation (1e-8 of the energy).
    """
    z_i = z_i.float()
    z_j = z_j.float()
    length = SCREENING / (z_i**0.23 + z_j**0.23)
    length = length.to(r.dtype)
    prefactor = COULOMB * z_i * z_j
    prefactor = prefactor.to(r.dtype)
    phi, phi1, phi2 = _screening(r, length)
    # derivatives of phi / r
    slope = phi1 / r - phi / r**2
    curvature = phi2 / r
    curvature = curvature - 2 * phi1 / r**2
    curvature = curvature + 2 * phi / r**3
    energy = prefactor * phi / r
    return energy, prefactor * slope, prefactor * curvature


def _screening(
    r: torch.Tensor, length: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """phi(r / length) and its first two derivatives with respect to r, each (P,)."""
    phi = torch.zeros_like(r)
    slope = torch.zeros_like(r)
    curvature = torch.zeros_like(r)
    for c, d in zip(_C, _D, strict=True):
        rate = d / length
        term = c * torch.exp(-rate * r)  # each derivative multiplies it by -rate
        phi = phi + term
        slope = slope - rate * term
        curvature = curvature + rate * rate * term
    return phi, slope, curvature


def zbl(
    z_i: torch.Tensor,
    z_j: torch.Tensor,
    distances: torch.Tensor,
    radius_i: torch.Tensor,
    radius_j: torch.Tensor,
) -> torch.Tensor:
    """Repulsion energies (P,) of pairs in eV.

    E(r) + S(r) for r < R = radius_i + radius_j, with the polynomial S(r) = A r^3 / 3 + B r^4 / 4 +
    C that takes value, slope and curvature to zero at R. Source: LAMMPS pair_style zbl with inner
    cutoff 0.

    Parameters
    ----------
    z_i, z_j:
        Atomic numbers (P,).
    distances:
        Distances (P,) in A.
    radius_i, radius_j:
        Covalent radii (P,) in A.
    """
    outer = radius_i + radius_j
    energy = _screened(z_i, z_j, distances)[0]
    value, slope, curvature = _screened(z_i, z_j, outer)
    # the three conditions at R, solved for A, B and C
    a = -3 * slope + outer * curvature
    a = a / outer**2
    b = 2 * slope - outer * curvature
    b = b / outer**3
    c = -value + outer * slope / 2
    c = c - outer**2 * curvature / 12
    switched = energy + a / 3 * distances**3
    switched = switched + b / 4 * distances**4
    switched = switched + c
    is_within = distances < outer
    return torch.where(is_within, switched, torch.zeros_like(switched))


def energies(graph: Graph, radii: torch.Tensor) -> torch.Tensor:
    """Repulsion energies (n_atoms,) in eV, half of each pair's energy to each of its atoms.

    Parameters
    ----------
    graph:
        Structures, with all pairs within the sum of their radii.
    radii:
        Covalent radii (n_atoms,) in A.
    """
    i = graph.pair_centre
    j = graph.pair_neighbour
    z = graph.numbers
    distances = graph.pair_vectors.square().sum(-1).sqrt()
    half = 0.5 * zbl(z[i], z[j], distances, radii[i], radii[j])  # (P,)
    total = half.new_zeros(graph.n_atoms)
    total = total.index_add(0, i, half)
    return total if graph.one_sided else total.index_add(0, j, half)
