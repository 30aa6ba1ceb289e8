"""Training: recipes, data, bit-exact resumption, and written files."""

import dataclasses
import json
import lzma
import re
import subprocess
import sys
import tomllib

import ase.io
import numpy as np
import pytest
import tomli_w
import torch
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from typer.testing import CliRunner

from argon import structures, uninterrupted_and_resumed
from ase_pet import PETCalculator, plugins, store
from ase_pet.cli import app
from ase_pet.evaluation import Evaluation
from ase_pet.models.base import AtomisticModel
from ase_pet.train import data, files, read, repulsion, run, template, train
from ase_pet.train.loss import weighted_loss
from ase_pet.train.recipe import Optimiser
from paths import ROOT


@pytest.mark.parametrize("method", ["muon", pytest.param("adam", marks=pytest.mark.slow)])
def test_training_lowers_the_errors(recipe, tmp_path, method):
    metrics = train(recipe(60, method), tmp_path / "run")
    assert metrics["train"]["forces"]["rmse"] < 0.8 * metrics["train"]["forces"]["rms"]
    assert metrics["test"]["structures"] == 2


def test_what_is_written(recipe, tmp_path):
    metrics = train(recipe(), tmp_path / "run")
    folder = tmp_path / "run"
    written = {path.name for path in folder.iterdir()}
    assert written >= {
        "README.md",
        "calculator.toml",
        "weights.safetensors",
        "recipe.toml",
        "metrics.json",
        "learning_curve.png",
        "parity.png",
        "history.jsonl",
        "state.pt",
    }
    assert json.loads((folder / "metrics.json").read_text()) == metrics
    assert "Argon for a test." in (folder / "README.md").read_text()
    calculator = PETCalculator(folder)
    frames = [atoms for atoms in structures() if atoms.info["split"] == "test"]
    results = calculator.evaluate(frames, ("energy", "forces"))
    errors = np.concatenate(
        [(r["forces"] - a.get_forces()).ravel() for a, r in zip(frames, results, strict=True)]
    )
    assert np.sqrt(np.mean(errors**2)) == pytest.approx(metrics["test"]["forces"]["rmse"], rel=1e-4)
    energy = [
        (r["energy"] - a.get_potential_energy()) / 4 for a, r in zip(frames, results, strict=True)
    ]
    assert np.sqrt(np.mean(np.square(energy))) == pytest.approx(
        metrics["test"]["energy"]["rmse"], rel=1e-3
    )


