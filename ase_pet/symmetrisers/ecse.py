"""ECSE, the equivariant coordinate-system ensemble: exact and smooth symmetry, atom by atom.

The energy of an atom is a weighted mean over the frames that pairs of its neighbours define, each
of them turned into the x axis and the xy plane:

    E_i = [sum_jk w_jk eps_i(frame jk) + w_aux eps_aux] / [sum_jk w_jk + w_aux], w_aux = 1 -
    step(sum_jk w_jk / w0)

Weights depend on distances and angles only, so E_i does not change when the structure is turned;
with `parity` each frame counts with its mirror image, and E_i does not change when the structure is
reflected either. Weights are smooth and vanish before a pair leaves, frames are those of one atom
at a time, nothing is detached: energies are smooth, as local as those of the model and
size-extensive, forces are their exact derivatives.

What is turned into a frame is all that eps_i depends on. Of a local model these are the edges of
atom i. Of a model that passes messages it is a cluster: the atoms that are a number of edges away,
and all of their edges; it is turned as a rigid body, and of its energies eps_i alone is read. That
is exact without training, and expensive: one run of the network on a cluster for each frame of each
atom.

Source: S. Pozdnyakov and M. Ceriotti, NeurIPS 2023, arXiv:2305.19302. Other than in the published
code, normalisation is for each atom, R_out = cutoff - D so that no weight is cut off, mirror images
count, and the network itself gives the energies of atoms without frames.
"""

import math
from dataclasses import dataclass, fields, replace

import torch

from ..models.base import cost_summary
from . import _auxiliary, _chunks, _fields, _frames, _rows
from ._wrapped import Wrapped


@dataclass(frozen=True)
class Settings:
    """What makes the weights. A wider switch is gentler on forces and needs more frames."""

    width: float = 0.5  # A, D of every radial switch
    beta: float = 5.0  # 1/A, sharpness of the smooth minimum; below 4 the number of frames explodes
    sine: float = 0.2  # squared sine above which a pair counts fully
    sine_width: float = 0.15  # over which it starts to count
    linear_factor: bool = True  # pairs count more, the closer they are to a right angle
    least_weight: float = 0.5  # total weight below which the auxiliary energy is mixed in
    gentle_width: float | None = (
        None  # squared sine over which a pair draws R_in in, None: the published R_in
    )
    turns: int | None = (
        # about a line, over which environments near it are means, None: they are made straight
        None
    )
    pruning: float | None = (
        # part of the largest weight of an atom below which pairs do not count, None: all count
        None
    )
    pruning_width: float = 0.5  # over which they start to count
    parity: bool = True  # O(3) instead of SO(3), at twice the cost
    # largest cost of a model that passes messages, relative to the model itself; may be infinite
    limit: float = 1000.0

    def __post_init__(self):
        for name in (
            item.name for item in fields(self) if item.type is float and item.name != "limit"
        ):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(
                    f"`{name}` is {getattr(self, name)!r}: expected a finite number above 0"
                )
        if not self.sine_width <= self.sine < 1:
            raise ValueError(
                f"`sine` is {self.sine}: expected `sine_width` ({self.sine_width}) or more, less"
                " than 1"
            )
        if self.gentle_width is not None and not 0 < self.gentle_width < math.inf:
            raise ValueError(
                f"`gentle_width` is {self.gentle_width!r}: expected a finite number above 0, or"
                " None"
            )
        if self.pruning is not None and not 0 < self.pruning <= 1 - self.pruning_width:
            raise ValueError(
                f"`pruning` is {self.pruning!r}: expected None, or more than 0 and 1 -"
                f" `pruning_width` ({1 - self.pruning_width:g}) at most, so that the largest weight"
                " counts"
            )
        if self.turns is not None and not (isinstance(self.turns, int) and self.turns >= 8):
            raise ValueError(
                f"`turns` is {self.turns!r}: expected None, or a whole number, 8 or more (16: exact"
                " to rounding)"
            )
        if not self.limit > 0:
            raise ValueError(
                f"`limit` is {self.limit!r}: expected a number above 0, math.inf for no limit"
            )
        if self.least_weight > 2:
            raise ValueError(
                f"`least_weight` is {self.least_weight}: expected 2 or less, the total of one good"
                " pair"
            )


