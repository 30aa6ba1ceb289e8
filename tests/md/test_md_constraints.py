"""Mean temperatures with constraints, for each thermostat; what is refused."""

import contextlib

import numpy as np
import pytest
from ase import Atoms, units
from ase.constraints import (
    FixAtoms,
    FixBondLengths,
    FixCartesian,
    FixCom,
    FixLinearTriatomic,
    FixSymmetry,
    Hookean,
)

import springs
from ase_pet import md


def cube():
    return springs.cube()


def strained():
    """A tetragonal cell of two elements: its symmetry leaves some freedom."""
    atoms = Atoms("ArKr", [[0, 0, 0], [2.0, 2.0, 2.3]], cell=[4, 4, 5], pbc=True)
    atoms.calc = springs.Held(springs.Springs(atoms))
    return atoms


def dioxides():
    """Two linear molecules, held by springs."""
    atoms = Atoms("OCO", [[-1.16, 0, 0], [0, 0, 0], [1.16, 0, 0]])
    atoms += Atoms("OCO", [[-1.16, 0, 4], [0, 0.5, 4], [1.16, 1.0, 4]])
    atoms.calc = springs.Held(springs.Springs(atoms))
    return atoms


def tetrahedron():
    """A free molecule of four atoms, whose momentum is conserved without constraints."""
    corners = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    atoms = Atoms("Cu4", 0.8 * corners)
    atoms.calc = springs.Held(springs.Springs(atoms))
    return atoms


def tethers(atoms):
    """Springs to points, which move and turn the molecule as heat does."""
    return [Hookean(k, atoms.positions[k] + 0.3, 3.0, 0.05) for k in range(4)]


CONSTRAINTS = {
    "tethers": (tetrahedron, tethers),
    "linear molecules": (dioxides, lambda atoms: FixLinearTriatomic([(0, 1, 2), (3, 4, 5)])),
    "fixed atoms": (cube, lambda atoms: FixAtoms([0, 1, 2])),
    "one free atom": (cube, lambda atoms: FixAtoms(range(7))),
    "half fixed": (cube, lambda atoms: FixCartesian([0, 1], [True, True, False])),
    "centre of mass": (cube, lambda atoms: FixCom()),
    "bonds": (cube, lambda atoms: FixBondLengths([[0, 1], [2, 3]])),
    "symmetry": (strained, FixSymmetry),
    "spring": (cube, lambda atoms: Hookean(0, 1, 1.0, 4.2)),
}
THERMOSTATS = ("langevin", "bussi", "nose-hoover")


def constrained(name):
    make, constraints = CONSTRAINTS[name]
    atoms = make()
    atoms.set_constraint(constraints(atoms))
    return atoms


def run(atoms, folder, **values):
    defaults = {
        "ensemble": "nvt",
        "temperature": 300,
        "timestep": 5.0,
        "time": 2.5,
        "thermostat_time": 60,
        "thermo_interval": 2,
        "interval": 500,
        "checkpoint": 500,
    }
    return md.run(atoms, folder, **defaults | values)


ALL = [(name, thermostat) for name in CONSTRAINTS for thermostat in THERMOSTATS]
QUICK = [
    ("half fixed", "langevin"),
    ("half fixed", "nose-hoover"),
    ("one free atom", "nose-hoover"),
    ("symmetry", "bussi"),
    ("tethers", "bussi"),
]


