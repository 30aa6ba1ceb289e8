"""Fixtures of all tests."""

from pathlib import Path

import ase.io
import pytest
import torch

import argon

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def generator():
    """torch.Generator with a fixed seed."""
    return torch.Generator().manual_seed(0)


@pytest.fixture
def shared():
    """Folder of reference data beside the checkout; the test is skipped where there is none."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("no folder `shared` of reference data beside the checkout")
    return folder


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