class Model(Wrapped):
    """A model, symmetrised.

    hops: how many edges away an atom's energy depends on the edges of atoms, 0 for a local model.
    chunk_edges: edges that the model sees at once (or those of one environment, if they are more),
    None for a default of the device. It bounds memory and changes results by rounding only.

    Evaluations raise ValueError where a model that passes messages would cost more than the limit
    of the settings.
    """

    def __init__(self, model, options=None, chunk_edges=None):
        super().__init__(model)
        self.options, self.chunk_edges = options or Settings(), chunk_edges
        self.hops = _fields.hops(model)
        mirrors = torch.diag_embed(torch.tensor(_rows.HANDS, dtype=torch.float64))
        hands = model.rotation_classes(mirrors).tolist()
        self.mirrored = (
            self.options.parity and hands[0] != hands[1]
        )  # else the mirror image of a frame is the same
        self.outer = _frames.outer_cutoff(model.cutoff, self.options)
        if self.outer <= 0:
            raise ValueError(
                f"`width` is {self.options.width} A: expected less than the cutoff of the model, "
                f"{model.cutoff} A, as pairs of neighbours must leave before edges do"
            )

    def mean(self, graph, reading):
        self._check(graph)
        near, trainable, budget = (
            _fields.neighbours(graph, self.cutoff),
            self.trainable,
            self._budget(graph),
        )

        def symmetrised(block, vectors):
            _, _, rows = self._environments(near, block, vectors)
            return rows.sums(self.model, reading, budget, trainable)

        groups = (
            graph.structure
            if self.hops
            else torch.arange(graph.n_atoms, device=graph.numbers.device)
        )
        parts = [
            _chunks.Part((self._reads(block),), block[0], block) for block in near.blocks(self.hops)
        ]
        terms = _chunks.Sum(symmetrised, parts, (groups[near.centre],), groups, reading.columns)
        return terms((near.vectors,), trainable)

    @torch.no_grad()
    def describe(self, graph):
        """What the weights are, by atom: {name: (n_atoms,)}, without an evaluation of the model.

        inner_cutoff R_in in A, total weight of the frames, auxiliary weight w_aux, number of
        frames, and number of environments to evaluate.
        """
        found = []
        for frames, auxiliary, rows in self._survey(graph):
            n_frames, n_rows = (
                torch.bincount(atom, minlength=len(auxiliary)) for atom in (frames.atom, rows.atom)
            )
            found.append((frames.inner_cutoff, frames.total, auxiliary, n_frames, n_rows))
        names = ("inner_cutoff", "total", "auxiliary", "frames", "environments")
        return {
            name: torch.cat(values)
            for name, values in zip(names, zip(*found, strict=True), strict=True)
        }

    @torch.no_grad()
    def cost(self, graph):
        """What the evaluation of a graph takes, see `models.base.cost_summary`."""
        chunks, frames, environments, tokens = [], [], 0, 0
        for found, auxiliary, rows in self._survey(graph):
            chunks += [int(rows.edges[chunk].sum()) for chunk in rows.chunks(self._budget(graph))]
            frames.append(torch.bincount(found.atom, minlength=len(auxiliary)))
            environments, tokens = (
                environments + len(rows.atom),
                tokens + int(rows.field.tokens(rows.atom).sum()),
            )
        frames, inner = torch.cat(frames).double(), self.model.cost(graph)["ratio"]
        return {
            **cost_summary(graph, environments, tokens, sum(chunks), max(chunks), inner),
            "frames_mean": frames.mean().item(),
            "frames_max": int(frames.max()),
        }

    def _budget(self, graph):
        """Edges that the model sees at once."""
        return self.chunk_edges or _chunks.EDGES[graph.pair_vectors.device.type]

    def _check(self, graph):
        """Raise ValueError where the cost is above the limit, which local models have none of."""
        if not self.hops or self.options.limit == math.inf:
            return
        cost = self.cost(graph)
        if cost["ratio"] > self.options.limit:
            raise ValueError(
                f"`symmetrise` 'ecse' would take {cost['ratio']:.0f} times the work of this model,"
                f" and its limit is {self.options.limit:g} times: energies of atoms depend on edges"
                f" {self.hops} hops away, so that {cost['evaluations_per_atom']:.0f} turned copies"
                f" of such a cluster for each atom have {cost['edges']:.3g} edges. Use group:O (48"
                " times), group:I (120) or quadrature:L, which reduce the error of any model, or"
                " ecse:force, which runs it"
            )

    def _survey(self, graph):
        """Frames, w_aux (n_atoms,) and rows of each block of atoms."""
        near = _fields.neighbours(graph, self.cutoff)
        vectors = near.vectors
        for block in near.blocks(self.hops):
            yield self._environments(near, block, vectors[self._reads(block)])

    def _reads(self, block):
        """Edges that the energies of a block depend on: its own, where there are no messages."""
        return slice(None) if self.hops else block[1]

    def _environments(self, near, block, vectors):
        """Frames of the atoms of a block, w_aux (n,), and rows of all their environments.

        vectors: of the edges `_reads(block)`.
        """
        atoms, edges = block
        own = _frames.edges(
            vectors[edges] if self.hops else vectors,
            near.centre[edges] - atoms.start,
            near.count[atoms],
        )
        frames = _frames.frames(own, self.outer, self.options)
        auxiliary = 1 - _frames.step(frames.total / self.options.least_weight)
        lines = _auxiliary.lines(own, auxiliary.detach() > 0, self.cutoff, self.options)
        field = (
            _fields.clusters(near, atoms, self.hops)
            if self.hops
            else _fields.stars(near, atoms, edges)
        )
        return (
            frames,
            auxiliary,
            _rows.rows(
                field,
                field.table(vectors),
                frames,
                auxiliary,
                lines,
                replace(self.options, parity=self.mirrored),
            ),
        )


