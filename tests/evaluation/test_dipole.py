"""Dipoles: exact properties, refused input, one model evaluation, training on labels."""

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.singlepoint import SinglePointCalculator

import local_toys
from ase_pet import PETCalculator, rotations, store
from ase_pet.evaluation import Evaluation
from ase_pet.models.base import AtomisticModel
from ase_pet.train import data, report, train
from ase_pet.train.loss import weighted_loss
from ase_pet.train.prediction import evaluation
from ase_pet.train.recipe import Loss
from tolerances import DTYPES, TOLERANCES, worst
from toys import ethanol, silicon, tiny_pet

EXACT = TOLERANCES[torch.float64]
HEADS = {"energy": 1, "dipole": 3}


def dipole(atoms, **options):
    atoms.calc = PETCalculator(tiny_pet(heads=HEADS), **options)
    return atoms.get_dipole_moment()


def shifted(atoms, by):
    atoms = atoms.copy()
    atoms.positions += by
    return atoms


# What is exact


@pytest.mark.parametrize("dtype", DTYPES)
def test_dipole_is_the_sum_of_the_vectors_of_the_atoms(dtype):
    model = tiny_pet(heads=HEADS)
    dipoles = dipole(ethanol(), dtype=str(dtype).removeprefix("torch."))
    expected = model.predict(local_toys.batch([ethanol()], model.cutoff), ("dipole",))[
        "dipole"
    ].sum(0)
    assert (dipoles.shape, dipoles.dtype) == ((3,), np.float64)
    assert worst(dipoles, expected.detach()) < TOLERANCES[dtype]["same"]


def test_dipole_does_not_change_when_the_molecule_is_moved():
    assert worst(dipole(shifted(ethanol(), [7.0, -80.0, 0.3])), dipole(ethanol())) < 1e-10


def test_dipole_does_not_depend_on_the_order_of_the_atoms():
    order = np.random.default_rng(0).permutation(len(ethanol()))
    assert worst(dipole(ethanol()[order]), dipole(ethanol())) < EXACT["same"]


def test_dipoles_of_distant_molecules_add_up():
    other = shifted(molecule("CH3OH"), [20.0, 0, 0])
    assert worst(dipole(ethanol() + other), dipole(ethanol()) + dipole(other)) < EXACT["same"]


def test_dipoles_of_a_batch_are_those_of_single_molecules():
    frames = [ethanol(), molecule("CH3OH"), Atoms("O"), molecule("CO")]
    rows = PETCalculator(tiny_pet(heads=HEADS)).evaluate(frames, ("dipole",))
    assert (
        worst([row["dipole"] for row in rows], [dipole(atoms) for atoms in frames]) < EXACT["same"]
    )


def test_a_box_without_periodicity_changes_nothing():
    boxed = ethanol()
    boxed.center(vacuum=6)
    assert worst(dipole(boxed), dipole(ethanol())) < 1e-10


# What is refused


@pytest.mark.parametrize(
    "pbc", [(True, False, False), (False, True, False), (False, False, True), True]
)
def test_structures_with_a_periodic_direction_are_refused(pbc):
    atoms = ethanol()
    atoms.center(vacuum=6)
    atoms.pbc = pbc
    with pytest.raises(
        PropertyNotImplementedError, match="without periodic directions: this one is periodic"
    ):
        dipole(atoms)
    assert np.isfinite(atoms.get_potential_energy())


def test_the_periodic_structures_of_a_batch_are_named():
    with pytest.raises(PropertyNotImplementedError, match=r"periodic \(structures \[1\]\)"):
        PETCalculator(tiny_pet(heads=HEADS)).evaluate([ethanol(), silicon()], ("dipole",))


def test_charged_molecules_are_refused():
    calc, ion = PETCalculator(tiny_pet("conditioning", heads=HEADS)), ethanol()
    ion.info["charge"] = 1
    with pytest.raises(PropertyNotImplementedError, match="this one is charged"):
        calc.get_property("dipole", ion)
    ion.info["charge"] = 0
    assert calc.get_property("dipole", ion).shape == (3,)


