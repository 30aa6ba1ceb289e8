"""Files of weights of calculator folders, which must be exactly those of the model."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import safetensors
import safetensors.torch
import torch

from .models._values import check_finite, names
from .models.base import AtomisticModel

FILE = "weights.safetensors"
LARGEST_HEADER = 1 << 24  # bytes of the names and shapes in a file
LARGEST_NUMBER = 8  # bytes of a number
PRECISIONS = (torch.float32, torch.float64)


def loaded(build: Callable[[], AtomisticModel], path: Path, sha256: str) -> AtomisticModel:
    """Model with the weights of a file, in the precision of the file.

    No memory is allocated before the tensors of the file are known to have the names, shapes and
    types of those of the model.

    Parameters
    ----------
    build:
        Function that makes the model with weights that are replaced.
    path:
        Path of the file.
    sha256:
        Checksum that the file must have.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        The file is damaged, or its tensors are not those of the model, or not finite.
    """
    if not path.is_file():
        raise FileNotFoundError(f"`{path}` is missing: the calculator folder is incomplete")
    # Initial weights are random: the state of the user's random numbers is restored afterwards.
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        model = build()
    state = _read(path, sha256, model.state_dict())
    if any(_is_made_here(model)):
        # buffers that no file holds are made by the constructor, now that the sizes are known
        with torch.random.fork_rng(devices=[]):
            model = build()
    weight_names = [name for name, _ in model.named_parameters() if name in state]
    if weight_names:
        model.to(state[weight_names[0]].dtype)
    # `assign` keeps the dtype of each tensor in the file, whatever that of the weights.
    model.load_state_dict(state, assign=True)
    return model


def _is_made_here(model: AtomisticModel) -> list[bool]:
    """Whether each tensor that is not part of the state dict has no memory."""
    saved = model.state_dict()
    return [tensor.is_meta for name, tensor in model.named_buffers() if name not in saved]


def _read(path: Path, sha256: str, expected: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tensors of a file that has this checksum and the names, shapes and types expected."""
    most = LARGEST_HEADER + sum(LARGEST_NUMBER * tensor.numel() for tensor in expected.values())
    size = path.stat().st_size
    if size > most:
        raise ValueError(
            f"`{path}` has {size} bytes: the settings of the model ask for {most} at most"
        )
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ValueError(f"`{path}` is damaged or not the file its card names: sha256 differs")
    try:
        tensors = safetensors.torch.load(data)
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"`{path}` holds no weights ({type(error).__name__}: {error})") from None
    _check_tensors(tensors, expected)
    check_finite(tensors)
    # They are views of the bytes of the file, which may be badly aligned.
    return {name: tensor.clone() for name, tensor in tensors.items()}


def _check_tensors(tensors: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    """Raise ValueError unless tensors have the names, shapes and kinds of numbers expected."""
    missing = sorted(expected.keys() - tensors.keys())
    unknown = sorted(tensors.keys() - expected.keys())
    if missing:
        raise ValueError(f"the weights lack {names(missing)}, which the settings ask for")
    if unknown:
        raise ValueError(f"the weights hold the unknown {names(unknown)}")
    for name, tensor in tensors.items():
        shape = tuple(expected[name].shape)
        if tuple(tensor.shape) != shape:
            raise ValueError(
                f"{names([name])} has shape {tuple(tensor.shape)}: the settings ask for {shape}"
            )
        is_float = expected[name].is_floating_point()
        valid = PRECISIONS if is_float else (expected[name].dtype,)
        if tensor.dtype not in valid:
            choices = " or ".join(str(dtype).removeprefix("torch.") for dtype in valid)
            raise ValueError(
                f"{names([name])} is in {str(tensor.dtype).removeprefix('torch.')}: expected"
                f" {choices}"
            )
