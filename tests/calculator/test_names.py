"""MLIPCalculator and PETCalculator: two names of one class."""

import copy
import pickle

import pytest
from ase import io

import ase_pet
from ase_pet import MLIPCalculator, PETCalculator, calculator
from toys import silicon, tiny_pet


def test_both_names_are_one_class():
    assert MLIPCalculator is PETCalculator is calculator.MLIPCalculator
    assert {"MLIPCalculator", "PETCalculator"} <= set(ase_pet.__all__) & set(dir(ase_pet))
    assert isinstance(MLIPCalculator(tiny_pet()), PETCalculator)
    assert isinstance(PETCalculator(tiny_pet()), MLIPCalculator)


def test_todict_and_back():
    arguments = {"model": "silicon", "skin": 0.5, "dtype": "float64"}
    again = MLIPCalculator.fromdict(PETCalculator.fromdict(arguments).todict())
    assert type(again) is PETCalculator
    assert again.todict().items() >= arguments.items()


def test_files_of_pickle_name_the_established_class():
    written = pickle.dumps(MLIPCalculator(tiny_pet()))
    # versions without the general name read the file, too
    assert b"PETCalculator" in written
    assert b"MLIPCalculator" not in written
    expected = PETCalculator(tiny_pet()).get_potential_energy(silicon())
    for twin in (pickle.loads(written), copy.deepcopy(MLIPCalculator(tiny_pet()))):
        assert twin.get_potential_energy(silicon()) == expected


def test_the_name_in_a_trajectory(tmp_path):
    atoms = silicon()
    atoms.calc = MLIPCalculator(tiny_pet())
    expected = atoms.get_potential_energy()
    atoms.write(tmp_path / "one.traj")
    again = io.read(tmp_path / "one.traj")
    assert again.calc.name == atoms.calc.name == "ase_pet"
    assert again.get_potential_energy() == expected


def test_errors_are_those_of_the_class():
    with pytest.raises(ValueError, match="`dtype` is 'half': valid choices are"):
        MLIPCalculator("silicon", dtype="half")
    with pytest.raises(FileNotFoundError, match="did you mean silicon"):
        MLIPCalculator("silicn")
