"""Last-layer uncertainties of models trained here: features, fit, training, command, selection."""

import json

import ase.io
import numpy as np
import pytest
import torch
import typer.testing
from ase import Atoms
from ase.build import bulk

from argon import structures
from ase_pet import Committee, PETCalculator, TooUncertain, cli, store
from ase_pet.models import mace
from ase_pet.train import train
from ase_pet.uncertainty import calibration, last_layer, selection
from ase_pet.uncertainty_policy import UncertaintyPolicy
from ponita_toys import tiny_ponita
from tolerances import TOLERANCES, worst
from toys import ethanol, silicon, tiny_pet

EXACT = TOLERANCES[torch.float64]


def tiny_mace():
    torch.manual_seed(0)
    sizes = {"width": 4, "degree": 1, "radial_widths": (4,), "readout_width": 3, "num_bessel": 3}
    settings = mace.Settings(species=(1, 6, 8, 14), cutoff=4.0, **sizes)
    return mace.Model(settings).double().requires_grad_(False)


def pet_weights(model):
    layers = zip(model.node_last_layers["energy"], model.edge_last_layers["energy"], strict=True)
    return [layer.weight for pair in layers for layer in pair]


def ponita_weights(model):
    return [layer.weight for layer in model.last_layers["energy"]]


def mace_weights(model):
    return [readout.last.weight.T for readout in model.readouts.values()]


MODELS = {
    "pet": (lambda: tiny_pet("residual"), pet_weights),
    "pet feedforward": (tiny_pet, pet_weights),
    "ponita": (tiny_ponita, ponita_weights),
    "mace": (tiny_mace, mace_weights),
}


CLOSE = pytest.mark.filterwarnings("ignore:structure .* closer than in training")


def run(*arguments):
    """Result of a command, run in this process."""
    return typer.testing.CliRunner().invoke(cli.app, list(map(str, arguments)))


@pytest.mark.parametrize("name", MODELS)
def test_energies_are_linear_in_the_features(name):
    make, weights = MODELS[name]
    model = make()
    atoms = ethanol()
    before = PETCalculator(model, dtype="float64").get_potential_energies(atoms)
    features = PETCalculator(model, dtype="float64").features(atoms)
    changes = []
    for k, weight in enumerate(weights(model)):
        change = torch.linspace(-1 - k, 1, weight.numel(), dtype=torch.float64)
        weight.data += change.view_as(weight)
        changes.append(change)
    after = PETCalculator(model, dtype="float64").get_potential_energies(atoms)
    expected = features @ torch.cat(changes).numpy()
    # scales and constant factors of a model are not part of the features
    factor = (after - before) @ expected / (expected @ expected)
    assert worst(after - before, factor * expected) < EXACT["derived"]


@pytest.mark.parametrize("name", MODELS)
def test_features_of_batches_copies_and_layers(name):
    calculator = PETCalculator(MODELS[name][0](), dtype="float64")
    atoms = ethanol()
    order = np.random.default_rng(0).permutation(len(atoms))
    other, single, shuffled = calculator.features([silicon(), atoms, atoms[order]])
    assert other.shape == (len(silicon()), single.shape[1])
    assert worst(shuffled, single[order]) < EXACT["derived"]
    assert worst(calculator.features(atoms), single) < EXACT["derived"]
    mean = calculator.features(atoms, of="structure")
    assert worst(mean, single.mean(0)) < EXACT["same"]
    assert len(calculator.features(atoms, layer="1")) == len(atoms)
    with pytest.raises(ValueError, match="`layer` is '9': valid choices are 1"):
        calculator.features(atoms, layer="9")
    with pytest.raises(ValueError, match="`of` is 'cell': valid choices are atoms, structure"):
        calculator.features(atoms, of="cell")


def test_symmetrised_features_are_invariant():
    plain = tiny_pet("local")
    calculator = PETCalculator(plain, dtype="float64", symmetrise="ecse")
    atoms = ethanol()
    turned = atoms.copy()
    turned.rotate(40, (1, 2, 3))
    features = calculator.features(atoms)
    assert worst(calculator.features(turned), features) < EXACT["derived"]
    with pytest.raises(ValueError, match="depend on the orientation"):
        calculator.features(atoms, layer="1")


