"""The loss of the variance of an atom's energy over its drawn frames."""

import pytest
import torch
from ase.calculators.singlepoint import SinglePointCalculator

from argon import uninterrupted_and_resumed
from ase_pet.cli._training import TrainingScreen
from ase_pet.symmetrisers import FRAME_VARIANCE, sampled, symmetrise
from ase_pet.symmetrisers.ecse.edges import GraphEdges
from ase_pet.train import data, progress, read, run, train
from ase_pet.train.loss import weighted_loss
from ase_pet.train.prediction import evaluation
from ase_pet.train.recipe import Loss
from local_toys import SPECIES, STRUCTURES, batch, local_pet
from tolerances import worst

FRAMES = 'symmetrise = "ecse"\naugmentation = "frames"\ndraws = 2\n'
WEIGHT = 0.3
ONLY_VARIANCE = Loss(energy=0, forces=0, stress=0, frame_variance=WEIGHT, huber=0.1)
RMS = {"energy": 0.5, "forces": 2.0, "stress": 1.0, "dipole": 1.0}
ALL = 1000  # draws: every frame of an atom


@pytest.fixture
def framed(recipe):
    """Function that writes a recipe of a model trained in two frames, with the loss."""

    def write(epochs=3, weight=WEIGHT, validate_every=1, **options):
        path = recipe(epochs, **options)
        loss = f"[loss]\nframe_variance = {weight}\n"
        optimiser = f"[optimiser]\nvalidate_every = {validate_every}\n"
        text = path.read_text().replace("[optimiser]\n", loss + optimiser)
        path.write_text(FRAMES + text)
        return path

    return write


def drawn(draws, model=None, seed=0):
    """A model in drawn frames."""
    return sampled(model or local_pet(), "ecse", torch.Generator().manual_seed(seed), draws)


def plain_variances(atoms):
    """Variances (n_atoms,) by rotating the structure into every frame of each atom."""
    inner = local_pet()
    model = symmetrise(inner, "ecse")
    edges = GraphEdges.from_graph(batch([atoms], inner.cutoff), inner.cutoff)
    (block,) = edges.blocks(0)
    environments = model._block_environments(edges, block, edges.vectors).environments
    energies = []
    for atom, axes in zip(environments.atom, environments.axes.numpy(), strict=True):
        turned = atoms.copy()
        turned.positions = atoms.positions @ axes
        energies.append(inner(batch([turned], inner.cutoff))[atom])
    energies = torch.stack(energies)
    variances = []
    for atom in range(len(atoms)):
        own = environments.atom == atom
        mean = (environments.weights[own] * energies[own]).sum()
        variances.append((environments.weights[own] * (energies[own] - mean) ** 2).sum())
    return torch.stack(variances)


def labelled(weights=(1.0, 1.0)):
    """Batch of two molecules with labels and weights of structures, in float64."""
    samples = []
    for name, weight in zip(("ethanol", "chiral"), weights, strict=True):
        atoms = STRUCTURES[name]()
        atoms.calc = SinglePointCalculator(atoms, energy=0.0, forces=0 * atoms.positions)
        sample = data.sample(atoms, SPECIES, local_pet().cutoff, "")
        sample.weight = weight
        samples.append(sample)
    return data.collate(samples, torch.float64, "cpu")


def loss_of(model, labels):
    """The loss whose only weight is that of the variance."""
    results = evaluation(model, labels, training=True, heads=(FRAME_VARIANCE,))
    return weighted_loss(results, labels, RMS, ONLY_VARIANCE)


@pytest.mark.parametrize("name", ["ethanol", "chiral"])
def test_the_variance_is_that_of_a_plain_formula(name):
    atoms = STRUCTURES[name]()
    graph = batch([atoms], local_pet().cutoff)
    variances = drawn(ALL).predict(graph, (FRAME_VARIANCE,))[FRAME_VARIANCE][:, 0]
    assert variances.max() > 1e-4
    assert worst(variances, plain_variances(atoms)) < 1e-10


def test_the_loss_is_the_mean_over_atoms_in_units_of_the_energies():
    """Each structure counts by its weight, as in the other terms."""
    parts = [plain_variances(STRUCTURES[name]()) for name in ("ethanol", "chiral")]
    weighted = 2 * parts[0].sum() + 5 * parts[1].sum()
    mean = weighted / sum(len(part) for part in parts)
    expected = WEIGHT * mean / RMS["energy"] ** 2 / (2 * ONLY_VARIANCE.huber)
    loss = loss_of(drawn(ALL), labelled((2.0, 5.0)))
    assert loss.item() == pytest.approx(expected.item(), rel=1e-10)


