"""Published MACE models by name: one file each, from its address on the web or from the cache.

Names, addresses and licences are those of mace-torch 0.3.16 and of the repositories
ACEsuit/mace-foundations and ACEsuit/mace-off. The digests are those that several projects publish
for these files. No weights are part of ase_pet.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from dataclasses import dataclass
from pathlib import Path

from . import downloads

RELEASES = "https://github.com/ACEsuit/mace-foundations/releases/download"
ORGANIC = "https://raw.githubusercontent.com/ACEsuit/mace-off/v0.2"
MIT = "MIT"
ACADEMIC = "ASL (Academic Software License): academic, non-commercial use only"
TERMS = "https://github.com/gabor1/ASL"
SUFFIX = ".model"
# {beginning of a name: reason} of published models that the reader refuses
NOT_READ = {
    "mace-mh-": "its non-linear interaction blocks are not supported",
    "mace-omol-": "embeddings of charge and spin are not supported",
    "mace-polar-": "long-range electrostatics are not supported",
    "mace-anicc": "its file, of an early version of mace-torch, is not supported",
}


@dataclass(frozen=True)
class File:
    """A published file: address, sha256, licence and reference."""

    url: str
    sha256: str
    licence: str
    reference: str


MATERIALS = "Batatia et al., arXiv:2401.00096"
MOLECULES = "Kovacs et al., arXiv:2312.15211"
FILES = {
    "mace-mp-0-small": File(
        f"{RELEASES}/mace_mp_0/2023-12-10-mace-128-L0_energy_epoch-249.model",
        "2ddb079cee0e131eaaf6912ba581b394551ead283e95c99cfe78c605d10b5736",
        MIT,
        MATERIALS,
    ),
    "mace-mp-0-medium": File(
        f"{RELEASES}/mace_mp_0/2023-12-03-mace-128-L1_epoch-199.model",
        "01bfe22100139f424713cf921144e5509cbe353d67aa9fa1be9c6e1e0ed35845",
        MIT,
        MATERIALS,
    ),
    "mace-mp-0-large": File(
        f"{RELEASES}/mace_mp_0/MACE_MPtrj_2022.9.model",
        "f80e992b65ab8f88fdf26964511357c022e92704e4d9bcd086652635a8495b32",
        MIT,
        MATERIALS,
    ),
    "mace-mp-0b-small": File(
        f"{RELEASES}/mace_mp_0b/mace_agnesi_small.model",
        "7e3a0abcaf41e03a80e69f778e1b11b29de1cca704783dc25917a736392f8cf0",
        MIT,
        MATERIALS,
    ),
    "mace-mp-0b-medium": File(
        f"{RELEASES}/mace_mp_0b/mace_agnesi_medium.model",
        "ab8baff639a8f295f3eccad3d3ccf574efb6fb63220bd52cd88664211569e521",
        MIT,
        MATERIALS,
    ),
    "mace-mp-0b2-small": File(
        f"{RELEASES}/mace_mp_0b2/mace-small-density-agnesi-stress.model",
        "d5773bf9440e96d6eb8c598f84bd0e6369fcfa432f626a87f890e07da3c651c9",
        MIT,
        MATERIALS,
    ),
    "mace-mp-0b2-medium": File(
        f"{RELEASES}/mace_mp_0b2/mace-medium-density-agnesi-stress.model",
        "a90be07c8aa6623c390fcc4653d3e319c4a356f8b4a53d323f96b2012d375caf",
        MIT,
        MATERIALS,
    ),
    "mace-mp-0b2-large": File(
        f"{RELEASES}/mace_mp_0b2/mace-large-density-agnesi-stress.model",
        "348390e758e1c90011c7675e864850f8e9c5b3e7c217f79a2b4bad1baaa657ad",
        MIT,
        MATERIALS,
    ),
    "mace-mp-0b3-medium": File(
        f"{RELEASES}/mace_mp_0b3/mace-mp-0b3-medium.model",
        "2f2be696351ac9e94fbe01cdfb6f017679acdbd2db7645209ef55fec9826b012",
        MIT,
        MATERIALS,
    ),
    "mace-mpa-0-medium": File(
        f"{RELEASES}/mace_mpa_0/mace-mpa-0-medium.model",
        "75428afe3a1d7d8062e19bcaabd5c433623cabf308242ec9fb493e38604fb638",
        MIT,
        MATERIALS,
    ),
    "mace-omat-0-small": File(
        f"{RELEASES}/mace_omat_0/mace-omat-0-small.model",
        "0abfde07862cf1e93b8b4d03cb702f29ce9c344ff2fc4de2ec0d7166d6c113a5",
        ACADEMIC,
        MATERIALS,
    ),
    "mace-omat-0-medium": File(
        f"{RELEASES}/mace_omat_0/mace-omat-0-medium.model",
        "d4b14be9afa294eebdbe31a0280b26a0fa29715771e978cbfd3ca24e0d90307a",
        ACADEMIC,
        MATERIALS,
    ),
    "mace-matpes-pbe-0-medium": File(
        f"{RELEASES}/mace_matpes_0/MACE-matpes-pbe-omat-ft.model",
        "e618ad582b84239905b9c3b77ce6e9ce111b0ecd1533223a1a6aac7a696b8aa0",
        ACADEMIC,
        MATERIALS,
    ),
    "mace-matpes-r2scan-0-medium": File(
        f"{RELEASES}/mace_matpes_0/MACE-matpes-r2scan-omat-ft.model",
        "8f147ecffa1d06a696e5648b13b81abda9c96fda9d0fb3faba3cd3fb27d9bba9",
        ACADEMIC,
        MATERIALS,
    ),
    "mace-off23-small": File(
        f"{ORGANIC}/mace_off23/MACE-OFF23_small.model",
        "165cce4cfec5a34b9c64d4ebf95de15d71106bb584b7291c8470f0749977c46f",
        ACADEMIC,
        MOLECULES,
    ),
    "mace-off23-medium": File(
        f"{ORGANIC}/mace_off23/MACE-OFF23_medium.model",
        "4842c52ad210d6e1f84d6cf1ffa70fae25a7e0d755ed55cf223f43913f587db7",
        ACADEMIC,
        MOLECULES,
    ),
    "mace-off23-large": File(
        f"{ORGANIC}/mace_off23/MACE-OFF23_large.model",
        "a29e397dbf3e7a24ac50a9b0dfc919bd5a62efa346f5895a6237b0950c1d76f4",
        ACADEMIC,
        MOLECULES,
    ),
    "mace-off24-medium": File(
        f"{ORGANIC}/mace_off24/MACE-OFF24_medium.model",
        "e5ccf5837f685899811a68754e7c994393bfd1a81720393b03c643b46c70bc69",
        ACADEMIC,
        MOLECULES,
    ),
}


def names() -> list[str]:
    """Names of the published MACE models that can be read."""
    return list(FILES)


def find(name: str) -> Path | None:
    """Path of the file of a published name, downloaded if the cache does not have it.

    None for any text that is not such a name.

    Parameters
    ----------
    name:
        Name, such as mace-mp-0-small.

    Raises
    ------
    FileNotFoundError
        The download failed, or models of this kind are not supported.
    """
    refuse_unsupported(name)
    if name not in FILES:
        return None
    return cached().get(name) or download(name)


def refuse_unsupported(name: str) -> None:
    """Raise FileNotFoundError for the name of a published model of a kind that is not supported.

    Parameters
    ----------
    name:
        Any text.
    """
    for beginning, reason in NOT_READ.items():
        if name.startswith(beginning):
            raise FileNotFoundError(
                f"`{name}` cannot be used: {reason}; published MACE models that can be read are"
                f" {', '.join(names())}"
            )


def download(name: str, report: downloads.Report | None = None) -> Path:
    """Path of the file of a published name in the cache, after a download if it is not there.

    Parameters
    ----------
    name:
        Name, such as mace-mp-0-small.
    report:
        Called with the number of bytes read so far and their total, None if it is unknown.

    Raises
    ------
    FileNotFoundError
        The download failed; nothing is left of it.
    """
    file = FILES[name]
    path = cache_folder() / f"{name}{SUFFIX}"
    if path.is_file():
        return path
    try:
        if is_offline():
            raise downloads.DownloadError("HF_HUB_OFFLINE forbids the network")
        downloads.fetch(file.url, path, file.sha256, report=report)
    except OSError as error:
        raise FileNotFoundError(
            f"`{name}` cannot be fetched from {file.url} ({error}): without network, copy the file"
            f" from elsewhere and give its path, or put it there as {path}"
        ) from None
    # others restrict the use: told once, with the download
    if file.licence != MIT:
        warnings.warn(f"`{name}`: licence {file.licence}, see {TERMS}", stacklevel=2)
    return path


def cached() -> dict[str, Path]:
    """{name: path} of the published models in the cache; no network is used."""
    folder = cache_folder()
    paths = {name: folder / f"{name}{SUFFIX}" for name in FILES}
    return {name: path for name, path in paths.items() if path.is_file()}


def cache_folder() -> Path:
    """Folder of the downloads: `ase_pet` beside the cache of huggingface_hub.

    HF_HOME moves both. Its default is `huggingface` in XDG_CACHE_HOME, or in `~/.cache`.
    """
    default = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    home = Path(os.environ.get("HF_HOME") or default)
    return home.expanduser() / "ase_pet"


def cached_name(path: Path) -> str | None:
    """Name of the published model of a file in the cache, None of any other file.

    Parameters
    ----------
    path:
        Path of a file.
    """
    name = Path(path).name.removesuffix(SUFFIX)
    in_cache = name in FILES and Path(path) == cache_folder() / f"{name}{SUFFIX}"
    return name if in_cache else None


def is_offline() -> bool:
    """Whether HF_HUB_OFFLINE forbids the network, as huggingface_hub reads it."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def name_of(path: Path) -> str | None:
    """Name of the published model that a file is, None for other files.

    Files of the cache are known by their path. Others are read and compared if their name is that
    of a published file.

    Parameters
    ----------
    path:
        Path of a file.
    """
    path = Path(path)
    if cached_name(path) is not None:
        return cached_name(path)
    for name, file in FILES.items():
        is_named = path.name in (f"{name}{SUFFIX}", file.url.rpartition("/")[2])
        if is_named and path.is_file() and _sha256(path) == file.sha256:
            return name
    return None


def facts(path: Path) -> dict[str, str | list[str]]:
    """Licence and references of a published file, {} of any other file.

    Parameters
    ----------
    path:
        Path of a file.
    """
    name = name_of(path)
    if name is None:
        return {}
    file = FILES[name]
    terms = "" if file.licence == MIT else f", see {TERMS}"
    return {
        "description": f"The published MACE model {name}.",
        "license": f"{file.licence}{terms}",
        "references": [file.reference],
    }


def _sha256(path: Path) -> str:
    """The sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
