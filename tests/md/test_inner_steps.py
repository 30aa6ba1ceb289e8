"""Inner steps with cheap forces: every ensemble, constraints, the calculator, too many of them."""

import json
import warnings

import numpy as np
import pytest
from ase import Atoms, units
from ase.calculators.emt import EMT
from ase.calculators.mixing import SumCalculator
from ase.constraints import FixAtoms, FixBondLengths, FixLinearTriatomic
from ase.md.nose_hoover_chain import MTKNPT, IsotropicMTKNPT, NoseHooverChainNVT
from ase.md.verlet import VelocityVerlet

import laws
import springs
import toys
from ase_pet import PETCalculator, md
from ase_pet.md import inner
from ase_pet.md.inner_baths import (
    InnerBussi,
    InnerIsotropicMTK,
    InnerLangevin,
    InnerMTK,
    InnerNoseHoover,
)

FS = units.fs
# names of thermostats and barostats: settings
ENSEMBLES = {
    "nve": {},
    "langevin": {"ensemble": "nvt"},
    "bussi": {"ensemble": "nvt", "thermostat": "bussi"},
    "nose-hoover": {"ensemble": "nvt", "thermostat": "nose-hoover"},
    "isotropic": {"ensemble": "npt"},
    "full": {"ensemble": "npt", "barostat": "full"},
}


class Soft(springs.Springs):
    """Springs that are 3 % too soft, as cheap forces."""

    factor = 0.97

    def __call__(self, atoms):
        properties = super().__call__(atoms)
        return {name: self.factor * value for name, value in properties.items()}


class Softer(Soft):
    factor = 0.8


def soft():
    return springs.cube(Soft).calc


def argon():
    """A crystal with a stress, and momenta at 40 K."""
    atoms = laws.crystal()
    atoms.calc = laws.lennard_jones()
    md.thermalise(atoms, 40, np.random.default_rng(2))
    return atoms


def weaker():
    """Lennard-Jones with a depth that is 10 % smaller."""
    calculator = laws.lennard_jones()
    calculator.parameters["epsilon"] *= 0.9
    return calculator


def conserved(dynamics, steps):
    """Standard deviation of the conserved energy in eV."""
    values = []
    for _ in range(steps):
        dynamics.run(1)
        values.append(md.conserved_energy(dynamics))
    return np.std(values)


def with_inner(kind, atoms, multiple, step, fast, *arguments, **keywords):
    dynamics = kind(atoms, multiple * step, *arguments, **keywords)
    dynamics.set_inner(step, fast, multiple)
    return dynamics


BATHS = {
    "nose-hoover": (InnerNoseHoover, NoseHooverChainNVT, (40, 100 * FS)),
    "isotropic": (InnerIsotropicMTK, IsotropicMTKNPT, (40, 0.01, 100 * FS, 500 * FS)),
    "full": (InnerMTK, MTKNPT, (40, 0.01, 100 * FS, 500 * FS)),
}


@pytest.mark.parametrize("kind", list(BATHS))
def test_one_inner_step_is_the_integrator_of_ase(kind):
    inner_kind, plain_kind, arguments = BATHS[kind]
    several = with_inner(inner_kind, argon(), 1, 4 * FS, laws.lennard_jones(), *arguments)
    plain = plain_kind(argon(), 4 * FS, *arguments)
    for dynamics in (several, plain):
        dynamics.run(25)
    moved = plain.atoms.positions - argon().positions
    assert np.abs(moved).max() > 0.05
    assert np.abs(several.atoms.positions - plain.atoms.positions).max() < 1e-9
    assert np.abs(several.atoms.cell - plain.atoms.cell).max() < 1e-9


@pytest.mark.parametrize("kind", list(BATHS))
def test_baths_around_inner_steps_are_of_second_order(kind):
    inner_kind, _, arguments = BATHS[kind]
    errors = []
    for multiple, steps in ((8, 12), (4, 24)):
        dynamics = with_inner(inner_kind, argon(), multiple, 2 * FS, weaker(), *arguments)
        errors.append(conserved(dynamics, steps))
    # halving the outer step, with the same inner steps, leaves some error of these
    assert 2.5 < errors[0] / errors[1] < 5


def langevin(multiple, friction, step=4.0, atoms=None, fast=None):
    atoms = atoms or springs.cube()
    md.thermalise(atoms, 300, np.random.default_rng(1))
    return with_inner(
        InnerLangevin,
        atoms,
        multiple,
        step * FS,
        fast or soft(),
        temperature_K=300,
        friction=friction / FS,
        fixcm=False,
        rng=np.random.default_rng(1),
    )


