"""ECSE: reference values, exact symmetry, and use in calculators, training and checks."""

import functools
from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import make_supercell
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress

import toys
from ase_pet import PETCalculator, rotations
from ase_pet.evaluation import Evaluation, hessian
from ase_pet.formats import original_pet as reader
from ase_pet.graph import chunking
from ase_pet.models import original_pet
from ase_pet.symmetrisers import ecse, symmetrise
from ase_pet.symmetrisers._equivariance import OutputSpec
from local_toys import STRUCTURES, batch, chiral, co2, evaluate, local_pet, rotated
from pairs import covering
from tolerances import worst

NETWORK = local_pet()
MODELS = {"ecse": ecse.wrap(NETWORK), "ecse:so3": ecse.wrap(NETWORK, "so3")}

NO_LINEAR_FACTOR = ecse.Settings(
    width=0.3,
    beta=7.0,
    squared_sine=0.25,
    squared_sine_width=0.1,
    linear_factor=False,
    least_weight=0.8,
)
SETTINGS = {
    f"{name}_{group}": replace(settings, parity=group == "o3")
    for group in ("so3", "o3")
    for name, settings in (("d050", ecse.Settings()), ("d030_nolin", NO_LINEAR_FACTOR))
}
REFERENCES = (
    "ch4",
    "ethanol",
    "co2_linear",
    "co2_bent170",
    "co2_bent160",
    "co2_bent155",
    "n2",
    "n2_4p3",
    "n2_4p6",
    "ohh_crossing",
    "c_isolated",
    "si8_periodic",
    "water8",
)


@functools.cache
def reference(folder):
    """Original PET of the reference values, and the values."""
    network = reader.read(folder / "model")
    model = original_pet.Model(replace(network.settings, cutoff_function="step")).double()
    model.load_state_dict(network.state_dict())
    model.compositions, model.scales = network.compositions, network.scales
    return model.requires_grad_(False), np.load(folder / "ecse_reference.npz")


def largest(actual, expected):
    """Largest difference."""
    return float(np.abs(np.asarray(actual) - np.asarray(expected)).max(initial=0.0))


@pytest.mark.parametrize(("name", "settings"), covering(REFERENCES, SETTINGS))
def test_reference_values(reference_file, name, settings):
    """Values of a plain evaluation of the equations with the published network.

    They were computed for this project."""
    network, values = reference(reference_file("ecse"))
    atoms = Atoms(
        *(values[f"{name}/{key}"] for key in ("numbers", "positions")),
        cell=values[f"{name}/cell"],
        pbc=values[f"{name}/pbc"],
    )
    model = ecse.Model(network, SETTINGS[settings])
    expected = {
        key.rpartition("/")[2]: values[key]
        for key in values
        if key.startswith(f"{name}/{settings}/")
    }
    results = evaluate(model, atoms)
    weights = model.describe(results.graph)
    assert largest(results.forces, expected["forces"]) < 1e-11
    assert largest(results.energy[0], expected["energy"]) < 1e-12
    assert largest(results.energies, expected["atomic_energies"]) < 1e-12
    assert largest(results.virial[0], expected["dE_dstrain"]) < 1e-11
    assert largest(weights["inner_cutoff"], expected["inner_cutoff"]) < 1e-13
    assert largest(weights["total"], expected["sum_weights"]) < 1e-11
    assert largest(weights["collinear_total"], expected["w_aux"]) < 1e-13
    assert weights["frames"].tolist() == expected["frames_per_atom"].tolist()
    assert int(weights["environments"].sum()) == int(expected["n_evaluations"])


@pytest.mark.parametrize("name", STRUCTURES)
def test_energies_and_forces_rotate_with_the_structure(name, generator):
    """50 elements of O(3), half of them improper, as one batch."""
    atoms = STRUCTURES[name]()
    matrices = rotations.random_orthogonal(50, generator)
    still = evaluate(MODELS["ecse"], atoms)
    results = evaluate(MODELS["ecse"], *(rotated(atoms, matrix.numpy()) for matrix in matrices))
    forces = results.forces.view(50, -1, 3) @ matrices
    assert largest(results.energy, still.energy.expand(50)) < 1e-12 * len(atoms)
    assert largest(forces, still.forces.expand(50, -1, -1)) < 1e-10
    assert largest(matrices.mT @ results.virial @ matrices, still.virial.expand(50, 3, 3)) < 1e-10


