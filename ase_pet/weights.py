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
PRECISIONS: tuple[torch.dtype, ...] = (torch.float32, torch.float64)


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
    if _has_empty_buffers(model):
        # buffers that no file holds are made by the constructor, now that the sizes are known
        with torch.random.fork_rng(devices=[]):
            model = build()
    first = next(model.named_parameters(), None)
    if first is not None:
        name, _ = first
        model.to(state[name].dtype)
    # `assign` keeps the dtype of each tensor in the file, whatever that of the weights.
    model.load_state_dict(state, assign=True)
    return model


def _has_empty_buffers(model: AtomisticModel) -> bool:
    """Whether a buffer that is not part of the state dict has no memory."""
    saved = model.state_dict()
    others = [tensor for name, tensor in model.named_buffers() if name not in saved]
    return any(tensor.is_meta for tensor in others)


def _read(path: Path, sha256: str, expected: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tensors of a file that has this checksum and the names, shapes and types expected."""
    n_values = sum(tensor.numel() for tensor in expected.values())
    most = LARGEST_HEADER + LARGEST_NUMBER * n_values
    # a sparse file may have any size
    size = path.stat().st_size
    if size > most:
        raise ValueError(
            f"`{path}` has {size} bytes: the settings of the model ask for {most} at most"
        )
    data = path.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
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
        _check_tensor(names([name]), tensor, expected[name])


def _check_tensor(name: str, tensor: torch.Tensor, expected: torch.Tensor) -> None:
    """Raise ValueError unless a tensor has the shape and kind of numbers of another one."""
    shape = tuple(tensor.shape)
    if shape != tuple(expected.shape):
        raise ValueError(f"{name} has shape {shape}: the settings ask for {tuple(expected.shape)}")
    if tensor.dtype not in _valid_types(expected.dtype):
        raise ValueError(f"{name} is in {tensor.dtype}: expected {expected.dtype}")


def _valid_types(expected: torch.dtype) -> tuple[torch.dtype, ...]:
    """Types of numbers that a file may have where the model has another one."""
    return PRECISIONS if expected.is_floating_point else (expected,)
