"""PONITA in the calculator: other axes at load, by number or name."""

import json

import pytest
from ase.calculators.singlepoint import SinglePointCalculator
from typer.testing import CliRunner

import toys
from ase_pet import PETCalculator, orientations, store
from ase_pet.cli import app
from local_toys import STRUCTURES
from ponita_toys import tiny_ponita


@pytest.fixture
def folder(tmp_path):
    """A calculator folder of a small PONITA."""
    card = store.Card(
        "toy", dtype="float64", shortest_distances={(1, 1): 0.6}, provenance={"data": "none"}
    )
    store.save(tmp_path / "toy", tiny_ponita(), card)
    return tmp_path / "toy"


@pytest.mark.parametrize(
    ("axes", "name", "count"),
    [
        (14, "antipodal:14", 14),
        (7, "repulsion:7", 7),
        (12, "icosahedral", 12),
        (300, "fibonacci:300", 300),
        ("dodecahedral", "dodecahedral", 20),
        ("fibonacci:9", "fibonacci:9", 9),
    ],
)
def test_axes_are_replaced_and_all_else_is_kept(folder, axes, name, count):
    plain = PETCalculator(folder)
    calculator = PETCalculator(folder, orientations=axes, orientations_untrained=True)
    assert calculator.card == plain.card
    assert calculator.model.settings.orientations == name
    assert len(calculator.model.axes) == count
    atoms = STRUCTURES["ethanol"]()
    energy = PETCalculator(tiny_ponita().with_orientations(name)).get_potential_energy(atoms)
    assert calculator.get_potential_energy(atoms) == pytest.approx(energy, abs=1e-12)


def test_more_axes_are_another_energy(folder):
    atoms = STRUCTURES["ethanol"]()
    energies = [
        PETCalculator(folder, orientations=n, orientations_untrained=n == 14).get_potential_energy(
            atoms
        )
        for n in (None, 12, 14)
    ]
    assert energies[0] == energies[1]
    assert abs(energies[2] - energies[0]) > 1e-6


def test_axes_go_through_a_dictionary_and_symmetrisers(folder):
    calculator = PETCalculator(
        folder, orientations=14, orientations_untrained=True, symmetrise="group:O:proper"
    )
    assert calculator.todict()["orientations"] == 14
    again, atoms = PETCalculator.fromdict(calculator.todict()), STRUCTURES["slab"]()
    assert again.model.model.settings.orientations == "antipodal:14"
    assert again.get_potential_energy(atoms) == calculator.get_potential_energy(atoms)
    assert "orientations" not in PETCalculator(folder).todict()


@pytest.mark.parametrize(
    ("axes", "text"),
    [
        (0, "expected a number of points"),
        (10**6, "expected a number of points"),
        (True, "expected a number of axes"),
        (6.0, "expected a number of axes"),
        ("cubic", "valid choices are octahedral"),
    ],
)
def test_bad_axes_are_refused(axes, text):
    with pytest.raises(ValueError, match=f"`orientations` is .*{text}"):
        PETCalculator(tiny_ponita(), orientations=axes)


@pytest.mark.parametrize("axes", [14, "dodecahedral", "antipodal:12"])
def test_axes_that_the_model_was_not_trained_on_are_refused(folder, axes):
    with pytest.raises(ValueError, match=r"was not trained on .*'icosahedral'.* 727 meV/A on 64"):
        PETCalculator(folder, orientations=axes)
    with pytest.raises(ValueError, match="`orientations_untrained` is 1: expected True or False"):
        PETCalculator(folder, orientations=axes, orientations_untrained=1)
    # the own grid is no other one
    assert PETCalculator(folder, orientations="icosahedral", orientations_untrained=False)


def test_models_without_axes_are_refused():
    with pytest.raises(ValueError, match="`orientations` is 64, but this model has none"):
        PETCalculator(toys.tiny_pet(), orientations=64)
    with pytest.raises(ValueError, match="`orientations`: PNITA has none"):
        PETCalculator(tiny_ponita("PNITA"), orientations=64)


@pytest.mark.parametrize("number", [0, -3, True, 2.0, orientations.MOST_POINTS + 1])
def test_grids_have_a_number_of_points(number):
    with pytest.raises(ValueError, match="expected a number of points from 1 to 1024"):
        orientations.name_of(number)


def test_command_line_takes_axes(folder, tmp_path):
    atoms = STRUCTURES["ethanol"]()
    atoms.write(tmp_path / "atoms.xyz")
    energies = []
    for axes in ("20", "antipodal:20"):
        answer = CliRunner().invoke(
            app,
            [
                *("info", str(folder), str(tmp_path / "atoms.xyz"), "--json"),
                *("--orientations", axes, "--orientations-untrained"),
            ],
        )
        assert answer.exit_code == 0, answer.output
        energies.append(json.loads(answer.stdout)["structure"]["energy"])
    assert energies[0] == energies[1] != PETCalculator(folder).get_potential_energy(atoms)


@pytest.mark.parametrize(
    "arguments",
    [
        ("info", "CALC", "FILE"),
        ("singlepoint", "CALC", "FILE", "--output", "results.extxyz"),
        ("eval", "CALC", "FILE"),
        ("label", "CALC", "FILE", "--output", "labels.extxyz"),
        ("bench", "CALC", "FILE", "--steps", "1"),
        ("check", "CALC"),
        ("relax", "CALC", "FILE", "--output", "relaxed"),
        ("md", "CALC", "FILE", "--ensemble", "nve", "--time", "0.01", "--output", "run"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_every_command_refuses_axes_of_no_training(folder, tmp_path, monkeypatch, arguments):
    """Before anything is computed or written."""
    monkeypatch.chdir(tmp_path)
    atoms = STRUCTURES["ethanol"]()
    atoms.calc = SinglePointCalculator(atoms, energy=0.0, forces=0 * atoms.positions)
    atoms.write("atoms.extxyz")
    names = {"CALC": "toy", "FILE": "atoms.extxyz"}
    given = [names.get(argument, argument) for argument in arguments]
    answer = CliRunner().invoke(app, [*given, "--orientations", "64"])
    assert "was not trained on" in str(answer.exception)
    assert "--orientations-untrained" in str(answer.exception)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["atoms.extxyz", "toy"]
