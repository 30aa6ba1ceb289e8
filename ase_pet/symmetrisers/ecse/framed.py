"""Framed environments: the receptive field of an atom in each of its frames."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch

from ...graph import chunking
from ...layers.constants import constant
from ...models.base import AtomisticModel
from .._chunked_sum import ChunkedSum, Part
from .._equivariance import OutputSpec
from .collinear import CollinearEnvironments, collinear_orientations, projected
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
        Vectors (K', 3) in A, which environments in different frames share: first those of the K
        entries of the receptive fields, then those of collinear environments.
    field_entry:
        Entry (K',) of the receptive fields, 0 .. K - 1, that each vector is of.
    start:
        First vector (m,) of each environment, 0 .. K' - 1.
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
    field_entry: torch.Tensor
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

    def vector_indices(self, chunk: slice) -> tuple[torch.Tensor, torch.Tensor]:
        """Indices of the vectors of a chunk of environments, and their environments, both (k,).

        Parameters
        ----------
        chunk:
            Slice of the environments.

        Returns
        -------
        tuple
            Indices (k,) among `vectors`, 0 .. K' - 1, those of one environment after the other, and
            the environment (k,) of each, counted from the start of the chunk.
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
            vector_index, environment = self.vector_indices(chunk)
            field_entry = self.field_entry[vector_index]
            rotated = in_frames(vectors, vector_index, axes, environment)
            graph, centre = self.field.copies(atom, field_entry, environment, rotated)
            # (environments of the chunk, columns): outputs of the central atoms only
            values = outputs.evaluate(model, graph)
            values = values.index_select(0, centre)
            values = outputs.rotated_back(values, back)
            weighted = weights[:, None] * values
            sums = weighted.new_zeros(len(groups), outputs.columns)
            return sums.index_add(0, atom, weighted)

        # The inner sum, over chunks of environments: each may use any vector and contribute to any
        # atom of the block, but has only its own axes, matrices B and weights.
        everything = slice(None)
        parts = [
            Part(reads=(everything, chunk, chunk, chunk), writes=everything, data=chunk)
            for chunk in self.chunks(limit)
        ]
        vector_groups = self.field.entry_groups[self.field_entry]
        environment_groups = groups[self.atom]
        inner_sum = ChunkedSum(
            function=evaluate,
            parts=parts,
            input_groups=(
                vector_groups,
                environment_groups,
                environment_groups,
                environment_groups,
            ),
            groups=groups,
            columns=outputs.columns,
        )
        inputs = (self.vectors, self.axes, self.back, self.weights)
        return inner_sum(inputs, trainable)


def in_frames(
    vectors: torch.Tensor,
    vector_index: torch.Tensor,
    axes: torch.Tensor,
    environment: torch.Tensor,
) -> torch.Tensor:
    """Components (k, 3) in A of vectors along the axes of their frames, F^T v.

    Parameters
    ----------
    vectors:
        Vectors (K', 3) in A.
    vector_index:
        Indices (k,) of the vectors to rotate, 0 .. K' - 1.
    axes:
        Frames F (m, 3, 3), e1, e2 and e3 as columns.
    environment:
        Frame (k,) that each of them is rotated into, 0 .. m - 1.
    """
    selected = vectors.index_select(0, vector_index)[:, :, None]  # (k, 3, 1)
    return (selected * axes.index_select(0, environment)).sum(1)


def framed_environments(
    field: ReceptiveField,
    vectors: torch.Tensor,
    frames: Frames,
    collinear: CollinearEnvironments,
    collinear_total: torch.Tensor,
    mirrored: bool,
    n_azimuthal: int | None,
) -> FramedEnvironments:
    """FramedEnvironments of all atoms: in each frame and its mirror image, and collinear ones.

    Parameters
    ----------
    field:
        Receptive fields of n atoms.
    vectors:
        Vectors (K, 3) in A of their entries.
    frames:
        Frames of the atoms.
    collinear:
        Collinear environments of the atoms that need them.
    collinear_total:
        Total weight w_aux (n,) of the collinear environments of each atom.
    mirrored:
        Whether mirror images of frames are included.
    n_azimuthal:
        Number of rotations about the axes of collinear environments, None where these are
        projected onto their axes.
    """
    normalisation = 1 / (frames.total + collinear_total)  # (n,)
    mirrors = constant(tuple(itertools.chain(*MIRRORS)), frames.axes)
    mirrors = mirrors.view(-1, 3)[: 1 + mirrored]
    n_mirrors = len(mirrors)

    # frames and their mirror images: (n_frames, 1, 3, 3) * (n_mirrors, 1, 3)
    axes = (frames.axes[:, None] * mirrors[:, None]).flatten(0, 1)
    weights = frames.weights * normalisation[frames.atom] / n_mirrors
    weights = weights.repeat_interleave(n_mirrors)
    atom = frames.atom.repeat_interleave(n_mirrors)

    # collinear environments have vectors of their own, after those of the field
    n_vectors = field.count[collinear.atom] * collinear.has_axis
    first_vector = n_vectors.cumsum(0) - n_vectors + len(vectors)
    field_entry, environment = ranges(field.start[collinear.atom], n_vectors)
    collinear_vectors = projected(collinear, environment, vectors[field_entry], n_azimuthal)

    # each of them in one or more orientations
    oriented = collinear_orientations(collinear, n_azimuthal, mirrors)
    collinear_atom = collinear.atom[oriented.environment]
    collinear_weights = oriented.share * collinear.weights[oriented.environment]
    collinear_weights = collinear_weights * (collinear_total * normalisation)[collinear_atom]

    every_entry = torch.arange(len(vectors), device=field_entry.device)
    return FramedEnvironments(
        field=field,
        vectors=torch.cat([vectors, collinear_vectors]),
        field_entry=torch.cat([every_entry, field_entry]),
        start=torch.cat([field.start[atom], first_vector[oriented.environment]]),
        count=torch.cat([field.count[atom], n_vectors[oriented.environment]]),
        axes=torch.cat([axes, oriented.axes]),
        back=torch.cat([axes, oriented.back]),
        atom=torch.cat([atom, collinear_atom]),
        weights=torch.cat([weights, collinear_weights]),
    )
