"""The original PET against values of its own code, plain equations and laws of physics.

Values: github.com/spozdn/pet (MIT) at commit ff66e8f, and at 8a4525a (June 2023) for
`original_pet_2023`.
"""

import copy
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml
from ase import Atoms
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress

import original_pet_files as files
from ase_pet import PETCalculator, graph, store
from ase_pet.evaluation import Evaluation
from ase_pet.formats import original_pet
from ase_pet.layers import cutoff, ragged
from ase_pet.models.original_pet import MessageLayer, Model, Settings
from original_pet_files import SETTINGS, tiny
from pairs import covering
from paths import DATA
from tolerances import TOLERANCES, worst
from toys import STRUCTURES, ethanol, silicon, slab, tiny_pet

ORACLES = (
    "average_bonds",
    "blend_mish_linear",
    "default_like",
    "no_central_token",
    "only_length",
    "preln",
)
EXACT = TOLERANCES[torch.float64]
ENERGY_IN_FLOAT32, FORCES_IN_FLOAT32 = 5e-6, 1e-4  # relative; eV/A
every_setting = pytest.mark.parametrize("name", SETTINGS)


class Oracle:
    """Structures and expected values of a folder."""

    def __init__(self, path):
        with np.load(path) as file:
            self.values = dict(file)
        self.names = list(dict.fromkeys(key.split("/")[0] for key in self.values))

    def atoms(self, name):
        return Atoms(
            **{key: self.values[f"{name}/{key}"] for key in ("numbers", "positions", "cell", "pbc")}
        )

    def has(self, field):
        return [name for name in self.names if f"{name}/{field}" in self.values]


def check(actual, expected, limit=EXACT["derived"]):
    """Numbers agree relative to max(1, largest expected one)."""
    expected = np.asarray(expected)
    assert np.abs(np.asarray(actual).reshape(expected.shape) - expected).max() <= limit * max(
        1, np.abs(expected).max()
    )


def check_values(calculator, oracle, fields):
    """fields {property: field of the oracle} agree in all structures that have them."""
    for key, field in fields.items():
        for name in oracle.has(field):
            check(
                calculator.evaluate([oracle.atoms(name)], (key,))[0][key],
                oracle.values[f"{name}/{field}"],
            )


def check_oracle(folder):
    """Check all values in a folder of the current original code."""
    oracle, calculator = Oracle(folder / "reference.npz"), PETCalculator(folder, dtype="float64")
    check_values(
        calculator, oracle, {"energy": "energy", "forces": "forces", "stress": "stress_voigt"}
    )
    assert len(oracle.has("stress_voigt")) > 1
    for name in oracle.names:
        evaluation = evaluated(calculator.model, oracle.atoms(name))
        check(evaluation.interaction, oracle.values[f"{name}/energy_model"])
        check(calculator.model(evaluation.graph), oracle.values[f"{name}/atomic_energies_model"])
        strain = evaluation.graph.pair_vectors.T @ evaluation.pair_gradient
        check(strain, oracle.values[f"{name}/dE_dstrain"])


def evaluated(model, *structures, training=False, dtype=torch.float64):
    return Evaluation(model, built(*structures, model=model, dtype=dtype), training=training)


def built(*structures, model, dtype=torch.float64):
    return graph.build([graph.from_atoms(atoms) for atoms in structures], model.cutoff, dtype=dtype)


# Values of the original program


def test_values_of_the_folder_of_this_project():
    check_oracle(DATA / "original_pet")


@pytest.mark.parametrize("name", ORACLES)
def test_oracle_in_float64(name, reference_file):
    check_oracle(reference_file(f"original_pet/{name}"))


@pytest.mark.parametrize("name", ORACLES)
def test_oracle_in_float32(name, reference_file):
    folder = reference_file(f"original_pet/{name}")
    oracle, calculator = Oracle(folder / "reference.npz"), PETCalculator(folder)
    assert calculator.dtype == torch.float32
    for name in oracle.names:
        results = calculator.evaluate([oracle.atoms(name)])[0]
        check(results["energy"], oracle.values[f"{name}/energy"], ENERGY_IN_FLOAT32)
        assert np.abs(results["forces"] - oracle.values[f"{name}/forces"]).max() < FORCES_IN_FLOAT32


