"""Optional dependencies: installation commands in texts."""

import configparser
import re

import pytest

from ase_pet.choices import closest, one_of
from ase_pet.extras import how_to_install
from paths import ROOT

FOLDERS = ("ase_pet", "benchmarks", "docs", "md_examples")
KINDS = (".md", ".py", ".txt", ".toml")
TEXTS = [
    *ROOT.glob("*.md"),
    *(path for name in FOLDERS for path in (ROOT / name).rglob("*") if path.suffix in KINDS),
]


def test_no_text_names_a_package_that_is_not_registered():
    """The names ase-pet and ase_pet are not registered on PyPI: another package could take them."""
    unregistered = re.compile(r"pip install[^\n]{0,20}ase[-_]pet|ase[-_]pet\[")
    assert [str(path) for path in TEXTS if unregistered.search(path.read_text("utf-8"))] == []


def test_extras_that_are_named_exist():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    named = {
        extra
        for path in TEXTS
        for extra in re.findall(r"how_to_install\(['\"](\w+)['\"]\)", path.read_text("utf-8"))
    }
    assert {"train", "phonons", "hub"} <= named
    assert named <= set(setup["options.extras_require"])


def test_an_extra_is_installed_from_a_clone():
    assert how_to_install("train") == "pip install '.[train]' in a clone of ase_pet"


def test_a_choice_is_one_of_the_valid_ones():
    one_of("method", "adam", ("muon", "adam"))
    with pytest.raises(ValueError, match="`method` is 'sgd': valid choices are muon, adam$"):
        one_of("method", "sgd", ("muon", "adam"))


def test_the_closest_name_is_suggested():
    assert closest("epoch", ("batch_size", "epochs")) == " (did you mean `epochs`?)"
    assert closest("colour", ("batch_size", "epochs")) == ""
