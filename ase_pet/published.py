"""Published checkpoints by name, from a cache or downloaded once.

MACE models are single files, see `published_mace`; the rest is about PET.

`pet-mad-s-v1.5.0` is one file. `pet-mad-s` is its newest stable version: of the versions in the
cache if there are any, without any network access, else of those in the repository. Folders and
environment variables (HF_HOME, HF_HUB_CACHE, HF_HUB_OFFLINE, HF_ENDPOINT) are those of
huggingface_hub, which is imported only when a published name is used. Source of the names:
upet 0.3.1.
"""

from __future__ import annotations

import importlib
import re
import socket
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from packaging.version import Version

from . import published_mace
from .downloads import Report
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
# Files of stable versions; pre-releases do not match.
FILE = re.compile(r"models/(pet-[A-Za-z0-9_]+-(?:xs|s|m|l|xl))-v([0-9]+\.[0-9]+\.[0-9]+)\.ckpt")


def names() -> list[str]:
    """Names of the known PET checkpoints, without versions."""
    return [f"{model}-{size}" for model, sizes in SIZES.items() for size in sizes]


def in_order(versions: Iterable[str]) -> list[str]:
    """`versions` "x.y.z", sorted as version numbers: 1.10.0 comes after 1.9.0."""
    return sorted(versions, key=Version)


def find(name: str) -> Path | None:
    """Path of a published checkpoint, None for text that is not the name of one.

    The checkpoint is downloaded if the cache does not have it.

    Parameters
    ----------
    name:
        MODEL-SIZE or MODEL-SIZE-vX.Y.Z of a PET, or the name of a MACE.

    Raises
    ------
    FileNotFoundError
        The model does not have this size, or the download failed.
    """
    match = NAME.fullmatch(name)
    if match is None:
        return published_mace.find(name)
    base, model, _, version = match.groups()
    in_cache = cached().get(base, {})
    if version is None and in_cache:
        version = in_order(in_cache)[-1]
    if version in in_cache:
        return in_cache[version]
    if base in names():
        return download(name)
    # Other names with the prefix of a published model are misspelt; the rest may be anything.
    if model in SIZES:
        raise FileNotFoundError(
            f"`{name}` is not a published checkpoint: sizes of {model} are "
            f"{', '.join(SIZES[model])}"
        )
    return None


def known() -> list[str]:
    """Names of all published models: PET, without versions, and MACE."""
    return [*names(), *published_mace.names()]


def is_name(text: str) -> bool:
    """Whether a text is the name of a known published model, with or without a version.

    Parameters
    ----------
    text:
        Text that may be a name or a path.
    """
    match = NAME.fullmatch(text)
    return (text if match is None else match[1]) in known()


def download(name: str, report: Report | None = None) -> Path:
    """Path of the checkpoint of a name in the repository, downloaded if it is not in the cache.

    The repository is asked in any case, also for models that are not in `SIZES`.

    Parameters
    ----------
    name:
        MODEL-SIZE-vX.Y.Z, or MODEL-SIZE for the newest stable version in the repository, of a PET;
        or the name of a MACE.
    report:
        Called with the number of bytes of a MACE read so far and their total, None if unknown.

    Raises
    ------
    ValueError
        The text is not such a name.
    FileNotFoundError
        There is no such file, no network, or no huggingface_hub.
    """
    if name in published_mace.FILES:
        return published_mace.download(name, report)
    match = NAME.fullmatch(name)
    if match is None:
        published_mace.refuse_unsupported(name)
        raise ValueError(
            f"`{name}` is not the name of a published checkpoint: expected MODEL-SIZE or "
            "MODEL-SIZE-vX.Y.Z, such as pet-mad-s or pet-mad-s-v1.5.0, or a MACE such as "
            "mace-mp-0-small"
        )
    base = match[1]
    version = match[4] or _available(name, base)[-1]
    file = f"models/{base}-v{version}.ckpt"
    folder = cache_folder()
    path = _ask(name, lambda hub: hub.hf_hub_download(REPOSITORY, file, cache_dir=folder))
    # None: the repository answered, but does not have the file
    if path is None:
        raise FileNotFoundError(
            f"`{name}` is not in the repository `{REPOSITORY}`: versions of {base} there are "
            f"{', '.join(_available(name, base))}"
        )
    return Path(path)


def listed(name: str = REPOSITORY) -> dict[str, list[str]]:
    """{name of a checkpoint: its stable versions in the repository, in ascending order}.

    Parameters
    ----------
    name:
        Name that the user asked for, with which error messages begin.

    Raises
    ------
    FileNotFoundError
        There is no network or no huggingface_hub.
    """
    versions: dict[str, list[str]] = {}
    for file in _ask(name, lambda hub: hub.HfApi().list_repo_files(REPOSITORY)):
        match = FILE.fullmatch(file)
        if match:
            versions.setdefault(match[1], []).append(match[2])
    return {base: in_order(versions[base]) for base in sorted(versions)}


