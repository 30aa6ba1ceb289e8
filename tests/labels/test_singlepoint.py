"""Labelled structures: values, order, bad structures, interrupts and restarts."""

import fcntl
import json

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from ase.data import chemical_symbols
from typer.testing import CliRunner

from ase_pet import PETCalculator, extxyz, labels
from ase_pet.cli import app
from laws import Function
from paths import DATA
from toys import tiny_pet

EMT_NAME = "ase.calculators.emt:EMT"


def copper(count=4):
    """Displaced cells of copper of different volumes."""
    structures = []
    for number in range(count):
        atoms = bulk("Cu", cubic=True, a=3.5 + 0.05 * number)
        atoms.rattle(0.05, seed=number)
        structures.append(atoms)
    return structures


def command(*arguments):
    return CliRunner().invoke(app, ["singlepoint", *map(str, arguments)])


@pytest.fixture
def files(tmp_path):
    """A file of four structures, and one of one."""
    ase.io.write(tmp_path / "many.extxyz", copper())
    ase.io.write(tmp_path / "one.cif", bulk("Cu", a=3.6))
    return [tmp_path / "many.extxyz", tmp_path / "one.cif"]


def expected(files):
    """Structures of the files with EMT."""
    structures = [atoms for path in files for atoms in ase.io.read(path, ":")]
    for atoms in structures:
        atoms.calc = EMT()
    return structures


def assert_labelled(output, structures):
    frames = ase.io.read(output, ":")
    assert len(frames) == len(structures)
    for frame, atoms in zip(frames, structures, strict=True):
        assert frame.get_potential_energy() == pytest.approx(atoms.get_potential_energy(), abs=1e-9)
        np.testing.assert_allclose(frame.get_forces(), atoms.get_forces(), atol=1e-8)
        np.testing.assert_allclose(frame.get_stress(), atoms.get_stress(), atol=1e-12)


def test_labels_of_any_calculator_in_order(files, tmp_path):
    output = tmp_path / "labelled.extxyz"
    done = command("--calculator", EMT_NAME, *files, "--output", output, "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["labelled"] == 5
    assert_labelled(output, expected(files))
    sources = [frame.info["source"] for frame in ase.io.read(output, ":")]
    assert sources == [*(f"{files[0]}:{k}" for k in range(4)), f"{files[1]}:0"]


def test_labels_in_batches_are_those_of_single_calls():
    calculator = PETCalculator(tiny_pet(), dtype="float64")
    crystal = Atoms("OH", [[0, 0, 0], [0.1, 0.9, 0.2]], cell=[4, 4, 4], pbc=True)
    structures = [molecule("H2O"), crystal, molecule("CH3OH")]
    rows = list(labels.label(calculator, structures))
    for row, atoms in zip(rows, structures, strict=True):
        np.testing.assert_allclose(
            row.get_forces(), calculator.get_property("forces", atoms), atol=1e-10
        )
        energies = row.calc.results["energies"]
        assert energies.sum() == pytest.approx(row.get_potential_energy())
    assert ["stress" in row.calc.results for row in rows] == [False, True, False]


def test_uncertainties_are_written():
    """As a model with last-layer uncertainties states them."""
    calculator = Function(
        lambda atoms: {
            "energy": 1.0,
            "forces": np.zeros((len(atoms), 3)),
            "energy_uncertainty": 0.25,
            "energies_uncertainty": np.full(len(atoms), 0.1),
        }
    )
    calculator.implemented_properties = [
        "energy",
        "forces",
        "energy_uncertainty",
        "energies_uncertainty",
    ]
    (row,) = labels.label(calculator, [molecule("H2O")])
    assert row.info["energy_uncertainty"] == 0.25
    assert row.arrays["energies_uncertainty"].tolist() == [0.1] * 3


def test_uncertainties_of_a_model_are_written():
    calculator = PETCalculator(DATA / "pet_llpr.ckpt", dtype="float64")
    symbol = chemical_symbols[calculator.species[0]]
    atoms = Atoms([symbol, symbol], [[0, 0, 0], [1.6, 0.2, 0]])
    row, other = labels.label(calculator, [atoms, atoms])
    expected = calculator.get_property("energy_uncertainty", atoms)
    assert row.info["energy_uncertainty"] == pytest.approx(expected)
    assert other.arrays["energies_uncertainty"].shape == (2,)


def test_forces_are_those_of_the_potential():
    atoms = copper(1)[0]
    atoms.set_constraint(FixAtoms([0, 1]))
    with pytest.warns(UserWarning, match=r"constraints .*FixAtoms.* are ignored for labels"):
        (row,) = labels.label(EMT(), [atoms])
    atoms.calc = EMT()
    np.testing.assert_allclose(row.get_forces(), atoms.get_forces(apply_constraint=False))
    assert not row.constraints


def test_old_labels_are_replaced(tmp_path):
    atoms = copper(1)[0]
    atoms.calc = SinglePointCalculator(atoms, energy=7.0, forces=np.ones((4, 3)))
    atoms.info["stress"] = np.ones(6)
    atoms.info["note"] = "kept"
    (row,) = labels.label(EMT(), [atoms])
    ase.io.write(tmp_path / "x.extxyz", row)
    read = ase.io.read(tmp_path / "x.extxyz")
    assert read.get_potential_energy() == pytest.approx(EMT().get_property("energy", atoms))
    assert read.info["note"] == "kept"


@pytest.mark.parametrize("calculator", ["any", "batched"])
def test_a_bad_structure_does_not_lose_the_others(calculator):
    structures = copper(3)
    structures.insert(1, bulk("W"))
    made = EMT()
    if_batched = Function(lambda atoms: made.calculate(atoms) or made.results)
    if_batched.evaluate = lambda list_of_atoms, properties: [
        {name: EMT().get_property(name, atoms) for name in properties} for atoms in list_of_atoms
    ]
    chosen = {"any": made, "batched": if_batched}[calculator]
    rows = list(labels.label(chosen, structures, ["a:0", "b:0", "b:1", "b:2"]))
    assert [isinstance(row, labels.Failure) for row in rows] == [False, True, False, False]
    assert rows[1].source == "b:0"
    assert "W" in rows[1].error


def test_nan_is_no_label():
    calculator = Function(lambda atoms: {"energy": np.nan, "forces": np.zeros((1, 3))})
    calculator.implemented_properties = ["energy", "forces"]
    (row,) = labels.label(calculator, [Atoms("Ar")])
    assert "energy with nan" in row.error


def test_failures_are_listed_and_end_in_exit_status_1(files, tmp_path):
    ase.io.write(tmp_path / "w.extxyz", bulk("W"))
    output = tmp_path / "labelled.extxyz"
    paths = [files[0], tmp_path / "w.extxyz", files[1]]
    done = command("--calculator", EMT_NAME, *paths, "--output", output)
    assert done.exit_code == 1
    assert f"{tmp_path / 'w.extxyz'}:0: " in done.stderr
    assert "without labels: 1 of 6" in done.stderr
    assert_labelled(output, expected(files))


def test_a_file_is_not_overwritten(files, tmp_path):
    output = tmp_path / "labelled.extxyz"
    output.write_text("precious")
    done = command("--calculator", EMT_NAME, *files, "--output", output)
    assert isinstance(done.exception, ValueError)
    assert "exists" in str(done.exception)
    assert output.read_text() == "precious"


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.55, 0.999, 1.0])
def test_an_interrupted_run_continues(files, tmp_path, kept):
    """A file that was cut anywhere, even in a line, ends as the uninterrupted one."""
    output = tmp_path / "labelled.extxyz"
    arguments = ["--calculator", EMT_NAME, *files, "--output", output]
    assert command(*arguments).exit_code == 0
    content = output.read_text()
    output.write_text(content[: int(kept * len(content))])
    done = command(*arguments, "--restart")
    assert done.exit_code == 0, done.output
    assert output.read_text() == content


