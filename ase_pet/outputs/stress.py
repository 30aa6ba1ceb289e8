"""Stress, sigma = (1 / V) dE/d(strain).

Positive when the energy falls under compression, as in ASE.
"""

UNIT = "eV/A^3"
GRADIENT = True


def compute(evaluation):
    """(6,) arrays in Voigt order xx, yy, zz, yz, xz, xy, in eV/A^3.

    Raises Undefined for a cell without volume.
    """
    stress = evaluation.stress.detach().cpu().numpy()
    return list(stress[:, (0, 1, 2, 1, 0, 0), (0, 1, 2, 2, 2, 1)])