def test_a_resumed_run_reaches_the_same_weights(recipe, tmp_path):
    folders = uninterrupted_and_resumed(recipe(4), tmp_path)
    uninterrupted, stopped = ((folder / "weights.safetensors").read_bytes() for folder in folders)
    assert uninterrupted == stopped
    histories = [
        [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
        for folder in folders
    ]
    for one, other in zip(
        *histories, strict=True
    ):  # energies but for the rounding of a least-squares fit
        assert {**one, "val": None, "score": None} == {**other, "val": None, "score": None}
        assert one["score"] == pytest.approx(other["score"], rel=1e-12)


def test_a_killed_process_resumes_to_the_same_weights(recipe, tmp_path):
    path = recipe(6)
    train(path, tmp_path / "uninterrupted")
    code = (
        "import os, sys; from ase_pet.train import train\ntrain(sys.argv[1], sys.argv[2],"
        " on_record=lambda r: r['epoch'] == 3 and os.kill(os.getpid(), 9))"
    )
    killed = subprocess.run([sys.executable, "-c", code, path, tmp_path / "killed"], timeout=600)
    assert killed.returncode == -9
    train(path, tmp_path / "killed", resume=True)
    assert (tmp_path / "uninterrupted/weights.safetensors").read_bytes() == (
        tmp_path / "killed/weights.safetensors"
    ).read_bytes()


def test_a_run_is_not_overwritten_nor_resumed_with_another_recipe(recipe, tmp_path):
    path = recipe()
    train(path, tmp_path / "run")
    with pytest.raises(ValueError, match="holds an unfinished or finished run"):
        train(path, tmp_path / "run")
    with pytest.raises(
        ValueError, match="differs from .*, in optimiser.learning_rate: resume with"
    ):
        train(recipe(epochs=9, rate=0.02), tmp_path / "run", resume=True)
    with pytest.raises(ValueError, match="`epochs` is 1, but the run has done 3"):
        train(recipe(epochs=1), tmp_path / "run", resume=True)
    train(recipe(epochs=4), tmp_path / "run", resume=True)
    history = (tmp_path / "run/history.jsonl").read_text().splitlines()
    assert json.loads(history[-1])["epoch"] == 4


def test_a_file_listed_twice_counts_twice_in_training_only(recipe, tmp_path):
    path = recipe()
    once = data.read(read(path), (18,), 5.0)
    name = json.dumps(read(path).data.files[0])
    path.write_text(path.read_text().replace(name, f"{name}, {name}"))
    twice = data.read(read(path), (18,), 5.0)
    assert {split: len(samples) for split, samples in twice.items()} == {
        split: len(samples) * (2 if split == "train" else 1) for split, samples in once.items()
    }


def test_start_from_another_calculator(recipe, tmp_path):
    train(recipe(), tmp_path / "first")
    text = recipe().read_text()
    second = tmp_path / "second.toml"
    second.write_text('start = "first"\n' + text)
    trainer = run.prepare(read(second), tmp_path, "cpu")
    first, _ = store.load(tmp_path / "first")
    for name, value in trainer.model.state_dict().items():
        assert torch.equal(first.state_dict()[name], value)
    second.write_text('start = "first"\n' + text.replace("d_head = 8", "d_head = 6"))
    with pytest.raises(ValueError, match="another model, other species or other sizes"):
        run.prepare(read(second), tmp_path, "cpu")


def test_start_with_a_repulsion_that_the_first_has_not(recipe, tmp_path):
    """Settings without weights may differ."""
    train(recipe(), tmp_path / "first")
    second = tmp_path / "second.toml"
    second.write_text(
        'start = "first"\n' + recipe().read_text().replace("d_head = 8", "d_head = 8\nzbl = true")
    )
    model = run.prepare(read(second), tmp_path, "cpu").model
    first, _ = store.load(tmp_path / "first")
    assert model.settings.zbl
    assert not first.settings.zbl
    for name, value in model.state_dict().items():
        assert torch.equal(first.state_dict()[name], value)


def test_the_repulsion_of_nuclei_is_not_to_be_learned(recipe, tmp_path):
    """Labels of the repulsion plus 3 eV per atom leave only a composition energy of 3 eV."""
    path = tmp_path / "repelled.toml"
    path.write_text(recipe().read_text().replace("d_head = 8", "d_head = 8\nzbl = true"))
    trainer = run.prepare(read(path), tmp_path, "cpu")
    assert trainer.composition[18] == pytest.approx(
        run.prepare(read(recipe()), tmp_path, "cpu").composition[18], abs=1e-9
    )
    nearer = [atoms for atoms in structures() if atoms.info["split"] == "train"]
    samples = []
    for atoms in nearer:
        atoms.set_cell(0.4 * atoms.cell, scale_atoms=True)
        atoms.calc = SinglePointCalculator(atoms, energy=0.0, forces=np.zeros((len(atoms), 3)))
        samples.append(data.sample(atoms, (18,), trainer.model.cutoff, ""))
    repelled = Evaluation(
        repulsion.Repulsion(trainer.model), data.collate(samples, torch.float64, "cpu").graph
    )
    assert repelled.energy.min() > 1
    ends = np.cumsum([len(atoms) for atoms in nearer])
    for sample, energy, forces in zip(
        samples, repelled.energy, np.split(repelled.forces.numpy(), ends[:-1]), strict=True
    ):
        sample.energy, sample.forces = float(energy) + 3 * len(sample.structure), forces
    left = list(repulsion.without_repulsion(trainer.model, samples))
    assert max(abs(sample.energy - 3 * len(sample.structure)) for sample in left) < 1e-9
    assert max(np.abs(sample.forces).max() for sample in left) < 1e-9


def test_targets_rotate_with_the_structure():
    """A rotated batch of a rotation-invariant model has the same errors as the batch that was
    not rotated.
    """

    class Springs(AtomisticModel):
        def forward(self, graph):
            energy = (graph.pair_vectors.square().sum(-1).sqrt() - 3.7).square()
            return energy.new_zeros(graph.n_atoms).index_add(0, graph.pair_centre, energy)

    samples = [data.sample(atoms, (18,), 5.0, "") for atoms in structures(3)]
    generator = torch.Generator().manual_seed(0)
    plain, rotated = (data.collate(samples, torch.float64, "cpu", g) for g in (None, generator))
    assert not torch.allclose(plain.graph.pair_vectors, rotated.graph.pair_vectors)
    errors = []
    for batch in (plain, rotated):
        results = Evaluation(Springs(None, 5.0, (18,)), batch.graph)
        errors.append(
            [
                ((results.forces - batch.forces) ** 2).sum(),
                ((results.virial - batch.virial) ** 2).sum(),
            ]
        )
    assert torch.allclose(torch.tensor(errors[0]), torch.tensor(errors[1]), rtol=1e-12)


def test_structures_without_forces_or_stress_are_used_for_their_energies(recipe, tmp_path):
    path = recipe()
    frames = structures()
    for atoms in frames[::2]:
        atoms.calc = SinglePointCalculator(atoms, energy=atoms.calc.results["energy"])
    ase.io.write(tmp_path / "argon.extxyz", frames)
    metrics = train(path, tmp_path / "run")
    assert np.isfinite(metrics["train"]["energy"]["rmse"])


def test_composition_energies_by_least_squares():
    numbers = [np.array([1, 1, 8]), np.array([8, 8]), np.array([1, 6, 6, 8])]
    energies = [-2 * 3.0 - 5.0, -10.0, -3.0 - 14.0 - 5.0]
    actual = data.fit_composition(numbers, energies, (1, 6, 8))
    assert actual == pytest.approx({1: -3.0, 6: -7.0, 8: -5.0})


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('model = "pet"', 'model = "pte"', "valid choices are.*pet"),
        ('model = "pet"', "", "lacks model"),
        ("cutoff = 5.0", "cutof = 5.0", r"unknown key 'cutof' \(did you mean `cutoff`\?\)"),
        ('species = ["Ar"]', 'species = ["Xx"]', "Xx, which is no element"),
        ('species = ["Ar"]', "", "`species` is missing"),
        ("epochs = 3", "epochs = 0", "`epochs` is 0: expected a whole number above 0"),
        ('method = "muon"', 'method = "sgd"', "valid choices are muon, adam"),
        ("argon.extxyz", "krypton.extxyz", "there is no data file"),
        ('name = "argon"', "name = argon", "is not TOML"),
        ("d_pet = 8", "d_pet = 7", "multiple of `num_heads`"),
    ],
)
def test_a_bad_recipe_is_one_clear_error(recipe, tmp_path, old, new, message):
    path = recipe()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ValueError, match=message):
        train(path, tmp_path / "run")


