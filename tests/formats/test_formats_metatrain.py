"""PET checkpoints of metatrain against values of metatrain 2026.4.1, and our own models."""

import json

import numpy as np
import pytest
import torch
from ase import Atoms

import metatrain_files
from ase_pet import PETCalculator
from ase_pet.formats import metatrain
from paths import DATA
from tolerances import TOLERANCES, worst
from toys import SETTINGS, silicon, tiny_pet

DIRECT = (
    DATA / "pet_direct_heads"
)  # random weights; values: metatrain 2026.4.1, metatomic-ase 0.1.4
ORACLES = (
    "tiny_modern_fixed",
    "tiny_modern_adaptive_solver",
    "tiny_modern_adaptive_grid",
    "tiny_legacy_residual",
    "tiny_variants_zbl_temp",
    "tiny_conditioning",
)
WITH_DIRECT_HEADS = ("tiny_modern_adaptive_solver", "tiny_modern_adaptive_grid")
SAME = TOLERANCES[torch.float64]["derived"]
ENERGY_IN_FLOAT32 = 1e-6
FORCES_IN_FLOAT32 = 5e-6
OLD = {
    "pet": (
        "v1_trainer-v1",
        "v3_trainer-v1",
        "v6_trainer-v3",
        "v7_trainer-v5",
        "v8_trainer-v7",
        "v9_trainer-v10",
        "v11_trainer-v11",
        "v13_trainer-v13",
        "v15_trainer-v13",
        "v15-conditioning_trainer-v13",
        "v16_trainer-v15",
    ),
    "llpr": (
        "v2_trainer-v1",
        "v3_trainer-v1",
        "v3_trainer-v2",
        "v3_trainer-v3",
        "v3_trainer-v4",
        "v3_trainer-v5",
        "v4_trainer-v5",
        "v4_trainer-v6",
        "v4_trainer-v7",
    ),
}


class Oracle:
    """Structures and expected values of one npz file."""

    def __init__(self, path):
        with np.load(path) as file:
            self.values = dict(file)
        self.names = list(dict.fromkeys(key.split("/")[0] for key in self.values))
        self.periodic = [name for name in self.names if f"{name}/stress_voigt" in self.values]

    def __getitem__(self, key):
        return self.values[key]

    def all(self, field, names):
        return [self.values[f"{name}/{field}"] for name in names]

    def atoms(self, names):
        return [self._atoms(name) for name in names]

    def _atoms(self, name):
        fields = {
            field: self.values[f"{name}/{field}"]
            for field in ("numbers", "positions", "cell", "pbc")
        }
        info = {
            key: int(self.values[f"{name}/{key}"])
            for key in ("charge", "spin")
            if f"{name}/{key}" in self.values
        }
        return Atoms(**fields, info=info)


def deviations(actual, expected):
    """Largest difference of each structure relative to max(1, largest expected number)."""
    return [
        float(np.abs(np.asarray(a) - b).max() / max(1.0, np.abs(b).max()))
        for a, b in zip(actual, expected, strict=True)
    ]


def check(calculator, oracle, names, fields, limit):
    """fields {property: field of the oracle} of the named structures agree."""
    results = calculator.evaluate(oracle.atoms(names), tuple(fields))
    for name, field in fields.items():
        errors = deviations([result[name] for result in results], oracle.all(field, names))
        assert max(errors) <= limit, dict(zip(names, errors, strict=True))


CONSERVATIVE = {"energy": "energy", "energies": "energies", "forces": "forces"}
DIRECT_FORCES = {"energy": "energy", "energies": "energies", "forces": "nc_forces"}


def test_reads_the_file_of_this_project():
    oracle = Oracle(f"{DIRECT}.npz")
    calculator = PETCalculator(f"{DIRECT}.ckpt", dtype="float64")
    check(calculator, oracle, oracle.names, CONSERVATIVE, SAME)
    check(calculator, oracle, oracle.periodic, {"stress": "stress_voigt"}, SAME)


def test_direct_heads_replace_derivatives():
    oracle = Oracle(f"{DIRECT}.npz")
    calculator = PETCalculator(f"{DIRECT}.ckpt", dtype="float64", non_conservative=True)
    check(calculator, oracle, oracle.names, DIRECT_FORCES, SAME)
    check(calculator, oracle, oracle.periodic, {"stress": "nc_stress_voigt"}, SAME)
    atoms = oracle.atoms(["si8_sheared"])[0]
    atoms.calc = calculator
    assert np.abs(atoms.get_forces() - oracle["si8_sheared/nc_forces"]).max() < SAME
    assert np.abs(atoms.get_forces().sum(axis=0)).max() < SAME


