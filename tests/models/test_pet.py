"""PET: derivatives, exact symmetries, limits, and fast forms against plain ones.

Tests run over settings that cover every branch of the model; weights are random (`toys`).
"""

import copy

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import make_supercell
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from torch import nn
from torch.nn import functional

from ase_pet import PETCalculator, graph
from ase_pet.evaluation import Evaluation
from ase_pet.layers import adaptive, cutoff, ragged
from ase_pet.layers import linear as layers_linear
from ase_pet.layers.attention_layout import attention_layout
from ase_pet.layers.linear import linear
from ase_pet.models import pet
from pairs import covering
from tolerances import DTYPES, TOLERANCES, worst
from toys import SETTINGS, STRUCTURES, charged, ethanol, sheared, silicon, slab, tiny_pet

EXACT = TOLERANCES[torch.float64]
SMOOTH = ["base", "local", "grid", "solver", "local, adaptive", "original"]
every_setting = pytest.mark.parametrize("name", SETTINGS)
every_pair = pytest.mark.parametrize(("name", "structure"), covering(SETTINGS, STRUCTURES))
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)


def calculator(name, **changes):
    return PETCalculator(tiny_pet(name, **changes), skin=0)


def built(*structures, model, dtype=torch.float64):
    return graph.build([graph.from_atoms(atoms) for atoms in structures], model.cutoff, dtype=dtype)


def evaluated(model, *structures, training=False, dtype=torch.float64):
    return Evaluation(model, built(*structures, model=model, dtype=dtype), training=training)


# Derivatives


@every_pair
def test_forces_are_minus_the_derivative_of_the_energy(name, structure):
    atoms = charged(STRUCTURES[structure]())
    atoms.calc = calculator(name)
    expected = calculate_numerical_forces(atoms, eps=1e-5, iatoms=[1])
    assert np.abs(expected).max() > 1e-2
    assert worst(atoms.get_forces()[[1]], expected) < EXACT["derivative"]


@pytest.mark.parametrize(("name", "structure"), covering(SETTINGS, ["sheared", "slab"]))
def test_stress_is_the_derivative_of_the_energy(name, structure):
    atoms = charged(STRUCTURES[structure]())
    atoms.calc = calculator(name)
    expected = calculate_numerical_stress(atoms, eps=1e-6)
    assert np.abs(expected).max() > 1e-3
    assert worst(atoms.get_stress(), expected) < EXACT["derivative"]


def loss(model, structures, dtype=torch.float64):
    """A generic function of energies, forces and stress."""
    result = evaluated(model, *structures, training=True, dtype=dtype)
    weights = torch.linspace(-1, 1, result.forces.numel(), dtype=torch.float64).view_as(
        result.forces
    )
    return (
        ((result.forces - weights) ** 2).mean()
        + (result.interaction**2).mean()
        + (result.stress**2).sum()
    )


def direction(model):
    generator = torch.Generator().manual_seed(7)
    return [
        torch.randn(parameter.shape, generator=generator, dtype=torch.float64).to(parameter.dtype)
        for parameter in model.parameters()
    ]


def moved(model, along, step):
    other = copy.deepcopy(model)
    with torch.no_grad():
        for parameter, change in zip(other.parameters(), along, strict=True):
            parameter += step * change
    return other


def slope(model, structures, dtype=torch.float64):
    """Derivative of the loss along `direction`, by automatic differentiation."""
    gradients = torch.autograd.grad(
        loss(model, structures, dtype), tuple(model.parameters()), allow_unused=True
    )
    return sum(
        (gradient * change).sum().item()
        for gradient, change in zip(gradients, direction(model), strict=True)
        if gradient is not None
    )


@every_setting
def test_gradient_of_a_loss_on_forces_reaches_the_weights(name):
    model, structures, step = tiny_pet(name), [charged(silicon()), slab()], 1e-6
    along = direction(model)
    expected = (
        loss(moved(model, along, step), structures) - loss(moved(model, along, -step), structures)
    ) / (2 * step)
    assert abs(expected.item()) > 1e-2
    assert worst(slope(model, structures), expected.item()) < EXACT["derivative"]


