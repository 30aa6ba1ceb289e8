"""ECSE, the equivariant coordinate-system ensemble: exact and smooth symmetry of local models, atom by atom.

The energy of an atom is a weighted mean over the frames that pairs of its neighbours define, each of them turned into
the x axis and the xy plane:

    E_i = [sum_jk w_jk eps_i(frame jk) + w_aux eps_aux] / [sum_jk w_jk + w_aux], w_aux = 1 - step(sum_jk w_jk / w0)

Weights depend on distances and angles only, so E_i does not change when the structure is turned; with `parity` each
frame counts with its mirror image, and E_i does not change when the structure is reflected either. Weights are smooth
and vanish before a pair leaves, frames are those of one atom at a time, nothing is detached: energies are smooth,
strictly local and size-extensive, forces are their exact derivatives.

Source: S. Pozdnyakov and M. Ceriotti, NeurIPS 2023, arXiv:2305.19302. Other than in the published code, normalisation
is for each atom, R_out = cutoff - D so that no weight is cut off, mirror images count, and the network itself gives
the energies of atoms without frames.
"""

import math
from dataclasses import dataclass, fields, replace

import torch

from ..graph import Graph
from . import _auxiliary, _chunks, _cost, _frames
from ._rows import Rows
from ._wrapped import Wrapped

GROUPS = {"": True, "o3": True, "so3": False}  # argument -> parity
CHUNK_PAIRS = 2**18  # ordered pairs of neighbours whose weights are computed at once


@dataclass(frozen=True)
class Settings:
    """What makes the weights. A wider switch is gentler on forces and needs more frames."""

    width: float = 0.5  # A, D of every radial switch
    beta: float = 5.0  # 1/A, sharpness of the smooth minimum; below 4 the number of frames explodes
    sine: float = 0.2  # squared sine above which a pair counts fully
    sine_width: float = 0.15  # over which it starts to count
    linear_factor: bool = True  # pairs count more, the closer they are to a right angle
    least_weight: float = 0.5  # total weight below which the auxiliary energy is mixed in
    parity: bool = True  # O(3) instead of SO(3), at twice the cost

    def __post_init__(self):
        for name in (item.name for item in fields(self) if item.type is float):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"`{name}` is {getattr(self, name)!r}: expected a finite number above 0")
        if not self.sine_width <= self.sine < 1:
            raise ValueError(f"`sine` is {self.sine}: expected `sine_width` ({self.sine_width}) or more, less than 1")
        if self.least_weight > 2:
            raise ValueError(f"`least_weight` is {self.least_weight}: expected 2 or less, the total of one good pair")