@pytest.mark.parametrize(
    ("choice", "forces", "stress"),
    [("forces", "nc_forces", "stress_voigt"), ("stress", "forces", "nc_stress_voigt")],
)
def test_direct_heads_one_at_a_time(choice, forces, stress):
    oracle = Oracle(f"{DIRECT}.npz")
    calculator = PETCalculator(f"{DIRECT}.ckpt", dtype="float64", non_conservative=choice)
    check(
        calculator,
        oracle,
        oracle.periodic,
        {"energy": "energy", "forces": forces, "stress": stress},
        SAME,
    )


def test_direct_forces_run_no_backward(monkeypatch):
    calculator = PETCalculator(f"{DIRECT}.ckpt", non_conservative=True)
    monkeypatch.setattr(torch.autograd, "grad", None)
    assert calculator.evaluate([silicon()], ("energy", "forces", "stress"))[0]["forces"].shape == (
        8,
        3,
    )


@pytest.mark.parametrize("choice", [True, "forces", "stress"])
def test_models_without_direct_heads_refuse(choice):
    with pytest.raises(
        ValueError,
        match="`non_conservative` .* no head for direct (forces|stress) .*: its heads are",
    ):
        PETCalculator(tiny_pet(), non_conservative=choice)


def test_unknown_choice_of_direct_heads():
    with pytest.raises(
        ValueError, match="`non_conservative` is 'energy': valid choices are False, True, 'forces'"
    ):
        PETCalculator(f"{DIRECT}.ckpt", non_conservative="energy")


def test_a_model_with_variants_only_requires_one():
    model = tiny_pet(heads={"energy/a": 1, "energy/b": 1})
    with pytest.raises(ValueError, match="`variant` is needed.*: valid choices are 'a', 'b'"):
        PETCalculator(model)
    assert PETCalculator(model, variant="b").model.energy_head == "energy/b"


@pytest.mark.parametrize("name", ORACLES)
def test_oracle_in_float64(name, reference_file):
    oracle = Oracle(reference_file(f"metatrain/{name}.npz"))
    calculator = PETCalculator(reference_file(f"metatrain/{name}.ckpt"), dtype="float64")
    check(calculator, oracle, oracle.names, CONSERVATIVE, SAME)
    check(calculator, oracle, oracle.periodic, {"stress": "stress_voigt"}, SAME)


@pytest.mark.parametrize("name", ORACLES)
def test_oracle_in_float32(name, reference_file):
    oracle = Oracle(reference_file(f"metatrain/{name}.npz"))
    calculator = PETCalculator(reference_file(f"metatrain/{name}.ckpt"), dtype="float32")
    check(calculator, oracle, oracle.names, {"energy": "energy"}, ENERGY_IN_FLOAT32)
    check(calculator, oracle, oracle.names, {"forces": "forces"}, FORCES_IN_FLOAT32)


@pytest.mark.parametrize("name", WITH_DIRECT_HEADS)
def test_oracle_of_direct_heads(name, reference_file):
    oracle = Oracle(reference_file(f"metatrain/{name}.npz"))
    calculator = PETCalculator(
        reference_file(f"metatrain/{name}.ckpt"), dtype="float64", non_conservative=True
    )
    check(calculator, oracle, oracle.names, {"energy": "energy", "forces": "nc_forces"}, SAME)
    check(calculator, oracle, oracle.periodic, {"stress": "nc_stress_voigt"}, SAME)


def test_oracle_of_a_variant(reference_file):
    name = "metatrain/tiny_variants_zbl_temp"
    oracle = Oracle(reference_file(f"{name}.npz"))
    calculator = PETCalculator(reference_file(f"{name}.ckpt"), dtype="float64", variant="pbe")
    check(calculator, oracle, oracle.names, {"energy": "energy_pbe", "forces": "forces_pbe"}, SAME)


@pytest.mark.parametrize(("dtype", "limit"), [("float64", SAME), ("float32", ENERGY_IN_FLOAT32)])
@pytest.mark.parametrize("name", [f"{kind}/model-{rest}" for kind in OLD for rest in OLD[kind]])
def test_files_of_old_versions(name, dtype, limit, reference_file):
    folder = reference_file("metatrain/old")
    entries = {
        entry["name"]: entry for entry in json.loads((folder / "old_checkpoints.json").read_text())
    }
    expected = entries[name]
    atoms = Atoms(expected["numbers"], expected["positions"], cell=expected["cell"], pbc=True)
    calculator = PETCalculator(folder / f"{name.replace('/', '_')}.ckpt", dtype=dtype)
    results = calculator.evaluate([atoms], ("energy", "forces", "stress"))[0]
    assert (
        max(
            deviations(
                [results[key] for key in results], [np.array(expected[key]) for key in results]
            )
        )
        < limit
    )


