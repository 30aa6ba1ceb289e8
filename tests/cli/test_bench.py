"""The command `ase-pet bench`."""

import json

import pytest
import torch
from ase.build import bulk, molecule
from typer.testing import CliRunner

from ase_pet import cli, store
from toys import tiny_pet

STEP = "step of dynamics"


@pytest.fixture
def tiny(tmp_path):
    """Path of a calculator folder."""
    store.save(
        tmp_path / "tiny",
        tiny_pet("local", dtype=torch.float64),
        store.Card("tiny", dtype="float64"),
    )
    return tmp_path / "tiny"


def command(*arguments):
    return CliRunner().invoke(cli.app, ["bench", *map(str, arguments)])


def test_times_speed_and_memory(tiny, tmp_path):
    bulk("Si").write(tmp_path / "si.extxyz")
    report = json.loads(
        command(
            tiny,
            tmp_path / "si.extxyz",
            "--repeat",
            "1,1,2",
            "--steps",
            5,
            "--timestep",
            2,
            "--json",
            "--device",
            "cpu",
        ).stdout
    )
    assert (report["formula"], report["atoms"], report["dtype"], report["device"]) == (
        "Si4",
        4,
        "float64",
        "cpu",
    )
    assert list(report["times"]) == ["energy", "energy, forces", "energy, forces, stress", STEP]
    for row in report["times"].values():
        low, high = row["quartiles_ms"]
        assert 0 < low <= row["median_ms"] <= high
        assert row["ms_per_atom"] == pytest.approx(row["median_ms"] / 4)
        assert row["cpu_ms"] > 0
    # Forces take about three times as long as energies; times of few steps scatter.
    assert report["times"]["energy, forces"]["cpu_ms"] > 0.5 * report["times"]["energy"]["cpu_ms"]
    assert report["ns_per_day"] == pytest.approx(
        86400 * 2e-6 / (report["times"][STEP]["median_ms"] / 1000)
    )
    assert 50 < report["peak_memory_MB"] < 20000


def test_evaluations_are_new_ones(tiny):
    seen = []
    hook = torch.nn.modules.module.register_module_forward_hook(
        lambda module, inputs, output: seen.append(type(module).__name__)
    )
    with hook:
        command(tiny, "--repeat", "1,1,1", "--steps", 3)
    # stress for the first time, then four kinds of three evaluations each, and one step of dynamics
    # before the last kind
    assert seen.count("Model") == 1 + 3 * 3 + 1 + 3


def test_cost_of_symmetrised_models_is_printed(tiny):
    report = json.loads(
        command(tiny, "--symmetrise", "group:O", "--repeat", "1,1,1", "--steps", 1, "--json").stdout
    )
    assert report["evaluations_per_atom"] == report["ratio"] == 48


def test_molecule_of_a_foreign_calculator(tmp_path):
    molecule("CO").write(tmp_path / "co.xyz")
    shown = command(
        "--calculator", "ase.calculators.emt:EMT", tmp_path / "co.xyz", "--steps", 2
    ).stdout
    assert "EMT, 2 atoms" in shown
    assert "ns/day with a step of 1 fs" in shown
    assert "stress" not in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give CALC, or --calculator module:factory STRUCTURE"),
        (["silicon", "--steps", "0"], "`--steps` is 0: expected a number above 0"),
        (["silicon", "--timestep", "inf"], "`--timestep` is inf: expected a number above 0"),
        (["silicon", "--temperature", "nan"], "`--temperature` is nan: expected a number above 0"),
        (["silicon", "--repeat", "99,99,999"], "`--repeat` makes 78329592 atoms"),
        (["silicon", "--repeat", "2,0,2"], "`--repeat` is 0: expected a number above 0"),
        (
            ["silicon", "--repeat", "2"],
            "`--repeat` is '2': expected 3 whole numbers, such as 2,2,2",
        ),
        (
            ["--calculator", "ase.calculators.emt:EMT"],
            "does not say which species it knows: give STRUCTURE",
        ),
    ],
)
def test_bad_input_is_named(arguments, message):
    assert message in str(command(*arguments).exception)
