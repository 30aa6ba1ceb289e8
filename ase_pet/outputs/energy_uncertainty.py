"""Standard deviation of the energy of each structure.

From the covariance of the last layer (`layers/llpr.py`).
"""

UNIT = "eV"
GRADIENT = False
UNCERTAINTY = True


def compute(evaluation):
    """Standard deviations in eV, Python floats."""
    return evaluation.deviation.tolist()
