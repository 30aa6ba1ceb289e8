"""Training in randomly drawn frames: the draws, the result, and supported models."""

import json

import numpy as np
import pytest
import torch

from argon import structures, uninterrupted_and_resumed
from ase_pet import PETCalculator, evaluation, rotations
from ase_pet.symmetrisers import ecse, sampled, symmetrise
from ase_pet.train import train
from local_toys import STRUCTURES, batch, local_pet, rotated
from tolerances import worst

FRAMES = 'symmetrise = "{}"\naugmentation = "frames"\n'


@pytest.fixture
def framed(recipe):
    """Function that writes a recipe of a model trained in frames."""

    def write(epochs=3, symmetrise="ecse", **options):
        path = recipe(epochs, **options)
        rarely = path.read_text().replace(
            "[optimiser]\n", f"[optimiser]\nvalidate_every = {max(1, epochs // 3)}\n"
        )
        path.write_text(FRAMES.format(symmetrise) + rarely)
        return path

    return write


def drawn(graph, name, count, seed=0, draws=1):
    """(count, n_atoms) energies of a model in drawn frames."""
    model = sampled(local_pet(), name, torch.Generator().manual_seed(seed), draws)
    return torch.stack([model(graph) for _ in range(count)])


@pytest.mark.parametrize("name", ["ethanol", "CO2 160", "CO2 180", "atom", "silicon"])
def test_the_mean_of_draws_is_the_mean_over_frames(name):
    """Within 5 standard errors; CO2 has atoms with frames, lines of neighbours, and both."""
    graph = batch([STRUCTURES[name]()], local_pet().cutoff)
    energies, count = drawn(graph, "ecse", 200), 200
    exact = symmetrise(local_pet(), "ecse")(graph)
    assert ((energies.mean(0) - exact).abs() <= 5 * energies.std(0) / count**0.5 + 1e-12).all()


@pytest.mark.parametrize("name", ["ethanol", "CO2 160", "CO2 180", "atom"])
def test_all_frames_drawn_are_the_mean_over_frames(name):
    graph = batch([STRUCTURES[name]()], local_pet().cutoff)
    all_drawn, exact = (
        evaluation.Evaluation(model, graph)
        for model in (
            sampled(local_pet(), "ecse", torch.Generator(), draws=1000),
            symmetrise(local_pet(), "ecse"),
        )
    )
    assert worst(all_drawn.energies, exact.energies) < 1e-13
    assert (all_drawn.forces - exact.forces).abs().max() < 1e-12


def test_more_draws_scatter_less():
    graph = batch([STRUCTURES["ethanol"]()], 4.0)
    spread = [drawn(graph, "ecse", 60, draws=draws).std(0).mean() for draws in (1, 2, 8)]
    assert spread[0] > 1.2 * spread[1] > 1.5 * spread[2]


def test_energies_of_draws_scatter():
    """Control of the test above: draws differ by the variation over the frames."""
    assert drawn(batch([STRUCTURES["ethanol"]()], 4.0), "ecse", 20).std(0).min() > 1e-3


def test_draws_rotate_with_the_structure(generator):
    """The same seed draws the same frames, whose order does not depend on the orientation."""
    atoms, matrix = STRUCTURES["chiral"](), rotations.random_orthogonal(1, generator)[0].numpy()
    first, second = (drawn(batch([one], 4.0), "ecse", 3) for one in (atoms, rotated(atoms, matrix)))
    assert worst(first, second) < 1e-12


@pytest.mark.parametrize("draws", [1, 3])
def test_forces_of_a_draw_are_the_derivative_of_its_energy(draws):
    """Frames rotate with the atoms and their weights change, which is part of the derivative."""
    atoms, h = STRUCTURES["ethanol"](), 1e-5
    graph = batch([atoms], 4.0)
    seeds = torch.Generator().manual_seed(7)
    model = sampled(local_pet(), "ecse", seeds, draws)
    forces = evaluation.Evaluation(model, graph).forces
    moved = []
    for sign in (1, -1):
        copy = atoms.copy()
        copy.positions[2, 1] += sign * h
        seeds.manual_seed(7)
        moved.append(model(batch([copy], 4.0)).sum().item())
    assert forces[2, 1].item() == pytest.approx(-(moved[0] - moved[1]) / (2 * h), abs=1e-6)


