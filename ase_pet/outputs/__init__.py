"""Outputs: one ASE property per file.

Each has `UNIT`, `GRADIENT` (whether it needs derivatives) and `compute(evaluation)`, a list with
one value for each structure of the batch. What only models with uncertainties have says
`UNCERTAINTY = True`, what needs an ensemble beside the covariance `ENSEMBLE = True`. What is read
from a head of the model names it, `HEAD`, with its `COMPONENTS`.
"""

from .. import plugins


def available(model):
    """Sorted names of the outputs that a model has."""
    uncertainty = model.uncertainty
    ensemble = uncertainty is not None and len(uncertainty.ensemble) > 0
    heads = model.head_sizes
    found = {name: plugins.load(__name__, name) for name in plugins.names(__name__)}
    return [
        name
        for name, output in found.items()
        if (not hasattr(output, "HEAD") or heads.get(output.HEAD) == output.COMPONENTS)
        and (ensemble or not getattr(output, "ENSEMBLE", False))
        and (uncertainty is not None or not getattr(output, "UNCERTAINTY", False))
    ]


def compute(evaluation, names):
    """List of {name: value} for each structure.

    What needs derivatives goes first, so that energies come for free.
    """
    found = {name: plugins.load(__name__, name) for name in names}
    evaluation.uncertain |= any(getattr(output, "UNCERTAINTY", False) for output in found.values())
    evaluation.heads = tuple(output.HEAD for output in found.values() if hasattr(output, "HEAD"))
    values = {
        name: found[name].compute(evaluation)
        for name in sorted(found, key=lambda name: not found[name].GRADIENT)
    }
    return [{name: values[name][k] for name in names} for k in range(evaluation.graph.n_structures)]