@pytest.mark.parametrize("name", STRUCTURES)
@pytest.mark.parametrize("model", MODELS)
def test_there_is_no_net_torque(name, model):
    results = evaluate(MODELS[model], STRUCTURES[name]())
    moment = results.graph.pair_vectors.T @ results.pair_gradient
    assert largest(moment, moment.T) < 1e-10


@pytest.mark.parametrize("name", ["silicon", "ethanol", "water", "CO2 165"])
def test_the_network_alone_is_not_symmetric(name, generator):
    """Control: the tests above fail without a symmetriser."""
    (matrix,) = rotations.random_orthogonal(1, generator).numpy()
    atoms = STRUCTURES[name]()
    results = evaluate(NETWORK, atoms, rotated(atoms, matrix))
    moment = results.graph.pair_vectors.T @ results.pair_gradient
    assert largest(results.energy[0], results.energy[1]) > 1e-3
    assert largest(moment, moment.T) > 1e-3


@pytest.mark.parametrize("name", STRUCTURES)
def test_float32_is_symmetric_to_its_rounding(name, generator):
    atoms, model = STRUCTURES[name](), ecse.wrap(local_pet(torch.float32))
    matrices = rotations.random_orthogonal(10, generator)
    results = evaluate(
        model, *(rotated(atoms, matrix.numpy()) for matrix in matrices), dtype=torch.float32
    )
    forces = results.forces.view(10, -1, 3) @ matrices
    assert largest(results.energy, results.energy[:1].expand(10)) < 1e-6 * len(atoms)
    assert largest(forces, forces[:1].expand(10, -1, -1)) < 1e-4
    assert largest(results.energy[0], evaluate(MODELS["ecse"], atoms).energy[0]) < 1e-6 * len(atoms)


def test_proper_frames_tell_mirror_images_apart_and_parity_does_not():
    energies = {
        name: evaluate(model, chiral(1), chiral(-1)).energy for name, model in MODELS.items()
    }
    assert largest(energies["ecse"][0], energies["ecse"][1]) < 1e-13
    assert largest(energies["ecse:so3"][0], energies["ecse:so3"][1]) > 1e-4


@pytest.mark.parametrize("name", ["silicon", "ethanol", "CO2 160", "N2"])
def test_forces_are_derivatives_of_the_energy(name):
    atoms = STRUCTURES[name]()
    step = 3e-5 * np.random.default_rng(6).normal(size=(len(atoms), 3))
    moved = [atoms.copy() for _ in range(4)]
    for copy, factor in zip(moved, (-2, -1, 1, 2), strict=True):
        copy.positions += factor * step
    energy = evaluate(MODELS["ecse"], *moved).energy.numpy()
    slope = (8 * (energy[2] - energy[1]) - (energy[3] - energy[0])) / 12
    assert abs(slope + (evaluate(MODELS["ecse"], atoms).forces.numpy() * step).sum()) < 1e-12


