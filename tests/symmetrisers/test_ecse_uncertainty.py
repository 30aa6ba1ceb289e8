"""Uncertainties of symmetrised models.

Last-layer features are means over rotations or frames, like energies.
"""

import pytest
import torch

import toys
from ase_pet import PETCalculator, TooUncertain, rotations
from ase_pet.models import original_pet
from ase_pet.symmetrisers import ecse, symmetrise
from local_toys import STRUCTURES, batch, evaluate, local_pet, rotated
from tolerances import worst

MEMBERS = 3


def uncertain(model):
    """The model with a random covariance and ensemble, of standard deviations about 0.1 eV."""
    last = model.uncertainty
    generator = torch.Generator().manual_seed(2)
    noise = torch.randn(last.factor.shape, generator=generator, dtype=torch.float64)
    last.factor.copy_(noise.tril(-1) / 10 + torch.eye(len(noise)))
    last.multiplier.fill_(0.02)
    last.ensemble.copy_(
        0.01 * torch.randn(last.ensemble.shape, generator=generator, dtype=torch.float64)
    )
    return model.requires_grad_(False)


NETWORK = uncertain(local_pet(uncertainties={"energy": MEMBERS}))
PASSING = uncertain(toys.tiny_pet(uncertainties={"energy": MEMBERS}, species=(1, 6, 7, 8, 14)))
PASSING.scales = {"energy": 0.01}
SYMMETRIC = {
    "ecse": NETWORK,
    "ecse:so3": NETWORK,
    "group:O": PASSING,
    "quadrature:2:proper": PASSING,
}


def features(model, *structures):
    """Energies and features of the last layer of all atoms."""
    return model.last_layer(batch(structures, model.cutoff))


@pytest.mark.parametrize("name", ["group:O", "quadrature:2:proper"])
def test_features_are_means_over_rotations(name):
    atoms, model = toys.ethanol(), symmetrise(PASSING, name)
    runs = [features(PASSING, rotated(atoms, matrix.numpy())) for matrix in model.rotations]
    for k, mean in enumerate(features(model, atoms)):
        expected = sum(weight * run[k] for weight, run in zip(model.weights, runs, strict=True))
        assert worst(mean, expected) < 1e-12


@pytest.mark.parametrize("structure", ["silicon", "ethanol"])
def test_features_are_means_over_frames(structure):
    """Compare with the network on the full structure rotated into each frame.

    No atom of this structure needs a line.
    """
    atoms, model = STRUCTURES[structure](), symmetrise(NETWORK, "ecse:so3")
    ((frames, _, _),) = model._survey(batch([atoms], model.cutoff))
    runs = [features(NETWORK, rotated(atoms, axes.T.numpy()))[1] for axes in frames.axes]
    expected = torch.zeros_like(runs[0])
    for run, weight, atom in zip(
        runs, frames.weights / frames.total[frames.atom], frames.atom, strict=True
    ):
        expected[atom] += weight * run[atom]
    assert worst(features(model, atoms)[1], expected) < 1e-12


@pytest.mark.parametrize("name", SYMMETRIC)
def test_energies_with_features_are_those_without(name):
    structures = [STRUCTURES[key]() for key in ("silicon", "CO2 160", "N2", "atom")]
    model = symmetrise(SYMMETRIC[name], name)
    assert worst(features(model, *structures)[0], model(batch(structures, model.cutoff))) < 1e-13


def test_deviations_do_not_change_when_the_structure_turns(generator):
    matrices = rotations.random_orthogonal(10, generator)
    for name in ("silicon", "ethanol", "CO2 160", "N2"):
        atoms = STRUCTURES[name]()
        results = evaluate(
            ecse.wrap(NETWORK), *(rotated(atoms, matrix.numpy()) for matrix in matrices)
        )
        deviations = results.uncertainties.deviations
        ensemble = results.uncertainties.ensemble
        assert (deviations - deviations[0]).abs().max() < 1e-12
        assert (ensemble - ensemble[0]).abs().max() < 1e-12
        assert deviations[0] > 1e-3


@pytest.mark.parametrize("name", SYMMETRIC)
def test_uncertainties_of_calculators(name):
    """Forces of the members against central differences of their energies, in a batch and alone."""
    atoms, h = toys.ethanol(), 1e-4
    calculator = PETCalculator(SYMMETRIC[name], symmetrise=name)
    properties = (
        "energy",
        "energy_uncertainty",
        "energies_uncertainty",
        "energy_ensemble",
        "forces_ensemble",
        "forces",
    )
    results = calculator.evaluate([atoms, STRUCTURES["CO2 160"]()], properties)[0]
    moved = [atoms.copy(), atoms.copy()]
    moved[0].positions[2, 1] += h
    moved[1].positions[2, 1] -= h
    up, down = (row["energy_ensemble"] for row in calculator.evaluate(moved, ("energy_ensemble",)))
    assert worst(results["forces_ensemble"][2, 1], (down - up) / (2 * h)) < 1e-4
    assert worst(results["forces_ensemble"].mean(2), results["forces"]) < 1e-10
    assert abs(results["energy_ensemble"].mean() - results["energy"]) < 1e-10
    alone = calculator.evaluate([atoms], properties[:4])[0]
    assert max(worst(alone[key], results[key]) for key in alone) < 1e-11


@pytest.mark.parametrize("name", SYMMETRIC)
def test_runs_warn_and_stop(name):
    atoms = STRUCTURES["silicon"]()
    atoms.calc = PETCalculator(
        SYMMETRIC[name], symmetrise=name, uncertainty="warn", uncertainty_threshold=1e-4
    )
    with pytest.warns(UserWarning, match="8 of 8 atoms is uncertain"):
        energy = atoms.get_potential_energy()
    assert (
        abs(energy - PETCalculator(SYMMETRIC[name], symmetrise=name).get_potential_energy(atoms))
        < 1e-11
    )
    atoms.calc = PETCalculator(
        SYMMETRIC[name], symmetrise=name, uncertainty="stop", uncertainty_threshold=1e-4
    )
    with pytest.raises(TooUncertain, match="8 of 8 atoms"):
        atoms.get_forces()


def test_chunks_change_rounding_only():
    structures = [STRUCTURES[key]() for key in ("silicon", "CO2 160", "atom")]
    in_one_chunk, pieces = (
        features(ecse.Model(NETWORK, chunk_edges=size), *structures) for size in (None, 50)
    )
    assert worst(pieces[1], in_one_chunk[1]) < 1e-13


@pytest.mark.parametrize(
    "network",
    [
        local_pet(),
        original_pet.Model(original_pet.Settings(species=(1, 8), n_gnn_layers=1)).requires_grad_(
            False
        ),
    ],
)
def test_models_without_have_none(network):
    model = ecse.wrap(network)
    assert model.uncertainty is None
    assert (
        "energy_uncertainty" not in PETCalculator(network, symmetrise="ecse").implemented_properties
    )
    assert "energy_uncertainty" in PETCalculator(NETWORK, symmetrise="ecse").implemented_properties
