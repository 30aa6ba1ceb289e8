"""Tolerances of numbers for each precision.

They are relative to the largest compared number unless stated otherwise.
"""

import numpy as np
import torch

TOLERANCES = {
    torch.float64: {
        "same": 1e-12,  # the same sum in another order
        "derived": 1e-10,  # the same number by another method: a supercell, a folded product
        "derivative": 1e-6,  # against central finite differences
        "smooth_energy": 1e-12,  # eV, an edge that crosses the cutoff
        "smooth_force": 1e-8,  # eV/A, an edge that crosses the cutoff
    },
    torch.float32: {
        "same": 2e-5,
        "derived": 5e-5,
        "derivative": 1e-2,
    },
}
DTYPES = tuple(TOLERANCES)

# Golden values (tests/golden.py) in float64, relative to the largest number of the array. Between
# the kernels of one machine (ATEN_CPU_CAPABILITY default, avx2 and avx512, MKL and oneDNN limited
# to SSE, 1 and 2 threads) they were at worst 2e-14 apart for energies, 3e-13 for forces and 5e-13
# for Hessians. `absolute` (eV, A, e A) is for sums that cancel: the dipole of a straight CO2.
GOLDEN = {
    "energy": 1e-13,
    "energies": 1e-13,
    "forces": 1e-12,
    "stress": 1e-12,
    "dipole": 1e-12,
    "hessian": 2e-12,
    "hessian_rows": 2e-12,
    "displaced_forces": 1e-12,
    "absolute": 4e-15,
}


def worst(actual, expected):
    """Largest difference of two arrays relative to the largest expected number."""
    actual, expected = np.asarray(actual, dtype=float), np.asarray(expected, dtype=float)
    assert actual.shape == expected.shape
    return np.abs(actual - expected).max(initial=0.0) / max(
        np.abs(expected).max(initial=0.0), 1e-30
    )


def rounding(terms, before=10):
    """Bound of the rounding difference between two sums of n terms in any order.

    (n + before) eps sum |terms|, with the eps of their dtype: each of two sums is n eps/2 sum
    |terms| at most from the exact one (Higham, Accuracy and Stability of Numerical Algorithms,
    section 4.2), and terms that result from `before` operations have the rounding of these. The
    terms of a scalar product are its products. A test with a smaller tolerance depends on the
    processor, whose kernels choose the order of the sum.

    terms: array or tensor of any shape.
    """
    terms = np.asarray(terms)
    return (terms.size + before) * np.finfo(terms.dtype).eps * np.abs(terms).sum()


# Of an element of the product of two orthogonal (3, 3) matrices, or of the length of a unit vector:
# three products whose absolute values add up to 1 at most.
ROUNDING_3 = rounding(np.full(3, 1 / 3))