@pytest.mark.parametrize("name", ["ethanol", "CO2 160", "CO2 180", "chiral"])
def test_hessian_is_the_derivative_of_forces(name):
    atoms, model, h = STRUCTURES[name](), MODELS["ecse"], 1e-6
    hessian_matrix = hessian(model, batch([atoms], model.cutoff)).numpy()
    moved = [atoms.copy() for _ in range(6 * len(atoms))]
    for k, copy in enumerate(moved):
        copy.positions[k // 6, k // 2 % 3] += h * (2 * (k % 2) - 1)
    forces = evaluate(model, *moved).forces.numpy().reshape(-1, 2, 3 * len(atoms))
    assert worst(hessian_matrix, hessian_matrix.T) < 1e-12
    assert worst(hessian_matrix, (forces[:, 0] - forces[:, 1]) / (2 * h)) < 1e-6


@pytest.mark.parametrize("chunk_edges", [1, 50, 500])
def test_size_of_chunks_changes_rounding_only(chunk_edges, monkeypatch):
    structures = [STRUCTURES[name]() for name in ("silicon", "CO2 160", "atom", "ethanol")]
    in_one_chunk = evaluate(MODELS["ecse"], *structures)
    monkeypatch.setitem(chunking.BUDGETS, "pairs", {"cpu": chunk_edges})
    pieces = evaluate(ecse.Model(NETWORK, chunk_edges=chunk_edges), *structures)
    assert worst(pieces.energies, in_one_chunk.energies) < 1e-13
    assert worst(pieces.forces, in_one_chunk.forces) < 1e-12


def test_the_network_never_sees_more_than_a_chunk():
    seen = []

    class Spy(type(NETWORK)):
        def forward(self, graph):
            seen.append(graph.n_atoms + len(graph.centre))
            return super().forward(graph)

    spy = Spy(NETWORK.settings)
    spy.load_state_dict(NETWORK.state_dict())
    model = ecse.Model(spy.double().requires_grad_(False), chunk_edges=200)
    results = evaluate(model, STRUCTURES["silicon"]())
    assert results.forces.isfinite().all()
    weights, edges = model.describe(results.graph), len(results.graph.centre) / 8
    assert max(seen) < 200 + 2 * edges
    # each environment once; the last chunks may be small
    assert len(seen) < 2 + int(weights["environments"].sum()) * (edges + 1) / 200


def test_many_structures_at_once_are_the_same_as_one_by_one():
    structures = [build() for build in STRUCTURES.values()]
    together = evaluate(MODELS["ecse"], *structures)
    alone = [evaluate(MODELS["ecse"], atoms) for atoms in structures]
    assert worst(together.energy, torch.cat([one.energy for one in alone])) < 1e-13
    assert worst(together.forces, torch.cat([one.forces for one in alone])) < 1e-12
    assert worst(together.virial, torch.cat([one.virial for one in alone])) < 1e-12


def test_order_of_atoms_does_not_matter():
    atoms = STRUCTURES["ethanol"]()
    order = np.random.default_rng(7).permutation(len(atoms))
    still, permuted = evaluate(MODELS["ecse"], atoms), evaluate(MODELS["ecse"], atoms[order])
    assert worst(permuted.energies, still.energies[order]) < 1e-13
    assert worst(permuted.forces, still.forces[order]) < 1e-12


def test_supercell_has_the_same_atomic_energies_and_forces():
    atoms = toys.sheared()
    still = evaluate(MODELS["ecse"], atoms)
    large = evaluate(MODELS["ecse"], make_supercell(atoms, [[1, 1, 0], [0, 2, 1], [0, 0, 1]]))
    assert (
        worst(large.energies.view(2, 2).sort().values, still.energies.sort().values.expand(2, 2))
        < 1e-12
    )
    assert worst(large.energy, 2 * still.energy) < 1e-12
    assert worst(large.virial, 2 * still.virial) < 1e-11


def test_environments_in_the_given_axes_are_the_network_itself():
    """If all frames are the coordinate axes, each term is the plain energy of an atom."""
    graph = batch([STRUCTURES["silicon"](), STRUCTURES["CO2 160"]()], NETWORK.cutoff)
    ((frames, _, environments),) = MODELS["ecse:so3"]._survey(graph)
    kept = slice(0, len(frames.atom))
    environments = replace(
        environments,
        axes=torch.eye(3, dtype=torch.float64).expand(len(frames.atom), 3, 3),
        back=environments.back[kept],
        start=environments.start[kept],
        count=environments.count[kept],
        atom=environments.atom[kept],
        weights=torch.ones_like(frames.weights),
    )
    actual = environments.weighted_sums(NETWORK, OutputSpec(), 1000, False)[:, 0]
    assert (
        worst(actual, NETWORK(graph) * torch.bincount(frames.atom, minlength=graph.n_atoms)) < 1e-13
    )


def test_repulsion_of_nuclei_is_left_as_it_is():
    """Up to the float32 rounding of its constants, which depends on the order of the two nuclei."""
    atoms = STRUCTURES["ethanol"]()
    models = [local_pet(zbl=zbl) for zbl in (False, True)]
    plain = [evaluate(model, atoms).energies for model in models]
    symmetric = [evaluate(ecse.wrap(model), atoms).energies for model in models]
    assert worst(symmetric[1] - symmetric[0], plain[1] - plain[0]) < 1e-7


def test_charge_and_spin_reach_each_environment(generator):
    model = ecse.wrap(local_pet(system_conditioning=True))
    (matrix,) = rotations.random_orthogonal(1, generator).numpy()
    neutral, ion = STRUCTURES["ethanol"](), toys.charged(STRUCTURES["ethanol"]())
    energy = evaluate(model, neutral, ion, rotated(ion, matrix)).energy
    assert largest(energy[0], energy[1]) > 1e-3
    assert largest(energy[1], energy[2]) < 1e-12


def test_losses_on_forces_reach_the_weights():
    """dL/dw by central differences, L = sum of squared forces and energies."""
    network = local_pet().requires_grad_(True)
    weight = network.gnn_layers[0].attention_layers[0].attention.input_linear.weight
    graph = batch([STRUCTURES["chiral"](), co2(160)], network.cutoff)

    def loss(shift=0.0):
        with torch.no_grad():
            weight[0, 0] += shift
        results = Evaluation(ecse.wrap(network), graph, training=True)
        return results.forces.square().sum() + results.energy.square().sum()

    (gradient,) = torch.autograd.grad(loss(), weight)
    slope = (loss(1e-5) - loss(-2e-5)) / 2e-5
    assert abs(slope - gradient[0, 0]) < 1e-6 * gradient.abs().max()


def test_calculator_takes_it_by_name():
    """Forces and stress against ASE's differences of energies."""
    atoms = STRUCTURES["silicon"]()
    atoms.calc = PETCalculator(local_pet(), symmetrise="ecse")
    assert type(atoms.calc.model) is ecse.Model
    assert (
        abs(
            atoms.get_forces()[2, 1] - calculate_numerical_forces(atoms, eps=1e-4, iatoms=[2])[0, 1]
        )
        < 1e-6
    )
    assert np.abs(atoms.get_stress() - calculate_numerical_stress(atoms, eps=1e-5)).max() < 1e-6
    assert worst(atoms.calc.evaluate([atoms])[0]["forces"], atoms.get_forces()) < 1e-12
    assert worst(atoms.calc.hessian(atoms), atoms.calc.hessian(atoms).T) < 1e-12


@pytest.mark.parametrize("name", ["ecse", "group:O"])
def test_float32_calculators_see_float64_vectors(name):
    """Forces of 0.2 eV/A; with vectors in float32 they are off by 2e-7 eV/A."""
    atoms = STRUCTURES["silicon"]()
    single, double = (
        PETCalculator(NETWORK, symmetrise=name, dtype=dtype).evaluate([atoms])[0]
        for dtype in ("float32", "float64")
    )
    assert largest(single["forces"], double["forces"]) < 1.5e-7
    assert largest(single["energy"], double["energy"]) < 1e-7 * len(atoms)


def test_a_wrapped_model_answers_as_the_model_does():
    network = local_pet(heads={"energy": 1, "energy/other": 1})
    model = ecse.wrap(network)
    for name in (
        "cutoff",
        "species",
        "settings",
        "composition",
        "compositions",
        "scales",
        "exact_second_derivatives",
        "exact_geometry",
    ):
        assert getattr(model, name) == getattr(network, name)
    model.energy_head = "energy/other"
    assert network.energy_head == "energy/other"
    assert model.is_local


def test_residual_measures_the_broken_symmetry():
    graph = batch([STRUCTURES["ethanol"](), STRUCTURES["chiral"]()], NETWORK.cutoff)
    assert MODELS["ecse"].residual(graph).max() < 1e-13
    assert MODELS["ecse:so3"].residual(graph)[1] > 1e-4


def test_arguments_are_checked():
    with pytest.raises(ValueError, match="'ecse:o4': valid choices are ecse, ecse:o3, ecse:so3"):
        symmetrise(NETWORK, "ecse:o4")
    with pytest.raises(
        ValueError, match="`width` is 4.0 A: expected less than the cutoff of the model, 4.0 A"
    ):
        ecse.wrap(NETWORK, ecse.Settings(width=4.0))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 0.0}, "`width` is 0.0: expected a finite number above 0"),
        ({"beta": float("nan")}, "`beta` is nan"),
        (
            {"squared_sine": 0.1},
            "`squared_sine` is 0.1: expected `squared_sine_width` .0.15. or more, less than 1",
        ),
        ({"least_weight": 3.0}, "`least_weight` is 3.0: expected 2 or less"),
    ],
)
def test_settings_are_checked(changes, message):
    with pytest.raises(ValueError, match=message):
        ecse.Settings(**changes)
