"""Which weights fine-tuning changes: readouts, low-rank additions, new heads, new elements."""

import copy

import ase.io
import numpy as np
import pytest
import torch
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import covalent_radii

import argon
from ase_pet import PETCalculator, store
from ase_pet.models import mace, pet, ponita
from ase_pet.models.base import Parts
from ase_pet.train import growth, parts, read, run, train
from ase_pet.train.schema import FineTuning
from ase_pet.train.trained_weights import LowRank, TrainedWeights
from tolerances import TOLERANCES

SAME = TOLERANCES[torch.float64]["same"]
KNOWN = {18: -7.0, 54: -3.25}  # eV, of Ar and Xe
HEADS = {"energy": 1, "energy/pbe": 1}
COMMON = {"species": tuple(KNOWN), "cutoff": 5.0, "heads": HEADS}
TOYS = {
    "pet": (pet, {"d_pet": 8, "d_node": 16, "d_head": 8, "d_feedforward": 8, "num_heads": 2}),
    "ponita": (ponita, {"orientations": "octahedral", "width": 8, "num_basis": 8, "num_layers": 2}),
    "mace": (
        mace,
        {
            "width": 4,
            "num_bessel": 4,
            "radial_widths": (8,),
            "readout_width": 3,
            "degree": 1,
            "distance_transform": "agnesi",
            "pair_repulsion": True,
        },
    ),
}
RECIPE = """
name = "second"
start = "first"
dtype = "float64"
{extra}
[data]
files = ["argon.extxyz"]
[optimiser]
epochs = 2
batch_size = 4
learning_rate = 0.01
[fine_tuning]
{options}
"""
pytestmark = [
    pytest.mark.filterwarnings("ignore:no training structure has"),
    # of random weights, which know no sizes
    pytest.mark.filterwarnings("ignore:`forces` of the data are"),
]


def toy(kind):
    """A model with two energy heads and random weights."""
    module, sizes = TOYS[kind]
    torch.manual_seed(2)
    model = module.Model(module.Settings(**COMMON, **sizes)).double()
    # numbers that float32 would round
    state = model.state_dict()
    names = dict(model.named_parameters())
    model.load_state_dict(
        {name: x * (1 + 1e-9) if name in names else x for name, x in state.items()}
    )
    model.compositions = {head: dict(KNOWN) for head in HEADS}
    model.scales = {"energy": 0.3, "energy/pbe": {18: 0.2, 54: 0.1}}
    return model


@pytest.fixture
def start(tmp_path):
    """Function that writes a toy as calculator `first`, and the path of a recipe that starts there.

    The folder holds argon.extxyz as well.
    """

    def write(kind="pet", options="", extra=""):
        store.save(tmp_path / "first", toy(kind), store.CalculatorInfo("two", dtype="float64"))
        ase.io.write(tmp_path / "argon.extxyz", argon.structures(7))
        path = tmp_path / "second.toml"
        path.write_text(RECIPE.format(options=options, extra=extra))
        return path

    return write


def trainer_of(path):
    """Trainer of a recipe."""
    return run.prepare(read(path), path.parent, "cpu")


