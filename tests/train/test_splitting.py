"""Splits by fractions, energies of the elements, and the length of a training."""

import dataclasses
import json

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

import argon
from ase_pet.train import composition, data, read, recipe_files, run, schedule, splitting
from ase_pet.train.recipe import Optimiser
from ase_pet.train.splitting import grouped

FRACTIONS = 'files = ["argon.extxyz"]\nval_fraction = 0.2\ntest_fraction = 0.2\n'


def rows(frames, path="a"):
    return [recipe_files.Row(path, k, atoms, "", path) for k, atoms in enumerate(frames)]


def trajectory(count=40):
    """A random walk of small steps, as dynamics has."""
    rng = np.random.default_rng(0)
    atoms = bulk("Cu", cubic=True) * (2, 1, 1)
    frames = []
    for _ in range(count):
        atoms.positions += rng.normal(0, 0.02, (len(atoms), 3))
        frames.append(atoms.copy())
    return frames


def rattled(count=40):
    frames = []
    for seed in range(count):
        atoms = bulk("Cu", cubic=True)
        atoms.rattle(0.1, seed=seed)
        frames.append(atoms)
    return frames


def test_structures_that_follow_each_other_are_split_in_blocks():
    groups, how = grouped(rows(trajectory()), "auto")
    assert [len(group) for group in groups] == [4] * 10
    assert all(np.array_equal(np.diff(group), [1, 1, 1]) for group in groups)
    assert how == "structures that follow each other in blocks, 10 in all"


def test_structures_without_an_order_are_split_one_by_one():
    groups, how = grouped(rows(rattled()), "auto")
    assert len(groups) == 40
    assert how == "each structure by itself"


def test_copies_stay_together():
    frames = rattled(6)
    groups, _ = grouped(rows([*frames, frames[2].copy()]), "random")
    assert [2, 6] in groups
    assert len(groups) == 6


def test_compositions_and_files_stay_together():
    frames = [molecule("H2O"), molecule("CH4"), molecule("H2O")]
    assert grouped(rows(frames), "composition")[0] == [[0, 2], [1]]
    two_files = [*rows(rattled(3), "a"), *rows(rattled(3), "b")]
    assert len(grouped(two_files[:3] + rows(trajectory(4), "b"), "file")[0]) == 2


def unsplit(tmp_path, lines, frames=None):
    """Recipe and data whose structures state no split."""
    chosen = argon.structures(20) if frames is None else frames
    for atoms in chosen:
        atoms.info.pop("split", None)
    ase.io.write(tmp_path / "argon.extxyz", chosen)
    path = tmp_path / "recipe.toml"
    text = argon.RECIPE.format(epochs=2, method="adam", rate=0.01, dtype="float32")
    path.write_text(text.replace('files = ["argon.extxyz"]\n', lines))
    return path


def test_fractions_of_a_file(tmp_path):
    path = unsplit(tmp_path, FRACTIONS)
    with pytest.warns(UserWarning, match="split by fractions, each structure by itself: 12 train"):
        splits = data.read(read(path), (18,), 5.0)
    assert {split: len(samples) for split, samples in splits.items()} == {
        "train": 12,
        "val": 4,
        "test": 4,
    }
    with pytest.warns(UserWarning, match="split by fractions"):
        again = data.read(read(path), (18,), 5.0)
    assert [s.where for s in again["val"]] == [s.where for s in splits["val"]]


def test_training_structures_give_some_for_validation(tmp_path):
    path = unsplit(tmp_path, 'train = ["argon.extxyz"]\nval_fraction = 0.1\n')
    with pytest.warns(UserWarning, match="18 train, 2 val"):
        splits = data.read(read(path), (18,), 5.0)
    assert not splits["test"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ('files = ["argon.extxyz"]\n', "expected one of train, val, test, or `data.val_fraction`"),
        (FRACTIONS + 'split_by = "file"\n', "finds 1 groups of structures"),
        ('files = ["argon.extxyz"]\nval_fraction = 0.6\ntest_fraction = 0.5\n', "leave nothing"),
        ('files = ["argon.extxyz"]\nval_fraction = "ten"\n', "`val_fraction` is 'ten': expected"),
    ],
)
def test_splits_that_cannot_be_made(tmp_path, lines, message):
    with pytest.raises(ValueError, match=message):
        data.read(read(unsplit(tmp_path, lines)), (18,), 5.0)


def test_some_structures_with_a_split(tmp_path):
    path = unsplit(tmp_path, FRACTIONS)
    frames = ase.io.read(tmp_path / "argon.extxyz", ":")
    frames[3].info["split"] = "test"
    ase.io.write(tmp_path / "argon.extxyz", frames)
    with pytest.raises(ValueError, match="some structures have a split and others have none"):
        list(splitting.assigned(read(path), recipe_files.rows(read(path))))


def with_atom(energy):
    """Argon, and an atom alone."""
    atom = Atoms("Ar", cell=np.eye(3) * 20, pbc=True)
    atom.calc = SinglePointCalculator(atom, energy=energy, forces=np.zeros((1, 3)))
    atom.info["split"] = "train"
    return [*argon.structures(), atom]


