"""What a symmetrised model will do on a graph, told before it does it."""


def cost(model, graph):
    """{name: number} of what the evaluation of a graph takes, without a run of the network.

    environments: how many environments of atoms the network sees, evaluations_per_atom: the same
    for each atom, edges: how many directed edges it sees, peak_edges: how many of them at once;
    ratio: edges and central tokens relative to the model without symmetriser, about the ratio of
    the times. ECSE adds frames_mean and frames_max, the frames of an atom. What the graph is filled
    up with for round numbers does not count.
    """
    if hasattr(model, "cost"):
        return model.cost(graph)
    return summary(graph, graph.n_atoms, graph.n_atoms, len(graph.centre), len(graph.centre))


def summary(graph, environments, atoms, edges, peak_edges, inner=1.0):
    """What `cost` gives. atoms: central tokens of all copies together; inner.

    Ratio of the model that sees them.
    """
    return {
        "environments": round(inner * environments),
        "evaluations_per_atom": inner * environments / graph.n_atoms,
        "edges": round(inner * edges),
        "peak_edges": peak_edges,
        "ratio": inner * (edges + atoms) / (len(graph.centre) + graph.n_atoms),
    }