def test_ctrl_c_keeps_what_is_done(files, tmp_path, monkeypatch):
    output = tmp_path / "labelled.extxyz"

    def stops(calculator, structures, sources, executor):
        yield next(iter(labels_before(calculator, structures[:1], sources[:1])))
        raise KeyboardInterrupt

    labels_before = labels.label
    monkeypatch.setattr(labels, "label", stops)
    done = command("--calculator", EMT_NAME, *files, "--output", output)
    assert done.exit_code == 130
    assert "--restart" in done.stderr
    monkeypatch.undo()
    done = command("--calculator", EMT_NAME, *files, "--output", output, "--restart")
    assert done.exit_code == 0
    assert_labelled(output, expected(files))


@pytest.mark.parametrize("change", ["calculator", "structures", "files"])
def test_a_restart_notices_what_changed(files, tmp_path, change):
    output = tmp_path / "labelled.extxyz"
    assert command("--calculator", EMT_NAME, files[0], "--output", output).exit_code == 0
    calculator = EMT_NAME
    paths = files[:1]
    messages = {"calculator": "labels of another calculator", "structures": "another structure"}
    changes = {
        "calculator": lambda: "ase.calculators.lj:LennardJones",
        "structures": lambda: ase.io.write(files[0], copper(5)[1:]) or EMT_NAME,
        "files": lambda: paths.reverse() or paths.append(files[1]) or paths.pop(0) and EMT_NAME,
    }
    calculator = changes[change]()
    done = command("--calculator", calculator, *paths, "--output", output, "--restart")
    assert isinstance(done.exception, ValueError)
    assert messages.get(change, "not among those to label") in str(done.exception)