@pytest.mark.parametrize("heads", [{"energy": 1}, {"energy": 1, "dipole": 1}])
def test_models_without_the_head_have_no_dipole(heads):
    calc = PETCalculator(tiny_pet(heads=heads))
    assert "dipole" not in calc.implemented_properties
    with pytest.raises(
        PropertyNotImplementedError, match="dipole: this calculator supports energies, energy"
    ):
        calc.get_property("dipole", ethanol())


# One run of the model


@pytest.mark.parametrize(
    "names", [("energy", "dipole"), ("dipole",), ("forces", "dipole"), ("dipole", "forces")]
)
def test_one_run_returns_all_properties(names, monkeypatch):
    calc = PETCalculator(tiny_pet(heads=HEADS))
    calls, predict = [], calc.model.predict
    monkeypatch.setattr(
        calc.model, "predict", lambda graph, heads: calls.append(heads) or predict(graph, heads)
    )
    calc.calculate(ethanol(), names)
    assert calls == [("energy", "dipole")]
    alone = PETCalculator(tiny_pet(heads=HEADS))
    for name in ("energy", *names):
        assert worst(calc.results[name], alone.get_property(name, ethanol())) < EXACT["same"]


def test_dipole_comes_with_uncertainties_and_with_direct_forces():
    heads = {**HEADS, "non_conservative_forces": 3}
    calc = PETCalculator(
        tiny_pet(heads=heads, uncertainties={"energy": 4}), non_conservative="forces"
    )
    calc.calculate(ethanol(), ("dipole", "forces", "energy_uncertainty"))
    assert (
        worst(
            calc.results["dipole"],
            calc.model.predict(local_toys.batch([ethanol()], calc.cutoff), ("dipole",))[
                "dipole"
            ].sum(0),
        )
        < EXACT["same"]
    )


def test_dipole_survives_the_calculator_folder(tmp_path):
    model = tiny_pet(heads=HEADS)
    model.scales = {"dipole": 0.2}
    store.save(tmp_path / "toy", model, store.Card("toy", dtype="float64"))
    assert (
        worst(
            PETCalculator(tmp_path / "toy").get_property("dipole", ethanol()),
            PETCalculator(model).get_property("dipole", ethanol()),
        )
        < EXACT["same"]
    )


# Symmetrised models

MATRICES = rotations.random_orthogonal(4, torch.Generator().manual_seed(2))
CUBE = rotations.with_inversion(rotations.octahedral())[[5, 17, 33]]


@pytest.mark.parametrize("name", ["ethanol", "chiral", "water", "CO2 165"])
@pytest.mark.parametrize(
    ("symmetrise", "matrices"), [("ecse", MATRICES), ("group:O:aligned", CUBE), ("none", MATRICES)]
)
def test_dipoles_of_symmetrised_models_rotate_with_the_molecule(name, symmetrise, matrices):
    calc = PETCalculator(local_toys.local_pet(heads=HEADS), symmetrise=symmetrise)
    atoms = local_toys.STRUCTURES[name]()
    frames = [atoms, *(local_toys.rotated(atoms, matrix) for matrix in matrices.numpy())]
    first, *others = [row["dipole"] for row in calc.evaluate(frames, ("dipole",))]
    expected = [matrix @ first for matrix in matrices.numpy()]
    assert (worst(others, expected) < 1e-11) == (symmetrise != "none")


@pytest.mark.parametrize("name", ["CO2", "C2H2", "N2", "C6H6", "CH4", "C2H4"])
def test_molecules_whose_symmetry_allows_no_dipole_have_none(name):
    model = local_toys.local_pet(heads=HEADS)
    plain, symmetrised = (
        np.linalg.norm(PETCalculator(model, symmetrise=kind).get_property("dipole", molecule(name)))
        for kind in ("none", "ecse")
    )
    assert symmetrised < 1e-11 * plain


