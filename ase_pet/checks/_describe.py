"""What was checked: class, version, parameters and files of a calculator, for reports."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from ._subject import Calculator

# Attributes that hold paths of models, in MACE, in NequIP and in others.
PATH_NAMES = ("model_path", "model_paths", "checkpoint", "checkpoint_path")
LONGEST = 200  # characters of the text of a parameter
CHUNK = 1 << 20  # bytes that are read at once


def describe(calculator: Calculator, path: str | Path | None = None) -> dict[str, Any]:
    """{"calculator", "package", "path", "files", "parameters"} of a calculator, for JSON.

    "files" are {name: SHA-256 of the file}, "parameters" are those that ASE knows.

    Parameters
    ----------
    calculator:
        ASE calculator.
    path:
        Calculator folder or checkpoint; None: what the calculator states.
    """
    kind = type(calculator)
    module = kind.__module__
    description: dict[str, Any] = {"calculator": f"{module}.{kind.__qualname__}"}
    package = _package(module.split(".")[0])
    if package:
        description["package"] = package

    stated = vars(calculator)
    paths = list(_paths(stated)) if path is None else [Path(path)]
    if paths:
        texts = [str(one) for one in paths]
        description["path"] = ", ".join(texts)
        description["files"] = _hashes(paths)

    parameters = stated.get("parameters")
    # Other packages use the name for other things.
    if isinstance(parameters, Mapping) and parameters:
        description["parameters"] = _plain_parameters(parameters)
    return description


def _plain_parameters(parameters: Mapping[Any, Any]) -> dict[str, Any]:
    """Parameters with names and values that JSON can hold."""
    return {str(name): _plain(value) for name, value in parameters.items()}


def _hashes(paths: list[Path]) -> dict[str, str]:
    """{name: SHA-256} of the files of paths."""
    hashes = {}
    for path in paths:
        hashes.update({file.name: sha256(file) for file in _files(path)})
    return hashes


def sentence(description: Mapping[str, Any]) -> str:
    """One line of a description, for people."""
    parts = []
    for name, value in description.items():
        if isinstance(value, Mapping):
            text = ", ".join(f"{key}={item}" for key, item in value.items())
        else:
            text = str(value)
        parts.append(f"{FIELDS.get(name, name)} {text}".strip())
    return "; ".join(parts)


FIELDS = {"calculator": "", "package": "of", "files": "sha256"}  # words in front of a field


def sha256(path: Path) -> str:
    """SHA-256 of the content of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(CHUNK):
            digest.update(block)
    return digest.hexdigest()


def _package(name: str) -> str:
    """Name and version of an installed package, or the file of a module of the user."""
    distributions = metadata.packages_distributions().get(name)
    if distributions:
        return f"{distributions[0]} {metadata.version(distributions[0])}"
    file = vars(sys.modules[name]).get("__file__")
    return str(file or "")


def _paths(stated: Mapping[str, Any]) -> Iterator[Path]:
    """Paths of models that a calculator states in its attributes."""
    for name in PATH_NAMES:
        value = stated.get(name)
        values = value if isinstance(value, list | tuple) else [value]
        for one in values:
            if isinstance(one, str | Path) and Path(one).exists():
                yield Path(one)


def _files(path: Path) -> list[Path]:
    """The file itself, or the files of a calculator folder that a program reads."""
    if path.is_dir():
        return sorted([*path.glob("*.toml"), *path.glob("*.safetensors")])
    return [path]


def _plain(value: Any) -> Any:
    """A value that JSON can hold: numbers, short texts."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float):
        return value
    return str(value)[:LONGEST]
