"""Training of a PONITA from a recipe."""

import re

import numpy as np
import pytest

from argon import structures, uninterrupted_and_resumed
from ase_pet import PETCalculator, orientations, store
from ase_pet.train import read, train

SETTINGS = """[settings]
species = ["Ar"]
cutoff = 5.0
width = 12
num_basis = 8
num_layers = 1
orientations = "octahedral"
scaled = true
"""


@pytest.fixture
def ponita_recipe(recipe):
    """Path of a recipe of a PONITA."""
    path = recipe(epochs=12, method="adam", rate=0.02)
    text = re.sub(r"\[settings\].*(?=\[data\])", SETTINGS, path.read_text(), flags=re.DOTALL)
    path.write_text(text.replace('model = "pet"', 'model = "ponita"'))
    return path


def test_training_lowers_the_error_and_the_folder_reproduces_it(ponita_recipe, tmp_path):
    records = []
    metrics = train(ponita_recipe, tmp_path / "run", on_record=records.append)
    assert records[-1]["val"]["forces"]["rmse"] < 0.8 * records[-1]["val"]["forces"]["rms"]
    model, card = store.load(tmp_path / "run")
    assert (model.settings.orientations, card.name) == ("octahedral", "argon")
    test = [atoms for atoms in structures() if atoms.info["split"] == "test"]
    results = PETCalculator(tmp_path / "run").evaluate(test)
    error = np.concatenate(
        [one["forces"] - atoms.get_forces() for one, atoms in zip(results, test, strict=True)]
    )
    assert np.sqrt((error**2).mean()) == pytest.approx(metrics["test"]["forces"]["rmse"], rel=1e-3)


@pytest.fixture
def drawn_recipe(ponita_recipe):
    """Path of a recipe of a PONITA with grids that are drawn."""
    text = ponita_recipe.read_text().replace("epochs = 12", "epochs = 2")
    own = 'orientations = "icosahedral"\norientations_drawn = true'
    ponita_recipe.write_text(text.replace('orientations = "octahedral"', own))
    return ponita_recipe


def test_a_training_on_drawn_grids_resumes_to_the_same_bits(drawn_recipe, tmp_path):
    whole, resumed = uninterrupted_and_resumed(drawn_recipe, tmp_path)
    weights = [(folder / "weights.safetensors").read_bytes() for folder in (whole, resumed)]
    assert weights[0] == weights[1]
    # it differs from a training on its own grid, which the calculator has in the end
    model, _ = store.load(whole)
    assert model.settings.orientations_drawn
    assert np.array_equal(model.axes, orientations.grid("icosahedral"))
    drawn_recipe.write_text(drawn_recipe.read_text().replace("_drawn = true", "_drawn = false"))
    train(drawn_recipe, tmp_path / "fixed")
    assert (tmp_path / "fixed" / "weights.safetensors").read_bytes() != weights[0]
    line = f"- Grids in training, which `orientations` may name: {', '.join(orientations.DRAWN)}\n"
    assert line in (whole / "README.md").read_text()
    assert "Grids in training" not in (tmp_path / "fixed" / "README.md").read_text()
    assert PETCalculator(whole, orientations=64)


def test_the_grid_of_a_calculator_is_one_that_is_drawn(drawn_recipe):
    drawn_recipe.write_text(drawn_recipe.read_text().replace('"icosahedral"', '"octahedral"'))
    with pytest.raises(ValueError, match="'octahedral': expected one of the grids .* icosahedral"):
        read(drawn_recipe)
