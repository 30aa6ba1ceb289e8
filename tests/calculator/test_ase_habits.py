"""PETCalculator in ASE's own tests and in matscipy's numerical derivatives.

Tests of ASE that are written for EMT run unmodified on a PETCalculator of a pair potential that
binds crystals; benchmarks/ase_tests.py runs many more of them.
"""

import importlib

import numpy as np
import pytest
import torch
from ase.build import bulk, molecule
from ase.calculators.checkpoint import CheckpointCalculator
from ase.calculators.fd import FiniteDifferenceCalculator, calculate_numerical_forces
from ase.calculators.loggingcalc import LoggingCalculator
from ase.calculators.mixing import AverageCalculator, LinearCombinationCalculator
from ase.calculators.test import gradient_test
from ase.db import connect
from ase.filters import FrechetCellFilter, UnitCellFilter
from ase.mep import NEB
from ase.optimize import BFGS
from ase.vibrations import Vibrations
from matscipy import numerical

from ase_pet import PETCalculator
from pair_potential import morse
from tolerances import TOLERANCES, worst
from toys import ethanol, sheared, silicon, slab, tiny_pet

# matscipy calls ASE's numerical derivatives by a name that ASE has removed.
old_name = pytest.mark.filterwarnings("ignore:Please use `ase.calculators.fd")
LIMIT = TOLERANCES[torch.float64]["derivative"]
STRUCTURES = {"crystal": silicon, "sheared": sheared, "slab": slab, "molecule": ethanol}
SYMMETRISERS = {"plain": "none", "ecse": "ecse", "group": "group:O"}


def displaced_copper():
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.1)
    return atoms


# ASE's own tests


OWN = {
    "calculator.test_fd": {
        "test_fd": [displaced_copper],
        "test_analytical_forces": [displaced_copper],
        "test_analytical_stress": [displaced_copper],
    },
    "test_mixingcalc": {"test_mixingcalc": []},
    "test_potential_energies": {"test_potential_energies": []},
    "md.test_bussi": {"test_bussi": [], "test_bussi_transfered_energy_conservation": []},
}
OWN_CASES = [(module, name, make) for module, tests in OWN.items() for name, make in tests.items()]


@pytest.mark.parametrize(
    ("module", "name", "arguments"), OWN_CASES, ids=[name for _, name, _ in OWN_CASES]
)
def test_of_ase(module, name, arguments, monkeypatch):
    tests = importlib.import_module(f"ase.test.{module}")
    monkeypatch.setattr(tests, "EMT", morse)
    getattr(tests, name)(*(make() for make in arguments))


# Derivatives, as ASE and as matscipy take them


@old_name
@pytest.mark.parametrize("symmetrise", list(SYMMETRISERS.values()), ids=list(SYMMETRISERS))
@pytest.mark.parametrize("make", list(STRUCTURES.values()), ids=list(STRUCTURES))
def test_numerical_derivatives_of_matscipy(make, symmetrise):
    atoms = make()
    atoms.calc = PETCalculator(tiny_pet("local"), symmetrise=symmetrise)
    del atoms[2:6]  # six derivatives are enough
    assert worst(atoms.get_forces(), numerical.numerical_forces(atoms, 2e-5)) < LIMIT


@old_name
@pytest.mark.parametrize("symmetrise", list(SYMMETRISERS.values()), ids=list(SYMMETRISERS))
def test_numerical_stress_of_matscipy(symmetrise):
    atoms = sheared()
    atoms.calc = PETCalculator(tiny_pet("local"), symmetrise=symmetrise)
    assert worst(atoms.get_stress(), numerical.numerical_stress(atoms, 1e-5)) < LIMIT


@pytest.mark.parametrize("make", [silicon, slab], ids=["crystal", "slab"])
def test_hessian_is_the_numerical_one_of_matscipy(make):
    atoms = make()
    atoms.calc = PETCalculator(tiny_pet())
    expected = numerical.numerical_hessian(atoms, 1e-4).toarray()
    assert worst(atoms.calc.hessian(atoms), expected) < LIMIT


def test_finite_difference_calculator_around_it():
    atoms = sheared()
    exact, around = (
        PETCalculator(tiny_pet()),
        FiniteDifferenceCalculator(PETCalculator(tiny_pet()), eps_disp=1e-4, eps_strain=1e-5),
    )
    atoms.calc = exact
    forces, stress, energy = atoms.get_forces(), atoms.get_stress(), atoms.get_potential_energy()
    atoms.calc = around
    assert atoms.get_potential_energy() == energy
    assert worst(forces, atoms.get_forces()) < LIMIT
    assert worst(stress, atoms.get_stress()) < LIMIT


@pytest.mark.parametrize("kind", [FrechetCellFilter, UnitCellFilter])
def test_gradients_of_filters(kind, capsys):
    """Needs an energy that does not change when the cell is rotated: a plain PET does not pass."""
    atoms = displaced_copper()
    atoms.calc = morse()
    some = range(4, 7)  # the rows of the cell
    exact, numeric = (
        gradient_test(kind(atoms), some)[0],
        calculate_numerical_forces(kind(atoms), 1e-4, some),
    )
    assert worst(exact, numeric) < 1e-5
    assert "max(abs(df))" in capsys.readouterr().out


