"""Calculator folders: written, read, and found by name or path; foreign checkpoints read and
converted to folders.

A folder holds `calculator.toml` (what the program reads), `weights.safetensors`, and for shipped
calculators the card `README.md`, the recipe and its training data. Nothing in it is executed.
"""

import datetime
import difflib
import hashlib
import importlib
import tempfile
import tomllib
from dataclasses import asdict, dataclass, field
from pathlib import Path

import safetensors
import safetensors.torch
import tomli_w
import torch
from ase.data import atomic_numbers, chemical_symbols

from . import cards, formats, plugins, published

FORMAT = 1
CARD, WEIGHTS, README = "calculator.toml", "weights.safetensors", "README.md"
UNITS = {"energy": "eV", "length": "A"}


@dataclass
class Card:
    """What a calculator folder says about its model.

    symmetrise and dtype: what the calculator uses unless told otherwise; shortest_distances {(Z,
    Z'): A} seen in training, Z <= Z'; provenance: free table of data, code, date, errors.
    """

    name: str
    symmetrise: str = "none"
    dtype: str = "float32"
    shortest_distances: dict = field(default_factory=dict)
    provenance: dict = field(default_factory=dict)


def shipped_folder():
    """Folder of the shipped calculators: inside an installed package, else beside it in a clone."""
    here = Path(__file__).resolve().parent
    for folder in (here / "calculators", here.parent / "calculators"):
        if folder.is_dir():
            return folder
    raise FileNotFoundError("no shipped calculators: the installation is incomplete")


def shipped():
    """Sorted names of the shipped calculators."""
    return sorted(path.parent.name for path in shipped_folder().glob(f"*/{CARD}"))


def find(model):
    """Path of a calculator: folder of the shipped one of that name, else an existing path, else a
    published checkpoint.

    A published checkpoint that is not in the cache is downloaded. Raises FileNotFoundError that
    names the closest calculators, or says why the download failed.
    """
    if (
        str(model) in shipped()
    ):  # before paths: a folder of that name for a run's output must not hide it
        return shipped_folder() / str(model)
    path = Path(model)
    path = path if path.exists() else published.find(str(model))
    if path is not None:
        return path
    known = [*shipped(), *published.names()]
    close = difflib.get_close_matches(str(model).lower(), known, n=3, cutoff=0.5)
    hint = (
        f"did you mean {' or '.join(close)}?"
        if close
        else (
            f"shipped calculators: {', '.join(shipped())}; published checkpoints: `ase-pet list"
            " --published`"
        )
    )
    raise FileNotFoundError(f"`{model}` is neither a path nor the name of a calculator; {hint}")


def load(model):
    """(model, Card) of a name, a calculator folder or a foreign checkpoint.

    On the CPU as stored.
    """
    path = find(model)
    if not (path / CARD).is_file():
        return _load_foreign(path)
    content = _read_card(path / CARD)
    try:
        network = _model(path, content)
        card = Card(
            name=content["name"],
            symmetrise=content["symmetrise"],
            dtype=content["dtype"],
            shortest_distances=_pairs(content.get("shortest_distances", {})),
            provenance=content.get("provenance", {}),
        )
    except (
        KeyError,
        TypeError,
        AttributeError,
        RuntimeError,
        safetensors.SafetensorError,
    ) as error:
        raise ValueError(
            f"`{path / CARD}` does not describe a calculator: {type(error).__name__}: {error}"
        ) from None
    return network, card


def write_section(model, title, body):
    """Path of the card that a person reads, after its section `title` was replaced or added.

    model: name or path of a calculator folder. Raises ValueError for what is none, and has no card.
    """
    path = find(model)
    if not (path / CARD).is_file():
        raise ValueError(
            f"`{model}` is no calculator folder and has no card: `ase-pet convert` makes one of a"
            " checkpoint"
        )
    card = path / README
    text = card.read_text(encoding="utf-8") if card.exists() else f"# {path.name}\n"
    card.write_text(cards.with_section(text, title, body), encoding="utf-8")
    return card


def _load_foreign(path):
    try:
        network = formats.read(path)
    except ValueError as error:
        raise ValueError(f"{error}{published.remedy(path)}") from None
    dtype = next(
        (str(weight.dtype).removeprefix("torch.") for weight in network.parameters()), "float64"
    )
    return network, Card(_name(path), dtype=dtype, provenance=network.metadata)


def _name(path):
    """Name of a foreign checkpoint: that of its folder, or of its file without suffix."""
    path = (
        path.absolute()
    )  # without following links: names in the cache of published checkpoints are links
    return path.name if path.is_dir() else path.stem


def _model(path, content):
    module = plugins.load("ase_pet.models", content["model"])
    with torch.random.fork_rng(
        devices=[]
    ):  # first weights are random; the user's numbers are not theirs to take
        network = module.Model(module.Settings(**content["settings"]))
    state = _read_weights(path / WEIGHTS, content["weights"]["sha256"])
    network.to(
        next((state[name].dtype for name, _ in network.named_parameters() if name in state), None)
    )
    network.load_state_dict(
        state, assign=True
    )  # each in the dtype of the file, whatever that of the weights
    heads = network.head_sizes
    unknown = sorted({*content["composition_energies"], *content["scales"]} - heads.keys())
    if unknown:
        raise ValueError(
            f"`{path / CARD}` has composition energies or scales of {', '.join(unknown)}: "
            f"the heads of the model are {', '.join(heads)}"
        )
    network.compositions = {
        head: _by_number(table) for head, table in content["composition_energies"].items()
    }
    network.scales = {head: _by_number(scale) for head, scale in content["scales"].items()}
    if "covalent_radii" in content:
        network.covalent_radii = _by_number(content["covalent_radii"])
    return network


