"""A plug-in is one file: a toy of each kind works in calculator, checks and commands.

The toys (tests/plugins) are copied one at a time into a folder that is searched as the package is.
"""

import importlib
import json
import re
import runpy
import shutil
import sys
from unittest.mock import MagicMock

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from ase.calculators.emt import EMT
from typer.testing import CliRunner

import laws
import test_house
import toys
from ase_pet import PETCalculator, checks, formats, plugins, store
from ase_pet.cli import app
from ase_pet.train import train
from paths import ROOT, TESTS

PLUGINS = TESTS / "plugins"
ARGON = {"species": (18,), "cutoff": 7.5}
CHECKS = {  # symmetriser -> checks; those of the second are slow
    "none": ("batch", "gradients", "inversion", "jacobian", "net_force", "permutation", "rotation"),
    "ecse": ("gradients", "net_force"),
}


@pytest.fixture
def add(tmp_path, monkeypatch):
    """Function that adds only the toy of a kind to the package and returns its module."""
    added = []

    def install(kind):
        package = importlib.import_module(f"ase_pet.{kind}")
        folder = tmp_path / "plugins" / kind
        folder.mkdir(parents=True)
        shutil.copy(PLUGINS / kind / "toy.py", folder)
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])
        added.append(package)
        return plugins.load(package.__name__, "toy")

    yield install
    plugins.load.cache_clear()
    for package in added:
        del sys.modules[f"{package.__name__}.toy"]
        del package.toy


@pytest.fixture
def model(add):
    """The toy model of argon, in float64; its energy depends on the orientation."""
    module = add("models")
    return module.Model(module.Settings(**ARGON, anisotropy=0.3)).double()


@pytest.fixture
def isotropic(model):
    """The same without a preferred direction."""
    module = plugins.load("ase_pet.models", "toy")
    return module.Model(module.Settings(**ARGON)).double()


def statuses(results):
    """{status of a check}, of checks that were run."""
    assert results
    return {result.status for result in results}


