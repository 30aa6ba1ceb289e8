"""The command `ase-pet md`: files, summary, restart after SIGKILL, unstable runs, bad input."""

import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms, FixBondLengths, FixSymmetry
from typer.testing import CliRunner

import springs
from ase_pet import PETCalculator, cli, md, store
from ase_pet.cli import lazy
from ase_pet.md import plots
from ase_pet.uncertainty_policy import THRESHOLD
from paths import ROOT, TESTS
from toys import silicon, tiny_pet

EMT_AGAIN = ("--calculator", "ase.calculators.emt:EMT")
HERE = Path(__file__).parent
FILES = ("trajectory.traj", "trajectory.extxyz", "thermo.csv", "state.npz")
RUN = (
    "--time",
    0.5,
    "--timestep",
    5,
    "--temperature",
    600,
    "--interval",
    10,
    "--thermo-interval",
    2,
    "--checkpoint",
    7,
)


class Mortal(EMT):
    """EMT that kills its process at the call set in the environment."""

    calls = 0

    def calculate(self, *arguments, **more):
        self.calls += 1
        if os.environ.get("DIES_AT") == str(self.calls):
            os.kill(os.getpid(), signal.SIGKILL)
        super().calculate(*arguments, **more)


class Cheap(EMT):
    """EMT with forces that are 2 % too strong."""

    def calculate(self, *arguments, **more):
        super().calculate(*arguments, **more)
        self.results["forces"] = 1.02 * self.results["forces"]


class Interrupted(EMT):
    """EMT that raises KeyboardInterrupt, as Ctrl-C does."""

    calls = 0

    def calculate(self, *arguments, **more):
        self.calls += 1
        if self.calls > 30:
            raise KeyboardInterrupt
        super().calculate(*arguments, **more)


@pytest.fixture
def copper(tmp_path):
    """Path of a structure."""
    bulk("Cu", cubic=True).write(tmp_path / "cu.extxyz")
    return tmp_path / "cu.extxyz"


def command(*arguments):
    return CliRunner().invoke(cli.app, ["md", *map(str, arguments)])


def emt(structure, folder, *arguments, calculator="ase.calculators.emt:EMT"):
    return command("--calculator", calculator, structure, "--output", folder, *RUN, *arguments)