def test_langevin_without_friction_is_velocity_verlet():
    damped = langevin(4, 0.0)
    atoms = springs.cube()
    md.thermalise(atoms, 300, np.random.default_rng(1))
    plain = md.MultipleTimeStep(atoms, 4 * FS, soft(), 4)
    for dynamics in (damped, plain):
        dynamics.run(20)
    assert np.abs(damped.atoms.positions - plain.atoms.positions).max() < 1e-9
    assert damped.transferred_energy == pytest.approx(0, abs=1e-12)


def test_langevin_conserves_the_energy_without_the_heat():
    dynamics = langevin(4, 0.01)
    totals = []
    kept = []
    for _ in range(150):
        dynamics.run(1)
        totals.append(dynamics.atoms.get_total_energy())
        kept.append(md.conserved_energy(dynamics))
    assert np.std(kept) < 0.05 * np.std(totals)


class Hooke(springs.Springs):
    """Springs without a quartic term: the mean energy at a temperature is known."""

    factor = 1.0

    def __call__(self, atoms):
        displacements = atoms.positions - self.rest
        relative = displacements - displacements.mean(axis=0)
        # k s / 2 over all pairs is N k / 2 times the squares of the relative displacements
        stiffness = self.factor * len(atoms) * springs.STIFFNESS
        energy = stiffness * (relative**2).sum() / 2
        return {"energy": energy, "free_energy": energy, "forces": -stiffness * relative}


class HalfHooke(Hooke):
    factor = 0.7


def test_langevin_samples_the_distribution_of_the_full_forces():
    dynamics = langevin(3, 0.02, 5.0, springs.cube(Hooke), springs.cube(HalfHooke).calc)
    dynamics.run(100)
    kinetic = []
    potential = []
    for _ in range(800):
        dynamics.run(1)
        kinetic.append(dynamics.atoms.get_kinetic_energy())
        potential.append(dynamics.atoms.get_potential_energy())
    half = 0.5 * units.kB * 300
    # the inner forces alone would have a mean potential energy that is 43 % larger
    assert np.mean(kinetic) / 24 == pytest.approx(half, rel=0.08)
    assert np.mean(potential) / 21 == pytest.approx(half, rel=0.08)


def test_bussi_conserves_its_energy():
    atoms = springs.cube()
    md.thermalise(atoms, 300, np.random.default_rng(1))
    rng = np.random.default_rng(1)
    dynamics = with_inner(InnerBussi, atoms, 4, 4 * FS, soft(), 300, 100 * FS, rng=rng)
    assert conserved(dynamics, 200) < 0.005
    assert abs(dynamics.transferred_energy) > 0.01


# Constraints


def water():
    """A molecule with springs between all atoms, one bond of fixed length, and momenta."""
    atoms = Atoms("OH2", [[0, 0, 0], [1, 0, 0], [-0.3, 0.9, 0]])
    atoms.calc = springs.Held(springs.Springs(atoms))
    atoms.set_constraint(FixBondLengths([[0, 1]]))
    md.thermalise(atoms, 300, np.random.default_rng(0))
    return atoms


def test_bonds_of_fixed_length_are_those_of_velocity_verlet():
    atoms = water()
    several = md.MultipleTimeStep(atoms, 1 * FS, springs.Held(springs.Springs(water())), 4)
    plain = VelocityVerlet(water(), 1 * FS)
    several.run(10)
    plain.run(40)
    assert atoms.get_distance(0, 1) == pytest.approx(1, abs=1e-9)
    assert np.abs(atoms.positions - plain.atoms.positions).max() < 1e-6


@pytest.mark.parametrize("kind", ["nve", "langevin", "bussi", "nose-hoover"])
def test_fixed_atoms_stay(kind, tmp_path):
    atoms = springs.cube()
    atoms.set_constraint(FixAtoms([0, 5]))
    start = atoms.positions.copy()
    result = md.run(
        atoms, tmp_path, inner=soft(), inner_steps=3, timestep=5, time=0.3, **ENSEMBLES[kind]
    )
    assert np.array_equal(atoms.positions[[0, 5]], start[[0, 5]])
    assert np.abs(atoms.positions - start).max() > 0.01
    assert result.thermo()["conserved_eV"].std() < 0.02


