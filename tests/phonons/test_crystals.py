"""Settings of crystals: constraints, masses, handedness, few digits, layers, pressure, limits."""

import ase.io
import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.constraints import (
    FixAtoms,
    FixBondLengths,
    FixCartesian,
    FixCom,
    FixedLine,
    FixedPlane,
    FixInternals,
    FixScaled,
    FixScaledParametricRelations,
    FixSymmetry,
    Hookean,
)

from ase_pet import phonons

SMALL = {"mesh": (4, 4, 4), "temperature_max": 500}
POINTS = [(0, 0, 0), (0.5, 0, 0), (0.1, 0.2, 0.35)]
PLACE = 3.5898  # A, lattice parameter of copper with EMT


def emt(atoms):
    """The structure with a calculator of its own."""
    atoms.calc = EMT()
    return atoms


def copper(a=PLACE, **more):
    return emt(bulk("Cu", a=a, **{"cubic": True, **more}))


def left_handed(atoms):
    """The same crystal with the first two cell vectors exchanged."""
    other = atoms.copy()
    other.set_cell(atoms.cell[[1, 0, 2]])
    return emt(other)


def frequencies_at_gamma(atoms, step=1e-3):
    """Frequencies in THz of one cell by central differences of its forces and one diagonalisation.

    It knows nothing of phonopy, symmetry or primitive cells.
    """
    hessian = []
    for index in range(len(atoms)):
        for axis in range(3):
            difference = np.zeros((len(atoms), 3))
            for sign in (1, -1):
                moved = atoms.copy()
                moved.positions[index, axis] += sign * step
                difference -= sign * emt(moved).get_forces() / (2 * step)
            hessian.append(difference.ravel())
    masses = np.repeat(atoms.get_masses(), 3)
    dynamical = np.array(hessian) / np.sqrt(np.outer(masses, masses))
    eigenvalues = np.linalg.eigvalsh((dynamical + dynamical.T) / 2)
    radians = np.sqrt(np.abs(eigenvalues) * units._e / units._amu) * 1e10
    return np.sign(eigenvalues) * radians / (2 * np.pi * 1e12)


CONSTRAINTS = {
    "FixAtoms": lambda atoms: FixAtoms([0, 1]),
    "FixCartesian": lambda atoms: FixCartesian(0, (True, False, False)),
    "FixScaled": lambda atoms: FixScaled(0, (True, False, False)),
    "FixedPlane": lambda atoms: FixedPlane(0, (0, 0, 1)),
    "FixedLine": lambda atoms: FixedLine(0, (0, 0, 1)),
    "FixCom": lambda atoms: FixCom(),
    "FixSymmetry": FixSymmetry,
    "Hookean": lambda atoms: Hookean(0, 1, k=1.0, rt=2.0),
    "FixBondLengths": lambda atoms: FixBondLengths([[0, 1]]),
    "FixInternals": lambda atoms: FixInternals(bonds=[[atoms.get_distance(0, 1), [0, 1]]]),
}
OF_LENGTHS = ("Hookean", "FixBondLengths", "FixInternals")
HOLDING = ("FixAtoms", "FixCartesian", "FixScaled", "FixedPlane", "FixedLine")


@pytest.fixture(scope="module")
def relaxed():
    """Relaxed copper."""
    return phonons.relax(copper()).atoms


@pytest.fixture(scope="module")
def constants(relaxed):
    """Its elastic constants."""
    return phonons.elastic(relaxed).constants


def with_constraint(name, atoms):
    constrained = emt(atoms.copy())
    constrained.set_constraint(CONSTRAINTS[name](constrained))
    return constrained


@pytest.mark.parametrize("name", ["FixAtoms", "FixSymmetry"])
def test_elastic_constants_ignore_constraints(name, relaxed, constants):
    with pytest.warns(UserWarning, match=rf"\({name}\) are ignored for elastic constants"):
        found = phonons.elastic(with_constraint(name, relaxed)).constants
    np.testing.assert_allclose(found, constants, atol=1e-3)
    assert constants[3, 3] > 80  # GPa


@pytest.mark.parametrize("name", ["FixAtoms", "FixSymmetry"])
def test_equations_of_state_ignore_constraints(name, relaxed):
    with pytest.warns(UserWarning, match="are ignored for the equation of state"):
        found = phonons.equation_of_state(with_constraint(name, relaxed), points=5)
    assert found.volume == pytest.approx(relaxed.get_volume(), rel=1e-4)


@pytest.fixture(scope="module")
def spectrum(relaxed):
    """Its phonons in the cubic cell."""
    return phonons.run(relaxed, (1, 1, 1), relaxed=False, **SMALL)


