"""What changed between versions 1 to 16 of metatrain's PET checkpoints: hyper-parameters, names and
shapes of tensors.

A version below 8 comes in two kinds: "large-scale" models, which have a tensor
`node_embedding.weight`, and older ones with LayerNorm after each block. Both have an embedding row
for padding that later versions lack.
"""

import re
from dataclasses import replace

from ._archive import Stored

NEWEST = 16

# name: type, smallest and largest value. The limits only keep a damaged file from asking for the
# impossible.
HYPERS = {
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
LEGACY = {
    "normalization": "LayerNorm",
    "activation": "SiLU",
    "transformer_type": "PostLN",
    "featurizer_type": "residual",
}
LARGE_SCALE = {
    "normalization": "RMSNorm",
    "activation": "SwiGLU",
    "transformer_type": "PreLN",
    "featurizer_type": "feedforward",
}
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


def upgrade(checkpoint):
    """(hypers, state) of a PET checkpoint of any version, with the names of the newest version.

    The prefix `backend.` of names is left out.

    hypers {name: value}, all of HYPERS and nothing else; state {name: Stored}. Raises ValueError
    for what cannot be read or is not served.
    """
    version = _version(checkpoint)
    large_scale = version < 8 and "node_embedding.weight" in _table(checkpoint, "model_state_dict")
    stored = dict(_table(_table(checkpoint, "model_data"), "model_hypers"))
    hypers, state = _hypers(stored, version, large_scale), _state(checkpoint, version, large_scale)
    if hypers["num_gnn_layers"] * hypers["num_attention_layers"] > len(state):
        raise ValueError(
            "`num_gnn_layers` and `num_attention_layers` ask for more layers than there are tensors"
        )
    return hypers, state


def _version(checkpoint):
    version = checkpoint.get("model_ckpt_version", 1)
    if type(version) is not int or not 1 <= version <= NEWEST:
        shown = version if type(version) is int else type(version).__name__
        raise ValueError(
            f"`model_ckpt_version` is {shown}: PET checkpoints of version 1 to {NEWEST} can be read"
        )
    return version


def _table(parent, name):
    value = parent.get(name)
    if type(value) is not dict:
        raise ValueError(f"`{name}` is missing or not a table: not a checkpoint of a PET model")
    return value


def _hypers(hypers, version, large_scale):
    long_range = hypers.pop("long_range", {})
    if type(long_range) is not dict or long_range.get("enable", False) is not False:
        raise ValueError(
            "`long_range` is enabled: PET with long-range electrostatics is not served"
        )
    if version < 8:
        old = {"d_pet": 0, "d_feedforward": 0} | hypers
        hypers = (
            old
            | LARGE_SCALE
            | {
                "d_node": _times(4, old["d_pet"]),
                "d_feedforward": _times(2, old["d_pet"]),
            }
            if large_scale
            else LEGACY | {"d_node": old["d_pet"]} | hypers
        )
    for newer, defaults in (
        (10, {"num_neighbors_adaptive": None, "cutoff_function": "Cosine"}),
        (11, {"attention_temperature": 1.0}),
        (12, {"adaptive_cutoff_method": "grid"}),
        (14, {"cutoff_width_adaptive": hypers.get("cutoff_width")}),
        (15, {"system_conditioning": False, "max_charge": 10, "max_spin_multiplicity": 10}),
    ):
        if version < newer:
            hypers = defaults | hypers
    unknown, missing = (
        sorted(hypers.keys() - HYPERS.keys(), key=str),
        sorted(HYPERS.keys() - hypers.keys()),
    )
    if unknown:
        raise ValueError(
            f"unknown hyper-parameters {', '.join(f'`{name}`' for name in unknown[:8])}: not served"
        )
    if missing:
        raise ValueError(
            f"hyper-parameters {', '.join(f'`{name}`' for name in missing)} are missing"
        )
    return {name: _checked(name, hypers[name], *limits) for name, limits in HYPERS.items()}


def _times(factor, width):
    return factor * width if type(width) is int else width


def _checked(name, value, kind, smallest=None, largest=None):
    if name == "num_neighbors_adaptive" and value is None:
        return None
    if type(value) is not kind and not (kind is float and type(value) is int):
        raise ValueError(
            f"hyper-parameter `{name}` is of type {type(value).__name__}, expected {kind.__name__}"
        )
    if smallest is not None and not smallest <= value <= largest:
        raise ValueError(f"hyper-parameter `{name}` is {value}: expected {smallest} to {largest}")
    return value


def _state(checkpoint, version, large_scale):
    state = _table(checkpoint, "model_state_dict")
    if not large_scale and checkpoint.get(
        "best_model_state_dict"
    ):  # large-scale models are served as trained last
        state = _table(checkpoint, "best_model_state_dict")
    state = {name: value for name, value in state.items() if name != "finetune_config"}
    odd = [
        name for name, value in state.items() if type(name) is not str or type(value) is not Stored
    ]
    if odd:
        raise ValueError(f"the model's state holds `{odd[0]}`, which is not a tensor")
    lora = [name for name in state if "lora_" in name]
    if lora:
        raise ValueError(
            f"`{lora[0]}` is a LoRA adapter: models fine-tuned with LoRA are not served"
        )
    if version < 8:
        renames = LARGE_SCALE_NAMES if large_scale else LEGACY_NAMES
        state = {_renamed(name, renames): value for name, value in state.items()}
        state = {
            name: _without_padding(value) if EMBEDDINGS.fullmatch(name) else value
            for name, value in state.items()
        }
    prefixed = {
        name.removeprefix("backend."): value
        for name, value in state.items()
        if name.startswith("backend.")
    }
    return {
        name: value for name, value in state.items() if not name.startswith("backend.")
    } | prefixed


def _renamed(name, renames):
    for pattern, new in renames.items():
        name = re.sub(pattern, new, name)
    return name


def _without_padding(table):
    if len(table.shape) != 2 or table.shape[0] < 2:
        raise ValueError("an embedding table has no row for padding, as versions below 8 have")
    return replace(table, shape=(table.shape[0] - 1, table.shape[1]))
