"""ECSE with a few environments of each atom, drawn by weight: for training.

In inference a symmetrised model evaluates environments in the frames of their own neighbours only,
never in other orientations. A model that is trained in drawn frames need not learn rotations, at
the cost of the plain model. Its energies and forces scatter around those of ECSE. The scatter
decreases as the model learns that all frames are equivalent.

With one draw the loss does not depend on the differences between frames: where weights change, the
force of ECSE has a part that is their derivative times the differences of energies between frames.
With two or more draws the model learns to make this part vanish. A loss may contain the variance of
an atom's energy over its drawn frames, which the same run evaluates.

Each structure has a seed, and the draw of an environment is a function of this seed, of the number
of its atom in the structure, and of its own number. So it does not depend on the other structures
of a batch, nor on the process that evaluates it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias, TypeVar

import numpy as np
import torch

from ...graph import Graph
from ...models.base import AtomisticModel
from .._equivariance import OutputSpec, output_spec
from .edges import Block, GraphEdges
from .framed import FramedEnvironments
from .layers import EcseLayersModel, LayerBlock
from .model import BlockEnvironments, EcseModel
from .settings import Settings

# number of structures of an evaluation -> seed of each, int64 on the CPU
Seeds: TypeAlias = Callable[[int], torch.Tensor]
AnyModel = TypeVar("AnyModel", "SampledModel", "SampledLayers")

# name by which `SampledModel.predict` is asked for variances; no head of a model has a space in it
FRAME_VARIANCE = "frame variance"

# of splitmix64: G. Steele, D. Lea, C. Flood, OOPSLA 2014
STEP = np.uint64(0x9E3779B97F4A7C15)
FACTORS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


class SeedStream:
    """Seeds from a generator, other ones at each call.

    Several ranks, which evaluate every `size`-th structure of a list, have the seeds that one
    process would give to the same structures.

    Parameters
    ----------
    generator:
        Generator on the CPU.
    rank:
        Number of this process.
    size:
        Number of processes.
    """

    def __init__(self, generator: torch.Generator, rank: int = 0, size: int = 1) -> None:
        self.generator = generator
        self.rank = rank
        self.size = size

    def __call__(self, count: int) -> torch.Tensor:
        """The next seeds (count,).

        Parameters
        ----------
        count:
            Number of structures.
        """
        of_all = torch.randint(2**62, (count * self.size,), generator=self.generator)
        return of_all[self.rank :: self.size]


@dataclass(frozen=True)
class WithSquares(OutputSpec):
    """Outputs with the energy first, and the square of the energy in eV^2 as a last column."""

    @property
    def columns(self) -> int:
        """Number of columns."""
        return super().columns + 1

    def evaluate(self, model: AtomisticModel, graph: Graph) -> torch.Tensor:
        """Outputs (n_atoms, columns) of the model in the axes of the graph.

        Parameters
        ----------
        model:
            Model that is evaluated.
        graph:
            Structures that it is evaluated on.
        """
        values = super().evaluate(model, graph)
        return torch.cat([values, values[:, :1].square()], 1)

    def rotated_back(self, values: torch.Tensor, rotations: torch.Tensor) -> torch.Tensor:
        """Outputs (n, columns) in the axes of the structure.

        Parameters
        ----------
        values:
            Outputs (n, columns) of rotated copies.
        rotations:
            Matrices B (n, 3, 3) with x = B x' for coordinates x' of the copies.
        """
        rotated = super().rotated_back(values[:, :-1], rotations)
        return torch.cat([rotated, values[:, -1:]], 1)


class SampledModel(EcseModel):
    """A model in frames that are drawn by the seed of each structure.

    The draw itself has no derivative.

    Parameters
    ----------
    model:
        Model that is trained.
    options:
        Settings of the weights.
    seeds:
        Function that returns the seeds of an evaluation.
    draws:
        Number of frames of each atom, or all if it has fewer.
    """

    keys: np.ndarray  # of the atoms of an evaluation

    def __init__(
        self,
        model: AtomisticModel,
        options: Settings | None,
        seeds: Seeds,
        draws: int = 1,
    ) -> None:
        super().__init__(model, options)
        self.seeds = seeds
        self.draws = draws

    def averaged(self, graph: Graph, outputs: OutputSpec) -> torch.Tensor:
        """Averages (n_atoms, columns), float64, of outputs of the inner model in drawn frames.

        Parameters
        ----------
        graph:
            Structures, with all pairs within `cutoff`.
        outputs:
            Outputs that are averaged.
        """
        return EcseModel.averaged(_with_keys(self, graph), graph, outputs)

    def predict(self, graph: Graph, names: tuple[str, ...]) -> dict[str, torch.Tensor]:
        """{head: (n_atoms, components)}, float64; with `FRAME_VARIANCE` also that, in eV^2.

        The variance of the energies eps_m of the drawn frames of an atom, whose weights c_m add up
        to 1, is sum_m c_m eps_m^2 - (sum_m c_m eps_m)^2, of shape (n_atoms, 1).

        Parameters
        ----------
        graph:
            Structures, with all pairs within `cutoff`.
        names:
            Names of heads.
        """
        heads = [name for name in names if name != FRAME_VARIANCE]
        if len(heads) == len(names):
            return super().predict(graph, names)
        with_energy = dict.fromkeys((self.energy_head, *heads))
        outputs = WithSquares(output_spec(self.model, tuple(with_energy)).heads)
        values = self.averaged(graph, outputs)
        mean = values[:, :1]
        mean_square = values[:, -1:]
        # float64: energies of an eV leave 1e-16 eV^2 of rounding
        variance = mean_square - mean.square()
        return {**outputs.by_head(values[:, :-1]), FRAME_VARIANCE: variance}

    def _block_environments(
        self, graph_edges: GraphEdges, block: Block, vectors: torch.Tensor
    ) -> BlockEnvironments:
        every = super()._block_environments(graph_edges, block, vectors)
        keys = mixed(self.keys[block.atoms], 0)
        environments = drawn(every.environments, keys, self.draws)
        return every._replace(environments=environments)


class SampledLayers(EcseLayersModel):
    """The same layer by layer: each layer evaluates each atom in frames of a draw of its own.

    Parameters
    ----------
    model:
        PET that is trained.
    options:
        Settings of the weights.
    seeds:
        Function that returns the seeds of an evaluation.
    draws:
        Number of frames of each atom in each layer, or all if it has fewer.
    """

    keys: np.ndarray  # of the atoms of an evaluation

    def __init__(
        self,
        model: AtomisticModel,
        options: Settings | None,
        seeds: Seeds,
        draws: int = 1,
    ) -> None:
        super().__init__(model, options)
        self.seeds = seeds
        self.draws = draws

    def averaged(self, graph: Graph, outputs: OutputSpec) -> torch.Tensor:
        """Outputs (n_atoms, columns), float64, of layers in drawn frames.

        Parameters
        ----------
        graph:
            Structures, with all pairs within `cutoff`.
        outputs:
            Outputs that are averaged.
        """
        return EcseLayersModel.averaged(_with_keys(self, graph), graph, outputs)

    def _layer_environments(self, layer: int, block: LayerBlock) -> FramedEnvironments:
        keys = mixed(self.keys[block.atoms], layer)
        return drawn(block.environments, keys, self.draws)


# name of the symmetriser -> class
DRAWN: dict[str, type[SampledModel] | type[SampledLayers]] = {
    "ecse": SampledModel,
    "ecse_layers": SampledLayers,
}


def _with_keys(model: AnyModel, graph: Graph) -> AnyModel:
    """The model with the keys of one evaluation, which its derivatives use again."""
    seeds = model.seeds(graph.n_structures).numpy()
    structure = graph.structure.cpu().numpy()
    first = np.searchsorted(structure, np.arange(graph.n_structures))
    number = np.arange(len(structure)) - first[structure]  # of each atom in its structure
    of_evaluation = copy.copy(model)
    of_evaluation.keys = mixed(seeds.astype(np.uint64)[structure], number)
    return of_evaluation


def mixed(keys: np.ndarray, number: np.ndarray | int) -> np.ndarray:
    """Keys (n,), uint64, that depend on other keys and on a number each in a random way.

    Parameters
    ----------
    keys:
        Keys (n,), uint64.
    number:
        Whole number from 0 for each of them (n,), or one for all.
    """
    # arrays wrap where they overflow, which is meant here; scalars would warn
    steps = np.atleast_1d(number).astype(np.uint64)
    steps += np.uint64(1)
    z = keys + steps * STEP
    z = _folded(z, 30) * FACTORS[0]
    z = _folded(z, 27) * FACTORS[1]
    return _folded(z, 31)


def _folded(z: np.ndarray, shift: int) -> np.ndarray:
    """z XOR (z >> shift)."""
    shifted: np.ndarray = z >> np.uint64(shift)
    return z ^ shifted


def _chances(environments: FramedEnvironments, keys: np.ndarray) -> torch.Tensor:
    """Numbers (m,) between 0 and 1, float64, for environments of n atoms with keys (n,)."""
    atom = environments.atom.cpu().numpy()
    order = np.argsort(atom, kind="stable")
    by_atom = atom[order]
    start = np.searchsorted(by_atom, np.arange(len(keys)))
    number = np.empty_like(atom)  # of each environment among those of its atom
    number[order] = np.arange(len(atom)) - start[by_atom]
    bits = mixed(keys[atom], number)
    bits >>= np.uint64(11)  # 53 of them, as many as float64 has
    chances = (bits.astype(np.float64) + 0.5) / 2**53
    return torch.from_numpy(chances)


def drawn(environments: FramedEnvironments, keys: np.ndarray, draws: int) -> FramedEnvironments:
    """Environments that are drawn by weight, without replacement.

    Each atom keeps the ratios of the weights of its environments, with derivatives.

    Parameters
    ----------
    environments:
        All environments of n atoms.
    keys:
        Key (n,), uint64, of each atom, which decides on the draws.
    draws:
        Number of environments of each atom, or all if it has fewer.
    """
    n_atoms = len(environments.field.count)
    device = environments.weights.device
    chance = _chances(environments, keys).to(device)
    # The largest log w + g, g from a Gumbel distribution, is a draw by weight, the next largest the
    # next draw.
    log_weights = environments.weights.detach().log()
    gumbel = -(-chance.log()).log()
    key = log_weights + gumbel
    order = torch.argsort(key, descending=True)
    by_atom = torch.argsort(environments.atom[order], stable=True)
    order = order[by_atom]
    count = torch.bincount(environments.atom, minlength=n_atoms)
    start = count.cumsum(0) - count
    # position of each environment among the sorted ones of its atom
    index = torch.arange(len(order), device=device)
    sorted_atom = environments.atom[order]
    rank = index - start[sorted_atom]
    chosen = order[rank < draws]

    atom = environments.atom[chosen]
    weights = environments.weights[chosen]
    total = weights.new_zeros(n_atoms).index_add(0, atom, weights)
    return replace(
        environments,
        start=environments.start[chosen],
        count=environments.count[chosen],
        axes=environments.axes[chosen],
        back=environments.back[chosen],
        atom=atom,
        weights=weights / total[atom],
    )
