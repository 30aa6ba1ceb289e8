"""Folders that the original PET code (github.com/spozdn/pet) writes for a training run.

`hypers_used.yaml` has the settings, `all_species.npy` the species, `self_contributions.npy` the
energies of single atoms, and `*_model_state_dict` weights of several epochs. All of it is read as
data: nothing is executed (`_unpickle`, `_archive`, `_npy`, `_original_pet_hypers`). Files of every
age of that code are read:

* before July 2024, heads had another name in the state dict;
* before May 2024, `RESIDUAL_FACTOR` was 0.5 and not written;
* before April 2024, bond energies were not weighted by the cutoff function, and means over
neighbours were over their
  number. A model trained that way is served that way: its energy jumps where an edge leaves.
"""

import hashlib
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from ..models import original_pet
from ._archive import Archive, Stored
from ._npy import read_column
from ._original_pet_hypers import read_hypers
from ._state import check_state

HYPERS, SPECIES, CONTRIBUTIONS = "hypers_used.yaml", "all_species.npy", "self_contributions.npy"
BEST = "best_val_rmse_both_model_state_dict"
LARGEST = 1 << 16  # bytes of a .npy file
EMBEDDING = "embedding.weight"
TABLES = re.compile(r"embedding\.weight|gnn_layers\.\d+\.(neighbor|central)_embedder\.weight")
# templates that were only copied, and the heads by a second name
WITHOUT_USE = re.compile(
    r"gnn_layers\.\d+\.trans_layer\.|(central_tokens|messages|messages_bonds)_predictors\.\d+\."
)


def recognises(path):
    """Whether the path is a folder with `hypers_used.yaml`.

    Or a file of weights in such a folder.
    """
    path = Path(path)
    if path.is_dir():
        return (path / HYPERS).is_file()
    if (
        not path.is_file()
        or not (path.parent / HYPERS).is_file()
        or path.suffix in (".npz", ".npy", ".yaml")
    ):
        return False
    with path.open("rb") as file:
        return (
            file.read(2) == b"PK" or path.name == "checkpoint" or path.name.endswith("_state_dict")
        )


