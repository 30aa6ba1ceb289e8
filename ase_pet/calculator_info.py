"""Content of `calculator.toml`, the file of a calculator folder that the program reads."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ase.data import atomic_numbers, chemical_symbols

from .models.base import AtomisticModel

FORMAT = 1
WEIGHTS = "weights.safetensors"
UNITS = {"energy": "eV", "length": "A"}
# entries of calculator.toml that each calculator must have
REQUIRED = {
    "name",
    "model",
    "symmetrise",
    "dtype",
    "settings",
    "composition_energies",
    "scales",
    "weights",
}


@dataclass
class CalculatorInfo:
    """Content of `calculator.toml` apart from the model.

    Attributes
    ----------
    name:
        Name of the calculator.
    symmetrise:
        Symmetrisation that the calculator uses by default.
    dtype:
        Precision that the calculator uses by default, "float32" or "float64".
    shortest_distances:
        Shortest distance in A of each pair of elements in the training data,
        {(Z, Z'): distance} with Z <= Z'.
    provenance:
        Free table: data, code, date, errors.
    untrained_species:
        Atomic numbers that the model takes, but that no training structure has: energies of such
        atoms mean nothing.
    """

    name: str
    symmetrise: str = "none"
    dtype: str = "float32"
    shortest_distances: dict[tuple[int, int], float] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    untrained_species: tuple[int, ...] = ()

    @classmethod
    def from_content(cls, content: Mapping[str, Any]) -> CalculatorInfo:
        """CalculatorInfo of `content`, the tables of a calculator.toml."""
        shortest_distances = {}
        for pair, distance in content.get("shortest_distances", {}).items():
            # "H-Si" -> (1, 14)
            first, second = sorted(atomic_numbers[symbol] for symbol in pair.split("-"))
            shortest_distances[first, second] = distance
        return cls(
            name=content["name"],
            symmetrise=content["symmetrise"],
            dtype=content["dtype"],
            shortest_distances=shortest_distances,
            provenance=content.get("provenance", {}),
            untrained_species=tuple(
                atomic_numbers[symbol] for symbol in content.get("untrained_species", [])
            ),
        )


def read_content(path: Path) -> dict[str, Any]:
    """Content of a calculator.toml with all required entries.

    Parameters
    ----------
    path:
        Path of the file.

    Raises
    ------
    ValueError
        The file is not in TOML, of another format version, or incomplete.
    """
    try:
        content: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"`{path}` is not a calculator card: {error}") from None
    if content.get("format") != FORMAT:
        raise ValueError(
            f"`{path}` has format {content.get('format')!r}: this version of ase_pet reads {FORMAT}"
        )
    # types and values are checked where they are used
    missing = REQUIRED - content.keys()
    if missing:
        raise ValueError(f"`{path}` lacks {', '.join(sorted(missing))}")
    return content


def content_of(model: AtomisticModel, info: CalculatorInfo, weights: bytes) -> dict[str, Any]:
    """Content of the calculator.toml of a model.

    Parameters
    ----------
    model:
        Model, whose settings and tables are written.
    info:
        The other entries.
    weights:
        Content of the file of weights, for its checksum.
    """
    settings = asdict(model.settings)
    compositions = {head: _by_symbol(table) for head, table in model.compositions.items()}
    scales = {head: _by_symbol(scale) for head, scale in model.scales.items()}
    shortest_distances = {
        "-".join(chemical_symbols[z] for z in pair): distance
        for pair, distance in info.shortest_distances.items()
    }
    untrained = [chemical_symbols[z] for z in info.untrained_species]
    return {
        "format": FORMAT,
        "name": info.name,
        "model": type(model).__module__.rsplit(".", 1)[-1],
        "symmetrise": info.symmetrise,
        "dtype": info.dtype,
        "species": [chemical_symbols[z] for z in model.species],
        **({"untrained_species": untrained} if untrained else {}),
        "cutoff": model.cutoff,
        "units": UNITS,
        # TOML has no None; settings that are absent have their default, which is None for these
        "settings": {name: value for name, value in settings.items() if value is not None},
        "composition_energies": compositions,
        "scales": scales,
        "covalent_radii": _by_symbol(model.covalent_radii),
        "shortest_distances": shortest_distances,
        "weights": {"file": WEIGHTS, "sha256": hashlib.sha256(weights).hexdigest()},
        "provenance": info.provenance,
    }


def _by_symbol(table: Any) -> Any:
    """{symbol: value} of {Z: value}; a single value for all elements as it is."""
    if not isinstance(table, dict):
        return table
    return {chemical_symbols[z]: value for z, value in table.items()}


def by_number(table: Any) -> Any:
    """{Z: value} of a `table` {symbol: value}; a single value for all elements as it is."""
    if not isinstance(table, dict):
        return table
    return {atomic_numbers[symbol]: value for symbol, value in table.items()}
