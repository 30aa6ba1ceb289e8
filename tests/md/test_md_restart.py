"""An interrupted and continued run writes the same bytes as an uninterrupted one."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.calculators.mixing import SumCalculator
from ase.constraints import FixAtoms

import laws
import springs
import toys
from ase_pet import PETCalculator, md
from paths import ROOT, TESTS

FILES = ("trajectory.traj", "trajectory.extxyz", "thermo.csv", "state.npz")
STEPS = 30


class Kill(BaseException):
    """Simulated kill of the process, which no handler may catch."""


def crystal():
    """Argon, hot enough for its neighbour list to be rebuilt during a run."""
    atoms = laws.crystal()
    atoms.calc = laws.lennard_jones()
    return atoms


def with_fixed_atoms():
    atoms = springs.cube()
    atoms.set_constraint(FixAtoms([0, 5]))
    return atoms


def with_a_sum():
    atoms = crystal()
    atoms.calc = SumCalculator([laws.lennard_jones(), laws.lennard_jones()])
    return atoms


def pet():
    atoms = toys.silicon()
    atoms.calc = PETCalculator(toys.tiny_pet("local"), dtype="float32", skin=0.3)
    return atoms


def symmetrised():
    atoms = toys.silicon()
    atoms.calc = PETCalculator(toys.tiny_pet("local"), symmetrise="group:O:proper", skin=0.3)
    return atoms


def run(make, folder, **values):
    values = {
        "timestep": 5.0,
        "time": 0.005 * STEPS,
        "temperature": 300,
        "interval": 3,
        "thermo_interval": 2,
        "checkpoint": 7,
        "extxyz": True,
        "max_temperature": 1e6,
    } | values
    return md.run(make(), folder, **values)


def contents(folder):
    return {name: (folder / name).read_bytes() for name in FILES}


def killed_at(step):
    def kill(now, temperature):
        if now == step:
            raise Kill

    return kill


KINDS = {
    "nve": (crystal, {}),
    "langevin": (crystal, {"ensemble": "nvt"}),
    "bussi": (crystal, {"ensemble": "nvt", "thermostat": "bussi"}),
    "nose-hoover": (crystal, {"ensemble": "nvt", "thermostat": "nose-hoover"}),
    "npt isotropic": (crystal, {"ensemble": "npt", "pressure": 0.1}),
    "npt full": (crystal, {"ensemble": "npt", "barostat": "full"}),
    "multiple": (springs.cube, {"multiple": 3, "timestep": 5 / 3}),
    "inner langevin": (springs.cube, {"ensemble": "nvt", "multiple": 3, "timestep": 5 / 3}),
    "inner npt": (crystal, {"ensemble": "npt", "multiple": 3, "timestep": 5 / 3}),
    "inner constraints": (
        with_fixed_atoms,
        {"ensemble": "nvt", "thermostat": "bussi", "multiple": 3, "timestep": 5 / 3},
    ),
    "inner plain": (
        symmetrised,
        {"inner": "plain", "inner_steps": 2, "timestep": 0.5, "time": 0.001 * STEPS},
    ),
    "constraints": (with_fixed_atoms, {"ensemble": "nvt"}),
    "sum": (with_a_sum, {}),
    "PET": (pet, {"ensemble": "nvt", "timestep": 1.0, "time": 0.001 * STEPS}),
}


# cheap forces
FAST = {
    "multiple": lambda: springs.cube(springs.Whirl).calc,
    "inner langevin": lambda: springs.cube().calc,
    "inner npt": laws.lennard_jones,
    "inner constraints": lambda: springs.cube(springs.Whirl).calc,
}


def options(kind):
    make, values = KINDS[kind]
    return values | ({"fast": FAST[kind]()} if kind in FAST else {})


@pytest.mark.filterwarnings("ignore:inner steps")  # of random weights, which are not invariant
@pytest.mark.parametrize("kind", list(KINDS))
def test_a_run_that_is_killed_twice_is_the_same(kind, tmp_path):
    make = KINDS[kind][0]
    uninterrupted = tmp_path / "uninterrupted"
    stopped = tmp_path / "stopped"
    run(make, uninterrupted, **options(kind))
    for step in (5, 20):
        with pytest.raises(Kill):
            run(make, stopped, restart=True, on_step=killed_at(step), **options(kind))
    summary = run(make, stopped, restart=True, **options(kind))
    assert (summary.steps, summary.steps_now) == (STEPS, STEPS - 14)
    assert contents(stopped) == contents(uninterrupted)


def kill_before(monkeypatch, name, call):
    """Make the n-th call of a function of `os` end the process."""
    real = getattr(os, name)
    calls = []

    def killing(*arguments):
        calls.append(arguments)
        if len(calls) == call:
            raise Kill
        return real(*arguments)

    monkeypatch.setattr(os, name, killing)


@pytest.mark.parametrize("call", range(1, 12))
@pytest.mark.parametrize("name", ["fsync", "replace"])
def test_a_kill_while_a_state_is_written_loses_nothing(name, call, tmp_path, monkeypatch):
    uninterrupted = tmp_path / "uninterrupted"
    stopped = tmp_path / "stopped"
    run(springs.cube, uninterrupted, ensemble="nvt")
    with monkeypatch.context() as patch:
        kill_before(patch, name, call)
        with contextlib.suppress(Kill):
            run(springs.cube, stopped, ensemble="nvt")
    run(springs.cube, stopped, ensemble="nvt", restart=True)
    assert contents(stopped) == contents(uninterrupted)


def test_what_was_written_after_the_state_is_cut_off(tmp_path):
    run(crystal, tmp_path / "uninterrupted")
    with pytest.raises(Kill):
        run(crystal, tmp_path / "stopped", on_step=killed_at(20))
    for name in FILES[:3]:
        with open(tmp_path / "stopped" / name, "ab") as file:
            file.write(b"half a fra")
    run(crystal, tmp_path / "stopped", restart=True)
    assert contents(tmp_path / "stopped") == contents(tmp_path / "uninterrupted")


@pytest.mark.parametrize("frames", [41, 42, 43, 44])
def test_a_trajectory_may_be_cut_where_its_table_of_frames_grows(frames, tmp_path):
    values = {
        "interval": 1,
        "checkpoint": frames - 1,
        "time": 0.25,
    }  # 42 frames fill the first table of the format
    run(springs.cube, tmp_path / "uninterrupted", **values)
    with pytest.raises(Kill):
        run(springs.cube, tmp_path / "stopped", on_step=killed_at(frames + 4), **values)
    run(springs.cube, tmp_path / "stopped", restart=True, **values)
    assert contents(tmp_path / "stopped") == contents(tmp_path / "uninterrupted")
    assert len(ase.io.read(tmp_path / "stopped" / "trajectory.traj", ":")) == 51


WORKER = """
import os, signal, sys
import test_md_restart as tests
def kill(step, temperature):
    if step == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
