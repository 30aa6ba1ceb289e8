"""Molecular dynamics: ensembles, momenta, multiple time steps, outputs, instability, bad input."""

import dataclasses
import fcntl
import shutil
import sys
import threading
import tomllib

import ase.io
import numpy as np
import pytest
from ase import units
from ase.build import molecule
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms
from ase.md.verlet import VelocityVerlet

import laws
import springs
from ase_pet import md
from tolerances import rounding


def run(atoms, folder, **values):
    return md.run(
        atoms, folder, **{"timestep": 5.0, "time": 1.0, "temperature": 60, "interval": 50} | values
    )


def copper(repeat=1):
    atoms = springs.copper(repeat)
    atoms.calc = EMT()
    return atoms


def argon(make=laws.cluster):
    atoms = make()
    atoms.calc = laws.lennard_jones()
    return atoms


# Momenta


@pytest.mark.parametrize("name", ["H2O", "CO2", "CH3CH2OH"])
def test_a_molecule_starts_without_net_momentum_and_rotation(name):
    atoms = molecule(name)
    md.thermalise(atoms, 300, np.random.default_rng(0))
    # Rounding of the removed centre-of-mass velocity, summed over atoms.
    momenta, arms = atoms.get_momenta(), np.abs(atoms.positions).max()
    assert np.abs(momenta.sum(axis=0)).max() < rounding(momenta)
    assert np.abs(atoms.get_angular_momentum()).max() < 2 * arms * rounding(momenta)
    assert atoms.get_kinetic_energy() > 0


@pytest.mark.parametrize(
    ("make", "count"),
    [
        (lambda: molecule("H2O"), 3),
        (lambda: molecule("CO2"), 4),
        (lambda: molecule("H2"), 1),
        (springs.cube, 21),
    ],
)
def test_kinetic_energy_is_shared_by_the_degrees_of_freedom(make, count):
    atoms = make()
    rng = np.random.default_rng(1)
    energies = []
    for _ in range(600):
        md.thermalise(atoms, 300, rng)
        energies.append(atoms.get_kinetic_energy())
    expected = count * units.kB * 300 / 2
    assert md.degrees_of_freedom(atoms) == count
    assert np.mean(energies) == pytest.approx(expected, abs=4 * expected * np.sqrt(2 / count / 600))


def test_degrees_of_freedom_of_constraints_and_thermostats():
    atoms = springs.cube()
    assert md.degrees_of_freedom(atoms, "langevin") == 24
    atoms.set_constraint(FixAtoms([0]))
    assert md.degrees_of_freedom(atoms) == 21
    md.thermalise(atoms, 300, np.random.default_rng(0))
    assert np.abs(atoms.get_momenta()[0]).max() == 0


# Ensembles


def test_nve_conserves_energy_to_second_order(tmp_path):
    errors = []
    for timestep in (8.0, 4.0):
        summary = run(
            springs.cube(),
            tmp_path / str(timestep),
            timestep=timestep,
            time=2.0,
            thermo_interval=1,
            max_temperature=1e4,
        )
        errors.append(summary.thermo()["conserved_eV"].std())
    assert 3.4 < errors[0] / errors[1] < 4.6


def test_a_molecule_keeps_its_momenta(tmp_path):
    atoms = argon()
    run(atoms, tmp_path, temperature=20, time=0.2)
    size = np.linalg.norm(np.cross(atoms.positions, atoms.get_momenta()), axis=1).sum()
    assert np.abs(atoms.get_angular_momentum()).max() < 1e-9 * size
    assert np.abs(atoms.get_momenta().sum(axis=0)).max() < 1e-12


# Degrees of freedom in the variance of the kinetic energy. Nose-Hoover chains need more chaotic
# motion than that of eight atoms on springs: only their mean is correct.
WIDTHS = {"langevin": 24, "bussi": 21, "nose-hoover": 50}


