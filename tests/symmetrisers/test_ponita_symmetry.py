"""PONITA under rotations: exact symmetries of the grid, symmetrisers, remaining error."""

import numpy as np
import pytest
import torch

from ase_pet import rotations
from ase_pet.evaluation import Evaluation
from ase_pet.symmetrisers import symmetrise
from local_toys import STRUCTURES, batch, evaluate, rotated
from pairs import covering
from ponita_toys import tiny_ponita
from tolerances import worst

ICOSAHEDRAL = ["icosahedral", "dodecahedral", "compound"]
INVERSION = -np.eye(3)


def changes(model, atoms, matrices):
    """Largest changes of energies (eV) and rotated-back forces (eV/A) over matrices (n, 3, 3)."""
    expected = evaluate(model, atoms)
    results = [evaluate(model, rotated(atoms, matrix)) for matrix in matrices]
    energies = max(
        float((one.energies - expected.energies).detach().abs().max()) for one in results
    )
    forces = max(
        float((one.forces @ torch.tensor(matrix) - expected.forces).abs().max())
        for one, matrix in zip(results, matrices, strict=True)
    )
    return energies, forces


@pytest.mark.parametrize("structure", ["ethanol", "slab"])
@pytest.mark.parametrize("grid", ICOSAHEDRAL)
def test_60_rotations_and_inversion_are_exact(grid, structure):
    """Energies relative to their size; forces too."""
    model, atoms = tiny_ponita(orientations=grid), STRUCTURES[structure]()
    energies, forces = changes(model, atoms, [*rotations.icosahedral().numpy(), INVERSION])
    assert energies < 1e-13 * float(evaluate(model, atoms).energies.abs().max())
    assert forces < 1e-12


def test_octahedral_grid_is_exact_under_its_group():
    energies, forces = changes(
        tiny_ponita("octahedral"),
        STRUCTURES["ethanol"](),
        rotations.with_inversion(rotations.octahedral()).numpy(),
    )
    assert max(energies, forces) < 1e-12


@pytest.mark.parametrize("name", ["base", "fibonacci"])
def test_other_rotations_are_not(name, generator):
    """Control of the tests above."""
    matrices = rotations.random_orthogonal(5, generator).numpy()
    assert changes(tiny_ponita(name), STRUCTURES["ethanol"](), matrices)[0] > 1e-3


def test_a_grid_without_opposites_is_not_exact_under_inversion():
    assert changes(tiny_ponita("fibonacci"), STRUCTURES["ethanol"](), [INVERSION])[0] > 1e-3


def test_axes_that_rotate_with_the_structure_change_nothing(generator):
    """Only the grid breaks the symmetry."""
    model, atoms = tiny_ponita("fibonacci"), STRUCTURES["ethanol"]()
    for matrix in rotations.random_orthogonal(5, generator):
        actual = evaluate(
            model.with_orientations(model.axes @ matrix.T), rotated(atoms, matrix.numpy())
        )
        assert worst(actual.energies, evaluate(model, atoms).energies) < 1e-13
        assert worst(actual.forces @ matrix, evaluate(model, atoms).forces) < 1e-12


def test_pnita_is_exact_and_blind_to_the_hand_of_a_molecule(generator):
    matrices = rotations.random_orthogonal(10, generator).numpy()
    assert max(changes(tiny_ponita("PNITA"), STRUCTURES["chiral"](), matrices)) < 1e-12


def test_more_axes_reduce_the_rotation_error():
    """Standard deviation of the energy over orientations by number of axes, equal weights."""
    graph, model = batch([STRUCTURES["ethanol"]()], 4.0), tiny_ponita()
    left = [residual(model.with_orientations(f"fibonacci:{n}"), graph) for n in (6, 24, 96)]
    assert left[0] > 2 * left[1] > 4 * left[2]


def residual(model, graph):
    """Standard deviation in eV of the energy over 8 random orientations."""
    matrices = rotations.random_orthogonal(8, torch.Generator().manual_seed(0))
    return float(
        torch.stack(
            [model(graph.with_vectors(graph.pair_vectors @ matrix.T)).sum() for matrix in matrices]
        ).std()
    )