def last_words(arguments, monkeypatch, capsys):
    """Exit status and stderr of the installed command."""
    monkeypatch.setattr(sys, "argv", ["ase-pet", "md", "--quiet", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    return caught.value.code, capsys.readouterr().err


def test_every_setting_is_an_option():
    shown = {parameter.name for parameter in lazy.load("md").params}
    assert {field.name for field in dataclasses.fields(md.Settings)} <= shown


def test_run_writes_files_and_prints_a_summary(copper, tmp_path):
    done = emt(copper, tmp_path / "run", "--extxyz", "--json")
    assert done.exit_code == 0
    report = json.loads(done.stdout)
    assert report["files"] == [
        "final.extxyz",
        "md.json",
        "report.html",
        "settings.toml",
        "state.npz",
        "thermo.csv",
        "thermo.png",
        "trajectory.extxyz",
        "trajectory.traj",
    ]
    assert (report["atoms"], report["steps"], report["settings"]["temperature"]) == (4, 100, 600)
    assert report["ns_per_day"] > 0
    assert 100 < report["means"]["mean_temperature_K"] < 600
    assert report["means"]["error_drift"] > 0
    assert json.loads((tmp_path / "run" / "md.json").read_text())["means"] == report["means"]
    assert len(ase.io.read(tmp_path / "run" / "trajectory.extxyz", ":")) == 11


def test_run_is_that_of_python(copper, tmp_path):
    emt(
        copper,
        tmp_path / "command",
        "--extxyz",
        "--ensemble",
        "npt",
        "--barostat",
        "full",
        "--seed",
        3,
    )
    atoms = ase.io.read(copper)
    atoms.calc = EMT()
    md.run(
        atoms,
        tmp_path / "python",
        time=0.5,
        timestep=5.0,
        temperature=600.0,
        interval=10,
        thermo_interval=2,
        checkpoint=7,
        extxyz=True,
        ensemble="npt",
        barostat="full",
        seed=3,
    )
    assert all(
        (tmp_path / "command" / name).read_bytes() == (tmp_path / "python" / name).read_bytes()
        for name in FILES
    )


def test_summary_is_shown(copper, tmp_path):
    shown = emt(copper, tmp_path / "run").stdout
    for text in (
        "nve, 4 atoms, 100 steps",
        "mean temperature",
        "mean pressure",
        "drift of the conserved",
        "meV/atom/ps",
        "ns/day",
        "thermo.png",
    ):
        assert text in shown
    short = " ".join(emt(copper, tmp_path / "short", "--time", 0.05).stdout.split())
    mean = md.read(tmp_path / "short")["temperature_K"].mean()
    assert "no means: thermo.csv has fewer than 20 rows (lower --thermo-interval)" in short
    assert f"plain mean temperature {mean:.4g} K, without error" in short


def test_a_killed_run_resumes_from_its_folder(copper, tmp_path):
    uninterrupted, stopped = tmp_path / "uninterrupted", tmp_path / "stopped"
    arguments = ("--extxyz", "--ensemble", "nvt", "--start-temperature", "900")
    assert (
        emt(copper, uninterrupted, *arguments, calculator="test_md_command:Mortal").exit_code == 0
    )
    killed = subprocess.run(
        [
            sys.executable,
            "-m",
            "ase_pet",
            "md",
            "--calculator",
            "test_md_command:Mortal",
            str(copper),
            "--output",
            str(stopped),
            *map(str, RUN),
            *arguments,
        ],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=os.environ
        | {
            "PYTHONPATH": os.pathsep.join([str(HERE), str(TESTS), str(ROOT)]),
            "DIES_AT": "60",
        },
    )
    assert killed.returncode == -signal.SIGKILL
    assert md.state.read(stopped)[0]["dynamics nsteps"] < 60
    copper.unlink()  # the run keeps its initial structure
    again = ("--calculator", "test_md_command:Mortal", "--output", stopped)
    done = command("--restart", *again, "--json")
    assert 40 < json.loads(done.stdout)["steps_now"] < 100
    assert all(
        (uninterrupted / name).read_bytes() == (stopped / name).read_bytes() for name in FILES
    )


def test_restart_takes_a_longer_time_and_nothing_else(copper, tmp_path):
    emt(copper, tmp_path / "run", "--ensemble", "nvt")
    again = ("--restart", *EMT_AGAIN, "--output", tmp_path / "run")
    assert json.loads(command(*again, "--time", 0.6, "--json").stdout)["steps"] == 120
    refused = command(*again, "--seed", 5).exception
    assert "`seed` is 5, but the run in" in str(refused)
    assert (
        emt(copper, tmp_path / "run", "--ensemble", "nvt", "--restart", "--time", 0.7).exit_code
        == 0
    )


def test_restart_without_a_run_starts_one(copper, tmp_path):
    assert emt(copper, tmp_path / "run", "--restart").exit_code == 0


def test_restart_of_a_run_from_python_requires_the_calculator(tmp_path):
    md.run(springs.cube(), tmp_path, time=0.01)
    refused = command("--restart", "--output", tmp_path)
    assert "was not begun by `ase-pet md`: give CALC STRUCTURE" in str(refused.exception)


def test_options_reach_the_calculator(tmp_path):
    silicon().write(tmp_path / "si.extxyz")
    store.save(
        tmp_path / "tiny",
        tiny_pet("local", dtype=torch.float64),
        store.Card("tiny", dtype="float64"),
    )
    done = command(
        tmp_path / "tiny",
        tmp_path / "si.extxyz",
        "--output",
        tmp_path / "run",
        "--time",
        0.003,
        "--dtype",
        "float32",
        "--device",
        "cpu",
        "--symmetrise",
        "group:O",
    )
    assert done.exit_code == 0
    parameters = tomllib.loads((tmp_path / "run" / "settings.toml").read_text())["calculator"][
        "parameters"
    ]
    assert {name: parameters[name] for name in ("dtype", "device", "symmetrise")} == {
        "dtype": "'float32'",
        "device": "'cpu'",
        "symmetrise": "'group:O'",
    }


def test_multiple_time_steps_with_direct_forces(tmp_path):
    checkpoint = TESTS / "data" / "pet_direct_heads.ckpt"
    atoms = silicon()
    atoms.numbers[:] = PETCalculator(checkpoint).species[0]
    atoms.write(tmp_path / "in.extxyz")
    done = command(
        checkpoint,
        tmp_path / "in.extxyz",
        "--output",
        tmp_path / "run",
        "--time",
        0.002,
        "--timestep",
        0.1,
        "--multiple",
        4,
        "--max-force",
        1e6,
        "--max-temperature",
        1e9,
        "--json",
    )
    assert json.loads(done.stdout)["steps"] == 5
    settings = tomllib.loads((tmp_path / "run" / "settings.toml").read_text())
    assert (
        settings["fast"]["parameters"]["non_conservative"],
        settings["calculator"]["parameters"]["non_conservative"],
    ) == ("'forces'", "False")


def test_multiple_time_steps_with_a_cheap_calculator(copper, tmp_path):
    run = (copper, tmp_path / "run", "--multiple", 5, "--timestep", 1)
    assert json.loads(emt(*run, "--fast", "test_md_command:Cheap", "--json").stdout)["steps"] == 100
    again = ("--restart", *EMT_AGAIN, "--output", tmp_path / "run")
    assert command(*again, "--fast", "test_md_command:Cheap").exit_code == 0
    assert "used `--fast` 'test_md_command:Cheap': repeat it" in str(command(*again).exception)
    assert "give --fast module:factory" in str(
        emt(copper, tmp_path / "other", "--multiple", 5).exception
    )


@pytest.fixture
def crystal(tmp_path):
    """File of a silicon crystal of two atoms."""
    bulk("Si").write(tmp_path / "si.extxyz")
    return tmp_path / "si.extxyz"


INNER = ("--symmetrise", "group:O:proper", "--inner", "plain", "--inner-steps", 4)


def test_exact_forces_around_plain_ones(crystal, tmp_path):
    folder = tmp_path / "run"
    run = ("silicon", crystal, "--output", folder, "--time", 0.008, *INNER)
    done = json.loads(command(*run, "--thermo-interval", 1, "--json").stdout)
    assert (done["steps"], done["inner_steps"]["inner_steps"]) == (2, 4)
    assert done["inner_steps"]["ratio"] < 2
    assert "fastest vibration" in (folder / "report.html").read_text()
    settings = tomllib.loads((folder / "settings.toml").read_text())
    assert settings["fast"]["parameters"]["symmetrise"] == "'none'"
    assert settings["command"]["inner"] == "plain"
    # the names of calculators need not be repeated
    again = command("--restart", "--output", folder, "--time", 0.016)
    assert again.exit_code == 0, again.output
    assert "outer step" in again.output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--inner", "plain"), "`--inner` needs --inner-steps"),
        (INNER[2:], "the calculator is not symmetrised"),
        ((*INNER, "--fast", "test_md_command:Cheap"), "`--inner` and `--fast` are both given"),
        (("--inner-steps", 2), "Give --inner plain for silicon without its"),
    ],
)
def test_inner_steps_that_are_refused(crystal, tmp_path, options, message):
    run = ("silicon", crystal, "--output", tmp_path / "run", "--time", 0.008)
    assert message in str(command(*run, *options).exception)
    assert not (tmp_path / "run").exists()


