"""Fixtures of all tests."""

from pathlib import Path

import pytest
import torch

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
