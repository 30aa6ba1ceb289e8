"""Published PET checkpoints by name: found in the cache of huggingface_hub, downloaded once where
they are not there.

`pet-mad-s-v1.5.0` is one file; `pet-mad-s` is its newest stable version: of those in the cache
without any look at the network, else of those in the repository. Folders and environment variables
(HF_HOME, HF_HUB_CACHE, HF_HUB_OFFLINE, HF_ENDPOINT) are those of huggingface_hub, which is imported
only when a name is asked for. Names: upet 0.3.1.
"""

import importlib
import re
import socket
import urllib.parse
import urllib.request
from pathlib import Path

from .extras import how_to_install

REPOSITORY = "lab-cosmo/upet"
SIZES = {
    "pet-mad": ("xs", "s", "m"),
    "pet-omat": ("xs", "s", "m", "l", "xl"),
    "pet-oam": ("l", "xl"),
    "pet-omad": ("xs", "s", "l"),
    "pet-omatpes": ("l",),
    "pet-omol": ("s", "m", "l"),
    "pet-mols": ("s",),
    "pet-spice": ("s", "l"),
}
NAME = re.compile(r"((pet-[A-Za-z0-9_]+)-(xs|s|m|l|xl))(?:-v?([0-9]+\.[0-9]+\.[0-9]+))?")
FILE = re.compile(
    r"models/(pet-[A-Za-z0-9_]+-(?:xs|s|m|l|xl))-v([0-9]+\.[0-9]+\.[0-9]+)\.ckpt"
)  # no pre-releases


def names():
    """Names of the known checkpoints, without versions."""
    return [f"{model}-{size}" for model, sizes in SIZES.items() for size in sizes]


def in_order(versions):
    """Sorted list of versions "x.y.z", compared as numbers: 1.10.0 is after 1.9.0."""
    return sorted(versions, key=lambda version: tuple(map(int, version.split("."))))


def find(name):
    """Path of the checkpoint of a published name, downloaded if none is in the cache; None for any
    other text.

    Raises FileNotFoundError for a size that a model does not have, and where the download fails.
    """
    match = NAME.fullmatch(name)
    if match is None:
        return None
    base, model, _, version = match.groups()
    there = cached().get(base, {})
    if version is None and there:
        version = in_order(there)[-1]
    if version in there:
        return there[version]
    if base in names():
        return download(name)
    if model in SIZES:
        raise FileNotFoundError(
            f"`{name}` is not a published checkpoint: sizes of {model} are "
            f"{', '.join(SIZES[model])}"
        )
    return None


def download(name):
    """Path of the checkpoint that the repository holds for a name: of its version, else of the
    newest stable version.

    The repository is asked in any case, also for models that are not in `SIZES`; a file that is in
    the cache already is not downloaded again. Raises ValueError for text that is not such a name,
    FileNotFoundError where there is no such file, no network, or no huggingface_hub.
    """
    match = NAME.fullmatch(name)
    if match is None:
        raise ValueError(
            f"`{name}` is not the name of a published checkpoint: expected MODEL-SIZE or "
            "MODEL-SIZE-vX.Y.Z, such as pet-mad-s or pet-mad-s-v1.5.0"
        )
    base, version = match[1], match[4]
    if version is None:
        version = _available(name, base)[-1]
    file, folder = f"models/{base}-v{version}.ckpt", cache_folder()
    path = _ask(name, lambda hub: hub.hf_hub_download(REPOSITORY, file, cache_dir=folder))
    if path is None:
        raise FileNotFoundError(
            f"`{name}` is not in the repository `{REPOSITORY}`: versions of {base} there are "
            f"{', '.join(_available(name, base))}"
        )
    return Path(path)


def listed(name=REPOSITORY):
    """{name: [versions]} of the stable versions in the repository, in the order of their numbers.

    Raises FileNotFoundError that begins with `name` where there is no network or no
    huggingface_hub.
    """
    found = {}
    for match in filter(
        None, map(FILE.fullmatch, _ask(name, lambda hub: hub.HfApi().list_repo_files(REPOSITORY)))
    ):
        found.setdefault(match[1], []).append(match[2])
    return {base: in_order(versions) for base, versions in sorted(found.items())}


def _available(name, base):
    """Versions of a model in the repository, at least one."""
    available = listed(name)
    if base not in available:
        raise FileNotFoundError(
            f"`{name}` is not in the repository `{REPOSITORY}`: stable versions there are of "
            f"{', '.join(available) or 'no model'}"
        )
    return available[base]


