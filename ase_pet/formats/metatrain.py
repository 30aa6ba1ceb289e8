"""PET checkpoints of metatrain (`.ckpt`), versions 1 to 16, bare or in an LLPR uncertainty wrapper.

They are read with torch alone, as data: nothing in the file is executed (`_unpickle`, `_archive`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..models import pet
from . import _metatrain_llpr as llpr
from ._archive import Archive, StoredTensor
from ._metadata import merged, read_metadata
from ._metatrain_versions import upgrade
from ._state import check_state, renamed, weight_of
from ._tensor_map import read_block
from ._unpickle import Inert

BY_CONTENT = False  # recognised by the suffix
# supported targets: name without variant -> number of components
COMPONENTS = {
    "energy": 1,
    "non_conservative_forces": 3,
    "non_conservative_force": 3,
    "non_conservative_stress": 9,
}
# supported units in lower case, with "a" for angstrom; an empty unit is taken for ASE's
UNITS = {
    "length": ("a", ""),
    "energy": ("ev", ""),
    "non_conservative_forces": ("ev/a", ""),
    "non_conservative_force": ("ev/a", ""),
    "non_conservative_stress": ("ev/a^3", ""),
}
HEADS = ("node_heads", "edge_heads", "node_last_layers", "edge_last_layers")
SPECIES = "species_to_species_index"
# our names of weights -> those of the file
IN_FILE = {
    r"^(gnn_layers\.\d+)\.attention_layers\.": r"\1.trans.layers.",
    r"^combinations\.(\d+)\.norm\.": r"combination_norms.\1.",
    r"^combinations\.(\d+)\.mlp\.": r"combination_mlps.\1.",
    r"^((?:node|edge)_last_layers\.([^.]+)\.\d+)\.": r"\1.\2___0.",
}

State = Mapping[str, StoredTensor]


def recognises(path: str | Path) -> bool:
    """Whether `path` is a `.ckpt` file that begins like a zip archive."""
    path = Path(path)
    if path.suffix != ".ckpt" or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(2) == b"PK"


def read(path: str | Path) -> pet.Model:
    """PET model of a checkpoint, on the CPU, in the dtype of its weights.

    It has the weights of the best epoch. Heads of energies, direct forces and direct stress in
    ASE's units are read, others are left out; `energy_head` is "energy". With an LLPR wrapper,
    energy heads have `uncertainties`. `metadata` is what the file says about itself.

    Parameters
    ----------
    path:
        Path of the file.

    Raises
    ------
    ValueError
        The file is damaged or not supported; the message names what is.
    """
    path = Path(path)
    try:
        with Archive(path) as archive:
            return _read(archive)
    except ValueError as error:
        raise ValueError(
            f"`{path}` cannot be read as a PET checkpoint of metatrain: {str(error)[:500]}"
        ) from None


def _read(archive: Archive) -> pet.Model:
    """Model of an open file, with or without wrapper."""
    content = archive.content()
    if type(content) is not dict:
        raise ValueError("it does not hold a table")
    wrapper_state: State = {}
    wrapper: dict[str, Any] = {}
    wrapper_metadata: dict[str, Any] = {}
    # the wrapper is a checkpoint itself, which holds that of the model
    if content.get("architecture_name") == "llpr":
        wrapper_metadata = read_metadata(content)
        wrapper = {"wrapper": "LLPR", "wrapper_version": _version(content)}
        content, wrapper_state = llpr.wrapped(content)
    name = content.get("architecture_name")
    if name != "pet":
        shown = repr(name) if type(name) is str else "missing"
        raise ValueError(
            f"`architecture_name` is {shown}: known architectures are 'pet', and 'llpr' around it"
        )
    model = _model(archive, content, wrapper_state)
    model.metadata = {
        "format": "metatrain PET checkpoint",
        "version": _version(content),
        **wrapper,
        **merged(wrapper_metadata, read_metadata(content)),
    }
    return model


def _version(content: Mapping[str, Any]) -> Any:
    return content.get("model_ckpt_version", 1)


def _model(archive: Archive, checkpoint: Mapping[str, Any], wrapper_state: State) -> pet.Model:
    """Model of the table of a PET checkpoint, and of the state dict of a wrapper around it."""
    hypers, state = upgrade(checkpoint)
    targets = _targets(checkpoint)
    heads = _heads(targets)
    species = _species(archive, state)
    hypers["cutoff_function"] = hypers["cutoff_function"].lower()
    # readouts of all layers are concatenated, node and edge features of each
    n_readouts = 1 if hypers["featurizer_type"] == "feedforward" else hypers["num_gnn_layers"]
    n_features = 2 * hypers["d_head"] * n_readouts
    uncertainties = llpr.read(archive, wrapper_state, heads, n_features)
    members = {head: len(tensors["ensemble"]) for head, tensors in uncertainties.items()}
    settings = pet.Settings(species=species, heads=heads, uncertainties=members, **hypers)
    # on "meta" no memory is allocated before the shapes are known to be those in the file
    with torch.device("meta"):
        model = pet.Model(settings)
    weights = _weights(archive, state, model)
    dtype = next(iter(weights.values())).dtype
    for head, tensors in uncertainties.items():
        for name, tensor in tensors.items():
            weights[f"uncertainties.{head}.{name}"] = tensor.to(dtype)
    model.load_state_dict(weights, assign=True)
    model.compositions = {
        name: _composition(archive, state, name, species) for name in heads if heads[name] == 1
    }
    model.scales = _scales(archive, state, targets, heads, species)
    model.covalent_radii = _radii(archive, state, species) if hypers["zbl"] else {}
    return model


def _targets(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """{name: unit} of the targets that the model was trained on, in the order of the file."""
    dataset = _attributes(checkpoint["model_data"].get("dataset_info"))
    if dataset is None or type(dataset.get("targets")) is not dict:
        raise ValueError("`dataset_info` is missing or does not list the targets")
    if not _is_unit("length", dataset.get("length_unit")):
        raise ValueError("`length_unit` is not angstrom: not supported")
    units = {}
    for name, target in dataset["targets"].items():
        # each is an object of metatrain's class TargetInfo
        attributes = _attributes(target)
        if type(name) is not str or attributes is None:
            raise ValueError("`dataset_info` describes a target in an unknown way")
        units[name] = attributes.get("unit")
    return units


def _attributes(value: Any) -> dict[str, Any] | None:
    """Attributes of an object in the file, None if it is not described by its attributes."""
    if type(value) is Inert and type(value.state) is dict:
        return value.state
    return None


def _is_unit(quantity: str, unit: Any) -> bool:
    """Whether a unit in the file is ASE's unit of a quantity."""
    return type(unit) is str and unit.lower().replace("angstrom", "a") in UNITS[quantity]