CHANGES = {
    "pbc": lambda atoms: atoms.set_pbc(False),
    "charge": lambda atoms: atoms.info.update(charge=1),
    "spin": lambda atoms: atoms.info.update(spin=3),
    "magnetic moments": lambda atoms: atoms.set_initial_magnetic_moments([1, 0, 0, 0]),
    "masses": lambda atoms: atoms.set_masses([1, 2, 3, 4]),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_restart_names_the_structure_that_changed(files, tmp_path, change):
    output = tmp_path / "labelled.extxyz"
    assert command("--calculator", EMT_NAME, files[0], "--output", output).exit_code == 0
    structures = copper()
    CHANGES[change](structures[1])
    ase.io.write(files[0], structures)
    done = command("--calculator", EMT_NAME, files[0], "--output", output, "--restart")
    assert isinstance(done.exception, ValueError)
    assert f"many.extxyz:1, with other {change}" in str(done.exception)


def test_a_restart_keeps_all_that_is_compared(files, tmp_path):
    structures = copper()
    for change in CHANGES.values():
        change(structures[1])
    ase.io.write(files[0], structures)
    output = tmp_path / "labelled.extxyz"
    arguments = ["--calculator", EMT_NAME, files[0], "--output", output]
    assert command(*arguments).exit_code == 0
    done = command(*arguments, "--restart")
    assert (done.exit_code, done.exception) == (0, None)


def test_a_restart_notices_a_changed_energy_of_any_of_few_frames(files, tmp_path):
    output = tmp_path / "labelled.extxyz"
    assert command("--calculator", EMT_NAME, files[0], "--output", output).exit_code == 0
    frames = ase.io.read(output, ":")
    frames[1].calc.results["energy"] += 1
    ase.io.write(output, frames)
    done = command("--calculator", EMT_NAME, files[0], "--output", output, "--restart")
    assert "many.extxyz:1 has" in str(done.exception)


def test_what_the_format_cannot_hold_is_left_out(tmp_path):
    atoms = copper(1)[0]
    atoms.info.update({"note": "two\nlines", "a\nb": 1, "colour": "\x1b[31m", "kept": "a b"})
    atoms.info.update({"energy": 3.0, "list": ["x", 1]})
    atoms.write(tmp_path / "in.traj")
    output = tmp_path / "labelled.extxyz"
    with pytest.warns(UserWarning, match="left out of extxyz") as caught:
        done = command("--calculator", EMT_NAME, tmp_path / "in.traj", "--output", output)
    assert done.exit_code == 0, done.output
    assert "'note', 'a\\nb', 'colour'" in str(caught[0].message)
    frame = ase.io.read(output)
    assert set(frame.info) == {"kept", "list", "source"}
    assert_labelled(output, expected([tmp_path / "in.traj"]))


def test_columns_of_texts_with_spaces_are_left_out():
    atoms = copper(1)[0]
    assert extxyz.writable(atoms) is atoms
    atoms.arrays["names"] = np.array(["a b"] * len(atoms))
    atoms.arrays["words"] = np.array(["a"] * len(atoms))
    with pytest.warns(UserWarning, match="cannot hold it: 'names'"):
        assert "words" in extxyz.writable(atoms).arrays


def test_arguments_are_named():
    done = command("--calculator", EMT_NAME, "--output", "x.extxyz")
    assert "give CALC FILES" in str(done.exception)


def label(*arguments):
    return CliRunner().invoke(app, ["label", "--calculator", EMT_NAME, *map(str, arguments)])


def test_training_data_have_a_split_and_names(files, tmp_path):
    output = tmp_path / "out.extxyz"
    arguments = [*files, "--output", output, "--split", "0.6,0.2,0.2", "--prefix", "REF_"]
    done = label(*arguments, "--seed", 3)
    assert done.exit_code == 0, done.output
    frames = ase.io.read(output, ":")
    parts = [frame.info["split"] for frame in frames]
    assert sorted(parts) == ["test", "train", "train", "train", "val"]
    for frame, atoms in zip(frames, expected(files), strict=True):
        assert frame.calc is None
        energy = atoms.get_potential_energy()
        assert frame.info["REF_energy"] == pytest.approx(energy, abs=1e-9)
        np.testing.assert_allclose(frame.arrays["REF_forces"], atoms.get_forces(), atol=1e-8)
        np.testing.assert_allclose(frame.info["REF_stress"], atoms.get_stress(), atol=1e-8)

    # a file that was cut off is continued to the same one
    whole = output.read_text()
    cut = "".join(whole.splitlines(keepends=True)[:9])
    output.write_bytes(cut.encode() + "ä".encode()[:1])
    assert label(*arguments, "--seed", 3, "--restart").exit_code == 0
    assert output.read_text() == whole


@pytest.mark.parametrize("split", ["0.8,0.1", "0.8,0.1,0.2", "1.2,-0.1,-0.1", "a,b,c"])
def test_a_split_has_three_fractions(files, tmp_path, split):
    done = label(*files, "--output", tmp_path / "out.extxyz", "--split", split)
    assert "`--split` is" in str(done.exception)


def test_a_prefix_is_a_name(files, tmp_path):
    done = label(*files, "--output", tmp_path / "out.extxyz", "--prefix", "my labels")
    assert "`--prefix` is" in str(done.exception)


def test_a_file_that_another_command_writes_is_left_alone(files, tmp_path):
    output = tmp_path / "out.extxyz"
    with output.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        done = label(*files, "--output", output, "--restart")
    assert "belongs to a command that is running" in str(done.exception)
    done = label(*files, "--output", tmp_path / "out.traj")
    assert "out.traj': expected a file .extxyz or .xyz" in str(done.exception)