def test_langevin_refuses_what_it_cannot_constrain(tmp_path):
    atoms = Atoms("CO2", [[0, 0, 0], [1.16, 0, 0], [-1.16, 0, 0]])
    atoms.calc = springs.Held(springs.Springs(atoms))
    atoms.set_constraint(FixLinearTriatomic([(1, 0, 2)]))
    fast = springs.Held(springs.Springs(atoms))
    with pytest.raises(ValueError, match="do not support the constraint FixLinearTriatomic"):
        md.run(atoms, tmp_path, fast=fast, multiple=2, ensemble="nvt")


# Runs


@pytest.mark.parametrize("kind", list(ENSEMBLES)[:4])
def test_runs_of_all_ensembles(kind, tmp_path):
    result = md.run(
        springs.cube(),
        tmp_path,
        inner=soft(),
        inner_steps=4,
        timestep=4,
        time=0.8,
        equilibrate=0.32,
        thermo_interval=1,
        **ENSEMBLES[kind],
    )
    table = result.thermo()
    assert result.steps == 50
    assert table["time_ps"][-1] == pytest.approx(0.8)
    assert table["conserved_eV"].std() < 0.02
    # the equilibration has inner steps, too
    assert (tmp_path / "equilibration" / "thermo.csv").read_text().count("\n") == 22
    measured = result.inner_steps()
    assert measured == json.loads((tmp_path / inner.FILE).read_text())
    assert (measured["inner_steps"], measured["outer_step_fs"]) == (4, 16)
    assert measured["notes"] == []


@pytest.mark.parametrize("kind", ["isotropic", "full"])
def test_runs_at_constant_pressure(kind, tmp_path):
    atoms = argon()
    result = md.run(
        atoms,
        tmp_path,
        inner=weaker(),
        inner_steps=4,
        timestep=2,
        time=0.16,
        temperature=40,
        thermo_interval=1,
        **ENSEMBLES[kind],
    )
    table = result.thermo()
    assert np.ptp(table["volume_A3"]) > 0.01
    assert table["conserved_eV"].std() < 0.02 * table["potential_eV"].std()


def test_a_ramp_has_inner_steps(tmp_path):
    result = md.run(
        springs.cube(),
        tmp_path,
        inner=soft(),
        inner_steps=4,
        timestep=4,
        time=1.6,
        ensemble="nvt",
        temperature="300:900",
    )
    assert result.thermo()["target_K"][-1] == pytest.approx(900)


# Restarts


class Interrupted(springs.Held):
    """Springs whose user presses Ctrl-C at one of their evaluations."""

    def __init__(self, energy, last):
        super().__init__(energy)
        self.left = last

    def calculate(self, *arguments, **options):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt
        super().calculate(*arguments, **options)


INTERRUPTED_RUN = {"inner_steps": 4, "timestep": 4, "time": 0.4, "checkpoint": 3, "interval": 5}


