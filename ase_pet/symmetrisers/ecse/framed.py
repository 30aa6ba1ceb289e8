"""Framed environments: the receptive field of an atom in each of its frames."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ...graph import chunking
from ...models.base import AtomisticModel
from .._chunked_sum import ChunkedSum, Part
from .._equivariance import OutputSpec
from .collinear import CollinearEnvironments, orientations, projected
from .edges import ranges
from .frames import Frames
from .receptive_field import ReceptiveField

MIRRORS = ((1.0, 1.0, 1.0), (1.0, -1.0, 1.0))  # signs of the axes of a frame and its mirror image


@dataclass(frozen=True)
class FramedEnvironments:
    """Environments of n atoms to evaluate, m of them, each in a frame. All float64.

    The weights of the environments of an atom add up to 1.

    Attributes
    ----------
    field:
        Receptive fields of the atoms.
    vectors:
        Vectors (K', 3) in A, which environments in different frames share.
    source:
        Entry (K',) of the receptive field that each vector is of.
    start:
        First vector (m,) of each environment.
    count:
        Number of vectors (m,) of each environment.
    axes:
        Frame (m, 3, 3), e1, e2 and e3 as columns.
    back:
        Matrices B (m, 3, 3) that rotate outputs back, see `_equivariance`.
    atom:
        Atom (m,), 0 .. n - 1.
    weights:
        Weight (m,).
    """

    field: ReceptiveField
    vectors: torch.Tensor
    source: torch.Tensor
    start: torch.Tensor
    count: torch.Tensor
    axes: torch.Tensor
    back: torch.Tensor
    atom: torch.Tensor
    weights: torch.Tensor

    @property
    def n_edges(self) -> torch.Tensor:
        """Number of directed edges (m,) that the model evaluates for each environment."""
        return self.field.edges_per_entry * self.count

    def chunks(self, limit: int) -> list[slice]:
        """Slices of the environments that are evaluated at once.

        Parameters
        ----------
        limit:
            Largest number of their edges and central atoms.
        """
        return chunking.split(self.n_edges + 1, limit)

    def entries(self, chunk: slice) -> tuple[torch.Tensor, torch.Tensor]:
        """Vectors (k,) of a chunk of environments, as indices, and their environments (k,) in it.

        Parameters
        ----------
        chunk:
            Slice of the environments.
        """
        return ranges(self.start[chunk], self.count[chunk])

    def weighted_sums(
        self, model: AtomisticModel, outputs: OutputSpec, limit: int, trainable: bool
    ) -> torch.Tensor:
        """Sums (n, columns) over the environments of each atom: weight times outputs.

        Parameters
        ----------
        model:
            Model that evaluates the environments.
        outputs:
            Outputs that are summed, rotated back.
        limit:
            Largest number of edges and central atoms that are evaluated at once.
        trainable:
            Whether the model has weights that require a gradient.
        """
        groups = self.field.groups

        def evaluate(
            chunk: slice,
            vectors: torch.Tensor,
            axes: torch.Tensor,
            back: torch.Tensor,
            weights: torch.Tensor,
        ) -> torch.Tensor:
            atom = self.atom[chunk]
            entry, environment = self.entries(chunk)
            source = self.source[entry]
            rotated = in_frames(vectors, entry, axes, environment)
            graph, centre = self.field.copies(atom, source, environment, rotated)
            # (environments of the chunk, columns): outputs of the central atoms only
            values = outputs.evaluate(model, graph)
            values = values.index_select(0, centre)
            values = outputs.rotated_back(values, back)
            weighted = weights[:, None] * values
            sums = weighted.new_zeros(len(groups), outputs.columns)
            return sums.index_add(0, atom, weighted)

        # every environment may use any vector, but only its own axes, matrix B and weight
        everything = slice(None)
        parts = [
            Part((everything, chunk, chunk, chunk), everything, chunk)
            for chunk in self.chunks(limit)
        ]
        vector_groups = self.field.entry_groups[self.source]
        own_groups = groups[self.atom]
        terms = ChunkedSum(
            evaluate,
            parts,
            (vector_groups, own_groups, own_groups, own_groups),
            groups,
            outputs.columns,
        )
        return terms((self.vectors, self.axes, self.back, self.weights), trainable)


def in_frames(
    vectors: torch.Tensor, entry: torch.Tensor, axes: torch.Tensor, environment: torch.Tensor
) -> torch.Tensor:
    """Components (k, 3) in A of vectors along the axes of their frames, F^T v.

    Parameters
    ----------
    vectors:
        Vectors (K', 3) in A.
    entry:
        Index (k,) of each vector.
    axes:
        Frames F (m, 3, 3), e1, e2 and e3 as columns.
    environment:
        Frame (k,) of each vector.
    """
    selected = vectors.index_select(0, entry)[:, :, None]  # (k, 3, 1)
    return (selected * axes.index_select(0, environment)).sum(1)


def framed_environments(
    field: ReceptiveField,
    vectors: torch.Tensor,
    frames: Frames,
    collinear: CollinearEnvironments,
    auxiliary: torch.Tensor,
    mirrored: bool,
    n_azimuthal: int | None,
) -> FramedEnvironments:
    """FramedEnvironments of all atoms: in each frame, its mirror image, and on lines.

    Parameters
    ----------
    field:
        Receptive fields of n atoms.
    vectors:
        Vectors (K, 3) in A of their entries.
    frames:
        Frames of the atoms.
    collinear:
        Collinear environments of the atoms with an auxiliary weight.
    auxiliary:
        Auxiliary weight w_aux (n,).
    mirrored:
        Whether mirror images of frames are included.
    n_azimuthal:
        Number of rotations about lines, None where environments are projected onto them.
    """
    share = 1 / (frames.total + auxiliary)  # of a weight of 1, (n,)
    mirrors = frames.axes.new_tensor(MIRRORS[: 1 + mirrored])
    n_mirrors = len(mirrors)

    # frames and their mirror images: (n_frames, 1, 3, 3) * (n_mirrors, 1, 3)
    axes = (frames.axes[:, None] * mirrors[:, None]).flatten(0, 1)
    weights = frames.weights * share[frames.atom] / n_mirrors
    weights = weights.repeat_interleave(n_mirrors)
    atom = frames.atom.repeat_interleave(n_mirrors)

    # collinear environments have vectors of their own, after those of the field
    line_count = field.count[collinear.atom] * collinear.has_axis
    line_start = line_count.cumsum(0) - line_count + len(vectors)
    entry, of_line = ranges(field.start[collinear.atom], line_count)
    on_lines = projected(collinear, of_line, vectors[entry], n_azimuthal)
    oriented = orientations(collinear, n_azimuthal, mirrors)
    line = oriented.environment  # of each orientation
    line_atom = collinear.atom[line]
    line_weights = oriented.share * collinear.weights[line]
    line_weights = line_weights * (auxiliary * share)[line_atom]

    every_entry = torch.arange(len(vectors), device=entry.device)
    return FramedEnvironments(
        field=field,
        vectors=torch.cat([vectors, on_lines]),
        source=torch.cat([every_entry, entry]),
        start=torch.cat([field.start[atom], line_start[line]]),
        count=torch.cat([field.count[atom], line_count[line]]),
        axes=torch.cat([axes, oriented.axes]),
        back=torch.cat([axes, oriented.back]),
        atom=torch.cat([atom, line_atom]),
        weights=torch.cat([weights, line_weights]),
    )