def _ask(name, question):
    """question(huggingface_hub), None where the repository has no such file.

    Other errors become one sentence.
    """
    try:
        hub = importlib.import_module("huggingface_hub")
        _resolve(importlib.import_module("huggingface_hub.constants"))
        return question(hub)
    except ImportError as error:
        raise FileNotFoundError(
            f"`{name}` names a published checkpoint: to find and download it, install the extra "
            f"`hub` ({how_to_install('hub')}), or give the path of a copy ({error})"
        ) from None
    except (
        Exception
    ) as error:  # which HTTP client raises what changes between versions of huggingface_hub
        errors = importlib.import_module("huggingface_hub.utils")
        if isinstance(error, errors.EntryNotFoundError) and not isinstance(
            error, errors.LocalEntryNotFoundError
        ):
            return None
        endpoint = importlib.import_module("huggingface_hub.constants").ENDPOINT
        raise FileNotFoundError(
            f"`{name}` cannot be fetched from {endpoint}/{REPOSITORY} ({_reason(error, errors)}):"
            " without network, copy the checkpoint from elsewhere and give its path, or copy the"
            f" folder {repository_folder(cache_folder())} of a machine that has it to the same"
            f" place{_others(name)}"
        ) from None


def _resolve(constants):
    """Look the host up once, as huggingface_hub retries for half a minute where there is no network
    at all.

    Behind a proxy the names of hosts may be unknown and the network there all the same. Raises
    OSError.
    """
    host = urllib.parse.urlsplit(constants.ENDPOINT).hostname
    if host and not constants.HF_HUB_OFFLINE and not urllib.request.getproxies():
        socket.getaddrinfo(host, None)


def _reason(error, errors):
    cause = (
        error.__cause__
        if isinstance(error, errors.LocalEntryNotFoundError) and error.__cause__
        else error
    )
    reasons = {
        errors.OfflineModeIsEnabled: "HF_HUB_OFFLINE forbids the network",
        errors.GatedRepoError: "it asks for an account with access: `hf auth login`",
        errors.RepositoryNotFoundError: "no such repository is open to this account",
    }
    for kind, reason in reasons.items():
        if isinstance(cause, kind):
            return reason
    status = getattr(getattr(cause, "response", None), "status_code", None)
    lines = str(cause).strip().splitlines() or [""]
    return f"HTTP status {status}" if status else f"{type(cause).__name__}: {lines[0][:200]}"


def _others(name):
    """What is in the cache of a model whose version cannot be fetched."""
    match = NAME.fullmatch(name)
    there = cached().get(match[1], {}) if match else {}
    return f"; versions in the cache: {', '.join(in_order(there))}" if there else ""


def cached():
    """{name: {version: path}} of the stable versions in the cache; {} without huggingface_hub. Uses
    no network.

    A version that is there in several snapshots of the repository is taken from the one that is
    current.
    """
    cache = cache_folder()
    if cache is None:
        return {}
    folder = repository_folder(cache)
    reference = folder / "refs" / "main"
    current = reference.read_text(encoding="utf-8").strip() if reference.is_file() else None
    snapshots = sorted(
        filter(Path.is_dir, folder.glob("snapshots/*")),
        key=lambda path: (path.name == current, path.stat().st_mtime),
    )
    found = {}
    for path in (path for snapshot in snapshots for path in sorted(snapshot.glob("models/*.ckpt"))):
        match = FILE.fullmatch(f"models/{path.name}")
        if match and path.is_file():  # a download that was broken off is in none of these folders
            found.setdefault(match[1], {})[match[2]] = path
    return found


def cache_folder():
    """Folder that huggingface_hub keeps its downloads in, None where it is not installed."""
    try:
        return Path(importlib.import_module("huggingface_hub.constants").HF_HUB_CACHE)
    except ImportError:
        return None


def repository_folder(cache):
    """Folder of the repository of checkpoints inside a cache of huggingface_hub."""
    return Path(cache) / f"models--{REPOSITORY.replace('/', '--')}"


def remedy(path):
    """Sentence that says how to replace a file of the cache; empty for any other file."""
    return (
        f". If it is damaged, delete `{Path(path).resolve()}` and load it by name again"
        if origin(path)
        else ""
    )


def origin(path):
    """{repository, commit} of a file in the cache, {} for any other file."""
    cache = cache_folder()
    if cache is None or not Path(path).is_relative_to(repository_folder(cache) / "snapshots"):
        return {}
    commit = Path(path).relative_to(repository_folder(cache) / "snapshots").parts[0]
    return {"repository": REPOSITORY, "commit": commit}