def test_the_fit_is_the_formula():
    generator = torch.Generator().manual_seed(1)
    model = last_layer.extended(tiny_pet("residual"), members=4000)
    layer = model.uncertainty
    size = model.n_features
    training = torch.randn(50, size, generator=generator, dtype=torch.float64)
    held = torch.randn(30, size, generator=generator, dtype=torch.float64)
    errors = 0.1 * torch.randn(30, generator=generator, dtype=torch.float64)
    covariance = last_layer.Covariance(size)
    covariance.add(2 * training[:20], torch.full((20,), 2))
    covariance.add(training[20:], torch.ones(30))
    chosen = last_layer.fit(layer, covariance, held, errors)
    matrix = training.T @ training
    matrix += chosen.ridge * matrix.diagonal().mean() * torch.eye(size)
    squares = (held @ torch.linalg.inv(matrix) * held).sum(1)
    alpha = (errors.square() / squares).mean()
    # the small ridge makes the inverse less precise than the triangular system
    assert worst((alpha * squares).sqrt(), layer.deviation(held)) < EXACT["derivative"]
    z = errors / layer.deviation(held)
    assert float(z.square().mean()) == pytest.approx(1)
    assert worst(layer.members(held).std(1), layer.deviation(held)) < 0.05  # of 4000 members
    with pytest.raises(ValueError, match="1 validation structures have energies"):
        last_layer.fit(layer, covariance, held[:1], errors[:1])


@pytest.fixture(scope="module")
def argon(tmp_path_factory):
    """Folders of the same training with and without uncertainties, and the data."""
    from argon import RECIPE

    place = tmp_path_factory.mktemp("argon")
    ase.io.write(place / "argon.extxyz", structures(20))
    text = RECIPE.format(epochs=2, method="adam", rate=0.01, dtype="float64")
    for name, line in {"with": "uncertainty_members = 5", "without": "uncertainty = false"}.items():
        path = place / f"{name}.toml"
        path.write_text(f"{line}\n{text}")
        train(path, place / name)
    return place


@CLOSE
def test_training_gives_uncertainties_and_changes_no_energy(argon):
    names = ("energy", "forces", "energy_uncertainty", "energies_uncertainty")
    calculator = PETCalculator(argon / "with")
    plain = PETCalculator(argon / "without")
    frames = structures(20)
    rows = calculator.evaluate(frames, names)
    for row, same in zip(rows, plain.evaluate(frames, names[:2]), strict=True):
        assert row["energy"] == same["energy"]
        assert np.array_equal(row["forces"], same["forces"])
    assert "energy_uncertainty" not in plain.implemented_properties
    spread = calculator.get_property("forces_uncertainty", frames[0])
    assert spread.shape == (4, 3)
    assert (spread > 0).all()
    held = [k for k, atoms in enumerate(frames) if atoms.info["split"] == "val"]
    errors = [rows[k]["energy"] - frames[k].get_potential_energy() for k in held]
    sigma = [rows[k]["energy_uncertainty"] for k in held]
    assert np.mean(np.square(errors) / np.square(sigma)) == pytest.approx(1, rel=1e-6)
    content = store.read_content(argon / "with" / "calculator.toml")
    assert content["provenance"]["uncertainty"]["members"] == 5
    assert content["provenance"]["uncertainty"]["validation"] == len(held)
    assert "## Uncertainty" in (argon / "with" / "README.md").read_text()
    assert (argon / "with" / "calibration.png").exists()
    strange = bulk("Ar", "sc", a=6.0) * (1, 1, 2)
    largest = max(row["energies_uncertainty"].max() for row in rows)
    strange.calc = PETCalculator(
        argon / "with", uncertainty="stop", uncertainty_threshold=2 * largest
    )
    with pytest.raises(TooUncertain):
        strange.get_potential_energy()