@pytest.mark.parametrize(
    ("name", "frozen"),
    [
        *((name, ()) for name in SETTINGS),
        *(("base", words) for words in (("bias",), ("weight",), ("gnn_layers",))),
        ("base", ("heads", "last_layers", "combinations")),
        ("original", ("weight",)),
        ("original", ("gnn_layers",)),
    ],
    ids=str,
)
def test_each_gradient_of_a_loss_is_the_same_in_float32(name, frozen):
    """In float32, training uses other kernels; some weights may be frozen, as in fine-tuning."""
    gradients = {}
    for dtype in DTYPES:
        model = tiny_pet(name, dtype)
        for key, parameter in model.named_parameters():
            parameter.requires_grad_(not any(word in key for word in frozen))
        free = {
            key: parameter for key, parameter in model.named_parameters() if parameter.requires_grad
        }
        actual = torch.autograd.grad(
            loss(model, [silicon(), slab()], dtype), tuple(free.values()), allow_unused=True
        )
        gradients[dtype] = {
            key: gradient
            for key, gradient in zip(free, actual, strict=True)
            if gradient is not None
        }
    single, double = (gradients[dtype] for dtype in (torch.float32, torch.float64))
    largest = max(gradient.abs().max().item() for gradient in double.values())
    assert single.keys() == double.keys()
    assert len(single) > 3
    assert (
        max((single[key].double() - double[key]).abs().max().item() for key in double) / largest
        < 2e-3
    )


@every_setting
def test_hessian_is_the_derivative_of_the_forces(name):
    atoms, step = charged(sheared()), 1e-5
    calc = PETCalculator(
        tiny_pet(name, adaptive_cutoff_method="grid", cutoff_function="bump"), skin=0
    )
    columns = []
    for k in range(atoms.positions.size):
        ends = [atoms.copy(), atoms.copy()]
        ends[0].positions.flat[k] += step
        ends[1].positions.flat[k] -= step
        up, down = calc.evaluate(ends, ["forces"])
        columns.append((down["forces"] - up["forces"]).flatten() / (2 * step))
    assert worst(calc.hessian(atoms), columns) < 10 * EXACT["derivative"]


# Invariances


def results(atoms, calc, *properties):
    return calc.evaluate([atoms], properties or ("energy", "energies", "forces"))[0]


@every_setting
def test_batch_is_single(name):
    structures = [
        charged(silicon()),
        sheared(),
        Atoms("H"),
        slab(),
        charged(ethanol()),
        Atoms("SiO", [[0, 0, 0], [9, 0, 0]]),
    ]
    calc = PETCalculator(tiny_pet(name), batch_atoms=10**6)
    together = calc.evaluate(structures, ["energy", "energies", "forces"])
    for atoms, actual in zip(structures, together, strict=True):
        expected = results(atoms, calc)
        assert worst(actual["energy"], expected["energy"]) < EXACT["same"]
        assert worst(actual["energies"], expected["energies"]) < EXACT["same"]
        assert np.abs(actual["forces"] - expected["forces"]).max() < EXACT["same"] * 100


REPEATS = {
    "silicon": np.diag([2, 1, 1]),
    "slab": np.diag([2, 2, 1]),
    "sheared": [[2, 1, 0], [0, 2, 1], [-1, 0, 2]],
}


@pytest.mark.parametrize(("name", "structure"), covering(SETTINGS, REPEATS))
def test_supercell_is_several_cells(name, structure):
    atoms, calc = STRUCTURES[structure](), calculator(name)
    repeat = REPEATS[structure]
    copies = round(abs(np.linalg.det(repeat)))
    large = make_supercell(atoms, repeat)
    assert len(large) == copies * len(atoms)
    one, many = (
        results(atoms, calc, "energy", "forces", "stress"),
        results(large, calc, "energy", "forces", "stress"),
    )
    assert worst(many["energy"], copies * one["energy"]) < EXACT["derived"]
    assert worst(many["stress"], one["stress"]) < EXACT["derived"]
    assert (
        worst(sorted(many["forces"][:, 0]), sorted(np.repeat(one["forces"][:, 0], copies)))
        < EXACT["derived"]
    )


@pytest.mark.parametrize(("name", "structure"), covering(SETTINGS, ["slab", "ethanol"]))
def test_permutation_moves_results_along(name, structure):
    atoms, calc = STRUCTURES[structure](), calculator(name)
    order = np.random.default_rng(0).permutation(len(atoms))
    expected, actual = results(atoms, calc), results(atoms[order], calc)
    assert worst(actual["energy"], expected["energy"]) < EXACT["same"]
    assert worst(actual["energies"], expected["energies"][order]) < EXACT["same"]
    assert worst(actual["forces"], expected["forces"][order]) < 10 * EXACT["same"]


SHIFTS = {"sheared": [1000, -1000, 500], "ethanol": [0.3, -0.2, 0.1], "slab": [-7, 3, 1000]}