def test_values_of_2023():
    """A flat file of settings, no prefix, bond energies without cutoff function, plain means."""
    calculator = PETCalculator(DATA / "original_pet_2023", dtype="float64")
    oracle = Oracle(DATA / "original_pet_2023" / "reference.npz")
    assert not calculator.model.settings.weigh_bonds
    assert "before April 2024" in calculator.model.metadata["bond_energies"]
    assert calculator.model.settings.average_pooling
    check_values(calculator, oracle, {"energy": "energy", "forces": "forces"})


def with_step(model):
    """The same weights with the infinitely differentiable cutoff."""
    other = Model(replace(model.settings, cutoff_function="step")).double()
    other.load_state_dict(model.state_dict())
    other.compositions = model.compositions
    return other


def test_values_with_the_step_as_cutoff(reference_file):
    folder = reference_file("ecse")
    calculator = PETCalculator(with_step(original_pet.read(folder / "model")), dtype="float64")
    assert calculator.model.is_local
    oracle = Oracle(folder / "ecse_reference.npz")
    assert len(oracle.names) == 13
    check_values(
        calculator,
        oracle,
        {"energy": "y0/energy", "forces": "y0/forces", "energies": "y0/atomic_energies"},
    )


# A plain form of the equations


def plain_energies(model, atoms):
    """(n,) energies in eV, atom by atom, as the equations are written."""
    settings, pairs = model.settings, built(atoms, model=model)
    rows, centre, neighbour = model.species_rows[pairs.numbers], pairs.centre, pairs.neighbour
    vectors, n_pairs = pairs.edge_vectors, len(pairs.pair_vectors)
    lengths = vectors.norm(dim=1)
    f = cutoff.FUNCTIONS[settings.cutoff_function](lengths, settings.r_cut, settings.cutoff_delta)
    seen = {True: [lengths[:, None]], False: [vectors, lengths[:, None]][: 1 + settings.use_length]}
    geometry = torch.cat(seen[settings.use_only_length], 1)
    message, total = (
        model.embedding.weight[rows[neighbour]],
        torch.zeros(len(atoms), dtype=torch.float64),
    )
    for index, layer in enumerate(model.gnn_layers):
        parts = [plain_embedding(layer, geometry), *plain_species(layer, rows[neighbour]), message]
        tokens, out = layer.compress(torch.cat(parts, 1)), torch.zeros_like(message)
        for i in range(len(atoms)):
            mine = torch.nonzero(centre == i)[:, 0]
            central = (
                []
                if layer.central_embedder is None
                else [layer.central_embedder.weight[rows[i]][None]]
            )
            weight = torch.cat([torch.ones(len(central)), f[mine]])
            block = plain_transformer(layer, torch.cat([*central, tokens[mine]]), weight, settings)
            out[mine] = block[len(central) :]
            total[i] += plain_readout(
                model, index, block[: len(central)], block[len(central) :], f[mine], lengths[mine]
            )
        message = settings.residual_factor * (message + out.roll(n_pairs, 0))
    return total


def plain_embedding(layer, geometry):
    embedded = layer.r_embedding(geometry)
    return embedded if layer.r_activation is None else layer.r_activation(embedded)


def plain_species(layer, neighbour_rows):
    return [layer.neighbor_embedder.weight[neighbour_rows]] if layer.blended else []


def plain_transformer(layer, x, weight, settings):
    """Tokens (t, d) of one atom after attention, with cutoff factors after the softmax."""

    def attention(block, x):
        shape = len(x), 3, settings.transformer_n_head, -1
        q, k, v = block.attention.input_linear(x).view(shape).permute(1, 2, 0, 3)
        a = torch.softmax(q @ k.mT / q.shape[-1] ** 0.5, -1) * weight
        a = a / (a.sum(-1, keepdim=True) + 1e-15)
        return block.attention.output_linear((a @ v).transpose(0, 1).reshape(len(x), -1))

    for block in layer.transformer_layers:
        steps = {
            "PostLN": lambda x, f, norm: norm(x + f(x)),
            "PreLN": lambda x, f, norm: x + f(norm(x)),
        }
        step = steps[settings.transformer_type]
        x = step(x, lambda x, block=block: attention(block, x), block.norm_attention)
        x = step(x, block.mlp, block.norm_mlp)
    return layer.final_norm(x)


