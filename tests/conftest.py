"""Fixtures of all tests."""

import os
from pathlib import Path

import ase.io
import matplotlib.figure
import pytest
import torch

import argon
from ase_pet.layers import linear
from paths import DATA, ROOT
from seeds import seed

if os.environ.get("ASE_PET_TEST_ONEDNN") == "0":  # tests/kernels.py
    torch.backends.mkldnn.set_flags(False)
SAME_FILES = {  # names of reference files that have another name in tests/data
    "metatrain/tiny_modern_adaptive_grid.ckpt": "pet_direct_heads.ckpt",
    "original_pet/default_like": "original_pet",
}


@pytest.fixture(autouse=True)
def empty_pictures(request, monkeypatch):
    """Pictures are empty files, but in tests marked `pictures`: drawing takes seconds."""
    if "pictures" in request.keywords:
        return

    def savefig(figure, file, **options):
        if isinstance(file, str | Path):
            Path(file).write_bytes(b"")

    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", savefig)


@pytest.fixture(autouse=True)
def kernels_of_wide_weights(monkeypatch):
    """Toys use the kernels of the published sizes, although their weights are narrow."""
    monkeypatch.setattr(linear, "FEWEST_PRODUCTS", 0)


@pytest.fixture
def generator():
    """torch.Generator with a fixed seed."""
    return torch.Generator().manual_seed(seed())


@pytest.fixture
def reference_file():
    """Function that returns the path of a reference file or folder, such as "ponita/windowed.npz".

    Of the repository (tests/data/oracles/README.md), or of the folder `shared` beside the checkout;
    the test is skipped if the file is in neither place.
    """

    def path(name):
        if name in SAME_FILES:
            return DATA / SAME_FILES[name]
        folders = (DATA / "oracles", ROOT.parent / "shared" / "oracles")
        places = [folder / name for folder in folders]
        existing = [place for place in places if place.exists()]
        if not existing:
            pytest.skip(f"no {name} in tests/data/oracles or ../shared/oracles")
        return existing[0]

    return path


@pytest.fixture
def recipe(tmp_path):
    """Function that writes a recipe and its data, and returns its path."""

    def write(epochs=3, method="muon", rate=0.01, dtype="float32", extra="", name="recipe.toml"):
        ase.io.write(tmp_path / "argon.extxyz", argon.structures())
        path = tmp_path / name
        path.write_text(
            argon.RECIPE.format(epochs=epochs, method=method, rate=rate, dtype=dtype) + extra
        )
        return path

    return write