@pytest.mark.parametrize(("name", "structure"), covering(SETTINGS, SHIFTS))
def test_translation_changes_nothing(name, structure):
    atoms, calc = STRUCTURES[structure](), calculator(name)
    expected = results(atoms, calc)
    atoms.translate(SHIFTS[structure])
    actual = results(atoms, calc)
    assert worst(actual["energies"], expected["energies"]) < EXACT["derived"]
    assert worst(actual["forces"], expected["forces"]) < EXACT["derived"]
    assert np.abs(expected["forces"].sum(0)).max() < 1e-12 * np.abs(expected["forces"]).max()


@pytest.mark.parametrize(("name", "structure"), covering(SETTINGS, ["sheared", "slab"]))
def test_lattice_vectors_and_choice_of_cell_change_nothing(name, structure):
    atoms, calc = STRUCTURES[structure](), calculator(name)
    expected = results(atoms, calc)
    atoms.positions[0] += 3 * atoms.cell[0] - 2 * atoms.cell[1]
    atoms.set_cell(np.array([[1, 0, 0], [2, 1, 0], [0, 0, 1]]) @ atoms.cell)
    actual = results(atoms, calc)
    assert worst(actual["energies"], expected["energies"]) < EXACT["derived"]
    assert worst(actual["forces"], expected["forces"]) < EXACT["derived"]


# Limits


@every_setting
def test_atoms_without_neighbours(name):
    calc = calculator(name)
    alone = results(Atoms("Si"), calc)
    assert np.isfinite(alone["energy"])
    np.testing.assert_array_equal(alone["forces"], np.zeros((1, 3)))
    apart = results(Atoms("Si2", [[0, 0, 0], [4.000001, 0, 0]]), calc)
    np.testing.assert_array_equal(apart["forces"], np.zeros((2, 3)))
    assert worst(apart["energies"], [alone["energy"]] * 2) < EXACT["same"]
    assert (
        worst(results(Atoms("Si", cell=[9, 9, 9], pbc=True), calc)["energy"], alone["energy"])
        < EXACT["same"]
    )
    np.testing.assert_array_equal(
        calc.evaluate([Atoms("Si", cell=[9, 9, 9], pbc=True)], ["stress"])[0]["stress"], np.zeros(6)
    )


@pytest.mark.parametrize("name", ["base", "zbl", "local", "grid"])
def test_hessian_without_neighbours_is_zero(name):
    calc = calculator(name)
    np.testing.assert_array_equal(calc.hessian(Atoms("Si")), np.zeros((3, 3)))
    np.testing.assert_array_equal(
        calc.hessian(Atoms("SiO", [[0, 0, 0], [0, 0, 5]])), np.zeros((6, 6))
    )


@pytest.mark.parametrize("depth", [1e-7, 5e-3, 8e-3])
@pytest.mark.parametrize("name", SMOOTH)
def test_an_atom_that_crosses_the_cutoff_is_not_noticed(name, depth):
    """Up to the depth of 0.008 A below the cutoff the bump function stays below 1e-27."""
    calc = calculator(name, cutoff_function="bump")
    inside, outside = (
        Atoms("SiOHC", [[0, 0, 0], [1.5, 0.2, 0], [0, 1.1, 0.3], [0, 0, -4.0 + side]])
        for side in (depth, -1e-7)
    )
    assert (
        len(built(inside, model=calc.model).pair_vectors)
        == len(built(outside, model=calc.model).pair_vectors) + 1
    )
    before, after = results(inside, calc), results(outside, calc)
    assert np.abs(before["energies"] - after["energies"]).max() < EXACT["smooth_energy"]
    assert np.abs(before["forces"] - after["forces"]).max() < EXACT["smooth_force"]


@pytest.mark.parametrize("name", ["base", "local", "grid", "solver"])
def test_energy_along_a_path_through_the_cutoff_is_the_work_of_the_forces(name):
    """Edges cross the fixed cutoff or adaptive cutoffs along the path."""
    calc = calculator(name, cutoff_function="bump")
    heights = np.linspace(3.2, 4.1, 721)
    actual = calc.evaluate(
        [Atoms("SiOHC", [[0, 0, 0], [1.5, 0.2, 0], [0, 1.1, 0.3], [0, 0.1, -z]]) for z in heights]
    )
    energies, along = (
        np.array([one["energy"] for one in actual]),
        np.array([-one["forces"][3, 2] for one in actual]),
    )
    # Simpson's rule over pairs of intervals
    work = -(along[:-2:2] + 4 * along[1:-1:2] + along[2::2]) * (heights[1] - heights[0]) / 3
    changes = np.diff(energies[::2])
    assert np.abs(changes[-40:]).max() < 1e-12
    assert np.abs(changes - work).max() < 1e-5 * np.abs(changes).max()


def energy_of_first_atom(calc, far):
    return results(Atoms("SiOC", [[0, 0, 0], [3.0, 0, 0], [5.9, far, 0]]), calc)["energies"][0]