def plain_readout(model, index, central, edges, f, lengths):
    """Energy of one atom from one layer."""
    settings = model.settings
    inside = (lengths < settings.r_cut).double()
    counted = {True: f, False: inside}[settings.weigh_bonds]
    number = counted.sum() if len(counted) else torch.tensor(1.0)
    pooled = (f[:, None] * edges).sum(0, keepdim=True) / {True: number, False: 1}[
        settings.average_pooling
    ]
    energy = model.heads[model.energy_head][index](central if len(central) else pooled).sum()
    if not settings.use_bond_energies:
        return energy
    bonds = (counted[:, None] * model.bond_heads[model.energy_head][index](edges)).sum()
    return energy + bonds / {True: number, False: 1}[settings.average_bond_energies]


@every_setting
def test_energies_are_those_of_the_plain_equations(name):
    model = tiny(name).requires_grad_(False)
    for atoms in (ethanol(), slab(), silicon() + Atoms("O", [(20, 20, 20)])):
        actual = model(built(atoms, model=model))
        assert worst(actual, plain_energies(model, atoms)) < EXACT["derived"]


@pytest.mark.parametrize(("name", "structure"), covering(SETTINGS, ["ethanol", "slab", "silicon"]))
def test_folded_forms_are_the_plain_equations(name, structure, monkeypatch):
    """Energies and forces, with padding edges beyond the cutoff."""
    model, atoms = tiny(name), STRUCTURES[structure]()
    fast = evaluated(model, atoms)
    monkeypatch.setattr(MessageLayer, "fast", False)
    monkeypatch.setattr(ragged.Attention, "fast", False)
    plain = evaluated(model, atoms)
    assert worst(fast.energies, plain.energies) < EXACT["same"]
    assert worst(fast.forces, plain.forces) < EXACT["same"]


# Derivatives


@pytest.mark.parametrize(("name", "structure"), covering(SETTINGS, ["sheared", "slab", "ethanol"]))
def test_forces_are_minus_the_derivative_of_the_energy(name, structure):
    atoms = STRUCTURES[structure]()
    atoms.calc = PETCalculator(one_headed(name), skin=0)
    expected = calculate_numerical_forces(atoms, eps=1e-5, iatoms=[1])
    assert np.abs(expected).max() > 1e-3
    assert worst(atoms.get_forces()[[1]], expected) < EXACT["derivative"]


def one_headed(name, **changes):
    return tiny(name, heads={"energy": 1}, **changes)


@every_setting
def test_stress_is_the_derivative_of_the_energy(name):
    atoms = STRUCTURES["sheared"]()
    atoms.calc = PETCalculator(one_headed(name), skin=0)
    assert (
        worst(atoms.get_stress(), calculate_numerical_stress(atoms, eps=1e-6)) < EXACT["derivative"]
    )


@pytest.mark.parametrize("name", ["base", "step", "no tokens", "activation, blend", "PreLN"])
def test_second_derivatives(name):
    atoms, step = ethanol(), 1e-5
    calculator = PETCalculator(one_headed(name), skin=0)
    hessian_matrix, columns = calculator.hessian(atoms), []
    for k in range(6):
        moved = [atoms.copy(), atoms.copy()]
        for sign, other in zip((1, -1), moved, strict=True):
            other.positions.flat[k] += sign * step
        plus, minus = calculator.evaluate(moved, ("forces",))
        columns.append(-(plus["forces"] - minus["forces"]).flatten() / (2 * step))
    assert worst(hessian_matrix[:6], np.array(columns)) < EXACT["derivative"]
    assert worst(hessian_matrix, hessian_matrix.T) < EXACT["derived"]