@pytest.mark.parametrize(
    ("name", "thermostat"),
    [pytest.param(*case, marks=[pytest.mark.slow] * (case not in QUICK)) for case in ALL],
)
def test_the_mean_temperature_is_that_of_the_thermostat(name, thermostat, tmp_path):
    table = run(constrained(name), tmp_path, thermostat=thermostat).thermo()
    late = table["temperature_K"][len(table["step"]) // 10 :]
    means = [block.mean() for block in np.array_split(late, 10)]
    error = np.std(means, ddof=1) / np.sqrt(10)
    # the error by blocks is itself uncertain
    assert error < 100
    assert late.mean() == pytest.approx(300, abs=5 * error)


@pytest.mark.parametrize("thermostat", ["bussi", "nose-hoover"])
@pytest.mark.parametrize("name", ["half fixed", "bonds", "centre of mass"])
def test_energy_is_conserved_with_constraints(name, thermostat, tmp_path):
    table = run(constrained(name), tmp_path, thermostat=thermostat, time=0.5).thermo()
    assert table["conserved_eV"].std() < 0.03 * table["total_eV"].std()


def test_springs_to_points_leave_all_degrees_of_freedom():
    atoms = constrained("tethers")
    assert md.degrees_of_freedom(atoms) == md.degrees_of_freedom(atoms, "bussi") == 12
    assert md.degrees_of_freedom(tetrahedron()) == 6


@pytest.mark.parametrize("name", list(CONSTRAINTS))
def test_initial_momenta_obey_the_constraints(name):
    atoms = constrained(name)
    rng = np.random.default_rng(3)
    energies = []
    for _ in range(100):
        md.thermalise(atoms, 300, rng)
        momenta = atoms.get_momenta()
        atoms.set_momenta(momenta)
        assert np.abs(atoms.get_momenta() - momenta).max() < 1e-10
        energies.append(atoms.get_kinetic_energy())
    count = md.degrees_of_freedom(atoms)
    expected = count * units.kB * 300 / 2
    assert np.mean(energies) == pytest.approx(expected, abs=4 * expected * np.sqrt(2 / count / 100))


def test_momenta_that_are_kept_obey_the_constraints(tmp_path):
    atoms = cube()
    md.thermalise(atoms, 300, np.random.default_rng(0))
    atoms.set_constraint(FixAtoms([0]))
    with pytest.warns(UserWarning, match=r"constraints \(FixAtoms\) do not allow were removed"):
        result = md.run(atoms, tmp_path, timestep=5.0, ensemble="nve", momenta="keep", time=0.05)
    assert np.abs(result.frames()[0].get_momenta()[0]).max() == 0


@pytest.mark.parametrize("ensemble", ["nve", "nvt"])
@pytest.mark.parametrize(
    "constraint", [FixAtoms(range(8)), FixCartesian(range(8)), [FixAtoms([0]), FixAtoms(range(8))]]
)
def test_a_structure_whose_atoms_are_all_fixed_is_refused(constraint, ensemble, tmp_path):
    atoms = cube()
    atoms.set_constraint(constraint)
    with pytest.raises(ValueError, match=r"all atoms are fixed by the constraints .*nothing can"):
        md.run(atoms, tmp_path / "run", ensemble=ensemble)
    assert not (tmp_path / "run").exists()


def test_one_atom_has_nothing_to_heat(tmp_path):
    atoms = cube()[:1]
    atoms.calc = springs.Held(springs.Springs(atoms))
    with pytest.raises(ValueError, match="thermostat 'bussi' has nothing to heat"):
        run(atoms, tmp_path, thermostat="bussi")


def test_frames_hold_the_forces_of_the_potential(tmp_path):
    atoms = constrained("fixed atoms")
    frame = run(atoms, tmp_path, time=0.05, interval=5).frames()[-1]
    assert np.abs(frame.get_forces(apply_constraint=False)[0]).max() > 1e-4
    assert np.abs(frame.get_forces()[0]).max() == 0


@pytest.mark.parametrize(
    ("thermostat", "after"), [("bussi", 0.0), ("nose-hoover", 0.0), ("langevin", None)]
)
def test_net_motion_that_is_kept_is_no_heat(thermostat, after, tmp_path):
    atoms = cube()
    md.thermalise(atoms, 300, np.random.default_rng(0))
    momenta = atoms.get_momenta() + 3.0
    atoms.set_momenta(momenta)
    notes = pytest.warns(
        UserWarning, match=r"as a whole \(\d+ % of the kinetic energy\) was removed"
    )
    with contextlib.nullcontext() if after is None else notes:
        result = run(atoms, tmp_path, thermostat=thermostat, momenta="keep", time=0.02, interval=1)
    net = np.abs(result.frames()[0].get_momenta().sum(axis=0)).max()
    assert net == pytest.approx(24.0 if after is None else 0.0, abs=1e-9)


def test_net_motion_in_nve_is_noted(tmp_path):
    atoms = cube()
    atoms.set_momenta(np.full((8, 3), 0.5))
    with pytest.warns(UserWarning, match=r"as a whole \(100 % .*which `temperature_K` includes"):
        md.run(atoms, tmp_path, timestep=5.0, ensemble="nve", momenta="keep", time=0.02)