def test_reflections_are_drawn_with_parity_only():
    """A chiral environment has as many energies as frames, or twice as many with reflections."""
    graph = batch([STRUCTURES["chiral"]()], 4.0)
    counts = [
        len(drawn(graph, name, 300)[:, 0].mul(1e9).round().unique())
        for name in ("ecse:so3", "ecse")
    ]
    assert counts[1] == 2 * counts[0]


def test_errors_are_those_of_the_symmetrised_calculator(framed, tmp_path, generator):
    path = framed(40)
    # with other seeds this short training is not over
    path.write_text(path.read_text().replace("seed = 3", "seed = 4"))
    metrics = train(path, tmp_path / "run")
    assert metrics["train"]["forces"]["rmse"] < 0.8 * metrics["train"]["forces"]["rms"]
    history = [
        json.loads(line) for line in (tmp_path / "run" / "history.jsonl").read_text().splitlines()
    ]
    chosen = min(history, key=lambda record: record["score"])["val"]
    for label in ("energy", "forces"):  # weights are chosen by the errors of the symmetrised model
        assert chosen[label]["rmse"] == pytest.approx(metrics["val"][label]["rmse"], rel=1e-5)
    frames = [atoms for atoms in structures() if atoms.info["split"] == "test"]
    calculator = PETCalculator(tmp_path / "run")
    assert isinstance(calculator.model, ecse.Model)
    assert "symmetriser `ecse:published`" in (tmp_path / "run/README.md").read_text()
    results = calculator.evaluate(frames, ("energy", "forces"))
    errors = np.concatenate(
        [(r["forces"] - a.get_forces()).ravel() for a, r in zip(frames, results, strict=True)]
    )
    assert np.sqrt(np.mean(errors**2)) == pytest.approx(metrics["test"]["forces"]["rmse"], rel=1e-4)
    assert (
        PETCalculator(tmp_path / "run", symmetrise="ecse:so3").card.provenance["augmentation"]
        == "frames"
    )
    for name in ("none", "group:O"):
        with pytest.raises(
            ValueError,
            match=f"`symmetrise` is '{name}', but `argon` was trained in the frames of 'ecse'",
        ):
            PETCalculator(tmp_path / "run", symmetrise=name)
    matrix = rotations.random_orthogonal(1, generator)[0].numpy()
    energies = [
        r["energy"]
        for r in calculator.evaluate([frames[0], rotated(frames[0], matrix)], ("energy",))
    ]
    assert energies[0] == pytest.approx(energies[1], abs=1e-5)


def test_a_resumed_run_reaches_the_same_weights(framed, tmp_path):
    uninterrupted, stopped = (
        (folder / "weights.safetensors").read_bytes()
        for folder in uninterrupted_and_resumed(framed(3), tmp_path)
    )
    assert uninterrupted == stopped


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            '"frames"',
            '"mirrors"',
            "`augmentation` is 'mirrors': valid choices are rotations, frames",
        ),
        (
            'symmetrise = "ecse"',
            'symmetrise = "group:O"',
            "means nothing outside the frames of ECSE, but `symmetrise` is 'group:O'",
        ),
        ('"frames"\n', '"frames"\ndraws = 0\n', "`draws` is 0: expected a whole number above 0"),
        ('symmetrise = "ecse"\n', "", "`symmetrise` is 'none': expected 'ecse'"),
    ],
)
def test_a_recipe_that_does_not_fit_is_refused(framed, tmp_path, old, new, message):
    path = framed()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ValueError, match=message):
        train(path, tmp_path / "run")
