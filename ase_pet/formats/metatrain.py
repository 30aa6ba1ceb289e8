"""PET checkpoints of metatrain (`.ckpt`), versions 1 to 16, bare or inside an LLPR uncertainty
wrapper.

Read with torch alone, and as data: nothing in the file is executed (`_unpickle`, `_archive`).
"""

from pathlib import Path

import torch

from ..models import pet
from . import _metatrain_llpr as llpr
from ._archive import Archive
from ._metadata import merged, read_metadata
from ._metatrain_versions import upgrade
from ._state import check_state, renamed, weight_of
from ._tensor_map import read_block
from ._unpickle import Inert

COMPONENTS = {
    "energy": 1,
    "non_conservative_forces": 3,
    "non_conservative_force": 3,
    "non_conservative_stress": 9,
}
UNITS = {
    "length": ("a", ""),
    "energy": ("ev", ""),
    "non_conservative_forces": ("ev/a", ""),
    "non_conservative_force": ("ev/a", ""),
    "non_conservative_stress": ("ev/a^3", ""),
}  # one left open means these
HEADS = ("node_heads", "edge_heads", "node_last_layers", "edge_last_layers")
SPECIES = "species_to_species_index"
IN_FILE = {
    r"^(gnn_layers\.\d+)\.attention_layers\.": r"\1.trans.layers.",
    r"^combinations\.(\d+)\.norm\.": r"combination_norms.\1.",
    r"^combinations\.(\d+)\.mlp\.": r"combination_mlps.\1.",
    r"^((?:node|edge)_last_layers\.([^.]+)\.\d+)\.": r"\1.\2___0.",
}  # our names -> those of the file


def recognises(path):
    """Whether the path is a `.ckpt` file that begins like a zip archive."""
    path = Path(path)
    if path.suffix != ".ckpt" or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(2) == b"PK"


def read(path):
    """PET model of a checkpoint, on the CPU in the dtype of its weights, with the weights of the
    best epoch.

    Heads of energies and of direct forces and stress in ASE's units are read, others are left out;
    `energy_head` is "energy". With an LLPR wrapper around it the energy heads have their
    `uncertainties`. `metadata` is what the file says about itself. Raises ValueError that names
    what is damaged, unknown or not served.
    """
    path = Path(path)
    try:
        with Archive(path) as archive:
            return _read(archive)
    except ValueError as error:
        raise ValueError(
            f"`{path}` cannot be read as a PET checkpoint of metatrain: {str(error)[:500]}"
        ) from None


def _read(archive):
    content, state, metadata, wrapper = archive.content(), {}, {}, {}
    if type(content) is not dict:
        raise ValueError("it does not hold a table")
    if content.get("architecture_name") == "llpr":
        metadata, wrapper = (
            read_metadata(content),
            {
                "wrapper": "LLPR",
                "wrapper_version": _version(content),
            },
        )
        content, state = llpr.wrapped(content)
    name = content.get("architecture_name")
    if name != "pet":
        shown = repr(name) if type(name) is str else "missing"
        raise ValueError(
            f"`architecture_name` is {shown}: known architectures are 'pet', and 'llpr' around it"
        )
    model = _model(archive, content, state)
    model.metadata = {
        "format": "metatrain PET checkpoint",
        "version": _version(content),
        **wrapper,
        **merged(metadata, read_metadata(content)),
    }
    return model


def _version(content):
    return content.get("model_ckpt_version", 1)


def _model(archive, checkpoint, wrapper):
    hypers, state = upgrade(checkpoint)
    targets = _targets(checkpoint)
    heads = _heads(targets)
    species = _species(archive, state)
    hypers["cutoff_function"] = hypers["cutoff_function"].lower()
    n_readouts = 1 if hypers["featurizer_type"] == "feedforward" else hypers["num_gnn_layers"]
    found = llpr.read(archive, wrapper, heads, 2 * hypers["d_head"] * n_readouts)
    uncertainties = {head: len(tensors["ensemble"]) for head, tensors in found.items()}
    with torch.device(
        "meta"
    ):  # nothing is allocated before its shape is known to be that in the file
        model = pet.Model(
            pet.Settings(species=species, heads=heads, uncertainties=uncertainties, **hypers)
        )
    weights = _weights(archive, state, model)
    model.load_state_dict(weights | _flat(found, next(iter(weights.values())).dtype), assign=True)
    model.compositions = {
        name: _composition(archive, state, name, species) for name in heads if heads[name] == 1
    }
    model.scales = _scales(archive, state, targets, heads, species)
    model.covalent_radii = _radii(archive, state, species) if hypers["zbl"] else {}
    return model


def _flat(uncertainties, dtype):
    """State dict of the model's `uncertainties` in the dtype of its weights."""
    return {
        f"uncertainties.{head}.{name}": tensor.to(dtype)
        for head, tensors in uncertainties.items()
        for name, tensor in tensors.items()
    }


def _targets(checkpoint):
    """{name: unit} of what the model was trained on, in the order of the file."""
    info = checkpoint["model_data"].get("dataset_info")
    info = info.state if type(info) is Inert else None
    if type(info) is not dict or type(info.get("targets")) is not dict:
        raise ValueError("`dataset_info` is missing or does not list the targets")
    if not _is_unit("length", info.get("length_unit")):
        raise ValueError("`length_unit` is not angstrom: not served")
    units = {}
    for name, target in info["targets"].items():
        state = target.state if type(target) is Inert else None
        if type(name) is not str or type(state) is not dict:
            raise ValueError("`dataset_info` describes a target in an unknown way")
        units[name] = state.get("unit")
    return units


