"""Content of `calculator.toml`, the file of a calculator folder that the program reads."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from ase.data import atomic_numbers, chemical_symbols
from pydantic import AfterValidator, Field

from . import toml_files, weights
from .choices import shown
from .models.base import AtomisticModel
from .ranges import Cutoff, Energy, HeadName, Name, Radius, Scale, checked

FORMAT = 1
WEIGHTS = weights.FILE
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


def _symbol(text: str) -> str:
    if text not in atomic_numbers:
        raise ValueError(f"is {text[:20]!r}, which is no element")
    return text


def _pair(text: str) -> str:
    symbols = text[:20].split("-")
    if len(symbols) != 2 or not atomic_numbers.keys() >= set(symbols):
        raise ValueError(f"is {text[:20]!r}: expected a pair of elements such as 'H-Si'")
    return text


Symbol = Annotated[str, AfterValidator(_symbol)]
Pair = Annotated[str, AfterValidator(_pair)]
Distance = Annotated[float, Field(ge=0, le=1000)]  # A


@checked
class Weights:
    """Table `weights` of a calculator.toml."""

    sha256: str
    file: Literal["weights.safetensors"] = "weights.safetensors"


@checked
class Content:
    """Entries of a calculator.toml, for their types and ranges."""

    format: Literal[1]
    name: Name
    model: Name  # file of ase_pet/models
    symmetrise: Name
    dtype: Literal["float32", "float64"]
    settings: dict[str, Any]  # those of the model have their own schema
    composition_energies: dict[HeadName, dict[Symbol, Energy]]  # eV
    scales: dict[HeadName, Scale | dict[Symbol, Scale]]
    weights: Weights
    # what follows from the settings
    species: list[Symbol] | None = None
    untrained_species: list[Symbol] = field(default_factory=list)
    cutoff: Cutoff | None = None  # A
    units: Literal[None] | dict[str, str] = None
    covalent_radii: dict[Symbol, Radius] = field(default_factory=dict)  # A
    shortest_distances: dict[Pair, Distance] = field(default_factory=dict)  # A
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.units not in (None, UNITS):
            raise ValueError(f"`units` are {self.units}: expected {UNITS}")


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
        content = toml_files.read(path)
    except ValueError as error:
        raise ValueError(f"`{path}` is not a calculator card: {error}") from None
    # `type`, because True equals 1
    if type(content.get("format")) is not int or content["format"] != FORMAT:
        raise ValueError(
            f"`{path}` has format {shown(content.get('format'))}: this version of ase_pet reads"
            f" {FORMAT}"
        )
    missing = REQUIRED - content.keys()
    if missing:
        raise ValueError(f"`{path}` lacks {', '.join(sorted(missing))}")
    try:
        values = {**content, "weights": Weights(**_table(content, "weights"))}
        Content(**values)
    except ValueError as error:
        raise ValueError(f"`{path}` does not describe a calculator: {error}") from None
    return content


def _table(content: Mapping[str, Any], name: str) -> dict[str, Any]:
    table = content[name]
    if not isinstance(table, dict):
        raise ValueError(f"`{name}` is {str(table)[:40]!r}: expected a table")
    return table


def content_of(model: AtomisticModel, info: CalculatorInfo, data: bytes) -> dict[str, Any]:
    """Content of the calculator.toml of a model.

    Parameters
    ----------
    model:
        Model, whose settings and tables are written.
    info:
        The other entries.
    data:
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
        "weights": {"file": WEIGHTS, "sha256": hashlib.sha256(data).hexdigest()},
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


def warn_of_heads(network: AtomisticModel, used: list[str], card: CalculatorInfo) -> None:
    """Warn of heads that were left as they were while the weights below them were trained.

    Parameters
    ----------
    network:
        Model with its energy head chosen.
    used:
        Heads that are evaluated.
    card:
        Description of the model.
    """
    start = card.provenance.get("start")
    listed = start.get("wrong_heads") if isinstance(start, dict) else None
    wrong = listed if isinstance(listed, list) else []
    bad = [head for head in used if head in wrong]
    if not bad:
        return
    good = [head for head in network.head_sizes if head not in wrong]
    variants = [head.removeprefix("energy/") for head in good if head.startswith("energy/")]
    trained = f"a trained one by `variant`: {', '.join(variants)}" if variants else "no `variant`"
    advice = trained if network.energy_head in wrong else "`non_conservative=False`"
    warnings.warn(
        f"`{card.name}` was fine-tuned, but its head {', '.join(bad)} was not: its predictions are"
        f" wrong. Choose {advice}",
        stacklevel=4,
    )
