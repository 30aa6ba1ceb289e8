"""Exactly symmetric shipped calculators of ethanol: symmetry, errors of their cards, refusals."""

import ase.io
import numpy as np
import pytest
import torch
from ase import units
from ase.build import molecule
from ase.md.velocitydistribution import thermalize_momenta
from ase.md.verlet import VelocityVerlet

from ase_pet import PETCalculator, rotations
from ase_pet.store import shipped_folder

FOLDER = shipped_folder() / "ethanol"
MATRICES = rotations.random_orthogonal(50, torch.Generator().manual_seed(0)).numpy()


EXACT = ("ethanol", "ethanol-pnita")


@pytest.fixture(scope="module", params=EXACT)
def name(request):
    return request.param


@pytest.fixture(scope="module", params=["float64", "float32"])
def calculator(name, request):
    return PETCalculator(name, dtype=request.param)


@pytest.fixture
def hot():
    """A distorted molecule."""
    atoms = molecule("CH3CH2OH")
    atoms.rattle(0.1, seed=3)
    return atoms


def test_energy_and_forces_rotate_and_reflect_with_the_molecule(calculator, hot):
    copies = [hot.copy() for _ in MATRICES]
    for copy, matrix in zip(copies, MATRICES, strict=True):
        copy.positions = copy.positions @ matrix.T
    still, *results = calculator.evaluate([hot, *copies], ("energy", "forces"))
    energy = max(abs(one["energy"] - still["energy"]) for one in results)
    forces = max(
        np.abs(one["forces"] @ matrix - still["forces"]).max()
        for one, matrix in zip(results, MATRICES, strict=True)
    )
    double = calculator.dtype == torch.float64
    assert energy < (1e-12 * abs(still["energy"]) if double else 1e-6 * len(hot))
    assert forces < (1e-10 if double else 1e-4)


def test_there_is_no_net_force_and_no_torque(calculator, hot):
    forces = calculator.evaluate([hot], ("forces",))[0]["forces"]
    limit = 1e-10 if calculator.dtype == torch.float64 else 1e-4
    assert np.abs(forces.sum(0)).max() < limit
    assert np.abs(np.cross(hot.positions, forces).sum(0)).max() < limit


def test_angular_momentum_is_kept(name, hot):
    hot.calc = PETCalculator(name, dtype="float64")
    thermalize_momenta(hot, temperature_K=300, rng=np.random.default_rng(0))
    before = hot.get_angular_momentum()
    VelocityVerlet(hot, units.fs).run(10)
    assert np.linalg.norm(hot.get_angular_momentum() - before) < 1e-12 * np.linalg.norm(before)


@pytest.mark.slow
def test_errors_are_those_of_the_card(name):
    frames = [
        atoms
        for atoms in ase.io.read(FOLDER / "training.extxyz.xz", ":")
        if atoms.info["split"] == "test"
    ]
    calculator = PETCalculator(name)
    results = calculator.evaluate(frames, ("energy", "forces"))
    expected = calculator.card.provenance["errors"]["test"]
    energy = np.mean(
        [
            abs(one["energy"] - atoms.get_potential_energy()) / len(atoms)
            for one, atoms in zip(results, frames, strict=True)
        ]
    )
    forces = np.mean(
        [
            np.abs(one["forces"] - atoms.get_forces()).mean()
            for one, atoms in zip(results, frames, strict=True)
        ]
    )
    assert energy == pytest.approx(expected["energy"]["mae"], rel=1e-2)
    assert forces == pytest.approx(expected["forces"]["mae"], rel=1e-3)


def test_plain_model_without_frames_is_inaccurate():
    with pytest.raises(
        ValueError, match="`ethanol` was trained in the frames of 'ecse' and means nothing outside"
    ):
        PETCalculator("ethanol", symmetrise="none")


@pytest.mark.filterwarnings("ignore:.*closer than in training")
def test_uncertainty_of_a_molecule_tells_more_than_those_of_its_atoms():
    """The numbers of the card and of docs/guides/uncertainty.md."""
    training = ase.io.read(FOLDER / "training.extxyz.xz", "::40")
    training = [atoms for atoms in training if atoms.info["split"] == "train"]
    displaced = [atoms.copy() for atoms in training]
    for seed, atoms in enumerate(displaced):
        atoms.rattle(0.1, seed=seed)
    calculator = PETCalculator("ethanol-pnita")
    names = ("energy_uncertainty", "energies_uncertainty")
    of_atom, of_molecule = [], []
    for structures in (training, displaced):
        rows = calculator.evaluate(structures, names)
        of_atom.append(np.array([row["energies_uncertainty"].max() for row in rows]))
        of_molecule.append(np.array([row["energy_uncertainty"] for row in rows]))
    assert 0.77 < of_atom[0].min() < of_atom[0].max() < 0.81
    assert of_molecule[0].max() < 0.0024
    assert np.median(of_molecule[1]) > 10 * np.median(of_molecule[0])
    assert np.median(of_atom[1]) < 1.05 * np.median(of_atom[0])
