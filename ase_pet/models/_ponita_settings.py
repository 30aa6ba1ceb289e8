"""What makes a PONITA: its settings, checked."""

import math
from dataclasses import dataclass, field

import torch

from .. import orientations
from ..layers import invariants


@dataclass(frozen=True)
class Settings:
    """What makes a PONITA."""

    species: tuple[int, ...]  # atomic numbers, in the order of the embedding rows
    cutoff: float = 5.0  # A
    cutoff_function: str = (
        "polynomial"  # polynomial, bump, step; none: molecules only, every pair of atoms counts
    )
    cutoff_power: int = 6  # of the polynomial
    cutoff_width: float = 1.0  # A, of bump and step
    # see `orientations`; "given:n": n axes that come with the weights; "none": PNITA
    orientations: str = "icosahedral"
    # A, within which the distance from an axis is smooth; 0: a cusp, as in the authors' models
    softening: float = 0.3
    scaled: bool = (
        False  # invariants over the cutoff, from which bonds are hard to learn; else in A
    )
    degree: int = 3  # of the polynomials of invariants
    width: int = 64  # channels C
    num_basis: int = 64  # functions K of the kernel basis
    num_layers: int = 3
    widening: int = 4  # hidden width of the MLP of a block over C
    layer_scale: float | None = (
        None  # first value of the factors on the updates of the blocks, None for no factors
    )
    multiple_readouts: bool = True  # each layer is read, not only the last
    vector_inputs: int = 0  # vectors per atom that `predict` is given
    shift: float = 0.0  # eV per structure, as in the authors' models: not size-extensive
    heads: dict[str, int] = field(
        default_factory=lambda: {"energy": 1}
    )  # readouts per atom: name -> components, 1 or 3

    def __post_init__(self):
        object.__setattr__(self, "species", tuple(int(z) for z in self.species))
        if not self.species or len(set(self.species)) < len(self.species) or min(self.species) < 0:
            raise ValueError(f"`species` is {self.species}: expected different atomic numbers")
        if self.cutoff_function not in invariants.WINDOWS:
            raise ValueError(
                f"`cutoff_function` is {self.cutoff_function!r}: valid choices are "
                f"{', '.join(invariants.WINDOWS)}"
            )
        for name in ("cutoff", "cutoff_width"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(
                    f"`{name}` is {getattr(self, name)!r}: expected a finite length in A, more"
                    " than 0"
                )
        for name in ("cutoff_power", "degree", "width", "num_basis", "num_layers", "widening"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` is {getattr(self, name)!r}: expected 1 or more")
        if not 0 <= self.softening < math.inf:
            raise ValueError(
                f"`softening` is {self.softening!r}: expected a length in A, 0 or more"
            )
        odd = [
            name
            for name, size in self.heads.items()
            if size not in ((1, 3) if self.oriented else (1,))
        ]
        if odd:
            raise ValueError(
                f"head `{odd[0]}` has {self.heads[odd[0]]} components: expected 1 (a number)"
                + (" or 3 (a vector)" if self.oriented else ", as there are no axes for a vector")
            )
        if self.vector_inputs and not self.oriented:
            raise ValueError("`vector_inputs` need axes: choose other `orientations` than 'none'")
        self.axes()

    @property
    def oriented(self):
        """Whether there are axes."""
        return self.orientations != "none"

    def axes(self):
        """(O, 3) float64 axes on the CPU, none for PNITA."""
        if self.oriented:
            return orientations.grid(self.orientations)
        return torch.zeros(0, 3, dtype=torch.float64, device="cpu")
