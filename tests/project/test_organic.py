"""Gates of a calculator of organic molecules: broken bonds, and errors of energies and forces."""

import sys

import numpy as np
import pytest
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator

from paths import ROOT


@pytest.fixture
def gates(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    monkeypatch.delitem(sys.modules, "organic", raising=False)
    import organic

    return organic


def methane(scale=1.0, energy=0.0):
    atoms = molecule("CH4")
    atoms.positions[1] *= scale
    results = {"energy": energy, "forces": np.ones((5, 3))}
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


BONDS = [[0, 1], [0, 2], [0, 3], [0, 4]]


@pytest.mark.parametrize(("scale", "changed"), [(1.0, None), (1.2, None), (1.5, 2)])
def test_a_broken_bond_is_found(gates, scale, changed):
    frames = [methane(), methane(1.1), methane(scale), methane()]
    assert gates.changed_bonds(frames, BONDS) == changed


def test_a_new_bond_is_found(gates):
    near = methane()
    near.positions[1] = near.positions[2] + [0.4, 0.4, 0.0]
    assert gates.changed_bonds([methane(), near], BONDS) == 1


def test_errors_of_forces_are_those_of_components(gates):
    wrong = np.ones((5, 3))
    wrong[0] = 1.3
    row = gates.force_errors([methane()], [{"forces": wrong}])
    assert row["structures"] == 1
    assert row["mae_meV_per_A"] == pytest.approx(60)
    assert row["rms_force_meV_per_A"] == pytest.approx(1000)


def test_an_energy_may_be_shifted_for_each_molecule(gates):
    frames = [methane(energy=value) for value in (0.0, 1.0, 0.0, 1.0)]
    for number, atoms in enumerate(frames):
        atoms.info.update(config_type="dynamics", member=number // 2)
    shifted = [{"energy": value} for value in (7.0, 8.0, -3.0, -2.0)]
    assert gates.energy_error(frames, shifted) == pytest.approx(0)
    # one error of 0.01 eV: deviations of 1 meV/atom from the mean, two degrees of freedom
    shifted[0]["energy"] += 0.01
    assert gates.energy_error(frames, shifted) == pytest.approx(1)