def test_dipoles_of_straight_molecules_lie_on_their_axis():
    calc, atoms = (
        PETCalculator(local_toys.local_pet(heads=HEADS), symmetrise="ecse"),
        molecule("HCN"),
    )
    atoms.rotate(50, (1, 2, 3))
    axis = atoms.positions[2] - atoms.positions[0]
    actual = calc.get_property("dipole", atoms)
    assert np.linalg.norm(np.cross(actual, axis)) < 1e-12 * np.linalg.norm(actual) * np.linalg.norm(
        axis
    )
    assert np.linalg.norm(actual) > 0.1


# Training

RECIPE = """
name = "water"
model = "pet"
dtype = "float64"
device = "cpu"
[settings]
species = ["H", "O"]
heads = {heads}
cutoff = 4.0
d_pet = 32
d_node = 32
d_head = 32
d_feedforward = 32
num_heads = 2
num_gnn_layers = 1
num_attention_layers = 1
featurizer_type = "residual"
[data]
files = ["water.extxyz"]
[loss]
{loss}
[optimiser]
epochs = {epochs}
batch_size = 4
learning_rate = 0.02
ema = 0.95
"""
CHARGES = {1: 0.35, 8: -0.7}  # e


def waters(count=20):
    """Distorted water molecules with the energies of springs and the dipoles of fixed charges."""
    generator, frames = np.random.default_rng(3), []
    for k in range(count):
        atoms = molecule("H2O")
        atoms.positions += generator.normal(0, 0.1, (3, 3))
        vector = np.array([CHARGES[z] for z in atoms.numbers]) @ atoms.positions
        energy = sum((atoms.get_distance(0, hydrogen) - 1) ** 2 for hydrogen in (1, 2))
        atoms.calc = SinglePointCalculator(atoms, energy=energy, dipole=vector)
        atoms.info["split"] = ("train", "train", "train", "val", "test")[k % 5]
        frames.append(atoms)
    return frames


@pytest.fixture
def recipe(tmp_path):
    """Function that writes a recipe and its data, and returns its path."""

    def write(
        frames, heads="{energy = 1, dipole = 3}", loss="dipole = 1.0\nforces = 0.0", epochs=2
    ):
        ase.io.write(tmp_path / "water.extxyz", frames)
        path = tmp_path / "recipe.toml"
        path.write_text(RECIPE.format(heads=heads, loss=loss, epochs=epochs))
        return path

    return write


class Charges(AtomisticModel):
    """Covariant model: energies of springs, dipoles of charges shared between bonded atoms."""

    def __init__(self):
        super().__init__(None, 4.0, (1, 8))

    def predict(self, graph, names):
        charges = graph.pair_vectors.new_tensor([0, *[CHARGES.get(z, 0) for z in range(1, 9)]])[
            graph.numbers
        ]
        spread = (
            charges[graph.pair_neighbour] - charges[graph.pair_centre]
        )  # of a neutral molecule of n atoms
        atoms = torch.bincount(graph.structure)[graph.structure[graph.pair_centre]]
        zeros = graph.pair_vectors.new_zeros(graph.n_atoms, 3)
        vectors = zeros.index_add(
            0, graph.pair_centre, graph.pair_vectors * (spread / atoms)[:, None]
        )
        return {
            "energy": vectors.new_zeros(graph.n_atoms, 1) + 0 * graph.pair_vectors.sum(),
            "dipole": vectors,
        }


def test_labels_rotate_with_the_molecule():
    samples = [data.sample(atoms, (1, 8), 4.0, "", dipole=True) for atoms in waters()]
    generator = torch.Generator().manual_seed(0)
    plain, rotated = (data.collate(samples, torch.float64, "cpu", g) for g in (None, generator))
    assert worst(rotated.dipole, plain.dipole) > 0.1
    for batch in (plain, rotated):
        assert (
            worst(Evaluation(Charges(), batch.graph).heads.dipole, batch.dipole) < EXACT["derived"]
        )