@pytest.mark.parametrize("thermostat", ["langevin", "bussi", "nose-hoover"])
def test_nvt_has_the_kinetic_energy_of_its_temperature(thermostat, tmp_path):
    outcome = run(
        springs.cube(),
        tmp_path,
        ensemble="nvt",
        thermostat=thermostat,
        temperature=300,
        time=15.0,
        timestep=10.0,
        thermo_interval=1,
        thermostat_time=100,
        interval=1500,
    )
    summary = outcome.summary()
    assert summary["error_temperature_K"] < 40
    assert summary["mean_temperature_K"] == pytest.approx(
        300, abs=4 * summary["error_temperature_K"]
    )
    wide = WIDTHS[thermostat] * (units.kB * 300) ** 2 / 2
    assert 0.5 < outcome.thermo()["kinetic_eV"][150:].var() / wide < 1.7


@pytest.mark.parametrize("thermostat", ["bussi", "nose-hoover"])
def test_nvt_conserves_energy_with_that_of_the_thermostat(thermostat, tmp_path):
    table = run(
        springs.cube(), tmp_path, ensemble="nvt", thermostat=thermostat, temperature=300, time=2.0
    ).thermo()
    assert table["conserved_eV"].std() < 0.03 * table["total_eV"].std()


def test_chains_of_a_calculator_without_free_energy_have_no_conserved_energy(tmp_path):
    atoms = springs.cube()
    function = atoms.calc.function

    def without_free_energy(atoms):
        results = dict(function(atoms))
        results.pop("free_energy", None)
        return results

    atoms.calc = laws.Function(without_free_energy)
    assert (
        "conserved_eV"
        not in run(atoms, tmp_path, ensemble="nvt", thermostat="nose-hoover", time=0.05).thermo()
    )


def test_langevin_has_no_conserved_energy(tmp_path):
    summary = run(springs.cube(), tmp_path, ensemble="nvt", time=0.1)
    assert "conserved_eV" not in summary.thermo()
    assert summary.summary() == {}


@pytest.mark.parametrize("barostat", ["isotropic", "full"])
@pytest.mark.parametrize(("pressure", "sign"), [(4, -1), (-4, 1)])
def test_npt_moves_towards_its_pressure_and_conserves_energy(barostat, pressure, sign, tmp_path):
    summary = run(
        copper(),
        tmp_path,
        ensemble="npt",
        barostat=barostat,
        pressure=pressure,
        barostat_time=300,
        time=0.3,
        timestep=2.0,
        thermo_interval=1,
    )
    table = summary.thermo()
    assert np.sign(table["volume_A3"][-1] - table["volume_A3"][0]) == sign
    far = np.abs(table["pressure_GPa"] - pressure)
    assert far[75:].mean() < 0.8 * far[0]
    assert table["conserved_eV"].std() < 0.03 * table["total_eV"].std()


def test_momenta_may_be_kept(tmp_path):
    atoms = springs.cube()
    md.thermalise(atoms, 100, np.random.default_rng(5))
    before = atoms.get_momenta()
    summary = run(atoms, tmp_path, momenta="keep", time=0.01)
    assert np.array_equal(summary.frames()[0].get_momenta(), before)


def test_momenta_may_be_drawn_at_another_temperature(tmp_path):
    cold = run(springs.cube(), tmp_path / "cold", time=0.01).thermo()["temperature_K"][0]
    hot = run(springs.cube(), tmp_path / "hot", time=0.01, start_temperature=240).thermo()[
        "temperature_K"
    ][0]
    assert hot == pytest.approx(4 * cold)


# Multiple time steps


def dynamics(multiple, timestep, kind=springs.Whirl):
    atoms = springs.cube()
    md.thermalise(atoms, 300, np.random.default_rng(3))
    return md.MultipleTimeStep(atoms, timestep * units.fs, springs.cube(kind).calc, multiple)


def energies(integrator, steps):
    values = []
    for _ in range(steps):
        integrator.run(1)
        values.append(integrator.atoms.get_total_energy())
    return np.array(values)


def test_one_time_step_is_velocity_verlet():
    several = dynamics(1, 5.0)
    plain = VelocityVerlet(dynamics(1, 5.0).atoms, 5.0 * units.fs)
    several.run(40)
    plain.run(40)
    assert np.abs(several.atoms.positions - plain.atoms.positions).max() < 1e-10


