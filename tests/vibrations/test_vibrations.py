"""Vibrations: frequencies, projection, fixed atoms, isotopes, infrared, thermochemistry, files."""

import csv
import json

import ase.io
import numpy as np
import pytest
from ase import Atoms, units
from ase.build import add_adsorbate, bulk, fcc111, molecule
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms, FixBondLength
from ase.vibrations import Vibrations as AseVibrations
from typer.testing import CliRunner

from ase_pet import PETCalculator, vibrations
from ase_pet.cli import app
from laws import Function
from toys import tiny_pet

STIFFNESS = 143.5  # eV/A^2
LENGTH = 1.0977  # A, of N2
CHARGE = 0.3  # e, derivative of the toy dipole


def diatomic(atoms):
    """Harmonic bond with a dipole that grows with its length."""
    bond = atoms.positions[1] - atoms.positions[0]
    length = np.linalg.norm(bond)
    pull = STIFFNESS * (length - LENGTH) * bond / length
    return {
        "energy": STIFFNESS / 2 * (length - LENGTH) ** 2,
        "free_energy": STIFFNESS / 2 * (length - LENGTH) ** 2,
        "forces": np.array([pull, -pull]),
        "dipole": CHARGE * (length - 1) * bond / length,
    }


def two_atoms(symbols="N2", **more):
    """Molecule with the bond of `diatomic`, in no special direction."""
    direction = np.array([1.0, 2.0, -0.5]) / np.linalg.norm([1.0, 2.0, -0.5])
    atoms = Atoms(symbols, [[1, 2, 3], [1, 2, 3] + LENGTH * direction], **more)
    atoms.calc = Function(diatomic)
    atoms.calc.implemented_properties = ["energy", "free_energy", "forces", "dipole"]
    return atoms


def water():
    atoms = molecule("H2O")
    atoms.calc = EMT()
    return atoms


def exact(masses):
    """Wavenumber of the toy bond in cm^-1: sqrt(k / reduced mass)."""
    reduced = masses[0] * masses[1] / (masses[0] + masses[1])
    omega = np.sqrt(STIFFNESS * units._e / 1e-20 / (reduced * units._amu))
    return omega / (2 * np.pi * units._c * 100)


def command(*arguments):
    return CliRunner().invoke(app, ["vibrations", *map(str, arguments)])


@pytest.mark.parametrize("masses", [(14.003, 14.003), (14.003, 15.0), (1.008, 35.4)])
def test_frequency_of_a_bond_is_exact(masses):
    result = vibrations.run(two_atoms(masses=masses))
    assert result.linear
    assert result.external == "molecule"
    assert result.wavenumbers == pytest.approx([exact(masses)], rel=1e-4)
    assert result.frequencies == pytest.approx(result.wavenumbers * units._c * 1e-10, rel=1e-9)
    assert result.energies == pytest.approx(result.wavenumbers * units.invcm, rel=1e-9)
    assert len(result.energies_before) == 6


def test_frequencies_are_those_of_ase(tmp_path):
    result = vibrations.run(water(), relaxed=True, fmax=1e-3)
    reference = AseVibrations(result.atoms, delta=0.01, name=str(tmp_path / "ase"))
    reference.run()
    energies = reference.get_energies()
    signed = np.sort(energies.real - energies.imag)
    # before the projection the matrices are the same
    np.testing.assert_allclose(np.sort(result.energies_before), signed, atol=2e-5)
    # after it, rotations are gone, and vibrations as they were but for the residual force
    assert len(result.energies) == 3
    np.testing.assert_allclose(result.energies, signed[-3:], rtol=1e-4)
    assert result.largest_force < 1e-3
    assert result.relaxation.steps > 0


def test_modes_are_normalised_and_do_not_move_the_molecule():
    result = vibrations.run(water(), relaxed=True)
    masses = result.atoms.get_masses()
    roots = np.sqrt(masses)[:, None]
    weighted = (result.modes * roots).reshape(3, -1)
    np.testing.assert_allclose(weighted @ weighted.T, np.eye(3), atol=1e-12)
    momentum = np.einsum("n,mnx->mx", masses, result.modes)
    np.testing.assert_allclose(momentum, 0, atol=1e-10)
    arms = result.atoms.positions - result.atoms.get_center_of_mass()
    turning = np.cross(arms, masses[:, None] * result.modes).sum(axis=1)
    np.testing.assert_allclose(turning, 0, atol=1e-10)


