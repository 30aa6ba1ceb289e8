"""Small models of the original PET with random weights, and folders in the layout of its code."""

import re
from dataclasses import asdict, replace

import numpy as np
import torch
import yaml

from ase_pet.models import original_pet
from toys import COMPOSITION

BASE = original_pet.Settings(
    species=(1, 6, 8, 14),
    r_cut=4.0,
    cutoff_delta=0.8,
    n_gnn_layers=2,
    n_trans_layers=1,
    transformer_d_model=8,
    transformer_n_head=2,
    transformer_dim_feedforward=8,
    head_n_neurons=8,
)
NO_TOKENS = {"add_token_first": False, "add_token_second": False}
SETTINGS = {
    "base": {},
    "step": {"cutoff_function": "step"},
    "bump": {"cutoff_function": "bump"},
    "mish": {"activation": "mish"},
    "PreLN": {"transformer_type": "PreLN", "n_trans_layers": 2},
    "no transformer": {"n_trans_layers": 0},
    "linear": {"compress_mode": "linear"},
    "blend": {"blend_neighbor_species": True, "n_gnn_layers": 3},
    "blend, linear": {"blend_neighbor_species": True, "compress_mode": "linear"},
    "activation": {"r_embedding_activation": True},
    "activation, blend": {
        "r_embedding_activation": True,
        "blend_neighbor_species": True,
        "activation": "mish",
    },
    "no length": {"use_length": False},
    "only length": {"use_only_length": True},
    "no tokens": NO_TOKENS,
    "no tokens, PreLN": {**NO_TOKENS, "transformer_type": "PreLN"},
    "tokens last": {"add_token_first": False},
    "tokens first": {"add_token_second": False, "n_gnn_layers": 3},
    "no bonds": {"use_bond_energies": False},
    "no bonds, no tokens": {**NO_TOKENS, "use_bond_energies": False},
    "mean bonds": {"average_bond_energies": True},
    "mean pooling": {**NO_TOKENS, "average_pooling": True},
    "bonds of 2023": {"weigh_bonds": False},
    "means of 2023": {
        **NO_TOKENS,
        "weigh_bonds": False,
        "average_pooling": True,
        "average_bond_energies": True,
    },
    "residual factor": {"residual_factor": 0.8, "n_gnn_layers": 3},
    "targets": {"heads": {"energy/0": 1, "energy/1": 1}},
    "local": {"n_gnn_layers": 1},
    "local, no tokens": {"n_gnn_layers": 1, "add_token_second": False},
}
CURRENT = {
    r"^(gnn_layers\.\d+\.)transformer_layers\.": r"\1trans.layers.",
    r"\.mlp\.2\.": ".mlp.3.",
    r"\.final_norm\.": ".trans.final_norm.",
    r"^(bond_heads|heads)\.energy\.(\d+)\.": r"\1.\2.model.nn.",
    r"^(bond_heads|heads)\.energy/(\d+)\.(\d+)\.": r"\1.\3.models.\2.nn.",
}
OLD = {r"^(bond_heads|heads)\.energy\.(\d+)\.": r"\1.\2.nn."}
TABLE = r"embedding\.weight|gnn_layers\.\d+\.(neighbor|central)_embedder\.weight"
ALIASES = {
    "heads": ("central_tokens_predictors", "messages_predictors"),
    "bond_heads": ("messages_bonds_predictors",),
}


def tiny(name="base", dtype=torch.float64, seed=0, **changes):
    """Original PET of a few hundred weights, all of them random."""
    model = original_pet.Model(replace(BASE, **{**SETTINGS[name], **changes})).to(dtype)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            centre, width = (1.0, 0.2) if "norm" in key and key.endswith("weight") else (0.0, 0.4)
            parameter.copy_(centre + width * noise)
    model.compositions = {head: COMPOSITION for head in model.settings.heads}
    model.energy_head = next(iter(model.settings.heads))
    return model


def hypers(model):
    """Groups of hyper-parameters as the original code writes them."""
    architecture = {
        name.upper(): value
        for name, value in asdict(model.settings).items()
        if name not in ("species", "heads", "cutoff_function", "weigh_bonds")
    }
    architecture |= {
        "N_TARGETS": len(model.settings.heads),
        "D_OUTPUT": 1,
        "TARGET_TYPE": "structural",
        "TARGET_AGGREGATION": "sum",
        "DTYPE": "float32",
        "K_CUT": None,
        "USE_LONG_RANGE": False,
        "HEADS_CENTRAL_SPECIFIC": False,
        "TRANSFORMERS_CENTRAL_SPECIFIC": False,
        "USE_ADDITIONAL_SCALAR_ATTRIBUTES": False,
        "SCALAR_ATTRIBUTES_SIZE": None,
    }
    return {
        "ARCHITECTURAL_HYPERS": architecture,
        "FITTING_SCHEME": {"INITIAL_LR": 1e-4, "MAX_TIME": None},
        "MLIP_SETTINGS": {"USE_ENERGIES": True, "USE_FORCES": True},
        "UTILITY_FLAGS": {"CALCULATION_TYPE": "mlip"},
        "GENERAL_TARGET_SETTINGS": {"TARGET_DIM": 42, "TARGET_TYPE": "atomic"},
    }


def state_dict(model, prefix="model.pet_model.", old=False):
    """{name: tensor} as in the original code, with padding rows, templates and duplicate names."""
    renames = CURRENT | (OLD if old else {})
    if model.settings.r_embedding_activation:
        renames[r"\.r_embedding\."] = ".r_embedding.0."
    if model.settings.compress_mode == "linear":
        renames[r"\.compress\.0\."] = ".compress."
    state = {}
    for name, tensor in model.state_dict().items():
        for pattern, new in renames.items():
            name = re.sub(pattern, new, name)
        if re.fullmatch(TABLE, name):
            tensor = torch.cat([tensor, torch.full_like(tensor[:1], 7.0)])
        state[prefix + name] = tensor
        if ".trans.layers.0." in name:
            state[prefix + name.replace(".trans.layers.0.", ".trans_layer.")] = tensor + 1
        kind, _, rest = name.partition(".")
        for alias in () if old else ALIASES.get(kind, ()):
            state[f"{prefix}{alias}.{rest.replace('.', '.head.', 1)}"] = tensor
    return state


def write(folder, model, content=None, state=None, weights="best_val_rmse_both_model_state_dict"):
    """Path of a new folder of a training run; content: of the YAML file; state: the weights."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "hypers_used.yaml").write_text(
        yaml.dump(hypers(model) if content is None else content)
    )
    np.save(folder / "all_species.npy", np.array(model.species))
    energies = next(iter(model.compositions.values()))
    np.save(folder / "self_contributions.npy", np.array([energies[z] for z in model.species]))
    torch.save(state_dict(model) if state is None else state, folder / weights)
    return folder