GENTLE = {
    "gentle_width": 0.35,
    "sine": 0.05,
    "sine_width": 0.05,
    "linear_factor": False,
    "least_weight": 2.0,
    "turns": 16,
}
WORDS = {
    "o3": {"parity": True},
    "so3": {"parity": False},
    "force": {"limit": math.inf},
    "gentle": GENTLE,
    "pruned": {"pruning": 0.5},
}


def wrap(model, argument=""):
    """The model, symmetrised with the default settings, or those that the argument names: words
    with colons between.

    "so3" leaves out mirror images, "o3" does not; "force" runs a model that passes messages at any
    cost; "gentle" is for forces that change less where a near pair of neighbours leaves a line,
    with some more frames; "pruned" leaves out frames of small weight, and makes forces change more.
    """
    return Model(model, named(argument, "ecse", WORDS))


def named(argument, kind, words):
    """Settings that the argument of a symmetriser names, or that it is; words {name: {setting.

    Value}}.
    """
    if isinstance(argument, Settings):
        return argument
    chosen = argument.split(":") if argument else []
    if (
        not set(chosen) <= words.keys()
        or len(set(chosen)) < len(chosen)
        or {"o3", "so3"} <= set(chosen)
    ):
        raise ValueError(
            f"`symmetrise` is '{kind}:{argument}': valid choices are {kind},"
            f" {', '.join(f'{kind}:{word}' for word in words)}, and several such as"
            f" {kind}:gentle:so3"
        )
    return Settings(**{name: value for word in chosen for name, value in words[word].items()})
