"""Forces, F = -dE/dr."""

UNIT = "eV/A"
GRADIENT = True


def compute(evaluation):
    """(n, 3) arrays in eV/A."""
    return evaluation.split(evaluation.forces)
