"""Energy of each structure by each member of an ensemble of last layers.

Centred on the energy of the model.
"""

UNIT = "eV"
GRADIENT = False
UNCERTAINTY = ENSEMBLE = True


def compute(evaluation):
    """(members,) arrays in eV."""
    return list(evaluation.ensemble.cpu().numpy())
