"""PET models as text: a line with the version, then settings and weights as JSON.

toy model, version 1
{"settings": {"species": [18], ...}, "weights": {"NAME": [[0.1, ...], ...], ...}}
"""

from __future__ import annotations

import json
from pathlib import Path

import torch

from ..models import pet
from ..models.base import AtomisticModel

BY_CONTENT = True  # `recognises` looks into the file
BEGINNING = "toy model, version "
VERSION = "1"


def recognises(path: str | Path) -> bool:
    """Whether the path is a file of this format, of any version.

    Parameters
    ----------
    path:
        Path of a file or folder.
    """
    path = Path(path)
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(BEGINNING)) == BEGINNING.encode()


def read(path: str | Path) -> AtomisticModel:
    """Model of a file.

    Parameters
    ----------
    path:
        Path of the file.

    Raises
    ------
    ValueError
        The file is damaged or of an unknown version.
    """
    head, _, body = Path(path).read_text(encoding="utf-8").partition("\n")
    version = head.removeprefix(BEGINNING)
    if version != VERSION:
        raise ValueError(f"`{path}` has version {version!r}: expected {VERSION!r}")
    try:
        content = json.loads(body)
        model = pet.Model(pet.Settings(**content["settings"])).double()
        tensors = {
            name: torch.tensor(values, dtype=torch.float64)
            for name, values in content["weights"].items()
        }
        model.load_state_dict(tensors)
    # what damaged JSON, settings that do not exist, and missing or misshapen weights raise
    except (ValueError, KeyError, TypeError, RuntimeError) as error:
        raise ValueError(f"`{path}` is damaged: {type(error).__name__}: {error}") from None
    return model
