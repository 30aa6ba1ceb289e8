"""Samples on disk: those in memory bit for bit, and files that are written once."""

import dataclasses

import ase.db
import ase.io
import numpy as np
import pytest
import torch

import argon
import processes
from argon import structures
from ase_pet.train import (
    data,
    file_streams,
    read,
    recipe_files,
    run,
    sources,
    streaming,
    train,
)


@pytest.fixture
def path(recipe, tmp_path):
    """Recipe with a cache; some labels are not known, and one structure is a molecule."""
    written = recipe(2, dtype="float64")
    frames = structures()
    del frames[0].calc.results["forces"], frames[1].calc.results["stress"]
    del frames[2].calc.results["stress"]
    frames[2].pbc = False
    ase.io.write(tmp_path / "argon.extxyz", frames)
    return written


def cached(path):
    text = path.read_text().replace("[data]", '[data]\ncache = "cache"')
    other = path.with_name("cached.toml")
    other.write_text(text)
    return other


def values(sample):
    structure = sample.structure
    pairs = sample.pairs
    numbers = [structure.numbers, structure.positions, structure.cell, structure.pbc]
    labels = [sample.energy, sample.forces, sample.virial, sample.dipole]
    lists = [pairs.centres, pairs.neighbours, pairs.vectors]
    return [np.asarray(each) for each in (*numbers, *labels, *lists)]


def test_samples_are_those_in_memory(path, monkeypatch):
    """Also after pages were given back to the system."""
    monkeypatch.setattr(streaming, "KEPT", 1)
    in_memory = sources.read_samples(read(path), (18,), 5.0)
    stored = sources.read_samples(read(cached(path)), (18,), 5.0)
    assert {split: len(each) for split, each in stored.items()} == {
        split: len(each) for split, each in in_memory.items()
    }
    for split in in_memory:
        for one, other in zip(in_memory[split], stored[split], strict=True):
            assert one.where == other.where
            assert one.structure.charge == other.structure.charge
            for a, b in zip(values(one), values(other), strict=True):
                assert a.dtype == b.dtype
                np.testing.assert_array_equal(a, b)
    assert stored["train"][-1].where == in_memory["train"][-1].where
    with pytest.raises(IndexError):
        stored["train"][len(stored["train"])]


def test_slices_of_stored_samples_read_nothing(path):
    stored = sources.read_samples(read(cached(path)), (18,), 5.0)["train"]
    half = stored[1::2]
    assert [each.where for each in half] == [each.where for each in list(stored)[1::2]]
    np.testing.assert_array_equal(half.sizes, [4] * len(half))


def test_a_store_is_written_once(path, tmp_path, monkeypatch):
    """A store depends on its files, the cutoff and the names of labels, not on `limit`."""
    recipe = read(cached(path))
    first = sources.read_samples(recipe, (18,), 5.0)
    monkeypatch.setattr(data, "labelled_samples", None)
    limited = dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, limit=4))
    again = sources.read_samples(limited, (18,), 5.0)
    monkeypatch.undo()
    in_memory = dataclasses.replace(limited, data=dataclasses.replace(limited.data, cache=None))
    expected = [each.where for each in sources.read_samples(in_memory, (18,), 5.0)["train"]]
    assert [each.where for each in again["train"]] == expected
    assert len(list((tmp_path / "cache").glob("*/index.json"))) == 1

    sources.read_samples(recipe, (18,), 4.0)
    ase.io.write(tmp_path / "argon.extxyz", structures(13))
    shorter = sources.read_samples(recipe, (18,), 5.0)
    assert sum(map(len, shorter.values())) == sum(map(len, first.values())) - 1
    assert len(list((tmp_path / "cache").glob("*/index.json"))) == 3


def test_a_store_that_was_interrupted_is_written_anew(path, tmp_path, monkeypatch):
    recipe = read(cached(path))
    first = data.read(recipe, (18,), 5.0)["train"][0]

    def interrupted(*arguments):
        yield "train", first
        raise KeyboardInterrupt

    monkeypatch.setattr(data, "labelled_samples", interrupted)
    with pytest.raises(KeyboardInterrupt):
        sources.read_samples(recipe, (18,), 5.0)
    assert not list((tmp_path / "cache").glob("*/*"))
    monkeypatch.undo()
    assert len(sources.read_samples(recipe, (18,), 5.0)["train"]) == 9