def test_multiple_time_steps_with_equal_forces_are_velocity_verlet():
    several = dynamics(4, 5.0, springs.Springs)
    plain = VelocityVerlet(dynamics(1, 5.0).atoms, 5.0 * units.fs)
    several.run(10)
    plain.run(40)
    assert several.get_time() == pytest.approx(plain.get_time())
    assert np.abs(several.atoms.positions - plain.atoms.positions).max() < 1e-10


def test_multiple_time_steps_are_of_second_order():
    coarse = energies(dynamics(4, 2.0), 100)
    fine = energies(dynamics(4, 1.0), 200)
    assert 3.2 < coarse.std() / fine.std() < 4.8


def slope(values, picoseconds):
    """eV/ps and its standard error."""
    drift = md.linear_drift(np.linspace(0, picoseconds, len(values)), values)
    return drift.slope, drift.error


def test_linear_drift_of_a_noisy_line_is_within_its_error():
    times = np.linspace(3, 7, 2000)
    noise = np.random.default_rng(2).normal(scale=0.1, size=times.shape)
    drift = md.linear_drift(times, 5 - 0.4 * times + noise)
    # of least squares with independent noise
    expected_error = 0.1 / np.sqrt(len(times)) / times.std()
    assert abs(drift.slope + 0.4) < 4 * expected_error
    assert 0.3 < drift.error / expected_error < 2
    assert drift.rms == pytest.approx(0.1, rel=0.05)


def test_direct_forces_drift_and_multiple_time_steps_do_not():
    alone = VelocityVerlet(springs.cube(springs.Whirl), 2.0 * units.fs)
    md.thermalise(alone.atoms, 300, np.random.default_rng(3))
    plain = VelocityVerlet(dynamics(1, 8.0).atoms, 8.0 * units.fs)
    drift_alone, error_alone = slope(energies(alone, 600), 1.2)
    drift, error = slope(energies(dynamics(4, 2.0), 250), 2.0)
    drift_plain, error_plain = slope(energies(plain, 250), 2.0)
    # the energy grows along a curve, whose distance from the line counts as an error
    assert drift_alone > 2 * error_alone
    assert abs(drift - drift_plain) < 4 * np.hypot(error, error_plain)
    assert abs(drift) < 0.01 * abs(drift_alone)


@pytest.mark.parametrize("multiple", [0, -1, 1.5])
def test_less_than_one_time_step_is_refused(multiple):
    with pytest.raises(ValueError, match=f"`multiple` is {multiple}: expected a whole number"):
        dynamics(multiple, 1.0)


def test_a_run_of_multiple_time_steps(tmp_path):
    summary = run(
        springs.cube(),
        tmp_path,
        fast=springs.cube(springs.Whirl).calc,
        multiple=5,
        time=1.0,
        timestep=2.0,
    )
    assert summary.steps == 100
    assert summary.thermo()["time_ps"][-1] == pytest.approx(1.0)
    assert (
        tomllib.loads((tmp_path / "settings.toml").read_text())["fast"]["class"] == "springs.Held"
    )


# Outputs


def test_frames_and_rows(tmp_path):
    summary = run(
        copper(), tmp_path, time=0.1, timestep=2.0, interval=20, thermo_interval=25, extxyz=True
    )
    frames = summary.frames()
    table = summary.thermo()
    text = ase.io.read(tmp_path / "trajectory.extxyz", ":")
    assert [frame.info["step"] for frame in frames] == [0, 20, 40]
    assert frames[1].info["time_ps"] == pytest.approx(0.04)
    assert table["step"].tolist() == [0, 25, 50]
    assert table["total_eV"][0] == pytest.approx(frames[0].get_total_energy(), rel=1e-10)
    assert frames[0].get_stress().shape == (6,)
    assert [len(text), text[2].info["step"]] == [3, 40]
    assert np.abs(text[1].get_forces() - frames[1].get_forces()).max() < 1e-7
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "final.extxyz",
        "settings.toml",
        "state.npz",
        "thermo.csv",
        "trajectory.extxyz",
        "trajectory.traj",
    ]