def state(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def changed(before, after):
    """Names of tensors that differ."""
    return {name for name in before if not torch.equal(before[name], after[name])}


def energy(model, head, atoms):
    """Energy in eV and forces in eV/A of a head."""
    model = copy.deepcopy(model).requires_grad_(False)
    variant = head.partition("/")[2] or None
    atoms.calc = PETCalculator(model, device="cpu", variant=variant)
    return atoms.get_potential_energy(), atoms.get_forces()


@pytest.mark.parametrize("kind", TOYS)
def test_weights_in_float64_are_not_rounded(start, kind):
    trainer = trainer_of(start(kind))
    assert changed(state(trainer.start.before), trainer.model.state_dict()) == set()


@pytest.mark.parametrize("kind", TOYS)
def test_readouts_only_leave_the_other_head_as_it_was(start, kind):
    trainer = trainer_of(start(kind, 'weights = "heads"'))
    before = state(trainer.model)
    atoms = argon.structures(1)[0]
    atoms.numbers[0] = 54
    energies = [energy(trainer.average, head, atoms)[0] for head in HEADS]
    trainer._train_epoch()
    names = changed(before, trainer.model.state_dict())
    assert names
    assert {name.split(".")[0] for name in names} <= set(trainer.model.parts.readouts)
    assert all(name.split(".")[1] != "energy/pbe" for name in names)
    after = [energy(trainer.average, head, atoms)[0] for head in HEADS]
    assert after[0] != energies[0]
    assert after[1] == energies[1]
    assert trainer.start.changes[-1] == (
        "heads energy/pbe: unchanged, as are the weights below them"
    )


@pytest.mark.parametrize("kind", TOYS)
def test_a_new_head_beside_the_old_ones(start, kind, tmp_path):
    """Trained alone it leaves the others bit for bit; divided weights of MACE round."""
    path = start(kind, 'weights = "heads"\nnew_head = "new"\nvariant = "pbe"')
    train(path, tmp_path / "run")
    first, _ = store.load(tmp_path / "first")
    model, info = store.load(tmp_path / "run")
    assert list(model.head_sizes) == [*HEADS, "energy/new"]
    assert model.scales["energy/new"] == first.scales["energy/pbe"]
    assert model.compositions["energy"] == KNOWN
    assert model.compositions["energy/new"][54] == KNOWN[54]
    atoms = argon.structures(1)[0]
    rounding = {"pet": 0.0, "ponita": 0.0, "mace": SAME}[kind]
    for head in HEADS:
        before = energy(first, head, atoms)
        after = energy(model, head, atoms)
        assert after[0] == pytest.approx(before[0], rel=rounding, abs=0)
        np.testing.assert_allclose(after[1], before[1], rtol=0, atol=rounding)
    assert energy(model, "energy/new", atoms)[0] != energy(first, "energy/pbe", atoms)[0]
    lines = info.provenance["start"]["changes"]
    assert "head energy/new: new, a copy of energy/pbe" in lines
    assert any("`variant` 'new'" in line for line in lines)
    assert info.provenance["start"]["method"].startswith("readouts only")
    assert info.provenance["start"]["wrong_heads"] == []


def test_a_head_above_changed_weights_warns(start, tmp_path):
    """A user who does not choose the new head would get wrong numbers without a word."""
    train(start("pet", 'new_head = "new"'), tmp_path / "run")
    with pytest.warns(UserWarning, match="head energy was not: .* wrong. Choose .* `variant`: new"):
        PETCalculator(tmp_path / "run")
    PETCalculator(tmp_path / "run", variant="new")


@pytest.mark.parametrize("kind", TOYS)
def test_new_elements_begin_as_others_and_change_nothing_else(kind):
    model = toy(kind)
    grown = growth.with_species(model, growth.sources_of(["Kr", "Ne"], model.species, "x"))
    atoms = argon.structures(1)[0]
    atoms.numbers[0] = 54
    for head in HEADS:
        before = energy(model, head, atoms)
        after = energy(grown, head, atoms)
        assert after[0] == pytest.approx(before[0], rel=SAME)
        np.testing.assert_allclose(after[1], before[1], atol=SAME)
    assert grown.species == (18, 54, 36, 10)
    assert grown.scales["energy/pbe"][36] == 0.2
    radii = [value for name, value in grown.state_dict().items() if name.endswith("radii")]
    assert all(value[2:].tolist() == covalent_radii[[36, 10]].tolist() for value in radii)


@pytest.mark.parametrize("energies", ["fit", "start"])
def test_a_new_element_moves_no_energy_of_another(start, tmp_path, energies):
    """Its energy is free: what its structures need is not shared with elements that fit already."""
    path = start("pet", 'new_species = {Kr = "Ar"}', f'E0s = "{energies}"')
    frames = argon.structures(7)
    calculator = PETCalculator(tmp_path / "first")
    for index, atoms in enumerate(frames):
        given = calculator.evaluate([atoms], ("energy", "forces", "stress"))[0]
        # Kr is Ar with another energy; the mean of what both share must not go into it
        count = index % 2
        atoms.numbers[:count] = 36
        given["energy"] += 5.5 * count
        atoms.calc = SinglePointCalculator(atoms, **given)
    ase.io.write(tmp_path / "argon.extxyz", frames)
    found = trainer_of(path).composition
    expected = {**KNOWN, 36: KNOWN[18] + 5.5}
    assert found == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("kind", TOYS)
def test_only_the_rows_of_new_elements_change_with_readouts(start, kind, tmp_path):
    path = start(kind, 'weights = "heads"\nnew_species = {Kr = "Xe"}')
    frames = argon.structures(7)
    for atoms in frames:
        atoms.numbers[0] = 36
        atoms.calc.results["energy"] += 7.0 - 1.5
    ase.io.write(tmp_path / "argon.extxyz", frames)
    trainer = trainer_of(path)
    # the error of the network, too, is in the energy of the new element, not in that of Ar
    assert trainer.composition[36] == pytest.approx(-1.5, abs=3)
    assert trainer.composition[18] == pytest.approx(KNOWN[18], abs=1e-4)
    assert "Kr is new and begins with those of Xe" in trainer.start.changes[1]
    before = state(trainer.model)
    trainer._train_epoch()
    after = trainer.model.state_dict()
    for name in changed(before, after):
        differs = (before[name] != after[name]).flatten(1) if before[name].ndim > 1 else None
        outside = name.split(".")[0] not in trainer.model.parts.readouts
        assert not outside or differs.any(1).nonzero().flatten().tolist() == [2]


def test_rules_for_new_elements():
    species = (1, 6, 8, 14, 29)
    assert growth.sources_of(["Ge", "S", "Au", "Na", "Fe"], species, "x") == {
        32: 14,
        16: 8,
        79: 29,
        11: 1,
        26: 29,
    }
    assert growth.sources_of({"Ge": "C"}, species, "x") == {32: 6}


@pytest.mark.parametrize("kind", TOYS)
def test_low_rank_additions(start, kind):
    trainer = trainer_of(start(kind, 'weights = "lora"\nrank = 2'))
    before = state(trainer.model)
    trainer._train_epoch()
    after = trainer.model.state_dict()
    low_rank = trainer.weights.low_rank
    assert low_rank
    for name, each in low_rank.items():
        addition = after[name] - before[name]
        ranks = torch.linalg.matrix_rank(addition, rtol=1e-9)
        assert int(ranks.max()) in (1, 2)
        product = each.factors[0] @ each.factors[1]
        assert torch.allclose(addition, product.detach(), rtol=0, atol=1e-12)
        average = dict(trainer.average.named_parameters())[name]
        assert torch.equal(average, before[name] + each.means[0] @ each.means[1])
    # all else but readouts, and maps that are narrower than the rank, stays
    for name in changed(before, after) - low_rank.keys():
        narrow = min(before[name].shape[-2:]) <= 2 and name.endswith("weight")
        assert narrow or name.split(".")[0] in trainer.model.parts.readouts
    assert not any("node_embedder" in name for name in low_rank)


def test_gradients_of_the_factors_are_those_of_their_product():
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(3, 5, 4, generator=generator, dtype=torch.float64).requires_grad_()
    each = LowRank.of(weight, weight.detach().clone(), 2, generator)
    left, right = each.factors
    with torch.no_grad():
        left.normal_(generator=generator)
    each_base = each.base
    loss = (each_base + left @ right).sin().sum()
    expected = torch.autograd.grad(loss, [left, right])
    with torch.no_grad():
        each.merge(0.5)
    weight.sin().sum().backward()
    each.gradients()
    assert torch.allclose(left.grad, expected[0], rtol=SAME, atol=SAME)
    assert torch.allclose(right.grad, expected[1], rtol=SAME, atol=SAME)


def test_the_written_calculator_is_an_ordinary_model(start, tmp_path):
    """Its weights are those of the start plus the averaged additions, up to the last epoch."""
    path = start("pet", 'weights = "lora"\nrank = 3')
    trainer = trainer_of(path)
    records = list(trainer.run())
    train(path, tmp_path / "run")
    model, _ = store.load(tmp_path / "run")
    first, _ = store.load(tmp_path / "first")
    assert model.settings == first.settings
    assert changed(trainer.best_weights, model.state_dict()) == set()
    assert records[-1]["epoch"] == 2


def test_learning_rates_fall_from_layer_to_layer(start):
    trainer = trainer_of(start("pet", "layer_rate = 0.5"))
    names = {id(weight): name for name, weight in trainer.model.named_parameters()}
    rates = {}
    for optimiser in trainer.optimisers:
        for group in optimiser.param_groups:
            for weight in group["params"]:
                rates[names[id(weight)]] = group["rate"]
    assert rates["node_heads.energy.0.0.weight"] == 1.0
    assert rates["gnn_layers.1.compress.0.weight"] == 0.5
    assert rates["combinations.0.mlp.0.weight"] == 0.25
    assert rates["edge_embedder.weight"] == 0.125
    assert "node_heads.energy/pbe.0.0.weight" not in rates
    trainer._train_epoch()
    groups = [group for optimiser in trainer.optimisers for group in optimiser.param_groups]
    peak = max(group["lr"] for group in groups)
    assert {group["lr"] / peak for group in groups} == {1.0, 0.5, 0.25, 0.125}


@pytest.mark.parametrize("kind", TOYS)
def test_frozen_layers_give_the_same_gradients_of_the_readouts(start, kind):
    """With frozen weights the layers take the paths of inference."""
    gradients = []
    for weights in ("full", "heads"):
        trainer = trainer_of(start(kind, f'weights = "{weights}"'))
        batch = parts.parts_of(trainer, [0, 1, 2], None)
        trainer._backward(batch, 3, torch.Generator())
        named = trainer.model.named_parameters()
        modules = trainer.model.parts.readouts
        own = {n: w.grad for n, w in named if n.split(".")[0] in modules}
        gradients.append({name: each for name, each in own.items() if each is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, expected in gradients[0].items():
        scale = float(expected.abs().max())
        assert torch.allclose(gradients[1][name], expected, rtol=0, atol=1e-9 * scale)


def test_parts_that_are_not_known_are_refused():
    model = toy("pet")
    model.parts = Parts()
    options = FineTuning(weights="heads")
    with pytest.raises(ValueError, match="does not say which weights are its readouts"):
        TrainedWeights(model, copy.deepcopy(model), options, {"energy"})
