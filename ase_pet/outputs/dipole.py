"""Electric dipole moment, d = sum of q r over all charges, of each structure: it points from minus
to plus.

The sum over the atoms of a head of the model, a vector for each atom. A model sees edges only, so
the dipole of a neutral molecule does not change when it is moved, exactly, and that of two
molecules out of each other's cutoff is the sum of theirs. What charges do to each other beyond the
cutoff is not in it.
"""

UNIT = "e A"
GRADIENT = False
HEAD, COMPONENTS = "dipole", 3


def compute(evaluation):
    """(3,) arrays in e A. Raises Undefined for a structure that is periodic or charged."""
    return list(evaluation.dipole.detach().cpu().numpy())