@pytest.mark.parametrize("name", ["FixAtoms", "FixSymmetry", "Hookean", "FixedPlane"])
def test_phonons_ignore_constraints(name, relaxed, spectrum):
    atoms = with_constraint(name, relaxed)
    with pytest.warns(UserWarning, match=rf"\({name}\) are ignored for phonons"):
        found = phonons.run(atoms, (1, 1, 1), relaxed=False, **SMALL)
    np.testing.assert_allclose(found.frequencies, spectrum.frequencies, atol=1e-6)


def test_relations_that_the_positions_do_not_satisfy_are_refused():
    atoms = copper()
    atoms.rattle(0.05, seed=1)
    # the first atom moves along x, the others stay at their places
    places = ["x", "0", "0", "0", "1/2", "1/2", "1/2", "0", "1/2", "1/2", "1/2", "0"]
    relations = FixScaledParametricRelations.from_expressions([0, 1, 2, 3], ["x"], places)
    atoms.set_constraint(relations)
    with pytest.raises(ValueError, match=r"does not satisfy its constraints \(FixScaledParam"):
        phonons.relax(atoms, cell=False)


def test_forces_that_constraints_hide_are_refused():
    atoms = copper()
    atoms.rattle(0.1, seed=1)
    atoms.set_constraint(FixAtoms(range(4)))
    assert not np.any(atoms.get_forces())
    ignored = pytest.warns(UserWarning, match="are ignored for phonons")
    with ignored, pytest.raises(ValueError, match=r"the largest force is 3\.2 eV/A: the structure"):
        phonons.run(atoms, relaxed=False, **SMALL)
    with pytest.warns(UserWarning, match="are ignored for phonons"):
        found = phonons.run(atoms, (1, 1, 1), relaxed=False, allow_forces=True, **SMALL)
    atoms.set_constraint()
    assert found.facts["largest_force"] == pytest.approx(
        np.linalg.norm(atoms.get_forces(), axis=1).max()
    )
    assert "NOT RELAXED, largest force 3.2 eV/A" in phonons.plot(found).get_suptitle()


@pytest.mark.parametrize("name", HOLDING)
def test_relaxation_keeps_fractional_coordinates_of_held_atoms(name):
    atoms = copper(a=3.55)
    atoms.rattle(0.05, seed=1)
    atoms.set_constraint(CONSTRAINTS[name](atoms))
    with pytest.warns(UserWarning, match="their fractional coordinates stay; --no-cell"):
        found = phonons.relax(atoms)
    change = found.atoms.get_scaled_positions(wrap=False) - atoms.get_scaled_positions(wrap=False)
    held = {"FixedPlane": 2}.get(name, 0)
    assert abs(change[0, held]) < 1e-4
    assert found.largest_stress < 0.05
    assert len(found.atoms.constraints) == 1


@pytest.mark.parametrize("name", OF_LENGTHS)
def test_relaxation_of_the_cell_refuses_constraints_on_lengths(name):
    atoms = copper()
    atoms.rattle(0.05, seed=1)
    atoms.set_constraint(CONSTRAINTS[name](atoms))
    with pytest.raises(ValueError, match=rf"\({name}\) do not allow to relax the cell"):
        phonons.relax(atoms)
    found = phonons.relax(atoms, cell=False)
    # forces are those of the calculator: the constraint holds some
    assert found.largest_force > 1e-2


def test_symmetry_and_held_atoms_are_refused_together():
    atoms = copper()
    atoms.set_constraint(FixAtoms([0]))
    with pytest.raises(ValueError, match="hold atoms that symmetry would move"):
        phonons.relax(atoms, cell=False, symmetry=True)


def test_relaxation_accepts_the_constraint_of_symmetry():
    atoms = copper(a=3.55)
    atoms.set_constraint(FixSymmetry(atoms))
    found = phonons.relax(atoms)
    assert found.atoms.cell[0, 0] == pytest.approx(phonons.relax(copper(a=3.55)).atoms.cell[0, 0])
    assert found.space_group == "Fm-3m (225)"


MASSES = {"half": [63.5, 63.5, 15.9, 15.9], "one": [15.9, 63.5, 63.5, 63.5]}


@pytest.mark.parametrize("symmetry", [True, False])
@pytest.mark.parametrize("name", MASSES)
def test_isotopes_have_the_frequencies_of_a_direct_diagonalisation(name, symmetry, relaxed):
    atoms = emt(relaxed.copy())
    atoms.set_masses(MASSES[name])
    # the Gamma point of the cubic cell holds several q-points of a smaller primitive cell
    expected = frequencies_at_gamma(atoms)
    found = phonons.run(atoms, (2, 2, 2), symmetry=symmetry, relaxed=False, **SMALL)
    primitive = found.crystal.primitive
    repeats = np.array(relaxed.cell) @ np.linalg.inv(primitive.cell)
    grid = np.array(np.meshgrid(*3 * [range(-2, 3)])).reshape(3, -1).T
    points = np.unique(np.round(grid @ np.linalg.inv(repeats).T % 1, 6) % 1, axis=0)
    values = np.sort(np.ravel(found.phonopy.run_qpoints(points).frequencies))
    np.testing.assert_allclose(values, expected, atol=0.02)