# Calculators inside calculators


@pytest.mark.parametrize(
    ("kind", "factor"),
    [
        (AverageCalculator, 1.0),
        (lambda parts: LinearCombinationCalculator(parts, [2.0, -0.5]), 1.5),
    ],
)
def test_mixed_calculators(kind, factor):
    atoms = silicon()
    parts = [PETCalculator(tiny_pet()), PETCalculator(tiny_pet())]
    atoms.calc = kind(parts)
    np.testing.assert_allclose(
        atoms.get_forces(), factor * parts[0].get_forces(silicon()), atol=1e-10
    )
    np.testing.assert_allclose(
        atoms.get_stress(), factor * parts[0].get_stress(silicon()), atol=1e-12
    )


def test_logged_calculator(capsys):
    atoms, inner = silicon(), PETCalculator(tiny_pet())
    atoms.calc = LoggingCalculator(inner)
    np.testing.assert_array_equal(
        atoms.get_forces(), PETCalculator(tiny_pet()).get_forces(silicon())
    )
    atoms.calc.tabulate()
    assert capsys.readouterr().out.split()[-4:-1] == ["(none)", "1", "1"]  # forces, energies


def test_checkpoint_calculator(tmp_path):
    atoms = silicon()
    atoms.calc = CheckpointCalculator(PETCalculator(tiny_pet()), str(tmp_path / "seen.db"))
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    again = silicon()
    again.calc = CheckpointCalculator(PETCalculator(tiny_pet(seed=1)), str(tmp_path / "seen.db"))
    assert again.get_potential_energy() == pytest.approx(
        energy, abs=1e-12
    )  # of the first calculator, from the file
    np.testing.assert_allclose(again.get_forces(), forces, atol=1e-12)


# Queries of state


def test_what_is_known_need_not_be_calculated():
    atoms = silicon()
    atoms.calc = PETCalculator(tiny_pet())
    assert atoms.calc.calculation_required(atoms, ["energy"])
    atoms.get_potential_energy()
    assert not atoms.calc.calculation_required(atoms, ["energy", "free_energy", "energies"])
    assert atoms.calc.calculation_required(atoms, ["forces"])
    atoms.get_forces()
    assert not atoms.calc.calculation_required(atoms, ["energy", "forces"])
    atoms.positions[0, 0] += 0.01
    assert atoms.calc.calculation_required(atoms, ["energy"])
    assert atoms.calc.get_property("energy", atoms, allow_calculation=False) is None


def test_database(tmp_path):
    atoms = silicon()
    atoms.calc = PETCalculator(tiny_pet())
    energy, forces, stress = atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()
    with connect(tmp_path / "one.db") as database:
        number = database.write(atoms)
    row = connect(tmp_path / "one.db").get(number)
    assert row.calculator == "ase_pet"
    assert row.energy == pytest.approx(energy, abs=1e-12)
    np.testing.assert_allclose(row.forces, forces, atol=1e-12)
    np.testing.assert_allclose(row.stress, stress, atol=1e-12)


def test_a_band_of_structures_shares_one_calculator():
    ends = silicon(), silicon()
    ends[1].positions[0] += [0.4, 0.2, 0]
    images = [ends[0], *(ends[0].copy() for _ in range(3)), ends[1]]
    band = NEB(images, allow_shared_calculator=True, method="improvedtangent")
    band.interpolate()
    calculator = PETCalculator(tiny_pet())
    for image in images:
        image.calc = calculator
    shared = band.get_forces()
    for image in images:
        image.calc = PETCalculator(tiny_pet())
    assert (
        worst(shared, NEB(images, method="improvedtangent").get_forces())
        < TOLERANCES[torch.float64]["derived"]
    )


def test_vibrations_of_a_molecule_are_those_of_the_hessian(tmp_path):
    atoms = molecule("H2O")
    atoms.calc = morse()
    BFGS(atoms, logfile=None).run(fmax=1e-5)
    by_differences = Vibrations(atoms, name=str(tmp_path / "vib"), delta=1e-3)
    by_differences.run()
    matrix = by_differences.get_vibrations().get_hessian_2d()
    assert worst(matrix, atoms.calc.hessian(atoms)) < 1e-4


def test_info_and_arrays_of_the_structure_are_left_alone():
    atoms = silicon()
    atoms.info["mine"], atoms.arrays["mine"] = {"a": 1}, np.arange(8)
    before = atoms.copy()
    atoms.calc = PETCalculator(tiny_pet())
    atoms.get_forces()
    atoms.get_stress()
    assert atoms == before
    assert atoms.info == before.info
    assert set(atoms.arrays) == set(before.arrays)
    assert atoms.calc.atoms is not atoms
