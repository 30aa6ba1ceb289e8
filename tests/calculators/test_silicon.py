"""The shipped silicon calculator at short interatomic distances."""

import numpy as np
import pytest
from ase import Atoms

from ase_pet import PETCalculator, checks
from ase_pet.train.files import structures
from paths import ROOT

FOLDER = ROOT / "calculators/silicon"


@pytest.mark.parametrize("check", ["repulsion", "diatomics", "cutoff_pair"])
def test_two_atoms_alone_pass_the_checks(check):
    results = checks.run(PETCalculator("silicon"), only=[check])
    assert {result.status for result in results} <= {"pass", "info"}


def test_two_atoms_bind_as_pbe_has_them():
    """Binding energies: 3.53 eV at 2.3 A and 0.14 eV at 1.7 A (benchmarks/data/silicon_pairs.py).

    They are relative to two isolated atoms.
    """
    calculator = PETCalculator("silicon", dtype="float64")
    pairs = [Atoms("Si2", [[0, 0, 0], [0, 0, distance]]) for distance in (2.3, 1.7, 5.6)]
    atom, *energies = (
        results["energy"] for results in calculator.evaluate([Atoms("Si"), *pairs], ("energy",))
    )
    assert np.array(energies) - 2 * atom == pytest.approx([-3.53, -0.14, 0.0], abs=0.1)


def test_pressed_bonds_that_were_held_back():
    held = structures(FOLDER / "held_close.extxyz.xz")
    predicted = PETCalculator("silicon").evaluate(held, ("energy", "forces"))
    for atoms, results in zip(held, predicted, strict=True):
        assert np.abs(results["forces"] - atoms.get_forces()).mean() < 0.03 * np.sqrt(
            np.mean(atoms.get_forces() ** 2)
        )
        assert results["energy"] == pytest.approx(
            atoms.get_potential_energy(), abs=0.03 * len(atoms)
        )
