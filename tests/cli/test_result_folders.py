"""Folders of results: one command at a time, nothing half written, nothing lost."""

import contextlib
import errno
import fcntl
import json
import os

import ase.io
import pytest
from ase.build import bulk
from typer.testing import CliRunner

from ase_pet.cli import _results
from ase_pet.cli._application import app
from ase_pet.staging import staged

COMMANDS = {
    "relax": (),
    "elastic": (),
    "phonons": ("--supercell", "2,2,2"),
    "qha": ("--supercell", "2,2,2"),
    "vibrations": (),
}


@pytest.fixture(autouse=True)
def _free():
    yield
    _results.release()


@pytest.fixture
def copper(tmp_path):
    path = tmp_path / "copper.extxyz"
    ase.io.write(path, bulk("Cu"))
    return path


@pytest.mark.parametrize("name", COMMANDS)
def test_a_folder_in_use_is_refused(copper, tmp_path, name):
    output = tmp_path / "results"
    output.mkdir()
    other = os.open(output, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    arguments = (name, copper, "--calculator", "factories:EMT", "--output", output)
    result = CliRunner().invoke(app, [*map(str, arguments), *COMMANDS[name]])
    os.close(other)
    assert isinstance(result.exception, BlockingIOError)
    assert "belongs to a command that is running" in str(result.exception)
    assert list(output.iterdir()) == []


def test_a_held_folder_is_free_again(tmp_path):
    output = tmp_path / "new" / "results"
    _results.hold(output)
    _results.hold(output)  # by the same command
    _results.release()
    assert list(tmp_path.iterdir()) == []
    _results.hold(output)
    (output / "results.json").write_text("{}")
    _results.release()
    assert (output / "results.json").exists()


def test_files_of_a_result_are_all_there_or_none(tmp_path):
    (tmp_path / "report.json").write_text("old")
    with contextlib.suppress(OSError), staged(tmp_path) as stage:
        (stage / "report.json").write_text("new")
        raise OSError("full")
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]
    assert (tmp_path / "report.json").read_text() == "old"
    with staged(tmp_path / "new") as stage:
        (stage / "modes").mkdir()
        (stage / "modes" / "0.xyz").write_text("1")
        (stage / "report.json").write_text("new")
    written = [path.relative_to(tmp_path / "new") for path in (tmp_path / "new").rglob("*.*")]
    assert sorted(map(str, written)) == ["modes/0.xyz", "report.json"]


@pytest.mark.parametrize("name", ["vibrations", "elastic"])
def test_a_full_disk_costs_no_results(copper, tmp_path, name, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    ase.io.write(copper, bulk("Cu", cubic=True))
    output = tmp_path / "results"
    arguments = (name, copper, "--calculator", "factories:EMT", "--output", output)
    extra = {"vibrations": (), "elastic": ("--no-relax",)}[name]
    result = CliRunner().invoke(app, [*map(str, arguments), *extra])
    assert result.exception.errno == errno.ENOSPC
    assert not [path for path in output.rglob("*") if path.is_file()]
    key = {"vibrations": "meV", "elastic": "constants"}[name]
    assert json.loads(result.stdout.splitlines()[0])[key]


@pytest.mark.parametrize("name", ["elastic", "vibrations"])
def test_files_of_other_atoms_are_not_replaced(copper, tmp_path, name):
    output = tmp_path / "results"
    output.mkdir()
    (output / "relax.json").write_text('{"input": {"formula": "Al", "sha256": "0"}}')
    arguments = (name, copper, "--calculator", "factories:EMT", "--output", output)
    result = CliRunner().invoke(app, [*map(str, arguments)])
    assert "relax.json` holds results of Al, and this is Cu" in str(result.exception)
