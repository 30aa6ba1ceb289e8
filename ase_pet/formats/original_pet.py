"""Folders that the original PET code (github.com/spozdn/pet) writes for a training run.

`hypers_used.yaml` has the settings, `all_species.npy` the species, `self_contributions.npy` the
energies of single atoms, and files `*_model_state_dict` have the weights of several epochs. All of
them are read as data: nothing is executed (`_unpickle`, `_archive`, `_npy`,
`_original_pet_hypers`). Files of all versions of that code are read:

* before July 2024, heads had another name in the state dict;
* before May 2024, `RESIDUAL_FACTOR` was 0.5 and not written;
* before April 2024, bond energies were not weighted by the cutoff function, and means over
  neighbours were divided by their number. Such a model is evaluated as it was trained: its energy
  jumps where a bond crosses the cutoff.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..models import original_pet
from ._archive import Archive, StoredTensor
from ._npy import read_column
from ._original_pet_hypers import Hypers, read_hypers
from ._state import check_state, renamed, stored_tensors, without_prefix

BY_CONTENT = False  # recognised by names of files
HYPERS = "hypers_used.yaml"
SPECIES = "all_species.npy"
CONTRIBUTIONS = "self_contributions.npy"
BEST = "best_val_rmse_both_model_state_dict"
LARGEST = 1 << 16  # bytes of a .npy file
EMBEDDING = "embedding.weight"
# tables with a row per species and a last row for padding
TABLES = re.compile(r"embedding\.weight|gnn_layers\.\d+\.(neighbor|central)_embedder\.weight")
# layers that were only used as templates, and heads under a second name
UNUSED = re.compile(
    r"gnn_layers\.\d+\.trans_layer\.|(central_tokens|messages|messages_bonds)_predictors\.\d+\."
)

State = Mapping[str, StoredTensor]


def recognises(path: str | Path) -> bool:
    """Whether `path` is a folder with `hypers_used.yaml`, or a file of weights in such a folder."""
    path = Path(path)
    # the folder of a run
    if path.is_dir():
        return (path / HYPERS).is_file()
    if not path.is_file() or not (path.parent / HYPERS).is_file():
        return False
    if path.suffix in (".npz", ".npy", ".yaml"):
        return False
    if path.name == "checkpoint" or path.name.endswith("_state_dict"):
        return True
    with path.open("rb") as file:
        return file.read(2) == b"PK"


def read(path: str | Path) -> original_pet.Model:
    """Original PET of a folder or of a file of weights, on the CPU, in the dtype of the weights.

    `energy_head` is "energy"; a model of several targets has heads "energy/0", "energy/1", ...
    `metadata` says which weights were read.

    Parameters
    ----------
    path:
        A file of weights in a folder of a training run, or the folder itself. Of a folder the
        weights with the best product of validation errors of energies and forces are read, or the
        only weights in it.

    Raises
    ------
    FileNotFoundError
        The path does not exist.
    ValueError
        A file is damaged or not supported; the message names what is.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"`{path}` does not exist")
    try:
        weights = _best_weights(path) if path.is_dir() else path
        return _model(weights.parent, weights)
    except ValueError as error:
        raise ValueError(
            f"`{path}` cannot be read as a model of the original PET: {str(error)[:500]}"
        ) from None


def _best_weights(folder: Path) -> Path:
    """Path of the weights to read of a folder."""
    if (folder / BEST).is_file():
        return folder / BEST
    names = sorted(file.name for file in folder.glob("*_model_state_dict") if file.is_file())
    if len(names) == 1:
        return folder / names[0]
    # which of several is meant cannot be guessed
    others = "there are no others"
    if names:
        others = f"there are {', '.join(f'`{name}`' for name in names[:8])}"
    raise ValueError(
        f"it has no `{BEST}`; {others}: give the path of a file of weights in the folder"
    )


def _model(folder: Path, weights: Path) -> original_pet.Model:
    """Model with the settings of a folder and a file of weights."""
    hypers = read_hypers(_file(folder, HYPERS))
    species = _species(folder)
    energies = _self_contributions(folder, species) if hypers.self_contributions else {}
    names = ["energy"]
    if hypers.n_targets > 1:
        names = [f"energy/{k}" for k in range(hypers.n_targets)]
    with Archive(weights) as archive:
        state = _state(archive.content())
        _check_size(hypers, state)
        # the name of heads before July 2024; DTYPE has been written since April 2024
        old_heads = any(name.startswith("heads.0.nn.") for name in state)
        settings = original_pet.Settings(
            species,
            heads=dict.fromkeys(names, 1),
            weigh_bonds=hypers.states_dtype or not old_heads,
            **hypers.settings,
        )
        # on "meta" no memory is allocated before the shapes are known to be those in the file
        with torch.device("meta"):
            model = original_pet.Model(settings)
        model.load_state_dict(_weights(archive, state, model, old_heads), assign=True)
    model.compositions = {name: energies for name in names if energies}
    model.metadata = _metadata(weights, settings)
    return model


def _check_size(hypers: Hypers, state: State) -> None:
    """Raise ValueError for settings of a model with more layers than there are tensors."""
    n_layers = hypers.settings["n_gnn_layers"]
    n_blocks = max(hypers.settings["n_trans_layers"], hypers.n_targets)  # of each layer
    if n_layers * n_blocks > len(state):
        raise ValueError(
            "`N_GNN_LAYERS`, `N_TRANS_LAYERS` or `N_TARGETS` ask for more than there are tensors"
        )