@every_setting
def test_local_models_do_not_see_atoms_beyond_the_cutoff(name):
    """The third atom is a neighbour of the second only."""
    calc = calculator(name)
    reach = abs(energy_of_first_atom(calc, 0.4) - energy_of_first_atom(calc, 0.0))
    assert calc.model.is_local is bool(reach < 1e-12)


# Work that is avoided


def test_inference_does_not_change_the_weights():
    model = tiny_pet()
    calc = PETCalculator(model)
    calc.get_forces(silicon())
    calc.get_stress(silicon())
    assert all(
        not parameter.requires_grad and parameter.grad is None
        for parameter in calc.model.parameters()
    )
    assert all(
        parameter.requires_grad and parameter.grad is None for parameter in model.parameters()
    )


@every_setting
def test_evaluation_does_not_give_the_weights_gradients(name):
    result = evaluated(tiny_pet(name), silicon())
    assert not any(
        value.requires_grad
        for value in (result.forces, result.stress, result.energies, result.energy)
    )


def test_energy_alone_runs_no_backward(monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("a backward pass")

    monkeypatch.setattr(torch.autograd, "grad", refuse)
    monkeypatch.setattr(torch.Tensor, "backward", refuse)
    calc = calculator("base")
    assert np.isfinite(calc.get_potential_energy(silicon()))
    assert np.isfinite(calc.get_property("energies", silicon())).all()
    with pytest.raises(AssertionError, match="a backward pass"):
        calc.get_forces(silicon())


def test_energy_alone_keeps_no_graph():
    calc, tracked = calculator("base"), []
    calc.model.register_forward_hook(
        lambda module, inputs, output: tracked.append(output.requires_grad)
    )
    calc.get_potential_energy(silicon())
    calc.get_forces(silicon())
    assert tracked == [False, True]


# Precision


@every_setting
def test_float32_is_close_to_float64(name):
    single, double = (
        PETCalculator(tiny_pet(name), dtype=dtype) for dtype in ("float32", "float64")
    )
    atoms = charged(silicon())
    properties = ("energy", "energies", "forces", "stress")
    low, high = results(atoms, single, *properties), results(atoms, double, *properties)
    errors = {key: worst(low[key], high[key]) for key in properties}
    assert max(errors.values()) < 2e-4
    assert min(errors.values()) > 1e-13  # or float32 was not used


def test_composition_energies_are_added_in_float64():
    plain, heavy = tiny_pet(dtype=torch.float32), tiny_pet(dtype=torch.float32)
    plain.compositions, heavy.compositions = {}, {"energy": {14: -7877.123456789012, 8: -2041.3}}
    low, high = (PETCalculator(model).get_potential_energy(silicon()) for model in (plain, heavy))
    assert abs(high - low - 8 * -7877.123456789012) < 1e-9


def test_no_process_wide_state_changes():
    model = tiny_pet()
    before = (
        torch.get_default_dtype(),
        torch.is_grad_enabled(),
        torch.get_rng_state().tolist(),
        torch.get_num_threads(),
    )
    calc = PETCalculator(model, dtype="float64")
    calc.get_forces(silicon())
    calc.get_stress(silicon())
    calc.hessian(sheared())
    assert (
        torch.get_default_dtype(),
        torch.is_grad_enabled(),
        torch.get_rng_state().tolist(),
        torch.get_num_threads(),
    ) == before


# Heads


def test_heads_have_weights_of_their_own():
    model = tiny_pet("several heads")
    model.compositions = {"energy": {14: 1.0}, "energy/other": {14: -3.0}}
    model.scales = {"energy/other": 2.0, "dipole": {1: 1.0, 6: 2.0, 8: 3.0, 14: 4.0}}
    batch = built(silicon(), model=model)
    values = model.predict(batch, ("energy", "energy/other", "dipole"))
    assert [tuple(value.shape) for value in values.values()] == [(8, 1), (8, 1), (8, 3)]
    main, other = PETCalculator(model), PETCalculator(model, variant="other")
    assert (
        worst(main.get_property("energies", silicon()), values["energy"][:, 0].detach() + 1)
        < EXACT["same"]
    )
    assert (
        worst(other.get_property("energies", silicon()), values["energy/other"][:, 0].detach() - 3)
        < EXACT["same"]
    )
    with pytest.raises(ValueError, match="`variant` is 'third': valid choices are '', 'other'"):
        PETCalculator(model, variant="third")


def test_scales_multiply_before_composition_energies():
    model = tiny_pet("several heads")
    unscaled = model.predict(built(ethanol(), model=model), ("energy", "dipole"))
    model.scales = {"energy": 3.0, "dipole": {1: 1.0, 6: 2.0, 8: 3.0, 14: 4.0}}
    scaled = model.predict(built(ethanol(), model=model), ("energy", "dipole"))
    by_species = torch.tensor(
        [model.scales["dipole"][z] for z in ethanol().numbers.tolist()], dtype=torch.float64
    )
    # The head is the same, bit for bit but for the order of its sums: relative to the largest.
    assert worst(scaled["energy"].detach(), 3 * unscaled["energy"].detach()) < EXACT["same"]
    expected = by_species[:, None] * unscaled["dipole"].detach()
    assert worst(scaled["dipole"].detach(), expected) < EXACT["same"]


@pytest.mark.parametrize(("key", "values"), [("charge", (-10, 0, 10)), ("spin", (1, 2, 10))])
def test_conditioning_changes_the_energy(key, values):
    calc, energies = calculator("conditioning"), []
    for value in values:
        atoms = ethanol()
        atoms.info[key] = value
        energies.append(calc.get_potential_energy(atoms))
    assert len(set(np.round(energies, 6))) == len(values)


# Fast forms against plain ones


def use_plain_equations(monkeypatch):
    for block in (ragged.Attention, pet.MessageLayer, pet.Combination):
        monkeypatch.setattr(block, "fast", False)


@every_pair
def test_folded_forms_are_the_plain_equations(name, structure, monkeypatch):
    """Energies and forces, with padding edges beyond the cutoff."""
    model, atoms = tiny_pet(name), charged(STRUCTURES[structure]())
    fast = evaluated(model, atoms)
    use_plain_equations(monkeypatch)
    plain = evaluated(model, atoms)
    assert worst(fast.energies, plain.energies) < EXACT["same"]
    assert worst(fast.forces, plain.forces) < EXACT["same"]


def test_the_switch_chooses_the_plain_equations(monkeypatch):
    """Otherwise the test above would compare the fast form with itself."""
    called = []
    use_plain_equations(monkeypatch)
    for block in (pet.MessageLayer, pet.Combination):
        plain = block.plain
        monkeypatch.setattr(
            block, "plain", lambda *a, plain=plain, b=block: called.append(b) or plain(*a)
        )
    plain_attention = ragged.plain_attention
    monkeypatch.setattr(
        ragged,
        "plain_attention",
        lambda *a: called.append(ragged.Attention) or plain_attention(*a),
    )
    model = tiny_pet()
    model(built(ethanol(), model=model))
    assert set(called) == {ragged.Attention, pet.MessageLayer, pet.Combination}


@pytest.mark.parametrize("rows", [1, 7, 64])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("trained", [(), ("weight",), ("bias",), ("weight", "bias")], ids=str)
@pytest.mark.parametrize("strided", [False, True])
@every_dtype
def test_linear_is_that_of_torch(dtype, rows, bias, trained, strided):
    """Value, gradient and the gradient of a function of the gradient."""

    def numbers(function, kind):
        generator = torch.Generator().manual_seed(rows)
        x = torch.randn(rows, 24, generator=generator, dtype=torch.float64).to(kind)
        x = (x[:, ::2] if strided else x[:, :12]).detach().requires_grad_()
        weight, offset = (
            torch.randn(shape, generator=generator, dtype=torch.float64).to(kind)
            for shape in ((5, 12), (5,))
        )
        inputs = {"x": x, "weight": weight, "bias": offset}
        wanted = [inputs[key].requires_grad_() for key in ("x", *trained)]
        y = function(x, weight, offset) if bias else function(x, weight)
        first = torch.autograd.grad(y.sin().sum(), wanted, create_graph=True, allow_unused=True)
        second = torch.autograd.grad(first[0].cos().sum(), wanted, allow_unused=True)
        return [value.detach().double() for value in (y, *first, *second) if value is not None]

    actual, expected = numbers(linear, dtype), numbers(functional.linear, torch.float64)
    assert len(actual) == len(expected)
    assert (
        max(worst(a, b) for a, b in zip(actual, expected, strict=True))
        < TOLERANCES[dtype]["derived"]
    )


def test_linear_of_no_rows():
    assert linear(torch.zeros(0, 4), torch.ones(3, 4), torch.ones(3)).shape == (0, 3)


def add(parameter):
    with torch.no_grad():
        parameter += 0.1


def swap(parameter):
    parameter.data = parameter.data * 1.3 + 0.1


@pytest.mark.parametrize("change", [add, swap])
@pytest.mark.parametrize(
    ("name", "dtype"),
    [("base", torch.float32), ("base", torch.float64), ("original", torch.float32)],
    ids=str,
)
def test_derived_tensors_follow_the_weights(name, dtype, change):
    """After a change of one weight, frozen and unfrozen models with these weights are equal."""
    model, unfrozen = tiny_pet(name, dtype).requires_grad_(False), tiny_pet(name, dtype)
    batch = built(ethanol(), model=model, dtype=dtype)
    stale = []
    for key, parameter in list(model.named_parameters()):
        before = model(batch)
        change(parameter)
        unfrozen.load_state_dict(model.state_dict())
        after = model(batch)
        stale += (
            [key] if worst(after, unfrozen(batch).detach()) > TOLERANCES[dtype]["derived"] else []
        )
        assert not torch.equal(before, after) or "embedder" in key or key.endswith("bias")
    assert stale == []


@every_dtype
def test_derived_tensors_follow_a_loaded_state(dtype):
    model, other = (
        tiny_pet(dtype=dtype).requires_grad_(False),
        tiny_pet(dtype=dtype, seed=1).requires_grad_(False),
    )
    batch = built(slab(), model=model, dtype=dtype)
    first = model(batch)
    model.load_state_dict(other.state_dict())
    assert not torch.allclose(first, model(batch))
    assert torch.equal(model(batch), other(batch))


def test_derived_tensors_follow_training():
    """Frozen, trained, frozen again."""
    model = tiny_pet(dtype=torch.float32)
    batch = built(silicon(), model=model, dtype=torch.float32)
    model.requires_grad_(False)(batch)
    optimiser = torch.optim.Adam(model.requires_grad_(True).parameters(), 0.1)
    model(batch).sum().backward()
    optimiser.step()
    fresh = pet.Model(model.settings).requires_grad_(False)
    fresh.load_state_dict(model.state_dict())
    assert torch.equal(model.requires_grad_(False)(batch), fresh(batch))


@every_dtype
def test_combination_is_the_mlp_of_both_directions(dtype):
    torch.manual_seed(0)
    combination = pet.Combination(6).to(dtype)
    with torch.no_grad():
        combination.norm.weight += torch.randn(12)
        combination.norm.bias += torch.randn(12)
    batch = built(ethanol(), model=tiny_pet())
    n_pairs = len(batch.pair_vectors)
    edge = torch.randn(2 * n_pairs, 6, dtype=dtype)
    plain = nn.Sequential(combination.norm, *combination.mlp)
    expected = plain(torch.cat([edge, edge.roll(n_pairs, 0)], 1)).detach()
    assert worst(combination(edge, batch).detach(), expected) < TOLERANCES[dtype]["derived"]
    assert (
        worst(combination.requires_grad_(False)(edge, batch), expected)
        < TOLERANCES[dtype]["derived"]
    )


def plain_attention(q, k, v, factors, temperature):
    """Softmax attention of one centre, keys weighted by factors: w = f exp(s) / sum f exp(s)."""
    scores = (
        torch.exp(torch.einsum("thc,shc->hts", q, k) / (q.shape[-1] ** 0.5 * temperature)) * factors
    )
    return torch.einsum("hts,shc->thc", scores / scores.sum(-1, keepdim=True), v).flatten(1)


@pytest.mark.parametrize("temperature", [1.0, 0.4])
def test_ragged_attention_is_plain_attention(temperature):
    """Centres with no, few and many edges, in any order; value and gradients."""
    generator = torch.Generator().manual_seed(0)
    n_atoms, heads, width = 5, 2, 3
    centre = torch.tensor([3, 0, 3, 1, 3, 0, 3, 4, 1, 3])
    factors = torch.rand(10, generator=generator, dtype=torch.float64).requires_grad_()
    qkv = torch.randn(
        15, 3 * heads * width, generator=generator, dtype=torch.float64
    ).requires_grad_()
    actual = ragged.attention(qkv, attention_layout(centre, n_atoms, factors, heads), temperature)
    layout = attention_layout(centre, n_atoms, factors, heads)
    padded = ragged.plain_attention(qkv, layout, temperature)
    expected = torch.zeros_like(actual)
    parts = qkv.view(15, 3, heads, width)
    for atom in range(n_atoms):
        tokens = torch.cat([torch.tensor([atom]), n_atoms + torch.nonzero(centre == atom)[:, 0]])
        weights = torch.cat([torch.ones(1, dtype=torch.float64), factors[centre == atom]])
        expected = expected.index_copy(
            0, tokens, plain_attention(*parts[tokens].unbind(1), weights, temperature)
        )
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(padded, expected, rtol=1e-12, atol=1e-12)
    for wanted in (qkv, factors):
        ours, plain = (
            torch.autograd.grad(value.sin().sum(), wanted, retain_graph=True)[0]
            for value in (actual, expected)
        )
        torch.testing.assert_close(ours, plain, rtol=1e-10, atol=1e-12)


def test_derivatives_of_ragged_attention():
    generator = torch.Generator().manual_seed(0)
    centre = torch.tensor([2, 0, 2, 2, 0])
    factors = 0.1 + torch.rand(5, generator=generator, dtype=torch.float64)
    qkv = torch.randn(8, 12, generator=generator, dtype=torch.float64)

    def attention(rows, factors):
        return ragged.attention(rows, attention_layout(centre, 3, factors, 2), 1.3)

    inputs = (qkv.requires_grad_(), factors.requires_grad_())
    assert torch.autograd.gradcheck(attention, inputs)
    assert torch.autograd.gradgradcheck(attention, inputs)


@pytest.mark.parametrize("centre", [[0, 1, 2, 0, 0], [2, 0, 2, 2, 0]])
def test_edges_of_weight_zero_are_in_no_neighbourhood(centre):
    """Outputs and first and second derivatives of other tokens are as without them.

    Tested with equal and with different numbers of edges per atom.
    """
    generator = torch.Generator().manual_seed(0)
    centre, factors = (
        torch.tensor(centre),
        torch.tensor([0.3, 0.8, 1.0, 0.0, 0.0], dtype=torch.float64),
    )
    qkv = torch.randn(8, 12, generator=generator, dtype=torch.float64)

    def derivatives(n_edges):
        rows = qkv[: 3 + n_edges].clone().requires_grad_()
        out = ragged.attention(rows, attention_layout(centre[:n_edges], 3, factors[:n_edges], 2))[
            :6
        ]
        (first,) = torch.autograd.grad(out.sin().sum(), rows, create_graph=True)
        (second,) = torch.autograd.grad(first.square().sum(), rows)
        return out, first, second

    for few, many in zip(derivatives(3), derivatives(5), strict=True):
        torch.testing.assert_close(many[:6], few[:6], rtol=1e-12, atol=1e-12)
        assert (many[6:] == 0).all()


def test_products_with_trainable_weights_have_all_derivatives():
    """First, second and third derivatives in float32, by each library, against float64."""

    def derivatives(x, weight, bias):
        loss, actual = (linear(x, weight, bias) ** 3).sum(), []
        for order in range(3):
            actual += torch.autograd.grad(loss, (x, weight, bias), create_graph=order < 2)
            loss = sum(gradient.square().sum() for gradient in actual[-3:])
        return actual

    generator = torch.Generator().manual_seed(0)
    tensors = [torch.randn(shape, generator=generator) for shape in ((9, 5), (7, 5), (7,))]
    single = derivatives(*(tensor.clone().requires_grad_() for tensor in tensors))
    double = derivatives(*(tensor.double().requires_grad_() for tensor in tensors))
    for one, other in zip(single, double, strict=True):
        assert (one - other).norm() < 1e-5 * other.norm()


def test_gradient_of_rows_does_not_pay_for_that_of_weights(monkeypatch):
    products, original = [], layers_linear._onednn
    monkeypatch.setattr(
        layers_linear, "_onednn", lambda *arguments: products.append(1) or original(*arguments)
    )
    x, weight = torch.ones(9, 5, requires_grad=True), torch.ones(7, 5, requires_grad=True)
    torch.autograd.grad(linear(x, weight).sum(), x, create_graph=True)
    assert len(products) <= 2  # one forward, one backward, or another library


def dense_grid(distances, centre, neighbour, n_atoms, reach, target, width):
    """Adaptive cutoffs by the definition: every pair at every probe."""
    probes = torch.arange(0.5, reach, width / 4, dtype=torch.float64)
    values = cutoff.bump(distances[:, None], probes, width)
    counts = torch.zeros(n_atoms, len(probes), dtype=torch.float64)
    counts = counts.index_add(0, centre, values).index_add(0, neighbour, values)
    excess = counts - target + target * torch.linspace(0, 1, len(probes), dtype=torch.float64) ** 3
    slopes = torch.gradient(excess, dim=-1)[0].abs().clamp_min(1e-12)
    logits = -0.5 * (excess / slopes) ** 2
    weights = torch.exp(logits - logits.max())
    return (weights / weights.sum(1, keepdim=True)) @ probes


@pytest.mark.parametrize("target", [4, 8.5, 30])
@pytest.mark.parametrize("width", [0.5, 0.7, 1.0])
@pytest.mark.parametrize("make", [silicon, sheared, slab, ethanol])
def test_grid_of_adaptive_cutoffs_is_the_dense_one(make, width, target):
    pairs = graph.half_list(graph.from_atoms(make()), 5.0)
    centre, neighbour = torch.from_numpy(pairs.centres), torch.from_numpy(pairs.neighbours)
    distances = torch.from_numpy(pairs.distances()).requires_grad_()
    arguments = (distances, centre, neighbour, len(make()), 5.0, target, width)
    actual, expected = adaptive.grid(*arguments), dense_grid(*arguments)
    torch.testing.assert_close(actual, expected, rtol=1e-11, atol=1e-11)
    slopes = [torch.autograd.grad(value.sin().sum(), distances)[0] for value in (actual, expected)]
    torch.testing.assert_close(*slopes, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("offset", [-1e-9, 0.0, 1e-9])
def test_grid_at_distances_that_are_probes(offset):
    """Pairs exactly on a probe, below the first and above the last one."""
    distances = (
        torch.tensor([0.2, 0.5, 0.625, 1.0, 2.0, 3.875, 3.95, 4.0], dtype=torch.float64) + offset
    )
    centre, neighbour = torch.zeros(8, dtype=torch.long), torch.arange(1, 9)
    arguments = (distances, centre, neighbour, 9, 4.0, 3.0, 0.5)
    torch.testing.assert_close(
        adaptive.grid(*arguments), dense_grid(*arguments), rtol=1e-11, atol=1e-11
    )


@pytest.mark.parametrize("target", [4, 8.5, 30])
@pytest.mark.parametrize("make", [silicon, slab, ethanol])
def test_solver_of_adaptive_cutoffs_finds_the_root(make, target):
    pairs = graph.half_list(graph.from_atoms(make()), 5.0)
    centre, neighbour = torch.from_numpy(pairs.centres), torch.from_numpy(pairs.neighbours)
    distances = torch.from_numpy(pairs.distances())
    reach = adaptive.solver(distances, centre, neighbour, len(make()), 5.0, target, 1.0)
    count = target * (reach / 5.0) ** 3
    count = count.index_add(0, centre, cutoff.bump(distances, reach[centre], 1.0))
    count = count.index_add(0, neighbour, cutoff.bump(distances, reach[neighbour], 1.0))
    open_ended = reach < 5.0 - 1e-9
    torch.testing.assert_close(
        count[open_ended], torch.full_like(count[open_ended], target), rtol=1e-6, atol=0
    )


@pytest.mark.parametrize("function", cutoff.FUNCTIONS)
def test_cutoff_functions(function):
    distances = torch.linspace(0, 5, 2001, dtype=torch.float64)
    weights = cutoff.FUNCTIONS[function](distances, 4.0, 0.7)
    assert (weights[distances <= 3.3] == 1).all()
    assert (weights[distances >= 4.0] == 0).all()
    assert (weights.diff() <= 0).all()
    assert cutoff.FUNCTIONS[function](
        torch.tensor([3.65], dtype=torch.float64), 4.0, 0.7
    ).item() == pytest.approx(0.5)


def test_zbl_repels_and_ends_smoothly():
    """Silicon: at 0.12 A the energy of screened nuclei, at the sum of the radii 0."""
    with_, without = (PETCalculator(tiny_pet(zbl=zbl)) for zbl in (True, False))

    def energy(distance):
        atoms = Atoms("Si2", [[0, 0, 0], [0, 0, distance]])
        return with_.get_potential_energy(atoms) - without.get_potential_energy(atoms)

    x = 0.12 * 2 * 14**0.23 / 0.46850
    screening = (
        0.18175 * np.exp(-3.1998 * x)
        + 0.50986 * np.exp(-0.94229 * x)
        + 0.28022 * np.exp(-0.4029 * x)
        + 0.02817 * np.exp(-0.20162 * x)
    )
    assert energy(0.12) == pytest.approx(14.399645 * 14**2 / 0.12 * screening, rel=2e-3)
    assert energy(1.5) > energy(2.0) > 0
    assert energy(2.219) < 1e-6
    assert energy(2.2201) == 0


# CUDA


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA on this machine")
@every_dtype
@every_setting
def test_cuda_equals_cpu(name, dtype):
    model = tiny_pet(name, dtype)
    expected, actual = PETCalculator(model, device="cpu"), PETCalculator(model, device="cuda")
    structures = [charged(silicon()), sheared(), Atoms("H"), slab()]
    for one, other in zip(expected.evaluate(structures), actual.evaluate(structures), strict=True):
        assert worst(other["energy"], one["energy"]) < 10 * TOLERANCES[dtype]["derived"]
        assert np.abs(other["forces"] - one["forces"]).max() < 1e3 * TOLERANCES[dtype]["derived"]