def test_an_unstable_run_is_one_line_and_status_1(copper, tmp_path, monkeypatch, capsys):
    status, words = last_words(
        [
            "--calculator",
            "ase.calculators.emt:EMT",
            copper,
            "--output",
            tmp_path / "run",
            *RUN,
            "--timestep",
            50,
            "--time",
            5,
        ],
        monkeypatch,
        capsys,
    )
    assert status == 1
    assert words.startswith("ase-pet: step ")
    assert words.count("\n") == 1
    assert f"is in {tmp_path}/run/last_good.traj; try a shorter `timestep`" in words
    assert np.isfinite(ase.io.read(tmp_path / "run" / "last_good.traj").positions).all()


def test_high_uncertainty_ends_the_run(tmp_path):
    atoms = silicon()
    checkpoint = TESTS / "data" / "pet_llpr.ckpt"
    atoms.numbers[:] = PETCalculator(checkpoint).species[0]
    atoms.write(tmp_path / "in.extxyz")
    done = command(
        checkpoint,
        tmp_path / "in.extxyz",
        "--output",
        tmp_path / "run",
        "--uncertainty",
        "stop",
        "--uncertainty-threshold",
        1e-9,
    )
    assert done.exit_code == 1
    assert "is uncertain by more than 1e-09 eV" in done.stderr