@pytest.mark.parametrize(
    ("name", "linear", "modes"), [("CO2", True, 4), ("C2H2", True, 7), ("NH3", False, 6)]
)
def test_number_of_modes(name, linear, modes):
    atoms = molecule(name)
    atoms.calc = EMT()
    atoms.rotate(33, (1, 2, 3))
    result = vibrations.run(atoms, relaxed=True, fmax=0.009)
    assert result.linear == linear
    assert len(result.energies) == modes


def test_second_derivatives_and_displacements_agree():
    atoms = molecule("H2O")
    atoms.calc = PETCalculator(tiny_pet(), dtype="float64")
    with pytest.warns(UserWarning, match="the largest force is"):
        exactly = vibrations.run(atoms)
    assert exactly.method == "hessian"
    assert exactly.displacement is None
    with pytest.warns(UserWarning, match="the largest force is"):
        numerical = vibrations.run(atoms, method="displacements", displacement=1e-3)
    assert numerical.method == "displacements"
    scale = np.abs(exactly.hessian).max()
    np.testing.assert_allclose(numerical.hessian, exactly.hessian, atol=1e-4 * scale)
    assert exactly.asymmetry < 1e-9 * scale


@pytest.mark.parametrize("calculator", [EMT, lambda: PETCalculator(tiny_pet(), dtype="float64")])
@pytest.mark.filterwarnings("ignore:the largest force is")
def test_fixed_atoms_leave_a_part_of_the_hessian(calculator):
    atoms = molecule("CH3OH")
    atoms.calc = calculator()
    whole = vibrations.run(atoms)
    atoms.set_constraint(FixAtoms([0, 3]))
    part = vibrations.run(atoms)
    assert part.moving.tolist() == [1, 2, 4, 5]
    assert part.external == "none"
    assert len(part.energies) == 12
    columns = [3 * atom + axis for atom in part.moving for axis in range(3)]
    scale = np.abs(whole.hessian).max()
    np.testing.assert_allclose(
        part.hessian, whole.hessian[np.ix_(columns, columns)], atol=1e-9 * scale
    )
    assert not part.modes[:, [0, 3]].any()


def test_an_adsorbate_has_harmonic_free_energies():
    slab = fcc111("Cu", (1, 1, 2), vacuum=5.0)
    add_adsorbate(slab, "O", 1.2, "fcc")
    slab.set_constraint(FixAtoms([0, 1]))
    slab.calc = EMT()
    result = vibrations.run(slab, relaxed=True)
    assert len(result.energies) == 3
    assert result.imaginary == 0
    thermo = vibrations.thermochemistry(result, [300.0, 600.0])
    assert thermo.model == "harmonic"
    energies = result.energies
    kt = units.kB * 300
    expected = (energies / 2 + kt * np.log1p(-np.exp(-energies / kt))).sum()
    assert thermo.free_energy[0] - slab_energy(result) == pytest.approx(expected, abs=1e-9)


def slab_energy(result):
    return result.atoms.get_potential_energy()


def test_other_constraints_are_ignored_with_a_warning():
    atoms = two_atoms()
    atoms.set_constraint([FixBondLength(0, 1)])
    with pytest.warns(UserWarning, match="FixBondLength.* are ignored for vibrations"):
        result = vibrations.run(atoms)
    assert result.wavenumbers == pytest.approx([exact(atoms.get_masses())], rel=1e-4)


def test_a_crystal_keeps_its_rotations():
    atoms = bulk("Cu", cubic=True)
    atoms.calc = EMT()
    result = vibrations.run(atoms)
    assert result.external == "translations"
    assert len(result.energies) == 9


def test_a_molecule_in_a_periodic_box_is_said():
    atoms = two_atoms(cell=[9, 9, 9], pbc=True)
    with pytest.warns(UserWarning, match="a molecule in a periodic box"):
        result = vibrations.run(atoms)
    assert len(result.energies) == 3


def test_forces_that_are_no_numbers_are_refused():
    atoms = two_atoms()
    atoms.calc.function = lambda structure: {"energy": 0.0, "forces": np.full((2, 3), np.nan)}
    with pytest.raises(ValueError, match="forces with nan or inf"):
        vibrations.run(atoms)