def cached() -> dict[str, dict[str, Path]]:
    """{name of a checkpoint: {version: path}} of the stable versions in the cache.

    It uses no network, and is empty without huggingface_hub. If several snapshots of the repository
    hold a version, the path is that in the current snapshot.
    """
    cache = cache_folder()
    if cache is None:
        return {}
    repository = repository_folder(cache)
    reference = repository / "refs" / "main"
    current = None
    if reference.is_file():
        current = reference.read_text(encoding="utf-8").strip()
    snapshots = [path for path in repository.glob("snapshots/*") if path.is_dir()]
    # Later snapshots replace earlier ones below: by age, and the current one last.
    snapshots.sort(key=lambda path: (path.name == current, path.stat().st_mtime))
    paths: dict[str, dict[str, Path]] = {}
    for snapshot in snapshots:
        for path in sorted(snapshot.glob("models/*.ckpt")):
            match = FILE.fullmatch(f"models/{path.name}")
            # An interrupted download leaves no file here, or a broken link.
            if match and path.is_file():
                versions = paths.setdefault(match[1], {})
                versions[match[2]] = path
    return paths


def cache_folder() -> Path | None:
    """Folder of the downloads of huggingface_hub, None if huggingface_hub is not installed."""
    try:
        return Path(importlib.import_module("huggingface_hub.constants").HF_HUB_CACHE)
    except ImportError:
        return None


def repository_folder(cache: Path) -> Path:
    """Folder of the repository of checkpoints inside `cache`, the folder of huggingface_hub."""
    return Path(cache) / f"models--{REPOSITORY.replace('/', '--')}"


def remedy(path: Path) -> str:
    """End of an error message: how to replace the damaged file `path` if it is in the cache."""
    if not origin(path):
        return ""
    return f". If it is damaged, delete `{Path(path).resolve()}` and load it by name again"


def origin(path: Path) -> dict[str, str]:
    """{"repository", "commit"} or {"url"} of a file `path` in a cache, {} for any other file."""
    mace = published_mace.cached_name(path)
    if mace is not None:
        return {"url": published_mace.FILES[mace].url}
    cache = cache_folder()
    if cache is None:
        return {}
    snapshots = repository_folder(cache) / "snapshots"
    if not Path(path).is_relative_to(snapshots):
        return {}
    commit = Path(path).relative_to(snapshots).parts[0]
    return {"repository": REPOSITORY, "commit": commit}


def _available(name: str, base: str) -> list[str]:
    """Versions of a model in the repository, at least one."""
    available = listed(name)
    if base not in available:
        raise FileNotFoundError(
            f"`{name}` is not in the repository `{REPOSITORY}`: stable versions there are of "
            f"{', '.join(available) or 'no model'}"
        )
    return available[base]


def _ask(name: str, question: Callable[[ModuleType], Any]) -> Any:
    """question(huggingface_hub), None if the repository does not have the file.

    Other errors become a FileNotFoundError of one sentence.
    """
    try:
        hub = importlib.import_module("huggingface_hub")
        _check_host(importlib.import_module("huggingface_hub.constants"))
        return question(hub)
    except ImportError as error:
        raise FileNotFoundError(
            f"`{name}` names a published checkpoint: to find and download it, install the extra "
            f"`hub` ({how_to_install('hub')}), or give the path of a copy ({error})"
        ) from None
    except Exception as error:
        # Any exception: the HTTP client of huggingface_hub changes between its versions.
        errors = importlib.import_module("huggingface_hub.utils")
        if isinstance(error, errors.EntryNotFoundError) and not isinstance(
            error, errors.LocalEntryNotFoundError
        ):
            return None
        endpoint = importlib.import_module("huggingface_hub.constants").ENDPOINT
        folder = repository_folder(cache_folder() or Path())
        raise FileNotFoundError(
            f"`{name}` cannot be fetched from {endpoint}/{REPOSITORY} ({_reason(error, errors)}):"
            " without network, copy the checkpoint from elsewhere and give its path, or copy the"
            f" folder {folder} of a machine that has it to the same"
            f" place{_cached_versions(name)}"
        ) from None


def _check_host(constants: ModuleType) -> None:
    """Raise OSError if the host of the repository cannot be resolved.

    Without network huggingface_hub would retry for half a minute. Behind a proxy host names may not
    be resolved although there is a network, so they are not tried.
    """
    host = urllib.parse.urlsplit(constants.ENDPOINT).hostname
    if host and not constants.HF_HUB_OFFLINE and not urllib.request.getproxies():
        socket.getaddrinfo(host, None)


def _reason(error: BaseException, errors: ModuleType) -> str:
    """Cause of a failed download in a few words; errors: huggingface_hub.utils."""
    if isinstance(error, errors.LocalEntryNotFoundError) and error.__cause__:
        error = error.__cause__
    reasons = {
        errors.OfflineModeIsEnabled: "HF_HUB_OFFLINE forbids the network",
        errors.GatedRepoError: "it asks for an account with access: `hf auth login`",
        errors.RepositoryNotFoundError: "no such repository is open to this account",
    }
    for kind, reason in reasons.items():
        if isinstance(error, kind):
            return reason
    status = _http_status(error)
    if status:
        return f"HTTP status {status}"
    # the first line: some messages have a traceback or an advertisement below it
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:200]}"


def _http_status(error: Any) -> int | None:
    """HTTP status of an error of any HTTP client, None for other errors."""
    try:
        status: int = error.response.status_code
    except AttributeError:
        return None
    return status


def _cached_versions(name: str) -> str:
    """End of an error message: versions in the cache of a model that cannot be downloaded."""
    match = NAME.fullmatch(name)
    in_cache = cached().get(match[1], {}) if match else {}
    if not in_cache:
        return ""
    return f"; versions in the cache: {', '.join(in_order(in_cache))}"