COSINE = {"cutoff_function": "cosine", "adaptive_cutoff_method": "grid"}
LEGACY = {
    **COSINE,
    "d_node": 8,
    "normalization": "LayerNorm",
    "activation": "SiLU",
    "transformer_type": "PostLN",
    "featurizer_type": "residual",
}
LARGE_SCALE = {**COSINE, "d_node": 32, "d_feedforward": 16}
GRID = {"num_neighbors_adaptive": 8, "adaptive_cutoff_method": "grid"}


@pytest.mark.parametrize(
    ("version", "changes", "large_scale"),
    [
        (16, {}, False),
        (16, SETTINGS["solver"], False),
        (16, SETTINGS["zbl"], False),
        (15, {}, False),
        (16, SETTINGS["conditioning"], False),
        (15, SETTINGS["conditioning"], False),
        (14, SETTINGS["solver"], False),
        (16, SETTINGS["temperature"], False),
        (13, GRID, False),
        (11, GRID, False),
        (10, GRID, False),
        (9, COSINE, False),
        (8, COSINE, False),
        (7, LEGACY, False),
        (6, LEGACY, False),
        (7, LARGE_SCALE, True),
        (6, LARGE_SCALE, True),
    ],
)
def test_layout_of_each_version(version, changes, large_scale, tmp_path):
    model = tiny_pet(**changes)
    model.scales = {"energy": 1.75}
    model.covalent_radii = {
        z: float(np.float32(radius)) for z, radius in model.covalent_radii.items()
    }
    content = metatrain_files.checkpoint(model, version, large_scale)
    read = metatrain.read(metatrain_files.save(tmp_path / "model.ckpt", content))
    assert read.settings == model.settings
    expected, results = (PETCalculator(each).evaluate([silicon()])[0] for each in (model, read))
    assert abs(results["energy"] - expected["energy"]) < SAME
    assert worst(results["forces"], expected["forces"]) < SAME


def test_species_follow_the_rows_of_the_file(tmp_path):
    model = tiny_pet(species=(14, 1, 8, 6))
    read = metatrain.read(
        metatrain_files.save(tmp_path / "model.ckpt", metatrain_files.checkpoint(model))
    )
    assert read.species == (14, 1, 8, 6)
    assert torch.equal(read.species_rows, model.species_rows)


def test_the_best_epoch_is_read(tmp_path):
    last = tiny_pet(seed=1)
    best = tiny_pet(seed=2)
    content = metatrain_files.checkpoint(last)
    content["best_model_state_dict"] = metatrain_files.checkpoint(best)["model_state_dict"]
    read = metatrain.read(metatrain_files.save(tmp_path / "model.ckpt", content))
    assert torch.equal(read.edge_embedder.weight, best.edge_embedder.weight)


def test_a_wrapped_model_is_unwrapped(tmp_path):
    model = tiny_pet()
    read = metatrain.read(
        metatrain_files.save(tmp_path / "model.ckpt", metatrain_files.wrapper(model))
    )
    assert torch.equal(read.edge_embedder.weight, model.edge_embedder.weight)


def test_other_targets_are_left_out(tmp_path):
    model = tiny_pet("several heads")
    read = metatrain.read(
        metatrain_files.save(tmp_path / "model.ckpt", metatrain_files.checkpoint(model))
    )
    assert read.settings.heads == {"energy": 1, "energy/other": 1}


def test_reading_does_not_change_the_random_state():
    before = torch.get_rng_state()
    metatrain.read(f"{DIRECT}.ckpt")
    assert torch.equal(torch.get_rng_state(), before)


def test_recognises_by_name_and_content(tmp_path):
    (tmp_path / "text.ckpt").write_text("epoch 1")
    (tmp_path / "folder.ckpt").mkdir()
    assert metatrain.recognises(f"{DIRECT}.ckpt")
    assert not metatrain.recognises(f"{DIRECT}.npz")
    assert not metatrain.recognises(tmp_path / "text.ckpt")
    assert not metatrain.recognises(tmp_path / "folder.ckpt")
    assert not metatrain.recognises(tmp_path / "absent.ckpt")
