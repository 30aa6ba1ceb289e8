"""Standard deviation of each stress component over an ensemble of last layers.

One backward for each member.
"""

UNIT = "eV/A^3"
GRADIENT = True
UNCERTAINTY = ENSEMBLE = True


def compute(evaluation):
    """(6,) arrays in Voigt order xx, yy, zz, yz, xz, xy in eV/A^3.

    Raises Undefined for a cell without volume.
    """
    evaluation.check_volume()
    _, virials = evaluation.ensemble_derivatives
    deviation = (
        (virials.std(0, correction=0) / evaluation.graph.volume[:, None, None]).cpu().numpy()
    )
    return list(deviation[:, (0, 1, 2, 1, 0, 0), (0, 1, 2, 2, 2, 1)])