@CLOSE
def test_the_command_adds_what_training_would_have(argon, tmp_path):
    data = argon / "argon.extxyz"
    out = tmp_path / "added"
    files = ("--train", data, "--validation", data)
    done = run("uncertainty", argon / "without", *files, "--output", out, "--members", 5)
    assert done.exit_code == 0, done.output
    frames = structures(20)
    names = ("energy", "energy_uncertainty", "energies_uncertainty", "forces_uncertainty")
    rows = PETCalculator(out).evaluate(frames, names)
    expected = PETCalculator(argon / "with").evaluate(frames, names)
    for row, other in zip(rows, expected, strict=True):
        assert row["energy"] == other["energy"]
        assert row["energy_uncertainty"] == pytest.approx(other["energy_uncertainty"], rel=1e-4)
    assert {"recipe.toml", "calibration.png"} <= {path.name for path in out.iterdir()}
    fitted = store.read_content(out / "calculator.toml")["provenance"]["uncertainty"]
    assert fitted["val"]["rms_z"] == pytest.approx(1, rel=1e-6)
    assert fitted["test"]["count"] == 4
    frames = ase.io.read(data, ":")
    for atoms in frames:
        del atoms.info["split"]
    ase.io.write(tmp_path / "bare.extxyz", frames)
    (tmp_path / "link.extxyz").symlink_to("bare.extxyz")
    names = ("--train", tmp_path / "bare.extxyz", "--validation", tmp_path / "link.extxyz")
    same = run("uncertainty", argon / "without", *names, "--output", tmp_path / "same")
    assert "is in --train and in --validation" in str(same.exception)
    again = run("uncertainty", argon / "without", *files, "--output", out)
    assert "exists: give the name of a new folder" in str(again.exception)
    shown = run("calibration", out, data, "--split", "test", "--forces", "--output", tmp_path)
    assert shown.exit_code == 0, shown.output
    table = json.loads((tmp_path / "calibration.json").read_text())
    assert [table[kind]["count"] for kind in ("energy", "forces")] == [4, 48]
    bad = run("calibration", argon / "without", data)
    assert "has no energy_uncertainty: `ase-pet uncertainty` adds" in str(bad.exception)


@CLOSE
def test_selection_takes_what_is_far_and_leaves_out_copies(argon, tmp_path):
    frames = structures(20)
    strange = frames[0].copy()
    strange.positions[0] += 0.8
    candidates = [*frames[:5], frames[1], strange]
    ase.io.write(tmp_path / "run.extxyz", candidates)
    ase.io.write(tmp_path / "known.extxyz", frames[:3])
    out = tmp_path / "new.extxyz"
    arguments = ("select", tmp_path / "run.extxyz", "--calculator", argon / "with", "--n", 6)
    done = run(*arguments, "--known", tmp_path / "known.extxyz", "--output", out, "--json")
    assert done.exit_code == 0, done.output
    selected = json.loads(done.stdout)["selected"]
    assert [row["index"] for row in selected][0] == 6
    assert sorted(row["index"] for row in selected) == [3, 4, 6]
    written = ase.io.read(out, ":")
    assert written[0].calc is None
    assert written[0].info["source_index"] == 6
    assert "uncertainty of an atom up to" in written[0].info["selected"]
    first = run(*arguments[:-2], "--n", 1, "--output", tmp_path / "one.extxyz")
    assert f"{tmp_path / 'run.extxyz'} 6: first one" in first.output
    assert "exists: name another file" in str(run(*arguments, "--output", out).exception)
    assert "expected a file .extxyz" in str(run(*arguments, "--output", "new.traj").exception)
    ase.io.write(tmp_path / "run.extxyz", [strange, bulk("Cu")])
    foreign = run(*arguments, "--output", tmp_path / "two.extxyz").exception
    assert "run.extxyz`, structure 1: unsupported element Cu" in str(foreign)
    with pytest.raises(ValueError, match="no candidates"):
        selection.select(PETCalculator(argon / "with"), [], 3)


