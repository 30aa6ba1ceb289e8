"""Notes on training data that are probably mistakes."""

import tomllib

import ase.io
import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator

from ase_pet import PETCalculator, store
from ase_pet.models import pet
from ase_pet.train import data, inspection, read, run, train
from ase_pet.train.recipe import model_settings


def sample(where, energy=-5.0, seed=0, **changes):
    """Copper whose energy per atom is this, within some meV."""
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.1, seed=seed)
    atoms.set_positions(changes.get("positions", atoms.positions))
    noise = 0.01 * np.random.default_rng(seed).normal()
    atoms.calc = SinglePointCalculator(atoms, energy=(energy + noise) * len(atoms))
    return data.sample(atoms, (1, 29), 4.0, where)


def good(count=8, first=0):
    return [sample(f"`a`, structure {k}", seed=k) for k in range(first, first + count)]


def test_good_data_have_no_notes():
    atom = Atoms("Cu")
    atom.calc = SinglePointCalculator(atom, energy=-0.5)
    alone = data.sample(atom, (29,), 4.0, "`b`, structure 0")
    twice = good() + good()  # a file that is listed twice
    inspection.warn({"train": [*twice, alone], "val": good(3, 8), "test": []}, (1, 29))


@pytest.mark.parametrize(
    ("energy", "remark"),
    [
        (-5 / units.Hartree, ": in Hartree?"),
        (-5 / units.Rydberg, ": in Rydberg?"),
        (-5 * units.mol / units.kcal, ": in kcal/mol?"),
        (-30.0, ""),
        (40.0, ""),
    ],
)
def test_an_energy_of_another_unit(energy, remark):
    wrong = sample("`b`, structure 7", energy, seed=20)
    message = (
        r"^`b`, structure 7 \(.* eV/atom, the others let expect -(4.99|5)\d*{}\): an energy far"
    )
    with pytest.warns(UserWarning, match=message.format(remark.replace("?", r"\?"))):
        inspection.warn({"train": [*good(), wrong], "val": [], "test": []}, (1, 29))


def test_nuclei_that_repel_each_other_explain_an_energy():
    positions = good(1)[0].structure.positions.copy()
    positions[1] = positions[0] + [0, 0, 1.0]
    pressed = sample("`b`, structure 0", 40.0, positions=positions)
    inspection.warn({"train": [*good(), pressed]}, (29,))


def test_atoms_closer_than_any_bond():
    positions = good(1)[0].structure.positions.copy()
    positions[1] = positions[0] + [0, 0, 0.3]
    close = sample("`b`, structure 3", positions=positions)
    with pytest.warns(UserWarning, match=r"`b`, structure 3 \(Cu-Cu 0.30 A\): atoms closer than 0"):
        inspection.warn({"train": [*good(), close]}, (29,))
    positions[1] = positions[0] + [0, 0, 0.05]
    with pytest.raises(ValueError, match="`b`, structure 4: atoms 0 and 1 are 0.05 A apart"):
        sample("`b`, structure 4", positions=positions)


def test_a_stress_in_another_unit():
    large = sample("`b`, structure 5", seed=30)
    large.virial = -20.0 * large.structure.volume * np.eye(3)
    message = r"^`b`, structure 5 \(20 eV/A\^3 = 3.2e\+03 GPa\): .* in GPa or kbar rather than"
    with pytest.warns(UserWarning, match=message):
        inspection.warn({"train": [*good(), large]}, (29,))


@pytest.mark.parametrize(
    ("split", "energy", "message"),
    [
        ("train", -5.0, "^`b`, structure 0 = `a`, structure 2: the same structure twice"),
        ("test", -5.0, "a structure of the split `test` is in `train` as well"),
        ("test", -5.1, "the same structure with another energy"),
    ],
)
def test_duplicates(split, energy, message):
    splits = {"train": good(), "val": [], "test": []}
    splits[split] = [*splits[split], sample("`b`, structure 0", energy, seed=2)]
    with pytest.warns(UserWarning, match=message):
        inspection.warn(splits, (29,))