def _file(folder: Path, name: str) -> Path:
    if not (folder / name).is_file():
        raise ValueError(f"`{name}` is missing in its folder")
    return folder / name


def _column(folder: Path, name: str) -> np.ndarray:
    path = _file(folder, name)
    if path.stat().st_size > LARGEST:
        raise ValueError(f"`{name}` has more than {LARGEST} bytes: refused")
    return read_column(path.read_bytes(), f"`{name}`")


def _species(folder: Path) -> tuple[int, ...]:
    """Atomic numbers in the order of the embedding rows."""
    numbers = _column(folder, SPECIES)
    if numbers.dtype.kind != "i" or not len(numbers) or not all(0 < z < 119 for z in numbers):
        raise ValueError(f"`{SPECIES}` is not a list of atomic numbers")
    if len(set(numbers.tolist())) != len(numbers):
        raise ValueError(f"`{SPECIES}` has an atomic number twice")
    return tuple(numbers.tolist())


def _self_contributions(folder: Path, species: tuple[int, ...]) -> dict[int, float]:
    """{Z: eV} energies of single atoms."""
    energies = _column(folder, CONTRIBUTIONS)
    if len(energies) != len(species) or not np.isfinite(energies).all():
        raise ValueError(
            f"`{CONTRIBUTIONS}` is not one finite number for each of {len(species)} species"
        )
    return dict(zip(species, energies.astype(float).tolist(), strict=True))


def _state(content: Any) -> dict[str, StoredTensor]:
    """State dict in a file of weights, without the prefix of wrappers around the model."""
    # a file named `checkpoint` holds the state of the optimiser too
    if type(content) is dict and type(content.get("model_state_dict")) is dict:
        content = content["model_state_dict"]
    if type(content) is not dict or not content:
        raise ValueError("the file of weights does not hold a table of tensors")
    state = stored_tensors(content, "the state dict")
    # the embedding of central atoms is outside of the layers: its name shows the prefix
    embeddings = [
        name
        for name in state
        if "gnn_layers" not in name and (name == EMBEDDING or name.endswith("." + EMBEDDING))
    ]
    if len(embeddings) != 1:
        raise ValueError(
            f"the state dict has {len(embeddings)} tensors `{EMBEDDING}` outside of layers,"
            " expected one"
        )
    return without_prefix(state, embeddings[0].removesuffix(EMBEDDING))


def _weights(
    archive: Archive, state: State, model: original_pet.Model, old_heads: bool
) -> dict[str, torch.Tensor]:
    """State dict of the model from the file, complete and of one dtype.

    Tensors of the file that are not used and not known are refused.
    """
    expected = model.state_dict()
    in_file = _names_in_file(model.settings, old_heads)
    names = {name: renamed(name, in_file) for name in expected}
    # before any tensor is read
    check_state(state, names.values(), UNUSED.match, "the state dict")
    weights = {}
    for name, tensor in expected.items():
        shape = tuple(tensor.shape)
        weights[name] = _weight(archive, state, names[name], shape)
    return weights


def _weight(archive: Archive, state: State, name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """A weight, without the last row of tables of species, which is for padding."""
    has_padding = TABLES.fullmatch(name) is not None
    in_file = (shape[0] + 1, *shape[1:]) if has_padding else shape
    stored = state[name]
    if stored.shape != in_file:
        raise ValueError(
            f"`{name}` has shape {stored.shape}: the hyper-parameters ask for {in_file}"
        )
    # the rows are contiguous, so that the shape of fewer rows reads the first ones
    weight = archive.tensor(replace(stored, shape=shape))
    if not torch.isfinite(weight).all():
        raise ValueError(f"`{name}` is not finite")
    return weight


def _names_in_file(settings: original_pet.Settings, old_heads: bool) -> dict[str, str]:
    """{our names of weights: those of the file}, as regular expressions and replacements."""
    names = {
        r"^(gnn_layers\.\d+\.)transformer_layers\.": r"\1trans.layers.",
        r"\.mlp\.2\.": ".mlp.3.",
        r"\.final_norm\.": ".trans.final_norm.",
        r"^((?:bond_)?heads)\.energy\.(\d+)\.": r"\1.\2.nn." if old_heads else r"\1.\2.model.nn.",
        r"^((?:bond_)?heads)\.energy/(\d+)\.(\d+)\.": r"\1.\3.models.\2.nn.",
    }
    if settings.r_embedding_activation:
        names[r"\.r_embedding\."] = ".r_embedding.0."
    if settings.compress_mode == "linear":
        names[r"\.compress\.0\."] = ".compress."
    return names


def _metadata(weights: Path, settings: original_pet.Settings) -> dict[str, str]:
    """Which weights were read, as a table of texts."""
    with weights.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    table = {
        "format": "original PET",
        "folder": weights.resolve().parent.name,
        "weights": weights.name,
        "sha256": sha256,
    }
    if not settings.weigh_bonds:
        table["bond_energies"] = (
            "as before April 2024: without cutoff function, so that the energy jumps at the cutoff"
        )
    return table