@pytest.mark.parametrize("kind", list(ENSEMBLES)[:4])
def test_a_run_that_was_interrupted_within_an_outer_step_is_continued(kind, tmp_path):
    values = {**INTERRUPTED_RUN, **ENSEMBLES[kind]}
    md.run(springs.cube(), tmp_path / "whole", inner=soft(), **values)
    # after the evaluations that measure the inner steps
    for last in (115, 117):
        folder = tmp_path / str(last)
        stopped = Interrupted(Soft(springs.cube()), last)
        with pytest.raises(KeyboardInterrupt):
            md.run(springs.cube(), folder, inner=stopped, **values)
        steps = int(np.load(folder / "state.npz")["dynamics nsteps"])
        assert 0 < steps < 25
        # the state knows the class of the calculator, as of any run
        again = Interrupted(Soft(springs.cube()), 0)
        md.run(springs.cube(), folder, inner=again, restart=True, **values)
        for name in ("thermo.csv", "trajectory.traj"):
            assert (folder / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_restart_with_another_inner_calculator_is_refused(tmp_path):
    """Of another package, whose description says no more than its class."""
    md.run(springs.cube(), tmp_path, inner=soft(), **INTERRUPTED_RUN)
    longer = {**INTERRUPTED_RUN, "time": 0.64, "restart": True}
    with pytest.raises(ValueError, match="the inner calculator .* is another one .* its forces"):
        md.run(springs.cube(), tmp_path, inner=springs.cube(Softer).calc, **longer)
    assert md.run(springs.cube(), tmp_path, inner=soft(), **longer).steps == 40


# Too many inner steps


def examined(multiple, timestep, fast=None):
    atoms = springs.cube()
    md.thermalise(atoms, 300, np.random.default_rng(1))
    settings = md.Settings(multiple=multiple, timestep=timestep, time=10)
    return inner.examine(atoms, settings, fast or soft())


def test_the_fastest_vibration_is_that_of_the_springs():
    # N springs between all pairs: w^2 = N k / m
    measured = examined(2, 2.0, springs.cube(Hooke).calc)
    omega = np.sqrt(8 * springs.STIFFNESS / springs.cube().get_masses()[0])
    exact = 1000 * FS * omega / (2 * np.pi)
    assert measured["fastest_vibration_THz"] == pytest.approx(exact, rel=1e-6)


def test_equal_forces_fluctuate_equally():
    assert examined(4, 4.0, springs.cube().calc)["ratio"] == pytest.approx(1, rel=1e-6)


def test_many_inner_steps_warn_and_name_a_number():
    with pytest.warns(UserWarning, match="fluctuates .* times that of the inner calculator") as all:
        measured = examined(12, 4.0)
    assert measured["ratio"] > 2
    limit = measured["doubles_at_steps"]
    assert f"use at most {limit}" in str(all[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # the estimate holds within a factor of two
        assert examined(2 * limit, 4.0)["ratio"] > 2
    assert examined(max(2, limit // 2), 4.0)["ratio"] < 2


def test_resonance_warns():
    with pytest.warns(UserWarning, match="in resonance with the fastest vibration of"):
        examined(60, 4.0, springs.cube().calc)


def test_an_examination_changes_nothing(tmp_path):
    atoms = springs.cube()
    md.thermalise(atoms, 300, np.random.default_rng(1))
    before = (atoms.positions.copy(), atoms.get_momenta())
    inner.examine(atoms, md.Settings(multiple=3, timestep=2, time=10), soft())
    assert np.array_equal(atoms.positions, before[0])
    assert np.array_equal(atoms.get_momenta(), before[1])


def test_a_calculator_without_energy_is_used_and_said_so():
    class Forces(springs.Held):
        implemented_properties = ["forces"]

    fast = Forces(Soft(springs.cube()))
    with pytest.warns(UserWarning, match="no energy that could be compared"):
        measured = examined(2, 2.0, fast)
    assert measured["ratio"] is None


# The inner calculator


def test_plain_is_the_model_without_its_symmetriser(tmp_path):
    network = toys.tiny_pet("local")
    atoms = toys.silicon()
    whole = PETCalculator(network, symmetrise="group:O:proper", uncertainty="off")
    plain = inner.calculator("plain", whole)
    expected = PETCalculator(network).get_potential_energy(atoms)
    assert plain.get_potential_energy(atoms) == pytest.approx(expected, abs=1e-12)
    # of a sum, the part of this package: what is added is a slow force
    summed = inner.calculator("plain", SumCalculator([whole, springs.cube().calc]))
    assert summed.get_potential_energy(atoms) == pytest.approx(expected, abs=1e-12)
    assert inner.calculator("silicon", whole).card.name == "silicon"


@pytest.mark.parametrize(
    ("calculator", "message"),
    [
        (lambda: PETCalculator(toys.tiny_pet("local")), "the calculator is not symmetrised"),
        (lambda: PETCalculator("ethanol"), "was trained in the frames of 'ecse"),
        (EMT, "the calculator is not one of this package"),
    ],
)
def test_calculators_without_a_plain_form(calculator, message):
    with pytest.raises(ValueError, match=f"`inner` is 'plain', but .*{message}"):
        inner.calculator("plain", calculator())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"inner": "plain"}, "`inner` needs `inner_steps`"),
        ({"inner_steps": 2}, "above 1 it needs a calculator `fast`"),
        ({"inner_steps": 2, "multiple": 2}, "are the same setting: give one"),
        ({"inner": EMT(), "fast": EMT(), "inner_steps": 2}, "`inner` and `fast` are both given"),
        ({"inner": EMT(), "inner_steps": 2}, "the inner calculator cannot be used"),
        ({"inner": "silicn", "inner_steps": 2}, "silicon"),
    ],
)
def test_bad_inner_steps_are_refused(values, message, tmp_path):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        md.run(springs.cube(), tmp_path / "run", **values)
    assert not (tmp_path / "run" / "thermo.csv").exists()