def _heads(targets: Mapping[str, Any]) -> dict[str, int]:
    """{name: components} of the supported targets.

    Other targets have separate heads, which do not affect those of the supported ones.
    """
    heads = {}
    for name, unit in targets.items():
        base, _, variant = name.partition("/")
        if base not in COMPONENTS:
            continue
        if base == "energy" and not _is_unit(base, unit):
            raise ValueError(f"the unit of `{name}` is not eV: not supported")
        if "." in variant:
            raise ValueError(f"target `{name}` has a dot in its name: not supported")
        # metatrain does not divide variants of the stress by the volume
        is_variant_of_stress = base == "non_conservative_stress" and variant != ""
        if _is_unit(base, unit) and not is_variant_of_stress:
            heads[name] = COMPONENTS[base]
    if 1 not in heads.values():
        names = ", ".join(f"`{name}`" for name in targets)
        raise ValueError(f"it has no target `energy`, only {names}")
    return heads


def _species(archive: Archive, state: State) -> tuple[int, ...]:
    """Atomic numbers in the order of the embedding rows."""
    row = _tensor(archive, state, SPECIES)  # (largest Z + 1,), -1 for unsupported elements
    valid = row.dtype == torch.int64 and row.ndim == 1 and 1 < len(row) < 200
    if not valid:
        raise ValueError(f"`{SPECIES}` is not a list of rows by atomic number")
    numbers = torch.nonzero(row >= 0).flatten()
    order = torch.argsort(row[numbers])
    numbers = numbers[order]
    rows = row[numbers].tolist()
    every_row = list(range(len(rows)))
    if not rows or rows != every_row:
        raise ValueError(f"`{SPECIES}` does not give each species a row of its own")
    return tuple(numbers.tolist())


def _tensor(archive: Archive, state: State, name: str) -> torch.Tensor:
    if name not in state:
        raise ValueError(f"`{name}` is missing")
    return archive.tensor(state[name])


