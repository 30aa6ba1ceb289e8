"""How well numbers must agree.

One table for each precision, relative to the largest number compared unless said.
"""

import numpy as np
import torch

TOLERANCES = {
    torch.float64: {
        "same": 1e-12,  # the same sum in another order
        "derived": 1e-10,  # the same number by another route: a supercell, a folded product
        "derivative": 1e-6,  # against central finite differences
        "smooth_energy": 1e-12,  # eV, an edge that leaves
        "smooth_force": 1e-8,  # eV/A, an edge that leaves
    },
    torch.float32: {
        "same": 2e-5,
        "derived": 5e-5,
        "derivative": 1e-2,
    },
}
DTYPES = tuple(TOLERANCES)


def worst(found, expected):
    """Largest difference of two arrays relative to the largest expected number."""
    found, expected = np.asarray(found, dtype=float), np.asarray(expected, dtype=float)
    assert found.shape == expected.shape
    return np.abs(found - expected).max(initial=0.0) / max(np.abs(expected).max(initial=0.0), 1e-30)