def test_ctrl_c_prints_how_to_resume(copper, tmp_path):
    done = emt(copper, tmp_path / "run", calculator="test_md_command:Interrupted")
    assert done.exit_code == 130
    again = "ase-pet md --restart --calculator test_md_command:Interrupted --output"
    assert f"{again} {tmp_path}/run" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--ensemble", "nph"], "`ensemble` is 'nph': valid choices are nve, nvt, npt"),
        (["--thermostat", "langevin"], "`thermostat` needs `ensemble` nvt, not nve: it would be"),
        (["--pressure", "0"], "`pressure` needs `ensemble` npt, not nve: it would be ignored"),
        (["--ensemble", "nvt", "--barostat", "full"], "`barostat` needs `ensemble` npt, not nvt"),
        (["--timestep", "0"], "`timestep` is 0.0: expected a number above 0"),
        (
            ["--dtype", "float32"],
            "`--dtype` is for calculators of this package: expected CALC, not --calculator",
        ),
        (
            ["--uncertainty-threshold", "1"],
            "`--uncertainty-threshold` is for calculators of this package",
        ),
        (
            ["--calculator", "nowhere:make"],
            "`--calculator` 'nowhere:make': No module named 'nowhere'; expected module:factory",
        ),
    ],
)
def test_bad_input_is_one_line(arguments, message, copper, tmp_path, monkeypatch, capsys):
    status, words = last_words(
        [
            "--calculator",
            "ase.calculators.emt:EMT",
            copper,
            "--output",
            tmp_path / "run",
            *arguments,
        ],
        monkeypatch,
        capsys,
    )
    assert status == 2
    assert words.startswith(f"ase-pet: {message}")
    assert words.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_structure_is_required(tmp_path):
    assert "give CALC STRUCTURE" in str(command("silicon", "--output", tmp_path).exception)
    assert "holds no run to be continued" in str(
        command("--restart", "--output", tmp_path).exception
    )


def test_a_run_is_not_overwritten(copper, tmp_path):
    emt(copper, tmp_path / "run")
    assert "holds a run (settings.toml," in str(emt(copper, tmp_path / "run").exception)


def test_disk_and_folder_are_examined_before_the_run(copper, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    status, words = last_words(
        ["--calculator", "ase.calculators.emt:EMT", copper, "--output", tmp_path / "file" / "run"],
        monkeypatch,
        capsys,
    )
    assert (status, words) == (
        2,
        f"ase-pet: `output` {tmp_path}/file/run cannot be written: Not a directory\n",
    )
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=12345))
    status, words = last_words(
        ["--calculator", "ase.calculators.emt:EMT", copper, "--output", tmp_path / "run"],
        monkeypatch,
        capsys,
    )
    assert status == 2
    assert "and 12345 bytes are free there" in words
    assert list((tmp_path / "run").iterdir()) == []


