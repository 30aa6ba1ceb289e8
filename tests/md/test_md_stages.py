"""Temperature ramps, equilibration, the last structure, and what may change at a restart."""

import contextlib

import ase.io
import numpy as np
import pytest
from ase.calculators.emt import EMT

import springs
from ase_pet import md

FILES = ("trajectory.traj", "thermo.csv", "state.npz", "final.extxyz")


class Kill(BaseException):
    """Simulated kill of the process."""


def kill_at(step):
    def kill(now, temperature):
        if now == step:
            raise Kill

    return kill


def copper():
    atoms = springs.copper()
    atoms.calc = EMT()
    return atoms


def run(folder, make=springs.cube, **values):
    defaults = {"timestep": 5.0, "time": 0.15, "interval": 3, "thermo_interval": 2, "checkpoint": 7}
    return md.run(make(), folder, **defaults | values)


def contents(folder):
    return {name: (folder / name).read_bytes() for name in FILES}


KINDS = {
    "ramp with langevin": (springs.cube, {"ensemble": "nvt", "temperature": "100:400:100"}),
    "ramp with bussi": (
        springs.cube,
        {"ensemble": "nvt", "thermostat": "bussi", "temperature": (100, 400), "ramp_time": 0.1},
    ),
    "ramp with nose-hoover": (
        springs.cube,
        {"ensemble": "nvt", "thermostat": "nose-hoover", "temperature": "100:400"},
    ),
    "ramp in npt": (copper, {"ensemble": "npt", "temperature": "100:300"}),
    "equilibrated nve": (springs.cube, {"equilibrate": 0.1}),
    "equilibrated npt": (copper, {"ensemble": "npt", "equilibrate": 0.1}),
    "equilibrated ramp": (
        springs.cube,
        {"ensemble": "nvt", "temperature": "100:300", "equilibrate": 0.1},
    ),
}


@pytest.mark.parametrize("kind", list(KINDS))
def test_stages_continue_bit_exactly(kind, tmp_path):
    make, values = KINDS[kind]
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    run(whole, make, **values)
    for step in (-5, 5, 20):  # steps of an equilibration are negative
        with contextlib.suppress(Kill):
            run(stopped, make, restart=True, on_step=kill_at(step), **values)
    run(stopped, make, restart=True, **values)
    assert contents(stopped) == contents(whole)


@pytest.mark.parametrize("kind", ["ramp with bussi", "ramp in npt", "equilibrated nve"])
def test_a_longer_run_is_that_without_an_end(kind, tmp_path):
    make, values = KINDS[kind]
    values = {"ramp_time": 0.1} | values if "ramp" in kind else values
    whole, longer = tmp_path / "whole", tmp_path / "longer"
    run(whole, make, time=0.2, **values)
    run(longer, make, time=0.115, **values)  # 23 steps, no multiple of `checkpoint`
    result = run(longer, make, time=0.2, restart=True, **values)
    assert result.steps == 40
    assert contents(longer) == contents(whole)


def test_a_ramp_reaches_its_temperatures(tmp_path):
    result = run(
        tmp_path,
        ensemble="nvt",
        thermostat="langevin",
        thermostat_time=50,
        temperature="100:900",
        ramp_time=4.0,
        time=6.0,
        interval=400,
        checkpoint=400,
    )
    table = result.thermo()
    assert table["target_K"][[0, 200, -1]].tolist() == [100, 500, 900]
    parts = result.ramp_parts()
    assert [(part["from_K"], part["to_K"]) for part in parts] == [(100, 900), (900, 900)]
    assert parts[0]["mean_temperature_K"] == pytest.approx(500, abs=80)
    assert parts[1]["mean_temperature_K"] == pytest.approx(900, abs=150)
    assert "mean_temperature_K" not in result.summary()


def test_chains_on_a_ramp_have_no_conserved_energy(tmp_path):
    values = {"ensemble": "nvt", "temperature": "100:200", "time": 0.05}
    assert "conserved_eV" not in run(tmp_path / "a", thermostat="nose-hoover", **values).thermo()
    table = run(tmp_path / "b", thermostat="bussi", **values).thermo()
    assert table["conserved_eV"].std() < 0.1 * table["total_eV"].std()


def test_an_equilibration_is_apart_from_the_run(tmp_path):
    steps = []
    result = run(
        tmp_path, equilibrate=0.1, on_step=lambda step, temperature: steps.append(step), time=0.1
    )
    assert steps == [*range(-19, 1), *range(1, 21)]
    assert result.thermo()["time_ps"][[0, -1]].tolist() == [0, 0.1]
    before = md.read(tmp_path / "equilibration")
    assert before["time_ps"][-1] == pytest.approx(0.1)
    assert "conserved_eV" not in before  # langevin
    first = result.frames()[0]
    last = ase.io.read(tmp_path / "equilibration" / "final.extxyz")
    assert np.abs(first.positions - last.positions).max() < 1e-7
    # the thermostat has moved the whole structure, and the run does not
    assert np.abs(first.get_momenta().sum(axis=0)).max() < 1e-12
    assert np.abs(last.get_momenta().sum(axis=0)).max() > 1e-3