def read(path):
    """Original PET of a folder, or with the weights of one file in it, on the CPU in the dtype of
    the weights.

    Of a folder the weights with the best product of validation errors of energies and forces are
    read, or the only ones there are. The `energy_head` is "energy"; of a fit to several targets the
    heads are "energy/0", "energy/1", ... `metadata` says where the weights come from. Raises
    ValueError that names what is damaged, unknown or not served.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"`{path}` does not exist")
    try:
        weights = _chosen(path) if path.is_dir() else path
        return _model(weights.parent, weights)
    except ValueError as error:
        raise ValueError(
            f"`{path}` cannot be read as a model of the original PET: {str(error)[:500]}"
        ) from None


def _chosen(folder):
    """Path of the weights to read."""
    if (folder / BEST).is_file():
        return folder / BEST
    found = sorted(file.name for file in folder.glob("*_model_state_dict") if file.is_file())
    if len(found) == 1:
        return folder / found[0]
    there_is = (
        f"there are {', '.join(f'`{name}`' for name in found[:8])}"
        if found
        else "there are no others"
    )
    raise ValueError(
        f"it has no `{BEST}`; {there_is}: give the path of a file of weights in the folder"
    )


def _model(folder, weights):
    hypers = read_hypers(_file(folder, HYPERS))
    species = _species(folder)
    energies = _self_contributions(folder, species) if hypers.self_contributions else {}
    heads = (
        {"energy": 1}
        if hypers.n_targets == 1
        else {f"energy/{k}": 1 for k in range(hypers.n_targets)}
    )
    with Archive(weights) as archive:
        state = _state(archive.content())
        if hypers.settings["n_gnn_layers"] * max(
            hypers.settings["n_trans_layers"], hypers.n_targets
        ) > len(state):
            raise ValueError(
                "`N_GNN_LAYERS`, `N_TRANS_LAYERS` or `N_TARGETS` ask for more than there are"
                " tensors"
            )
        old = any(name.startswith("heads.0.nn.") for name in state)
        settings = original_pet.Settings(
            species, heads=heads, weigh_bonds=hypers.says_dtype or not old, **hypers.settings
        )
        with torch.device(
            "meta"
        ):  # nothing is allocated before its shape is known to be that in the file
            model = original_pet.Model(settings)
        model.load_state_dict(_weights(archive, state, model, old), assign=True)
    model.compositions = {name: energies for name in heads if energies}
    model.metadata = _metadata(weights, settings)
    return model


def _file(folder, name):
    if not (folder / name).is_file():
        raise ValueError(f"`{name}` is missing in its folder")
    return folder / name


def _column(folder, name):
    path = _file(folder, name)
    if path.stat().st_size > LARGEST:
        raise ValueError(f"`{name}` has more than {LARGEST} bytes: refused")
    return read_column(path.read_bytes(), f"`{name}`")


def _species(folder):
    """Atomic numbers in the order of the embedding rows."""
    numbers = _column(folder, SPECIES)
    if numbers.dtype.kind != "i" or not len(numbers) or not all(0 < z < 119 for z in numbers):
        raise ValueError(f"`{SPECIES}` is not a list of atomic numbers")
    if len(set(numbers.tolist())) != len(numbers):
        raise ValueError(f"`{SPECIES}` has an atomic number twice")
    return tuple(numbers.tolist())


def _self_contributions(folder, species):
    """{Z: eV} energies of single atoms."""
    energies = _column(folder, CONTRIBUTIONS)
    if len(energies) != len(species) or not np.isfinite(energies).all():
        raise ValueError(
            f"`{CONTRIBUTIONS}` is not one finite number for each of {len(species)} species"
        )
    return dict(zip(species, energies.astype(float).tolist(), strict=True))


def _state(content):
    """{name.

    Stored} of a state dict, or of that in a `checkpoint`, without the prefix of wrappers around the
    model.
    """
    if type(content) is dict and type(content.get("model_state_dict")) is dict:
        content = content["model_state_dict"]
    if type(content) is not dict or not content:
        raise ValueError("the file of weights does not hold a table of tensors")
    odd = [
        name
        for name, value in content.items()
        if type(name) is not str or type(value) is not Stored
    ]
    if odd:
        raise ValueError(f"the state dict holds `{str(odd[0])[:60]}`, which is not a tensor")
    prefixes = [
        name.removesuffix(EMBEDDING)
        for name in content
        if "gnn_layers" not in name and (name == EMBEDDING or name.endswith("." + EMBEDDING))
    ]
    if len(prefixes) != 1:
        raise ValueError(
            f"the state dict has {len(prefixes)} tensors `{EMBEDDING}` outside of layers,"
            " expected one"
        )
    strange = [name for name in content if not name.startswith(prefixes[0])]
    if strange:
        raise ValueError(f"the state dict holds the unknown `{strange[0][:80]}`")
    return {name.removeprefix(prefixes[0]): value for name, value in content.items()}


def _weights(archive, state, model, old):
    """State dict of the model from the file, complete and of one dtype.

    Every tensor of the file must have a use.
    """
    expected = model.state_dict()
    names = {name: _in_file(name, model.settings, old) for name in expected}
    check_state(state, names.values(), WITHOUT_USE.match, "the state dict")
    return {
        name: _weight(archive, state[names[name]], names[name], tuple(tensor.shape))
        for name, tensor in expected.items()
    }


def _weight(archive, stored, name, shape):
    """A tensor; tables of species come with a last row for padding, which is left out."""
    in_file = (shape[0] + 1, *shape[1:]) if TABLES.fullmatch(name) else shape
    if stored.shape != in_file:
        raise ValueError(
            f"`{name}` has shape {stored.shape}: the hyper-parameters ask for {in_file}"
        )
    weight = archive.tensor(replace(stored, shape=shape))
    if not torch.isfinite(weight).all():
        raise ValueError(f"`{name}` is not finite")
    return weight


def _in_file(name, settings, old):
    """Name of a tensor in the file."""
    renames = {
        r"^(gnn_layers\.\d+\.)transformer_layers\.": r"\1trans.layers.",
        r"\.mlp\.2\.": ".mlp.3.",
        r"\.final_norm\.": ".trans.final_norm.",
        r"^((?:bond_)?heads)\.energy\.(\d+)\.": r"\1.\2.nn." if old else r"\1.\2.model.nn.",
        r"^((?:bond_)?heads)\.energy/(\d+)\.(\d+)\.": r"\1.\3.models.\2.nn.",
    }
    if settings.r_embedding_activation:
        renames[r"\.r_embedding\."] = ".r_embedding.0."
    if settings.compress_mode == "linear":
        renames[r"\.compress\.0\."] = ".compress."
    for pattern, new in renames.items():
        name = re.sub(pattern, new, name)
    return name


def _metadata(weights, settings):
    """Where the weights come from: a table of texts."""
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