def test_farthest_points():
    points = np.array([[0.0], [1.0], [4.0], [10.0], [10.0]])
    even = np.ones(5)
    chosen = selection.farthest_points(points, 9, points[:1], even)
    assert [index for index, _ in chosen] == [3, 2, 1]
    weights = np.array([1.0, 100.0, 1.0, 1.0, 1.0])
    assert selection.farthest_points(points, 1, points[:1], weights)[0][0] == 1


def test_a_committee_is_the_mean_of_its_members():
    members = [PETCalculator(tiny_pet(seed=seed)) for seed in (0, 1, 2)]
    committee = Committee(members)
    atoms = silicon()
    atoms.calc = committee
    energies = [each.get_potential_energy(atoms) for each in members]
    forces = np.array([each.get_forces(atoms) for each in members])
    assert worst(atoms.get_forces(), forces.mean(0)) < EXACT["same"]
    assert atoms.get_potential_energy() == pytest.approx(np.mean(energies))
    spread = committee.get_property("forces_uncertainty", atoms)
    assert worst(spread, forces.std(0, ddof=1)) < EXACT["same"]
    sigma = committee.get_property("energy_uncertainty", atoms)
    assert sigma == pytest.approx(np.std(energies, ddof=1))
    atoms.positions[0] += 0.05
    assert worst(atoms.get_forces(), forces.mean(0)) > 1e-4
    atoms.calc = Committee(members, uncertainty="stop", uncertainty_threshold=1e-6)
    with pytest.raises(TooUncertain):
        atoms.get_forces()
    with pytest.raises(ValueError, match="expected at least two, each once"):
        Committee([members[0], members[0]])
    with pytest.raises(ValueError, match="holds a str: expected ASE calculators"):
        Committee(["silicon", "silicon"])


def test_an_uncertainty_that_is_no_number_stops_a_run():
    policy = UncertaintyPolicy("stop", 1.0)
    policy.apply({"energies_uncertainty": np.array([0.5, 1.0])})
    with pytest.raises(TooUncertain, match="of 1 of 2 atoms is uncertain"):
        policy.apply({"energies_uncertainty": np.array([0.5, np.nan])})


def test_comparison_of_expected_and_observed_errors():
    rng = np.random.default_rng(0)
    sigma = np.exp(rng.uniform(-3, 1, 4000))
    errors = sigma * rng.normal(size=4000)
    good = calibration.compare(sigma, errors)
    assert good.rms_z == pytest.approx(1, abs=0.05)
    assert good.area < 0.02
    assert good.slope == pytest.approx(1, abs=0.05)
    ratios = [row.observed / row.expected for row in good.rows]
    assert np.abs(np.array(ratios) - 1).max() < 0.1
    optimistic = calibration.compare(sigma / 3, errors)
    assert optimistic.rms_z == pytest.approx(3 * good.rms_z)
    assert optimistic.area > 0.2
    useless = calibration.compare(np.ones(4000), errors)
    assert "slope" not in useless.as_dict()
    with pytest.raises(ValueError, match="above 0"):
        calibration.compare(np.zeros(3), np.ones(3))


def test_training_with_one_validation_structure_says_so(recipe, tmp_path):
    path = recipe(epochs=1)
    ase.io.write(tmp_path / "argon.extxyz", structures(5))
    train(path, tmp_path / "run")
    card = (tmp_path / "run" / "README.md").read_text()
    assert "## Uncertainty\n\nNone: 1 validation structures have energies" in card
    assert store.load(tmp_path / "run")[0].uncertainty is None


def test_models_that_cannot_have_uncertainties():
    from ase_pet.models import original_pet

    model = original_pet.Model(original_pet.Settings(species=(14,), n_gnn_layers=1))
    with pytest.raises(ValueError, match="for models `pet`, `ponita` and `mace`"):
        last_layer.extended(model)
    with pytest.raises(ValueError, match="no features of a last layer"):
        PETCalculator(model).features(Atoms("Si"))