def test_text_trajectories_of_structures_with_old_labels_and_texts_of_several_lines(tmp_path):
    atoms = copper()
    atoms.info.update({"energy": 1.0, "stress": np.ones(6), "note": "two\nlines", "Lattice": 1})
    atoms.arrays["forces"] = np.ones((len(atoms), 3))
    with pytest.warns(UserWarning, match="left out of extxyz, .*: 'note', 'Lattice'"):
        summary = run(atoms, tmp_path, time=0.05, interval=5, extxyz=True)
    for frames in (summary.frames(), ase.io.read(tmp_path / "trajectory.extxyz", ":")):
        assert "energy" not in frames[0].info
        frame = frames[0].copy()
        frame.calc = EMT()
        assert frames[0].get_potential_energy() == pytest.approx(frame.get_potential_energy())
        assert np.abs(frames[1].get_forces()).max() < 0.9


def test_settings_describe_the_run(tmp_path):
    run(copper(), tmp_path, time=0.01, seed=7)
    content = tomllib.loads((tmp_path / "settings.toml").read_text())
    assert content["settings"]["seed"] == 7
    assert content["structure"]["formula"] == "Cu4"
    assert content["calculator"]["class"] == "ase.calculators.emt.EMT"


def test_a_molecule_has_no_pressure(tmp_path):
    summary = run(argon(), tmp_path, time=0.05, temperature=5)
    assert not {"pressure_GPa", "volume_A3"} & summary.thermo().keys()
    assert summary.plot().exists()


