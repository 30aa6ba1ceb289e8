"""Damaged, hostile and unsupported folders raise one ValueError that names path and cause.

Nothing in a file is executed, and memory does not grow beyond its size.
"""

import copy
import os
import resource
import shutil
import sys
import zipfile

import numpy as np
import pytest
import torch
import yaml

import original_pet_files as files
from ase_pet import PETCalculator
from ase_pet.formats import original_pet
from original_pet_files import tiny

HYPERS = "hypers_used.yaml"
WEIGHTS = "best_val_rmse_both_model_state_dict"
NAMES = ("all_species.npy", HYPERS, "self_contributions.npy", WEIGHTS)
N_MUTANTS = 60  # of each kind
MEMORY = 100_000  # KiB that a refusal may take


@pytest.fixture
def folder(tmp_path):
    """A folder of a small model, which can be read."""
    return files.write(tmp_path / "run", tiny())


def outcome(folder):
    """Outcome for a folder, "read" or "refused"; other exceptions are errors of the reader."""
    try:
        original_pet.read(folder)
    except ValueError as error:
        assert str(folder) in str(error)  # noqa: PT017 (reading it is an outcome too)
        return "refused"
    return "read"


def refused(path, message):
    """Refused with a message that names the path, without much memory."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match=message) as caught:
        original_pet.read(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 1000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEMORY


# Damage


def outcomes(folder, name, mutants):
    """Outcomes of a folder with each mutant in place of a file."""
    results = []
    for mutant in mutants:
        (folder / name).write_bytes(mutant)
        results.append(outcome(folder))
    return results


def flipped(data, random):
    """The bytes with one to three bits flipped."""
    data = bytearray(data)
    for place in random.integers(0, len(data), random.integers(1, 4)):
        data[place] ^= 1 << int(random.integers(0, 8))
    return bytes(data)


@pytest.mark.parametrize("name", [name for name in NAMES if name != HYPERS])
def test_truncated_files(name, folder):
    data = (folder / name).read_bytes()
    cuts = np.random.default_rng(0).integers(0, len(data), N_MUTANTS)
    assert set(outcomes(folder, name, [data[:cut] for cut in cuts])) == {"refused"}


def test_truncated_settings(folder):
    """Missing settings have their defaults; if these do not fit the weights, shapes differ."""
    data = (folder / HYPERS).read_bytes()
    results = outcomes(folder, HYPERS, [data[:cut] for cut in range(0, len(data), 20)])
    assert results.count("refused") > len(results) / 2


@pytest.mark.parametrize(
    ("name", "least"),
    [("all_species.npy", 30), (HYPERS, 30), ("self_contributions.npy", 20), (WEIGHTS, 30)],
)
def test_flipped_bits(name, least, folder):
    data = (folder / name).read_bytes()
    random = np.random.default_rng(1)
    results = outcomes(folder, name, [flipped(data, random) for _ in range(N_MUTANTS)])
    assert results.count("refused") >= least


@pytest.mark.parametrize(
    ("record", "least"), [("data.pkl", 20), ("data/", 0)]
)  # most flipped bits change a number
def test_flipped_bits_under_a_valid_checksum(record, least, folder, tmp_path):
    random = np.random.default_rng(2)
    source = tmp_path / "source"
    results = []
    (folder / WEIGHTS).rename(source)
    for _ in range(N_MUTANTS):
        rewrite(
            source,
            folder / WEIGHTS,
            lambda name, data: (
                flipped(data, random) if name.partition("/")[2].startswith(record) else data
            ),
        )
        results.append(outcome(folder))
    assert results.count("refused") >= least


def rewrite(source, target, change):
    """Copy of a zip file with each record replaced by change(name, bytes), checksums renewed."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))


@pytest.mark.parametrize("name", NAMES)
def test_files_that_are_missing(name, folder):
    (folder / name).unlink()
    refused(folder, f"`{name}` is missing|it has no `{name}`")


@pytest.mark.parametrize("name", NAMES)
def test_empty_files_and_folders_in_their_place(name, folder):
    (folder / name).write_bytes(b"")
    assert outcome(folder) == "refused"
    (folder / name).unlink()
    (folder / name).mkdir()
    assert outcome(folder) == "refused"


