"""Models on a grid of axes that all atoms share: it is replaced, drawn, and integrated over."""

from __future__ import annotations

import contextlib
import copy
import numbers
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Self

import torch

from .. import orientations
from ..layers.linear import derived
from .base import AtomisticModel


class OnAxes(AtomisticModel):
    """A model with a buffer `axes`, and settings `orientations`, `orientations_drawn`, `oriented`.

    With `orientations_drawn` each step of a training has another grid, and means over the axes are
    a quadrature, so that the model learns functions of the sphere, whatever the grid.
    """

    axes: torch.Tensor  # (O, 3) float64

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Self:
        """As of any module, but axes stay float64: they are the symmetry of the grid."""
        axes = self.axes
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.axes = axes.to(self.axes.device)
        return self

    def with_orientations(self, axes: str | int | torch.Tensor) -> Self:
        """A copy on other `axes`: name of a grid, number of axes, or unit vectors (O, 3)."""
        if not self.settings.oriented:
            raise ValueError("`orientations`: PNITA has none that could be replaced")
        if isinstance(axes, numbers.Integral):
            axes = self._name_of(axes)
        grid = orientations.grid(axes) if isinstance(axes, str) else axes
        grid = orientations.checked(grid)
        name = axes if isinstance(axes, str) else f"given:{len(grid)}"
        other = copy.deepcopy(self)
        other.settings = replace(self.settings, orientations=name)
        other.axes = grid.to(self.axes.device)
        other.__dict__.pop("_derived", None)  # tensors that depend on the axes
        return other

    def was_trained_on(self, other: AtomisticModel) -> bool:
        """Whether the axes of `other` are its own or were drawn in training, or it has none yet."""
        unknown = bool(self.axes.isnan().any())
        drawn = self.settings.orientations_drawn
        was_drawn = drawn and other.settings.orientations in orientations.DRAWN
        return unknown or was_drawn or other.settings == self.settings

    def _name_of(self, n: numbers.Integral) -> str:
        """Name of the grid of n axes: one that was drawn in training if there is one."""
        name = orientations.name_of(n)
        if not self.settings.orientations_drawn:
            return name
        same_size = [each for each in orientations.DRAWN if len(orientations.grid(each)) == n]
        return same_size[0] if same_size else name

    @property
    def training_grids(self) -> tuple[str, ...]:
        """Names of the grids that the model was trained on."""
        settings = self.settings
        return orientations.DRAWN if settings.orientations_drawn else (settings.orientations,)

    @contextlib.contextmanager
    def on_drawn_axes(self, generator: torch.Generator) -> Iterator[None]:
        """On axes drawn with a `generator`, if the settings say so; then on its own again."""
        own = self.axes
        if self.settings.orientations_drawn:
            self.axes = orientations.drawn(generator).to(own.device)
        try:
            yield
        finally:
            self.axes = own

    def rotation_classes(self, rotations: torch.Tensor) -> torch.Tensor:
        """(n,) label per rotation: those with the same label give identical energies.

        These are the `rotations` (n, 3, 3) of a structure that rotate the grid into the same grid.
        """
        return orientations.classes(self.axes, rotations.to(self.axes))

    def weighted(self, x: torch.Tensor) -> torch.Tensor:
        """Values `x` (n_atoms, O, ...), whose means over the axes are to be integrals.

        Times O w_o, with the weights of a quadrature, if grids were drawn; else as they are.
        """
        if not self.settings.orientations_drawn:
            return x
        weights = derived(self, "weights", (self.axes,), lambda: orientations.weights(self.axes))
        weights = (len(weights) * weights).to(x.dtype)
        return x * weights.view(-1, *[1] * (x.ndim - 2))
