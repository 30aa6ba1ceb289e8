"""What is read of a model in turned copies of a structure, and how it is turned back before means
are taken.

A head of one component is a number, of three a polar vector v, of nine a tensor T of rank 2, row by
row. A copy is seen with x = B x_seen, B an orthogonal matrix, proper or not, and what is read of it
is turned back:

    v = B v_seen                T = B T_seen B^T

A copy that stands for more than one orientation (the environments of `_auxiliary`) has a B of lower
rank: u e_x^T for a line of neighbours along u, zero for no neighbours. What is read there counts as
its mean over the turns and reflections that leave the copy as it is: v = B v_seen, the part along
the line, and T = B T_seen B^T + t (1 - B B^T), where t is the mean of T_seen across the line.
"""

from dataclasses import dataclass, field

import torch


@dataclass(frozen=True)
class Reading:
    """Columns of float64 that are read of a model for each atom: heads, that of the energy first
    where it is asked for.

    heads: {name: components}; features: how many features of the last layer are read after the
    energy; both empty for the energy alone.
    """

    heads: dict[str, int] = field(default_factory=dict)
    features: int = 0

    @property
    def columns(self):
        return sum(self.heads.values()) or 1 + self.features

    def __call__(self, model, graph):
        """(n_atoms, columns) as the model gives them."""
        if self.heads:
            found = model.predict(graph, tuple(self.heads))
            return torch.cat([found[name].double() for name in self.heads], 1)
        if self.features:
            energies, features = model.last_layer(graph)
            return torch.cat([energies.double()[:, None], features.double()], 1)
        return model(graph).double()[:, None]

    def turned_back(self, values, turns):
        """Values (n, columns) read of copies with x = turn @ x_seen, turns (n, 3, 3).

        In the axes of the structure.
        """
        if max(self.heads.values(), default=1) == 1:
            return values
        parts = values.split(list(self.heads.values()), 1)
        return torch.cat([TURNED_BACK[part.shape[1]](part, turns) for part in parts], 1)

    def by_head(self, values):
        """{name: (n_atoms, components)} of columns."""
        return dict(zip(self.heads, values.split(list(self.heads.values()), 1), strict=True))


def _vector(values, turns):
    return (turns @ values[:, :, None])[:, :, 0]


def _tensor(values, turns):
    seen, one = values.view(-1, 3, 3), torch.eye(3, dtype=values.dtype, device=values.device)
    rank = turns.detach().square().sum((1, 2)).round()
    across = ((one - turns.mT @ turns) * seen).sum((1, 2)) / (3 - rank).clamp_min(1)
    return (turns @ seen @ turns.mT + across[:, None, None] * (one - turns @ turns.mT)).flatten(1)


TURNED_BACK = {1: lambda values, turns: values, 3: _vector, 9: _tensor}  # components -> function


def heads(model, names):
    """Reading of the named heads.

    Raises ValueError for a head that the model does not have, or that is not a number, a vector or
    a tensor.
    """
    known = model.head_sizes
    for name in names:
        if name not in known:
            raise ValueError(
                f"`{name}` is not a head of this model: valid choices are {', '.join(known)}"
            )
        if known[name] not in TURNED_BACK:
            raise ValueError(
                f"head `{name}` has {known[name]} components: expected 1 (a number), 3 (a vector)"
                " or 9 (a tensor), as nothing says how others turn with the structure; use"
                " symmetrise='none'"
            )
    return Reading(
        {name: known[name] for name in sorted(names, key=lambda name: name != model.energy_head)}
    )