def weights(folder):
    return (folder / "weights.safetensors").read_bytes()


def without_pictures(path, folder):
    """Training in another process, without plots."""
    argon.without_pictures()
    train(path, folder)
    return weights(folder)


def test_a_training_from_disk_is_one_from_memory(path, tmp_path):
    """Bit for bit, with two processes that share the store as well."""
    train(path, tmp_path / "memory")
    train(cached(path), tmp_path / "disk")
    assert weights(tmp_path / "disk") == weights(tmp_path / "memory")
    (first, notes), _ = processes.results(without_pictures, 2, path, tmp_path / "two")
    (second, _), _ = processes.results(without_pictures, 2, cached(path), tmp_path / "stored")
    assert first == second
    assert notes == []


def test_memory_is_bounded_by_a_part_of_the_structures(path, monkeypatch):
    """Composition energies are fitted again, and mistakes looked for, in some structures only."""
    monkeypatch.setattr(sources, "MOST_INSPECTED", 3)
    with pytest.warns(UserWarning, match="3 of the 9 structures of the split 'train' are looked"):
        trainer = run.prepare(read(cached(path)), path.parent, "cpu")
    assert len(trainer.splits["train"]) == 9
    assert torch.isfinite(torch.tensor(list(trainer.label_rms.values()))).all()


def test_large_files_are_read_in_pieces(tmp_path, monkeypatch):
    """The same structures, and the same errors, by the number of the structure."""
    path = tmp_path / "argon.extxyz"
    frames = structures()
    ase.io.write(path, frames)
    monkeypatch.setattr(file_streams, "LARGE", 0)
    monkeypatch.setattr(file_streams, "PIECE", 2000)
    read_frames = list(file_streams.stream(path))
    assert [atoms.info["split"] for atoms in read_frames] == [a.info["split"] for a in frames]
    for one, other in zip(read_frames, ase.io.read(path, ":"), strict=True):
        assert one == other
        assert one.get_potential_energy() == other.get_potential_energy()

    text = path.read_text()
    path.write_text(text + "\n" + text)
    with pytest.raises(ValueError, match="has structures after a blank line"):
        list(file_streams.stream(path))
    path.write_text(text + "four\n" + text)
    with pytest.raises(ValueError, match="a number of atoms is 'four'"):
        list(file_streams.stream(path))
    path.write_text(text + text.replace("Ar ", "Ar nan ", 1))
    with pytest.raises(ValueError, match=r"`.*argon.extxyz`.*\(counted from structure \d+\)"):
        list(file_streams.stream(path))


def test_databases_are_read_row_by_row(tmp_path):
    """Labels, splits, and entries of the rows, in a folder of databases."""
    pytest.importorskip("ase_db_backends")
    folder = tmp_path / "data"
    folder.mkdir()
    frames = structures()
    for number, part in enumerate((frames[:6], frames[6:])):
        with ase.db.connect(folder / f"data{number}.aselmdb", type="aselmdb") as database:
            for atoms in part:
                database.write(atoms, split=atoms.info["split"], data={"charge": 0})
    paths = recipe_files.paths(tmp_path, "data")
    assert [path.name for path in paths] == ["data0.aselmdb", "data1.aselmdb"]
    rows = [atoms for path in paths for atoms in file_streams.stream(path)]
    for one, other in zip(rows, frames, strict=True):
        np.testing.assert_array_equal(one.positions, other.positions)
        np.testing.assert_array_equal(one.get_forces(), other.get_forces())
        assert one.info["split"] == other.info["split"]
        assert one.info["charge"] == 0
    content = paths[0].read_bytes()
    for size, reason in (
        (100, "is not a database"),
        (5000, "incomplete"),
        (len(content) // 2, "incomplete"),
    ):
        paths[0].write_bytes(content[:size])
        with pytest.raises(ValueError, match=f"`.*data0.aselmdb`.* {reason}"):
            list(file_streams.stream(paths[0]))