@pytest.mark.parametrize(
    ("setting", "name", "matrices"),
    [
        ("base", "group:O:aligned", rotations.octahedral()),
        ("fibonacci", "group:O:aligned", rotations.octahedral()),
        ("fibonacci", "group:I:aligned", rotations.icosahedral()),
        ("base", "quadrature:2", torch.eye(3)[None]),
    ],
)
def test_means_over_rotations(setting, name, matrices):
    """Exact under their group, with a smaller error for other rotations."""
    model, atoms = tiny_ponita(setting), STRUCTURES["ethanol"]()
    averaged, graph = symmetrise(model, name), batch([atoms], 4.0)
    assert max(changes(averaged, atoms, matrices[:5].double().numpy())) < 1e-12
    assert residual(averaged, graph) < residual(model, graph)


def test_the_mean_over_the_symmetries_of_the_grid_changes_nothing():
    """group:I averages 120 equal energies of an icosahedral model."""
    model, graph = tiny_ponita(), batch([STRUCTURES["ethanol"]()], 4.0)
    assert worst(symmetrise(model, "group:I:aligned")(graph), model(graph)) < 1e-13


@pytest.mark.parametrize(
    ("grid", "group", "evaluations"),
    [
        ("icosahedral", "group:I", 1),
        ("dodecahedral", "group:I", 1),
        ("compound", "group:I", 1),
        ("octahedral", "group:O", 1),
        ("icosahedral", "group:O", 2),
        ("octahedral", "group:I", 5),
        ("antipodal:14", "group:I", 60),
        ("fibonacci:7", "group:I", 120),
        ("none", "group:I", 1),
    ],
)
def test_symmetries_of_the_grid_cost_no_evaluation(grid, group, evaluations):
    """Group elements that rotate the grid to the same grid share one evaluation.

    They rotate an octahedron to 5 different ones.
    """
    model, seen = tiny_ponita(orientations=grid), []
    model.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].n_structures))
    symmetrised, graph = symmetrise(model, group), batch([STRUCTURES["ethanol"]()], 4.0)
    symmetrised(graph)
    assert sum(seen) == evaluations == symmetrised.cost(graph)["evaluations_per_atom"]


@pytest.mark.parametrize("grid", ["icosahedral", "octahedral"])
def test_120_elements_are_exact_whatever_is_spared(grid):
    model, atoms = (
        symmetrise(tiny_ponita(orientations=grid), "group:I:aligned"),
        STRUCTURES["ethanol"](),
    )
    energies, forces = changes(
        model, atoms, rotations.with_inversion(rotations.icosahedral()).numpy()
    )
    assert energies < 1e-13 * float(evaluate(model, atoms).energies.abs().max())
    assert forces < 1e-12


def test_the_group_of_the_cube_is_two_rotations_on_an_icosahedral_grid():
    """The tetrahedral rotations are common to both groups.

    Together with a rotation by 90 degrees they generate the group of the cube.
    """
    model, graph = tiny_ponita(), batch([STRUCTURES["ethanol"]()], 4.0)
    quarter = torch.tensor([[0, -1, 0], [1, 0, 0], [0, 0, 1]], dtype=torch.float64)
    two = (model(graph) + model(graph.with_vectors(graph.pair_vectors @ quarter.T))) / 2
    assert worst(symmetrise(model, "group:O:aligned")(graph), two) < 1e-12


def test_mirror_images_of_frames_are_spared_on_grids_that_have_them():
    """Inversion and rotations by 180 degrees are symmetries of an icosahedral grid.

    A frame and its mirror image therefore share one evaluation.
    """
    graph, environments = batch([STRUCTURES["ethanol"]()], 4.0), {}
    for name in ("base", "fibonacci"):
        model = symmetrise(tiny_ponita(name, num_layers=1), "ecse")
        environments[name] = float(model.describe(graph)["environments"].sum())
    assert environments["fibonacci"] == 2 * environments["base"]


