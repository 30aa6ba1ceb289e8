"""Training of a PONITA from a recipe."""

import re

import numpy as np
import pytest

from argon import structures
from ase_pet import PETCalculator, store
from ase_pet.train import train

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
