"""Checkpoints in the layout of metatrain's versions, written from our own small models."""

import io
import re
import sys
import types
import zipfile
from dataclasses import asdict

import numpy as np
import torch

BASIC = (
    "cutoff",
    "cutoff_width",
    "d_pet",
    "d_head",
    "d_feedforward",
    "num_heads",
    "num_attention_layers",
    "num_gnn_layers",
    "zbl",
)
SINCE = {
    "d_node": 8,
    "normalization": 8,
    "activation": 8,
    "transformer_type": 8,
    "featurizer_type": 8,
    "num_neighbors_adaptive": 10,
    "cutoff_function": 10,
    "attention_temperature": 11,
    "adaptive_cutoff_method": 12,
    "cutoff_width_adaptive": 14,
    "system_conditioning": 15,
    "max_charge": 15,
    "max_spin_multiplicity": 15,
}
CURRENT = {
    r"\.attention_layers\.": ".trans.layers.",
    r"^combinations\.(\d+)\.norm": r"combination_norms.\1",
    r"^combinations\.(\d+)\.mlp": r"combination_mlps.\1",
    r"^(.*_last_layers\.([^.]+)\.\d+)\.": r"\1.\2___0.",
}
LEGACY = {
    r"^edge_embedder\.": "embedding.",
    r"^node_embedders\.(\d+)\.": r"gnn_layers.\1.node_embedder.",
    r"\.mlp\.w_in\.": ".mlp.0.",
    r"\.mlp\.w_out\.": ".mlp.3.",
}
LARGE_SCALE = {
    r"^edge_embedder\.": "embedding.",
    r"^node_embedders\.0\.": "node_embedding.",
    r"^combination_norms\.": "combination_rmsnorms.",
}
TABLE = r"(embedding|node_embedding|gnn_layers\.\d+\.(node|neighbor)_embedder)\.weight"


class Named:
    """An object that a pickle stores as one of a class of metatrain."""

    __module__ = "metatrain"

    def __init__(self, **state):
        self.__dict__.update(state)


def checkpoint(model, version=16, large_scale=False):
    """Content of a checkpoint of this version for a model."""
    state = state_dict(model, version, large_scale)
    hypers = {
        name: value
        for name, value in asdict(model.settings).items()
        if name in BASIC or version >= SINCE.get(name, 99)
    }
    hypers |= {"long_range": {"enable": False, "use_ewald": False}}
    if "cutoff_function" in hypers:
        hypers["cutoff_function"] = hypers["cutoff_function"].capitalize()
    targets = {name: Named(quantity="energy", unit="eV") for name in model.settings.heads}
    info = Named(length_unit="angstrom", _atomic_types=list(model.species), targets=targets)
    return {
        "architecture_name": "pet",
        "model_ckpt_version": version,
        "model_data": {"model_hypers": hypers, "dataset_info": info},
        "model_state_dict": state,
        "best_model_state_dict": None,
    }


def wrapper(model, version=4):
    """Content of an LLPR checkpoint of a version around a model, with random covariances."""
    generator = torch.Generator().manual_seed(3)
    tensors = {}
    for head, layer in model.uncertainties.items():
        n = len(layer.factor)
        noise = torch.randn(n, 3 * n, generator=generator, dtype=torch.float64)
        covariance = noise @ noise.T
        layer.factor.copy_(torch.linalg.cholesky(covariance))
        layer.multiplier.fill_(0.7)
        layer.ensemble.copy_(
            torch.randn(layer.ensemble.shape, generator=generator, dtype=torch.float64)
        )
        name = "energy_uncertainty" if head == "energy" else f"mtt::aux::{head}_uncertainty"
        tensors |= {
            f"covariance_{name}": covariance,
            f"multiplier_{name}": layer.multiplier.clone(),
        }
        tensors |= (
            {f"cholesky_{name}": layer.factor.clone()}
            if version == 4
            else {f"inv_covariance_{name}": torch.linalg.inv(covariance)}
        )
        tensors |= (
            {f"llpr_ensemble_layers.{head}.weight": layer.ensemble.clone()}
            if version > 2
            else {f"{head}_ensemble_weights": layer.ensemble.T.contiguous()}
        )
    content = {
        "architecture_name": "llpr",
        "model_ckpt_version": version,
        "wrapped_model_checkpoint": checkpoint(model),
    }
    return content | (
        {"state_dict": tensors}
        if version < 3
        else {"model_state_dict": tensors, "best_model_state_dict": None}
    )


def state_dict(model, version, large_scale):
    """{name: tensor} of a model in a version; rows of species are in the model's order."""
    renames = CURRENT | (LARGE_SCALE if large_scale else LEGACY if version < 8 else {})
    state = {}
    for name, tensor in model.state_dict().items():
        if name.startswith("uncertainties."):
            continue
        for pattern, new in renames.items():
            name = re.sub(pattern, new, name)
        if version < 8 and re.fullmatch(TABLE, name):
            tensor = torch.cat([tensor, torch.full_like(tensor[:1], 7.0)])
        state["backend." * (version >= 16) + name] = tensor
    index = torch.full((max(model.species) + 1,), -1)
    index[list(model.species)] = torch.arange(len(model.species))
    state["backend." * (version >= 16) + "species_to_species_index"] = index
    for name in model.settings.heads:
        composition = model.compositions[name]
        state[f"additive_models.0.{name}_composition_buffer"] = table(
            "center_type", list(composition), list(composition.values())
        )
        state[f"scaler.{name}_scaler_buffer"] = table(
            "atomic_type", [-1], [model.scales.get(name, 1.0)]
        )
    if version < 7:
        state = {name: tensor for name, tensor in state.items() if not name.startswith("scaler.")}
        state["scaler.scales"] = torch.tensor(
            [model.scales.get(name, 1.0) for name in model.settings.heads]
        )
    if model.settings.zbl:
        state["additive_models.1.species_to_index"] = index.int()
        state["additive_models.1.covalent_radii"] = torch.tensor(
            [model.covalent_radii[z] for z in model.species], dtype=torch.float64
        )
    return state


def table(label, labels, values):
    """Lookup table with one column as a uint8 tensor."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in (
            ("samples", np.array([(k,) for k in labels], dtype=[(label, "<i4")])),
            ("values", np.array(values, dtype="<f8")[:, None]),
        ):
            content = io.BytesIO()
            np.save(content, array)
            archive.writestr(f"blocks/0/{name}.npy", content.getvalue())
    return torch.frombuffer(bytearray(buffer.getvalue()), dtype=torch.uint8)


def save(path, content):
    """Path of a checkpoint file with this content."""
    sys.modules["metatrain"] = types.ModuleType("metatrain")  # where pickle looks the class up
    sys.modules["metatrain"].Named = Named
    try:
        torch.save(content, path)
    finally:
        del sys.modules["metatrain"]
    return path


def rewrite(source, target, change):
    """Path of a copy of a zip file with each record replaced by change(name, bytes)."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return target