@pytest.mark.parametrize(
    ("table", "line", "message"),
    [
        (
            "optimiser",
            "epoch = 5",
            r"\[optimiser\]: unknown key 'epoch' \(did you mean `epochs`\?\)",
        ),
        ("optimiser", "ema = 1.5", "`ema` is 1.5: expected a number, 0 or more, at most 1$"),
        (
            "optimiser",
            'batch_size = "8"',
            "`batch_size` is '8': expected a whole number above 0, at m",
        ),
        (
            "loss",
            "energy = -1.0",
            r"\[loss\]: `energy` is -1.0: expected a number, 0 or more, at most 1e6$",
        ),
        ("loss", "huber = nan", "`huber` is nan: expected a number above 0, at most 1e6$"),
        (
            "data",
            "limit = 0",
            r"\[data\]: `limit` is 0: expected a whole number above 0, at most 1e7$",
        ),
        ("optimiser", "learning_rate = 1e6", "`learning_rate` is 1000000.0: .*at most 1$"),
        ("optimiser", "learning_rate = nan", "`learning_rate` is nan: expected a number above 0"),
        ("optimiser", "learning_rate = -0.1", "`learning_rate` is -0.1: expected a number above 0"),
        ("optimiser", "ema = 2", "`ema` is 2: expected a number, 0 or more, at most 1$"),
        ("optimiser", "epochs = 1.5", "`epochs` is 1.5: expected a whole number above 0"),
        ("optimiser", "epochs = true", "`epochs` is True: expected a whole number above 0"),
        ("optimiser", "epochs = 10000000000", "`epochs` is 10000000000: .*at most 1e7$"),
        ("optimiser", "batch_size = 0", "`batch_size` is 0: expected a whole number above 0"),
        ("optimiser", "batch_size = -4", "`batch_size` is -4: expected a whole number above 0"),
        ("optimiser", "warmup_epochs = -1", "`warmup_epochs` is -1: expected a number, 0 or more"),
        ("optimiser", "final_rate = 2.0", "`final_rate` is 2.0: .*, 0 or more, at most 1$"),
        ("optimiser", "weight_decay = inf", "`weight_decay` is inf: .*, 0 or more, at most 10$"),
        ("optimiser", "gradient_clip = 0.0", "`gradient_clip` is 0.0: expected a number above 0"),
        ("optimiser", "validate_every = 0", "`validate_every` is 0: expected a whole number"),
        ("loss", "forces = nan", "`forces` is nan: expected a number, 0 or more"),
        ("loss", "stress = inf", "`stress` is inf: expected a number, 0 or more"),
        ("loss", "dipole = -2.0", "`dipole` is -2.0: expected a number, 0 or more"),
        ("loss", "energy = 0.0\nforces = 0.0\nstress = 0.0", "all weights are 0: there is nothing"),
        ("data", "split_key = ''", "`split_key` is '': expected a string, not empty$"),
        ("data", "files = ['']", r"`files` is \('',\): expected a list of strings"),
        ("keys", "energy = 1", r"\[keys\]: `energy` is 1: expected a string"),
        ("settings", "species = 14", r"`species` is 14: expected a list of symbols or atomic numb"),
        ("settings", "species = 'Ar'", "`species` is 'Ar': expected a list of symbols"),
        ("settings", "species = [18.5]", r"`species` is \[18.5\]: expected a list of symbols"),
        ("settings", "species = [true]", r"`species` is \[True\]: expected a list of symbols"),
        ("settings", "species = []", r"`species` is \[\]: expected a list of symbols"),
        ("settings", "species = ['Xq']", "`species` holds Xq, which is no element"),
        ("data", "train = [1]", r"\[data\]: `train` is \(1,\): expected a list of strings$"),
    ],
)
def test_a_bad_key_of_a_table_is_one_clear_error(recipe, table, line, message):
    path = recipe()
    content = tomllib.loads(path.read_text())
    content[table] = {**content.get(table, {}), **tomllib.loads(line)}
    path.write_text(tomli_w.dumps(content))
    with pytest.raises(ValueError, match=message) as caught:
        read(path)
    assert "\n" not in str(caught.value)