@pytest.mark.parametrize(
    "name", ["base", "no tokens", "mean pooling", "activation, blend", "linear", "means of 2023"]
)
def test_gradient_of_a_loss_on_forces_reaches_the_weights(name):
    model, step = one_headed(name), 1e-6
    generator = torch.Generator().manual_seed(7)
    along = [
        torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        for parameter in model.parameters()
    ]

    def loss(model):
        result = evaluated(model, silicon(), slab(), training=True)
        return (result.forces**2).mean() + (result.interaction**2).mean()

    def moved(sign):
        other = copy.deepcopy(model)
        with torch.no_grad():
            for parameter, change in zip(other.parameters(), along, strict=True):
                parameter += sign * step * change
        return loss(other).item()

    gradients = torch.autograd.grad(loss(model), tuple(model.parameters()), allow_unused=True)
    actual = sum(
        (gradient * change).sum().item()
        for gradient, change in zip(gradients, along, strict=True)
        if gradient is not None
    )
    assert worst(actual, (moved(1) - moved(-1)) / (2 * step)) < EXACT["derivative"]


# Properties of every model


@every_setting
def test_a_batch_equals_its_structures_alone(name):
    calculator = PETCalculator(one_headed(name))
    structures = [make() for make in STRUCTURES.values()] + [
        Atoms("O"),
        Atoms("CO", [(0, 0, 0), (0, 0, 9)]),
    ]
    together = calculator.evaluate(structures)
    for atoms, results in zip(structures, together, strict=True):
        alone = calculator.evaluate([atoms])[0]
        assert abs(results["energy"] - alone["energy"]) < EXACT["derived"]
        assert np.abs(results["forces"] - alone["forces"]).max() < EXACT["derived"]


@every_setting
def test_atoms_without_neighbours(name):
    """Isolated, with an atom beyond the cutoff, or with a molecule: same energy, no forces."""
    calculator = PETCalculator(one_headed(name))
    lone, dimer, crowd = (
        Atoms("O"),
        Atoms("OO", [(0, 0, 0), (0, 0, 4.5)]),
        ethanol() + Atoms("O", [(30, 0, 0)]),
    )
    results = calculator.evaluate([lone, dimer, crowd], ("energy", "energies", "forces"))
    expected = results[0]["energy"]
    assert np.isfinite(expected)
    assert np.abs(results[1]["energies"] - expected).max() < EXACT["derived"]
    assert abs(results[2]["energies"][-1] - expected) < EXACT["derived"]
    assert [not np.any(result["forces"][-1]) for result in results] == [True, True, True]


@pytest.mark.parametrize(
    "name", [name for name in SETTINGS if "mean" not in name and "2023" not in name]
)
def test_the_energy_is_continuous_where_the_last_neighbour_crosses_the_cutoff(name):
    calculator = PETCalculator(one_headed(name))
    dimers = [Atoms("CO", [(0, 0, 0), (0, 0, distance)]) for distance in (3.99999, 4.00001)]
    inside, outside = calculator.evaluate(dimers, ("energy",))
    assert abs(inside["energy"] - outside["energy"]) < 1e-6


@every_setting
def test_the_order_of_atoms_does_not_matter(name):
    calculator, atoms = PETCalculator(one_headed(name)), slab()
    order = np.random.default_rng(0).permutation(len(atoms))
    first, second = calculator.evaluate([atoms, atoms[order]])
    assert abs(first["energy"] - second["energy"]) < EXACT["derived"]
    assert np.abs(first["forces"][order] - second["forces"]).max() < EXACT["derived"]


@every_setting
def test_float32_is_close_to_float64(name):
    calculators = [PETCalculator(one_headed(name), dtype=dtype) for dtype in ("float32", "float64")]
    single, double = (calculator.evaluate([slab(), ethanol()]) for calculator in calculators)
    for actual, expected in zip(single, double, strict=True):
        check(actual["energy"], expected["energy"], TOLERANCES[torch.float32]["same"])
        check(actual["forces"], expected["forces"], 1e-4)


def test_lengths_alone_make_an_invariant_energy():
    calculator, atoms = PETCalculator(tiny("only length")), ethanol()
    rotated = atoms.copy()
    rotated.rotate(37, (1, 2, 3))
    rotated.positions[:, 0] *= -1
    first, second = calculator.evaluate([atoms, rotated], ("energy",))
    assert abs(first["energy"] - second["energy"]) < EXACT["derived"]


