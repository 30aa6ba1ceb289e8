"""Wheel and sdist: their content, and that the installed package works from another folder."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from ase_pet import __version__, shipped
from paths import ROOT

pytestmark = pytest.mark.package

NOT_SOURCE = (
    ".git",
    ".venv",
    "build",
    "dist",
    "demo",
    "runs",
    "*.egg-info",
    "__pycache__",
    ".pytest_cache",
)
IN_WHEEL = ("README.md", "calculator.toml", "weights.safetensors")
BUILD = (
    "import sys; from setuptools import build_meta; print(getattr(build_meta, 'build_' +"
    " sys.argv[1])(sys.argv[2]))"
)
LOOK = """
import json, ase_pet
print(json.dumps([ase_pet.__file__, ase_pet.__version__, ase_pet.shipped()]))
"""
ENERGY = """
from ase.build import bulk
from ase_pet import PETCalculator
atoms = bulk("Si")
atoms.calc = PETCalculator("silicon")
print(atoms.get_potential_energy())
"""


def python(*arguments, folder, path=""):
    """Lines that a new interpreter prints, run in a folder with only `path` on PYTHONPATH."""
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=folder,
        check=False,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(path)},
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def build(kind, source, folder):
    """Path of the wheel or sdist of the sources, written to a folder."""
    return folder / python("-c", BUILD, kind, folder, folder=source)[-1]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A copy of the sources, so that building writes no files to the checkout."""
    folder = tmp_path_factory.mktemp("source") / "a copy"
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*NOT_SOURCE))
    return folder


@pytest.fixture(scope="module", params=["wheel", "sdist"])
def archive(request, source, tmp_path_factory):
    """A built wheel or sdist."""
    return build(request.param, source, tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def installed(archive, tmp_path_factory):
    """Installation folder of the archive, without its dependencies."""
    folder = tmp_path_factory.mktemp("installed")
    python(
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "--disable-pip-version-check",
        "--target",
        folder,
        archive,
        folder=archive.parent,
    )
    return folder


def members(archive):
    """Names in the archive, relative to the package's or the checkout's root."""
    if archive.suffix == ".whl":
        return set(zipfile.ZipFile(archive).namelist())
    with tarfile.open(archive) as file:
        return {name.partition("/")[2] for name in file.getnames()}


def test_archive_carries_the_calculators(archive):
    inside, folder = (
        members(archive),
        {".whl": "ase_pet/calculators", ".gz": "calculators"}[archive.suffix],
    )
    assert {f"{folder}/{name}/{file}" for name in shipped() for file in IN_WHEEL} <= inside


def test_training_data_are_in_the_sdist_only(archive):
    data = {path.relative_to(ROOT).as_posix() for path in (ROOT / "calculators").glob("*/*.xz")}
    names = {name for name in members(archive) if name.endswith(".xz") and "calculators/" in name}
    assert names == {".whl": set(), ".gz": data}[archive.suffix]


def test_archive_carries_the_code(archive):
    code = {path.relative_to(ROOT).as_posix() for path in (ROOT / "ase_pet").rglob("*.py")}
    data = {"ase_pet/py.typed", "ase_pet/checks/report.html.j2"}
    assert code | data <= members(archive)


def test_sdist_carries_what_a_developer_needs(source, tmp_path):
    inside = members(build("sdist", source, tmp_path))
    needed = {
        "Makefile",
        "constraints.txt",
        "README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "LICENSE",
        ".ci/run",
        "tests/conftest.py",
        "docs/index.md",
        "md_examples/02_phonon_bands.py",
        "calculators/README.md",
    }
    assert needed - inside == set()


def test_installed_package_is_found_from_elsewhere(installed, tmp_path):
    where, version, names = json.loads(python("-c", LOOK, folder=tmp_path, path=installed)[-1])
    assert Path(where).parent == installed / "ase_pet"
    assert version == __version__
    assert names == shipped()


def test_command_is_installed(installed):
    assert (installed / "bin" / "ase-pet").is_file()


@pytest.mark.skipif(
    "silicon" not in shipped(), reason="the calculator `silicon` is not shipped yet"
)
def test_installed_calculator_gives_an_energy(installed, tmp_path):
    assert float(python("-c", ENERGY, folder=tmp_path, path=installed)[-1]) < 0