class NoStress(EMT):
    """EMT whose stress raises an error."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def get_property(self, name, atoms=None, allow_calculation=True):
        if name == "stress":
            raise self.error
        return super().get_property(name, atoms, allow_calculation)


def test_a_calculator_without_stress_has_no_pressure(tmp_path):
    atoms = copper()
    atoms.calc = NoStress(PropertyNotImplementedError("stress property not implemented"))
    summary = run(atoms, tmp_path, time=0.01)
    assert not {"pressure_GPa", "volume_A3"} & summary.thermo().keys()


@pytest.mark.parametrize("kind", [NotImplementedError, RuntimeError])
def test_other_errors_of_the_stress_are_one_line(kind, tmp_path):
    atoms = copper()
    atoms.calc = NoStress(kind("no stress on this device: use the CPU"))
    line = f"{kind.__name__}: no stress on this device: use the CPU"
    with pytest.warns(UserWarning, match=f"no pressure: the stress cannot be computed, {line}"):
        summary = run(atoms, tmp_path / "run", time=0.01)
    assert "pressure_GPa" not in summary.thermo()
    with pytest.raises(ValueError, match=f"`ensemble` 'npt' needs the stress, .*: {line}"):
        run(atoms, tmp_path / "npt", time=0.01, ensemble="npt")


@pytest.mark.pictures
def test_picture_and_summary(tmp_path):
    result = run(copper(2), tmp_path, time=2.0, thermo_interval=2, start_temperature=120)
    assert result.plot() == tmp_path / "thermo.png"
    assert result.plot().stat().st_size > 10000
    summary = result.summary()
    names = ("temperature_K", "pressure_GPa", "volume_A3", "potential_eV")
    assert {f"mean_{name}" for name in names} < summary.keys()
    assert summary["error_temperature_K"] > 0
    assert 10 <= summary["samples_temperature_K"] <= 201
    assert summary["inefficiency_temperature_K"] >= 1
    assert 0 <= summary["equilibrated_from_ps"] < 1
    # the volume of nve is constant: it has no error bar
    assert summary["notes"]["volume_A3"] == "constant"
    assert "error_volume_A3" not in summary
    assert {"drift_meV_per_atom_per_ps", "error_drift", "rms_meV_per_atom"} < summary.keys()
    assert result.ns_per_day > 0


def heated(rows=400):
    """Table of a run whose temperature rises, with a constant volume."""
    time = np.arange(rows) / 100
    noise = np.random.default_rng(0).normal(size=(3, rows))
    return {
        "step": 10 * np.arange(rows),
        "time_ps": time,
        "temperature_K": 300 + 50 * time + noise[0],
        "volume_A3": np.full(rows, 47.2),
        "potential_eV": 1 + time + noise[1],
        "pressure_GPa": noise[2],
    }


def test_nothing_has_an_error_bar_before_it_is_equilibrated():
    summary = md.summary(heated(), 4)
    drifting = "not equilibrated: still drifting"
    assert summary["notes"] == {
        "temperature_K": drifting,
        "pressure_GPa": drifting,  # the structure still changes
        "volume_A3": "constant",
        "potential_eV": drifting,
    }
    assert not [name for name in summary if name.startswith(("error_", "samples_"))]
    rows = {quantity: value for quantity, value, _ in md.thermo.described(summary)}
    assert rows["mean temperature"] == drifting
    assert rows["mean volume"] == "47.2 (constant)"
    assert "±" not in "".join(rows.values())


def test_short_tables_have_no_means():
    assert md.summary({name: values[:19] for name, values in heated().items()}, 4) == {}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"ensemble": "nvt", "temperature": 300, "time": 2}, [300, 300, 300]),
        ({"ensemble": "nvt", "temperature": [300, 500], "time": 2}, [300, 400, 500]),
        (
            {"ensemble": "npt", "temperature": [300, 500], "ramp_time": 1, "time": 2},
            [300, 500, 500],
        ),
    ],
)
def test_target_lines(settings, expected):
    time = np.array([0.0, 1.0, 2.0])
    assert md.plots.targets(settings, "temperature_K", time).tolist() == expected
    assert md.plots.targets({"ensemble": "nve"} | settings, "volume_A3", time) is None


def test_titles_name_system_ensemble_and_calculator(tmp_path):
    run(copper(), tmp_path, time=0.01, ensemble="npt", pressure=1.5)
    assert md.plots.title(tmp_path) == "Cu4, NPT (isotropic) 60 K, 1.5 GPa, EMT"
    assert md.plots.short_formula("OH2" * 20) == "H40O20"
    model = {"class": "ase_pet.calculator.PETCalculator", "parameters": {"model": "'a/b.ckpt'"}}
    assert md.plots.calculator_name(model) == "PETCalculator b.ckpt"


def test_picture_without_matplotlib(tmp_path, monkeypatch):
    summary = run(copper(), tmp_path, time=0.01)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(
        ValueError, match=r"the plot needs matplotlib.*pip install '\.\[train\]' in a clone"
    ):
        summary.plot()


def test_steps_are_reported(tmp_path):
    seen = []
    run(springs.cube(), tmp_path, time=0.05, on_step=lambda *values: seen.append(values))
    assert [step for step, _ in seen] == list(range(1, 11))
    assert seen[-1][1] > 0


# Unstable runs


class Fails(springs.Springs):
    """Springs with a failure from the seventh call on."""

    calls = 0

    def __init__(self, atoms, failure):
        super().__init__(atoms)
        self.failure = failure

    def __call__(self, atoms):
        self.calls += 1
        actual = super().__call__(atoms)
        return actual if self.calls < 7 else self.failure(actual)


def raising(error):
    def fail(actual):
        raise error

    return fail


def failing(failure):
    return springs.cube(lambda atoms: Fails(atoms, failure))


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        (
            lambda results: results | {"forces": np.full((8, 3), 80.0)},
            r"force of 138.564 eV/A, above the limit 100",
        ),
        (
            lambda results: results | {"forces": np.full((8, 3), np.nan)},
            r"step \d: forces\[0\]\[0\] is nan",
        ),
        (lambda results: results | {"energy": np.nan}, r"step \d: the energy is nan"),
        (
            raising(ValueError("atoms 3 and 5 are too close")),
            r"step \d: atoms 3 and 5 are too close",
        ),
    ],
)
def test_an_unstable_run_ends_and_keeps_the_last_good_structure(failure, message, tmp_path):
    with pytest.raises(md.UnstableRun, match=message) as raised:
        run(failing(failure), tmp_path, interval=2, checkpoint=100)
    good = ase.io.read(tmp_path / "last_good.traj")
    assert f"The structure after step {good.info['step']} is in {tmp_path}" in str(raised.value)
    assert good.info["step"] >= 4
    frames = ase.io.read(tmp_path / "trajectory.traj", ":")
    assert all(np.isfinite(frame.get_forces()).all() for frame in frames)


def test_a_run_that_is_too_hot_is_unstable(tmp_path):
    with pytest.raises(md.UnstableRun, match="temperature of .* K, above the limit 90"):
        run(
            springs.cube(),
            tmp_path,
            ensemble="nvt",
            temperature=300,
            start_temperature=1,
            max_temperature=90,
        )


def test_other_errors_of_a_calculator_pass_through(tmp_path):
    with pytest.raises(RuntimeError, match="no such kernel") as raised:
        run(failing(raising(RuntimeError("no such kernel"))), tmp_path)
    assert "The structure after step 4 is in" in raised.value.__notes__[0]
    assert (tmp_path / "last_good.traj").exists()


def test_a_structure_that_is_refused_writes_no_files(tmp_path):
    atoms = argon()
    atoms.positions[1] = atoms.positions[0] + [0.8, 0, 0]
    with pytest.raises(md.UnstableRun, match="step 0: force of"):
        run(atoms, tmp_path)
    assert list(tmp_path.iterdir()) == []


# Bad input


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"ensemble": "nph"}, "`ensemble` is 'nph': valid choices are nve, nvt, npt"),
        (
            {"thermostat": "andersen"},
            "`thermostat` is 'andersen': valid choices are langevin, bussi, nose-hoover",
        ),
        ({"barostat": "shape"}, "`barostat` is 'shape': valid choices are isotropic, full"),
        ({"momenta": "none"}, "`momenta` is 'none': valid choices are draw, keep"),
        ({"timestep": 0}, "`timestep` is 0: expected a number above 0"),
        ({"timestep": 1e-308}, "`timestep` is 1e-308: expected a number above 0 in fs, from 1e-6"),
        ({"time": 1e300}, r"expected a number above 0, at most 1e\+09, in ps"),
        ({"equilibrate": 1e308}, r"expected a length in ps, 0 or more, at most 1e\+09"),
        ({"thermostat_time": 1e-308}, "expected a number above 0 in fs, from 1e-6 to 1e12"),
        ({"interval": 2**63}, r"expected a whole number, 1 or more, less than 2\^63"),
        ({"multiple": 2**62}, r"expected steps of 1e\+09 ps at most"),
        ({"pressure": 1e308}, "expected a number in GPa, of 1e6 at most"),
        ({"time": float("nan")}, "`time` is nan: expected a number above 0"),
        ({"time": 1e-4}, "`time` is 0.0001: expected at least one step of 5 fs"),
        ({"interval": 0}, "`interval` is 0: expected a whole number, 1 or more"),
        ({"multiple": 0}, r"`multiple` \(`inner_steps`\) is 0: expected a whole number, 1 or more"),
        ({"multiple": 2, "ensemble": "nvt"}, "`multiple` is 2: above 1 it needs a calculator"),
        ({"multiple": 2}, "`multiple` is 2: above 1 it needs a calculator `fast`"),
        ({"temperature": 0, "ensemble": "nvt"}, "`temperature` is 0: expected K, above 0"),
        ({"start_temperature": -1}, "`start_temperature` is -1: expected K, 0 or more, or None"),
        ({"seed": -1}, "`seed` is -1: expected a whole number"),
        ({"pressure": "high"}, "`pressure` is 'high': expected a number in GPa"),
        (
            {"ensemble": "nvt", "thermostat": "bussi", "start_temperature": 0},
            "'bussi' scales velocities, and all are zero",
        ),
        (
            {"friction": 1},
            "`friction` is not a setting: valid choices are ensemble, temperature, time,",
        ),
    ],
)
def test_bad_settings_are_named(values, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        run(springs.cube(), tmp_path / "run", **values)


def test_each_setting_has_a_help_text_and_a_heading():
    fields = dataclasses.fields(md.Settings)
    assert all(field.metadata["help"] for field in fields)
    headings = {"Run", "Thermostat and barostat", "Files", "Limits"}
    assert {field.metadata["panel"] for field in fields} == headings
    choices = {field.name: field.metadata["choices"] for field in fields}
    assert choices["ensemble"] == ("nve", "nvt", "npt")
    assert choices["time"] is None
    units = {field.name: field.metadata["unit"] for field in fields}
    assert (units["time"], units["pressure"], units["seed"]) == ("ps", "GPa", None)


def test_names_of_the_first_version_still_work():
    assert md.Exploded is md.UnstableRun
    assert md.freedoms is md.degrees_of_freedom


def test_structures_that_do_not_fit_are_named(tmp_path):
    with pytest.raises(
        ValueError, match=r"`ensemble` 'npt' needs a cell .* got pbc \[False, False, False\]"
    ):
        run(argon(), tmp_path, ensemble="npt")
    atoms = copper()
    atoms.set_constraint(FixAtoms([0]))
    with pytest.raises(
        ValueError, match=r"`ensemble` 'npt' does not support constraints \(FixAtoms\)"
    ):
        run(atoms, tmp_path, ensemble="npt")
    with pytest.raises(ValueError, match="`atoms` have no calculator"):
        run(springs.copper(), tmp_path)
    atoms = copper()
    del atoms[:]
    with pytest.raises(ValueError, match="`atoms` is empty"):
        run(atoms, tmp_path)


def test_a_full_disk_is_found_before_the_run(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=12345))
    with pytest.raises(
        OSError,
        match=rf"`output` {tmp_path}: the run will write about \d+ bytes, and 12345 bytes are free",
    ):
        run(copper(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_estimated_disk_space_is_about_that_of_a_run(tmp_path):
    atoms = copper(2)
    values = {"time": 0.1, "interval": 1, "thermo_interval": 1, "extxyz": True}
    run(atoms, tmp_path, **values)
    written = sum(path.stat().st_size for path in tmp_path.iterdir())
    settings = md.Settings(timestep=5.0, **values)
    assert 0.9 * written < md.outputs.space(atoms, settings, settings.steps) < 2 * written


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(
        OSError, match=f"`output` {tmp_path}/file/run cannot be written: Not a directory"
    ):
        run(copper(), tmp_path / "file" / "run")


def test_a_run_is_not_overwritten(tmp_path):
    run(springs.cube(), tmp_path, time=0.01)
    before = (tmp_path / "thermo.csv").read_bytes()
    with pytest.raises(
        FileExistsError, match=r"holds a run \(settings.toml, .*\): continue it with restart=True"
    ):
        run(springs.cube(), tmp_path, time=0.01)
    assert (tmp_path / "thermo.csv").read_bytes() == before


def test_a_folder_belongs_to_one_process(tmp_path):
    run(springs.cube(), tmp_path, time=0.01)
    with open(tmp_path / "thermo.csv", "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(BlockingIOError, match="belongs to a run that is going on"):
            run(springs.cube(), tmp_path, time=0.02, restart=True)


def test_a_calculator_of_a_run_is_refused_to_a_run_of_another_thread(tmp_path):
    atoms = copper()
    other = copper()
    other.calc = atoms.calc
    errors = []

    def second():
        try:
            run(other, tmp_path / "second", time=0.05)
        except ValueError as error:
            errors.append(str(error))

    def on_step(step, temperature):
        if step == 1:
            thread = threading.Thread(target=second)
            thread.start()
            thread.join()

    run(atoms, tmp_path / "first", time=0.05, on_step=on_step)
    assert len(errors) == 1
    assert "is used by a run in another thread" in errors[0]
    second()  # one after the other
    assert (tmp_path / "second" / "thermo.csv").exists()


def test_inner_steps_are_called_as_users_call_them(tmp_path):
    with pytest.raises(ValueError, match=r"`multiple` \(`inner_steps`\) is 0: expected a whole"):
        run(copper(), tmp_path, inner_steps=0)
