"""Initial scale of the kernels of convolutions, from a random gas of atoms."""

from __future__ import annotations

import torch
from torch.nn import functional

N_ATOMS = 32
LARGEST_RADIUS = 5.0  # A


def random_gas(cutoff: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Vectors (E, 3) in A, centres (E,) and neighbours (E,) of all pairs of 32 atoms in a sphere.

    Parameters
    ----------
    cutoff:
        Cutoff of the model in A; the radius of the sphere, unless that is larger than 5 A.
    """
    generator = torch.Generator().manual_seed(0)
    normal = torch.randn(N_ATOMS, 3, generator=generator, dtype=torch.float64)
    uniform = torch.rand(N_ATOMS, 1, generator=generator, dtype=torch.float64)
    radius = min(cutoff, LARGEST_RADIUS)
    # uniform density: the radius is distributed as the cube root of a uniform number
    positions = functional.normalize(normal, dim=1)
    positions *= radius * uniform ** (1 / 3)
    centre, neighbour = (~torch.eye(N_ATOMS, dtype=torch.bool)).nonzero().T
    return positions[neighbour] - positions[centre], centre, neighbour
