"""ECSE layer by layer: exact symmetry, smoothness, range, training in frames drawn per layer."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress

import argon
import toys
from ase_pet import PETCalculator, evaluation, rotations
from ase_pet.evaluation import hessian
from ase_pet.symmetrisers import ecse, ecse_layers, sampled, symmetrise
from ase_pet.train import train
from local_toys import (
    PATHS,
    STRUCTURES,
    batch,
    chiral,
    evaluate,
    line,
    local_pet,
    mover,
    pieces_that_fail,
    rotated,
    scan,
    work_is_missing,
)
from pairs import covering
from test_ecse_messages import chain, original
from tolerances import worst

SPECIES = (1, 6, 7, 8, 14)
KINDS = ("residual", "base", "three message layers", "original")


def passing(name="residual", dtype=torch.float64, **changes):
    """PET with energies of about 1 eV per atom; rotation of a molecule changes them by 0.1 eV."""
    model = toys.tiny_pet(name, dtype, **{"species": SPECIES, "cutoff_function": "bump", **changes})
    model.scales = {"energy": 0.01}
    return model.requires_grad_(False)


NETWORKS = {name: passing(name) for name in KINDS}
MODELS = {name: ecse_layers.wrap(network) for name, network in NETWORKS.items()}
MODEL = MODELS["residual"]


@pytest.mark.parametrize(
    "name", ["silicon", "ethanol", "chiral", "CO2 180", "CO2 160", "N2", "atom"]
)
def test_one_layer_is_ecse(name):
    """Also its vectors, which are evaluated in each frame and rotated back."""
    network, atoms = local_pet(heads={"energy": 1, "dipole": 3}), STRUCTURES[name]()
    layered, expected = (
        evaluate(symmetrise(network, kind), atoms) for kind in ("ecse_layers", "ecse")
    )
    assert (layered.forces - expected.forces).abs().max() < 1e-12
    assert (layered.energies - expected.energies).abs().max() < 1e-12
    assert (layered.heads.total("dipole") - expected.heads.total("dipole")).abs().max() < 1e-12


@pytest.mark.parametrize(
    ("name", "kind"),
    covering(
        ["ethanol", "chiral", "CO2 180", "CO2 165", "CO2 155", "N2", "atom", "silicon"], KINDS
    ),
)
def test_energies_and_forces_rotate_with_the_structure(kind, name, generator):
    """20 elements of O(3), half of them improper, as one batch."""
    atoms, matrices = STRUCTURES[name](), rotations.random_orthogonal(20, generator)
    results = evaluate(
        MODELS[kind], atoms, *(rotated(atoms, matrix.numpy()) for matrix in matrices)
    )
    forces = results.forces.view(21, -1, 3)
    assert worst(results.energy, results.energy[:1].expand(21)) < 1e-12
    assert (forces[1:] @ matrices - forces[0]).abs().max() < 1e-10
    assert (matrices.mT @ results.virial[1:] @ matrices - results.virial[0]).abs().max() < 1e-10


@pytest.mark.parametrize("kind", KINDS)
def test_the_network_alone_is_not_symmetric(kind, generator):
    (matrix,) = rotations.random_orthogonal(1, generator).numpy()
    energy = evaluate(
        NETWORKS[kind], STRUCTURES["ethanol"](), rotated(STRUCTURES["ethanol"](), matrix)
    ).energy
    assert abs(energy[0] - energy[1]) > 1e-3


def test_proper_frames_tell_mirror_images_apart_and_parity_does_not():
    energies = {
        name: evaluate(symmetrise(NETWORKS["residual"], name), chiral(1), chiral(-1)).energy
        for name in ("ecse_layers", "ecse_layers:so3", "ecse_layers:o3")
    }
    assert abs(energies["ecse_layers"][0] - energies["ecse_layers"][1]) < 1e-13
    assert abs(energies["ecse_layers:so3"][0] - energies["ecse_layers:so3"][1]) > 1e-4
    assert torch.equal(energies["ecse_layers"], energies["ecse_layers:o3"])


@pytest.mark.parametrize("word", ecse_layers.PRESETS)
def test_settings_have_the_words_of_ecse(word, generator):
    matrix, atoms = rotations.random_orthogonal(1, generator)[0], STRUCTURES["ethanol"]()
    matrix, model = (
        (matrix * torch.linalg.det(matrix)).numpy(),
        symmetrise(NETWORKS["residual"], f"ecse_layers:{word}"),
    )
    assert model.options == symmetrise(NETWORKS["residual"], f"ecse:{word}").options
    energy = evaluate(model, atoms, rotated(atoms, matrix)).energy
    assert abs(energy[0] - energy[1]) < 1e-12


def test_float32_is_symmetric_to_its_rounding(generator):
    atoms, matrices = STRUCTURES["ethanol"](), rotations.random_orthogonal(5, generator)
    model = ecse_layers.wrap(passing(dtype=torch.float32))
    results = evaluate(
        model, *(rotated(atoms, matrix.numpy()) for matrix in matrices), dtype=torch.float32
    )
    forces = results.forces.view(5, -1, 3) @ matrices
    assert (results.energy - results.energy[0]).abs().max() < 1e-6 * len(atoms)
    assert (forces - forces[0]).abs().max() < 1e-4
    assert (results.energy[0] - evaluate(MODEL, atoms).energy[0]).abs() < 1e-6 * len(atoms)


BENDS = line(Atoms("COO", [[0, 0, 0], [1.16, 0, 0], [0, 0, 0]]), 2, [-1.16, 0, 0], [-1.0, -0.62, 0])
PASSES = line(
    Atoms("COOH", [[0, 0, 0], [1.16, 0, 0], [-1.16, 0, 0], [0, 0, 0]]),
    3,
    [3.1, 2.43, 0],
    [2.43, 3.1, 0],
)
WAYS = {
    "CO2 bends from 180 to 150 degrees": BENDS,
    "an atom leaves a line": PASSES,
    **{
        name: PATHS[name]
        for name in (
            "a neighbour crosses the cutoff",
            "an atom joins a dimer",
            "an atom joins at its end",
            "a dimer comes apart",
            "third atoms come and go",
        )
    },
}


@pytest.mark.parametrize("path", WAYS)
@pytest.mark.parametrize("kind", ["residual", "base"])
def test_energies_and_forces_do_not_jump(kind, path):
    """Paths on which CO2 bends, and atoms cross R_in, R_out = 3.5 A and the cutoff, 4 A."""
    assert (
        pieces_that_fail(work_is_missing, ecse_layers.wrap(NETWORKS[kind], "so3"), WAYS[path]) == 0
    )


@pytest.mark.parametrize("path", WAYS)
def test_forces_are_central_differences(path):
    at, way = WAYS[path]
    points, h, model = np.linspace(0, 1, 30), 1e-5, ecse_layers.wrap(NETWORKS["residual"], "so3")
    energy = [scan(model, points + shift * h, at).energy.numpy() for shift in (-2, -1, 1, 2)]
    slope = (8 * (energy[2] - energy[1]) - (energy[3] - energy[0])) / (12 * h)
    forces = scan(model, points, at).forces.numpy().reshape(30, -1, 3)[:, mover(at)]
    assert np.abs(slope + forces @ way).max() < 1e-6


def test_messages_of_lines_would_jump(monkeypatch):
    """Messages of lines must be switched off with their edges.

    An atom beyond R_out of CO2 leaves its line at 45 degrees.
    """
    monkeypatch.setattr(
        ecse.layers,
        "edge_token_weights",
        lambda entry, n_entries, factor: torch.ones_like(factor[: len(entry)]),
    )
    assert (
        pieces_that_fail(
            work_is_missing, ecse_layers.wrap(NETWORKS["residual"], "published:so3"), PASSES
        )
        > 0
    )


def test_forces_and_stress_of_a_crystal_are_derivatives():
    atoms = toys.sheared()
    atoms.calc = PETCalculator(passing(), symmetrise="ecse_layers")
    assert np.abs(atoms.get_forces() - calculate_numerical_forces(atoms, eps=1e-4)).max() < 1e-6
    assert np.abs(atoms.get_stress() - calculate_numerical_stress(atoms, eps=1e-5)).max() < 1e-6


@pytest.mark.parametrize("kind", ["residual", "base"])
def test_hessian_is_the_derivative_of_forces(kind):
    """In one chunk, and in several that are re-evaluated for each derivative."""
    atoms, model, h = STRUCTURES["CO2 160"](), MODELS[kind], 1e-6
    assert model.exact_second_derivatives
    matrix, pieces = (
        hessian(ecse_layers.Model(NETWORKS[kind], chunk_edges=size), batch([atoms], 4.0)).numpy()
        for size in (None, 20)
    )
    moved = [atoms.copy() for _ in range(18)]
    for k, copy in enumerate(moved):
        copy.positions[k // 6, k // 2 % 3] += h * (2 * (k % 2) - 1)
    forces = evaluate(model, *moved).forces.numpy().reshape(-1, 2, 9)
    assert worst(matrix, matrix.T) < 1e-12
    assert worst(matrix, (forces[:, 0] - forces[:, 1]) / (2 * h)) < 1e-6
    assert worst(pieces, matrix) < 1e-12


class Spy(type(MODEL.model)):
    """A network that records the number of atoms and edges of each layer."""

    def layer(self, index, node, message, scene):
        self.seen.append(scene.graph.n_atoms + len(scene.graph.centre))
        return super().layer(index, node, message, scene)


@pytest.mark.parametrize("kind", KINDS)
def test_size_of_chunks_changes_rounding_only(kind):
    structures = [STRUCTURES[name]() for name in ("CO2 160", "atom", "ethanol")]
    in_one_chunk, pieces = (
        evaluate(ecse_layers.Model(NETWORKS[kind], chunk_edges=size), *structures)
        for size in (None, 50)
    )
    assert worst(pieces.energies, in_one_chunk.energies) < 1e-13
    assert worst(pieces.forces, in_one_chunk.forces) < 1e-12


def test_chunks_bound_edges_and_kept_tensors():
    """Network tensors are kept for derivatives for one chunk at a time."""
    network = Spy(NETWORKS["residual"].settings).double().requires_grad_(False)
    network.seen, kept = [], {}
    for size in (None, 300):
        model, total = ecse_layers.Model(network, chunk_edges=size), [0]
        graph = batch([STRUCTURES["silicon"]()], 4.0)
        graph = graph.with_vectors(graph.pair_vectors.requires_grad_())
        network.seen.clear()

        def count(tensor, total=total):
            total[0] += tensor.numel() * (
                tensor.ndim == 4
            )  # of attention: (q k v, atoms and heads, cells, width)
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            energies = model(graph)
        kept[size] = total[0]
        runs = len(network.seen)
        energies.sum().backward()
        again = len(network.seen) - runs
        assert again == (runs if size else 0)
    assert max(network.seen) < 300 + 2 * len(graph.centre) / 8 + 100
    assert kept[None] > 0
    assert kept[300] == 0


def test_many_structures_at_once_are_the_same_as_one_by_one():
    structures = [build() for build in STRUCTURES.values()]
    together, alone = evaluate(MODEL, *structures), [evaluate(MODEL, atoms) for atoms in structures]
    assert worst(together.energy, torch.cat([one.energy for one in alone])) < 1e-13
    assert worst(together.forces, torch.cat([one.forces for one in alone])) < 1e-12
    assert worst(together.virial, torch.cat([one.virial for one in alone])) < 1e-12


def test_order_of_atoms_does_not_matter():
    atoms = STRUCTURES["ethanol"]()
    order = np.random.default_rng(7).permutation(len(atoms))
    still, permuted = evaluate(MODEL, atoms), evaluate(MODEL, atoms[order])
    assert worst(permuted.energies, still.energies[order]) < 1e-13
    assert worst(permuted.forces, still.forces[order]) < 1e-12


@pytest.mark.parametrize("kind", KINDS)
def test_energy_of_a_distant_molecule_is_added(kind):
    close, distant = toys.ethanol(), molecule("CH4")
    distant.positions += [40, 0, 0]
    alone, both = (
        [evaluate(MODELS[kind], atoms) for atoms in (close, distant)],
        evaluate(MODELS[kind], close + distant),
    )
    assert abs(both.energy - alone[0].energy - alone[1].energy) < 1e-12
    assert (both.forces - torch.cat([one.forces for one in alone])).abs().max() < 1e-12


def test_supercell_has_the_same_energies():
    atoms = toys.sheared()
    still, large = evaluate(MODEL, atoms), evaluate(MODEL, atoms * (2, 1, 1))
    assert worst(large.energies.view(2, 2), still.energies.expand(2, 2)) < 1e-12
    assert worst(large.virial, 2 * still.virial) < 1e-11


def test_energies_reach_as_far_as_the_layers():
    """Atoms within two cutoffs act on an energy through messages; those further away do not."""
    model, atoms = ecse_layers.wrap(passing(cutoff=3.0, cutoff_width=0.5)), chain()
    graph = batch([atoms], 3.0)
    graph = graph.with_vectors(graph.pair_vectors.requires_grad_())
    (slopes,) = torch.autograd.grad(model(graph)[0], graph.pair_vectors)
    distance = np.linalg.norm(atoms.positions - atoms.positions[0], axis=1)
    acts = np.zeros(len(atoms))
    for ends in (graph.pair_centre, graph.pair_neighbour):
        np.maximum.at(acts, ends.numpy(), slopes.abs().amax(1).numpy())
    assert acts[distance > 6.0].max() == 0
    assert acts[(distance > 3.0) & (distance < 4.5)].max() > 1e-6


def test_dipoles_rotate_with_the_structure(generator):
    model = ecse_layers.wrap(passing(heads={"energy": 1, "dipole": 3}))
    matrix, atoms = rotations.random_orthogonal(1, generator)[0], STRUCTURES["chiral"]()
    first, second = (
        evaluate(model, one).heads.total("dipole")
        for one in (atoms, rotated(atoms, matrix.numpy()))
    )
    assert worst(second, first @ matrix.T) < 1e-12
    assert first.abs().max() > 1e-3


def test_repulsion_of_nuclei_is_left_as_it_is():
    """Up to the float32 rounding of its constants, which depends on the order of the two nuclei."""
    atoms, models = STRUCTURES["ethanol"](), [passing(zbl=zbl) for zbl in (False, True)]
    plain, layered = (
        [evaluate(symmetrise(model, kind), atoms).energies for model in models]
        for kind in ("none", "ecse_layers")
    )
    assert worst(layered[1] - layered[0], plain[1] - plain[0]) < 1e-7


def test_charge_and_spin_reach_each_environment(generator):
    model = ecse_layers.wrap(passing(system_conditioning=True))
    (matrix,) = rotations.random_orthogonal(1, generator).numpy()
    neutral, ion = STRUCTURES["ethanol"](), toys.charged(STRUCTURES["ethanol"]())
    energy = evaluate(model, neutral, ion, rotated(ion, matrix)).energy
    assert abs(energy[0] - energy[1]) > 1e-3
    assert abs(energy[1] - energy[2]) < 1e-12


def test_cost_counts_the_environments_of_each_layer():
    """Equal to the cost of `ecse` of a local model, for any number of layers."""
    graph = batch([STRUCTURES["ethanol"](), STRUCTURES["CO2 160"]()], 4.0)
    assert MODELS["three message layers"].cost(graph) == ecse.wrap(local_pet()).cost(graph)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: ecse_layers.wrap(passing("grid")), "is for models `pet` with fixed cutoffs"),
        (lambda: ecse_layers.wrap(original(2)), "is for models `pet` with fixed cutoffs"),
        (
            lambda: ecse_layers.wrap(passing(), "force"),
            "'ecse_layers:force': valid choices are ecse_layers, ecse_layers:o3",
        ),
        (lambda: ecse_layers.wrap(passing(), "o3:so3"), "valid choices are"),
        (
            lambda: ecse_layers.wrap(passing("base", heads={"energy": 1, "dipole": 3})).predict(
                batch([molecule("H2O")], 4.0), ("dipole",)
            ),
            "head `dipole` has 3 components, .* 'residual' only",
        ),
        (
            lambda: ecse_layers.wrap(passing(uncertainties={"energy": 2})).last_layer(None),
            "has no features of a last layer",
        ),
    ],
)
def test_unsupported_uses_are_refused(model, message):
    with pytest.raises(ValueError, match=message):
        model()


def test_one_layer_in_drawn_frames_is_that_of_ecse():
    graph = batch([STRUCTURES["ethanol"](), STRUCTURES["CO2 160"]()], 4.0)
    energies = [
        sampled(local_pet(), name, torch.Generator().manual_seed(3))(graph)
        for name in ("ecse", "ecse_layers")
    ]
    assert worst(energies[1], energies[0]) < 1e-13


def test_each_layer_draws_frames_of_its_own():
    """An oxygen atom with F frames has F energies with one layer, and more with two.

    Its messages then also have F values.
    """
    atoms = Atoms(
        "OHH", [[0, 0, 0], [0.9, 0, 0], [-0.2, 1.0, 0]]
    )  # planar: reflections have no effect
    graph, counts = batch([atoms], 4.0), []
    frames = ecse.wrap(local_pet()).describe(graph)["frames"].tolist()
    for network in (local_pet(), passing()):
        model = sampled(network, "ecse_layers", torch.Generator().manual_seed(0))
        counts.append(len({round(model(graph)[0].item(), 9) for _ in range(300)}))
    assert counts[0] == frames[0]
    assert counts[1] > 3 * frames[0]


def test_draws_rotate_with_the_structure(generator):
    atoms, matrix = STRUCTURES["chiral"](), rotations.random_orthogonal(1, generator)[0].numpy()
    energies = [
        sampled(passing(), "ecse_layers", torch.Generator().manual_seed(1))(batch([one], 4.0))
        for one in (atoms, rotated(atoms, matrix))
    ]
    assert worst(energies[1], energies[0]) < 1e-12


def test_forces_of_a_draw_are_the_derivative_of_its_energy():
    atoms, h = STRUCTURES["ethanol"](), 1e-5
    seeds = torch.Generator()
    model = sampled(passing(), "ecse_layers", seeds)

    def drawn(shift):
        moved = atoms.copy()
        moved.positions[2, 1] += shift
        seeds.manual_seed(7)
        return evaluation.Evaluation(model, batch([moved], 4.0))

    slope = (drawn(h).energy - drawn(-h).energy) / (2 * h)
    assert drawn(0.0).forces[2, 1].item() == pytest.approx(-slope.item(), abs=1e-6)


FRAMES = 'symmetrise = "ecse_layers"\naugmentation = "frames"\n'


def test_losses_on_forces_reach_the_weights():
    """Weights of the first layer, through messages.

    dL/dw by central differences, L = sum of squared forces and energies.
    """
    network = passing().requires_grad_(True)
    weight = network.gnn_layers[0].attention_layers[0].attention.input_linear.weight
    graph = batch([STRUCTURES["chiral"]()], 4.0)

    def loss(shift=0.0):
        with torch.no_grad():
            weight[0, 0] += shift
        model = sampled(network, "ecse_layers", torch.Generator().manual_seed(5))
        results = evaluation.Evaluation(model, graph, training=True)
        return results.forces.square().sum() + results.energy.square().sum()

    (gradient,) = torch.autograd.grad(loss(), weight)
    slope = (loss(1e-5) - loss(-2e-5)) / 2e-5
    assert abs(slope - gradient[0, 0]) < 1e-6 * gradient.abs().max()


def test_a_model_is_trained_and_read_back(recipe, tmp_path, generator):
    path = recipe(2)
    path.write_text(FRAMES + path.read_text().replace("num_gnn_layers = 1", "num_gnn_layers = 2"))
    metrics = train(path, tmp_path / "run")
    assert np.isfinite(metrics["test"]["forces"]["rmse"])
    calculator = PETCalculator(tmp_path / "run", dtype="float64")
    assert type(calculator.model) is ecse_layers.Model
    atoms, matrix = argon.structures()[0], rotations.random_orthogonal(1, generator)[0].numpy()
    energies = [
        r["energy"] for r in calculator.evaluate([atoms, rotated(atoms, matrix)], ("energy",))
    ]
    assert energies[0] == pytest.approx(energies[1], abs=1e-12)


def test_a_recipe_without_frames_is_refused(recipe, tmp_path):
    path = recipe()
    path.write_text('symmetrise = "ecse_layers"\n' + path.read_text())
    with pytest.raises(
        ValueError,
        match="means nothing for models that were trained without it: expected `augmentation`",
    ):
        train(path, tmp_path / "run")
