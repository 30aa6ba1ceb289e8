"""Partners of edges: one-sided graphs, whole and divided among ranks, equal two-sided ones."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

import ranks
from ase_pet import MLIPCalculator, graph
from ase_pet.evaluation import Evaluation
from ase_pet.graph.domains import Domain, DomainList
from ase_pet.models import mace, original_pet, pet, ponita
from tolerances import worst

PET = {
    "species": (6, 14),
    "cutoff": 3.6,
    "d_pet": 8,
    "d_node": 12,
    "d_head": 8,
    "d_feedforward": 8,
    "num_heads": 2,
    "num_attention_layers": 1,
}
ADAPTIVE = {"num_neighbors_adaptive": 8, "cutoff": 4.0}
MODELS = {
    "feedforward": lambda: pet.Model(pet.Settings(**PET, num_gnn_layers=3)),
    "residual, repulsion": lambda: pet.Model(
        pet.Settings(**PET, featurizer_type="residual", zbl=True)
    ),
    "solver": lambda: pet.Model(pet.Settings(**{**PET, **ADAPTIVE})),
    "grid": lambda: pet.Model(
        pet.Settings(**{**PET, **ADAPTIVE}, adaptive_cutoff_method="grid", num_gnn_layers=1)
    ),
    "original": lambda: original_pet.Model(
        original_pet.Settings(
            species=(6, 14),
            r_cut=3.6,
            transformer_d_model=8,
            transformer_dim_feedforward=8,
            head_n_neurons=8,
            n_trans_layers=1,
        )
    ),
    "ponita": lambda: ponita.Model(
        ponita.Settings(species=(6, 14), cutoff=3.6, width=8, num_basis=8)
    ),
}
MACE = {
    "width": 4,
    "num_bessel": 4,
    "radial_widths": (8,),
    "degree": 2,
    "hidden_degrees": ((0, 1, 2), (0, 1), (0,)),
    "residual": (False, True, True),
    "density": (False, True, True),
    "average_neighbours": (8.0, 8.0, 8.0),
    "correlation": (2, 2, 2),
    "readouts": ("linear", "linear", "mlp"),
    "distance_transform": "agnesi",
    "pair_repulsion": True,
}
ONE_LAYER = {
    "width": 8,
    "degree": 1,
    "hidden_degrees": ((0,),),
    "residual": (False,),
    "density": (False,),
    "average_neighbours": (10.0,),
    "correlation": (2,),
    "readouts": ("mlp",),
}
MODELS["mace of one layer"] = lambda: mace.Model(
    mace.Settings(species=(6, 14), cutoff=3.6, **ONE_LAYER)
)
MODELS["mace"] = lambda: mace.Model(mace.Settings(species=(6, 14), cutoff=3.6, **MACE))
SYMMETRISED = [
    ("feedforward", "quadrature:1"),
    ("mace", "quadrature:1"),
    ("feedforward", "ecse_layers"),
    ("local", "ecse"),
]
MODELS["local"] = lambda: pet.Model(
    pet.Settings(**PET, featurizer_type="residual", num_gnn_layers=1)
)
MESSAGES = ["feedforward", "residual, repulsion", "solver", "grid", "original", "ponita", "mace"]


def crystal():
    """Sheared silicon carbide of 16 atoms, thinner than two cutoffs, and one atom far from all."""
    atoms = bulk("Si", cubic=True, a=4.9) * (2, 1, 1)
    atoms.numbers[::3] = 6
    atoms.rattle(0.1, seed=1)
    shear = np.array([[1, 0, 0], [0.1, 1, 0], [0.05, 0.02, 1]])
    atoms.set_cell(atoms.cell.array @ shear, scale_atoms=True)
    return atoms


def calculator(name, symmetrise=None):
    torch.manual_seed(0)
    model = MODELS[name]().double()
    return MLIPCalculator(model, dtype="float64", device="cpu", symmetrise=symmetrise)


def of_rank(calc, atoms, owner, transport):
    """Local tags, energies and forces, and the sum of energies and the virial of a rank."""
    cells = DomainList(calc.cutoff, 0.5, calc.species, transport)
    part = ranks.domain(atoms, owner, transport.rank, calc.cutoff + 0.5)
    cells.search(part)
    results = Evaluation(calc.model, cells.graph(part))
    n = part.n_local
    forces = results.forces[:n]
    return (
        part.tags[:n] - 1,
        results.energies[:n].numpy(),
        forces.numpy(),
        results.energy[0].item(),
        results.virial[0].numpy(),
    )


def together(calc, atoms, size, transport=ranks.Threads, owner=None):
    """Energies (n,), forces (n, 3), energy and virial of all ranks."""
    owner = ranks.owners(atoms, size) if owner is None else owner
    parts = ranks.on_ranks(size, lambda t: of_rank(calc, atoms, owner, t), transport)
    order = np.argsort(np.concatenate([part[0] for part in parts]))
    energies = np.concatenate([part[1] for part in parts])[order]
    forces = np.concatenate([part[2] for part in parts])[order]
    return energies, forces, sum(part[3] for part in parts), sum(part[4] for part in parts)


def difference(calc, atoms, size, **options):
    """Largest relative difference of energies, forces and virial from those of one graph."""
    structure = graph.from_atoms(atoms, False)
    whole = Evaluation(calc.model, graph.build([structure], calc.cutoff))
    energies, forces, energy, virial = together(calc, atoms, size, **options)
    return max(
        worst(energies, whole.energies),
        worst(forces, whole.forces),
        worst([energy], whole.energy),
        worst(virial, whole.virial[0]),
    )


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("size", [1, 2, 3])
def test_ranks_give_the_numbers_of_one_graph(name, size):
    assert difference(calculator(name), crystal(), size) < 1e-12


@pytest.mark.parametrize(("name", "symmetrise"), SYMMETRISED)
def test_ranks_evaluate_symmetrised_models(name, symmetrise):
    assert difference(calculator(name, symmetrise), crystal(), 2) < 1e-12


@pytest.mark.parametrize("name", MESSAGES)
def test_without_messages_between_ranks_forces_are_wrong(name):
    """The control: a swap that returns zeros for partners of other ranks."""
    assert difference(calculator(name), crystal(), 2, transport=ranks.Deaf) > 1e-4


@pytest.mark.parametrize("name", ["feedforward", "mace"])
def test_a_rank_may_have_no_atoms(name):
    atoms = crystal()
    owner = np.where(ranks.owners(atoms, 2) == 1, 2, 0)
    assert difference(calculator(name), atoms, 3, owner=owner) < 1e-12


@pytest.mark.parametrize("distance", [1.8, 3.6])
@pytest.mark.parametrize("name", ["solver", "mace"])
def test_an_atom_may_have_no_neighbours(name, distance):
    """Or a neighbour at the cutoff."""
    atoms = Atoms("CSiSi", [[0, 0, 0], [0, distance, 0], [20, 0, 0]], cell=[40] * 3, pbc=True)
    assert difference(calculator(name), atoms, 2) < 1e-12


def test_plain_sums_of_mace_pass_between_ranks_as_well():
    calc = calculator("mace")
    for module in calc.model.modules():
        module.fast = False
    assert difference(calc, crystal(), 2) < 1e-12


def test_edges_are_kept_until_the_next_search():
    """Between searches the edges within the cutoff are selected, in other places as well."""
    calc = calculator("feedforward")
    atoms = crystal()
    owner = ranks.owners(atoms, 2)
    moved = atoms.copy()
    moved.rattle(0.05, seed=3)

    def run(transport):
        cells = DomainList(calc.cutoff, 0.5, calc.species, transport)
        cells.search(ranks.domain(atoms, owner, transport.rank, calc.cutoff + 0.5))
        old = ranks.domain(atoms, owner, transport.rank, calc.cutoff + 0.5)
        shift = moved.positions - atoms.positions
        now = old._replace(positions=old.positions + shift[old.tags - 1])
        assert cells.is_same_system(now)
        assert cells.covers(now)
        assert not cells.covers(old._replace(positions=old.positions + 0.3))
        results = Evaluation(calc.model, cells.graph(now))
        return results.energy[0].item()

    structure = graph.from_atoms(moved, False)
    expected = Evaluation(calc.model, graph.build([structure], calc.cutoff)).energy[0].item()
    assert abs(sum(ranks.on_ranks(2, run)) - expected) < 1e-11


def test_second_derivatives_pass_through_the_swap():
    atoms = crystal()
    calc = calculator("feedforward")
    cells = DomainList(calc.cutoff, 0.5, calc.species)
    part = ranks.domain(atoms, ranks.owners(atoms, 1), 0, calc.cutoff + 0.5)
    cells.search(part)
    batch = cells.graph(part)
    rows = torch.randn(len(batch.pair_centre), 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda r: (batch.partner(r) ** 3)[:5], rows)


def test_partner_is_an_involution_of_two_sided_graphs_too():
    batch = graph.build([graph.from_atoms(crystal(), False)], 3.6)
    rows = torch.arange(len(batch.centre))
    assert torch.equal(batch.partner(batch.partner(rows)), rows)
    assert torch.equal(batch.edge_vectors, -batch.partner(batch.edge_vectors))
    assert torch.equal(batch.centre, batch.partner(batch.neighbour))
    numbers = batch.numbers[batch.neighbour]
    assert torch.equal(batch.of_neighbours(batch.numbers), numbers)


def test_a_lost_partner_is_an_error():
    """A rank that lacks a ghost atom: an edge has no partner."""
    atoms = crystal()
    owner = ranks.owners(atoms, 2)

    def run(transport):
        part = ranks.domain(atoms, owner, transport.rank, 4.1)
        known = len(part.tags) - transport.rank  # one ghost less on the second rank
        part = Domain(part.n_local, *(values[:known] for values in part[1:]))
        DomainList(3.6, 0.5, (6, 14), transport).search(part)

    with pytest.raises(ValueError, match="lack ghost atoms"):
        ranks.on_ranks(2, run)


def test_edges_whose_length_is_the_search_radius_may_differ_between_ranks():
    """Rounding decides on which side of the radius they are."""
    atoms = bulk("Si", cubic=True, a=4.9) * (2, 1, 1)
    bond = atoms.get_distance(0, 1) + 0.1
    reach = np.unique(np.round(atoms.get_all_distances(mic=True), 9))[3]
    owner = ranks.owners(atoms, 2)

    def run(transport):
        part = ranks.domain(atoms, owner, transport.rank, reach + 0.1)
        shift = 1e-13 * (1 + transport.rank) * np.arange(len(part.tags))[:, None]
        moved = part._replace(positions=part.positions + np.where(shift < 1e-11, shift, 0))
        cells = DomainList(bond, reach - bond, (14,), transport)
        cells.search(moved)
        return len(cells.graph(moved).pair_centre)

    assert sum(ranks.on_ranks(2, run)) == 4 * len(atoms)


def test_a_one_sided_graph_without_a_route_has_no_partners():
    batch = graph.build([graph.from_atoms(crystal(), False)], 3.6)
    one_sided = graph.Graph(**{**batch.__dict__, "one_sided": True})
    with pytest.raises(ValueError, match="needs a `route`"):
        one_sided.partner(batch.pair_vectors)


def test_a_route_is_that_of_its_edges():
    calc = calculator("feedforward")
    cells = DomainList(calc.cutoff, 0.5, calc.species)
    part = ranks.domain(crystal(), ranks.owners(crystal(), 1), 0, calc.cutoff + 0.5)
    cells.search(part)
    batch = cells.graph(part)
    with pytest.raises(ValueError, match="without their partners"):
        batch.select(torch.tensor([0]))
    with pytest.raises(ValueError, match="other edges"):
        graph.Graph(**{**batch.__dict__, "pair_centre": batch.pair_centre[1:]})