def test_deep_models_are_refused_with_what_they_would_cost():
    model, atoms = symmetrise(tiny_ponita("three layers"), "ecse"), STRUCTURES["fcc"]() * 3
    with pytest.raises(
        ValueError,
        match="times the work of this model.* rotated copies of the cluster of each atom have",
    ):
        evaluate(model, atoms).energies  # noqa: B018


@pytest.mark.parametrize(
    ("structure", "setting"),
    covering(
        ["ethanol", "slab", "CO2 160", "N2", "atom"], ["octahedral", "fibonacci", "bump", "base"]
    ),
)
def test_ecse_of_one_layer_is_exact(setting, structure, generator):
    """Invariant energies and equivariant forces under ten random elements of O(3)."""
    model = symmetrise(tiny_ponita(setting, num_layers=1), "ecse")
    matrices = rotations.random_orthogonal(10, generator).numpy()
    energies, forces = changes(model, STRUCTURES[structure](), matrices)
    assert energies < 1e-12
    assert forces < 1e-10


def test_ecse_of_two_layers_is_exact_on_clusters(generator):
    """Unlike in PET, an atom of PONITA is its own neighbour, which is not an edge of the graph."""
    model = symmetrise(tiny_ponita("base", width=4, num_basis=4), "ecse:force")
    assert model.hops == 1
    matrices = rotations.random_orthogonal(2, generator).numpy()
    atoms = STRUCTURES["chiral"]()
    energies, forces = changes(model, atoms, matrices)
    assert energies < 1e-12
    assert forces < 1e-10


def test_clusters_hold_all_that_an_atom_depends_on():
    """The energy of the central atom of a cluster is that in the full structure.

    One more hop changes nothing.
    """
    atoms, model = STRUCTURES["ethanol"](), symmetrise(tiny_ponita(), "ecse:force")
    expected = evaluate(model, atoms).energies
    model.hops = 2
    assert worst(evaluate(model, atoms).energies, expected) < 1e-12


def test_forces_of_ecse_are_the_derivative_of_its_energy():
    model, atoms, h = symmetrise(tiny_ponita("one layer"), "ecse"), STRUCTURES["ethanol"](), 1e-5
    ends = []
    for shift in (h, -h):
        moved = atoms.copy()
        moved.positions[1, 0] += shift
        ends.append(float(evaluate(model, moved).energy))
    forces = evaluate(model, atoms).forces
    assert float(forces[1, 0]) == pytest.approx(-(ends[0] - ends[1]) / (2 * h), rel=1e-6)
    positions = torch.tensor(atoms.positions)
    assert torch.linalg.cross(positions, forces).sum(0).abs().max() < 1e-12  # net torque


def test_models_of_whole_structures_have_no_environments():
    windowless = tiny_ponita("norm", cutoff_function="none", cutoff=30.0)
    with pytest.raises(ValueError, match="do not say how many message-passing layers"):
        symmetrise(windowless, "ecse")
    shifted = symmetrise(tiny_ponita("one layer", shift=2.0), "ecse")
    with pytest.raises(ValueError, match="no energy of the environment of an atom"):
        evaluate(shifted, STRUCTURES["ethanol"]()).energies  # noqa: B018


def test_dipoles_rotate_with_the_structure_on_the_grid_and_with_ecse(generator):
    atoms = STRUCTURES["ethanol"]()
    model = tiny_ponita("dipole", num_layers=1)
    cases = (
        (model, rotations.icosahedral()[7:9]),
        (symmetrise(model, "ecse"), rotations.random_orthogonal(3, generator)),
    )
    for case, matrices in cases:
        expected = Evaluation(case, batch([atoms], 4.0)).heads.total("dipole")
        assert expected.abs().max() > 1e-3
        for matrix in matrices:
            actual = Evaluation(case, batch([rotated(atoms, matrix.numpy())], 4.0)).heads.total(
                "dipole"
            )
            assert worst(actual.detach() @ matrix, expected.detach()) < 1e-12