class Model(Wrapped):
    """A local model, symmetrised.

    chunk_edges: edges that the model sees at once, None for a default of the device. It bounds memory and changes
    results by rounding only.
    """

    def __init__(self, model, options=None, chunk_edges=None):
        super().__init__(model)
        self.options, self.chunk_edges = options or Settings(), chunk_edges
        if not model.local:
            raise ValueError(
                "`symmetrise` 'ecse' needs a model in which the energy of an atom depends on its own neighbours only, "
                "and this one passes messages or adapts its cutoffs: frames of one atom cannot symmetrise it at a "
                "bearable cost. Use group:O, group:I or quadrature:L, which reduce the error of any model")
        if model.cutoff <= self.options.width:
            raise ValueError(f"`width` is {self.options.width} A: expected less than the cutoff of the model, "
                             f"{model.cutoff} A, as pairs of neighbours must leave before edges do")

    def mean(self, graph, reading):
        blocks, vectors = _blocks(graph, self.cutoff)
        trainable = self.trainable

        def symmetrised(block, vectors):
            rows = self._rows(block, *self._weigh(block, vectors))
            return rows.sums(self.model, reading, block.graph, self._budget(graph), trainable)

        parts = [_chunks.Part((block.edges,), block.atoms, block) for block in blocks]
        owner = torch.cat([block.centre + block.atoms.start for block in blocks])
        groups = torch.arange(graph.n_atoms, device=owner.device)
        return _chunks.Sum(symmetrised, parts, (owner,), groups, reading.columns)((vectors,), trainable)

    @torch.no_grad()
    def describe(self, graph):
        """What the weights are, by atom: {name: (n_atoms,)}, without an evaluation of the model.

        inner_cutoff R_in in A, total weight of the frames, auxiliary weight w_aux, number of frames, and number of
        environments to evaluate.
        """
        found = []
        for frames, auxiliary, rows in self._survey(graph):
            n_frames, n_rows = (torch.bincount(atom, minlength=len(auxiliary)) for atom in (frames.atom, rows.atom))
            found.append((frames.inner_cutoff, frames.total, auxiliary, n_frames, n_rows))
        names = ("inner_cutoff", "total", "auxiliary", "frames", "environments")
        return {name: torch.cat(values) for name, values in zip(names, zip(*found, strict=True), strict=True)}

    @torch.no_grad()
    def cost(self, graph):
        """What the evaluation of a graph takes, see `_cost.cost`."""
        counts, chunks, frames = [], [], []
        for found, auxiliary, rows in self._survey(graph):
            counts.append(rows.count)
            chunks += [int(rows.count[chunk].sum()) for chunk in rows.chunks(self._budget(graph))]
            frames.append(torch.bincount(found.atom, minlength=len(auxiliary)))
        environments, frames = sum(map(len, counts)), torch.cat(frames).double()
        inner = _cost.cost(self.model, graph)["ratio"]
        return {**_cost.summary(graph, environments, environments, sum(chunks), max(chunks), inner),
                "frames_mean": frames.mean().item(), "frames_max": int(frames.max())}

    def _budget(self, graph):
        """Edges that the model sees at once."""
        return self.chunk_edges or _chunks.EDGES[graph.pair_vectors.device.type]

    def _survey(self, graph):
        """Frames, w_aux (n_atoms,) and rows of each block of atoms."""
        blocks, vectors = _blocks(graph, self.cutoff)
        for block in blocks:
            edges, frames, auxiliary, lines = self._weigh(block, vectors[block.edges])
            yield frames, auxiliary, self._rows(block, edges, frames, auxiliary, lines)

    def _weigh(self, block, vectors):
        """Edges and frames of the atoms of a block, w_aux (n_atoms,), auxiliary environments where that is not zero."""
        edges = _frames.edges(vectors, block.centre, block.count)
        frames = _frames.frames(edges, self.cutoff - self.options.width, self.options)
        auxiliary = 1 - _frames.step(frames.total / self.options.least_weight)
        lines = _auxiliary.lines(edges, auxiliary.detach() > 0, self.cutoff, self.options)
        return edges, frames, auxiliary, lines

    def _rows(self, block, edges, frames, auxiliary, lines):
        """Rows of all environments of a block: in each frame, in its mirror image, on lines."""
        share = 1 / (frames.total + auxiliary)
        axes, weights, atom = frames.axes, frames.weights * share[frames.atom], frames.atom
        if self.options.parity:
            mirror = axes.new_tensor([[1.0, 1.0, 1.0], [1.0, -1.0, 1.0]])
            axes = (axes[:, None] * mirror[:, None]).flatten(0, 1)
            weights, atom = (weights / 2).repeat_interleave(2), atom.repeat_interleave(2)
        straight = torch.eye(3, dtype=axes.dtype, device=axes.device).expand(len(lines.atom), 3, 3)
        along = torch.cat([lines.directions[:, :, None], torch.zeros_like(straight[:, :, 1:])], 2)
        start = lines.count.cumsum(0) - lines.count + len(edges.vectors)
        return Rows(
            vectors=torch.cat([edges.vectors, lines.vectors]),
            numbers=torch.cat([block.numbers, block.numbers[lines.neighbour]]),
            owner=torch.cat([edges.atom, edges.atom[lines.neighbour]]),
            start=torch.cat([edges.start[atom], start]), count=torch.cat([edges.count[atom], lines.count]),
            axes=torch.cat([axes, straight]), back=torch.cat([axes, along]), atom=torch.cat([atom, lines.atom]),
            weights=torch.cat([weights, lines.weights * (auxiliary * share)[lines.atom]]))


@dataclass(frozen=True)
class _Block:
    """Some atoms with their edges: slices of all atoms and of all sorted edges, and what is fixed of them.

    graph: of these atoms, without edges; centre (E,) counted from the first of them, numbers (E,) of the neighbours;
    count (n,) of edges.
    """

    atoms: slice
    edges: slice
    graph: Graph
    centre: torch.Tensor
    numbers: torch.Tensor
    count: torch.Tensor


def _blocks(graph, cutoff):
    """Blocks of a bounded number of pairs of edges, and the vectors (E, 3), float64, of all edges sorted by atom."""
    index = torch.nonzero(graph.edge_vectors.detach().double().square().sum(-1) < cutoff**2)[:, 0]
    index = index[torch.argsort(graph.centre[index], stable=True)]
    centre, numbers = graph.centre[index], graph.numbers[graph.neighbour[index]]
    count = torch.bincount(centre, minlength=graph.n_atoms)
    atoms = _chunks.cuts(count.square() + 1, CHUNK_PAIRS)
    edges = torch.cat([count.new_zeros(1), count.cumsum(0)])[atoms].tolist()
    blocks = []
    for a, b, first, last in zip(atoms, atoms[1:], edges, edges[1:], strict=False):
        own = replace(graph, numbers=graph.numbers[a:b], structure=graph.structure[a:b])
        blocks.append(_Block(slice(a, b), slice(first, last), own, centre[first:last] - a, numbers[first:last],
                             count[a:b]))
    return blocks, graph.edge_vectors.index_select(0, index).double()


def wrap(model, argument=""):
    """The model, symmetrised with the default settings. argument: "so3" leaves out mirror images, "o3" does not."""
    if isinstance(argument, Settings):
        return Model(model, argument)
    if argument not in GROUPS:
        raise ValueError(f"`symmetrise` is 'ecse:{argument}': valid choices are ecse, ecse:o3, ecse:so3")
    return Model(model, Settings(parity=GROUPS[argument]))
