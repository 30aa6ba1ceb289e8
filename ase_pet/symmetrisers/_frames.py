"""Frames of ECSE: weights of pairs of neighbours, the adaptive inner cutoff, and one frame for each
ordered pair.

Source: S. Pozdnyakov and M. Ceriotti, NeurIPS 2023, arXiv:2305.19302, here for each atom by itself.

    r_j, u_j    distance and direction of neighbour j                D       `width`
    s_jk        squared sine |u_j x u_k|^2                           beta    `beta`
    R_out       `outer_cutoff`                                       W, dW   `sine`, `sine_width`

Every quantity is float64, and sorted by atom where it belongs to an edge.
"""

from dataclasses import dataclass

import torch

GAP = 0.2784645427610738  # Lambert's W0(1/e): SmoothMax plus GAP / beta is never below the maximum
LEAST = 1e-100  # below which a weight is none
# within this of its ends, a step differs from 0 and 1 by less than the rounding of float64
SATURATED = 0.02


def step(t):
    """0 for t <= 0, 1 for t >= 1, infinitely often differentiable: (1 - tanh(1/(y + 1) + 1/(y -
    1)))/2, y = 2t - 1.

    Where tanh is 1 in float64 the argument is held, so that no derivative is an infinity times
    zero.
    """
    y = 2 * t.clamp(SATURATED, 1 - SATURATED) - 1
    return (1 - torch.tanh(1 / (y + 1) + 1 / (y - 1))) / 2


@dataclass(frozen=True)
class Edges:
    """Edges within the cutoff of some atoms, sorted by atom.

    vectors (E, 3) and lengths (E,) in A, directions (E, 3); atom (E,), 0 .. n - 1; start, count
    (n,): the edges of an atom are start .. start + count.
    """

    vectors: torch.Tensor
    lengths: torch.Tensor
    directions: torch.Tensor
    atom: torch.Tensor
    start: torch.Tensor
    count: torch.Tensor

    @property
    def n_atoms(self):
        return len(self.count)

    def sum(self, values, atom):
        """(n,) sums of the values of each atom."""
        return values.new_zeros(self.n_atoms).index_add(0, atom, values)


def edges(vectors, atom, count):
    """Edges with these vectors (E, 3) and atoms (E,), count (n,) of each atom."""
    lengths = vectors.square().sum(-1).sqrt()
    return Edges(vectors, lengths, vectors / lengths[:, None], atom, count.cumsum(0) - count, count)


@dataclass(frozen=True)
class Frames:
    """Frames (n_frames, 3, 3), columns e1 e2 e3, their weights (n_frames,) and atoms (n_frames,),
    sorted by atom.

    inner_cutoff (n,) in A; total (n,): the sum of the weights of each atom.
    """

    axes: torch.Tensor
    weights: torch.Tensor
    atom: torch.Tensor
    inner_cutoff: torch.Tensor
    total: torch.Tensor


def ranges(start, count):
    """Numbers start, start + 1, ...

    Of each of n ranges, one range after the other, and which range each is of.
    """
    which = torch.repeat_interleave(torch.arange(len(count), device=count.device), count)
    before = count.cumsum(0) - count
    return torch.arange(len(which), device=count.device) + (start - before)[which], which


def pairs(edge, atom, n_atoms):
    """Unordered pairs (first, second) of edges of the same atom.

    Edge (m,) sorted by atom, atom (m,) of each.
    """
    count = torch.bincount(atom, minlength=n_atoms)
    end = count.cumsum(0)[atom]
    place = torch.arange(len(edge), device=edge.device)
    second, first = ranges(place + 1, end - place - 1)
    return edge[first], edge[second]


def outer_cutoff(cutoff, settings):
    """R_out in A, beyond which no pair counts in R_in.

    The cutoff - D, and less GAP / beta in the gentle form.
    """
    return cutoff - settings.width - (GAP / settings.beta if settings.gentle_width else 0)