def _weights(archive: Archive, state: State, model: pet.Model) -> dict[str, torch.Tensor]:
    """State dict of the model from the file, complete and of one dtype.

    Tensors of the file that are not used and not known are refused.
    """
    shapes = {
        name: tensor.shape
        for name, tensor in model.state_dict().items()
        if not name.startswith("uncertainties.")  # these are in the wrapper
    }
    names = {name: renamed(name, IN_FILE) for name in shapes}

    def is_known(name: str) -> bool:
        return _is_known(name, model.settings)

    check_state(state, names.values(), is_known, "the model's state")
    weights = {}
    for name, shape in shapes.items():
        weights[name] = weight_of(archive, state, names[name], shape)
    return weights


def _is_known(name: str, settings: pet.Settings) -> bool:
    """Whether a tensor that is no weight of the model may be in the file."""
    first, _, rest = name.partition(".")
    if first in HEADS:
        return not any(rest.startswith(head + ".") for head in settings.heads)
    if first == "additive_models":
        # compositions, and ZBL
        return rest.startswith(("0.", "1.") if settings.zbl else ("0.",))
    return name == SPECIES or first == "scaler"


def _composition(
    archive: Archive, state: State, name: str, species: tuple[int, ...]
) -> dict[int, float]:
    """{Z: eV} composition energies of an energy head."""
    labels, values = _block(archive, state, f"additive_models.0.{name}_composition_buffer")
    energies = dict(zip(labels.tolist(), values.tolist(), strict=True))
    absent = [z for z in species if z not in energies]
    if absent:
        raise ValueError(f"the composition energies of `{name}` lack atomic numbers {absent}")
    return {z: energies[z] for z in species}


def _scales(
    archive: Archive,
    state: State,
    targets: Mapping[str, Any],
    heads: Mapping[str, int],
    species: tuple[int, ...],
) -> dict[str, float | dict[int, float]]:
    """{head: scale}, one number or {Z: number}."""
    if "scaler.scales" not in state:
        return {name: _scale(archive, state, name, species) for name in heads}
    # old versions have one tensor, in the order of the targets
    scales = _tensor(archive, state, "scaler.scales")
    if scales.shape != (len(targets),) or not torch.isfinite(scales).all():
        raise ValueError("`scaler.scales` is not one finite number for each target")
    return {
        name: scale for name, scale in zip(targets, scales.tolist(), strict=True) if name in heads
    }


def _scale(
    archive: Archive, state: State, name: str, species: tuple[int, ...]
) -> float | dict[int, float]:
    """Scale of a head: one number, or {Z: number}."""
    labels, values = _block(archive, state, f"scaler.{name}_scaler_buffer")
    rows = labels.tolist()
    if rows == [-1]:  # all species
        return float(values[0])
    # metatrain scales energies by one number
    quantity = name.split("/")[0]
    one_for_each = sorted(rows) == list(range(len(species)))
    if quantity == "energy" or not one_for_each:
        raise ValueError(f"the scale of `{name}` is neither one number nor one for each species")
    scales = {}
    for row, value in zip(rows, values.tolist(), strict=True):
        scales[species[row]] = value
    return scales


def _block(archive: Archive, state: State, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Labels (rows,) and values (rows,) of a table that is stored as a tensor of bytes."""
    data = _tensor(archive, state, name)
    if data.dtype != torch.uint8 or data.ndim != 1:
        raise ValueError(f"`{name}` is not a table of bytes")
    return read_block(data.numpy().tobytes(), name)


def _radii(archive: Archive, state: State, species: tuple[int, ...]) -> dict[int, float]:
    """{Z: A} covalent radii of the ZBL repulsion."""
    covalent_radii = _tensor(archive, state, "additive_models.1.covalent_radii")
    row_of_species = _tensor(archive, state, "additive_models.1.species_to_index")
    by_row = covalent_radii.flatten().tolist()
    rows = row_of_species.flatten().tolist()
    radii = {}
    for z in species:
        row = int(rows[z]) if z < len(rows) else -1
        has_row = 0 <= row < len(by_row)
        radius = by_row[row] if has_row else 0.0
        if not 0 < radius < 10:
            raise ValueError("the covalent radii for ZBL are not given for each species")
        # metatrain casts the model, and its radii with it, to float32
        radii[z] = float(np.float32(radius))
    return radii
