"""What notebooks and the interpreter show of calculators and results: a few facts with units."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols

MOST_SPECIES = 8  # that are listed; of more, the first and the last


class Displayed:
    """Base of classes that are shown as their name and a few facts, and as a table in notebooks.

    `class Result(Displayed, shows={"energy": "{} eV"})` shows the attribute `energy`, unless it is
    None. Of an array the first and the last number are shown, of a structure the formula.
    """

    shows: ClassVar[Mapping[str, str]] = {}

    def __init_subclass__(cls, shows: Mapping[str, str] | None = None) -> None:
        super().__init_subclass__()
        if shows is not None:
            cls.shows = shows

    def displayed(self) -> dict[str, str]:
        """{name: value with unit}, in the order of their importance."""
        rows = {}
        for name, template in self.shows.items():
            value = getattr(self, name)
            if value is not None:
                rows[name] = template.format(shown(value))
        return rows

    def __repr__(self) -> str:
        rows = [f"{name}={value}" for name, value in self.displayed().items()]
        return f"{type(self).__name__}({', '.join(rows)})"

    def _repr_html_(self) -> str:
        """Table for notebooks."""
        rows = []
        for name, value in self.displayed().items():
            rows.append(f"<tr><th>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>")
        return f"<b>{type(self).__name__}</b><table>{''.join(rows)}</table>"


class DisplayedCalculator(Displayed):
    """Display of a `PETCalculator`."""

    def displayed(self) -> dict[str, str]:
        """{name: value with unit} of model, species, cutoff, symmetriser, precision and device."""
        calculator: Any = self
        model = calculator.model
        symmetrise = calculator.parameters["symmetrise"] or calculator.card.symmetrise
        rows = {
            "model": printable(calculator.card.name),
            "species": shortened([chemical_symbols[z] for z in calculator.species]),
            "cutoff": f"{model.cutoff:g} A",
            "symmetrise": printable(symmetrise),
            "dtype": str(calculator.dtype).removeprefix("torch."),
            "device": str(calculator.device),
            "units": "eV, A",
        }
        if model.energy_head != "energy":
            rows["energy_head"] = printable(model.energy_head)
        return rows


def shown(value: Any) -> str:
    """Short text of a value: no array is written out.

    Parameters
    ----------
    value:
        Number, text, path, structure, or a sequence of numbers.
    """
    if isinstance(value, Atoms):
        return f"{len(value)} atoms {value.get_chemical_formula(empirical=False)}"
    if isinstance(value, str | Path):
        return printable(str(value))
    if isinstance(value, float | np.floating):
        return f"{value:.6g}"
    if isinstance(value, Sequence | np.ndarray):
        numbers = np.ravel(np.asarray(value, dtype=float))
        if len(numbers) == 0:
            return "none"
        return " to ".join(f"{number:.6g}" for number in numbers[[0, -1]][: len(numbers)])
    return str(value)


def printable(text: str) -> str:
    """Text on one line, without control characters, such as a name from a file.

    Parameters
    ----------
    text:
        Text.
    """
    return "".join(character if character.isprintable() else "?" for character in text)


def shortened(symbols: Sequence[str]) -> str:
    """Chemical symbols in a few words.

    Parameters
    ----------
    symbols:
        Symbols.
    """
    if len(symbols) <= MOST_SPECIES:
        return " ".join(symbols)
    return f"{symbols[0]} to {symbols[-1]} ({len(symbols)} elements)"
