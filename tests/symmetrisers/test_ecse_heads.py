"""Other heads of symmetrised models: vectors and tensors rotate with the structure."""

import numpy as np
import pytest
import torch
from ase import Atoms

import toys
from ase_pet import PETCalculator, rotations
from ase_pet.evaluation import Evaluation
from ase_pet.symmetrisers import ecse, symmetrise
from local_toys import PATHS, STRUCTURES, batch, evaluate, local_pet, rotated
from tolerances import ROUNDING_3, worst

DIRECT = {"non_conservative_forces": 3, "non_conservative_stress": 9}
HEADS = {"energy": 1, "charge": 1, "dipole": 3, **DIRECT}
ROTATED = {
    1: lambda values, matrix: values,
    3: lambda values, matrix: values @ matrix.T,
    9: lambda values, matrix: (matrix @ values.view(-1, 3, 3) @ matrix.T).flatten(1),
}  # by number of components
NETWORK = local_pet(heads=HEADS)
PASSING = toys.tiny_pet(heads=HEADS, species=(1, 6, 7, 8, 14)).requires_grad_(False)
PASSING.scales = {head: 0.01 for head in HEADS}
NETWORK.scales = NETWORK.scales | {head: 0.01 for head in HEADS if head != "energy"}

ALL = rotations.random_orthogonal(50, torch.Generator().manual_seed(3))
PROPER = ALL * torch.linalg.det(ALL)[:, None, None]
OCTAHEDRAL = rotations.with_inversion(rotations.octahedral())
SYMMETRIC = {
    "ecse": (ecse.wrap(NETWORK), ALL),
    "ecse:so3": (ecse.wrap(NETWORK, "so3"), PROPER),
    "group:O": (symmetrise(PASSING, "group:O:aligned"), OCTAHEDRAL),
}


def predicted(model, *structures, names=tuple(HEADS)):
    """Heads of all atoms of the structures."""
    return model.predict(batch(structures, model.cutoff), names)


def differences(actual, expected):
    """{head: largest difference}."""
    return {name: float((actual[name] - expected[name]).abs().max()) for name in expected}


# Heads


@pytest.mark.parametrize("name", STRUCTURES)
@pytest.mark.parametrize("model", SYMMETRIC)
def test_vectors_and_tensors_of_each_atom_rotate_with_the_structure(model, name):
    model, matrices = SYMMETRIC[model]
    atoms = STRUCTURES[name]()
    still, results = (
        predicted(model, atoms),
        predicted(model, *(rotated(atoms, matrix.numpy()) for matrix in matrices)),
    )
    expected = {
        head: torch.cat([ROTATED[HEADS[head]](values, matrix) for matrix in matrices])
        for head, values in still.items()
    }
    assert max(differences(results, expected).values()) < 1e-12


@pytest.mark.parametrize("name", ["silicon", "CO2 160", "ethanol"])
def test_the_network_alone_does_not_rotate_its_heads(name):
    """Control: the test above fails without a symmetriser."""
    atoms, matrix = STRUCTURES[name](), ALL[1]
    still, results = predicted(NETWORK, atoms), predicted(NETWORK, rotated(atoms, matrix.numpy()))
    expected = {head: ROTATED[HEADS[head]](values, matrix) for head, values in still.items()}
    assert min(differences(results, expected).values()) > 1e-3


@pytest.mark.parametrize("name", ["silicon", "ethanol"])
def test_heads_are_means_over_frames(name):
    """Compare with the network on the full structure rotated into each frame.

    No atom of this structure needs a line.
    """
    atoms, (model, _) = STRUCTURES[name](), SYMMETRIC["ecse:so3"]
    ((frames, auxiliary, _),) = model._survey(batch([atoms], model.cutoff))
    runs = [predicted(NETWORK, rotated(atoms, axes.T.numpy())) for axes in frames.axes]
    expected = {
        head: torch.zeros(len(atoms), components, dtype=torch.float64)
        for head, components in HEADS.items()
    }
    for run, axes, weight, atom in zip(
        runs, frames.axes, frames.weights / frames.total[frames.atom], frames.atom, strict=True
    ):
        for head, values in run.items():
            expected[head][atom] += weight * ROTATED[HEADS[head]](values[atom : atom + 1], axes)[0]
    assert auxiliary.max() == 0
    assert max(differences(predicted(model, atoms), expected).values()) < 1e-12


def test_heads_are_means_over_a_group():
    atoms, (model, matrices) = STRUCTURES["ethanol"](), SYMMETRIC["group:O"]
    runs = [predicted(PASSING, rotated(atoms, matrix.numpy())) for matrix in matrices]
    expected = {
        head: (
            sum(
                ROTATED[components](run[head], matrix.T)
                for run, matrix in zip(runs, matrices, strict=True)
            )
            / 48
        )
        for head, components in HEADS.items()
    }
    assert max(differences(predicted(model, atoms), expected).values()) < 1e-12


@pytest.mark.parametrize("model", SYMMETRIC)
def test_heads_are_the_same_alone_and_together(model):
    """Energies and forces do not depend on the other requested heads."""
    model, _ = SYMMETRIC[model]
    atoms = STRUCTURES["CO2 160"]()
    plain, results = (
        evaluate(model, atoms),
        Evaluation(model, batch([atoms], model.cutoff), heads=("dipole", "charge")),
    )
    assert worst(results.forces, plain.forces) < 1e-12
    assert worst(results.energies, plain.energies) < 1e-13
    assert (
        worst(
            results.heads.total("dipole"),
            predicted(model, atoms, names=("dipole",))["dipole"].sum(0)[None],
        )
        < 1e-12
    )


