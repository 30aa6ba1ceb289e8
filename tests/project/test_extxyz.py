"""Structures in extxyz: what the format cannot hold is left out with a note."""

import ase.io
import numpy as np
import pytest
from ase.build import molecule
from ase.calculators.calculator import Calculator

from ase_pet import extxyz


class Odd(Calculator):
    """A calculator that holds results without computing any."""


def water(**results):
    """A molecule with a calculator that holds these results."""
    atoms = molecule("H2O", vacuum=3.0)
    atoms.calc = Odd()
    atoms.calc.results = results
    return atoms


@pytest.mark.parametrize(
    "stress", [0.0, np.zeros(1), [0.0] * 6, "none", np.full(6, np.nan), np.zeros(6) + 1j, None]
)
def test_a_wrong_result_is_left_out(stress, tmp_path):
    atoms = water(energy=-1.0, forces=np.ones((3, 3)), stress=stress, name_of_its_own={})
    with pytest.warns(UserWarning, match="left out of extxyz: `stress` of Odd: expected"):
        extxyz.write(tmp_path / "made.extxyz", [atoms])
    read = ase.io.read(tmp_path / "made.extxyz")
    assert set(read.calc.results) == {"energy", "forces"}
    assert read.get_potential_energy() == -1
    assert atoms.calc.results["stress"] is stress


def test_right_results_stay(tmp_path):
    extxyz.write(tmp_path / "made.extxyz", [water(energy=2.0, dipole=np.ones(3)), water()])
    first, second = ase.io.read(tmp_path / "made.extxyz", ":")
    assert first.get_dipole_moment().tolist() == [1, 1, 1]
    assert second.calc is None


def test_entries_that_no_line_holds_are_named(tmp_path):
    atoms = water()
    atoms.info.update({"a=b": 1, "two": "lines\nof text", "kept": 3})
    with pytest.warns(UserWarning, match="cannot hold it: 'a=b', 'two'"):
        extxyz.write(tmp_path / "made.extxyz", [atoms])
    assert ase.io.read(tmp_path / "made.extxyz").info == {"kept": 3}


def test_old_labels_are_replaced_by_those_of_the_calculator(tmp_path):
    atoms = water(energy=2.0, forces=np.ones((3, 3)))
    atoms.info.update(energy=5.0, stress=np.zeros(6), name="kept")
    atoms.arrays["forces"] = np.zeros((3, 3))
    extxyz.write(tmp_path / "made.extxyz", [atoms])
    read = ase.io.read(tmp_path / "made.extxyz")
    assert read.calc.results.keys() == {"energy", "forces"}
    assert read.get_potential_energy() == 2.0
    assert read.get_forces().tolist() == np.ones((3, 3)).tolist()
    assert read.info == {"name": "kept"}
    assert atoms.info["energy"] == 5.0


def test_labels_without_a_calculator_stay(tmp_path):
    atoms = molecule("H2O")
    atoms.info["energy"] = 5.0
    extxyz.write(tmp_path / "made.extxyz", [atoms])
    assert ase.io.read(tmp_path / "made.extxyz").get_potential_energy() == 5.0
