"""ECSE, the equivariant coordinate-system ensemble: exact and smooth symmetry, atom by atom.

The energy of an atom is a weighted mean over the frames that pairs of its neighbours define. The
model evaluates the atom's environment in each of them, rotated so that the frame is that of the
coordinate axes:

    E_i = [sum_jk w_jk eps_i(frame jk) + w_aux eps_aux] / [sum_jk w_jk + w_aux]
    w_aux = 1 - smooth_step(sum_jk w_jk / w0)

eps_aux is the energy of collinear environments, for atoms without frames; w_aux is their weight.

Weights depend on distances and angles only, so E_i does not change when the structure is rotated;
with `parity` each frame is averaged with its mirror image, and E_i does not change when the
structure is reflected either. Weights are smooth and vanish before a pair crosses the cutoff,
frames are those of one atom at a time, nothing is detached: energies are smooth, as local as those
of the model and size-extensive, forces are their exact derivatives.

A frame rotates everything that eps_i depends on. Of a local model these are the edges of atom i. Of
a message-passing model it is a cluster: the atoms that are a number of edges away, and all of their
edges. It is rotated as a rigid body, and of its energies eps_i alone is used. That is exact without
training, and expensive: one evaluation of a cluster for each frame of each atom.

Source: S. Pozdnyakov and M. Ceriotti, NeurIPS 2023, arXiv:2305.19302. Unlike in the published code,
weights are normalised for each atom, R_out = cutoff - D so that no weight is cut off, mirror images
are included, and the network itself evaluates atoms without frames.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import fields
from typing import NamedTuple

import torch

from ...graph import Graph, chunking
from ...models.base import AtomisticModel, cost_summary
from .._chunked_sum import ChunkedSum, Part
from .._equivariance import OutputSpec
from ..base import SymmetrisedModel
from .block_edges import BlockEdges
from .collinear import collinear_environments
from .edges import Block, GraphEdges
from .framed import MIRRORS, FramedEnvironments, framed_environments
from .frames import Frames, outer_cutoff, pair_frames
from .receptive_field import (
    ReceptiveField,
    local_environments,
    message_passing_clusters,
    message_passing_hops,
)
from .settings import PRESETS, Settings, parse_presets
from .switching import smooth_step


class BlockEnvironments(NamedTuple):
    """Frames and environments of the n atoms of a block.

    Attributes
    ----------
    frames:
        Frames of these atoms.
    collinear_total:
        Total weight w_aux (n,) of the collinear environments of each atom.
    environments:
        All environments, in frames and collinear ones.
    """

    frames: Frames
    collinear_total: torch.Tensor
    environments: FramedEnvironments


class EcseModel(SymmetrisedModel):
    """A model, symmetrised by ECSE.

    Evaluations raise ValueError where a message-passing model would cost more than the limit of the
    settings.

    Parameters
    ----------
    model:
        Model that is symmetrised.
    options:
        Settings of the weights, None for the defaults.
    chunk_edges:
        Largest number of directed edges that are evaluated at once, but those of one environment at
        least; None for the default of the device. It bounds memory, and changes results by rounding
        only.

    Attributes
    ----------
    hops:
        Number of edges between an atom and the farthest atom whose edges affect its energy, 0 for a
        local model.
    mirrored:
        Whether mirror images of frames are evaluated.
    outer_cutoff:
        R_out in A.
    """

    def __init__(
        self,
        model: AtomisticModel,
        options: Settings | None = None,
        chunk_edges: int | None = None,
    ) -> None:
        super().__init__(model)
        self.options = parse_presets("" if options is None else options, "ecse", PRESETS)
        self.chunk_edges = chunk_edges
        self.hops = message_passing_hops(model)
        # a model may be invariant under the reflection
        reflections = torch.diag_embed(torch.tensor(MIRRORS, dtype=torch.float64))
        labels = model.rotation_classes(reflections).tolist()
        self.mirrored = self.options.parity and labels[0] != labels[1]
        self.outer_cutoff = outer_cutoff(model.cutoff, self.options)
        if self.outer_cutoff <= 0:
            raise ValueError(
                f"`width` is {self.options.width} A: expected less than the cutoff of the model, "
                f"{model.cutoff} A, as pair weights must vanish inside the cutoff"
            )

    def extra_repr(self) -> str:
        """Options that differ from the published form and change numbers; the fingerprint has them.

        It is empty in the published form, whose fingerprint did not have options at first.
        """
        published = Settings()
        described = []
        for field in fields(Settings):
            value = getattr(self.options, field.name)
            if field.name != "limit" and value != getattr(published, field.name):
                described.append(f"{field.name}={value!r}")
        return ", ".join(described)

    @property
    def supports_domains(self) -> bool:
        """Whether the atoms of one process can be evaluated: not with clusters of atoms."""
        return self.hops == 0 and self.model.supports_domains

    def averaged(self, graph: Graph, outputs: OutputSpec) -> torch.Tensor:
        """Averages (n_atoms, columns), float64, of outputs of the inner model.

        Parameters
        ----------
        graph:
            Structures, with all pairs within `cutoff`.
        outputs:
            Outputs that are averaged.

        Raises
        ------
        ValueError
            The cost is above the limit of the settings.
        """
        self._check_cost(graph)
        graph_edges = GraphEdges.from_graph(graph, self.cutoff)
        trainable = self.trainable
        limit = self._edge_limit(graph)

        def block_averages(block: Block, vectors: torch.Tensor) -> torch.Tensor:
            environments = self._block_environments(graph_edges, block, vectors).environments
            # the inner sum, over chunks of environments
            return environments.weighted_sums(self.model, outputs, limit, trainable)

        # Edges of a local environment act on its central atom only, those of a cluster on all atoms
        # of the structure.
        every_atom = torch.arange(graph.n_atoms, device=graph.numbers.device)
        groups = graph.structure if self.hops else every_atom
        # the outer sum, over blocks of atoms: the pairs and frames of a block are freed after it
        parts = [
            Part(reads=(self._edges_read(block),), writes=block.atoms, data=block)
            for block in graph_edges.blocks(self.hops)
        ]
        outer_sum = ChunkedSum(
            function=block_averages,
            parts=parts,
            input_groups=(groups[graph_edges.centre],),
            groups=groups,
            columns=outputs.columns,
        )
        return outer_sum((graph_edges.vectors,), trainable)

    @torch.no_grad()
    def describe(self, graph: Graph) -> dict[str, torch.Tensor]:
        """Weights of each atom, {name: (n_atoms,)}, without an evaluation of the model.

        Parameters
        ----------
        graph:
            Structures, with all pairs within `cutoff`.

        Returns
        -------
        dict
            inner_cutoff R_in in A, total weight of the frames, total weight w_aux of the collinear
            environments, number of frames, and number of environments to evaluate.
        """
        rows = []
        for frames, collinear_total, environments in self._survey(graph):
            n = len(collinear_total)
            # each (n,), of the atoms of a block
            row = {
                "inner_cutoff": frames.inner_cutoff,
                "total": frames.total,
                "collinear_total": collinear_total,
                "frames": torch.bincount(frames.atom, minlength=n),
                "environments": torch.bincount(environments.atom, minlength=n),
            }
            rows.append(row)
        return {name: torch.cat([row[name] for row in rows]) for name in rows[0]}

    @torch.no_grad()
    def cost(self, graph: Graph) -> dict[str, float]:
        """Predicted cost of an evaluation, see `models.base.cost_summary`.

        Parameters
        ----------
        graph:
            Structures, with all pairs within `cutoff`.
        """
        limit = self._edge_limit(graph)
        chunk_edges = []
        frames_per_atom = []
        n_environments = 0
        n_tokens = 0
        for frames, collinear_total, environments in self._survey(graph):
            n_edges = environments.n_edges
            chunk_edges += [int(n_edges[chunk].sum()) for chunk in environments.chunks(limit)]
            n_atoms = len(collinear_total)
            frames_per_atom.append(torch.bincount(frames.atom, minlength=n_atoms))
            n_environments += len(environments.atom)
            n_tokens += int(environments.field.n_tokens(environments.atom).sum())
        summary = cost_summary(
            graph,
            environments=n_environments,
            tokens=n_tokens,
            edges=sum(chunk_edges),
            peak_edges=max(chunk_edges),
            inner=self.model.cost(graph)["ratio"],
        )
        counts = torch.cat(frames_per_atom).double()  # (n_atoms,)
        summary["frames_mean"] = counts.mean().item()
        summary["frames_max"] = int(counts.max())
        return summary

    def _edge_limit(self, graph: Graph) -> int:
        """Number of directed edges that are evaluated at once."""
        return self.chunk_edges or chunking.budget("edges", graph.pair_vectors.device)

    def _check_cost(self, graph: Graph) -> None:
        """Raise ValueError where the cost of a message-passing model is above the limit."""
        if not self.hops or self.options.limit == math.inf:
            return
        cost = self.cost(graph)
        if cost["ratio"] > self.options.limit:
            raise ValueError(
                f"`symmetrise` 'ecse' would take {cost['ratio']:.0f} times the work of this model,"
                f" and its limit is {self.options.limit:g} times. The energy of an atom depends on"
                f" a cluster, all edges up to {self.hops} hops away."
                f" {cost['evaluations_per_atom']:.0f} rotated copies of the cluster of each atom"
                f" have {cost['edges']:.3g} edges in all. Use group:O (48 times), group:I (120"
                " times) or quadrature:L, which reduce the error of any model. Or use ecse:force,"
                " which has no limit"
            )

    def _survey(self, graph: Graph) -> Iterator[BlockEnvironments]:
        """Environments of each block of atoms."""
        graph_edges = GraphEdges.from_graph(graph, self.cutoff)
        vectors = graph_edges.vectors
        for block in graph_edges.blocks(self.hops):
            yield self._block_environments(graph_edges, block, vectors[self._edges_read(block)])

    def _edges_read(self, block: Block) -> slice:
        """Edges that the energies of a block depend on: of a local model those of the block."""
        return slice(None) if self.hops else block.edges

    def _block_environments(
        self, graph_edges: GraphEdges, block: Block, vectors: torch.Tensor
    ) -> BlockEnvironments:
        """Environments of a block, from the vectors (E, 3) in A of the edges `_edges_read`."""
        block_edges = BlockEdges.from_vectors(
            vectors=vectors[block.edges] if self.hops else vectors,
            atom=graph_edges.centre[block.edges] - block.atoms.start,
            count=graph_edges.count[block.atoms],
        )
        frames = pair_frames(block_edges, self.outer_cutoff, self.options)
        frame_share = smooth_step(frames.total / self.options.least_weight)
        collinear_total = 1 - frame_share  # w_aux, (n,)
        required = collinear_total.detach() > 0
        collinear = collinear_environments(block_edges, required, self.cutoff, self.options)
        field = self._receptive_field(graph_edges, block)
        environments = framed_environments(
            field,
            field.vectors(vectors),
            frames,
            collinear,
            collinear_total,
            self.mirrored,
            self.options.n_azimuthal,
        )
        return BlockEnvironments(frames, collinear_total, environments)

    def _receptive_field(self, graph_edges: GraphEdges, block: Block) -> ReceptiveField:
        """What the energies of the atoms of a block depend on."""
        if self.hops:
            return message_passing_clusters(graph_edges, block.atoms, self.hops)
        return local_environments(graph_edges, block)
