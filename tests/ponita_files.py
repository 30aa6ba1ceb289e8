"""Checkpoints in the format of the PONITA authors, written from a model of this package."""

import torch

from ase_pet.formats import ponita
from ase_pet.formats._state import renamed


def state_dict(model):
    """State dict with the names of the authors' code."""
    own = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    state = {
        renamed(name, ponita.IN_FILE): tensor
        for name, tensor in own.items()
        if name.split(".")[0] in ("basis", "fibre_basis", "layers")
    }
    columns = [
        own["node_embedder.weight"].T,
        *([own["vector_embedder.weight"]] if "vector_embedder.weight" in own else []),
    ]
    state["x_embedder.weight"] = torch.cat(columns, 1)
    settings = model.settings
    heads = model.last_layers.values()
    readouts = (
        range(settings.num_layers) if settings.multiple_readouts else [settings.num_layers - 1]
    )
    for index, k in enumerate(readouts):
        for part in ("weight", "bias"):
            state[f"read_out_layers.{k}.{part}"] = torch.cat(
                [getattr(head[index], part).detach() for head in heads]
            )
    for k in range(settings.num_layers):
        state[f"interaction_layers.{k}.conv.callibrated"] = torch.tensor(True)
    if settings.cutoff_function == "polynomial":
        state |= {
            "windowing_fn.p": torch.tensor(settings.cutoff_power),
            "windowing_fn.r_max": torch.tensor(settings.cutoff),
        }
    return {name: tensor.contiguous() for name, tensor in state.items()}


def lightning(state, averaged=None):
    """Content of a Lightning checkpoint; averaged: a state dict of averaged weights."""
    matrices = sorted(name for name in state if name.endswith("weight") and ".norm." not in name)
    others = sorted(
        name
        for name in state
        if name not in matrices and "callibrated" not in name and "windowing" not in name
    )
    optimiser = {"state": {}, "param_groups": [{"lr": 5e-4, "params": [0]}]}
    if averaged:
        optimiser["ema"] = tuple(averaged[name] for name in matrices + others)
    return {
        "epoch": 9,
        "global_step": 90,
        "pytorch-lightning_version": "2.1.0",
        "loops": {"fit_loop": {}},
        "state_dict": {f"model.{name}": tensor for name, tensor in state.items()},
        "optimizer_states": [optimiser],
        "callbacks": {
            "ModelCheckpoint{'monitor': 'valid MAE'}": {"best_model_score": torch.tensor(0.5)}
        },
        "lr_schedulers": [{"last_epoch": 9}],
    }