def test_infrared_intensity_of_a_bond_is_exact():
    result = vibrations.run(two_atoms("CO"))
    masses = result.atoms.get_masses()
    reduced = masses.prod() / masses.sum()
    # 42.256 km/mol for (D/A)^2/amu
    slope = CHARGE / units.Debye
    assert result.intensities == pytest.approx([42.256 * slope**2 / reduced], rel=1e-4)


def test_dipoles_of_a_model_give_infrared_intensities():
    """The dipole of a toy model, whose derivatives are computed in one batch."""
    calculator = PETCalculator(tiny_pet(heads={"energy": 1, "dipole": 3}), dtype="float64")
    assert "dipole" in calculator.implemented_properties
    atoms = molecule("H2O")
    atoms.calc = calculator
    with pytest.warns(UserWarning, match="the largest force"):
        result = vibrations.run(atoms, displacement=1e-3)
    derivative = np.zeros((9, 3))
    for row in range(9):
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[row // 3, row % 3] += sign * 1e-3
            derivative[row] += sign * calculator.get_property("dipole", moved) / 2e-3
    slopes = result.modes.reshape(3, 9) @ derivative
    expected = 42.256 * (slopes**2).sum(axis=1) / units.Debye**2
    np.testing.assert_allclose(result.intensities, expected, rtol=1e-4)


def test_entropy_of_nitrogen_is_the_measured_one():
    """191.61 J/mol/K at 298.15 K and 1 bar (NIST-JANAF); the wavenumber of N2 is 2359 cm^-1."""
    result = vibrations.run(two_atoms())
    assert result.wavenumbers == pytest.approx([2359], rel=0.01)
    thermo = vibrations.thermochemistry(result, [298.15], symmetry_number=2)
    report = thermo.as_dict()
    assert report["entropy_J_per_mol_K"] == pytest.approx([191.61], abs=0.1)
    # 7/2 R T and the zero-point energy
    thermal = thermo.enthalpy[0] - result.zero_point_energy
    assert thermal == pytest.approx(3.5 * units.kB * 298.15, abs=1e-4)


def test_symmetry_number_multiplicity_and_pressure_enter_the_entropy():
    result = vibrations.run(two_atoms())
    plain = vibrations.thermochemistry(result).entropy[0]
    for settings, change in (
        ({"symmetry_number": 2}, -np.log(2)),
        ({"multiplicity": 3}, np.log(3)),
        ({"pressure": 10.0}, -np.log(10)),
    ):
        entropy = vibrations.thermochemistry(result, **settings).entropy[0]
        assert entropy - plain == pytest.approx(change * units.kB, abs=1e-12)
    result.atoms.info["spin"] = 3
    assert vibrations.thermochemistry(result).facts["multiplicity"] == 3


def test_imaginary_modes_are_negative_and_have_no_thermochemistry():
    atoms = two_atoms()
    inner = atoms.calc.function
    atoms.calc.function = lambda structure: {
        key: value if key == "dipole" else -value for key, value in inner(structure).items()
    }
    result = vibrations.run(atoms)
    assert result.imaginary == 1
    assert result.wavenumbers == pytest.approx([-exact(atoms.get_masses())], rel=1e-4)
    assert result.zero_point_energy == 0
    with pytest.raises(ValueError, match="1 imaginary modes where a minimum has 0"):
        vibrations.thermochemistry(result)
    saddle = vibrations.thermochemistry(result, transition_state=True)
    assert np.isfinite(saddle.free_energy).all()


@pytest.mark.parametrize(
    ("atoms", "message"),
    [
        (Atoms("Cu"), "a single atom has no vibrations"),
        (bulk("Cu"), "a single atom has no vibrations"),
        (Atoms("Cu2", np.eye(3)[:2], constraint=FixAtoms([0, 1])), "all atoms are fixed"),
        (Atoms("Cu2", np.eye(3)[:2], masses=[1.0, 0.0]), "`masses` of atoms"),
    ],
)
def test_what_cannot_vibrate_is_refused(atoms, message):
    atoms.calc = EMT()
    with pytest.raises(ValueError, match=message):
        vibrations.run(atoms)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "guess"}, "valid choices are hessian, displacements"),
        ({"method": "hessian"}, "EMT has no method of that name"),
        ({"displacement": 0.0}, "`displacement` is 0.0"),
        ({"displacement": np.nan}, "`displacement` is nan"),
        ({"displacement": 5.0}, "`displacement` is 5"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        vibrations.run(water(), **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperatures": [0.0]}, "`temperatures` are"),
        ({"symmetry_number": 0}, "`symmetry_number` is 0"),
        ({"multiplicity": 0}, "`multiplicity` is 0"),
        ({"pressure": -1.0}, "`pressure` is -1"),
        ({"pressure": 1e308}, "at most 1e\\+09, in bar"),
        ({"temperatures": [300, 1e308]}, "at 1e\\+308 K is .*, not a finite number"),
    ],
)
def test_bad_settings_of_thermochemistry_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        vibrations.thermochemistry(vibrations.run(two_atoms()), **settings)