@every_setting
def test_local_models_need_only_their_own_edges(name):
    """One-sided edges of environments reproduce the energies, except in message-passing models."""
    model = tiny(name).requires_grad_(False)
    pairs = built(slab(), model=model)
    alone = replace(
        pairs,
        pair_centre=pairs.centre,
        pair_neighbour=pairs.neighbour,
        pair_vectors=pairs.edge_vectors,
        one_sided=True,
    )
    difference = (model(pairs) - model(alone)).abs().max().item() if model.is_local else 1.0
    assert model.is_local == (model.settings.n_gnn_layers == 1) == (difference < EXACT["derived"])


def test_scales_multiply_outputs_of_heads():
    model, pairs = tiny(), built(ethanol(), model=tiny())
    plain = model(pairs)
    model.scales = {"energy": {1: 2.0, 6: 2.0, 8: 2.0, 14: 3.0}}
    assert worst((model(pairs) / plain).detach(), [3.0, *[2.0] * 8]) < EXACT["derived"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"cutoff_function": "box"},
            "`cutoff_function` is 'box': valid choices are bump, cosine, step",
        ),
        ({"activation": "relu"}, "`activation` is 'relu': valid choices are silu, mish"),
        ({"compress_mode": "none"}, "`compress_mode` is 'none': valid choices are mlp, linear"),
        (
            {"transformer_type": "RMS"},
            "`transformer_type` is 'RMS': valid choices are PostLN, PreLN",
        ),
        (
            {"transformer_n_head": 3},
            "`transformer_d_model` 128 must be a multiple of `transformer_n_head` 3",
        ),
        ({"use_length": False, "use_only_length": True}, "nothing is left to see of an edge"),
    ],
)
def test_settings_that_make_no_model(changes, message):
    with pytest.raises(ValueError, match=message):
        Settings(species=(14,), **changes)


# The step function of the paper


def test_step_is_the_function_of_the_paper():
    distances = torch.linspace(2.01, 4.99, 400, dtype=torch.float64)
    t = ((5.0 - distances) / 2.5).clamp(max=1 - 1e-9)
    y = 2 * t - 1
    assert (
        worst(cutoff.step(distances, 5.0, 2.5), (1 - torch.tanh(1 / (y + 1) + 1 / (y - 1))) / 2)
        < EXACT["derived"]
    )
    assert cutoff.step(torch.tensor([0.1, 2.5, 5.0, 7.0]), 5.0, 2.5).tolist() == [
        1.0,
        1.0,
        0.0,
        0.0,
    ]


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
def test_step_has_finite_derivatives_everywhere(dtype):
    distances = torch.linspace(2, 6, 4001, dtype=dtype, requires_grad=True)
    value = cutoff.step(distances, 5.0, 2.0)
    for _ in range(3):
        (value,) = torch.autograd.grad(value.sum(), distances, create_graph=True)
        assert torch.isfinite(value).all()
    assert value[0] == value[-1] == 0


def test_the_other_pet_takes_the_step_too():
    atoms = slab()
    atoms.calc = PETCalculator(tiny_pet(cutoff_function="step"), skin=0)
    assert (
        worst(atoms.get_forces()[[1]], calculate_numerical_forces(atoms, eps=1e-5, iatoms=[1]))
        < EXACT["derivative"]
    )


# Folders


def same(first, second, structures=(silicon, ethanol)):
    """Whether two calculators have bit-identical results."""
    results = [
        calculator.evaluate([make() for make in structures]) for calculator in (first, second)
    ]
    return all(
        one["energy"] == other["energy"] and np.array_equal(one["forces"], other["forces"])
        for one, other in zip(*results, strict=True)
    )


@pytest.mark.parametrize(
    "name", [name for name in SETTINGS if name not in ("step", "bump", "targets")]
)
def test_a_folder_is_read_back(name, tmp_path):
    model = tiny(name)
    state = files.state_dict(model, old=not model.settings.weigh_bonds)
    content = files.hypers(model)
    removed = () if model.settings.weigh_bonds else ("DTYPE", "RESIDUAL_FACTOR", "N_TARGETS")
    for key in removed:
        del content["ARCHITECTURAL_HYPERS"][key]
    folder = files.write(tmp_path / "run", model, content, state)
    actual = PETCalculator(folder, dtype="float64")
    assert actual.model.settings == model.settings
    assert same(actual, PETCalculator(model))


