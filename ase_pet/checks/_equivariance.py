"""Energy, forces and stress of a structure and of its images.

What symmetry checks have in common.
"""

import numpy as np

from ._results import Limit, Measured

LIMITS = {
    "energy": Limit("meV/atom", float64=1e-6, float32=1e-2),
    "forces": Limit("eV/A", float64=1e-8, float32=1e-4),
    "stress": Limit("eV/A^3", float64=1e-9, float32=1e-5),
}


def compare(subject, atoms, images):
    """Yield the largest differences between a structure and its images.

    images: list of (Atoms, expected), where `expected(forces, stress)` turns the (n, 3) forces and
    the (3, 3) stress of the structure into those of the image; either may be None.
    """
    energy, forces = subject.energy_forces(atoms)
    energies, found = zip(*(subject.energy_forces(image) for image, _ in images), strict=True)
    difference = 1e3 * (np.array(energies) - energy) / len(atoms)
    yield Measured("energy", np.abs(difference).max(), spread(difference, "meV/atom"))
    errors = [
        np.abs(image - expected(forces, None)[0])
        for image, (_, expected) in zip(found, images, strict=True)
    ]
    yield Measured(
        "forces", max(map(np.max, errors)), spread([error.max() for error in errors], "eV/A")
    )
    stress = subject.stress(atoms)
    errors = [
        np.abs(subject.stress(image) - expected(None, stress)[1]).max()
        for image, expected in images
    ]
    yield Measured("stress", max(errors), spread(errors, "eV/A^3"))


def spread(values, unit):
    """Text of the rms of some differences, "" for a single one."""
    return (
        f"rms {np.sqrt(np.mean(np.square(values))):.2g} {unit} of {len(values)}"
        if len(values) > 1
        else ""
    )


def turned(atoms, matrix):
    """The structure under an orthogonal matrix Q, which acts on rows as x @ Q.T.

    And what becomes of forces and stress.
    """
    image = atoms.copy()
    image.set_cell(atoms.cell.array @ matrix.T)
    image.set_positions(atoms.positions @ matrix.T)

    def expected(forces, stress):
        return (
            None if forces is None else forces @ matrix.T,
            None if stress is None else matrix @ stress @ matrix.T,
        )

    return image, expected


def altered(results, energy=0.0, forces=0.0, stress=0.0):
    """Results {"energy", "forces", "stress"} with these numbers added.

    For calculators that are to fail.
    """
    found = results | {"energy": results["energy"] + energy, "forces": results["forces"] + forces}
    return found | ({"stress": found["stress"] + stress} if "stress" in found else {})
