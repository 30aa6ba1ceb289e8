"""Commands about crystals: what is on disk however they end, and whose results a folder holds."""

import json

import ase.io
import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.calculators.emt import EMT as Emt
from ase.constraints import FixAtoms
from typer.testing import CliRunner

from ase_pet import phonons
from ase_pet.cli import app
from ase_pet.cli._crystals import temperatures

EMT = ("--calculator", "ase.calculators.emt:EMT")


def command(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments)])


@pytest.fixture
def rattled(tmp_path):
    """File of copper without symmetry, four atoms."""
    atoms = bulk("Cu", cubic=True, a=3.59)
    atoms.rattle(0.05, seed=3)
    ase.io.write(tmp_path / "rattled.extxyz", atoms)
    return tmp_path / "rattled.extxyz"


@pytest.fixture
def perfect(tmp_path):
    """File of copper, one atom."""
    ase.io.write(tmp_path / "perfect.extxyz", bulk("Cu", a=3.59))
    return tmp_path / "perfect.extxyz"


def test_relaxation_that_gains_symmetry_is_a_success(rattled, tmp_path):
    done = command("relax", *EMT, rattled, "--output", tmp_path / "out")
    assert done.exit_code == 0
    assert "the space group was P1 (1) and is Fm-3m (225) now" in done.stdout
    final = ase.io.read(tmp_path / "out" / "relaxed.extxyz")
    assert final.info["converged"]
    report = json.loads((tmp_path / "out" / "relax.json").read_text())
    assert report["converged"]
    assert report["space_group"] == "Fm-3m (225)"


def test_unconverged_relaxation_leaves_its_structure(rattled, tmp_path):
    done = command("relax", *EMT, rattled, "--steps", 3, "--output", tmp_path / "out")
    assert done.exit_code != 0
    assert "not converged: the largest force is" in str(done.exception)
    final = ase.io.read(tmp_path / "out" / "relaxed.extxyz")
    assert not final.info["converged"]
    frames = ase.io.read(tmp_path / "out" / "relaxation.traj", ":")
    assert len(frames) == 4
    np.testing.assert_allclose(final.positions, frames[-1].positions, atol=1e-7)
    energies = [frame.get_potential_energy() for frame in frames]
    assert energies == sorted(energies, reverse=True)
    report = json.loads((tmp_path / "out" / "relax.json").read_text())
    assert not report["converged"]
    assert "not converged" in report["error"]


def test_interrupted_relaxation_leaves_its_structure(rattled, tmp_path, monkeypatch):
    def interrupt(self, atoms, step=phonons._folder.Record.step):
        step(self, atoms)
        raise KeyboardInterrupt

    monkeypatch.setattr(phonons._folder.Record, "step", interrupt)
    assert command("relax", *EMT, rattled, "--output", tmp_path / "out").exit_code != 0
    assert not ase.io.read(tmp_path / "out" / "relaxed.extxyz").info["converged"]
    report = json.loads((tmp_path / "out" / "relax.json").read_text())
    assert report["error"].startswith("KeyboardInterrupt")


def test_a_calculator_that_breaks_the_symmetry_is_a_note(tmp_path):
    ase.io.write(tmp_path / "si.extxyz", bulk("Si", a=5.45))
    out = ("--output", tmp_path / "out")
    plain = command("relax", "silicon", tmp_path / "si.extxyz", "--no-cell", *out)
    assert "ase-pet: note: the largest force of the calculator is 0.00" in plain.stderr
    assert "above --fmax 0.0001: within the space group the forces have converged" in plain.stderr
    assert "--symmetrise ecse makes it exact" in plain.stderr
    assert plain.stdout.endswith(f"files in {tmp_path / 'out'}\n")
    report = json.loads((tmp_path / "out" / "relax.json").read_text())
    assert report["converged"]
    assert report["converged_within_symmetry"]
    assert report["largest_force"] > 1e-3
    ecse = ("--symmetrise", "ecse", "--overwrite")
    exact = command("relax", "silicon", tmp_path / "si.extxyz", "--no-cell", *out, *ecse)
    assert "note: the largest force" not in exact.stderr


def test_molecules_are_not_crystals(tmp_path):
    ase.io.write(tmp_path / "n2.xyz", molecule("N2"))
    done = command("relax", *EMT, tmp_path / "n2.xyz", "--output", tmp_path / "out")
    assert done.exit_code == 0
    for word in ("volume", "space group", "cell", "stress", "None"):
        assert word not in done.stdout
    report = json.loads((tmp_path / "out" / "relax.json").read_text())
    assert report["volume"] is None


