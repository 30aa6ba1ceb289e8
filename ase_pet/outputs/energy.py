"""Potential energy of each structure."""

UNIT = "eV"
GRADIENT = False


def compute(evaluation):
    """Energies in eV, Python floats."""
    return evaluation.energy.tolist()