def test_natural_masses_of_one_element_are_one_kind(spectrum):
    assert len(spectrum.phonopy.primitive) == 1
    assert spectrum.facts["stand_ins"] == {}


def test_magnetic_moments_make_atoms_different(relaxed):
    atoms = emt(relaxed.copy())
    atoms.set_initial_magnetic_moments([1, 1, -1, -1])
    found = phonons.run(atoms, (1, 1, 1), **SMALL)
    assert len(found.phonopy.primitive) == 2
    assert found.relaxation.space_group == "P4/mmm (123)"
    free = phonons.run(atoms, (1, 1, 1), symmetry=False, **SMALL)
    assert found.frequencies.max() == pytest.approx(free.frequencies.max(), abs=0.01)


def test_left_handed_cells_give_the_same(relaxed, constants):
    start = copper(a=3.55)
    start.rattle(0.02, seed=2)
    right = phonons.relax(start, pressure=2.0)
    left = phonons.relax(left_handed(start), pressure=2.0)
    assert np.linalg.det(left.atoms.cell) < 0
    np.testing.assert_allclose(left.atoms.cell, right.atoms.cell[[1, 0, 2]], atol=1e-6)
    np.testing.assert_allclose(left.atoms.positions, right.atoms.positions, atol=1e-6)
    assert left.as_dict()["volume"] == pytest.approx(right.as_dict()["volume"])

    mirrored = left_handed(relaxed)
    np.testing.assert_allclose(phonons.elastic(mirrored).constants, constants, atol=1e-3)
    states = [phonons.equation_of_state(atoms, points=5) for atoms in (relaxed, mirrored)]
    assert states[0].bulk_modulus == pytest.approx(states[1].bulk_modulus, rel=1e-6)


@pytest.mark.parametrize("supercell", [(2, 1, 1), (2, 2, 2)])
def test_left_handed_cells_have_the_same_phonons(supercell):
    atoms = emt(bulk("CuAu", "cesiumchloride", a=3.2))
    atoms.set_cell([3.1, 3.2, 3.4], scale_atoms=True)
    options = {"relaxed": False, **SMALL}
    right = phonons.run(atoms, supercell, **options)
    swapped = (supercell[1], supercell[0], supercell[2])
    left = phonons.run(left_handed(atoms), swapped, **options)
    # q-points of the exchanged vectors, whose signs do not matter
    found = left.phonopy.run_qpoints([(q[1], q[0], q[2]) for q in POINTS]).frequencies
    np.testing.assert_allclose(found, right.phonopy.run_qpoints(POINTS).frequencies, atol=1e-6)
    assert left.zero_point_energy() == pytest.approx(right.zero_point_energy())


@pytest.mark.parametrize("digits", [2, 3, 4, 7])
def test_few_digits_of_a_file_do_not_lower_the_symmetry(digits, recwarn):
    atoms = emt(bulk("Cu", "hcp", a=2.6, c=4.2))
    third = round(1 / 3, digits)
    atoms.set_scaled_positions([[third, 1 - third, 0.25], [1 - third, third, 0.75]])
    assert phonons.relax(atoms).space_group == "P6_3/mmc (194)"
    # it is said where the usual tolerance of 0.001 A would not do
    assert ["digits" in str(note.message) for note in recwarn] == [True] * (digits < 4)


def test_a_distortion_with_few_digits_is_kept():
    atoms = emt(bulk("CuAu", "cesiumchloride", a=3.0))
    atoms.set_scaled_positions([[0, 0, 0], [0.5, 0.5, 0.51]])
    assert phonons.space_group(atoms) == phonons.relax(atoms, steps=500).initial_space_group


CIF = """data_hcp
_cell_length_a 2.6
_cell_length_b 2.6
_cell_length_c 4.2
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 120
_symmetry_space_group_name_H-M 'P 63/m m c'
_symmetry_Int_Tables_number 194
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Cu Cu {} {} 0.25
"""


@pytest.mark.parametrize("numbers", [("0.333", "0.667"), ("0.33", "0.67"), ("0.3333", "0.6667")])
@pytest.mark.filterwarnings("ignore:6 atoms of the file became 2")
def test_rounded_coordinates_of_a_cif_make_no_duplicates(numbers, tmp_path):
    (tmp_path / "hcp.cif").write_text(CIF.format(*numbers))
    atoms = emt(phonons.merge_duplicates(ase.io.read(tmp_path / "hcp.cif")))
    assert len(atoms) == 2
    assert phonons.relax(atoms).space_group == "P6_3/mmc (194)"
