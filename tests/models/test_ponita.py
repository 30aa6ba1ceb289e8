"""PONITA: derivatives, exact symmetries, limits, and fast forms against plain ones."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import make_supercell
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress

from ase_pet import PETCalculator, store
from ase_pet.evaluation import Evaluation, hessian
from ase_pet.graph import chunking
from ase_pet.layers import cutoff, position_orientation
from ase_pet.models import ponita
from local_toys import batch, evaluate
from pairs import covering
from ponita_toys import SETTINGS, tiny_ponita
from tolerances import TOLERANCES, rounding, worst
from toys import STRUCTURES, ethanol, sheared, silicon, slab

EXACT = TOLERANCES[torch.float64]
every_setting = pytest.mark.parametrize("name", SETTINGS)
some_settings = pytest.mark.parametrize("name", ["base", "fibonacci", "norm", "PNITA"])


def calculator(name="base", **changes):
    return PETCalculator(tiny_ponita(name, **changes), skin=0)


def results(atoms, calc, *properties):
    return calc.evaluate([atoms], properties or ("energy", "energies", "forces"))[0]


# Derivatives


@pytest.mark.parametrize(("name", "structure"), covering(SETTINGS, STRUCTURES))
def test_forces_are_minus_the_derivative_of_the_energy(name, structure):
    atoms = STRUCTURES[structure]()
    atoms.calc = calculator(name)
    expected = calculate_numerical_forces(atoms, eps=1e-5, iatoms=[1])
    assert np.abs(expected).max() > 1e-2
    assert worst(atoms.get_forces()[[1]], expected) < EXACT["derivative"]


@pytest.mark.parametrize("structure", ["sheared", "slab"])
@some_settings
def test_stress_is_the_derivative_of_the_energy(name, structure):
    atoms = STRUCTURES[structure]()
    atoms.calc = calculator(name)
    expected = calculate_numerical_stress(atoms, eps=1e-6)
    assert np.abs(expected).max() > 1e-3
    assert worst(atoms.get_stress(), expected) < EXACT["derivative"]


@every_setting
def test_hessian_is_the_derivative_of_the_forces(name):
    atoms, step, calc, columns = ethanol()[:4], 1e-5, calculator(name), []
    for k in range(atoms.positions.size):
        ends = [atoms.copy(), atoms.copy()]
        ends[0].positions.flat[k] += step
        ends[1].positions.flat[k] -= step
        up, down = calc.evaluate(ends, ["forces"])
        columns.append((down["forces"] - up["forces"]).flatten() / (2 * step))
    assert worst(calc.hessian(atoms), columns) < 10 * EXACT["derivative"]


@every_setting
def test_gradient_of_a_loss_on_forces_reaches_the_weights(name):
    """Along a random direction, against a finite difference."""
    model, step = tiny_ponita(name).requires_grad_(True), 1e-6
    generator = torch.Generator().manual_seed(7)
    along = [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in model.parameters()]
    graph = batch([silicon(), slab()], model.cutoff)

    def loss():
        actual = Evaluation(model, graph, training=True)
        return (
            (actual.forces - 1).square().mean()
            + actual.interaction.square().mean()
            + actual.stress.square().sum()
        )

    slopes = torch.autograd.grad(loss(), tuple(model.parameters()), allow_unused=True)
    slope = sum((g * d).sum().item() for g, d in zip(slopes, along, strict=True) if g is not None)
    ends = []
    for shift in (step, -2 * step):
        with torch.no_grad():
            torch._foreach_add_(list(model.parameters()), along, alpha=shift)
        ends.append(loss().item())
    assert worst(slope, (ends[0] - ends[1]) / (2 * step)) < 10 * EXACT["derivative"]


# Invariances


@every_setting
def test_batch_is_single(name):
    structures = [
        silicon(),
        sheared(),
        Atoms("H"),
        slab(),
        ethanol(),
        Atoms("SiO", [[0, 0, 0], [9, 0, 0]]),
    ]
    calc = PETCalculator(tiny_ponita(name), batch_atoms=10**6)
    for atoms, actual in zip(
        structures, calc.evaluate(structures, ["energy", "energies", "forces"]), strict=True
    ):
        expected = results(atoms, calc)
        assert worst(actual["energies"], expected["energies"]) < EXACT["same"]
        assert np.abs(actual["forces"] - expected["forces"]).max() < EXACT["same"] * 100


@pytest.mark.parametrize(
    ("structure", "repeat"),
    [
        ("silicon", np.diag([2, 1, 1])),
        ("slab", np.diag([2, 2, 1])),
        ("sheared", [[2, 1, 0], [0, 2, 1], [-1, 0, 2]]),
    ],
)
@some_settings
def test_supercell_is_several_cells(name, structure, repeat):
    atoms, calc = STRUCTURES[structure](), calculator(name)
    copies = round(abs(np.linalg.det(repeat)))
    one, many = (
        results(each, calc, "energy", "forces", "stress")
        for each in (atoms, make_supercell(atoms, repeat))
    )
    assert worst(many["energy"], copies * one["energy"]) < EXACT["derived"]
    assert worst(many["stress"], one["stress"]) < EXACT["derived"]
    assert (
        worst(sorted(many["forces"][:, 0]), sorted(np.repeat(one["forces"][:, 0], copies)))
        < EXACT["derived"]
    )


@pytest.mark.parametrize("structure", ["slab", "ethanol"])
@some_settings
def test_permutation_moves_results_along(name, structure):
    atoms, calc = STRUCTURES[structure](), calculator(name)
    order = np.random.default_rng(0).permutation(len(atoms))
    expected, actual = results(atoms, calc), results(atoms[order], calc)
    assert worst(actual["energies"], expected["energies"][order]) < EXACT["same"]
    assert worst(actual["forces"], expected["forces"][order]) < 10 * EXACT["same"]


@pytest.mark.parametrize(
    ("structure", "shift"), [("sheared", [1000, -1000, 500]), ("ethanol", [0.3, -0.2, 0.1])]
)
@some_settings
def test_translation_changes_nothing(name, structure, shift):
    atoms, calc = STRUCTURES[structure](), calculator(name)
    expected = results(atoms, calc)
    atoms.translate(shift)
    actual = results(atoms, calc)
    assert worst(actual["energies"], expected["energies"]) < EXACT["derived"]
    assert worst(actual["forces"], expected["forces"]) < EXACT["derived"]
    assert np.abs(expected["forces"].sum(0)).max() < 1e-12 * np.abs(expected["forces"]).max()


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
    cell = Atoms("Si", cell=[9, 9, 9], pbc=True)
    assert worst(results(cell, calc)["energy"], alone["energy"]) < EXACT["same"]
    np.testing.assert_array_equal(calc.evaluate([cell], ["stress"])[0]["stress"], np.zeros(6))
    np.testing.assert_array_equal(calc.hessian(Atoms("Si")), np.zeros((3, 3)))


@every_setting
def test_dimer_on_an_axis_of_the_grid(name):
    """Forces are finite, and along the bond if the axes around it are symmetric about it."""
    actual = results(Atoms("SiO", [[0, 0, 0], [0, 0, 1.6]]), calculator(name))
    assert np.isfinite(actual["forces"]).all()
    assert np.abs(actual["forces"]).max() > 1e-3


@pytest.mark.parametrize(("name", "depth"), [*((name, 1e-7) for name in SETTINGS), ("bump", 5e-3)])
def test_an_atom_that_crosses_the_cutoff_is_not_noticed(name, depth):
    calc = calculator(name)
    inside, outside = (
        Atoms("SiOHC", [[0, 0, 0], [1.5, 0.2, 0], [0, 1.1, 0.3], [0, 0, -4.0 + side]])
        for side in (depth, -1e-7)
    )
    assert len(batch([inside], 4.0).pair_vectors) == len(batch([outside], 4.0).pair_vectors) + 1
    before, after = results(inside, calc), results(outside, calc)
    assert np.abs(before["energies"] - after["energies"]).max() < EXACT["smooth_energy"]
    assert np.abs(before["forces"] - after["forces"]).max() < EXACT["smooth_force"]


def jump(model, angle):
    """Largest change of a force component in eV/A as a bond crosses an axis of the grid.

    The bond is at `angle` on either side of the axis.
    """
    axis = model.axes[0].numpy()
    across = np.cross(axis, [0.3, 0.5, -0.8])
    across /= np.linalg.norm(across)
    ends = []
    for side in (angle, -angle):
        atoms = ethanol()
        atoms.positions[1] = atoms.positions[0] + 1.5 * (
            np.cos(side) * axis + np.sin(side) * across
        )
        ends.append(evaluate(model, atoms).forces)
    return float((ends[0] - ends[1]).abs().max())


def test_forces_do_not_jump_where_a_bond_lies_along_an_axis():
    """The change is linear in the angle; with the plain norm it would not vanish."""
    smooth, cusp = tiny_ponita(), tiny_ponita("norm")
    assert 0.005 < jump(smooth, 1e-5) / jump(smooth, 1e-3) < 0.02
    assert jump(cusp, 1e-5) / jump(cusp, 1e-3) > 0.5
    assert jump(cusp, 1e-7) > 1e-2


@every_setting
def test_local_is_whether_atoms_beyond_the_cutoff_act(name):
    """The third atom is a neighbour of the second only."""
    calc = calculator(name)
    first = [
        results(Atoms("SiOC", [[0, 0, 0], [3.0, 0, 0], [5.5, far, 0]]), calc)["energies"][0]
        for far in (0, 0.4)
    ]
    assert calc.model.is_local is bool(abs(first[0] - first[1]) < 1e-12)


@every_setting
def test_float32_is_close_to_float64(name):
    single, double = (calculator(name), PETCalculator(tiny_ponita(name), dtype="float32", skin=0))
    for atoms in (silicon(), ethanol()):
        one, other = results(atoms, single), results(atoms, double)
        assert worst(other["energies"], one["energies"]) < TOLERANCES[torch.float32]["derived"]
        assert worst(other["forces"], one["forces"]) < 10 * TOLERANCES[torch.float32]["derived"]


# Fast forms against plain ones


def test_polynomial_window():
    u = torch.linspace(0, 1.2, 121, dtype=torch.float64)
    actual, inside = cutoff.polynomial(3 * u, 3.0, 6), u < 1
    # Near u = 1 the terms of up to 48 cancel: what remains is rounding of these.
    plain = 1 - 28 * u**6 + 48 * u**7 - 21 * u**8
    limit = rounding(np.array([1.0, 28.0, 48.0, 21.0]))
    assert (actual[inside] - plain[inside]).abs().max() < limit
    assert (actual[~inside] == 0).all()


def test_invariants_at_the_origin_and_on_an_axis():
    """Their values and their slopes, all finite."""
    vectors = torch.tensor([[0, 0, 0], [0, 0, 1.5]], dtype=torch.float64, requires_grad=True)
    for softening in (0.0, 0.3):
        actual = position_orientation.invariants(
            vectors, torch.eye(3, dtype=torch.float64), softening
        )
        (slope,) = torch.autograd.grad(actual.sum(), vectors)
        assert slope.isfinite().all()
        assert (actual[0] == 0).all()
        assert actual[1, 2].tolist() == [1.5, 0.0]


def test_reverse_edges_by_opposite_axes_are_edges_of_their_own(monkeypatch):
    """A grid of opposite axes needs half of the kernels.

    Without the use of opposite axes, the results are equal.
    """
    for name in ("base", "antipodal", "octahedral", "PNITA"):
        model, graph = tiny_ponita(name), batch([slab(), ethanol()], 4.0)
        fast = Evaluation(model, graph)
        kernels, original = [], model.basis.forward
        monkeypatch.setattr(
            model.basis,
            "forward",
            lambda x, original=original, kernels=kernels: kernels.append(len(x)) or original(x),
        )
        model(graph)
        halved = max(kernels)
        plain = tiny_ponita(name)
        plain.fast = False
        assert worst(fast.energies, Evaluation(plain, graph).energies) < EXACT["same"]
        assert worst(fast.forces, Evaluation(plain, graph).forces) < 10 * EXACT["same"]
        monkeypatch.undo()
        assert halved == len(graph.filled(8.0).pair_vectors)


@some_settings
def test_edges_in_chunks_equal_all_edges_at_once(name, monkeypatch):
    model, graph = tiny_ponita(name), batch([slab(), ethanol()], 4.0)
    results, curvature = Evaluation(model, graph), hessian(model, batch([ethanol()], 4.0))
    energies, forces = results.energies, results.forces
    monkeypatch.setitem(chunking.BUDGETS["kernel_values"], "cpu", 2000)
    parts = Evaluation(model, graph)
    assert worst(parts.energies, energies) < EXACT["same"]
    assert worst(parts.forces, forces) < 10 * EXACT["same"]
    assert worst(hessian(model, batch([ethanol()], 4.0)), curvature) < EXACT["derived"]


def test_kernels_among_axes_are_made_once(monkeypatch):
    model, graph, calls = tiny_ponita(), batch([ethanol()], 4.0), []
    original = type(model)._compute_fibres
    monkeypatch.setattr(
        type(model), "_compute_fibres", lambda self: calls.append(1) or original(self)
    )
    for _ in range(3):
        model(graph)
    assert len(calls) == 1
    model.with_orientations("dodecahedral")(graph)
    assert len(calls) == 2
    with torch.no_grad():
        model.fibre_basis.hidden.weight += 1
    model(graph)
    assert len(calls) == 3


# Axes, heads, settings, files


def test_axes_stay_in_float64_and_in_the_state():
    model = tiny_ponita(dtype=torch.float32)
    assert model.axes.dtype == torch.float64
    assert "axes" in model.state_dict()


def test_other_axes():
    model, graph = tiny_ponita(), batch([ethanol()], 4.0)
    same, finer = (
        model.with_orientations(model.axes.numpy()),
        model.with_orientations("fibonacci:96"),
    )
    assert same.settings.orientations == "given:12"
    assert (finer.axes.shape, finer.settings.orientations) == ((96, 3), "fibonacci:96")
    assert torch.equal(same(graph), model(graph))
    assert not torch.equal(finer(graph), model(graph))
    assert model.axes.shape == (12, 3)
    with pytest.raises(ValueError, match="expected unit vectors"):
        model.with_orientations(np.ones((4, 3)))
    with pytest.raises(ValueError, match="PNITA has none"):
        tiny_ponita("PNITA").with_orientations("icosahedral")


def test_a_model_without_its_axes_raises():
    with pytest.raises(ValueError, match="has no axes yet"):
        tiny_ponita(orientations="given:5")(batch([ethanol()], 4.0))


def test_vectors_that_are_read_back_are_a_third():
    """On an isotropic grid the mean of (v.o) o is v / 3, hence outputs are a third of inputs."""
    model = tiny_ponita("one layer", heads={"vector": 3}, vector_inputs=1)
    graph, vectors = (
        batch([ethanol()], 4.0),
        torch.linspace(-1, 1, 27, dtype=torch.float64).view(9, 1, 3),
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.vector_embedder.weight[0] = 1
        model.last_layers["vector"][0].weight[0, 0] = 1
    assert (
        worst(model.predict(graph, ("vector",), vectors)["vector"], vectors[:, 0] / 3)
        < EXACT["same"]
    )
    with pytest.raises(ValueError, match=r"`vectors` has shape None: expected \(9, 1, 3\)"):
        model.predict(graph, ("vector",))


def test_models_without_window_are_for_whole_molecules():
    model = tiny_ponita("norm", cutoff_function="none", cutoff=30.0)
    evaluate(model, ethanol())
    with pytest.raises(ValueError, match="no energy of periodic structures"):
        evaluate(model, Atoms("Si", cell=[20, 20, 20], pbc=True)).energy  # noqa: B018
    with pytest.raises(ValueError, match="nor of molecules larger than 30 A"):
        evaluate(model, Atoms("SiO", [[0, 0, 0], [31, 0, 0]])).energy  # noqa: B018


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"cutoff_function": "cosine"},
            "`cutoff_function` is 'cosine': valid choices are polynomial, bump, step, none",
        ),
        ({"cutoff": 0.0}, "`cutoff` is 0.0: expected a number, 0.1 or more"),
        ({"degree": 0}, "`degree` is 0: expected a whole number, 1 or more"),
        ({"softening": -1.0}, "`softening` is -1.0"),
        ({"orientations": "cubic"}, "`orientations` is 'cubic': valid choices are octahedral"),
        ({"heads": {"energy": 2}}, r"head `energy` has 2 components: expected 1 \(a number\) or 3"),
        ({"orientations": "none", "heads": {"dipole": 3}}, "no axes for a vector"),
        ({"orientations": "none", "vector_inputs": 1}, "`vector_inputs` needs axes"),
        ({"orientations": "none", "orientations_drawn": True}, "`orientations_drawn` needs axes"),
    ],
)
def test_bad_settings_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        ponita.Settings(species=(14,), **changes)


def test_unknown_head():
    with pytest.raises(
        ValueError, match="`charge` is not a head of this model: valid choices are energy"
    ):
        tiny_ponita().predict(batch([ethanol()], 4.0), ("charge",))


@every_setting
def test_a_calculator_folder_gives_the_same_bits(name, tmp_path):
    model = tiny_ponita(name)
    model.scales = {"energy": {1: 0.5, 6: 0.4, 7: 0.3, 8: 0.2, 14: 0.1}}
    store.save(tmp_path, model, store.Card("test"))
    again, _ = store.load(tmp_path)
    graph = batch([slab(), ethanol()], 4.0)
    assert again.settings == model.settings
    assert torch.equal(again(graph), model(graph))


def test_other_axes_are_saved_with_the_weights(tmp_path):
    model = tiny_ponita().with_orientations(
        torch.nn.functional.normalize(tiny_ponita().axes + 0.1, dim=1)
    )
    store.save(tmp_path, model, store.Card("test"))
    again, _ = store.load(tmp_path)
    graph = batch([ethanol()], 4.0)
    assert torch.equal(again.axes, model.axes)
    assert torch.equal(again(graph), model(graph))


def test_new_models_keep_the_spread_of_features():
    """Without their initial scale, convolutions would be below the eps of LayerNorm."""
    torch.manual_seed(0)
    model = ponita.Model(ponita.Settings(species=(1, 6, 8, 14))).requires_grad_(False)
    actual, originals = [], {}
    for layer in model.layers:
        originals[layer] = layer.norm.forward
        layer.norm.forward = lambda x, layer=layer: (
            actual.append(float(x.std())) or originals[layer](x)
        )
    model(batch([silicon(), ethanol()], model.cutoff, torch.float32))
    assert len(actual) == 3
    assert 0.1 < min(actual) < max(actual) < 30


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA on this machine")
@every_setting
def test_cuda_equals_cpu(name):
    expected, actual = (
        PETCalculator(tiny_ponita(name), device=device) for device in ("cpu", "cuda")
    )
    for one, other in zip(
        expected.evaluate([silicon(), slab()]), actual.evaluate([silicon(), slab()]), strict=True
    ):
        assert worst(other["energy"], one["energy"]) < EXACT["derived"]
        assert worst(other["forces"], one["forces"]) < EXACT["derived"]
