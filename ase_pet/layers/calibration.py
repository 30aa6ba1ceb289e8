"""Initial scale of the kernels of convolutions, from a random gas of atoms."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

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


def scale_kernels(
    layers: Iterable[Any],
    x: torch.Tensor,
    in_space: Callable[[Any, torch.Tensor], torch.Tensor],
    fibres: Callable[[], list[torch.Tensor | None]],
) -> None:
    """Scale the kernels of layers, one after the other, so that convolutions keep the std of x.

    Parameters
    ----------
    layers:
        Layers with a `convolution` of position-orientation features.
    x:
        Features (n_atoms, O, C) before the first layer.
    in_space:
        Function of a convolution and features, its sums (n_atoms, O, C) in space.
    fibres:
        Function that returns the kernel (O, O, C) among the axes of each layer, None without axes.
    """
    for index, layer in enumerate(layers):
        convolution = layer.convolution
        y = in_space(convolution, x)
        convolution.kernel.weight *= x.std() / y.std()
        if convolution.fibre_kernel is not None:
            z = convolution.among_axes(y, fibres()[index])
            z = z - convolution.bias
            convolution.fibre_kernel.weight *= y.std() / z.std()
        # again, with the scaled kernels
        y = in_space(convolution, x)
        x = layer(x, y, fibres()[index])