def test_targets_are_variants(tmp_path):
    model = tiny("targets")
    folder = files.write(tmp_path / "run", model)
    with pytest.raises(ValueError, match="`variant` is needed.*: valid choices are '0', '1'"):
        PETCalculator(folder)
    for variant in ("0", "1"):
        assert same(
            PETCalculator(folder, variant=variant, dtype="float64"),
            PETCalculator(model, variant=variant),
        )
    first, second = (
        PETCalculator(folder, variant=variant).evaluate([ethanol()])[0]["energy"]
        for variant in "01"
    )
    assert first != second


@pytest.mark.parametrize(
    "prefix", ["", "model.", "pet_model.", "model.pet_model.", "module.model.model.pet_model."]
)
def test_wrappers_around_the_model_are_taken_off(prefix, tmp_path):
    model = tiny("blend")
    folder = files.write(tmp_path / "run", model, state=files.state_dict(model, prefix))
    assert same(PETCalculator(folder, dtype="float64"), PETCalculator(model))


def test_missing_hyper_parameters_have_their_defaults(tmp_path):
    model = Model(
        Settings(
            species=(1, 8), transformer_d_model=8, head_n_neurons=8, transformer_dim_feedforward=8
        )
    )
    model.compositions = {"energy": {1: 0.0, 8: 1.0}}
    given = {"TRANSFORMER_D_MODEL": 8, "HEAD_N_NEURONS": 8, "TRANSFORMER_DIM_FEEDFORWARD": 8}
    folder = files.write(tmp_path / "run", model, {"ARCHITECTURAL_HYPERS": given})
    assert original_pet.read(folder).settings == model.settings
    folder = files.write(tmp_path / "flat", model, given)
    assert original_pet.read(folder).settings == model.settings


def test_numbers_and_none_as_yaml_and_as_the_program_read_them(tmp_path):
    model = tiny(r_cut=4.0, cutoff_delta=0.5, residual_factor=0.25)
    content = (
        yaml.dump(files.hypers(model))
        .replace("R_CUT: 4.0", "R_CUT: 4")
        .replace("CUTOFF_DELTA: 0.5", "CUTOFF_DELTA: 5e-1")
        .replace("RESIDUAL_FACTOR: 0.25", "RESIDUAL_FACTOR: .25")
        .replace("CALCULATION_TYPE: mlip", "CALCULATION_TYPE: None")
        .replace("USE_LENGTH: true", "USE_LENGTH: True")
    )
    folder = files.write(tmp_path / "run", model)
    (folder / "hypers_used.yaml").write_text(content)
    assert original_pet.read(folder).settings == model.settings


def test_a_scalar_structural_target_is_supported(tmp_path):
    model = tiny()
    content = files.hypers(model)
    content["UTILITY_FLAGS"]["CALCULATION_TYPE"] = "general_target"
    folder = files.write(tmp_path / "run", model, content, files.state_dict(model, "pet_model."))
    (folder / "self_contributions.npy").unlink()
    assert original_pet.read(folder).compositions == {}


def test_without_energies_in_training_there_are_none_of_single_atoms(tmp_path):
    content = files.hypers(tiny())
    content["MLIP_SETTINGS"]["USE_ENERGIES"] = False
    folder = files.write(tmp_path / "run", tiny(), content)
    (folder / "self_contributions.npy").unlink()
    assert original_pet.read(folder).composition == {}


def test_old_names_of_heads_with_bonds_that_are_weighted(tmp_path):
    """Names between April and July 2024; the file states its DTYPE."""
    model = tiny()
    folder = files.write(tmp_path / "run", model, state=files.state_dict(model, old=True))
    assert original_pet.read(folder).settings.weigh_bonds


