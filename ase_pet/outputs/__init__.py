"""Outputs: one ASE property per file.

Each has `UNIT`, `GRADIENT` (whether it needs derivatives) and `compute(evaluation)`, a list with one value for each
structure of the batch.
"""

from .. import plugins


def compute(evaluation, names):
    """List of {name: value} for each structure; what needs derivatives goes first, so that energies come for free."""
    found = {name: plugins.load(__name__, name) for name in names}
    values = {name: found[name].compute(evaluation) for name in sorted(found, key=lambda name: not found[name].GRADIENT)}
    return [{name: values[name][k] for name in names} for k in range(evaluation.graph.n_structures)]
