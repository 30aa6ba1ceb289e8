"""The command line: help, imports, and escaping of printed texts."""

import ast
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms
from typer.testing import CliRunner

from ase_pet import __version__, checks, cli, plugins, published
from ase_pet.cli import lazy, options
from ase_pet.cli.eval import StatesProperties
from ase_pet.extras import how_to_install
from ase_pet.uncertainty_policy import THRESHOLD

PACKAGE = Path(cli.__file__).parent
UNIT = r"\b(A|eV|meV|K|ps|fs|GPa|bar|THz|eV/A|eV/A\^2)\b"
SLOW = ("torch", "matplotlib", "ase", "numpy", "scipy", "phonopy", "pydantic")
WITH_CALCULATOR = (
    "info",
    "eval",
    "check",
    "md",
    "bench",
    "relax",
    "phonons",
    "elastic",
    "conductivity",
    "qha",
    "vibrations",
    "neb",
    "ipi",
    "label",
    "singlepoint",
)
MODULES = "import json, sys; {}; print(json.dumps([name for name in sys.modules]))"


def imported(code):
    """Names of the modules that a new process has imported after some code."""
    done = subprocess.run(
        [sys.executable, "-c", MODULES.format(code)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def shown(*arguments):
    """Output of a command, words separated by single spaces, without box characters."""
    done = CliRunner().invoke(cli.app, [*arguments], catch_exceptions=False)
    return " ".join(re.sub("[│╭╮╰╯─]", " ", done.output).split())


def test_help_imports_no_large_package():
    """Of all commands, one after the other in one process."""
    commands = [["--help"], *([name, "--help"] for name in lazy.COMMANDS)]
    code = (
        f"from ase_pet import cli\nfor words in {commands}:\n"
        "    try:\n        cli.app(words)\n"
        "    except SystemExit as done:\n        assert done.code == 0\n"
    )
    code = f"exec({code!r})"
    # typer itself imports pydantic for a command
    assert imported(code).isdisjoint(set(SLOW) - {"pydantic"})


def test_the_package_imports_lazily():
    assert imported("import ase_pet").isdisjoint(SLOW)


@pytest.mark.parametrize("name", lazy.COMMANDS)
def test_the_list_of_commands_quotes_their_help(name):
    command = lazy.load(name)
    assert command.help.split("\n\n")[0] == lazy.COMMANDS[name]
    assert lazy.COMMANDS[name] in shown("--help")


@pytest.mark.parametrize("name", lazy.COMMANDS)
def test_every_option_is_explained(name):
    unexplained = [parameter.name for parameter in lazy.load(name).params if not parameter.help]
    assert unexplained == []


@pytest.mark.parametrize(
    ("name", "extra"),
    [("train", "train"), ("phonons", "phonons"), ("conductivity", "conductivity")],
)
def test_help_shows_brackets(name, extra):
    assert how_to_install(extra) in shown(name, "--help")


@pytest.mark.parametrize("name", ["--help", *lazy.COMMANDS])
def test_flags_are_shown_without_a_type(name):
    assert "bool" not in shown(name, "--help")


@pytest.mark.parametrize("name", WITH_CALCULATOR)
def test_commands_with_a_calculator_take_its_options(name):
    options_of_command = {parameter.name for parameter in lazy.load(name).params}
    assert options_of_command >= options.CALCULATOR.keys()


@pytest.mark.parametrize("name", ["md", "train"])
def test_restart_and_resume_are_the_same_option(name):
    (names,) = [set(option.opts) for option in lazy.load(name).params if "--restart" in option.opts]
    assert names == {"--restart", "--resume"}


def test_help_lists_the_checks():
    text = shown("check", "--help")
    assert ", ".join(plugins.names("ase_pet.checks")) in text
    slow = sorted(set(checks.names("full")) - set(checks.names("quick")))
    assert set(re.findall(r"\w+", re.search(r"slow checks \((.*?)\)", text)[1])) == set(slow)


def test_help_shows_the_default_threshold():
    assert f"default: {THRESHOLD}." in shown("md", "--help")


SAFE = ("screen.py", "__init__.py")  # files that print what is plain already


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*.py")), ids=lambda path: path.stem)
def test_commands_print_plain_text_only(path):
    """`screen.say`, `note` and `complain` make control characters visible; `print` does not."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    called = [
        node.func.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    ]
    assert "print" not in called or path.name in SAFE


FLOATS = [
    (name, parameter.name)
    for name in lazy.COMMANDS
    for parameter in inspect.signature(lazy.function(name), eval_str=True).parameters.values()
    if "float" in str(parameter.annotation)
]


@pytest.mark.parametrize(("name", "option"), FLOATS)
def test_numbers_have_a_unit_in_the_help(name, option):
    (text,) = [parameter.help for parameter in lazy.load(name).params if parameter.name == option]
    assert re.search(UNIT, text), text


def test_version():
    assert shown("--version") == f"ase-pet {__version__}"


def test_a_table_of_information_has_units():
    text = shown("info", "silicon")
    assert "cutoff (A)" in text
    assert "receptive field (A)" in text
    assert "shortest distances (A) in training: Si-Si 0.50" in text
    assert "forces: eV/A" in text
    assert re.search(r"test \(21 structures\): energy 0\.\d+ eV/atom, forces 0\.\d+ eV/A", text)


def test_information_says_what_a_calculator_knows():
    told = json.loads(CliRunner().invoke(cli.app, ["info", "silicon", "--json"]).stdout)
    assert (told["message_passing"], told["receptive_field"]) == (0, 5.5)
    assert told["licence"].startswith("MIT")
    assert told["shortest_distances"]["Si-Si"] == pytest.approx(0.5, abs=0.01)
    assert told["units"]["stress"] == "eV/A^3"


def test_information_ignores_constraints(tmp_path):
    atoms = bulk("Si")
    atoms.positions[0, 0] += 0.1
    atoms.set_constraint(FixAtoms([0, 1]))
    atoms.write(tmp_path / "si.extxyz")
    with pytest.warns(UserWarning, match="FixAtoms.* are ignored for"):
        told = CliRunner().invoke(
            cli.app, ["info", "silicon", str(tmp_path / "si.extxyz"), "--json"]
        )
    assert json.loads(told.stdout)["structure"]["largest_force"] > 0.1


def test_information_evaluates_with_units(tmp_path):
    bulk("Si", a=5.43).write(tmp_path / "si.extxyz")
    text = shown("info", "silicon", str(tmp_path / "si.extxyz"))
    assert re.search(r"largest force \(eV/A\): 0\.00", text)
    assert re.search(r"stress \(GPa\): xx -\d\.\d{4}, yy -\d\.\d{4}, zz -", text)
    assert "stress: (6,), eV/A^3" in text


def test_information_about_another_package(tmp_path):
    path = str(tmp_path / "cu.extxyz")
    bulk("Cu", a=3.7).write(path)
    emt = ("info", "--calculator", "ase.calculators.emt:EMT")
    text = shown(*emt, path)
    for expected in ("ase.calculators.emt.EMT", "asap_cutoff: False", "energy (eV): 0."):
        assert expected in text
    assert re.search(r"stress \(GPa\): xx 1\d\.\d+", text)
    told = json.loads(CliRunner().invoke(cli.app, [*emt, path, "--json"]).stdout)
    atoms = bulk("Cu", a=3.7)
    atoms.calc = EMT()
    np.testing.assert_allclose(told["structure"]["stress"], atoms.get_stress())
    assert told["structure"]["returned"]["forces"] == "(1, 3), eV/A"
    assert told["parameters"] == {"asap_cutoff": False}
    assert "structure" not in json.loads(CliRunner().invoke(cli.app, [*emt, "--json"]).stdout)
    with pytest.raises(ValueError, match="give CALC, or --calculator"):
        CliRunner().invoke(cli.app, [*emt, "silicon", path], catch_exceptions=False)


def test_errors_show_brackets():
    assert "No such command 'a[train]b'" in shown("a[train]b")


def test_tables_show_brackets(tmp_path):
    """Brackets in file names are not read as markup."""
    path = tmp_path / "[red]x[train].xyz"
    bulk("Cu").write(path, format="extxyz")
    arguments = ("check", "--calculator", "ase.calculators.emt:EMT", "--structure", str(path))
    assert "[red]x[train]" in shown(*arguments, "--only", "permutation")


def test_the_template_of_a_recipe_is_printed():
    assert CliRunner().invoke(cli.app, ["train", "--template"]).stdout.startswith("# Recipe")
    assert "required unless --template" in shown("train", "--help")
    refused = CliRunner().invoke(cli.app, ["train"]).exception
    assert str(refused) == "give RECIPE and --output, or --template"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["info", "pet-mad-s", "--symmetrise", "esce"], "`symmetrise` is 'esce': valid choices"),
        (["bench", "pet-mad-s", "--dtype", "half"], "`dtype` is 'half': valid choices"),
        (["bench", "pet-mad-s", "--device", "tpu"], "`device` is 'tpu': valid choices"),
        (["bench", "pet-mad-s", "--repeat", "2"], "`--repeat` is '2'"),
        (["check", "pet-mad-s", "--only", "nothing"], "`nothing` is not one of the checks"),
        (["check", "pet-mad-s", "--temperature", "0"], "`--temperature` is 0.0"),
        (["eval", "pet-mad-s", "none.extxyz"], "No such file"),
        (["relax", "pet-mad-s", "cu.xyz", "--output", "x", "--fmax", "0"], "`--fmax` is 0.0"),
        (
            ["phonons", "pet-mad-s", "cu.xyz", "--output", "x", "--method", "dfpt"],
            "`method` is 'dfpt': valid choices are displacements, hessian",
        ),
        (["conductivity", "pet-mad-s", "cu.xyz", "--output", "x", "--mesh", "3"], "`--mesh` is"),
        (
            ["qha", "pet-mad-s", "cu.xyz", "--output", "x", "--strains", "0:0.01:0.01"],
            "expected 5 or more relative changes",
        ),
        (
            ["qha", "pet-mad-s", "cu.xyz", "--output", "x", "--temperatures=-10:100:10"],
            "none below 0",
        ),
        (
            ["vibrations", "pet-mad-s", "cu.xyz", "--output", "x", "--d3", "pbe:full"],
            "valid choices are bj, zero, mbj, mzero",
        ),
        (
            ["vibrations", "pet-mad-s", "cu.xyz", "--output", "x", "--symmetry-number", "0"],
            "`--symmetry-number` is 0",
        ),
        (
            ["neb", "pet-mad-s", "cu.xyz", "cu.xyz", "--output", "x", "--interpolation", "spline"],
            "`interpolation` is 'spline': valid choices are idpp, linear",
        ),
        (["singlepoint", "pet-mad-s", "none.xyz", "--output", "x"], "No such file"),
        (
            ["md", "pet-mad-s", "cu.xyz", "--output", "x", "--uncertainty", "fail"],
            "`uncertainty` is 'fail': valid choices are 'off', 'warn', 'stop'",
        ),
    ],
)
def test_bad_options_are_refused_before_a_download(arguments, message, tmp_path, monkeypatch):
    def refuse(*arguments):
        raise AssertionError("looked for a checkpoint")

    monkeypatch.setattr(published, "find", refuse)
    monkeypatch.chdir(tmp_path)
    bulk("Cu").write("cu.xyz", format="extxyz")
    assert message in str(CliRunner().invoke(cli.app, arguments).exception)


def test_calculators_of_other_packages_may_lack_properties():
    assert isinstance(options.load_calculator(None, "ase.calculators.emt:EMT"), StatesProperties)


@pytest.mark.parametrize(
    "arguments",
    [
        "relax Cu.extxyz --output Cu.extxyz/x",
        "phonons Cu.extxyz --no-relax --output Cu.extxyz/x",
        "elastic Cu.extxyz --no-relax --output Cu.extxyz/x",
        "conductivity Cu.extxyz --no-relax --output Cu.extxyz/x",
        "qha Cu.extxyz --output Cu.extxyz/x",
        "vibrations Cu.extxyz --output Cu.extxyz",
        "neb Cu.extxyz Cu.extxyz --output Cu.extxyz",
        "check --species Cu --html Cu.extxyz/x.html",
    ],
)
def test_a_folder_that_cannot_be_written_is_refused_before_the_work(
    arguments, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    ase.io.write("Cu.extxyz", bulk("Cu", cubic=True))
    monkeypatch.setattr(EMT, "calculate", None)  # not callable
    command, *others = arguments.split()
    done = CliRunner().invoke(
        cli.app, [command, "--calculator", "ase.calculators.emt:EMT", *others]
    )
    assert isinstance(done.exception, OSError), done.exception
    assert str(done.exception).startswith("`")
    assert "cannot be written" in str(done.exception)
    assert [path.name for path in tmp_path.iterdir()] == ["Cu.extxyz"]
