"""What notebooks and the interpreter show of calculators and results: a few facts with units."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

from ase.data import chemical_symbols

MOST_SPECIES = 8  # that are listed; of more, the first and the last


class Displayed:
    """Base of classes that are shown as their name and a few facts, and as a table in notebooks."""

    def displayed(self) -> dict[str, str]:
        """{name: value with unit}, in the order of their importance; to be overridden."""
        raise NotImplementedError

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