@pytest.mark.parametrize("spin", ["two", 2.5, 0, [1, 2]])
def test_a_spin_that_is_no_multiplicity_is_refused_before_the_work(spin, tmp_path, monkeypatch):
    atoms = two_atoms("CO")
    result = vibrations.run(atoms)
    result.atoms.info["spin"] = spin
    with pytest.raises(ValueError, match=r"`atoms.info\[\"spin\"\]` is .*: expected 2S\+1"):
        vibrations.thermochemistry(result)
    # the command says it before it computes anything
    ase.io.write(tmp_path / "CO.traj", result.atoms)
    monkeypatch.setattr(EMT, "calculate", None)
    arguments = ["--calculator", "ase.calculators.emt:EMT", tmp_path / "CO.traj", "--output"]
    done = command(*arguments, tmp_path / "made")
    assert "expected 2S+1" in str(done.exception)


@pytest.mark.pictures
def test_files(tmp_path):
    result = vibrations.run(two_atoms("CO"))
    thermo = vibrations.thermochemistry(result, [300, 400])
    paths = vibrations.write(result, tmp_path, thermo)
    assert all(path.exists() for path in paths)
    report = json.loads((tmp_path / "vibrations.json").read_text())
    assert report["cm-1"] == pytest.approx(result.wavenumbers)
    assert report["thermochemistry"]["temperature_K"] == [300, 400]
    with (tmp_path / "vibrations.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert float(row["infrared_km_per_mol"]) == pytest.approx(result.intensities[0], abs=1e-6)
    assert float(row["meV"]) == pytest.approx(1e3 * result.energies[0], abs=1e-6)
    (animation,) = (tmp_path / "modes").iterdir()
    frames = ase.io.read(animation, ":")
    lengths = [frame.get_distance(0, 1) for frame in frames]
    assert lengths[0] == pytest.approx(LENGTH)
    # the lighter atom moves by 0.3 A
    masses = result.atoms.get_masses()
    assert max(lengths) - LENGTH == pytest.approx(0.3 * (1 + masses[0] / masses[1]), rel=1e-3)


def test_command(tmp_path):
    water().write(tmp_path / "water.xyz")
    arguments = ["--calculator", "ase.calculators.emt:EMT", tmp_path / "water.xyz", "--relax"]
    arguments += ["--output", tmp_path / "out", "--temperatures", "300,500"]
    done = command(*arguments, "--symmetry-number", 2)
    assert done.exit_code == 0, done.output
    assert "6 translations and rotations projected out" in done.stdout
    report = json.loads((tmp_path / "out" / "vibrations.json").read_text())
    assert len(report["cm-1"]) == 3
    assert report["projected_out"] == 6
    assert report["thermochemistry"]["symmetry_number"] == 2
    assert (tmp_path / "out" / "thermochemistry.csv").exists()
    again = command(*arguments, "--symmetry-number", 2)
    assert "holds results (vibrations.json)" in str(again.exception)
    with pytest.warns(UserWarning, match="that of the symmetry number 1"):
        done = command(*arguments, "--overwrite", "--json")
    assert len(json.loads(done.stdout)["cm-1"]) == 3


@pytest.mark.parametrize("text", ["", "-5", "a", "nan"])
def test_command_refuses_bad_temperatures(text):
    done = command("x.xyz", "y.xyz", "--output", "x", "--temperatures", text)
    assert "`--temperatures` is" in str(done.exception)