def test_training_lowers_the_errors_of_dipoles(recipe, tmp_path):
    metrics = train(
        recipe(waters(), loss="dipole = 1.0\nenergy = 0.1\nforces = 0.0", epochs=50),
        tmp_path / "run",
    )
    for split in ("train", "test"):
        assert metrics[split]["dipole"]["rmse"] < 0.5 * metrics[split]["dipole"]["rms"]
    calc, frames = (
        PETCalculator(tmp_path / "run"),
        [atoms for atoms in waters() if atoms.info["split"] == "test"],
    )
    errors = [
        row["dipole"] - atoms.get_dipole_moment()
        for row, atoms in zip(calc.evaluate(frames, ("dipole",)), frames, strict=True)
    ]
    reported = metrics["test"]["dipole"]  # of labels with 8 digits
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(reported["rmse"], rel=1e-5)
    assert np.mean(np.abs(errors)) == pytest.approx(reported["mae"], rel=1e-5)
    assert (
        "dipole components RMSE / MAE (e A) | (D)" in (tmp_path / "run" / "README.md").read_text()
    )


def test_molecules_without_a_dipole_are_used_for_their_energies(recipe, tmp_path):
    frames = waters()
    for atoms in frames[::2]:
        del atoms.calc.results["dipole"]
    metrics = train(recipe(frames), tmp_path / "run")
    assert np.isfinite(metrics["train"]["dipole"]["rmse"])
    assert metrics["train"]["structures"] == 12


def test_only_known_dipoles_count():
    samples = [data.sample(atoms, (1, 8), 4.0, "", dipole=True) for atoms in waters(4)]
    samples[1].dipole[:] = np.nan
    model, weights = tiny_pet(heads=HEADS), Loss(energy=0, forces=0, stress=0, dipole=1, huber=100)
    batches = [
        data.collate(chosen, torch.float64, "cpu")
        for chosen in (samples, [samples[0], *samples[2:]])
    ]
    known, part = (
        weighted_loss(evaluation(model, batch, training=True), batch, {"dipole": 0.5}, weights)
        for batch in batches
    )
    assert known.item() == pytest.approx(part.item(), rel=1e-12)
    known.backward()
    assert model.node_last_layers["dipole"][0].weight.grad.isfinite().all()


def test_labels_are_left_alone_where_no_dipole_is_trained(recipe, tmp_path):
    metrics = train(recipe(waters(), heads="{energy = 1}", loss="forces = 0.0"), tmp_path / "run")
    assert "dipole" not in metrics["train"]
    assert "(D)" not in report.errors_table(metrics)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"heads": "{energy = 1}"},
            r"`dipole` is 1.0, but the model has no such head: heads = {energy = 1, dipole = 3}",
        ),
        ({"loss": ""}, "`dipole` is 0.0: expected more than 0, as the model has a head for it"),
        ({"heads": "{energy = 1, dipole = 1}"}, "`heads.dipole` is 1: expected 3 components"),
    ],
)
def test_recipes_that_would_not_train_dipoles_are_refused(recipe, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        train(recipe(waters(), **changes), tmp_path / "run")


def test_labels_without_a_meaning_are_refused(recipe, tmp_path):
    frames = waters()
    frames[2].set_cell([9, 9, 9])
    frames[2].pbc = [True, False, False]
    with pytest.raises(
        ValueError,
        match="structure 2: `dipole` of a periodic structure: expected neutral molecules",
    ):
        train(recipe(frames), tmp_path / "run")
    frames = waters()
    frames[4].info["charge"] = -1
    with pytest.raises(ValueError, match="structure 4: `dipole` of a charged structure"):
        train(recipe(frames), tmp_path / "run")


def test_training_without_any_label_is_refused(recipe, tmp_path):
    frames = waters()
    for atoms in frames:
        del atoms.calc.results["dipole"]
    with pytest.raises(ValueError, match="no structure of the split 'train' has a `dipole`"):
        train(recipe(frames), tmp_path / "run")
