"""D3 dispersion: sums, signs, second derivatives, batches, errors."""

import sys

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, graphene, molecule
from ase.calculators.emt import EMT
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from typer.testing import CliRunner

from ase_pet import PETCalculator
from ase_pet.cli import app
from ase_pet.dispersion import parse, with_dispersion
from laws import Function
from toys import tiny_pet

dftd3 = pytest.importorskip("dftd3")
# s-dftd3 cuts pairs off at 32 A without a switch: energies step by 1e-5 of their size when a pair
# crosses, which finite differences of 1e-3 see as 1e-3 of the largest stress
STEP = 5e-3


def strained():
    """Sheared silicon with displaced atoms."""
    atoms = bulk("Si", cubic=True)
    strain = np.array([[0.01, 0.02, 0], [0, 0, 0.03], [0, 0, -0.02]])
    atoms.set_cell(atoms.cell[:] @ (np.eye(3) + strain), scale_atoms=True)
    atoms.rattle(0.1, seed=1)
    return atoms


def nothing(atoms):
    """No interaction."""
    zero = np.zeros((len(atoms), 3))
    return {"energy": 0.0, "free_energy": 0.0, "forces": zero, "stress": np.zeros(6)}


@pytest.mark.parametrize("functional", ["pbe", "pbe:zero"])
def test_stress_and_forces_are_derivatives_of_the_energy(functional):
    atoms = strained()
    calculator = Function(nothing)
    calculator.implemented_properties = ["energy", "free_energy", "forces", "stress"]
    atoms.calc = with_dispersion(calculator, functional)
    stress = atoms.get_stress()
    numerical = calculate_numerical_stress(atoms, eps=1e-3)
    assert np.abs(stress - numerical).max() < STEP * np.abs(numerical).max()
    # dispersion attracts: the crystal would shrink, as under tension
    assert (stress[:3] > 1e-3).all()
    numerical = calculate_numerical_forces(atoms, eps=1e-3)
    assert np.abs(atoms.get_forces() - numerical).max() < STEP * np.abs(numerical).max()


def test_energy_is_that_of_the_published_example():
    """Water with TPSS-D3(BJ), from the documentation of s-dftd3, eV."""
    atoms = molecule("H2O")
    atoms.calc = with_dispersion(EMT(), "tpss")
    alone = molecule("H2O")
    alone.calc = EMT()
    added = atoms.get_potential_energy() - alone.get_potential_energy()
    assert added == pytest.approx(-0.011441640787279111, rel=1e-9)
    assert atoms.get_potential_energy(force_consistent=True) == atoms.get_potential_energy()


def test_batches_and_second_derivatives_are_sums():
    calculator = PETCalculator(tiny_pet(), dtype="float64")
    both = with_dispersion(calculator, "pbe")
    atoms = molecule("CH3CH2OH")
    (row,) = both.evaluate([atoms], ("energy", "forces", "energies"))
    assert row["energy"] == pytest.approx(both.get_property("energy", atoms), abs=1e-9)
    np.testing.assert_allclose(row["forces"], both.get_property("forces", atoms), atol=1e-9)
    assert "energies" in row
    hessian = both.hessian(atoms)
    rows = both.hessian(atoms, of=[2, 5])
    np.testing.assert_allclose(rows, hessian.reshape(9, 3, -1)[[2, 5]].reshape(6, -1), atol=1e-12)
    dispersion = hessian - calculator.hessian(atoms)
    numerical = np.zeros_like(dispersion)
    for column in range(27):
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[column // 3, column % 3] += sign * 1e-3
            forces = both.d3.get_property("forces", moved).ravel()
            numerical[:, column] -= sign * forces / 2e-3
    np.testing.assert_allclose(dispersion, numerical, atol=1e-4 * np.abs(dispersion).max())


def layer():
    """Rumpled graphene."""
    atoms = graphene(size=(2, 2, 1))
    atoms.rattle(0.05, seed=2)
    atoms.pbc = [True, True, False]
    return atoms


def wire():
    """A zigzag chain."""
    positions = [[0, 0, 0], [1.3, 0.3, 0], [2.6, 0, 0.2], [3.9, -0.2, 0]]
    return Atoms("C4", positions, cell=[5.2, 0, 0], pbc=[True, False, False])


@pytest.mark.parametrize("structure", [layer, wire])
@pytest.mark.parametrize("height", [0.0, 15.0])
@pytest.mark.parametrize("shift", [0.0, 5.0])
def test_layers_and_wires_are_those_of_a_large_vacuum(structure, height, shift):
    """Atoms at both sides of the origin, and directions without a cell vector."""
    atoms = structure()
    large = atoms.copy()
    cell = atoms.cell.array
    cell[~atoms.pbc] = 200 * np.eye(3)[~atoms.pbc]
    large.set_cell(cell)
    large.pbc = True
    large.calc = with_dispersion(Function(nothing), "pbe")
    cell[~atoms.pbc] *= height / 200
    atoms.set_cell(cell)
    atoms.positions += shift
    atoms.calc = with_dispersion(Function(nothing), "pbe")
    np.testing.assert_allclose(atoms.get_forces(), large.get_forces(), atol=1e-7)
    assert atoms.get_potential_energy() == pytest.approx(large.get_potential_energy(), abs=1e-7)
    assert atoms.calc.d3.check_state(atoms) == []


def test_stress_of_a_layer_is_that_of_its_cell():
    atoms = layer()
    atoms.set_cell([*atoms.cell[:2], [0, 0, 15.0]])
    calculator = Function(nothing)
    calculator.implemented_properties = ["energy", "free_energy", "forces", "stress"]
    atoms.calc = with_dispersion(calculator, "pbe")
    numerical = calculate_numerical_stress(atoms, eps=1e-3)
    assert np.abs(atoms.get_stress() - numerical).max() < STEP * np.abs(numerical).max()


def test_what_a_calculator_depends_on_is_noticed():
    """The charge in `info` is nothing that ASE's sums compare."""
    calculator = Function(nothing)
    calculator.implemented_properties = ["energy", "free_energy", "forces", "stress"]
    atoms = molecule("H2O")
    atoms.calc = with_dispersion(PETCalculator(tiny_pet()), "pbe")
    atoms.get_potential_energy()
    assert atoms.calc.check_state(atoms) == []
    atoms.info["charge"] = 1
    assert "charge" in atoms.calc.check_state(atoms)


def test_a_functional_has_a_damping():
    assert parse("pbe") == ("pbe", "bj")
    assert parse("b3lyp:zero") == ("b3lyp", "zero")


@pytest.mark.parametrize(
    ("functional", "message"),
    [
        ("", "expected a functional, such as pbe"),
        ("no-such", "no parameters of the functional 'no-such'"),
        ("pbe:full", "valid choices are bj, zero, mbj, mzero"),
    ],
)
def test_bad_functionals_are_refused(functional, message):
    with pytest.raises(ValueError, match=message):
        with_dispersion(EMT(), functional)


def test_a_missing_library_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "dftd3.interface", None)
    monkeypatch.delattr(dftd3, "interface")
    with pytest.raises(ValueError, match=r"of the extra `d3` \(pip install '\.\[d3\]'"):
        with_dispersion(EMT(), "pbe")


