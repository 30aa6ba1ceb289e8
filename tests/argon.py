"""Recipe and data of argon whose training takes about a second."""

import matplotlib.figure
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.lj import LennardJones
from ase.calculators.singlepoint import SinglePointCalculator

from ase_pet.train import train

RECIPE = """
name = "argon"
model = "pet"
seed = 3
dtype = "{dtype}"
device = "cpu"
[settings]
species = ["Ar"]
cutoff = 5.0
d_pet = 8
d_node = 8
d_head = 8
d_feedforward = 8
num_heads = 2
num_gnn_layers = 1
num_attention_layers = 1
featurizer_type = "residual"
[data]
files = ["argon.extxyz"]
[optimiser]
epochs = {epochs}
batch_size = 4
method = "{method}"
learning_rate = {rate}
[card]
system = "Argon for a test."
"""


def structures(count=14):
    """Strained, rattled argon cells with Lennard-Jones labels and a composition energy of -7 eV."""
    rng, frames = np.random.default_rng(5), []
    for k in range(count):
        atoms = bulk("Ar", "fcc", a=5.3, cubic=True)
        atoms.set_cell(
            atoms.cell @ (np.eye(3) + rng.uniform(-0.02, 0.02, (3, 3))), scale_atoms=True
        )
        atoms.positions += rng.normal(0, 0.1, (4, 3))
        atoms.calc = LennardJones(sigma=3.4, epsilon=0.0104, rc=5.0, smooth=True)
        labels = {
            "energy": atoms.get_potential_energy() - 7 * len(atoms),
            "forces": atoms.get_forces(),
            "stress": atoms.get_stress(),
        }
        atoms.calc = SinglePointCalculator(atoms, **labels)
        atoms.info["split"] = ("train", "train", "train", "val", "test")[k % 5]
        frames.append(atoms)
    return frames


def without_pictures():
    """Draw no pictures in this process, as tests.conftest does in that of the tests."""
    matplotlib.figure.Figure.savefig = lambda *arguments, **options: None


def uninterrupted_and_resumed(recipe, folder):
    """Folders of an uninterrupted run and of one resumed after its first validation."""

    class Stop(Exception):
        pass

    def stop(record):
        raise Stop

    train(recipe, folder / "uninterrupted")
    with pytest.raises(Stop):
        train(recipe, folder / "stopped", on_record=stop)
    train(recipe, folder / "stopped", resume=True)
    return folder / "uninterrupted", folder / "stopped"