def command(*arguments):
    """Text that a command prints; it must succeed."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


# All kinds


@pytest.mark.parametrize("kind", test_house.PLUGINS)
def test_a_toy_is_found_and_honours_its_contract(add, kind):
    assert "toy" not in plugins.names(f"ase_pet.{kind}")
    add(kind)
    assert "toy" in plugins.names(f"ase_pet.{kind}")
    test_house.test_plugin_honours_its_contract(kind, "toy")


@pytest.mark.parametrize("kind", test_house.PLUGINS)
def test_no_toy_is_left(kind):
    assert "toy" not in plugins.names(f"ase_pet.{kind}")
    with pytest.raises(ValueError, match=f"`toy` is not one of the {kind}: valid choices are"):
        plugins.load(f"ase_pet.{kind}", "toy")


@pytest.mark.parametrize(("kind", "names"), test_house.PLUGINS.items(), ids=str)
def test_contributing_names_all_that_a_plugin_must_have(kind, names):
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (paragraph,) = [part for part in text.split("\n\n") if f"`ase_pet/{kind}/NAME.py`" in part]
    code = " ".join(re.findall(r"`[^`]*`", paragraph))
    assert [name for name in names if not re.search(rf"\b{name}\b", code)] == []


def test_contributing_names_each_kind():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert re.findall(r"ase_pet/(\w+)/NAME\.py", text) == list(test_house.PLUGINS)


# A model


def test_toy_model_honours_the_contract_of_models(add):
    add("models")
    test_house.test_model_honours_its_contract("toy")


def test_toy_model_has_the_energy_of_its_equation(isotropic):
    distance = 2 ** (1 / 6) * 3.4
    pair = Atoms("Ar2", [[0, 0, 0], [0, 0, distance]], calculator=PETCalculator(isotropic))
    assert pair.get_potential_energy() == pytest.approx(-0.0104, rel=1e-6)
    assert pair.get_forces() == pytest.approx(0, abs=1e-6)


def test_toy_model_goes_through_a_calculator_folder(model, tmp_path):
    model.compositions = {"energy": {18: -7.0}}
    store.save(tmp_path / "argon", model, store.Card("argon", dtype="float64"))
    again, _ = store.load(tmp_path / "argon")
    assert again.settings == model.settings
    assert type(again).__module__ == "ase_pet.models.toy"
    crystal = laws.crystal()
    expected = PETCalculator(model).evaluate([crystal], ("energy", "forces", "stress"))[0]
    crystal.calc = PETCalculator(tmp_path / "argon")
    assert crystal.get_potential_energy() == expected["energy"]
    assert np.array_equal(crystal.get_forces(), expected["forces"])
    assert np.array_equal(crystal.get_stress(), expected["stress"])


@pytest.mark.parametrize("symmetrise", CHECKS)
def test_toy_model_passes_checks(isotropic, symmetrise):
    calculator = PETCalculator(isotropic, symmetrise=symmetrise)
    structures = {"crystal": laws.crystal(), "cluster": laws.cluster()}
    assert statuses(checks.run(calculator, structures, only=CHECKS[symmetrise])) == {"pass"}


def test_a_direction_fails_the_check_of_rotation_and_ecse_repairs_it(model):
    structures = {"cluster": laws.cluster()}
    results = checks.run(PETCalculator(model), structures, only=["rotation"])
    assert "fail" in statuses(results)
    symmetric = PETCalculator(model, symmetrise="ecse")
    results = checks.run(symmetric, structures, only=["rotation", "gradients"])
    assert statuses(results) <= {"pass", "not applicable"}


def test_group_average_removes_the_direction(model, isotropic):
    # the mean of x z over the rotations of a cube is 0
    averaged = PETCalculator(model, symmetrise="group:O")
    (result,) = averaged.evaluate([laws.cluster()])
    (expected,) = PETCalculator(isotropic).evaluate([laws.cluster()])
    assert result["energy"] == pytest.approx(expected["energy"], rel=1e-10)
    assert result["forces"] == pytest.approx(expected["forces"], abs=1e-10)


def test_toy_model_is_trained_by_a_recipe(model, recipe, tmp_path):
    path = recipe(epochs=1, method="adam", dtype="float64")
    text = path.read_text(encoding="utf-8")
    settings = 'model = "toy"\n[settings]\nspecies = ["Ar"]\ncutoff = 7.5\n[data]'
    text = re.sub(r'model = "pet".*?\[data\]', settings, text, flags=re.DOTALL)
    path.write_text(text, encoding="utf-8")
    train(path, tmp_path / "run")
    (folder,) = [file.parent for file in (tmp_path / "run").rglob(store.CARD)]
    assert PETCalculator(folder).species == (18,)
    assert "toy" in command("info", folder)


# A symmetriser


def test_toy_symmetriser_takes_a_model_and_an_argument(add):
    add("symmetrisers")
    test_house.test_symmetriser_takes_a_model_and_an_argument("toy")


def test_toy_symmetriser_averages_mirror_images(add):
    add("symmetrisers")
    network = toys.tiny_pet()
    atoms = toys.ethanol()
    image = toys.ethanol()
    image.positions[:, 0] *= -1
    energies = [
        result["energy"] for result in PETCalculator(network).evaluate([atoms, image], ["energy"])
    ]
    assert abs(energies[0] - energies[1]) > 1e-3
    averaged = PETCalculator(network, symmetrise="toy:x")
    for result in averaged.evaluate([atoms, image], ["energy"]):
        assert result["energy"] == pytest.approx(np.mean(energies), rel=1e-10)


def test_toy_symmetriser_reflects_dipoles_back(add):
    add("symmetrisers")
    network = toys.tiny_pet("several heads")
    molecule = toys.ethanol()
    image = toys.ethanol()
    image.positions[:, 2] *= -1
    calculator = PETCalculator(network, symmetrise="toy")
    first, second = calculator.evaluate([molecule, image], ["dipole"])
    assert first["dipole"] == pytest.approx(second["dipole"] * [1, 1, -1], rel=1e-10)


def test_toy_symmetriser_has_forces_and_stress_that_are_derivatives(add):
    add("symmetrisers")
    calculator = PETCalculator(toys.tiny_pet(), symmetrise="toy")
    results = checks.run(calculator, {"silicon": toys.silicon()}, only=["gradients"])
    assert statuses(results) == {"pass"}


def test_calculator_folder_names_the_toy_symmetriser(add, tmp_path):
    add("symmetrisers")
    card = store.Card("tiny", symmetrise="toy:x", dtype="float64")
    store.save(tmp_path / "tiny", toys.tiny_pet(), card)
    by_folder = PETCalculator(tmp_path / "tiny").get_potential_energy(toys.ethanol())
    by_name = PETCalculator(toys.tiny_pet(), symmetrise="toy:x")
    assert by_folder == by_name.get_potential_energy(toys.ethanol())


def test_toy_symmetriser_is_a_valid_choice(add):
    with pytest.raises(ValueError, match="valid choices are .*none, quadrature$"):
        PETCalculator(toys.tiny_pet(), symmetrise="unknown")
    add("symmetrisers")
    with pytest.raises(ValueError, match="valid choices are .*none, quadrature, toy$"):
        PETCalculator(toys.tiny_pet(), symmetrise="unknown")
    with pytest.raises(ValueError, match="valid choices are toy, toy:x"):
        PETCalculator(toys.tiny_pet(), symmetrise="toy:w")


# A check


def test_toy_check_states_what_it_measures(add):
    add("checks")
    test_house.test_check_states_what_it_measures_and_on_what("toy")
    assert "toy" in checks.names("quick")


def test_toy_check_passes_on_calculators_of_ase_and_of_this_package(add):
    add("checks")
    silicon = PETCalculator(toys.tiny_pet())
    assert statuses(checks.run(silicon, [molecule("SiH4")], only=["toy"])) == {"pass"}
    assert statuses(checks.run(EMT(), [Atoms("CuAu", [[0] * 3, [0, 0, 2.6]])], only=["toy"])) == {
        "pass"
    }
    assert statuses(
        checks.run(laws.Function(laws.argon, cutoff=7.5), laws.cluster(), only=["toy"])
    ) == {"pass"}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_toy_check_fails_on_its_broken_calculator(add, dtype):
    wrong = laws.Function(add("checks").broken(laws.argon), cutoff=7.5)
    results = checks.run(wrong, laws.cluster(), only=["toy"], dtype=dtype)
    assert statuses(results) == {"fail"}
    assert "| `toy` | FAIL |" in checks.markdown(results)
    assert "nergies of formation" in checks.html(results)


def test_reports_and_the_command_include_the_toy_check(add, tmp_path):
    add("checks")
    structure = tmp_path / "cluster.xyz"
    ase.io.write(structure, Atoms("CuAu", [[0, 0, 0], [0, 0, 2.6]]))
    report = tmp_path / "report.html"
    text = command(
        *("check", "--calculator", "ase.calculators.emt:EMT", "--only", "toy", "--json"),
        *("--structure", structure, "--html", report),
    )
    (result,) = json.loads(text)["results"]
    assert result["check"] == "toy"
    html = report.read_text(encoding="utf-8")
    assert "Size extensivity" in html


# A format


def write(path, model, version=1):
    """A file of the toy format with a PET model."""
    settings = {name: value for name, value in vars(model.settings).items() if value is not None}
    weights = {name: tensor.tolist() for name, tensor in model.state_dict().items()}
    body = json.dumps({"settings": settings, "weights": weights})
    path.write_text(f"toy model, version {version}\n{body}\n", encoding="utf-8")


@pytest.fixture
def checkpoint(add, tmp_path):
    """File of the toy format with a PET model without composition energies."""
    add("formats")
    write(tmp_path / "tiny.txt", toys.tiny_pet())
    return tmp_path / "tiny.txt"


def test_toy_format_is_read_without_loss(checkpoint):
    network = formats.read(checkpoint)
    expected = toys.tiny_pet().state_dict()
    assert network.settings == toys.tiny_pet().settings
    assert all(torch.equal(network.state_dict()[name], expected[name]) for name in expected)
    assert PETCalculator(checkpoint).get_forces(toys.ethanol()) == pytest.approx(
        PETCalculator(toys.tiny_pet()).get_forces(toys.ethanol()), abs=1e-10
    )


def test_toy_format_is_converted_to_a_calculator_folder(checkpoint, tmp_path):
    folder = tmp_path / "converted"
    assert "calculator.toml" in command("convert", checkpoint, folder)
    energies = [
        PETCalculator(path).get_potential_energy(toys.silicon()) for path in (checkpoint, folder)
    ]
    assert energies[0] == energies[1]


def test_toy_format_is_named_where_no_format_recognises_a_file(checkpoint):
    checkpoint.write_text("something else", encoding="utf-8")
    with pytest.raises(ValueError, match="known formats are .*toy"):
        PETCalculator(checkpoint)


def test_reference_of_the_site_has_a_page_part_for_the_toy_format(add, monkeypatch):
    add("formats")
    for module in ("config.defaults", "structure.files", "structure.pages"):
        monkeypatch.setitem(sys.modules, f"mkdocs.{module}", MagicMock())
    hooks = runpy.run_path(str(ROOT / "docs" / "site_hooks.py"))
    assert "ase_pet.formats.toy" in hooks["API"]["formats"]


def test_toy_format_refuses_an_unknown_version_and_damage(checkpoint):
    write(checkpoint, toys.tiny_pet(), version=2)
    with pytest.raises(ValueError, match="has version '2': expected '1'"):
        PETCalculator(checkpoint)
    checkpoint.write_text('toy model, version 1\n{"settings": {}', encoding="utf-8")
    with pytest.raises(ValueError, match="is damaged: JSONDecodeError"):
        PETCalculator(checkpoint)


def test_a_name_with_control_characters_is_shown_without_them():
    with pytest.raises(ValueError, match=r"^`a\\x1b\]0;b` is not one of the models: valid"):
        plugins.load("ase_pet.models", "a\x1b]0;b")