def energies_of(recipe, tmp_path, line, frames):
    """Trainer of a recipe of argon with a line on energies of elements."""
    path = recipe()
    ase.io.write(tmp_path / "argon.extxyz", frames)
    path.write_text(line + path.read_text())
    return run.prepare(read(path), tmp_path, "cpu")


def test_isolated_atoms_are_subtracted_and_not_trained_on(recipe, tmp_path):
    trainer = energies_of(recipe, tmp_path, 'E0s = "isolated"\n', with_atom(-6.5))
    assert trainer.composition == {18: -6.5}
    assert len(trainer.splits["train"]) == 9


def test_energies_of_elements_that_are_given(recipe, tmp_path):
    trainer = energies_of(recipe, tmp_path, "E0s = {Ar = -6.25}\n", argon.structures())
    assert trainer.composition == {18: -6.25}
    by_fit = energies_of(recipe, tmp_path, 'E0s = "fit"\n', argon.structures())
    assert by_fit.composition[18] == pytest.approx(-7, abs=0.1)
    difference = trainer.splits["val"][0].energy - by_fit.splits["val"][0].energy
    assert difference == pytest.approx(4 * (by_fit.composition[18] + 6.25))


@pytest.mark.parametrize(
    ("line", "count", "message"),
    [
        ('E0s = "isolated"\n', 14, "`E0s` lacks Ar: expected a structure with one atom"),
        ("E0s = {Ne = -1.0}\n", 14, "`E0s` lacks Ar: expected an entry of the table"),
        ('E0s = "average"\n', 14, "`E0s` is 'average': expected 'fit', 'isolated', or a table"),
        ("E0s = {Xx = -1.0}\n", 14, "`E0s` is {'Xx': -1.0}: expected"),
        ("E0s = {Ar = nan}\n", 14, "`E0s` is {'Ar': nan}: expected 'fit'"),
        ('E0s = "isolated"\n', 16, "a second energy of the isolated Ar, -7 eV and -6.5 eV"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*the same structure with another")
def test_energies_that_are_missing(recipe, tmp_path, line, count, message):
    frames = [*with_atom(-6.5), with_atom(-7.0)[-1]][:count]
    with pytest.raises(ValueError, match=message):
        energies_of(recipe, tmp_path, line, frames)
    assert composition.SAME_ENERGY < 0.5


def test_batches_by_atoms_and_epochs_by_updates(recipe):
    path = recipe()
    path.write_text(path.read_text().replace("batch_size = 4", "batch_atoms = 12\nupdates = 10"))
    full = read(path)
    samples = data.read(full, (18,), 5.0)["train"]  # 9 structures of 4 atoms
    options = schedule.resolved(full, samples).optimiser
    assert (options.batch_size, options.epochs) == (3, 4)


def test_a_training_ends_by_patience_or_time():
    history = [{"score": score} for score in (3.0, 1.0, 2.0, 1.5)]
    assert schedule.end(history, Optimiser(), 1e9) == ""
    assert "after 2 validations without" in schedule.end(history, Optimiser(patience=2), 0.0)
    assert schedule.end(history, Optimiser(patience=3), 0.0) == ""
    assert "ended after 2 h" in schedule.end(history, Optimiser(time_limit=1.5), 7200.0)


def test_patience_ends_a_run(recipe, tmp_path):
    path = recipe(epochs=50, rate=1e-9)
    path.write_text(path.read_text().replace("batch_size = 4", "batch_size = 4\npatience = 1"))
    with pytest.warns(UserWarning, match="ended after 1 validations without a better one"):
        run.train(path, tmp_path / "run")
    lines = (tmp_path / "run/history.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["epoch"] < 50


def test_recipes_that_differ_in_their_length(recipe):
    short = read(recipe(3))
    assert schedule.differences(short, read(recipe(4))) == []
    other = dataclasses.replace(short, seed=9)
    assert schedule.differences(short, other) == ["seed"]


def test_neighbours_in_time_of_other_splits_are_left_out():
    frames = trajectory(100)
    splits = ["train"] * 40 + ["val"] * 10 + ["train"] * 50
    left_out = splitting.at_borders(rows(frames), splits, "auto")
    distances = [
        min(splitting._distance(frames[k], frames[other]) for other in range(40, 50))
        for k in range(100)
    ]
    limit = splitting.FOLLOWS * splitting._typical_distance(frames)
    # both sides of the block, up to half a block
    assert {39, 50} <= set(left_out) <= {*range(35, 40), *range(50, 55)}
    assert max(distances[k] for k in left_out) < limit
    assert splitting.at_borders(rows(rattled(100)), splits, "auto") == []
    assert splitting.at_borders(rows(frames), splits, "random") == []


def test_structures_at_borders_are_in_no_split_and_counted(tmp_path):
    frames = trajectory(40)
    for atoms in frames:
        atoms.calc = EMT()
        atoms.get_forces()
    path = unsplit(tmp_path, 'files = ["argon.extxyz"]\nval_fraction = 0.1\n', frames)
    path.write_text(path.read_text().replace('"Ar"', '"Cu"'))
    with pytest.warns(UserWarning, match="10 in all: .* train, 4 val; [24] left out, as they foll"):
        splits = data.read(read(path), (29,), 5.0)
    assert len(splits["train"]) + len(splits["val"]) in (36 + 4 - 2, 36 + 4 - 4)
