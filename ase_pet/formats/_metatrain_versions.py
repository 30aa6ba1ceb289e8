"""Upgrade of metatrain's PET checkpoints of versions 1 to 15 to version 16.

Hyper-parameters, names of tensors and shapes of tensors have changed. Versions below 8 come in two
kinds: "large-scale" models, which have a tensor `node_embedding.weight`, and "legacy" models with
LayerNorm after each block. The embeddings of both have a row for padding, which later versions do
not have.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ._archive import StoredTensor
from ._state import renamed, stored_tensors

NEWEST = 16

# name: type, smallest and largest value. The limits only keep a damaged file from asking for
# absurdly large models.
HYPERS: dict[str, tuple[Any, ...]] = {
    "cutoff": (float, 0.1, 100.0),
    "cutoff_width": (float, 0.01, 100.0),
    "cutoff_width_adaptive": (float, 0.01, 100.0),
    "num_neighbors_adaptive": (float, 1e-3, 1e6),
    "attention_temperature": (float, 1e-6, 1e6),
    "d_pet": (int, 1, 1 << 16),
    "d_node": (int, 1, 1 << 16),
    "d_head": (int, 1, 1 << 16),
    "d_feedforward": (int, 1, 1 << 16),
    "num_heads": (int, 1, 1 << 16),
    "num_attention_layers": (int, 1, 64),
    "num_gnn_layers": (int, 1, 64),
    "max_charge": (int, 0, 1000),
    "max_spin_multiplicity": (int, 1, 1000),
    "cutoff_function": (str,),
    "adaptive_cutoff_method": (str,),
    "normalization": (str,),
    "activation": (str,),
    "transformer_type": (str,),
    "featurizer_type": (str,),
    "zbl": (bool,),
    "system_conditioning": (bool,),
}
# hyper-parameters that were fixed before version 8
LEGACY: dict[str, Any] = {
    "normalization": "LayerNorm",
    "activation": "SiLU",
    "transformer_type": "PostLN",
    "featurizer_type": "residual",
}
LARGE_SCALE: dict[str, Any] = {
    "normalization": "RMSNorm",
    "activation": "SwiGLU",
    "transformer_type": "PreLN",
    "featurizer_type": "feedforward",
}
# names of tensors before version 8 -> names since
LEGACY_NAMES = {
    r"^embedding\.": "edge_embedder.",
    r"^gnn_layers\.(\d+)\.node_embedder\.": r"node_embedders.\1.",
    r"\.mlp\.0\.": ".mlp.w_in.",
    r"\.mlp\.3\.": ".mlp.w_out.",
}
LARGE_SCALE_NAMES = {
    r"^embedding\.": "edge_embedder.",
    r"^node_embedding\.": "node_embedders.0.",
    r"^combination_rmsnorms\.": "combination_norms.",
}
EMBEDDINGS = re.compile(
    r"(edge_embedder|node_embedders\.\d+|gnn_layers\.\d+\.neighbor_embedder)\.weight"
)


def upgrade(checkpoint: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, StoredTensor]]:
    """Hyper-parameters {name: value} and state dict of a PET checkpoint of any version.

    Both have the names of the newest version, without the prefix `backend.` of tensors. The
    hyper-parameters are those of `HYPERS`.

    Parameters
    ----------
    checkpoint:
        Table that the file holds.

    Raises
    ------
    ValueError
        The checkpoint is damaged, of an unknown version, or not supported.
    """
    version = _version(checkpoint)
    large_scale = version < 8 and "node_embedding.weight" in _table(checkpoint, "model_state_dict")
    model_data = _table(checkpoint, "model_data")
    hypers = _hypers(dict(_table(model_data, "model_hypers")), version, large_scale)
    state = _state(checkpoint, version, large_scale)
    # each layer has several tensors, so that this is never true of an intact file
    if hypers["num_gnn_layers"] * hypers["num_attention_layers"] > len(state):
        raise ValueError(
            "`num_gnn_layers` and `num_attention_layers` ask for more layers than there are tensors"
        )
    return hypers, state


def _version(checkpoint: Mapping[str, Any]) -> int:
    version = checkpoint.get("model_ckpt_version", 1)
    if type(version) is not int or not 1 <= version <= NEWEST:
        shown = version if type(version) is int else type(version).__name__
        raise ValueError(
            f"`model_ckpt_version` is {shown}: PET checkpoints of version 1 to {NEWEST} can be read"
        )
    return version


def _table(parent: Mapping[str, Any], name: str) -> dict[Any, Any]:
    value = parent.get(name)
    if type(value) is not dict:
        raise ValueError(f"`{name}` is missing or not a table: not a checkpoint of a PET model")
    return value


def _hypers(hypers: dict[str, Any], version: int, large_scale: bool) -> dict[str, Any]:
    """Hyper-parameters of the newest version, of those in the file."""
    long_range = hypers.pop("long_range", {})
    if type(long_range) is not dict or long_range.get("enable", False) is not False:
        raise ValueError(
            "`long_range` is enabled: PET with long-range electrostatics is not supported"
        )
    if version < 8:
        hypers = _of_version_8(hypers, large_scale)
    # names that came with a version -> values that mean the same as before
    additions: dict[int, dict[str, Any]] = {
        10: {"num_neighbors_adaptive": None, "cutoff_function": "Cosine"},
        11: {"attention_temperature": 1.0},
        12: {"adaptive_cutoff_method": "grid"},
        14: {"cutoff_width_adaptive": hypers.get("cutoff_width")},
        15: {"system_conditioning": False, "max_charge": 10, "max_spin_multiplicity": 10},
    }
    for newer, defaults in additions.items():
        if version < newer:
            hypers = defaults | hypers
    unknown = sorted(hypers.keys() - HYPERS.keys(), key=str)
    if unknown:
        shown = ", ".join(f"`{name}`" for name in unknown[:8])
        raise ValueError(f"unknown hyper-parameters {shown}: not supported")
    missing = sorted(HYPERS.keys() - hypers.keys())
    if missing:
        shown = ", ".join(f"`{name}`" for name in missing)
        raise ValueError(f"hyper-parameters {shown} are missing")
    return {name: _checked(name, hypers[name], *limits) for name, limits in HYPERS.items()}


def _of_version_8(hypers: Mapping[str, Any], large_scale: bool) -> dict[str, Any]:
    """Hyper-parameters as version 8 has them, of those of an older version."""
    d_pet = hypers.get("d_pet", 0)
    if not large_scale:
        return LEGACY | {"d_node": d_pet} | dict(hypers)
    # a value of a wrong type is reported later, by its name
    is_width = type(d_pet) is int
    widths = {
        "d_pet": d_pet,
        "d_node": 4 * d_pet if is_width else d_pet,
        "d_feedforward": 2 * d_pet if is_width else d_pet,
    }
    return dict(hypers) | LARGE_SCALE | widths


def _checked(
    name: str, value: Any, kind: Any, smallest: float | None = None, largest: float | None = None
) -> Any:
    """The value of a hyper-parameter, once its type and size are those expected."""
    if name == "num_neighbors_adaptive" and value is None:
        return None
    # `type`, because True is an instance of int; whole numbers may stand for floats
    if type(value) is not kind and not (kind is float and type(value) is int):
        raise ValueError(
            f"hyper-parameter `{name}` is of type {type(value).__name__}, expected {kind.__name__}"
        )
    if smallest is not None and largest is not None and not smallest <= value <= largest:
        raise ValueError(f"hyper-parameter `{name}` is {value}: expected {smallest} to {largest}")
    return value


def _state(
    checkpoint: Mapping[str, Any], version: int, large_scale: bool
) -> dict[str, StoredTensor]:
    """State dict of the best epoch, with the names of the newest version."""
    table = _table(checkpoint, "model_state_dict")
    # metatrain itself uses the last state of large-scale models
    if not large_scale and checkpoint.get("best_model_state_dict"):
        table = _table(checkpoint, "best_model_state_dict")
    table = {name: value for name, value in table.items() if name != "finetune_config"}
    state = stored_tensors(table, "the model's state")
    adapters = [name for name in state if "lora_" in name]
    if adapters:
        raise ValueError(
            f"`{adapters[0]}` is a LoRA adapter: models fine-tuned with LoRA are not supported"
        )
    if version < 8:
        names = LARGE_SCALE_NAMES if large_scale else LEGACY_NAMES
        state = {renamed(name, names): value for name, value in state.items()}
        for name, value in state.items():
            if EMBEDDINGS.fullmatch(name):
                state[name] = _without_padding(value)
    # a tensor with the prefix takes precedence over one of the same name without it
    prefixed = {name: value for name, value in state.items() if name.startswith("backend.")}
    others = {name: value for name, value in state.items() if name not in prefixed}
    without_prefix = {name.removeprefix("backend."): value for name, value in prefixed.items()}
    return others | without_prefix


def _without_padding(table: StoredTensor) -> StoredTensor:
    """An embedding table (species + 1, width) without its last row."""
    if len(table.shape) != 2 or table.shape[0] < 2:
        raise ValueError("an embedding table has no row for padding, as versions below 8 have")
    return replace(table, shape=(table.shape[0] - 1, table.shape[1]))
