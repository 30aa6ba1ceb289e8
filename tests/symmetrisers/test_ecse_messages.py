"""ECSE of message-passing models: receptive field, exact symmetry, cost and its limit."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress

import toys
from ase_pet import PETCalculator, rotations
from ase_pet.evaluation import hessian
from ase_pet.graph import chunking
from ase_pet.models import original_pet
from ase_pet.models.base import AtomisticModel
from ase_pet.symmetrisers import ecse, symmetrise
from ase_pet.symmetrisers.ecse import receptive_field
from ase_pet.symmetrisers.ecse.edges import GraphEdges, ranges
from local_toys import (
    PATHS,
    STRUCTURES,
    batch,
    evaluate,
    line,
    pieces_that_fail,
    rotated,
    work_is_missing,
)
from tolerances import worst

SPECIES = (1, 6, 7, 8, 14)


def passing(name="base", **changes):
    """PET whose energies are about 1 eV per atom."""
    model = toys.tiny_pet(name, **{"species": SPECIES, **changes})
    model.scales = {"energy": 0.01}
    return model.requires_grad_(False)


def original(layers):
    """Original PET with random weights."""
    torch.manual_seed(1)
    settings = original_pet.Settings(
        species=SPECIES,
        r_cut=3.0,
        n_gnn_layers=layers,
        n_trans_layers=1,
        transformer_d_model=8,
        transformer_n_head=2,
        transformer_dim_feedforward=8,
        head_n_neurons=8,
    )
    return original_pet.Model(settings).double().requires_grad_(False)


ADAPTIVE = {"num_neighbors_adaptive": 3, "cutoff_width_adaptive": 0.6}
SHORT = {"cutoff": 3.0, "cutoff_width": 0.5}
MODELS = {  # model, hops
    "one layer": (passing(num_gnn_layers=1, **SHORT), 1),
    "two layers": (passing(**SHORT), 2),
    "three layers": (passing(num_gnn_layers=3, **SHORT), 3),
    "residual": (passing("residual", **SHORT), 1),
    "residual, three": (passing("residual", num_gnn_layers=3, **SHORT), 2),
    "solver": (passing("residual", adaptive_cutoff_method="solver", **ADAPTIVE, **SHORT), 2),
    "grid": (passing("base", adaptive_cutoff_method="grid", **ADAPTIVE, **SHORT), 3),
    "adaptive, one layer": (
        passing("local", adaptive_cutoff_method="grid", **ADAPTIVE, **SHORT),
        1,
    ),
    "original": (original(2), 1),
    "original, three": (original(3), 2),
}
NETWORK = passing()
MODEL = ecse.wrap(NETWORK)


def chain():
    """14 atoms along a crooked line, each with neighbours on both sides within 3 A."""
    generator = np.random.default_rng(4)
    positions = np.arange(14)[:, None] * [1.5, 0, 0] + 0.5 * generator.normal(size=(14, 3))
    return Atoms("CHOCNHCOSiCHOCN", positions)


def ring():
    """The same in a periodic cell that is two edges long, and its images."""
    atoms = chain()[:4]
    atoms.set_cell([6.0, 12.0, 12.0])
    atoms.pbc = True
    return atoms


def read_from_clusters(model, graph, hops):
    """(n_atoms,) energies of the atoms, each from its own cluster."""
    edges = GraphEdges.from_graph(graph, model.cutoff)
    field = receptive_field.message_passing_clusters(edges, slice(0, graph.n_atoms), hops)
    atom = torch.arange(graph.n_atoms)
    entry, environment = ranges(field.start, field.count)
    vectors = field.vectors(edges.vectors)[entry]
    copies, centre = field.copies(atom, entry, environment, vectors)
    return model(copies)[centre], copies


@pytest.mark.parametrize("structure", [chain, ring])
@pytest.mark.parametrize("name", MODELS)
def test_energies_of_atoms_depend_on_their_clusters_only(name, structure):
    model, hops = MODELS[name]
    graph = batch([structure()], model.cutoff)
    assert ecse.wrap(model).hops == hops
    assert worst(read_from_clusters(model, graph, hops)[0], model(graph)) < 1e-12


@pytest.mark.parametrize("name", MODELS)
def test_energies_of_atoms_depend_on_all_of_their_clusters(name):
    """With one hop less, energies are wrong: the receptive fields are minimal."""
    model, hops = MODELS[name]
    graph = batch([chain()], model.cutoff)
    assert worst(read_from_clusters(model, graph, hops - 1)[0], model(graph)) > 1e-6


def test_clusters_are_small():
    """Clusters of a chain that is much longer than their size."""
    model, hops = MODELS["two layers"]
    atoms = chain()
    atoms += Atoms(atoms.symbols, atoms.positions + [21.0, 0, 0])
    _, copies = read_from_clusters(model, batch([atoms], model.cutoff), hops)
    assert copies.n_atoms < 0.5 * len(atoms) ** 2


@pytest.mark.parametrize(
    "name", ["ethanol", "chiral", "CO2 180", "CO2 165", "CO2 155", "N2", "atom", "silicon"]
)
def test_energies_and_forces_rotate_with_the_structure(name, generator):
    """50 elements of O(3); two message-passing layers, one of which is read after an exchange."""
    atoms, matrices = STRUCTURES[name](), rotations.random_orthogonal(50, generator)
    count = {"silicon": 3}.get(name, 50)
    still = evaluate(MODEL, atoms)
    results = evaluate(MODEL, *(rotated(atoms, matrix.numpy()) for matrix in matrices[:count]))
    forces = results.forces.view(count, -1, 3) @ matrices[:count]
    assert worst(results.energies.view(count, -1), still.energies.expand(count, -1)) < 1e-12
    assert (forces - still.forces).abs().max() < 1e-10
    assert (
        matrices[:count].mT @ results.virial @ matrices[:count] - still.virial
    ).abs().max() < 1e-10


def test_the_network_alone_is_not_symmetric(generator):
    (matrix,) = rotations.random_orthogonal(1, generator).numpy()
    results = evaluate(NETWORK, toys.ethanol(), rotated(toys.ethanol(), matrix))
    assert abs(results.energy[0] - results.energy[1]) > 1e-3


@pytest.mark.parametrize("name", ["two layers", "residual, three", "grid", "original"])
def test_all_kinds_of_models_turn(name, generator):
    model = ecse.wrap(MODELS[name][0], "so3:force")
    matrices = rotations.random_orthogonal(5, generator)
    matrices = matrices * torch.linalg.det(matrices)[:, None, None]
    results = evaluate(
        model,
        STRUCTURES["chiral"](),
        *(rotated(STRUCTURES["chiral"](), matrix.numpy()) for matrix in matrices),
    )
    forces = results.forces.view(6, -1, 3)
    assert worst(results.energy, results.energy[:1].expand(6)) < 1e-12
    assert (forces[1:] @ matrices - forces[0]).abs().max() < 1e-10


def test_energies_are_means_over_frames():
    """Compare with the network on the full structure rotated into each frame.

    No atom of this structure needs a line.
    """
    atoms, model = toys.ethanol(), ecse.wrap(NETWORK, "so3")
    ((frames, auxiliary, _),) = model._survey(batch([atoms], model.cutoff))
    energies = NETWORK(
        batch([rotated(atoms, axes.T.numpy()) for axes in frames.axes], model.cutoff)
    ).view(-1, len(atoms))
    own = energies[torch.arange(len(frames.atom)), frames.atom] * frames.weights
    expected = (
        torch.zeros(len(atoms), dtype=torch.float64).index_add(0, frames.atom, own) / frames.total
    )
    assert auxiliary.max() == 0
    assert worst(model(batch([atoms], model.cutoff)), expected) < 1e-12


def test_energy_of_a_distant_molecule_is_added():
    close, distant = toys.ethanol(), molecule("CH4")
    distant.rattle(0.05, seed=8)
    distant.positions += [40, 0, 0]
    alone, both = (
        [evaluate(MODEL, atoms) for atoms in (close, distant)],
        evaluate(MODEL, close + distant),
    )
    assert abs(both.energy - alone[0].energy - alone[1].energy) < 1e-12
    assert (both.forces - torch.cat([one.forces for one in alone])).abs().max() < 1e-12


def test_many_structures_at_once_are_the_same_as_one_by_one():
    structures = [STRUCTURES[name]() for name in ("chiral", "CO2 160", "atom", "N2")] + [
        toys.sheared()
    ]
    together, alone = evaluate(MODEL, *structures), [evaluate(MODEL, atoms) for atoms in structures]
    assert worst(together.energy, torch.cat([one.energy for one in alone])) < 1e-13
    assert worst(together.forces, torch.cat([one.forces for one in alone])) < 1e-12
    assert worst(together.virial, torch.cat([one.virial for one in alone])) < 1e-12


def test_size_of_chunks_changes_rounding_only(monkeypatch):
    structures = [STRUCTURES[name]() for name in ("chiral", "CO2 160", "N2")] + [toys.sheared()]
    in_one_chunk = evaluate(MODEL, *structures)
    monkeypatch.setitem(chunking.BUDGETS, "pairs", {"cpu": 100})
    pieces = evaluate(ecse.Model(NETWORK, chunk_edges=70), *structures)
    assert len(GraphEdges.from_graph(pieces.graph, MODEL.cutoff).blocks(2)) > 5
    assert worst(pieces.energies, in_one_chunk.energies) < 1e-13
    assert worst(pieces.forces, in_one_chunk.forces) < 1e-12


def test_supercell_has_the_same_energies():
    atoms = toys.sheared()
    still, large = evaluate(MODEL, atoms), evaluate(MODEL, atoms * (2, 1, 1))
    assert worst(large.energies.view(2, 2), still.energies.expand(2, 2)) < 1e-12
    assert worst(large.virial, 2 * still.virial) < 1e-11


def test_forces_and_stress_of_a_crystal_are_derivatives():
    atoms = toys.sheared()
    atoms.calc = PETCalculator(NETWORK, symmetrise="ecse:so3")
    assert np.abs(atoms.get_forces() - calculate_numerical_forces(atoms, eps=1e-4)).max() < 1e-6
    assert np.abs(atoms.get_stress() - calculate_numerical_stress(atoms, eps=1e-5)).max() < 1e-6


@pytest.mark.parametrize("name", ["chiral", "CO2 180", "CO2 160"])
def test_forces_and_hessian_are_differences(name):
    """Differences of fourth order.

    Weights that change within a few degrees cause third derivatives of 1e5 eV/A^3 in CO2 at 160.
    """
    atoms, model, h = STRUCTURES[name](), ecse.wrap(NETWORK, "so3"), 1e-5
    moved = [atoms.copy() for _ in range(24)]
    for k, copy in enumerate(moved):
        copy.positions[k // 12, k // 4 % 3] += h * (-2, -1, 1, 2)[k % 4]
    results = evaluate(model, *moved)
    stencil = np.array([1, -8, 8, -1]) / (12 * h)
    slopes = (
        stencil @ results.energy.numpy().reshape(6, 4, 1),
        stencil @ results.forces.numpy().reshape(6, 4, -1),
    )
    hessian_matrix = hessian(model, batch([atoms], model.cutoff)).numpy()
    assert worst(-slopes[0][:, 0], evaluate(model, atoms).forces[:2].flatten()) < 1e-8
    assert worst(-slopes[1], hessian_matrix[:6]) < 1e-7
    assert worst(hessian_matrix, hessian_matrix.T) < 1e-12


JOINS_AT_A_DISTANCE = Atoms("CNOH", [[0, 0, 0], [2.8, 0, 0], [5.7, 0.2, 0], [0, 0, 0]])
WAYS = {
    "an atom joins at a distance": line(JOINS_AT_A_DISTANCE, 3, [6.1, 4.1, 0], [6.1, 2.1, 0]),
    **{
        name: PATHS[name]
        for name in (
            "a neighbour crosses the cutoff",
            "an atom joins a dimer",
            "a line bends",
            "a line bends, an atom watches",
            "a crystal",
        )
    },
}


@pytest.mark.parametrize("path", WAYS)
def test_energies_and_forces_do_not_jump(path):
    assert pieces_that_fail(work_is_missing, ecse.wrap(NETWORK, "so3"), WAYS[path]) == 0


def test_straight_molecules_are_evaluated_along_the_axis():
    """HCCCCH, which is longer than an edge, against the network with the molecule on the x axis."""
    lengths = np.cumsum([0.0, 1.06, 1.2, 1.38, 1.2, 1.06])
    atoms = Atoms("HCCCCH", np.outer(lengths, [1.0, 0, 0]))
    reverse = Atoms("HCCCCH", np.outer(-lengths, [1.0, 0, 0]))
    energies = [evaluate(NETWORK, one).energies for one in (atoms, reverse)]
    assert worst(evaluate(MODEL, atoms).energies[0], energies[0][0]) < 1e-12
    assert worst(evaluate(MODEL, atoms).energies[5], energies[1][5]) < 1e-12


def test_dipoles_rotate_and_features_are_means(generator):
    network = passing(heads={"energy": 1, "dipole": 3}, uncertainties={"energy": 2})
    model, matrix = ecse.wrap(network, "so3"), rotations.random_orthogonal(1, generator)[0]
    matrix, atoms = matrix * torch.linalg.det(matrix), STRUCTURES["chiral"]()
    first, second = (batch([one], model.cutoff) for one in (atoms, rotated(atoms, matrix.numpy())))
    dipoles, features = (
        [read(graph) for graph in (first, second)]
        for read in (
            lambda graph: model.predict(graph, ("dipole",))["dipole"],
            lambda graph: model.last_layer(graph)[1],
        )
    )
    assert worst(dipoles[1], dipoles[0] @ matrix.T) < 1e-12
    assert worst(features[1], features[0]) < 1e-12


class Counted(type(NETWORK)):
    """A network that records the numbers of atoms and edges of each call."""

    def forward(self, graph):
        self.seen.append((graph.n_atoms, len(graph.centre)))
        return super().forward(graph)


def test_cost_counts_the_environments_of_the_network():
    network = Counted(NETWORK.settings).double().requires_grad_(False)
    network.seen = []
    model, graph = (
        ecse.Model(network, chunk_edges=500),
        batch([STRUCTURES["chiral"](), toys.sheared()], MODEL.cutoff),
    )
    cost = model.cost(graph)
    assert network.seen == []
    model(graph)
    atoms, edges = (sum(values) for values in zip(*network.seen, strict=True))
    assert cost["edges"] == edges
    assert cost["peak_edges"] == max(edges for _, edges in network.seen)
    assert cost["environments"] == int(model.describe(graph)["environments"].sum())
    assert cost["ratio"] == pytest.approx((atoms + edges) / (graph.n_atoms + len(graph.centre)))


def test_what_costs_too_much_is_refused():
    atoms, options = STRUCTURES["chiral"](), ecse.Settings(**ecse.COMPACT, limit=20.0)
    graph = batch([atoms], MODEL.cutoff)
    cost = MODEL.cost(graph)
    with pytest.raises(
        ValueError,
        match=(
            f"would take {cost['ratio']:.0f} times the work of this model, and its limit is "
            "20 times. .* 2 hops away.*group:O .48 times.*quadrature:L.*ecse:force"
        ),
    ):
        ecse.Model(NETWORK, options)(graph)
    assert worst(symmetrise(NETWORK, "ecse:force")(graph), MODEL(graph)) < 1e-12
    with pytest.raises(ValueError, match="`limit` is 0.0"):
        ecse.Settings(limit=0.0)


def test_large_crystals_are_refused_before_anything_runs():
    calculator = PETCalculator(Counted(NETWORK.settings).double(), symmetrise="ecse")
    calculator.model.model.seen = []
    with pytest.raises(ValueError, match="would take .* times the work"):
        calculator.get_potential_energy(toys.silicon() * (3, 3, 3))
    assert calculator.model.model.seen == []


def test_models_without_message_passing_depth_are_refused():
    with pytest.raises(ValueError, match="do not say how many message-passing layers it has"):
        ecse.wrap(AtomisticModel(None, 4.0, (14,)))
