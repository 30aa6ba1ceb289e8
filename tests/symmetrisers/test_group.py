"""Means over groups and quadratures: symmetry, derivatives, chunks, all models."""

import numpy as np
import pytest
import torch
from ase.build import bulk

import toys
from ase_pet import PETCalculator, rotations
from ase_pet.evaluation import Evaluation, hessian
from ase_pet.fingerprints import of_model
from ase_pet.symmetrisers import check, ecse, of_file, symmetrise
from local_toys import STRUCTURES, batch, chiral, evaluate, local_pet, rotated
from pairs import covering
from tolerances import worst

NAMES = (
    "group:O",
    "group:O:proper",
    "group:O:proper:aligned",
    "group:I",
    "group:I:proper",
    "quadrature:2",
    "quadrature:2:proper",
)
SIZES = (48, 24, 24, 120, 60, 36, 18)
GENERIC = {name: rotations.generic(name) for name in ("O", "I")}
ELEMENTS = {
    "group:O:aligned": rotations.with_inversion(rotations.octahedral()),
    "group:O": GENERIC["O"].T @ rotations.with_inversion(rotations.octahedral()) @ GENERIC["O"],
    "group:O:proper:aligned": rotations.octahedral(),
    "group:I:aligned": rotations.with_inversion(rotations.icosahedral()),
    "group:I:proper": GENERIC["I"].T @ rotations.icosahedral() @ GENERIC["I"],
}
SCALE = 0.01  # of energies, so that they are about 1 eV per atom


def passing(name="base", **changes):
    """PET with two message-passing layers."""
    model = toys.tiny_pet(name, **changes)
    model.scales = {head: SCALE for head in model.settings.heads}
    return model.requires_grad_(False)


NETWORK = passing()


@pytest.mark.parametrize(("name", "size"), list(zip(NAMES, SIZES, strict=True)))
def test_mean_is_that_of_rotated_structures(name, size):
    atoms, model = toys.ethanol(), symmetrise(NETWORK, name)
    assert model.rotations.shape == (size, 3, 3)
    energies = evaluate(
        NETWORK, *(rotated(atoms, matrix.numpy()) for matrix in model.rotations)
    ).energy
    mean = model.weights @ energies
    assert worst(evaluate(model, atoms).energy, mean[None]) < 1e-12
    spread = (model.weights @ (energies - mean).square()).sqrt()
    assert worst(model.standard_deviation(batch([atoms], model.cutoff)), spread[None]) < 1e-9


@pytest.mark.parametrize(("structure", "name"), covering(["ethanol", "silicon", "atom"], ELEMENTS))
def test_energies_and_forces_have_the_symmetry_of_the_group(name, structure):
    atoms, matrices = STRUCTURES[structure](), ELEMENTS[name][::5]
    model = symmetrise(NETWORK, name)
    still, results = (
        evaluate(model, atoms),
        evaluate(model, *(rotated(atoms, matrix.numpy()) for matrix in matrices)),
    )
    forces = results.forces.view(len(matrices), -1, 3) @ matrices
    assert worst(results.energy, still.energy.expand(len(matrices))) < 1e-13
    assert worst(forces, still.forces.expand(len(matrices), -1, -1)) < 1e-11


def test_inversion_makes_inverted_structures_equal():
    network, (atoms, other) = passing(species=(1, 6, 7, 8, 14)), (chiral(), chiral())
    other.positions *= -1
    proper, full = (
        evaluate(symmetrise(network, name), atoms, other).energy
        for name in ("quadrature:2:proper", "quadrature:2")
    )
    assert abs(full[0] - full[1]) < 1e-13
    assert abs(proper[0] - proper[1]) > 1e-5


def test_residual_falls_with_the_number_of_rotations():
    """For a smooth network with small weights, relative to the mean over the inversion only."""
    network = passing()
    for parameter in network.parameters():
        parameter.mul_(0.6)
    graph = batch([toys.silicon(), toys.ethanol()], network.cutoff)
    none = symmetrise(network, "quadrature:1").residual(graph)
    limits = {"group:O": 0.3, "group:I": 0.03, "quadrature:3": 0.03, "quadrature:4": 0.003}
    residuals = {name: symmetrise(network, name).residual(graph, orientations=4) for name in limits}
    assert [name for name, limit in limits.items() if (residuals[name] > limit * none).any()] == []