def test_a_file_of_two_splits_is_used_for_both_and_noted(recipe, tmp_path):
    path = recipe()
    frames = ase.io.read(tmp_path / "argon.extxyz", ":")
    ase.io.write(tmp_path / "a.extxyz", frames[:6])
    ase.io.write(tmp_path / "b.extxyz", frames[6:])
    lists = 'train = ["a.extxyz", "b.extxyz"]\nval = ["b.extxyz", "b.extxyz"]'
    path.write_text(path.read_text().replace('files = ["argon.extxyz"]', lists))
    with pytest.warns(
        UserWarning, match="and 7 more: a structure of the split `val` is in `train`"
    ):
        trainer = run.prepare(read(path), tmp_path, "cpu")
    assert [len(trainer.splits[split]) for split in ("train", "val")] == [14, 8]


def test_an_element_that_no_structure_has_is_refused_in_use(recipe, tmp_path):
    """A number for it would come from random weights."""
    path = recipe(1)
    path.write_text(path.read_text().replace('["Ar"]', '["Ar", "Xe", "Ne"]'))
    with pytest.warns(UserWarning, match="holds Xe, Ne, which no training structure has"):
        train(path, tmp_path / "run")
    content = tomllib.loads((tmp_path / "run" / "calculator.toml").read_text())
    assert content["untrained_species"] == ["Xe", "Ne"]
    calculator = PETCalculator(tmp_path / "run")
    assert calculator.species == (18,)
    atoms = Atoms("ArXe", positions=[[0, 0, 0], [0, 0, 3.5]], calculator=calculator)
    with pytest.raises(ValueError, match="no training structure of this calculator has Xe"):
        atoms.get_potential_energy()
    atoms.numbers[:] = 18
    assert np.isfinite(atoms.get_potential_energy())

    second = tmp_path / "second.toml"
    second.write_text('start = "run"\n' + path.read_text())
    with pytest.warns(UserWarning, match="holds Xe, Ne, which no training structure has"):
        trainer = run.prepare(read(second), tmp_path, "cpu")
    assert trainer.untrained_species == [54, 10]


def test_an_element_of_the_start_only_keeps_its_energy(recipe, tmp_path):
    path = recipe(1)
    path.write_text(path.read_text().replace('["Ar"]', '["Ar", "Xe"]'))
    first_with_xenon(path, tmp_path)
    second = tmp_path / "second.toml"
    second.write_text('start = "run"\n' + path.read_text())
    with pytest.warns(UserWarning, match="energies with Xe will be those of `start` 'run'"):
        trainer = run.prepare(read(second), tmp_path, "cpu")
    assert trainer.untrained_species == []
    assert trainer.composition[54] == -3.25


def first_with_xenon(path, tmp_path):
    """Write a calculator that knows argon and xenon, with an energy of xenon of -3.25 eV."""
    model = pet.Model(model_settings(read(path)))
    model.compositions = {"energy": {18: -7.0, 54: -3.25}}
    store.save(tmp_path / "run", model, store.CalculatorInfo("both"))


def moves(positions):
    """The same structure by a lattice vector, a shift of all, and another order."""
    one = positions.copy()
    one[2] += [3.61, 0, -3.61]
    return {"lattice": one, "shift": positions + [0.3, 1.1, -2.0], "order": positions[[2, 0, 3, 1]]}


@pytest.mark.parametrize("kind", ["lattice", "shift", "order"])
def test_moved_copies_in_another_split_are_noted(kind):
    positions = sample("`a`, structure 3", seed=3).structure.positions
    copy = sample("`v`, structure 0", seed=3, positions=moves(positions)[kind])
    message = r"`v`, structure 0 = `a`, structure 3: a structure of the split `val` is in `train`"
    with pytest.warns(UserWarning, match=message):
        inspection.warn({"train": good(), "val": [copy], "test": []}, (1, 29))


def test_a_structure_that_is_nearly_the_same_is_another():
    positions = sample("`a`, structure 3", seed=3).structure.positions.copy()
    positions[0, 0] += 0.01
    other = sample("`v`, structure 0", seed=3, positions=positions)
    inspection.warn({"train": good(), "val": [other], "test": []}, (1, 29))
