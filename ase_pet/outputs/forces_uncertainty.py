"""Standard deviation of each force component over an ensemble of last layers.

One backward for each member.
"""

UNIT = "eV/A"
GRADIENT = True
UNCERTAINTY = ENSEMBLE = True


def compute(evaluation):
    """(n, 3) arrays in eV/A; the variance is the mean over the members."""
    members, _ = evaluation.ensemble_derivatives
    return evaluation.split(members.std(0, correction=0))