def test_species_follow_the_rows_of_the_file(tmp_path):
    model = tiny(species=(14, 1, 8, 6))
    read = original_pet.read(files.write(tmp_path / "run", model))
    assert read.species == (14, 1, 8, 6)
    assert read.composition == model.composition
    assert torch.equal(read.species_rows, model.species_rows)


def test_which_weights_are_read(tmp_path):
    best, last, energies = tiny(seed=1), tiny(seed=2), tiny(seed=3)
    folder = files.write(tmp_path / "run", last, weights="last_model_state_dict")
    assert torch.equal(original_pet.read(folder).embedding.weight, last.embedding.weight)
    files.write(folder, energies, weights="best_val_mae_energies_model_state_dict")
    with pytest.raises(
        ValueError,
        match="there are `best_val_mae_energies_model_state_dict`, `last_model_state_dict`",
    ):
        original_pet.read(folder)
    files.write(folder, best)
    read = original_pet.read(folder)
    assert torch.equal(read.embedding.weight, best.embedding.weight)
    assert (
        PETCalculator(folder / "last_model_state_dict").model.metadata["weights"]
        == "last_model_state_dict"
    )


def test_the_checkpoint_of_a_run_is_read_by_its_path(tmp_path):
    model = tiny().requires_grad_(True)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-4)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda epoch: 0.5)
    sum((parameter**2).sum() for parameter in model.parameters()).backward()
    optimiser.step()
    schedule.step()
    model.requires_grad_(False)
    folder = files.write(
        tmp_path / "run",
        model,
        weights="checkpoint",
        state={
            "model_state_dict": files.state_dict(model),
            "optim_state_dict": optimiser.state_dict(),
            "scheduler_state_dict": schedule.state_dict(),
            "dtype_used": "float32",
        },
    )
    assert same(PETCalculator(folder / "checkpoint", dtype="float64"), PETCalculator(model))
    with pytest.raises(ValueError, match="there are no others: give the path of a file of weights"):
        original_pet.read(folder)


def test_metadata_state_the_origin_of_the_weights(tmp_path):
    folder = files.write(tmp_path / "my run", tiny())
    metadata = original_pet.read(folder).metadata
    assert json.loads(json.dumps(metadata)) == metadata
    assert metadata["format"] == "original PET"
    assert metadata["folder"] == "my run"
    assert metadata["weights"] == "best_val_rmse_both_model_state_dict"
    assert len(metadata["sha256"]) == 64


@pytest.mark.parametrize("name", ["base", "targets", "means of 2023", "activation, blend", "step"])
def test_a_calculator_folder_gives_the_same_bits(name, tmp_path):
    model = tiny(name, torch.float32)
    store.save(tmp_path / "calculator", model, store.Card(name="calculator"))
    loaded, _ = store.load(tmp_path / "calculator")
    assert loaded.settings == model.settings
    loaded.energy_head = model.energy_head
    for atoms in (silicon(), ethanol()):
        actual, expected = (evaluated(each, atoms, dtype=torch.float32) for each in (loaded, model))
        assert torch.equal(actual.energies, expected.energies)
        assert torch.equal(actual.forces, expected.forces)


def test_reading_does_not_change_the_random_state():
    before = torch.get_rng_state()
    original_pet.read(DATA / "original_pet")
    assert torch.equal(torch.get_rng_state(), before)


def test_recognises_folders_and_files_of_weights(tmp_path):
    folder = files.write(tmp_path / "run", tiny())
    (folder / "summary.txt").write_text("best val mae")
    (folder / "history.pickle").write_bytes(b"\x80\x04.")
    np.savez(folder / "reference.npz", energy=1.0)
    recognised = [file.name for file in sorted(folder.iterdir()) if original_pet.recognises(file)]
    assert recognised == ["best_val_rmse_both_model_state_dict"]
    assert original_pet.recognises(folder)
    assert not original_pet.recognises(tmp_path)
    assert not original_pet.recognises(folder / "absent")


def test_frozen_weights_equal_trainable_weights():
    """Products of frozen weights are computed once."""
    model = tiny("activation, blend")
    pairs = built(ethanol(), model=model)
    assert (
        worst(model.requires_grad_(False)(pairs), model.requires_grad_(True)(pairs).detach())
        < EXACT["same"]
    )