def _is_unit(quantity, unit):
    return type(unit) is str and unit.lower().replace("angstrom", "a") in UNITS[quantity]


def _heads(targets):
    """{name: components} of the targets that are served.

    Other targets have heads of their own and act on nothing.
    """
    heads = {}
    for name, unit in targets.items():
        base, _, variant = name.partition("/")
        if base == "energy" and not _is_unit(base, unit):
            raise ValueError(f"the unit of `{name}` is not eV: not served")
        if base in COMPONENTS and "." in variant:
            raise ValueError(f"target `{name}` has a dot in its name: not served")
        variant_of_stress = (
            variant and base == "non_conservative_stress"
        )  # the public software leaves out the volume
        if base in COMPONENTS and _is_unit(base, unit) and not variant_of_stress:
            heads[name] = COMPONENTS[base]
    if 1 not in heads.values():
        raise ValueError(
            f"it has no target `energy`, only {', '.join(f'`{name}`' for name in targets)}"
        )
    return heads


def _species(archive, state):
    """Atomic numbers in the order of the rows of the file."""
    index = _take(archive, state, SPECIES)
    if index.dtype != torch.int64 or not 1 < index.numel() < 200 or index.ndim != 1:
        raise ValueError(f"`{SPECIES}` is not a list of rows by atomic number")
    numbers = torch.nonzero(index >= 0)[:, 0]
    numbers = numbers[torch.argsort(index[numbers])]
    if not len(numbers) or index[numbers].tolist() != list(range(len(numbers))):
        raise ValueError(f"`{SPECIES}` does not give each species a row of its own")
    return tuple(numbers.tolist())


def _take(archive, state, name):
    if name not in state:
        raise ValueError(f"`{name}` is missing")
    return archive.tensor(state[name])


def _weights(archive, state, model):
    """State dict of the model from the file, complete and of one dtype.

    Every tensor of the file must have a use.
    """
    expected = {
        name: tensor
        for name, tensor in model.state_dict().items()
        if not name.startswith("uncertainties.")
    }
    names = {name: renamed(name, IN_FILE) for name in expected}
    check_state(
        state,
        names.values(),
        lambda name: _has_other_use(name, model.settings),
        "the model's state",
    )
    return {
        name: weight_of(archive, state, names[name], tensor.shape)
        for name, tensor in expected.items()
    }


def _has_other_use(name, settings):
    """Whether a tensor is no weight of the served heads, but known all the same."""
    first, _, rest = name.partition(".")
    if first in HEADS:
        return not any(rest.startswith(head + ".") for head in settings.heads)
    additive = (
        ("additive_models.0.", "additive_models.1.") if settings.zbl else ("additive_models.0.",)
    )
    return name == SPECIES or first == "scaler" or name.startswith(additive)


def _composition(archive, state, name, species):
    """{Z: eV} of the isolated-atom energies of an energy head."""
    labels, values = _block(archive, state, f"additive_models.0.{name}_composition_buffer")
    table = dict(zip(labels.tolist(), values.tolist(), strict=True))
    absent = [z for z in species if z not in table]
    if absent:
        raise ValueError(f"the composition energies of `{name}` lack atomic numbers {absent}")
    return {z: table[z] for z in species}


def _scales(archive, state, targets, heads, species):
    """{head: scale}, one number or {Z: number}.

    Old versions have one tensor, in the order of the targets.
    """
    if "scaler.scales" not in state:
        return {name: _scale(archive, state, name, species) for name in heads}
    scales = _take(archive, state, "scaler.scales")
    if scales.shape != (len(targets),) or not torch.isfinite(scales).all():
        raise ValueError("`scaler.scales` is not one finite number for each target")
    return {
        name: scale for name, scale in zip(targets, scales.tolist(), strict=True) if name in heads
    }


def _scale(archive, state, name, species):
    labels, values = _block(archive, state, f"scaler.{name}_scaler_buffer")
    if labels.tolist() == [-1]:
        return float(values[0])
    if sorted(labels.tolist()) != list(range(len(species))) or name.split("/")[0] == "energy":
        raise ValueError(f"the scale of `{name}` is neither one number nor one for each species")
    return {
        species[row]: value for row, value in zip(labels.tolist(), values.tolist(), strict=True)
    }


def _block(archive, state, name):
    data = _take(archive, state, name)
    if data.dtype != torch.uint8 or data.ndim != 1:
        raise ValueError(f"`{name}` is not a table of bytes")
    return read_block(data.numpy().tobytes(), name)


def _radii(archive, state, species):
    """{Z.

    A} for ZBL, rounded to float32 as the public implementation does when it casts the model.
    """
    radii = _take(archive, state, "additive_models.1.covalent_radii").flatten().tolist()
    rows = _take(archive, state, "additive_models.1.species_to_index").flatten().tolist()
    table = {z: radii[rows[z]] for z in species if z < len(rows) and rows[z] in range(len(radii))}
    if len(table) < len(species) or not all(0 < radius < 10 for radius in table.values()):
        raise ValueError("the covalent radii for ZBL are not given for each species")
    return {z: torch.tensor(radius, dtype=torch.float32).item() for z, radius in table.items()}
