"""The shipped silicon calculator at short interatomic distances."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from ase_pet import PETCalculator, TooUncertain, checks
from ase_pet.train.files import structures
from ase_pet.uncertainty import calibration
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


def test_uncertainties_are_of_the_size_of_the_errors():
    """Energies of test structures, which had no part in the calibration."""
    calculator = PETCalculator("silicon")
    frames = [atoms for atoms in structures(FOLDER / "training.extxyz.xz") if is_test(atoms)]
    rows = calculator.evaluate(frames, ("energy", "energy_uncertainty"))
    sigma = [row["energy_uncertainty"] for row in rows]
    errors = [
        row["energy"] - atoms.get_potential_energy()
        for row, atoms in zip(rows, frames, strict=True)
    ]
    compared = calibration.compare(sigma, errors)
    assert 0.5 < compared.rms_z < 2
    assert compared.rank > 0.3


def is_test(atoms):
    return atoms.info["split"] == "test"


def test_a_run_by_name_stops_where_atoms_were_never_seen():
    atoms = bulk("Si", "sc", a=2.5) * (2, 2, 2)
    atoms.calc = PETCalculator("silicon", uncertainty="stop", uncertainty_threshold=0.05)
    with pytest.raises(TooUncertain):
        atoms.get_potential_energy()
    atoms = bulk("Si", "diamond", a=5.47, cubic=True)
    atoms.calc = PETCalculator("silicon", uncertainty="stop", uncertainty_threshold=0.05)
    atoms.get_potential_energy()
    assert atoms.calc.results["energies_uncertainty"].max() < 0.05


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
