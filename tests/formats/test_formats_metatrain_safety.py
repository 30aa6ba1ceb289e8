"""Damaged, hostile and unsupported checkpoints raise one ValueError that names the cause.

Nothing in a file is executed, and memory does not grow beyond its size.
"""

import os
import pickle
import re
import resource
import zipfile

import numpy as np
import pytest
import torch

import metatrain_files
from ase_pet import PETCalculator
from ase_pet.formats import metatrain
from toys import tiny_pet

N_MUTANTS = 80  # of each kind


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A checkpoint of a small model, which can be read."""
    path = tmp_path_factory.mktemp("good") / "model.ckpt"
    metatrain_files.save(path, metatrain_files.checkpoint(tiny_pet()))
    metatrain.read(path)
    return path


def outcome(path):
    """Outcome of reading a file, "read" or "refused"; other exceptions are errors of the reader."""
    try:
        metatrain.read(path)
    except ValueError as error:
        assert str(path) in str(error)  # noqa: PT017 (reading it is an outcome too)
        return "refused"
    return "read"


def outcomes(path, mutants):
    results = []
    for mutant in mutants:
        path.write_bytes(mutant)
        results.append(outcome(path))
    return results


def flipped(data, random):
    """The bytes with one to three bits flipped."""
    data = bytearray(data)
    for place in random.integers(0, len(data), random.integers(1, 4)):
        data[place] ^= 1 << int(random.integers(0, 8))
    return bytes(data)


def test_truncated_files(good, tmp_path):
    data = good.read_bytes()
    cuts = np.random.default_rng(0).integers(1, len(data), N_MUTANTS)
    assert set(outcomes(tmp_path / "model.ckpt", [data[:cut] for cut in cuts])) == {"refused"}


def test_flipped_bits(good, tmp_path):
    data = good.read_bytes()
    random = np.random.default_rng(1)
    results = outcomes(tmp_path / "model.ckpt", [flipped(data, random) for _ in range(N_MUTANTS)])
    assert results.count("refused") > N_MUTANTS / 2


@pytest.mark.parametrize("record", ["data.pkl", "data/"])
def test_flipped_bits_under_a_valid_checksum(record, good, tmp_path):
    random = np.random.default_rng(2)
    results = []
    for _ in range(N_MUTANTS):
        mutant = metatrain_files.rewrite(
            good,
            tmp_path / "model.ckpt",
            lambda name, data: (
                flipped(data, random) if name.partition("/")[2].startswith(record) else data
            ),
        )
        results.append(outcome(mutant))
    assert results.count("refused") > 10


class Command:
    """An object whose unpickling runs a command."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.system, (f"touch {self.target}",)


def test_code_is_named_and_not_run(tmp_path):
    content = metatrain_files.checkpoint(tiny_pet())
    content["metadata"] = Command(tmp_path / "ran")
    path = metatrain_files.save(tmp_path / "model.ckpt", content)
    with pytest.raises(
        ValueError, match="names `(posix|nt).system`, which is not among .*: refused"
    ):
        PETCalculator(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "name",
    [
        "builtins eval",
        "torch load",
        "numpy load",
        "torch._utils _rebuild_parameter",
        "torch.jit.frontend _get_default_args",
        "importlib import_module",
    ],
)
def test_names_outside_the_list(name, good, tmp_path):
    path = with_pickle(
        good,
        tmp_path,
        b"\x80\x02c" + name.replace(" ", "\n").encode() + b"\nX\x01\x00\x00\x001\x85R.",
    )
    with pytest.raises(ValueError, match=f"names `{re.escape(name.replace(' ', '.'))}`"):
        metatrain.read(path)


def test_names_on_the_list_do_nothing(good, tmp_path):
    path = with_pickle(
        good, tmp_path, b"\x80\x02cmetatrain.utils\nos.system\nX\x04\x00\x00\x00exit\x85R."
    )
    with pytest.raises(ValueError, match="does not hold a table"):
        metatrain.read(path)


def with_pickle(good, tmp_path, data):
    """Copy of a checkpoint with another pickle."""
    return metatrain_files.rewrite(
        good, tmp_path / "model.ckpt", lambda name, old: data if name.endswith("data.pkl") else old
    )


HUGE = b"\xff\xff\xff\x7f"
NESTED = b"\x80\x02)q\x00" + b"".join(
    b"h%c\x86q%c" % (k, k + 1) + b"h%c" % (k + 1) for k in range(100)
)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b".",
        b"\x80\x02.",
        b"\x80\x02N",
        b"\x80\x02N.",
        b"\x80\x02]a.",
        b"\x80\x02}K\x01s.",
        b"\x80\x02t.",
        b"\x80\x02h\x07.",
        b"\x80\x02K\x01K\x02\x86R.",
        b"\x80\x02NQ.",
        b"\x80\x02X" + HUGE + b"a.",
        b"\x80\x02\x8b" + HUGE,
        b"\x80\x02}r\xff\xff\xff\xff.",
        b"\x80\x04\x8e" + HUGE + bytes(4),
        b"cos\nsystem\n(S'true'\ntR.",
        b"\x80\x02}" + 100 * b"]" + b"0.",
        NESTED + b"}h\x60K\x01s.",
        b"\x80\x02" + 100_000 * b"(" + b".",
    ],
)
def test_broken_pickles(data, good, tmp_path):
    assert outcome(with_pickle(good, tmp_path, data)) == "refused"


