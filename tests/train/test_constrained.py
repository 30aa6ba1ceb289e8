"""Labels of structures with constraints: those that ASE may have changed are left out."""

import ase.io
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import (
    ExternalForce,
    FixAtoms,
    FixBondLengths,
    FixCartesian,
    FixCom,
    FixedLine,
    FixedPlane,
    FixInternals,
    FixLinearTriatomic,
    FixScaled,
    FixSubsetCom,
    FixSymmetry,
    Hookean,
    MirrorForce,
)

from ase_pet.cli.eval import compare
from ase_pet.train import data, labels
from ase_pet.train.recipe import Recipe
from ase_pet.train.schema import Data, Keys


def rattled():
    atoms = bulk("Cu", cubic=True) * (2, 1, 1)
    atoms.rattle(0.05, seed=1)
    return atoms


def symmetry(atoms):
    """Of the crystal without displacements, which the structure lacks."""
    return FixSymmetry(bulk("Cu", cubic=True) * (2, 1, 1))


# constraint and number of force components that stay in 24
PROJECTIONS = {
    "FixAtoms": (lambda atoms: FixAtoms([0, 3]), 18),
    "FixCartesian": (lambda atoms: FixCartesian([0], [True, False, True]), 22),
    "FixedPlane": (lambda atoms: FixedPlane([0, 1], (1, 0, 0)), 22),
    "a skew plane": (lambda atoms: FixedPlane([0], (1, 1, 1)), 21),
    "FixedLine": (lambda atoms: FixedLine([0], (0, 0, 1)), 22),
    "FixScaled": (lambda atoms: FixScaled([0, 1], (True, False, False)), 22),
    "FixCom": (lambda atoms: FixCom(), 24),
    "FixSubsetCom": (lambda atoms: FixSubsetCom([0, 1]), 18),
    "FixBondLengths": (lambda atoms: FixBondLengths([[0, 1]]), 18),
    "a bond and an end of it": (
        lambda atoms: [FixBondLengths([[0, 1]]), FixAtoms([0])],
        18,
    ),
    "FixSymmetry": (symmetry, 0),
    "FixInternals": (lambda atoms: FixInternals(bonds=[[None, [0, 1]]]), 0),
}
SPRINGS = {
    "two atoms": lambda atoms: Hookean(0, 1, 5.0, 1.0),
    "a point": lambda atoms: Hookean(0, (1, 2, 3), 5.0, 0.1),
    "a plane": lambda atoms: Hookean(0, (0, 0, 1, 5), 5.0),
    "a force": lambda atoms: ExternalForce(0, 1, 0.5),
}


def labelled(constraints, applied=True):
    """Structure whose labels are those that ASE gives with or without its constraints."""
    atoms = rattled()
    atoms.calc = EMT()
    atoms.set_constraint(constraints(atoms))
    results = {
        "energy": atoms.get_potential_energy(apply_constraint=applied),
        "forces": atoms.get_forces(apply_constraint=applied),
        "stress": atoms.get_stress(apply_constraint=applied),
    }
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def compared(tmp_path, atoms):
    """Errors of EMT, which made the labels, and the notes."""
    ase.io.write(tmp_path / "a.traj", [atoms, *[labelled(lambda atoms: [])] * 2])
    with pytest.warns(UserWarning, match="structure 0") as notes:
        errors = compare(EMT(), ase.io.read(tmp_path / "a.traj", ":"))
    return errors, " ".join(str(note.message) for note in notes)


@pytest.mark.parametrize("name", list(PROJECTIONS))
def test_forces_after_constraints_are_left_out(name, tmp_path):
    constraints, kept = PROJECTIONS[name]
    atoms = labelled(constraints)
    errors, notes = compared(tmp_path, atoms)
    assert ("not used" in notes) == (kept < 24)
    for kind in ("energy", "forces", "stress"):
        assert errors[kind]["rmse"] == pytest.approx(0, abs=1e-4)
    values = labels.of_structure(atoms, Keys(), "here", labels.Notes())
    assert np.isfinite(values.get("forces", np.nan)).sum() == kept


@pytest.mark.parametrize("name", list(PROJECTIONS))
def test_forces_of_the_potential_stay(name, tmp_path):
    errors, notes = compared(tmp_path, labelled(PROJECTIONS[name][0], applied=False))
    assert "not used" not in notes
    assert errors["forces"]["structures"] == 3
    assert errors["forces"]["rmse"] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    "constraints",
    [lambda atoms: MirrorForce(0, 1), lambda atoms: FixLinearTriatomic([(0, 1, 2)])],
)
def test_maps_that_are_no_projections(constraints, tmp_path):
    """Mirrored forces cannot be told from others unless something shows that they are not."""
    atoms = labelled(constraints)
    errors, notes = compared(tmp_path, atoms)
    assert type(atoms.constraints[0]).__name__ in notes
    assert errors["forces"]["rmse"] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("name", list(SPRINGS))
def test_energies_and_forces_of_springs_are_left_out(name, tmp_path):
    errors, notes = compared(tmp_path, labelled(SPRINGS[name]))
    assert "energy and forces may have a part of" in notes
    assert errors["energy"]["structures"] == errors["forces"]["structures"] == 2
    for kind in ("energy", "forces", "stress"):
        assert errors[kind]["rmse"] == pytest.approx(0, abs=1e-9)


def test_a_spring_that_is_loose_adds_nothing(tmp_path):
    errors, notes = compared(tmp_path, labelled(lambda atoms: Hookean(0, 1, 5.0, 9.0)))
    assert "not used" not in notes
    assert errors["energy"]["structures"] == 3


def test_structures_with_springs_are_left_out_of_training(tmp_path):
    """A structure without an energy is none to train on."""
    frames = [labelled(lambda atoms: []), labelled(SPRINGS["two atoms"])]
    plane = labelled(PROJECTIONS["FixedPlane"][0])
    ase.io.write(tmp_path / "train.traj", [*frames, plane])
    ase.io.write(tmp_path / "val.traj", frames[:1])
    files = Data(train=("train.traj",), val=("val.traj",))
    recipe = Recipe("cu", "pet", {"species": ["Cu"]}, files, folder=tmp_path)
    with pytest.warns(UserWarning, match="train.traj") as notes:
        splits = data.read(recipe, [29], 4.0)
    assert any("structure 1: left out, as energy" in str(note.message) for note in notes)
    assert len(splits["train"]) == 2
    assert np.isnan(splits["train"][1].forces).sum() == 2
