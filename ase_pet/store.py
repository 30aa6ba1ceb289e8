"""Calculator folders: written, read, and found by name or path.

A folder holds `calculator.toml` (what the program reads), `weights.safetensors`, and for shipped
calculators the card `README.md`, the recipe and its training data. Nothing in it is executed.
Checkpoints of other programs are read too, and converted to folders.
"""

from __future__ import annotations

import contextlib
import datetime
import difflib
import hashlib
import importlib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import tomli_w
import torch
from ase.data import atomic_numbers

from . import cards, formats, plugins, published, published_mace, symmetrisers, weights
from .calculator_info import WEIGHTS, CalculatorInfo, by_number, content_of, read_content
from .choices import one_of, shown
from .models import _values
from .models.base import AtomisticModel

CARD = "calculator.toml"
README = "README.md"
Card = CalculatorInfo  # name of the class before version 0.2


def shipped_folder() -> Path:
    """Folder of the shipped calculators: in the installed package, or beside it in a clone."""
    package = Path(__file__).resolve().parent
    for folder in (package / "calculators", package.parent / "calculators"):
        if folder.is_dir():
            return folder
    raise FileNotFoundError("no shipped calculators: the installation is incomplete")


def shipped() -> list[str]:
    """Sorted names of the shipped calculators."""
    return sorted(path.parent.name for path in shipped_folder().glob(f"*/{CARD}"))


def find(model: str | Path) -> Path:
    """Path of a calculator folder or checkpoint.

    Parameters
    ----------
    model:
        Name of a shipped calculator, else an existing path, else the name of a published
        checkpoint, which is downloaded if it is not in the cache.

    Raises
    ------
    FileNotFoundError
        There is no such calculator; the message names the most similar ones, or says why the
        download failed.
    """
    # Names come before paths: a folder of that name, with the output of a run, must not hide it.
    if str(model) in shipped():
        return shipped_folder() / str(model)
    with contextlib.suppress(OSError, ValueError):  # of a text that no path can have
        # an empty text is the path of the current folder
        if str(model) and Path(model).exists():
            return Path(model)
    name = shown(str(model))[1:-1]
    # may access the network
    path = published.find(str(model))
    if path is not None:
        return path
    known = [*shipped(), *published.known()]
    similar = difflib.get_close_matches(str(model).lower(), known, n=3, cutoff=0.5)
    if similar:
        hint = f"did you mean {' or '.join(similar)}?"
    else:
        hint = (
            f"shipped calculators: {', '.join(shipped())}; published checkpoints: `ase-pet list"
            " --published`"
        )
    raise FileNotFoundError(f"`{name}` is neither a path nor the name of a calculator; {hint}")


def load(model: str | Path) -> tuple[AtomisticModel, CalculatorInfo]:
    """Model on the CPU, in the precision of its file, and what the file says about it.

    Parameters
    ----------
    model:
        Name of a calculator, calculator folder, or checkpoint of another program.

    Raises
    ------
    FileNotFoundError
        There is no such calculator.
    ValueError
        The file is damaged or cannot be read.
    """
    path = find(model)
    if not (path / CARD).is_file():
        return _load_foreign(path)
    content = read_content(path / CARD)
    try:
        network = _model(path, content)
        info = CalculatorInfo.from_content(content)
        symmetrisers.check(info.symmetrise)
        info.symmetrise = symmetrisers.of_file(info.symmetrise)
    # all but the first: what a model that is a plug-in may raise for bad settings
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        raise ValueError(f"`{path / CARD}` does not describe a calculator: {kind}{error}") from None
    return network, info