def test_a_bad_choice_is_one_clear_error(recipe):
    path = recipe()
    path.write_text('dtype = "half"\n' + path.read_text().replace('dtype = "float32"\n', ""))
    with pytest.raises(ValueError, match="`dtype` is 'half': valid choices are float32, float64$"):
        read(path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("seed = -1", "`seed` is -1: expected a whole number, 0 or more, below 4294967296$"),
        ("draws = 0", "`draws` is 0: expected a whole number above 0, at most 1000$"),
        ("dtype = 'float16'", "`dtype` is 'float16': valid choices are float32, float64$"),
        ("name = ''", "`name` is '': expected a string, not empty, at most 200 characters$"),
        (r'name = "a\u001b]0;b"', r"`name` is 'a.x1b.0;b': expected a string"),
        ("loss = 3", r"\[loss\] is 3: expected a table"),
        ("settings = []", r"`settings` is \[\]: expected a table"),
    ],
)
def test_a_bad_key_of_a_recipe_is_one_clear_error(recipe, line, message):
    path = recipe()
    content = {**tomllib.loads(path.read_text()), **tomllib.loads(line)}
    path.write_text(tomli_w.dumps(content))
    with pytest.raises(ValueError, match=message):
        read(path)


def test_a_byte_order_mark_is_no_key(recipe):
    path = recipe()
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read(path).name == "argon"


def test_a_symmetriser_that_does_not_exist_is_refused_before_the_training(recipe, tmp_path):
    path = recipe()
    path.write_text('symmetrise = "esce"\n' + path.read_text())
    with pytest.raises(ValueError, match="`symmetrise` is 'esce': valid choices are"):
        train(path, tmp_path / "run")


def test_the_template_is_a_recipe(tmp_path):
    """As it is, and with every key uncommented."""
    path = tmp_path / "recipe.toml"
    path.write_text(template.template())
    assert read(path).name == "silicon"
    every_key = re.sub(r"^# (\w+ = )", r"\1", template.template(), flags=re.MULTILINE)
    path.write_text(every_key)
    full = read(path)
    assert full.data.limit == 1000
    lengths = {"batch_atoms": None, "updates": None, "patience": None, "time_limit": None}
    assert dataclasses.replace(full.optimiser, **lengths) == Optimiser()
    assert full.settings["num_heads"] == 8
    assert full.settings["heads"] == {"energy": 1}