def test_long_pickles(good, tmp_path):
    assert outcome(with_pickle(good, tmp_path, b"\x80\x02" + 2_100_000 * b"N" + b".")) == "refused"


def test_nested_keys_are_not_hashed(good, tmp_path):
    deep = b"\x80\x02)" + 60 * b"q\x00h\x00\x86"
    path = with_pickle(good, tmp_path, b"\x80\x02}" + deep[2:] + b"K\x01s.")
    with pytest.raises(ValueError, match="`architecture_name` is missing"):
        metatrain.read(path)


def test_zip_bomb(good, tmp_path):
    path = tmp_path / "model.ckpt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model/data.pkl", bytes(200_000_000))
    assert path.stat().st_size < 1_000_000
    with pytest.raises(ValueError, match="`model/data.pkl` is compressed or encrypted"):
        metatrain.read(path)


def test_records_that_claim_more_than_the_file(good, tmp_path):
    data = bytearray(good.read_bytes())
    start = data.rindex(b"PK\x01\x02")
    data[start + 20 : start + 28] = 2 * (10 << 28).to_bytes(4, "little")
    (tmp_path / "model.ckpt").write_bytes(data)
    with pytest.raises(ValueError, match="claim more bytes than the file has"):
        metatrain.read(tmp_path / "model.ckpt")


def expanded(shape):
    return torch.zeros(1).expand(shape)