def test_what_d3_has_no_part_in_is_that_of_the_calculator():
    calculator = PETCalculator(tiny_pet(), dtype="float64")
    both = with_dispersion(calculator, "pbe")
    assert both.species == calculator.species
    assert str(both.dtype) == "torch.float64"
    # energies of atoms would not add up to the energy
    assert "energies" not in both.implemented_properties
    calculator = EMT()
    calculator.implemented_properties = [*EMT.implemented_properties, "dipole"]
    both = with_dispersion(calculator, "pbe")
    atoms = molecule("H2O")
    calculator.calculate(atoms)
    calculator.results["dipole"] = np.ones(3)
    assert both.get_property("dipole", atoms).tolist() == [1, 1, 1]


def test_a_run_is_not_continued_with_another_functional(tmp_path):
    bulk("Cu", cubic=True).write(tmp_path / "cu.extxyz")
    foreign = ["--calculator", "ase.calculators.emt:EMT"]
    common = ["--time", "0.002", "--interval", "1", "--output", str(tmp_path / "run")]
    start = ["md", *foreign, str(tmp_path / "cu.extxyz"), "--d3", "pbe", *common]
    assert CliRunner().invoke(app, start, catch_exceptions=False).exit_code == 0
    again = ["md", "--restart", *foreign, "--time", "0.004", *common[2:]]
    assert CliRunner().invoke(app, again, catch_exceptions=False).exit_code == 0
    with pytest.raises(ValueError, match="d3"):
        CliRunner().invoke(app, [*again, "--d3", "pbe0"], catch_exceptions=False)


def test_the_stress_of_the_command_line_is_that_of_the_energy(tmp_path):
    """Positive where the crystal would shrink, as ASE defines it."""
    energies = {}
    for scale in (0.999, 1.0, 1.001):
        atoms = bulk("Cu", cubic=True)
        atoms.set_cell(scale * atoms.cell, scale_atoms=True)
        atoms.write(tmp_path / f"{scale}.extxyz")
        arguments = ["singlepoint", "--calculator", "ase.calculators.emt:EMT", "--d3", "pbe"]
        output = tmp_path / f"labelled_{scale}.extxyz"
        arguments += [str(tmp_path / f"{scale}.extxyz"), "--output", str(output)]
        CliRunner().invoke(app, arguments, catch_exceptions=False)
        energies[scale] = ase.io.read(output)
    low, middle, high = energies.values()
    volume = middle.get_volume()
    slope = (high.get_potential_energy() - low.get_potential_energy()) / (0.006 * volume)
    assert middle.get_stress()[:3].mean() == pytest.approx(slope, rel=STEP)
    middle.calc = EMT()
    assert middle.get_stress()[0] < slope


def test_the_command_line_adds_dispersion(tmp_path):
    molecule("H2O").write(tmp_path / "water.xyz")
    arguments = ["singlepoint", "--calculator", "ase.calculators.emt:EMT", "--d3", "tpss"]
    arguments += [str(tmp_path / "water.xyz"), "--output", str(tmp_path / "labels.extxyz")]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    assert "energy=" in (tmp_path / "labels.extxyz").read_text()