@pytest.mark.parametrize("structure", ["sheared", "ethanol"])
def test_forces_and_hessian_are_derivatives(structure):
    atoms, model, h = toys.STRUCTURES[structure](), symmetrise(NETWORK, "group:O:proper"), 1e-5
    hessian_matrix = hessian(model, batch([atoms], model.cutoff)).numpy()
    moved = [atoms.copy() for _ in range(12)]
    for k, copy in enumerate(moved):
        copy.positions[k // 6, k // 2 % 3] += h * (2 * (k % 2) - 1)
    results = evaluate(model, *moved)
    energy, forces = results.energy.view(6, 2).numpy(), results.forces.numpy().reshape(6, 2, -1)
    assert (
        worst((energy[:, 0] - energy[:, 1]) / (2 * h), evaluate(model, atoms).forces[:2].flatten())
        < 1e-6
    )
    assert worst((forces[:, 0] - forces[:, 1]) / (2 * h), hessian_matrix[:6]) < 1e-6
    assert worst(hessian_matrix, hessian_matrix.T) < 1e-12


@pytest.mark.parametrize("chunk_edges", [1, 500, 10**6])
def test_size_of_chunks_changes_rounding_only(chunk_edges):
    structures, model = (toys.silicon(), toys.ethanol()), symmetrise(NETWORK, "group:O:proper")
    in_one_chunk = evaluate(model, *structures)
    model.chunk_edges = chunk_edges
    pieces = evaluate(model, *structures)
    assert worst(pieces.energies, in_one_chunk.energies) < 1e-13
    assert worst(pieces.forces, in_one_chunk.forces) < 1e-12
    alone = [evaluate(model, atoms) for atoms in structures]
    assert worst(pieces.energy, torch.cat([one.energy for one in alone])) < 1e-13
    assert worst(pieces.virial, torch.cat([one.virial for one in alone])) < 1e-12


def test_gradients_of_any_sum_of_atomic_energies_are_exact():
    """With weights that differ between atoms, which an Evaluation does not use."""
    graph, model = (
        batch([toys.sheared(), toys.ethanol()], NETWORK.cutoff),
        symmetrise(NETWORK, "group:O:proper"),
    )
    weights = torch.linspace(-1, 2, graph.n_atoms, dtype=torch.float64)
    gradients = []
    for terms in (
        lambda graph: model(graph),
        lambda graph: torch.stack(
            [
                NETWORK(graph.with_vectors(graph.pair_vectors @ matrix.T))
                for matrix in model.rotations
            ]
        ).mean(0),
    ):
        vectors = graph.pair_vectors.clone().requires_grad_()
        gradients += torch.autograd.grad(terms(graph.with_vectors(vectors)) @ weights, vectors)
    assert worst(*gradients) < 1e-12


def test_losses_on_forces_reach_the_weights():
    network = passing().requires_grad_(True)
    weight = network.gnn_layers[0].attention_layers[0].attention.input_linear.weight
    graph = batch([toys.sheared()], network.cutoff)

    def loss(shift=0.0):
        with torch.no_grad():
            weight[0, 0] += shift
        results = Evaluation(symmetrise(network, "group:O:proper"), graph, training=True)
        return results.forces.square().sum() + results.energy.square().sum()

    (gradient,) = torch.autograd.grad(loss(), weight)
    slope = (loss(1e-5) - loss(-2e-5)) / 2e-5
    assert abs(slope - gradient[0, 0]) < 1e-6 * gradient.abs().max()


@pytest.mark.parametrize("name", ["solver", "zbl", "conditioning", "original", "local"])
def test_any_model_can_be_averaged(name):
    atoms, model = toys.charged(toys.ethanol()), symmetrise(passing(name), "group:O:proper")
    matrices = ELEMENTS["group:O"][:24:7]
    energies = evaluate(model, *(rotated(atoms, matrix.numpy()) for matrix in matrices)).energy
    assert worst(energies, evaluate(model, atoms).energy.expand(len(matrices))) < 1e-12
    assert model.is_local == (name == "local")
    assert model.exact_second_derivatives == (name != "solver")


def test_frames_of_ecse_can_hold_a_mean_over_a_group():
    """The network is nearly invariant before ECSE makes it exactly so."""
    inner = symmetrise(local_pet(), "group:O:proper")
    model, atoms = ecse.wrap(inner, "so3"), STRUCTURES["chiral"]()
    matrices = rotations.random_orthogonal(4, torch.Generator().manual_seed(1))
    matrices = matrices * torch.linalg.det(matrices)[:, None, None]
    energies = evaluate(model, *(rotated(atoms, matrix.numpy()) for matrix in matrices)).energy
    assert worst(energies, evaluate(model, atoms).energy.expand(4)) < 1e-12


def test_float32_has_the_symmetry_of_the_group_to_its_rounding():
    network, atoms = passing(dtype=torch.float32), toys.silicon()
    model, matrices = symmetrise(network, "group:O"), ELEMENTS["group:O"][::9]
    energies = evaluate(
        model, *(rotated(atoms, matrix.numpy()) for matrix in matrices), dtype=torch.float32
    ).energy
    assert (energies - energies[0]).abs().max() < 1e-6 * len(atoms)


def test_calculator_takes_it_by_name():
    atoms = toys.silicon()
    atoms.calc = PETCalculator(NETWORK, symmetrise="group:O:proper")
    model = symmetrise(NETWORK, "group:O:proper")
    assert worst(atoms.get_forces(), evaluate(model, atoms).forces) < 1e-12
    assert np.isfinite(atoms.get_stress()).all()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "group",
            "'group:': valid choices are group:O, group:O:aligned, group:O:generic, group:O:p",
        ),
        ("group:O:aligned:proper", "'group:O:aligned:proper': valid choices are group:O, "),
        ("group:T", "'group:T': valid choices are group:O, "),
        ("group:O:improper", "'group:O:improper': valid"),
        (
            "quadrature",
            (
                "'quadrature:': expected quadrature:L or quadrature:L:proper with an order L of 1"
                " to 20"
            ),
        ),
        ("quadrature:0", "'quadrature:0': expected"),
        ("quadrature:21", "'quadrature:21': expected"),
        ("quadrature:2.5", "'quadrature:2.5': expected"),
        ("none:O", "'none' takes no argument, got 'O'"),
        ("ecse:o4", "'ecse:o4': valid choices are ecse, ecse:o3, ecse:so3"),
        ("ecse_layers:force", "'ecse_layers:force': valid choices are ecse_layers"),
        ("ECSE", "valid choices are ecse, ecse_layers, group, none, quadrature"),
    ],
)
def test_arguments_are_checked(name, message):
    with pytest.raises(ValueError, match=message):
        symmetrise(NETWORK, name)
    with pytest.raises(ValueError, match=message):
        check(name)


