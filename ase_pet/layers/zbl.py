"""Ziegler-Biersack-Littmark repulsion of screened nuclei.

Switched off where covalent spheres stop touching.
"""

import torch

# screening function phi(x) = sum_k c_k exp(-d_k x)
_C = (0.18175, 0.50986, 0.28022, 0.02817)
_D = (3.19980, 0.94229, 0.40290, 0.20162)
COULOMB = 14.399645478425668  # e^2 / (4 pi eps0) in eV A
SCREENING = 0.46850  # A
# covalent radii in A by atomic number, to curium; from B. Cordero et al., Dalton Trans. 2832 (2008)
RADII = (
    0.2,
    0.31,
    0.28,
    1.28,
    0.96,
    0.84,
    0.76,
    0.71,
    0.66,
    0.57,
    0.58,
    1.66,
    1.41,
    1.21,
    1.11,
    1.07,
    1.05,
    1.02,
    1.06,
    2.03,
    1.76,
    1.7,
    1.6,
    1.53,
    1.39,
    1.39,
    1.32,
    1.26,
    1.24,
    1.32,
    1.22,
    1.22,
    1.2,
    1.19,
    1.2,
    1.2,
    1.16,
    2.2,
    1.95,
    1.9,
    1.75,
    1.64,
    1.54,
    1.47,
    1.46,
    1.42,
    1.39,
    1.45,
    1.44,
    1.42,
    1.39,
    1.39,
    1.38,
    1.39,
    1.4,
    2.44,
    2.15,
    2.07,
    2.04,
    2.03,
    2.01,
    1.99,
    1.98,
    1.98,
    1.96,
    1.94,
    1.92,
    1.92,
    1.89,
    1.9,
    1.87,
    1.87,
    1.75,
    1.7,
    1.62,
    1.51,
    1.44,
    1.41,
    1.36,
    1.36,
    1.32,
    1.45,
    1.46,
    1.48,
    1.4,
    1.5,
    1.5,
    2.6,
    2.21,
    2.15,
    2.06,
    2,
    1.96,
    1.9,
    1.87,
    1.8,
    1.69,
)


def _screened(z_i, z_j, r):
    """Energy and its first two derivatives at r, for the switching polynomial and the energy
    itself.

    Screening length and prefactor are rounded to float32, as the public implementation rounds them
    (1e-8 of the energy).
    """
    length = (SCREENING / (z_i.float() ** 0.23 + z_j.float() ** 0.23)).to(r.dtype)
    rates = [d / length for d in _D]
    prefactor = (COULOMB * z_i.float() * z_j.float()).to(r.dtype)
    terms = [c * torch.exp(-rate * r) for c, rate in zip(_C, rates, strict=True)]
    phi = sum(terms)
    phi1 = sum(-rate * term for rate, term in zip(rates, terms, strict=True))
    phi2 = sum(rate * rate * term for rate, term in zip(rates, terms, strict=True))
    energy = prefactor * phi / r
    first = prefactor * (phi1 / r - phi / r**2)
    second = prefactor * (phi2 / r - 2 * phi1 / r**2 + 2 * phi / r**3)
    return energy, first, second


def zbl(z_i, z_j, distances, radius_i, radius_j):
    """(P,) energies in eV of pairs at these distances (A).

    z (P,) atomic numbers; radius (P,) covalent radii in A: the pair energy is E(r) + S(r) for r < R
    = radius_i + radius_j, with the polynomial S(r) = A r^3 / 3 + B r^4 / 4 + C that takes value,
    slope and curvature to zero at R.
    Source: LAMMPS pair_style zbl with inner cutoff 0.
    """
    outer = radius_i + radius_j
    energy, _, _ = _screened(z_i, z_j, distances)
    edge, slope, curvature = _screened(z_i, z_j, outer)
    a = (-3 * slope + outer * curvature) / outer**2
    b = (2 * slope - outer * curvature) / outer**3
    c = -edge + outer * slope / 2 - outer**2 * curvature / 12
    switched = energy + a / 3 * distances**3 + b / 4 * distances**4 + c
    return torch.where(distances < outer, switched, torch.zeros_like(switched))


def energies(graph, radii):
    """(n_atoms,) energies in eV, half of each pair to each of its atoms.

    Radii (n_atoms,) covalent radii in A.
    """
    i, j, z = graph.pair_centre, graph.pair_neighbour, graph.numbers
    distances = graph.pair_vectors.square().sum(-1).sqrt()
    half = 0.5 * zbl(z[i], z[j], distances, radii[i], radii[j])
    return half.new_zeros(graph.n_atoms).index_add(0, i, half).index_add(0, j, half)