tests.run(tests.crystal, tests.Path(sys.argv[1]), ensemble="nvt", restart=True, on_step=kill)
"""


def test_a_process_that_gets_sigkill_is_continued_by_another(tmp_path):
    run(crystal, tmp_path / "uninterrupted", ensemble="nvt")
    for step in (4, 24):
        done = subprocess.run(
            [sys.executable, "-c", WORKER, str(tmp_path / "stopped"), str(step)],
            cwd=Path(__file__).parent,
            env=os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS), str(ROOT)])},
        )
        assert done.returncode == -signal.SIGKILL
    run(crystal, tmp_path / "stopped", ensemble="nvt", restart=True)
    assert contents(tmp_path / "stopped") == contents(tmp_path / "uninterrupted")


def test_a_run_on_a_full_disk_can_be_resumed(tmp_path, monkeypatch):
    run(springs.cube, tmp_path / "uninterrupted")
    with monkeypatch.context() as patch:
        patch.setattr(md.run.__globals__["states"], "write", full_after(2))
        with pytest.raises(OSError, match="No space left on device"):
            run(springs.cube, tmp_path / "stopped")
    run(springs.cube, tmp_path / "stopped", restart=True)
    assert contents(tmp_path / "stopped") == contents(tmp_path / "uninterrupted")


def full_after(calls):
    real = md.run.__globals__["states"].write
    done = []

    def write(*arguments):
        done.append(arguments)
        if len(done) > calls:
            raise OSError(28, "No space left on device")
        real(*arguments)

    return write


def test_a_longer_run_continues_a_shorter_one(tmp_path):
    run(crystal, tmp_path / "long", ensemble="nvt", time=0.21)
    run(
        crystal, tmp_path / "short", ensemble="nvt", time=0.14
    )  # a multiple of the steps between states
    assert run(crystal, tmp_path / "short", ensemble="nvt", time=0.21, restart=True).steps_now == 14
    assert contents(tmp_path / "short") == contents(tmp_path / "long")


def test_a_run_that_has_ended_has_nothing_left_to_do(tmp_path):
    run(crystal, tmp_path)
    before = contents(tmp_path)
    summary = run(crystal, tmp_path, restart=True)
    assert (summary.steps, summary.steps_now, summary.ns_per_day) == (STEPS, 0, None)
    assert contents(tmp_path) == before


def test_an_unstable_run_can_be_continued_to_the_same_error(tmp_path):
    values = {
        "ensemble": "nvt",
        "start_temperature": 1,
        "thermostat_time": 2000,
        "max_temperature": 60,
        "time": 1.0,
    }
    messages = []
    good = []
    for restart in (False, True):
        with pytest.raises(
            md.UnstableRun, match=r"step \d+: temperature of 6\d.* K, above the limit 60"
        ) as raised:
            run(springs.cube, tmp_path, restart=restart, **values)
        messages.append(str(raised.value))
        good.append((tmp_path / "last_good.traj").read_bytes())
    assert (
        md.state.read(tmp_path)[0]["dynamics nsteps"] >= 7
    )  # the run was continued from this state
    assert messages[0] == messages[1]
    assert good[0] == good[1]


def test_pet_after_reset_equals_a_new_calculator():
    used = pet()
    steps = np.random.default_rng(0)
    used.get_forces()
    for _ in range(5):
        used.positions += steps.normal(scale=0.03, size=used.positions.shape)
        used.get_forces()
    fresh = pet()
    fresh.positions = used.positions
    used.calc.reset()
    assert np.array_equal(used.get_forces(), fresh.get_forces())
    assert used.get_potential_energy() == fresh.get_potential_energy()


# What cannot be continued


def stopped(folder, **values):
    with pytest.raises(Kill):
        run(crystal, folder, on_step=killed_at(20), **values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"timestep": 2.0}, "`timestep` is 2.0, but the run in .* has 5.0: only `time` may change"),
        ({"seed": 3}, "`seed` is 3, but the run in .* has 0"),
        ({"start_temperature": 100}, "`start_temperature` is 100, but the run in .* has None"),
    ],
)
def test_other_settings_are_refused(values, message, tmp_path):
    stopped(tmp_path)
    with pytest.raises(ValueError, match=message):
        run(crystal, tmp_path, restart=True, **values)


def test_another_structure_is_refused(tmp_path):
    stopped(tmp_path)
    atoms = crystal()
    atoms.symbols[0] = "Kr"
    with pytest.raises(
        ValueError, match="the structure has other numbers than the run to be continued"
    ):
        run(lambda: atoms, tmp_path, restart=True)


def test_another_calculator_is_refused(tmp_path):
    stopped(tmp_path)
    for make, message in (
        (
            lambda: springs.Held(springs.Springs(laws.crystal())),
            "`calculator` is 'springs.Held', but",
        ),
        (
            lambda: LennardJones(sigma=3.3, epsilon=0.0104, rc=7.5, ro=5.0, smooth=True),
            "`sigma` of the calculator is '3.3', but .* has '3.4'",
        ),
    ):

        def other(make=make):
            atoms = laws.crystal()
            atoms.calc = make()
            return atoms

        with pytest.raises(ValueError, match=message):
            run(other, tmp_path, restart=True)


def test_other_cheap_forces_are_refused(tmp_path):
    values = {"multiple": 3, "timestep": 5 / 3}
    run(springs.cube, tmp_path, fast=springs.cube().calc, **values)
    with pytest.raises(
        ValueError, match="`fast` is 'ase.calculators.emt.EMT', but .* has 'springs.Held'"
    ):
        run(springs.cube, tmp_path, fast=EMT(), restart=True, **values)


def test_a_run_that_lost_its_state_is_not_overwritten(tmp_path):
    stopped(tmp_path)
    (tmp_path / "state.npz").unlink()
    before = (tmp_path / "thermo.csv").read_bytes()
    with pytest.raises(ValueError, match=r"holds a run whose state.npz is missing"):
        run(crystal, tmp_path, restart=True)
    assert (tmp_path / "thermo.csv").read_bytes() == before


def test_a_folder_records_how_its_run_began(tmp_path):
    run(with_fixed_atoms, tmp_path, ensemble="nvt")
    beginning = md.folders.beginning(tmp_path)
    begun = with_fixed_atoms()
    assert (beginning.info, beginning.calc) == ({}, None)
    assert np.array_equal(beginning.positions, begun.positions)
    assert np.array_equal(beginning.constraints[0].index, [0, 5])
    with pytest.raises(ValueError, match=r"holds no run to be continued \(state.npz is missing\)"):
        md.folders.beginning(tmp_path / "nowhere")


def test_a_file_that_was_removed_is_named(tmp_path):
    stopped(tmp_path)
    (tmp_path / "trajectory.traj").unlink()
    with pytest.raises(
        OSError, match=r"trajectory.traj` has 0 bytes, and had \d+ at the state to be continued"
    ):
        run(crystal, tmp_path, restart=True)


def test_a_state_that_cannot_be_read_is_named(tmp_path):
    stopped(tmp_path)
    (tmp_path / "state.npz").write_bytes(b"PK not")
    with pytest.raises(ValueError, match=r"state.npz` cannot be read as the state of a run"):
        run(crystal, tmp_path, restart=True)
