"""Thermal conductivity with phono3py, which is optional: without it these tests are skipped."""

import json
import sys

import ase.io
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms
from typer.testing import CliRunner

from ase_pet import phonons
from ase_pet.cli import app


def copper(structure="fcc", a=3.6):
    atoms = bulk("Cu", structure, a=a)
    atoms.calc = EMT()
    return atoms


@pytest.fixture
def phono3py():
    """The module; the test is skipped where it is missing."""
    return pytest.importorskip(
        "phono3py", reason="phono3py, of the extra `conductivity`, is not installed"
    )


@pytest.mark.filterwarnings("default")
@pytest.mark.usefixtures("phono3py")
def test_conductivity_has_the_symmetry_of_the_crystal_and_falls_with_the_temperature():
    results = phonons.conductivity(
        copper(), (3, 3, 3), mesh=(5, 5, 5), temperatures=(600, 1200), isotopes=False
    )
    np.testing.assert_allclose(
        results.tensors[0], results.mean[0] * np.eye(3), atol=1e-6 * results.mean[0]
    )
    assert (
        abs(results.mean[0] / results.mean[1] - 2) < 0.03
    )  # 1 / T well above the Debye temperature
    assert 1 < results.mean[0] < 100


@pytest.mark.filterwarnings("default")
@pytest.mark.usefixtures("phono3py")
def test_too_small_a_supercell_is_an_error():
    with pytest.raises(ValueError, match="too small: no phonon scatters in it"):
        phonons.conductivity(copper(), (2, 2, 2), mesh=(3, 3, 3), isotopes=False, relaxed=False)


@pytest.mark.filterwarnings("default")
@pytest.mark.usefixtures("phono3py")
def test_imaginary_modes_have_no_conductivity():
    with pytest.raises(
        ValueError, match=r"the crystal has imaginary modes on the mesh, the lowest -"
    ):
        phonons.conductivity(copper("bcc", a=2.87), (2, 2, 2), mesh=(4, 4, 4), relaxed=False)


@pytest.mark.filterwarnings("default")
@pytest.mark.usefixtures("phono3py")
def test_command_writes_what_phono3py_reads(tmp_path):
    from phono3py import load

    ase.io.write(tmp_path / "in.extxyz", bulk("Cu", a=3.59))
    done = CliRunner().invoke(
        app,
        [
            "conductivity",
            "--calculator",
            "ase.calculators.emt:EMT",
            str(tmp_path / "in.extxyz"),
            "--supercell",
            "3,3,3",
            "--mesh",
            "3,3,3",
            "--output",
            str(tmp_path / "out"),
            "--json",
        ],
    )
    report = json.loads(done.stdout)
    assert report == json.loads((tmp_path / "out" / "conductivity.json").read_text())
    assert (
        len(load(tmp_path / "out" / "phono3py_params.yaml", produce_fc=False).forces)
        == report["displaced_supercells"]
    )


def test_missing_phono3py_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "phono3py", None)
    with pytest.raises(
        ValueError, match=r"needs phono3py, of the extra `conductivity` \(pip install"
    ):
        phonons.conductivity(copper())


@pytest.mark.filterwarnings("default")
@pytest.mark.usefixtures("phono3py")
def test_conductivity_of_left_handed_cells_and_fixed_atoms(recwarn):
    atoms = copper(a=3.59)
    left = atoms.copy()
    left.set_cell(atoms.cell[[1, 0, 2]])
    left.set_constraint(FixAtoms([0]))
    left.calc = EMT()
    options = {"mesh": (3, 3, 3), "relaxed": False}
    expected = phonons.conductivity(atoms, (3, 3, 3), **options)
    recwarn.clear()
    found = phonons.conductivity(left, (3, 3, 3), **options)
    np.testing.assert_allclose(found.tensors, expected.tensors, rtol=1e-6, atol=1e-6)
    assert "(FixAtoms) are ignored for the conductivity" in str(recwarn[0].message)


@pytest.mark.filterwarnings("default")
@pytest.mark.usefixtures("phono3py")
def test_bad_arguments_of_the_conductivity_are_refused():
    with pytest.raises(ValueError, match="`mesh` 100 x 100 x 100 has 1000000 q-points"):
        phonons.conductivity(copper(), mesh=(100, 100, 100))
    with pytest.raises(ValueError, match="`displacement` is 5: expected a number"):
        phonons.conductivity(copper(), displacement=5)
    with pytest.raises(ValueError, match="it has not the symmetry of the crystal"):
        phonons.conductivity(copper(a=3.59), (2, 2, 2), mesh=(3, 3, 2), relaxed=False)
    isolated = copper(a=11.0)
    with pytest.raises(ValueError, match="the largest force constant is 0 eV/A"):
        phonons.conductivity(isolated, (1, 1, 1), mesh=(2, 2, 2), relaxed=False)