@pytest.mark.parametrize("name", [*NAMES, "none", "ecse", "ecse:gentle:so3", "ecse_layers:so3"])
def test_valid_names_pass_without_a_model(name):
    check(name)


def overlap(degree, group, crystal, rotation):
    """Squared overlap of what both leave invariant in a degree, 1 for the same single function.

    The mean of the character over the elements g R h R^-1.
    """
    elements = group[:, None] @ (rotation @ crystal @ rotation.T)
    traces = elements.diagonal(dim1=-2, dim2=-1).sum(-1)
    half = ((traces - 1) / 2).clamp(-1, 1).arccos() / 2
    # the limit at the unit element
    half = half.clamp(min=1e-6)
    return float((((2 * degree + 1) * half).sin() / half.sin()).mean())


@pytest.mark.parametrize(("name", "lowest"), [("O", 4), ("I", 6)])
def test_axes_of_groups_are_away_from_those_of_cubic_crystals(name, lowest):
    group = {"O": rotations.octahedral(), "I": rotations.icosahedral()}[name]
    crystal = rotations.octahedral()
    assert overlap(lowest, group, crystal, torch.eye(3, dtype=torch.float64)) > 0.3
    assert overlap(lowest, group, crystal, rotations.generic(name)) < 0.001


def test_a_crystal_along_the_axes_gains_from_the_rotation():
    atoms = STRUCTURES["silicon"]()
    atoms.set_positions(bulk("Si", cubic=True).positions)
    atoms.set_cell(bulk("Si", cubic=True).cell)
    exact = evaluate(symmetrise(NETWORK, "quadrature:5"), atoms).energy
    errors = {
        name: float((evaluate(symmetrise(NETWORK, name), atoms).energy - exact).abs())
        for name in ("none", "group:O:aligned", "group:O")
    }
    # reflections are part of the average, so plain and aligned need not agree exactly
    assert errors["group:O"] < 0.2 * errors["group:O:aligned"]


def test_files_keep_the_axes_that_they_were_made_with():
    assert of_file("group:O") == "group:O:aligned"
    assert of_file("group:I:proper") == "group:I:proper:aligned"
    assert of_file("group:O:generic") == "group:O:generic"
    assert of_file("ecse") == "ecse:published"
    assert of_file("ecse_layers:so3") == "ecse_layers:published:so3"
    assert of_file("ecse:gentle") == "ecse:gentle"
    fingerprints = {
        name: of_model(symmetrise(NETWORK, name))
        for name in ("group:O", "group:O:generic", "group:O:aligned")
    }
    assert fingerprints["group:O"] == fingerprints["group:O:generic"]
    assert fingerprints["group:O"] != fingerprints["group:O:aligned"]