def test_the_last_structure_is_written(tmp_path):
    result = run(tmp_path, copper, time=0.055, interval=50)
    last = ase.io.read(tmp_path / "final.extxyz")
    assert (result.steps, last.info["step"]) == (11, 11)
    assert last.get_stress().shape == (6,)
    assert last.get_potential_energy() == pytest.approx(
        result.thermo()["potential_eV"][-1], abs=0.1
    )


def test_outputs_and_limits_may_change(tmp_path):
    run(tmp_path, time=0.07)
    values = {"interval": 1, "thermo_interval": 1, "extxyz": True, "max_force": 50.0}
    text = (
        r"from step 14: `interval` changes from 3 to 1; `thermo_.* from 2 to 1; trajectory.extxyz"
    )
    with pytest.warns(UserWarning, match=f"{text} begins there, unlike trajectory.traj"):
        result = run(tmp_path, time=0.14, restart=True, **values)
    assert [frame.info["step"] for frame in result.frames()] == [0, 3, 6, 9, 12, *range(15, 29)]
    assert len(ase.io.read(tmp_path / "trajectory.extxyz", ":")) == 14
    assert result.thermo()["step"].tolist() == [*range(0, 15, 2), *range(15, 29)]
    # a run that has ended writes nothing, so nothing changes
    run(tmp_path, time=0.14, restart=True, **values | {"interval": 5})
    del values["extxyz"]
    with pytest.warns(UserWarning, match="from step 28: trajectory.extxyz ends there"):
        run(tmp_path, time=0.15, restart=True, **values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"temperature": "hot"}, "`temperature` is 'hot': expected K"),
        (
            {"temperature": "300:", "ensemble": "nvt"},
            "`temperature` is '300:': expected K, above 0, or a ramp such as 300:1200",
        ),
        ({"temperature": "300:600"}, r"\(300.0, 600.0\): .* ramps need `ensemble` nvt or npt"),
        ({"temperature": (300, -1), "ensemble": "nvt"}, r"is \(300, -1\): expected K, above 0"),
        ({"temperature": float("nan"), "ensemble": "nvt"}, "`temperature` is nan: expected K"),
        ({"ramp_time": 1.0}, "`ramp_time` is 1.0, but `temperature` 300.0 is no ramp"),
        ({"ramp_time": 0.0}, "`ramp_time` is 0.0: expected a number above 0, or None"),
        ({"equilibrate": -1.0}, "`equilibrate` is -1.0: expected a length in ps, 0 or more"),
        ({"equilibrate": 1e-5}, "`equilibrate` is 1e-05: expected 0, or at least one step of 5 fs"),
        ({"resolve": 0}, "`resolve` is 0: expected a number above 0, or None"),
    ],
)
def test_bad_stages_are_named(values, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        run(tmp_path / "run", **values)


def test_frames_too_far_apart_for_a_spectrum_are_noted(tmp_path):
    with pytest.warns(
        UserWarning, match=r"`interval` 3 is too long for vibrations of 50 THz.*10 fs"
    ):
        run(tmp_path, resolve=50.0, time=0.01)


def test_momenta_that_are_kept_must_exist(tmp_path):
    with pytest.raises(ValueError, match="`momenta` is 'keep', but the structure has no momenta"):
        run(tmp_path, momenta="keep")
    atoms = springs.cube()
    atoms.arrays["velo"] = 0.01 * atoms.positions
    with pytest.raises(ValueError, match="no momenta: it has `velo`, whose unit is not known"):
        run(tmp_path, lambda: atoms, momenta="keep")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"thermostat": "langevin"}, "`thermostat` needs `ensemble` nvt, not nve"),
        ({"thermostat_time": 50}, "`thermostat_time` needs `ensemble` nvt or npt, not nve"),
        ({"pressure": 1, "ensemble": "nvt"}, "`pressure` needs `ensemble` npt, not nvt"),
        ({"barostat": "full", "barostat_time": 9}, "`barostat` needs .*`barostat_time` needs"),
        ({"thermostat": "bussi", "ensemble": "npt"}, "`thermostat` needs `ensemble` nvt, not npt"),
        ({"momenta": "keep", "start_temperature": 9}, "`start_temperature` needs `momenta` draw"),
    ],
)
def test_settings_that_the_run_would_ignore_are_refused(values, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        run(tmp_path / "run", **values)
    assert not (tmp_path / "run").exists()


def test_settings_of_an_equilibration_or_of_a_whole_table_are_no_fault(tmp_path):
    first = run(tmp_path / "one", equilibrate=0.05, thermostat="bussi", thermostat_time=50)
    # a script may repeat all settings of another run, and a restart those of its own
    values = first.settings.as_dict() | {"equilibrate": 0.0}
    run(tmp_path / "two", **values)
    assert run(tmp_path / "two", restart=True, **values | {"time": 0.2}).steps == 40