QUICK = {
    "relax": [],
    "phonons": ["--mesh", "2,2,2", "--supercell", "2,2,2"],
    "elastic": ["--no-ions"],
}


@pytest.mark.parametrize("name", QUICK)
def test_folders_of_another_structure_are_kept(name, perfect, rattled, tmp_path):
    out = ("--output", tmp_path / "out", *QUICK[name])
    assert command(name, *EMT, perfect, *out).exit_code == 0
    before = (tmp_path / "out" / f"{name}.json").read_text()
    other = command(name, *EMT, rattled, *out)
    assert "holds results of Cu, from another structure than this Cu4" in str(other.exception)
    assert (tmp_path / "out" / f"{name}.json").read_text() == before


def test_folders_take_the_same_structure_again(perfect, rattled, tmp_path):
    out = ("--output", tmp_path / "out")
    for _ in range(2):
        assert command("relax", *EMT, perfect, *out).exit_code == 0
    # a relaxation that goes on from its result
    again = tmp_path / "again.extxyz"
    ase.io.write(again, ase.io.read(tmp_path / "out" / "relaxed.extxyz"))
    assert command("relax", *EMT, again, *out).exit_code == 0
    assert command("relax", *EMT, rattled, *out, "--overwrite").exit_code == 0


def test_library_keeps_results_of_another_structure(tmp_path):
    results = []
    for a in (3.59, 3.6):
        atoms = bulk("Cu", a=a)
        atoms.calc = Emt()
        results.append(phonons.run(atoms, relaxed=False, mesh=(2, 2, 2)))
    phonons.write(results[0], tmp_path)
    phonons.write(results[0], tmp_path)
    with pytest.raises(ValueError, match="holds results of Cu"):
        phonons.write(results[1], tmp_path)
    phonons.write(results[1], tmp_path, overwrite=True)


def test_phonons_with_all_options(perfect, tmp_path):
    done = command(
        "phonons",
        *EMT,
        perfect,
        "--output",
        tmp_path / "out",
        "--mesh",
        "4,4,4",
        "--path",
        "G,X,L|K,G",
        "--q-points",
        "0 0 0, 1/2 0 1/2",
        "--temperatures",
        "0:300:100",
        "--pressure",
        "5",
        "--symprec",
        "1e-4",
        "--no-symmetry",
    )
    assert done.exit_code == 0
    assert "relaxed cell 2.50" in done.stdout
    assert "space group Fm-3m (225)" in done.stdout
    assert "zero-point energy 0.0" in done.stdout
    assert "Debye temperature" in done.stdout
    assert "q = [0.5, 0.0, 0.5]:" in done.stdout
    report = json.loads((tmp_path / "out" / "phonons.json").read_text())
    assert report["thermal"]["temperature"] == [0, 100, 200, 300]
    assert report["relaxation"]["pressure"] == 5


def test_commands_ignore_constraints_of_files(tmp_path):
    atoms = bulk("Cu", cubic=True, a=3.59)
    atoms.rattle(0.1, seed=1)
    atoms.set_constraint(FixAtoms(range(4)))
    ase.io.write(tmp_path / "fixed.vasp", atoms)
    arguments = (*EMT, tmp_path / "fixed.vasp", "--no-relax")
    with pytest.warns(UserWarning, match=r"\(FixAtoms\) are ignored for phonons"):
        done = command("phonons", *arguments, "--output", tmp_path / "phonons")
    assert "the largest force is 3.2 eV/A" in str(done.exception)
    atoms = bulk("Cu", cubic=True, a=3.59)
    atoms.set_constraint(FixAtoms(range(4)))
    ase.io.write(tmp_path / "fixed.vasp", atoms)
    with pytest.warns(UserWarning, match=r"\(FixAtoms\) are ignored for elastic constants"):
        done = command("elastic", *EMT, tmp_path / "fixed.vasp", "--json")
    constants = json.loads(done.stdout)["constants"]
    np.testing.assert_allclose(constants[3][3], 89.9, atol=0.2)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("300", [300]), ("100,300.5", [100, 300.5]), ("0:100:25", [0, 25, 50, 75, 100])],
)
def test_temperatures_of_the_command_line(text, expected):
    np.testing.assert_allclose(temperatures(text), expected)


@pytest.mark.parametrize(
    "text",
    [
        *("", "a", "0:100", "100:0:10", "0:100:0", "0:1e9:1", "nan", "-5", "0:nan:1", "1,2:3:4"),
        *("1e300", "0,300,1e300", "0,300,-5", "100001"),
    ],
)
def test_bad_temperatures_of_the_command_line_are_refused(text):
    with pytest.raises(ValueError, match="expected temperatures from 0 to 100000 K"):
        temperatures(text)