def save(folder, model, card):
    """Write calculator.toml and weights.safetensors of a model into a folder, made if absent."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    state = {
        name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()
    }
    weights = safetensors.torch.save(state)
    content = {
        "format": FORMAT,
        "name": card.name,
        "model": type(model).__module__.rsplit(".", 1)[-1],
        "symmetrise": card.symmetrise,
        "dtype": card.dtype,
        "species": [chemical_symbols[z] for z in model.species],
        "cutoff": model.cutoff,
        "units": UNITS,
        "settings": {
            name: value for name, value in asdict(model.settings).items() if value is not None
        },
        "composition_energies": {
            head: _by_symbol(table) for head, table in model.compositions.items()
        },
        "scales": {head: _by_symbol(scale) for head, scale in model.scales.items()},
        "covalent_radii": _by_symbol(model.covalent_radii),
        "shortest_distances": {
            "-".join(chemical_symbols[z] for z in pair): distance
            for pair, distance in card.shortest_distances.items()
        },
        "weights": {"file": WEIGHTS, "sha256": hashlib.sha256(weights).hexdigest()},
        "provenance": card.provenance,
    }
    text = tomli_w.dumps(content)
    (folder / WEIGHTS).write_bytes(weights)
    (folder / CARD).write_text(text, encoding="utf-8")


def convert(source, folder, name=None):
    """Path of a calculator folder, new or empty before, that gives the same numbers as a foreign
    checkpoint.

    source: path or published name; name: of the calculator, None for that of the file. Writes
    calculator.toml, weights and a card for a person, reads them back, and puts the folder in its
    place once it is complete and compared. Raises FileNotFoundError for an unknown source;
    ValueError for a folder that is in use, or a source that cannot be read.
    """
    path, folder = find(source), Path(folder)
    if (path / CARD).is_file():
        raise ValueError(
            f"`{path}` is a calculator folder already: expected a checkpoint of another program"
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"`{folder}` exists: give the name of a new folder, or delete it")
    model, card = load(path)
    card.name = name or card.name
    card.provenance = _without_none(card.provenance) | {
        "date": datetime.date.today().isoformat(),
        "ase_pet": importlib.import_module(__package__).__version__,
        "source": {"file": path.name, **published.origin(path), "sha256": _sha256(path)},
    }
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".convert-", dir=folder.parent) as beside:
        new = Path(beside) / "new"
        save(new, model, card)
        _compare(model, load(new)[0])
        text = cards.converted(
            _read_card(new / CARD), sum(weight.numel() for weight in model.parameters())
        )
        (new / README).write_text(text, encoding="utf-8")
        new.rename(folder)
    return folder


def _compare(model, again):
    """Refuse a copy that is not the model.

    What is neither tensor nor setting nor table here would be lost.
    """
    one, other = model.state_dict(), again.state_dict()
    tables = ("settings", "species", "compositions", "scales")
    differ = [name for name in tables if getattr(model, name) != getattr(again, name)]
    differ += [
        name
        for name in {**one, **other}
        if name not in one
        or name not in other
        or one[name].dtype != other[name].dtype
        or not torch.equal(one[name], other[name])
    ]
    if model.covalent_radii != again.covalent_radii:
        differ.append("covalent_radii")
    if differ:
        raise ValueError(
            f"a calculator folder cannot hold this model: {', '.join(differ[:4])} came back"
            " different"
        )


def _sha256(path):
    """sha256 of a file, or {file: sha256} of a folder."""
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    return {
        entry.relative_to(path).as_posix(): _sha256(entry)
        for entry in sorted(path.rglob("*"))
        if entry.is_file()
    }


def _without_none(value):
    """A copy of tables and lists without None, which TOML does not have."""
    if isinstance(value, dict):
        return {str(key): _without_none(entry) for key, entry in value.items() if entry is not None}
    return (
        [_without_none(entry) for entry in value if entry is not None]
        if isinstance(value, list | tuple)
        else value
    )


def _read_card(path):
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"`{path}` is not a calculator card: {error}") from None
    if content.get("format") != FORMAT:
        raise ValueError(
            f"`{path}` has format {content.get('format')!r}: this version of ase_pet reads {FORMAT}"
        )
    missing = {
        "name",
        "model",
        "symmetrise",
        "dtype",
        "settings",
        "composition_energies",
        "scales",
        "weights",
    }
    missing -= content.keys()
    if missing:
        raise ValueError(f"`{path}` lacks {', '.join(sorted(missing))}")
    return content


def _read_weights(path, sha256):
    if not path.is_file():
        raise FileNotFoundError(f"`{path}` is missing: the calculator folder is incomplete")
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ValueError(f"`{path}` is damaged or not the file its card names: sha256 differs")
    tensors = safetensors.torch.load(
        data
    )  # views of the bytes of the file, which may be badly aligned
    return {name: tensor.clone() for name, tensor in tensors.items()}


def _by_symbol(table):
    return (
        {chemical_symbols[z]: value for z, value in table.items()}
        if isinstance(table, dict)
        else table
    )


def _by_number(table):
    return (
        {atomic_numbers[s]: value for s, value in table.items()}
        if isinstance(table, dict)
        else table
    )


def _pairs(table):
    return {
        tuple(sorted(atomic_numbers[s] for s in pair.split("-"))): distance
        for pair, distance in table.items()
    }


def dtype_of(name):
    """torch dtype of "float32" or "float64".

    Raises ValueError that lists them for anything else.
    """
    known = {"float32": torch.float32, "float64": torch.float64}
    if name not in known:
        raise ValueError(f"`dtype` is {name!r}: valid choices are {', '.join(known)}")
    return known[name]
