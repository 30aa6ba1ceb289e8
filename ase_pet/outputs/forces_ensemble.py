"""Forces by each member of an ensemble of last layers, centred on the forces of the model.

One backward a member.
"""

UNIT = "eV/A"
GRADIENT = True
UNCERTAINTY = ENSEMBLE = True


def compute(evaluation):
    """(n, 3, members) arrays in eV/A."""
    members, _ = evaluation.ensemble_derivatives
    return evaluation.split(evaluation.forces[:, :, None] + members.permute(1, 2, 0))