@pytest.mark.parametrize("shape", [(50_000, 50_000), (1 << 40,), (3, 1)])
def test_claimed_shapes_are_not_allocated(shape, tmp_path):
    content = metatrain_files.checkpoint(tiny_pet())
    content["model_state_dict"]["backend.edge_embedder.weight"] = expanded(shape)
    path = metatrain_files.save(tmp_path / "model.ckpt", content)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match="claims more than the 1 values of its record"):
        metatrain.read(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB


def test_claimed_storages_are_not_allocated(good, tmp_path):
    """A storage claims 2^31 values, and its record has 32."""
    path = metatrain_files.rewrite(
        good,
        tmp_path / "model.ckpt",
        lambda name, data: (
            data.replace(b"K \x74", b"J" + HUGE + b"\x74", 1) if name.endswith("data.pkl") else data
        ),
    )
    with pytest.raises(ValueError, match="has [0-9]+ bytes, its tensor claims"):
        metatrain.read(path)


def test_tensors_that_share_a_record(tmp_path):
    content = metatrain_files.checkpoint(tiny_pet())
    state = content["model_state_dict"]
    state["backend.edge_embedder.weight"] = state["backend.gnn_layers.1.neighbor_embedder.weight"]
    with pytest.raises(ValueError, match="two tensors share record"):
        metatrain.read(metatrain_files.save(tmp_path / "model.ckpt", content))


def edited(tmp_path, keys, value):
    """Checkpoint file in which the entry at these keys is changed."""
    content = metatrain_files.checkpoint(tiny_pet())
    table = content
    for key in keys[:-1]:
        table = table[key]
    table[keys[-1]] = value
    return metatrain_files.save(tmp_path / "model.ckpt", content)


HYPERS = ("model_data", "model_hypers")
STATE = "model_state_dict"


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (
            ("architecture_name",),
            "soap_bpnn",
            "`architecture_name` is 'soap_bpnn': known architectures are 'pet'",
        ),
        (("architecture_name",), None, "`architecture_name` is missing"),
        (("architecture_name",), ["pet"], "`architecture_name` is missing"),
        (("architecture_name",), "llpr", "LLPR wrapper: versions 1 to 4 can be read"),
        (
            ("model_ckpt_version",),
            17,
            "`model_ckpt_version` is 17: PET checkpoints of version 1 to 16",
        ),
        (("model_ckpt_version",), 0, "`model_ckpt_version` is 0"),
        (("model_ckpt_version",), "16", "`model_ckpt_version` is str"),
        (("model_data",), [], "`model_data` is missing or not a table"),
        (("model_data", "model_hypers"), 3, "`model_hypers` is missing or not a table"),
        (("model_data", "dataset_info"), {}, "`dataset_info` is missing"),
        ((STATE,), None, "`model_state_dict` is missing"),
        ((*HYPERS, "long_range"), {"enable": True}, "`long_range` is enabled: .* not supported"),
        ((*HYPERS, "long_range"), {"enable": 1}, "`long_range` is enabled: .* not supported"),
        ((*HYPERS, "d_new"), 3, "unknown hyper-parameters `d_new`"),
        ((*HYPERS, "d_pet"), "8", "`d_pet` is of type str, expected int"),
        ((*HYPERS, "d_pet"), True, "`d_pet` is of type bool, expected int"),
        ((*HYPERS, "d_pet"), 10**9, "`d_pet` is 1000000000: expected 1 to 65536"),
        ((*HYPERS, "d_pet"), 10, "`.*` has shape .*: expected "),
        ((*HYPERS, "num_heads"), 3, "`d_pet` 8 is no multiple of `num_heads` 3"),
        ((*HYPERS, "num_gnn_layers"), 10**6, "`num_gnn_layers` is 1000000: expected 1 to 64"),
        ((*HYPERS, "num_gnn_layers"), 3, "the model's state lacks `.*` and [0-9]+ others"),
        ((*HYPERS, "num_gnn_layers"), 1, "holds the unknown `.*`"),
        (
            (*HYPERS, "num_attention_layers"),
            64,
            "`num_attention_layers` ask for more layers than there are tensors",
        ),
        ((*HYPERS, "cutoff"), float("nan"), "`cutoff` is nan"),
        ((*HYPERS, "cutoff"), 1e9, "`cutoff` is 1000000000.0: expected 0.1 to 100.0"),
        (
            (*HYPERS, "normalization"),
            "BatchNorm",
            "`normalization` is 'BatchNorm': valid choices are RMSNorm, LayerNorm",
        ),
        (
            (*HYPERS, "cutoff_function"),
            "Box",
            "`cutoff_function` is 'box': valid choices are bump, cosine, step",
        ),
        (
            (STATE, "backend.edge_embedder.lora_A.weight"),
            torch.zeros(2, 2),
            "lora_A.weight` is a LoRA adapter",
        ),
        ((STATE, "backend.new.weight"), torch.zeros(2, 2), "holds the unknown `new.weight`"),
        (
            (STATE, "additive_models.2.weight"),
            torch.zeros(2),
            "holds the unknown `additive_models.2.weight`",
        ),
        ((STATE, "epoch"), 3, "holds `epoch`, which is not a tensor"),
        (
            (STATE, "backend.edge_embedder.weight"),
            torch.full((4, 8), np.nan, dtype=torch.float64),
            "weight` is not finite",
        ),
        (
            (STATE, "backend.edge_embedder.weight"),
            torch.zeros(4, 8).half(),
            "weights are float16, float64: expected",
        ),
        (
            (STATE, "backend.species_to_species_index"),
            torch.tensor([-1, 1, 1]),
            "does not give each species a row",
        ),
        (
            (STATE, "backend.species_to_species_index"),
            torch.zeros(3),
            "is not a list of rows by atomic number",
        ),
        (
            (STATE, "scaler.energy_scaler_buffer"),
            torch.zeros(3),
            "`scaler.energy_scaler_buffer` is not a table of bytes",
        ),
        (
            (STATE, "scaler.energy_scaler_buffer"),
            torch.zeros(300, dtype=torch.uint8),
            "buffer` is damaged",
        ),
        (
            (STATE, "scaler.energy_scaler_buffer"),
            metatrain_files.table("a", [-1], [np.inf]),
            "buffer` is not finite",
        ),
        (
            (STATE, "scaler.energy_scaler_buffer"),
            metatrain_files.table("a", [0, 1], [1, 2]),
            "neither one number nor one",
        ),
        (
            (STATE, "additive_models.0.energy_composition_buffer"),
            metatrain_files.table("a", [1], [1]),
            r"composition energies of `energy` lack atomic numbers \[6, 8, 14\]",
        ),
    ],
)
def test_what_is_not_supported_is_refused_by_name(keys, value, message, tmp_path):
    path = edited(tmp_path, keys, value)
    with pytest.raises(ValueError, match=message):
        metatrain.read(path)


@pytest.mark.parametrize(
    ("unit", "message"), [("kcal/mol", "the unit of `energy` is not eV"), (None, "is not eV")]
)
def test_units_are_those_of_ase(unit, message, tmp_path):
    targets = {"energy": metatrain_files.Named(unit=unit)}
    info = metatrain_files.Named(length_unit="angstrom", targets=targets)
    with pytest.raises(ValueError, match=message):
        metatrain.read(edited(tmp_path, ("model_data", "dataset_info"), info))


def test_a_table_of_bytes_that_claims_more_than_it_has(tmp_path):
    data = bytes(metatrain_files.table("atomic_type", [-1], [1.0]).tolist())
    assert b"(1, 1)" in data
    large = torch.tensor(list(data.replace(b"(1, 1), }    ", b"(9999, 1), } ")), dtype=torch.uint8)
    with pytest.raises(ValueError, match="buffer` is damaged"):
        metatrain.read(edited(tmp_path, (STATE, "scaler.energy_scaler_buffer"), large))


def test_a_file_of_another_kind(tmp_path):
    path = tmp_path / "model.ckpt"
    path.write_bytes(pickle.dumps({"architecture_name": "pet"}))
    assert outcome(path) == "refused"
    with pytest.raises(ValueError, match="nor a checkpoint that can be read"):
        PETCalculator(path)


def test_files_that_are_absent(tmp_path):
    with pytest.raises(FileNotFoundError):
        metatrain.read(tmp_path / "absent.ckpt")
