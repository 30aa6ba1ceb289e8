"""Standard deviation of the energy of each atom. They do not add up.

Neighbouring atoms err together.
"""

UNIT = "eV"
GRADIENT = False
UNCERTAINTY = True


def compute(evaluation):
    """(n,) arrays in eV."""
    return evaluation.split(evaluation.deviations)
