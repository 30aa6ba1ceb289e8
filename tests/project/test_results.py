"""Results of calculators of other packages: types, shapes, numbers."""

import copy
import pickle

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT

from ase_pet.errors import WrongResult, error_text
from ase_pet.results import check, checked

FORCES = np.zeros((4, 3))
WRONG = [
    ("forces", FORCES[:1], r"expected \(4, 3\) real numbers, got \(1, 3\)"),
    ("forces", FORCES.T, r"got \(3, 4\)"),
    ("forces", FORCES.tolist(), "got a value of type list"),
    ("forces", FORCES + 1j, "values of type complex128"),
    ("forces", FORCES.astype(str), "values of type <U32"),
    ("forces", FORCES > 0, "values of type bool"),
    ("forces", np.ma.array(FORCES, mask=True), "masked values"),
    ("forces", None, "got None"),
    ("forces", 0.0, "got one number"),
    ("forces", FORCES * np.nan, "nan or inf"),
    ("energy", np.zeros(4), r"expected a real number, got \(4,\)"),
    ("energy", np.zeros(1), r"got \(1,\)"),
    ("energy", True, "type bool"),
    ("energy", "1.0", "type str"),
    ("energy", 1j, "type complex"),
    ("energy", float("inf"), "nan or inf"),
    ("stress", np.zeros(9), r"expected \(6,\) or \(3, 3\) real numbers, got \(9,\)"),
    ("stress", np.zeros(1), r"got \(1,\)"),
    ("stress", 0.0, "got one number"),
    ("energies", np.zeros(3), r"expected \(4,\)"),
    ("dipole", np.zeros(2), r"expected \(3,\)"),
]
RIGHT = [
    ("forces", FORCES),
    ("forces", FORCES.astype("f4")),
    ("forces", FORCES.astype(int)),
    ("energy", 1),
    ("energy", np.float32(1)),
    ("energy", np.array(1.0)),
    ("stress", np.zeros(6)),
    ("stress", np.zeros((3, 3))),
    ("of_another_package", "any"),
]


class Short(EMT):
    """EMT with the forces of one atom."""

    def calculate(self, *arguments, **more):
        super().calculate(*arguments, **more)
        self.results["forces"] = self.results["forces"][:1]


class NoText(Exception):
    """An error whose text cannot be made."""

    def __str__(self):
        raise ValueError


@pytest.mark.parametrize(("name", "value", "message"), WRONG)
def test_a_wrong_result_is_refused(name, value, message):
    with pytest.raises(WrongResult, match=message) as caught:
        check(name, value, 4, "Some")
    assert str(caught.value).startswith(f"`{name}` of Some: expected ")


@pytest.mark.parametrize(("name", "value"), RIGHT)
def test_a_right_result_is_kept(name, value):
    assert np.array_equal(check(name, value, 4, "Some"), value)


class Forgets(EMT):
    """EMT that forgets what it says it computes."""

    def calculate(self, *arguments, **more):
        super().calculate(*arguments, **more)
        self.results.clear()


@pytest.mark.parametrize("name", ["get_potential_energy", "get_forces", "get_stress"])
def test_a_result_that_is_missing_is_named(name):
    atoms = bulk("Cu", cubic=True)
    atoms.calc = checked(Forgets(), finite=True)
    with pytest.raises(WrongResult, match="of Forgets: expected a result"):
        getattr(atoms, name)()


def test_what_a_calculator_does_not_compute_is_no_wrong_result():
    atoms = bulk("Cu", cubic=True)
    atoms.calc = checked(EMT(), finite=True)
    with pytest.raises(NotImplementedError) as caught:
        atoms.get_dipole_moment()
    assert not isinstance(caught.value, WrongResult)


def test_nan_is_kept_for_those_who_look_for_it():
    assert np.isnan(check("forces", FORCES * np.nan, 4, "Some", finite=False)).all()


def test_a_checked_calculator_is_the_same_otherwise():
    atoms = bulk("Cu", cubic=True)
    atoms.calc = checked(EMT(), finite=True)
    kind = type(atoms.calc)
    assert (kind.__module__, kind.__qualname__) == (EMT.__module__, EMT.__qualname__)
    assert isinstance(atoms.calc, EMT)
    assert atoms.get_forces() == pytest.approx(EMT().get_forces(atoms), abs=1e-12)
    for twin in (copy.copy(atoms.calc), copy.deepcopy(atoms.calc)):
        assert type(twin) is EMT
        assert twin.get_potential_energy(atoms) == atoms.get_potential_energy()
    assert type(pickle.loads(pickle.dumps(checked(EMT(), finite=True)))) is EMT


def test_a_checked_calculator_refuses():
    atoms = bulk("Cu", cubic=True)
    atoms.calc = checked(Short(), finite=True)
    for method in (atoms.get_forces, lambda: atoms.calc.get_property("forces", atoms)):
        with pytest.raises(WrongResult, match=r"`forces` of Short: expected \(4, 3\)"):
            method()
    assert atoms.calc.get_property("stress", bulk("Cu"), allow_calculation=False) is None


def test_text_of_errors():
    assert error_text(KeyError("a")) == "KeyError: 'a'"
    assert error_text(NoText()) == "NoText"