def inner_cutoff(edges, outer, settings):
    """(n,) R_in in A: D beyond a smooth minimum over pairs that are not collinear, and over R_out =
    `outer`.

    R_in = D + [sum p z exp(-beta z) + R_out exp(-beta R_out)] / [sum p exp(-beta z) + exp(-beta
    R_out)] over pairs, v = SmoothMax(r_j, r_k) + GAP / beta >= max(r_j, r_k), and

    published   p = f(r_j) f(r_k) q,   z = v,                    q = step((s - W) / dW)
    gentle      p = f(r_j) f(r_k),     z = q v + (1 - q) R_out,  q = step((s - W) / `gentle_width`)

    A pair much nearer than others takes over the published minimum as soon as q exp(beta
    (difference of v)) is 1, while its q is minute; z instead follows q, so that R_in changes over
    the whole width.

    An atom with a pair of s > W inside R_out has a total weight of 2 at least, in either form. R_in
    - D is a mean of R_out and of all z with p > 0, so not below the least of them. If that is
    R_out, all pairs inside R_out are inside R_in - D, and the one of s > W counts fully. If it is
    the z of a pair, z < R_out, then q > 0, so s > W, and z >= v >= r_j, r_k: this pair is inside
    R_in - D and counts fully. And z <= max(v, R_out) <= R_out + GAP / beta, so that R_in <= R_out +
    D + GAP / beta, the cutoff in the gentle form; in the published one p is minute where v is above
    R_out.
    """
    near = torch.nonzero(edges.lengths.detach() < outer)[:, 0]
    weight, value, atom = _reach(edges, near, outer, settings)
    counted = torch.where(weight > 0, value, outer).detach()
    least = counted.new_full((edges.n_atoms,), outer).scatter_reduce(0, atom, counted, "amin")
    share = weight * torch.exp(-settings.beta * (value - least[atom]))
    rest = torch.exp(-settings.beta * (outer - least))
    return (edges.sum(share * value, atom) + rest * outer) / (
        edges.sum(share, atom) + rest
    ) + settings.width


def _reach(edges, near, outer, settings):
    """Weight p and z in A of pairs of the edges `near`, and their atoms.

    In the published form those of p > 0 only.
    """
    first, second = pairs(near, edges.atom[near], edges.n_atoms)
    if not settings.gentle_width:
        with torch.no_grad():
            kept = torch.nonzero(_sine(edges, first, second) > settings.sine)[:, 0]
        first, second = first[kept], second[kept]
    inside = step((outer - edges.lengths) / settings.width)
    weight = inside[first] * inside[second]
    angle = step(
        (_sine(edges, first, second) - settings.sine)
        / (settings.gentle_width or settings.sine_width)
    )
    difference = edges.lengths[second] - edges.lengths[first]
    value = (
        edges.lengths[first]
        + difference * torch.sigmoid(settings.beta * difference)
        + GAP / settings.beta
    )
    if settings.gentle_width:
        return weight, angle * value + (1 - angle) * outer, edges.atom[first]
    return weight * angle, value, edges.atom[first]


def _sine(edges, first, second):
    """Squared sine of the angle of each pair of edges.

    From the cross product, as 1 - c^2 loses digits.
    """
    return torch.linalg.cross(edges.directions[first], edges.directions[second]).square().sum(-1)


def frames(edges, outer, settings):
    """Frames of all atoms: those of ordered pairs (j, k) with weight f(r_j | R_in) f(r_k | R_in)
    q(s_jk) above 0.

    q(s) = step(x) with x = (s - W + dW) / dW, times x where `linear_factor` is on; e1 = u_j, e2
    along u_j x u_k, e3 = e1 x e2. An atom with a pair of s > W inside R_out has a total of 2 at
    least. Where `pruning` is on, weights are multiplied by `_unpruned`.
    """
    reach = inner_cutoff(edges, outer, settings)
    room = reach[edges.atom] - edges.lengths
    near = torch.nonzero(room.detach() > 0)[:, 0]
    first, second = pairs(near, edges.atom[near], edges.n_atoms)
    u, v = edges.directions[first], edges.directions[second]
    normal = torch.linalg.cross(u, v)
    x = (normal.square().sum(-1) - (settings.sine - settings.sine_width)) / settings.sine_width
    inside = step(room / settings.width)
    weight = inside[first] * inside[second] * step(x) * (x if settings.linear_factor else 1)
    if settings.pruning is not None:
        weight = weight * _unpruned(weight, edges.atom[first], edges, settings)
    kept = torch.nonzero(weight.detach() > 0)[:, 0]
    u, v, normal, weight = u[kept], v[kept], normal[kept], weight[kept]
    atom = edges.atom[first[kept]]
    e2 = normal / normal.square().sum(-1, keepdim=True).sqrt()
    axes = [
        torch.stack([u, e2, torch.linalg.cross(u, e2)], -1),
        torch.stack([v, -e2, torch.linalg.cross(e2, v)], -1),
    ]
    return Frames(
        axes=torch.stack(axes, 1).flatten(0, 1),
        weights=weight.repeat_interleave(2),
        atom=atom.repeat_interleave(2),
        inner_cutoff=reach,
        total=2 * edges.sum(weight, atom),
    )


def _unpruned(weight, atom, edges, settings):
    """Factors on the weights of pairs: step((w / M - `pruning`) / `pruning_width`), M a smooth
    maximum over an atom.

    M = sum w^2 exp(w) / sum w exp(w) is a mean of the weights, so not above the largest, whose
    factor is 1 where the sum of both settings is 1 at most: the total stays 2 at least.
    """
    share = weight * weight.exp()
    most = edges.sum(share * weight, atom) / edges.sum(share, atom).clamp_min(LEAST)
    return step((weight / most[atom].clamp_min(LEAST) - settings.pruning) / settings.pruning_width)
