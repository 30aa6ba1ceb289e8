"""Energy of each atom; they add up to the energy."""

UNIT = "eV"
GRADIENT = False


def compute(evaluation):
    """(n,) arrays in eV."""
    return evaluation.split(evaluation.energies)
