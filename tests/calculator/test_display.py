"""What the interpreter and notebooks show of a calculator."""

import html

import torch

from ase_pet import PETCalculator, display
from toys import tiny_pet


def test_a_calculator_is_shown_with_units():
    calculator = PETCalculator(tiny_pet("local", dtype=torch.float64), device="cpu")
    text = repr(calculator)
    assert text.startswith("PETCalculator(model=Model, species=")
    assert f"cutoff={calculator.cutoff:g} A" in text
    assert "dtype=float64, device=cpu, units=eV, A" in text
    assert "\n" not in text
    assert "tensor" not in text


def test_a_notebook_shows_the_same_facts():
    calculator = PETCalculator(tiny_pet("local"), device="cpu")
    table = calculator._repr_html_()
    for name, value in calculator.displayed().items():
        assert f"<th>{name}</th><td>{html.escape(value)}</td>" in table


def test_names_from_files_are_harmless():
    calculator = PETCalculator(tiny_pet("local"), device="cpu")
    calculator.card.name = "<b>x</b>\x1b]0;pwned\x07"
    assert "\x1b" not in repr(calculator)
    assert "<b>x" not in calculator._repr_html_()


def test_many_species_are_shortened():
    assert display.shortened(["H", "C"]) == "H C"
    assert display.shortened(["H"] * 8 + ["Og"]) == "H to Og (9 elements)"
