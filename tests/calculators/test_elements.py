"""The shipped calculators of elements."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from ase_pet import PETCalculator, checks

# lattice constants of PBE: of the unstrained cells in the data
ELEMENTS = {
    "silicon-general": ("Si", "diamond", 5.47),
    "germanium": ("Ge", "diamond", 5.76),
    "lithium": ("Li", "bcc", 3.43),
    "molybdenum": ("Mo", "bcc", 3.17),
}


@pytest.mark.parametrize("name", ELEMENTS)
def test_the_crystal_has_the_lattice_constant_of_the_data(name):
    """Energies of the crystal are lowest there, and forces vanish by symmetry."""
    symbol, crystal, a = ELEMENTS[name]
    calculator = PETCalculator(name, dtype="float64")
    lengths = a * np.linspace(0.97, 1.03, 7)
    cells = [bulk(symbol, crystal, length) for length in lengths]
    results = calculator.evaluate(cells, ("energy", "forces"))
    energies = [r["energy"] for r in results]
    curvature, slope, _ = np.polyfit(lengths, energies, 2)
    assert curvature > 0
    assert -slope / (2 * curvature) == pytest.approx(a, rel=0.01)
    assert np.abs(results[3]["forces"]).max() < 0.01


@pytest.mark.parametrize("name", ELEMENTS)
def test_atoms_repel_each_other(name):
    results = checks.run(PETCalculator(name), only=["repulsion"])
    assert {result.status for result in results} <= {"pass", "info"}


@pytest.mark.parametrize("name", ELEMENTS)
def test_ecse_makes_energies_invariant(name):
    symbol, _, a = ELEMENTS[name]
    atoms = Atoms(f"{symbol}3", a * np.array([[0, 0, 0], [0.5, 0, 0], [0.1, 0.55, 0]]))
    turned = atoms.copy()
    turned.rotate(50, (1, 2, 3))
    changes = {}
    for symmetrise in ("none", "ecse"):
        calculator = PETCalculator(name, dtype="float64", symmetrise=symmetrise)
        first, second = calculator.evaluate([atoms, turned], ("energy",))
        changes[symmetrise] = abs(first["energy"] - second["energy"])
    assert changes["ecse"] < 1e-11
    assert changes["none"] > 1e-6