def test_a_plot_is_not_worth_a_run(copper, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    done = emt(copper, tmp_path / "run")
    assert done.exit_code == 0
    assert "the plot needs matplotlib" in done.stderr


# Restarts of folders from strangers


def test_a_restart_imports_nothing_that_a_file_names(tmp_path, monkeypatch):
    atoms = springs.copper()
    atoms.calc = EMT()
    md.run(atoms, tmp_path / "run", time=0.01, about={"command": {"calculator": "evil:make"}})
    (tmp_path / "evil.py").write_text("raise SystemExit('code from the folder ran')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    again = ("--restart", "--output", "run")
    for arguments in ((), ("--json",), ("--time", 1)):
        refused = command(*again, *arguments).exception
        assert isinstance(refused, ValueError)
        assert "used `--calculator` 'evil:make': repeat it with --restart" in str(refused)
    other = command(*again, *EMT_AGAIN).exception
    assert "`--calculator` is 'ase.calculators.emt:EMT', but the run in" in str(other)
    assert "evil" not in sys.modules


def test_a_restart_loads_no_path_that_a_file_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    silicon().write("si.extxyz")
    store.save("tiny", tiny_pet("local", dtype=torch.float64), store.Card("tiny"))
    run = ("tiny", "si.extxyz", "--time", 0.003, "--max-force", 1e9, "--output", "run")
    assert command(*run).exit_code == 0
    again = ("--restart", "--output", "run", "--time", 0.005)
    assert "used CALC 'tiny': repeat it with --restart" in str(command(*again).exception)
    assert "CALC is 'silicon', but the run in" in str(command("silicon", *again).exception)
    assert command("tiny", *again).exit_code == 0


def test_the_name_of_a_shipped_calculator_need_not_be_repeated(tmp_path):
    silicon().write(tmp_path / "si.extxyz")
    output = ("--output", tmp_path / "run")
    assert command("silicon", tmp_path / "si.extxyz", *output, "--time", 0.002).exit_code == 0
    done = command("--restart", *output, "--time", 0.003, "--json")
    assert json.loads(done.stdout)["steps"] == 3


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[settings]", "[other]", r"has no table \[settings\]"),
        ("seed = 0", "seed = 0\nevil = 1", r"an entry `evil` in \[settings\] that no run writes"),
        ("seed = 0", "seed = {a = 1}", r"an entry `seed` in \[settings\] that no run writes"),
        ("[command]", "[command]\nmodule = 'os'", r"an entry `module` in \[command\] that no run"),
        ("seed = 0", "seed = ", "cannot be read"),
    ],
)
def test_settings_of_another_program_are_refused(old, new, message, copper, tmp_path):
    emt(copper, tmp_path / "run", "--time", 0.01)
    path = tmp_path / "run" / "settings.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    refused = command("--restart", *EMT_AGAIN, "--output", tmp_path / "run").exception
    assert isinstance(refused, ValueError)
    assert re.search(message, str(refused))


# Stages


def test_supercells_ramps_and_equilibrations(copper, tmp_path):
    stages = ("--repeat", "2,1,1", "--equilibrate", 0.2, "--ensemble", "nvt")
    run = ("--temperature", "300:600:300", "--ramp-time", 0.3, "--thermo-interval", 1)
    done = emt(copper, tmp_path / "run", *stages, *run)
    assert done.exit_code == 0
    assert "nvt, 8 atoms, 100 steps" in done.stdout
    assert "equilibration, 0.2 ps" in done.stdout
    assert "300 to 600 K, 0 to 0.15 ps" in done.stdout
    assert "600 to 300 K, 0.15 to 0.3 ps" in done.stdout
    assert "300 to 300 K, 0.3 to 0.5 ps" in done.stdout
    report = json.loads((tmp_path / "run" / "md.json").read_text())
    assert report["settings"]["temperature"] == [300, 600, 300]
    assert report["equilibration"]["mean_temperature_K"] > 0
    assert len(ase.io.read(tmp_path / "run" / "final.extxyz")) == 8
    again = ("--restart", *EMT_AGAIN, "--output", tmp_path / "run", "--json")
    assert json.loads(command(*again, "--time", 0.6).stdout)["steps"] == 120
    assert "`temperature` is (300.0, 500.0), but" in str(
        command(*again, "--time", 0.6, "--temperature", "300:500").exception
    )


@pytest.mark.parametrize("constraint", [FixAtoms([0]), FixBondLengths([[0, 1]]), FixSymmetry])
def test_constraints_of_a_file_are_kept_by_a_restart(constraint, tmp_path):
    atoms = bulk("Cu", cubic=True) * (2, 2, 2)
    atoms.positions[0, 0] += 0.2
    atoms.set_constraint(constraint(atoms) if constraint is FixSymmetry else constraint)
    path = tmp_path / "start.traj"
    atoms.write(path)
    ensemble = ("--ensemble", "nvt", "--thermostat", "nose-hoover")
    for name, times in (("whole", [0.5]), ("longer", [0.2, 0.5])):
        assert emt(path, tmp_path / name, *ensemble, "--time", times[0]).exit_code == 0
        again = ("--restart", *EMT_AGAIN, "--output", tmp_path / name)
        assert command(*again, "--time", times[-1]).exit_code == 0
    for name in ("trajectory.traj", "thermo.csv", "state.npz", "final.extxyz"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "longer" / name).read_bytes()


