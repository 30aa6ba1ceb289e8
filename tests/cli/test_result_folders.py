"""Folders of results: one command at a time, nothing left behind by bad input."""

import fcntl
import os

import ase.io
import pytest
from ase.build import bulk
from typer.testing import CliRunner

from ase_pet.cli import _results
from ase_pet.cli._application import app

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