def save(folder: str | Path, model: AtomisticModel, info: CalculatorInfo) -> None:
    """Write calculator.toml and weights.safetensors of a model.

    Parameters
    ----------
    folder:
        Calculator folder, created if absent.
    model:
        Model to write.
    info:
        Other content of calculator.toml.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    state = {}
    places = set()
    for name, tensor in model.state_dict().items():
        on_cpu = tensor.detach().cpu().contiguous()
        # a constant that several modules share is written once for each
        place = on_cpu.untyped_storage().data_ptr()
        state[name] = on_cpu.clone() if place in places else on_cpu
        places.add(place)
    data = safetensors.torch.save(state)
    # text first: if the content cannot be written as TOML, no file is left behind
    content = content_of(model, info, data)
    # names without the form of the weights mean an older one in files
    content["symmetrise"] = symmetrisers.full_name(info.symmetrise)
    text = tomli_w.dumps(content)
    _replace(folder / WEIGHTS, data)
    _replace(folder / CARD, text.encode())


def convert(source: str | Path, folder: str | Path, name: str | None = None) -> Path:
    """Path of a new calculator folder that gives the same numbers as a foreign checkpoint.

    The folder is written and read back beside its final place, compared with the checkpoint, and
    moved to its place when it is complete. It holds calculator.toml, the weights and a card.

    Parameters
    ----------
    source:
        Path or published name of the checkpoint.
    folder:
        Calculator folder to write, absent or empty.
    name:
        Name of the calculator, None for that of the checkpoint.

    Raises
    ------
    FileNotFoundError
        There is no such checkpoint.
    ValueError
        The folder is not empty, or the checkpoint cannot be read.
    """
    path = find(source)
    folder = Path(folder)
    if (path / CARD).is_file():
        raise ValueError(
            f"`{path}` is a calculator folder already: expected a checkpoint of another program"
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"`{folder}` exists: give the name of a new folder, or delete it")
    model, info = load(path)
    info.name = name or info.name
    today = datetime.date.today()
    info.provenance = _without_none(info.provenance) | {
        "date": today.isoformat(),
        "ase_pet": importlib.import_module("ase_pet").__version__,
        "source": {"file": path.name, **published.origin(path), "sha256": _sha256(path)},
    }
    folder.parent.mkdir(parents=True, exist_ok=True)
    # in the same file system, so that the last step is one rename
    with tempfile.TemporaryDirectory(prefix=".convert-", dir=folder.parent) as temporary:
        new = Path(temporary) / "new"
        save(new, model, info)
        written, _ = load(new)
        _compare(model, written)
        n_parameters = sum(weight.numel() for weight in model.parameters())
        text = cards.converted(read_content(new / CARD), n_parameters)
        (new / README).write_text(text, encoding="utf-8")
        new.rename(folder)
    return folder


def write_section(model: str | Path, title: str, body: str) -> Path:
    """Path of the card of a calculator folder, after one of its sections was replaced or added.

    Parameters
    ----------
    model:
        Name or path of the calculator folder.
    title:
        Title of the section.
    body:
        Markdown of the section.

    Raises
    ------
    ValueError
        `model` is not a calculator folder, and so has no card.
    """
    path = find(model)
    if not (path / CARD).is_file():
        raise ValueError(
            f"`{model}` is no calculator folder and has no card: `ase-pet convert` makes one of a"
            " checkpoint"
        )
    card = path / README
    text = card.read_text(encoding="utf-8") if card.exists() else f"# {path.name}\n"
    _replace(card, cards.with_section(text, title, body).encode())
    return card


def _replace(path: Path, data: bytes) -> None:
    """Write a file in one step; a link of that name is replaced, not what it refers to."""
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    with new.open("xb") as file:  # x: refuses links, too
        file.write(data)
    new.replace(path)


def dtype_of(name: str) -> torch.dtype:
    """The torch dtype of `name`, "float32" or "float64"; ValueError lists them for other names."""
    known = {"float32": torch.float32, "float64": torch.float64}
    one_of("dtype", name, known)
    return known[name]


def _load_foreign(path: Path) -> tuple[AtomisticModel, CalculatorInfo]:
    try:
        network = formats.read(path)
    except ValueError as error:
        raise ValueError(f"{error}{published.remedy(path)}") from None
    try:
        _values.check(network)
    except ValueError as error:
        raise ValueError(f"`{path}` holds no model that can be used: {error}") from None
    weight = next(network.parameters(), None)
    dtype = "float64" if weight is None else str(weight.dtype).removeprefix("torch.")
    # what a file says about itself comes first
    provenance = dict(network.metadata)
    for key, value in published_mace.facts(path).items():
        provenance[key] = provenance.get(key) or value
    return network, CalculatorInfo(_name(path), dtype=dtype, provenance=provenance)


def _name(path: Path) -> str:
    """Name of a foreign checkpoint: that of its folder, or of its file without suffix."""
    # Links are not followed: files in the cache of published checkpoints are links to hashes.
    path = path.absolute()
    return path.name if path.is_dir() else path.stem


def _model(path: Path, content: Mapping[str, Any]) -> AtomisticModel:
    """Model of a calculator folder with the content of its calculator.toml."""
    module = plugins.load("ase_pet.models", content["model"])
    settings = module.Settings(**content["settings"])
    network = weights.loaded(
        lambda: module.Model(settings), path / WEIGHTS, content["weights"]["sha256"]
    )
    heads = network.head_sizes
    compositions = content["composition_energies"]
    scales = content["scales"]
    unknown = sorted({*compositions, *scales} - heads.keys())
    if unknown:
        raise ValueError(
            f"there are composition energies or scales of {', '.join(unknown)}: the heads of the"
            f" model are {', '.join(heads)}"
        )
    network.compositions = {head: by_number(table) for head, table in compositions.items()}
    network.scales = {head: by_number(scale) for head, scale in scales.items()}
    if "covalent_radii" in content:
        network.covalent_radii = by_number(content["covalent_radii"])
    if content["settings"].get("zbl") and not network.covalent_radii:
        raise ValueError("`covalent_radii` are missing, which the setting `zbl` asks for")
    _check_stated(network, content)
    _values.check(network)
    return network


def _check_stated(network: AtomisticModel, content: Mapping[str, Any]) -> None:
    """Raise ValueError if what people read in calculator.toml is not what the model does."""
    species = content.get("species")
    if species is not None and [atomic_numbers[symbol] for symbol in species] != list(
        network.species
    ):
        raise ValueError(
            f"`species` are {' '.join(species)}, but the settings name others: the model would"
            " take one element for another"
        )
    if content.get("cutoff", network.cutoff) != network.cutoff:
        raise ValueError(
            f"`cutoff` is {content['cutoff']} A, but that of the settings is {network.cutoff} A"
        )


def _compare(model: AtomisticModel, copy: AtomisticModel) -> None:
    """Raise ValueError unless a copy equals the model.

    A folder has no place for anything but tensors, settings and the tables below.
    """
    tables = ("settings", "species", "compositions", "scales", "covalent_radii")
    different = [name for name in tables if getattr(model, name) != getattr(copy, name)]
    tensors = model.state_dict()
    copied = copy.state_dict()
    for name in {**tensors, **copied}:
        in_both = name in tensors and name in copied
        # torch.equal compares values only
        if (
            not in_both
            or tensors[name].dtype != copied[name].dtype
            or not torch.equal(tensors[name], copied[name])
        ):
            different.append(name)
    if different:
        raise ValueError(
            f"a calculator folder cannot hold this model: {', '.join(different[:4])} came back"
            " different"
        )


def _sha256(path: Path) -> str | dict[str, Any]:
    """The sha256 of a file, or {file: sha256} of a folder."""
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    # links may lead anywhere
    entries = [entry for entry in sorted(path.rglob("*")) if not entry.is_symlink()]
    files = [entry for entry in entries if entry.is_file()]
    return {file.relative_to(path).as_posix(): _sha256(file) for file in files}


def _without_none(value: Any) -> Any:
    """A copy of nested tables and lists without None, which TOML does not have."""
    if isinstance(value, dict):
        return {str(key): _without_none(entry) for key, entry in value.items() if entry is not None}
    if isinstance(value, list | tuple):
        return [_without_none(entry) for entry in value if entry is not None]
    return value