def test_energies_and_forces_do_not_change():
    """They are of the same frames, and come from the same run."""
    labels = labelled()
    plain = evaluation(drawn(2), labels)
    both = evaluation(drawn(2), labels, heads=(FRAME_VARIANCE,))
    assert worst(both.forces, plain.forces) < 1e-12
    assert worst(both.energies, plain.energies) < 1e-12


def test_one_frame_has_no_variance():
    labels = labelled()
    assert loss_of(drawn(2), labels) > 1e-4
    assert loss_of(drawn(1), labels).abs() < 1e-12


def test_the_gradient_is_that_of_finite_differences():
    labels = labelled()
    inner = local_pet().requires_grad_(True)
    loss = loss_of(drawn(2, inner), labels)
    loss.backward()
    weights = max(inner.parameters(), key=lambda each: 0 if each.grad is None else each.grad.norm())
    direction = weights.grad / weights.grad.norm()
    step = 1e-4
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            weights += sign * step * direction
            values.append(loss_of(drawn(2, inner), labels).item())
            weights -= sign * step * direction
    numerical = (values[0] - values[1]) / (2 * step)
    assert weights.grad.norm().item() == pytest.approx(numerical, rel=1e-5)


def gradient(path, folder, parts):
    """Loss and gradient of a batch that is evaluated in parts."""
    recipe = read(path)
    object.__setattr__(recipe.optimiser, "accumulate", parts)
    trainer = run.prepare(recipe, folder, "cpu")
    pieces = trainer._parts(range(5), None)
    loss = trainer._backward(pieces, 5, torch.Generator().manual_seed(1))
    return loss, torch.cat([weight.grad.flatten() for weight in trainer.model.parameters()])


def test_parts_of_a_batch_have_the_same_gradient(framed, tmp_path):
    path = framed(weight=100.0, dtype="float64")
    loss, exact = gradient(path, tmp_path, 1)
    in_parts, values = gradient(path, tmp_path, 3)
    assert in_parts == pytest.approx(loss, rel=1e-12)
    assert (values - exact).norm() < 1e-11 * exact.norm()
    path.write_text(path.read_text().replace("frame_variance = 100.0", "frame_variance = 0.0"))
    without, _ = gradient(path, tmp_path, 1)
    assert loss > without + 1e-6


def test_a_resumed_run_reaches_the_same_weights(framed, tmp_path):
    uninterrupted, stopped = (
        (folder / "weights.safetensors").read_bytes()
        for folder in uninterrupted_and_resumed(framed(3), tmp_path)
    )
    assert uninterrupted == stopped


def records(path, folder):
    """Records of all validations of a training."""
    return list(run.prepare(read(path), folder, "cpu").run())


def test_a_larger_weight_leaves_less_variance(framed, tmp_path):
    little = records(framed(5, weight=1e-9, validate_every=5), tmp_path)
    much = records(framed(5, weight=10.0, validate_every=5), tmp_path)
    assert 0 < much[-1]["frame_deviation"] < 0.5 * little[-1]["frame_deviation"]


def test_the_deviation_is_shown(framed, tmp_path):
    texts = []
    shown = TrainingScreen(lambda text, *_: texts.append(text))
    (record,) = records(framed(1), tmp_path)
    shown.on_update(progress.Update(1, 1, 1, 3, loss=0.1, atoms=16, seconds=1.0))
    shown.on_record(record)
    deviation = 1e3 * record["frame_deviation"]
    assert texts[-1].endswith(f", energies of frames +- {deviation:.3g} meV, update")


@pytest.mark.parametrize(
    ("old", "new", "got"),
    [
        ('"ecse"', '"ecse_layers"', "`symmetrise` is 'ecse_layers'"),
        (FRAMES, 'symmetrise = "group:O"\n', "`symmetrise` is 'group:O'"),
        (FRAMES, 'symmetrise = "ecse"\n', "`augmentation` 'rotations'"),
        ("draws = 2\n", "", "`draws` 1: expected 'ecse', 'frames' and 2 or more"),
        (f"= {WEIGHT}", "= -1.0", "`frame_variance` is -1.0"),
    ],
)
def test_a_recipe_without_several_frames_is_refused(framed, tmp_path, old, new, got):
    path = framed()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ValueError, match=got):
        train(path, tmp_path / "run")
    assert not (tmp_path / "run").exists()