def test_what_does_not_exist(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent"):
        original_pet.read(tmp_path / "absent")


# Code


class Command:
    """An object whose unpickling runs a command."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.system, (f"touch {self.target}",)


@pytest.mark.parametrize("key", ["command", "model.pet_model.embedding.weight"])
def test_code_in_the_state_dict_is_named_and_not_run(key, folder, tmp_path):
    torch.save({**files.state_dict(tiny()), key: Command(tmp_path / "ran")}, folder / WEIGHTS)
    with pytest.raises(
        ValueError, match="names `(posix|nt).system`, which is not among .*: refused"
    ):
        PETCalculator(folder)
    assert not (tmp_path / "ran").exists()


def test_a_whole_model_is_not_unpickled(folder):
    """Runs of 2023 also saved models as objects of their own classes."""
    torch.save(tiny(), folder / "best_val_rmse_both_model")
    refused(
        folder / "best_val_rmse_both_model",
        "names `ase_pet.models.original_pet.Model`, which is not among",
    )


@pytest.mark.parametrize(
    "text",
    [
        "R_CUT: !!python/object/apply:os.system ['touch {}']",
        "!!python/object/apply:os.system ['touch {}']",
        "R_CUT: !!python/name:os.system",
        "R_CUT: !!float 4",
        "? !!python/object/new:os.system ['touch {}']\n: 1",
        "!<tag:yaml.org,2002:python/object/apply:os.system> ['touch {}']",
    ],
)
def test_tags_in_the_settings_do_nothing(text, folder, tmp_path):
    (folder / HYPERS).write_text(text.format(tmp_path / "ran"))
    refused(folder, f"`{HYPERS}` cannot be used: a tag, an anchor or an alias in line 1 is refused")
    assert not (tmp_path / "ran").exists()


# Growth


BOMB = "a: &a [x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join(['*' + old] * 9)}]\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGES = "a: &a {x: 1}\n" + "".join(
    f"{new}: &{new} {{<<: [{', '.join(['*' + old] * 9)}]}}\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "a tag, an anchor or an alias in line 1"),
        (MERGES, "a tag, an anchor or an alias in line 1"),
        (30_000 * "[", "more than 4 levels"),
        (30_000 * "{", "more than 4 levels"),
        (15_000 * "- ", "more than 4 levels"),
        (100 * "A: 1\n" + "R_CUT: [[[[1]]]]", "more than 4 levels in line 101"),
        (9_000 * "a: 1\n", "more than 32768 bytes"),
        (3_000 * "---\n", "another document"),
        ("R_CUT: " + 30_000 * "9", "`R_CUT` is `9+`, expected float"),
        ("N_GNN_LAYERS: " + 4_000 * "9", "`N_GNN_LAYERS` is `9+`, expected int"),
        ('x: "\\U00110000"', "cannot be used"),
        ("R_CUT: 4\x00", "special characters are not allowed"),
        ("a: b: c", "in line 1: mapping values are not allowed"),
        ("", "is not a table of hyper-parameters"),
        ("- R_CUT", "is not a table of hyper-parameters"),
        ("[a]: 1", "unhashable"),
        ('"\\e[31mX": 1', r"unknown hyper-parameters `\\x1b\[31mX`"),
    ],
)
def test_settings_that_grow_or_make_no_sense(text, message, folder):
    (folder / HYPERS).write_text(text)
    refused(folder, message)


def test_settings_that_are_not_text(folder):
    (folder / HYPERS).write_bytes(b"R_CUT: \xff\xfe")
    refused(folder, f"`{HYPERS}` cannot be used: .*decode")


def test_zip_bomb(folder):
    with zipfile.ZipFile(folder / WEIGHTS, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model/data.pkl", bytes(200_000_000))
    refused(folder, "`model/data.pkl` is compressed or encrypted")


@pytest.mark.parametrize("shape", [(50_000, 50_000), (1 << 40,), (5, 1)])
def test_claimed_shapes_are_not_allocated(shape, folder):
    torch.save(
        {
            **files.state_dict(tiny()),
            "model.pet_model.embedding.weight": torch.zeros(1).expand(shape),
        },
        folder / WEIGHTS,
    )
    refused(folder, "claims more than the 1 values of its record")


@pytest.mark.parametrize("name", ["all_species.npy", "self_contributions.npy"])
@pytest.mark.parametrize(
    "shape", ["(9999999999,)", "(999999999,)", "(5,)", "(4, 2)", "(2, 2)", "()", "(-4,)", "(4"]
)
def test_arrays_that_claim_what_they_do_not_have(name, shape, folder):
    data = (folder / name).read_bytes()
    header = data[:128].replace(b"(4,)", shape.encode())[:127].ljust(127) + b"\n"
    (folder / name).write_bytes(header + data[128:])
    refused(folder, f"`{name}` (is not one column|has 32 bytes, its header claims)")


def test_arrays_of_objects_are_not_unpickled(folder, tmp_path):
    np.save(
        folder / "all_species.npy",
        np.array([Command(tmp_path / "ran")], dtype=object),
        allow_pickle=True,
    )
    refused(folder, "`all_species.npy` is not one column of numbers")
    assert not (tmp_path / "ran").exists()


def test_long_arrays(folder):
    np.save(folder / "all_species.npy", np.arange(1 << 14))
    refused(folder, "`all_species.npy` has more than 65536 bytes")


# What is not supported


def architecture(name, value):
    content = files.hypers(tiny())
    content["ARCHITECTURAL_HYPERS"][name] = value
    return content


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "TRANSFORMERS_CENTRAL_SPECIFIC",
            True,
            "`TRANSFORMERS_CENTRAL_SPECIFIC` is `True`: transformers of their own",
        ),
        (
            "HEADS_CENTRAL_SPECIFIC",
            True,
            "`HEADS_CENTRAL_SPECIFIC` is `True`: heads of their own for each species",
        ),
        (
            "USE_LONG_RANGE",
            True,
            "`USE_LONG_RANGE` is `True`: long-range interactions are not supported",
        ),
        (
            "USE_ADDITIONAL_SCALAR_ATTRIBUTES",
            True,
            "`USE_ADDITIONAL_SCALAR_ATTRIBUTES` is `True`: atoms with scalar",
        ),
        ("D_OUTPUT", 3, "`D_OUTPUT` is `3`: a target of several numbers is not an energy"),
        (
            "TARGET_TYPE",
            "atomic",
            "`TARGET_TYPE` is `atomic`: a target of single atoms is not the energy",
        ),
        (
            "TARGET_AGGREGATION",
            "mean",
            "`TARGET_AGGREGATION` is `mean`: a mean over atoms is not the energy",
        ),
        ("USE_NEURAL_FIELD", False, "unknown hyper-parameters `USE_NEURAL_FIELD`: not supported"),
        ("R_CUT", 1e9, "`R_CUT` is `1000000000.0`: expected 0.1 to 100.0"),
        ("R_CUT", "nan", "`R_CUT` is `nan`, expected float"),
        ("R_CUT", [4.0], r"`R_CUT` is `\['4.0'\]`, expected float"),
        ("R_CUT", None, "`R_CUT` is `null`, expected float"),
        ("N_GNN_LAYERS", 2.5, "`N_GNN_LAYERS` is `2.5`, expected int"),
        ("N_GNN_LAYERS", 10**6, "`N_GNN_LAYERS` is `1000000`: expected 1 to 64"),
        ("N_GNN_LAYERS", 3, "the state dict lacks `.*` and [0-9]+ others"),
        ("N_GNN_LAYERS", 1, "the state dict holds the unknown `.*`"),
        ("N_TRANS_LAYERS", 64, "ask for more than there are tensors"),
        ("N_TARGETS", 200, "ask for more than there are"),
        ("N_TARGETS", 2, "lacks `bond_heads.0.models.0.nn.0.bias`"),
        ("TRANSFORMER_D_MODEL", 65536, "has shape .*: the hyper-parameters ask for"),
        (
            "TRANSFORMER_D_MODEL",
            10**9,
            "`TRANSFORMER_D_MODEL` is `1000000000`: expected 1 to 65536",
        ),
        (
            "TRANSFORMER_N_HEAD",
            3,
            "`transformer_d_model` 8 must be a multiple of `transformer_n_head` 3",
        ),
        ("ACTIVATION", "relu", "`activation` is 'relu': valid choices are silu, mish"),
        ("COMPRESS_MODE", "none", "`compress_mode` is 'none': valid choices are mlp, linear"),
        ("TRANSFORMER_TYPE", "RMS", "`transformer_type` is 'RMS': valid choices are PostLN, PreLN"),
        ("USE_LENGTH", "maybe", "`USE_LENGTH` is `maybe`, expected bool"),
        ("ADD_TOKEN_FIRST", False, "holds the unknown `gnn_layers.0.central_embedder.weight`"),
        ("BLEND_NEIGHBOR_SPECIES", True, "lacks `gnn_layers.1.neighbor_embedder.weight`"),
        ("USE_BOND_ENERGIES", False, "holds the unknown `bond_heads.0.model.nn.0.bias`"),
    ],
)
def test_hyper_parameters_that_are_refused_by_name(name, value, message, folder):
    (folder / HYPERS).write_text(yaml.dump(architecture(name, value)))
    refused(folder, message)


@pytest.mark.parametrize(
    ("group", "value", "message"),
    [
        (
            "MLIP",
            {},
            "`MLIP` in `hypers_used.yaml` is not one of the groups ARCHITECTURAL_HYPERS, ",
        ),
        ("FITTING_SCHEME", 3, "`FITTING_SCHEME` in `hypers_used.yaml` is not one of the groups"),
        (
            "UTILITY_FLAGS",
            {"CALCULATION_TYPE": "dipoles"},
            "`CALCULATION_TYPE` is .*dipoles.*: valid choices are mlip,",
        ),
        ("MLIP_SETTINGS", {"USE_ENERGIES": "often"}, "`USE_ENERGIES` is `often`, expected bool"),
    ],
)
def test_groups_that_are_refused_by_name(group, value, message, folder):
    (folder / HYPERS).write_text(yaml.dump(files.hypers(tiny()) | {group: value}))
    refused(folder, message)


def test_a_target_of_many_numbers_is_refused(folder):
    content = files.hypers(tiny())
    content["UTILITY_FLAGS"]["CALCULATION_TYPE"] = "general_target"
    for name in ("D_OUTPUT", "TARGET_TYPE", "TARGET_AGGREGATION"):
        del content["ARCHITECTURAL_HYPERS"][name]
    (folder / HYPERS).write_text(yaml.dump(content))
    refused(folder, "`D_OUTPUT` is `42`: a target of several numbers")


PREFIX = "model.pet_model."


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("new.weight", torch.zeros(2), "holds the unknown `new.weight`"),
        (
            "gnn_layers.0.lora.weight",
            torch.zeros(2),
            "holds the unknown `gnn_layers.0.lora.weight`",
        ),
        (
            "embedding.weight",
            torch.zeros(4, 8).double(),
            r"`embedding.weight` has shape \(4, 8\): .* ask for \(5, 8\)",
        ),
        (
            "embedding.weight",
            torch.full((5, 8), np.nan).double(),
            "`embedding.weight` is not finite",
        ),
        (
            "embedding.weight",
            torch.zeros(5, 8).half(),
            "weights are float16, float64: expected all in float32 or all in",
        ),
        ("embedding.weight", torch.zeros(5, 8), "weights are float32, float64: expected all in"),
        (
            "embedding.weight",
            torch.zeros(5, 8).to_sparse(),
            "names `torch._utils._rebuild_sparse_tensor`",
        ),
        ("epoch", 3, "holds `model.pet_model.epoch`, which is not a tensor"),
    ],
)
def test_tensors_that_are_refused_by_name(name, tensor, message, folder):
    torch.save({**files.state_dict(tiny()), PREFIX + name: tensor}, folder / WEIGHTS)
    refused(folder, message)


def test_rows_for_padding_are_ignored(folder):
    """Their values do not change the results."""
    state = files.state_dict(tiny())
    state[PREFIX + "embedding.weight"][-1] = np.nan
    torch.save(state, folder / WEIGHTS)
    assert outcome(folder) == "read"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "does not hold a table of tensors"),
        ({}, "does not hold a table of tensors"),
        ({"a": torch.zeros(2)}, "has 0 tensors `embedding.weight` outside of layers, expected one"),
        (
            {"a.embedding.weight": torch.zeros(2), "embedding.weight": torch.zeros(2)},
            "has 2 tensors `embedding.weight`",
        ),
        (
            {"a.embedding.weight": torch.zeros(2), "b.weight": torch.zeros(2)},
            "holds the unknown `b.weight`",
        ),
        ({"model_state_dict": {}}, "does not hold a table of tensors"),
    ],
)
def test_files_of_weights_that_hold_something_else(content, message, folder):
    torch.save(content, folder / WEIGHTS)
    refused(folder, message)


@pytest.mark.parametrize(
    ("species", "message"),
    [
        (np.array([1, 6, 8, 8]), "has an atomic number twice"),
        (np.array([0, 1, 6, 8]), "is not a list of atomic numbers"),
        (np.array([1, 6, 8, 999]), "is not a list of atomic numbers"),
        (np.array([]), "is not a list of atomic numbers"),
        (np.array([1.0, 6, 8, 14]), "is not a list of atomic numbers"),
        (np.array([1, 6]), "for each of 2 species"),
        (np.array([1, 6, 8, 14], dtype=">i8"), "is not one column"),
        (np.array(["H"]), "is not one column"),
    ],
)
def test_lists_of_species_that_make_no_sense(species, message, folder):
    np.save(folder / "all_species.npy", species)
    refused(folder, message)


@pytest.mark.parametrize(
    "energies", [np.zeros(3), np.array([0, 1, np.nan, 2]), np.full(4, np.inf), np.zeros((4, 1, 1))]
)
def test_energies_of_single_atoms_that_make_no_sense(energies, folder):
    np.save(folder / "self_contributions.npy", energies)
    refused(
        folder, "`self_contributions.npy` is not one (finite number for each of 4 species|column)"
    )


def test_message_without_pyyaml_names_the_package(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "yaml", None)
    refused(folder, r"PyYAML is not installed: pip install '\.\[original_pet\]' in a clone")


def test_the_message_of_the_calculator_names_the_folder(folder, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    (other / "all_species.npy").unlink()
    with pytest.raises(
        ValueError, match="`.*other` cannot be read as .* original PET: `all_species.npy` is"
    ):
        PETCalculator(other)
    assert copy.deepcopy(PETCalculator(folder)).cutoff == 4.0
