"""What the interpreter and notebooks show of results: units, no arrays."""

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT

from ase_pet import neb, phonons, vibrations

LONGEST = 400  # characters
CLASSES = [
    phonons.Conductivity,
    phonons.EquationOfState,
    phonons.QuasiHarmonic,
    phonons.Relaxation,
    neb.Band,
    vibrations.Thermochemistry,
    vibrations.Vibrations,
]


def is_short(result):
    """Whether the texts of a result are one line and one table."""
    text = repr(result)
    table = result._repr_html_()
    return "\n" not in text and "array" not in text + table and len(text) < LONGEST


@pytest.fixture(scope="module")
def copper():
    atoms = bulk("Cu")
    atoms.calc = EMT()
    return atoms


@pytest.mark.parametrize("kind", CLASSES)
def test_what_is_shown_exists(kind):
    names = {*kind.__dataclass_fields__, *vars(kind)}
    assert kind.shows
    assert kind.shows.keys() <= names


def test_a_relaxation(copper):
    result = phonons.relax(copper)
    assert is_short(result)
    assert repr(result).startswith("Relaxation(atoms=1 atoms Cu, space_group=Fm-3m (225), steps=")
    assert " eV/A, largest_stress=" in repr(result)


def test_elastic_constants():
    cubic = np.diag([90.0] * 3 + [50.0] * 3)
    cubic[:3, :3] += 70
    result = phonons.Elasticity(cubic, asymmetry=0.0, stress=0.0)
    assert is_short(result)
    text = "Elasticity(C11=160 GPa, C12=70 GPa, C44=50 GPa, stable=True, pressure=0 GPa)"
    assert repr(result) == text


def test_an_equation_of_state():
    result = phonons.EquationOfState(11.5, -0.01, 134.0, 5.1, 1e-6, (11.0, 12.0), (0.1, 0.2))
    assert is_short(result)
    assert "volume=11.5 A^3, energy=-0.01 eV, bulk_modulus=134 GPa" in repr(result)


def test_phonons(copper):
    result = phonons.run(copper, (2, 2, 2), mesh=(2, 2, 2))
    assert is_short(result)
    assert "supercell=8 atoms, frequencies=" in repr(result)
    assert "THz, imaginary=0 modes" in repr(result)