@pytest.mark.parametrize(
    "path",
    [
        "a line bends, an atom watches",
        "an atom joins a dimer",
        "a neighbour crosses the cutoff",
        "a dimer comes apart",
    ],
)
def test_derivatives_of_heads_are_central_differences(path):
    """Random sums of the components of dipoles and direct stresses.

    The paths include the transition from frames to lines.
    """
    at, way = PATHS[path]
    model, names, h = SYMMETRIC["ecse:so3"][0], ("dipole", "non_conservative_stress"), 1e-5
    points, generator = np.linspace(0.03, 0.97, 9), torch.Generator().manual_seed(5)
    weights = torch.randn(len(at(0.5)), 12, generator=generator, dtype=torch.float64)

    def total(*shifts, graph=None):
        graph = graph or batch([at(t + shift) for t in points for shift in shifts], model.cutoff)
        values = torch.cat(list(model.predict(graph, names).values()), 1).view(-1, *weights.shape)
        return (values * weights).sum((1, 2)).view(len(points), -1)

    values = total(-2 * h, -h, h, 2 * h)
    slopes = (8 * (values[:, 2] - values[:, 1]) - (values[:, 3] - values[:, 0])) / (12 * h)
    graph = batch([at(t) for t in points], model.cutoff)
    vectors = graph.pair_vectors.requires_grad_()
    (gradient,) = torch.autograd.grad(total(0.0, graph=graph.with_vectors(vectors)).sum(), vectors)
    moving = (at(1.0).positions - at(0.0).positions).any(1).argmax() + len(
        weights
    ) * graph.structure
    sign = (graph.pair_neighbour == moving[graph.pair_neighbour]).double() - (
        graph.pair_centre == moving[graph.pair_centre]
    ).double()
    actual = torch.zeros(len(points), dtype=torch.float64).index_add(
        0, graph.structure[graph.pair_centre], sign * (gradient @ torch.tensor(way))
    )
    assert worst(actual, slopes) < 1e-6


def test_straight_molecules_have_vectors_along_their_axis():
    atoms, (model, _) = (
        Atoms("NCO", [[0, 0, 0], [0.4, 0.8, 0.8], [1.0, 2.0, 2.0]]),
        SYMMETRIC["ecse"],
    )
    axis = torch.tensor([1.0, 2.0, 2.0], dtype=torch.float64) / 3
    results = predicted(model, atoms)
    stress = results["non_conservative_stress"].view(-1, 3, 3)
    across = results["dipole"] - (results["dipole"] @ axis)[:, None] * axis
    # Vectors are rotated back from the frame, with rounding relative to their length.
    assert across.abs().max() < 10 * ROUNDING_3 * results["dipole"].abs().max()
    assert (results["dipole"] @ axis).abs().max() > 1e-3
    across = stress @ axis - (axis @ stress @ axis)[:, None] * axis
    assert across.abs().max() < 10 * ROUNDING_3 * stress.abs().max()


def test_an_atom_alone_has_no_vectors():
    results = predicted(SYMMETRIC["ecse"][0], Atoms("C"))
    stress = results["non_conservative_stress"].view(3, 3)
    assert results["dipole"].tolist() == [[0, 0, 0]]
    rest = stress - stress[0, 0] * torch.eye(3, dtype=torch.float64)
    assert rest.abs().max() <= 10 * ROUNDING_3 * stress.abs().max()


@pytest.mark.parametrize("model", SYMMETRIC)
def test_heads_that_are_no_tensors_are_refused(model):
    network = local_pet(heads={"energy": 1, "octupole": 7})
    with pytest.raises(
        ValueError,
        match="head `octupole` has 7 components: expected 1 .a number., 3 .a vector. or 9",
    ):
        predicted(symmetrise(network, model), STRUCTURES["atom"](), names=("energy", "octupole"))
    with pytest.raises(
        ValueError, match="`dipole` is not a head of this model: valid choices are energy, octupole"
    ):
        predicted(symmetrise(network, model), STRUCTURES["atom"](), names=("dipole",))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_dipoles_and_direct_forces_of_calculators_rotate(dtype):
    limit = {"float64": 1e-12, "float32": 1e-6}[dtype]
    calculator = PETCalculator(NETWORK, symmetrise="ecse", non_conservative=True, dtype=dtype)
    atoms, crystal, matrix = STRUCTURES["ethanol"](), STRUCTURES["silicon"](), ALL[0].numpy()
    first, second = calculator.evaluate([atoms, rotated(atoms, matrix)], ("forces", "dipole"))
    assert np.abs(second["forces"] - first["forces"] @ matrix.T).max() < limit
    assert np.abs(second["dipole"] - matrix @ first["dipole"]).max() < limit
    assert np.abs(first["dipole"]).max() > 1e-3
    first, second = (
        np.array(results["stress"])[[[0, 5, 4], [5, 1, 3], [4, 3, 2]]]
        for results in calculator.evaluate([crystal, rotated(crystal, matrix)], ("stress",))
    )
    assert np.abs(second - matrix @ first @ matrix.T).max() < limit


def test_losses_on_dipoles_reach_the_weights():
    network = local_pet(heads=HEADS).requires_grad_(True)
    weight = network.edge_last_layers["dipole"][0].weight
    graph = batch([STRUCTURES["chiral"](), STRUCTURES["CO2 160"]()], network.cutoff)

    def loss(shift=0.0):
        with torch.no_grad():
            weight[0, 0] += shift
        results = Evaluation(ecse.wrap(network), graph, training=True, heads=("dipole",))
        return results.forces.square().sum() + results.heads.total("dipole").square().sum()

    (gradient,) = torch.autograd.grad(loss(), weight)
    slope = (loss(1e-5) - loss(-2e-5)) / 2e-5
    assert abs(slope - gradient[0, 0]) < 1e-6 * gradient.abs().max()