@pytest.mark.parametrize("model", ["pet", "ponita"])
def test_the_template_has_all_settings_of_a_model(model):
    text = template.template(model)
    names = {
        field.name for field in dataclasses.fields(plugins.load("ase_pet.models", model).Settings)
    }
    settings = text[text.index("[settings]") : text.index("[data]")]
    assert set(re.findall(r"^(?:# )?(\w+) = ", settings, flags=re.MULTILINE)) == names


def test_the_template_explains_the_settings_of_a_model():
    text = template.template("pet")
    assert "# cutoff = 4.5  # A\n" in text
    assert "# number of neighbours; not given: the cutoff is fixed\n" in text
    text = template.template("ponita")
    assert "# A, distance from an axis below which b is smooth" in text
    assert max(map(len, text.splitlines())) <= template.WIDTH


def test_the_documented_keys_are_those_of_the_schema():
    page = ROOT / "docs" / "reference" / "recipe.md"
    text = page.read_text(encoding="utf-8")
    assert template.markdown() in text
    assert all(template.settings_markdown(name) in text for name in ("pet", "ponita", "mace"))


def test_bad_data_name_the_file_and_the_structure(recipe, tmp_path):
    path = recipe()
    frames = structures()
    frames[4].info["split"] = "valid"
    ase.io.write(tmp_path / "argon.extxyz", frames)
    with pytest.raises(ValueError, match="structure 4: `split` is 'valid'"):
        train(path, tmp_path / "run")
    frames[4].info["split"] = "val"
    frames[2].numbers[0] = 36
    ase.io.write(tmp_path / "argon.extxyz", frames)
    with pytest.raises(ValueError, match="structure 2: unsupported element Kr"):
        train(path, tmp_path / "run")


def test_the_energy_loss_ignores_composition_energies():
    samples = [data.sample(atoms, (18,), 5.0, "") for atoms in structures(4)]
    for sample in samples:
        sample.energy += 7 * 4
    label_rms, weights = {"energy": 1.0, "forces": 1.0, "stress": 1.0}, read_weights()
    torch.manual_seed(0)
    from ase_pet.models import pet

    model = pet.Model(
        pet.Settings(species=(18,), cutoff=5.0, d_pet=8, d_node=8, num_heads=2)
    ).double()
    values = []
    for shift in (0.0, 11.0):
        batch = data.collate(samples, torch.float64, "cpu")
        batch.energy = batch.energy + shift * batch.n_atoms
        values.append(
            weighted_loss(
                Evaluation(model, batch.graph, training=True), batch, label_rms, weights
            ).item()
        )
    assert values[0] == pytest.approx(values[1], rel=1e-10)


def read_weights():
    from ase_pet.train.recipe import Loss

    return Loss(huber=100.0)


def test_the_command_line_trains_and_evaluates(recipe, tmp_path):
    """Training as a process of its own, as a user starts it."""
    path = recipe(1)
    done = subprocess.run(
        [sys.executable, "-m", "ase_pet", "train", path, "--output", tmp_path / "run", "--json"],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    metrics = json.loads(done.stdout)
    arguments = ["eval", tmp_path / "run", tmp_path / "argon.extxyz", "--split", "test", "--json"]
    done = CliRunner().invoke(app, [*map(str, arguments)])
    report = json.loads(done.stdout)
    assert report["forces"]["rmse"] == pytest.approx(
        1e3 * metrics["test"]["forces"]["rmse"], rel=1e-4
    )


def test_the_command_line_refuses_a_recipe_that_is_not_there(tmp_path):
    arguments = ["train", tmp_path / "none.toml", "--output", tmp_path / "run"]
    done = CliRunner().invoke(app, [*map(str, arguments)])
    assert isinstance(done.exception, ValueError)
    assert "none.toml" in str(done.exception)
    assert not (tmp_path / "run").exists()


def test_a_compressed_file_is_decompressed_once(tmp_path, monkeypatch):
    """ASE seeks backwards for each structure, which restarts decompression of a compressed file."""
    frames = [Atoms("Ar", positions=[[k, 0, 0]]) for k in range(3)]
    ase.io.write(tmp_path / "plain.xyz", frames, format="extxyz")
    path = tmp_path / "packed.xyz.xz"
    path.write_bytes(lzma.compress((tmp_path / "plain.xyz").read_bytes()))

    def fail(*arguments):
        raise AssertionError("went back")

    monkeypatch.setattr(lzma.LZMAFile, "seek", fail)
    assert files.structures(path) == files.structures(tmp_path / "plain.xyz") == frames
    assert files.structures(path, -1) == frames[-1]