def test_constraints_that_cannot_be_repeated_are_named(tmp_path):
    atoms = bulk("Cu", cubic=True)
    atoms.set_constraint(FixBondLengths([[0, 1]]))
    atoms.write(tmp_path / "start.traj")
    refused = emt(tmp_path / "start.traj", tmp_path / "run", "--repeat", "2,2,2").exception
    assert "`--repeat`: the constraints of the structure (FixBondLengths) cannot" in str(refused)
    refused = emt(tmp_path / "start.traj", tmp_path / "run", "--repeat", "0,1,1").exception
    assert "`--repeat` is 0: expected a number above 0" in str(refused)


def test_uncertainties_are_columns_and_in_frames(tmp_path):
    checkpoint = TESTS / "data" / "pet_llpr.ckpt"
    atoms = silicon()
    atoms.numbers[:] = PETCalculator(checkpoint).species[0]
    atoms.write(tmp_path / "in.extxyz")
    run = ("--time", 0.002, "--timestep", 0.1, "--max-force", 1e9, "--max-temperature", 1e9)
    limits = ("--thermo-interval", 5, "--interval", 10)
    done = command(checkpoint, tmp_path / "in.extxyz", "--output", tmp_path / "run", *run, *limits)
    assert done.exit_code == 0
    table = md.read(tmp_path / "run")
    assert (table["uncertainty_eV"] > 0).all()
    frame = ase.io.read(tmp_path / "run" / "trajectory.traj", 1)
    last = ase.io.read(tmp_path / "run" / "final.extxyz")
    assert frame.info["energy_uncertainty_eV"] == pytest.approx(table["uncertainty_eV"][2])
    assert last.info["energy_uncertainty_eV"] == pytest.approx(table["uncertainty_eV"][4])
    largest = last.arrays["energies_uncertainty_eV"].max()
    assert largest == pytest.approx(table["max_atom_uncertainty_eV"][4], abs=1e-7)
    assert last.info["uncertain"] == (largest > THRESHOLD)
    settings = {"uncertainty_threshold": THRESHOLD}
    limit = plots.targets(settings, "max_atom_uncertainty_eV", table["time_ps"])
    assert np.array_equal(limit, np.full(5, THRESHOLD))
    flagged = tmp_path / "flagged"
    policy = ("--uncertainty", "warn", "--uncertainty-threshold", 0.5 * largest)
    with pytest.warns(UserWarning, match="uncertain by more than"):
        done = command(
            checkpoint, tmp_path / "in.extxyz", "--output", flagged, *run, *limits, *policy
        )
    frames = ase.io.read(flagged / "trajectory.traj", ":")
    assert [atoms.info["uncertain"] for atoms in frames] == [True] * 3


def test_a_temperature_that_nothing_uses_is_noted(tmp_path):
    atoms = bulk("Cu", cubic=True)
    md.thermalise(atoms, 300, np.random.default_rng(0))
    ase.io.write(tmp_path / "warm.extxyz", atoms)
    arguments = ("--momenta", "keep", "--time", 0.005, "--interval", 1, "--temperature", 100)
    done = emt(tmp_path / "warm.extxyz", tmp_path / "nve", *arguments)
    assert "--temperature is not used: nve has no thermostat" in done.stderr
    done = emt(tmp_path / "warm.extxyz", tmp_path / "nvt", *arguments, "--ensemble", "nvt")
    assert "--temperature is not used" not in done.stderr


@pytest.mark.parametrize(("ensemble", "count"), [("npt", 1), ("nvt", 0)])
def test_compiled_steps_that_npt_does_not_have_are_noted(ensemble, count, tmp_path):
    """Before the structure is read, which there is none of here."""
    options = ("--compile", "--ensemble", ensemble, "--output", tmp_path / "run")
    done = command("silicon", tmp_path / "missing.extxyz", *options)
    assert done.exit_code == 1
    assert done.stderr.count("--compile has no effect in npt") == count
