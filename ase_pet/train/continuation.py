"""What a continued training must find as it was: its files, and a folder that nobody else uses."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import pickle
import platform
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from .. import store
from ..calculator_info import WEIGHTS
from . import fine_tuning, recipe_files
from .recipe import Recipe

LOCK = "train.lock"
DAMAGES = (RuntimeError, pickle.UnpicklingError, EOFError, KeyError, zipfile.BadZipFile)
RECIPE = "recipe.toml"


def fingerprint(recipe: Recipe, path: Path) -> dict[str, str]:
    """SHA-256 of each file that decides the result of a training, {what it is: hexadecimal}.

    Parameters
    ----------
    recipe:
        Recipe.
    path:
        Its file.
    """
    digests = {"recipe": _sha256(path)}
    for name, digest in of_data(recipe).items():
        digests[f"data file `{name}`"] = digest
    if recipe.start:
        start = fine_tuning.path_of(recipe.folder, recipe.start)
        digests["calculator of `start`"] = " ".join(map(_sha256, _files_of(start)))
    return digests


def _files_of(start: Path) -> list[Path]:
    """Files of a calculator that decide its numbers."""
    if (start / store.CARD).is_file():
        return [start / store.CARD, start / WEIGHTS]
    # of the original PET, whose runs are folders
    if start.is_dir():
        return sorted(path for path in start.iterdir() if path.is_file())
    return [start]


def of_data(recipe: Recipe) -> dict[str, str]:
    """SHA-256 of each data file of a recipe, {name in the recipe: hexadecimal}.

    Parameters
    ----------
    recipe:
        Recipe.
    """
    data = recipe.data
    old = recipe.fine_tuning
    names = dict.fromkeys(
        (*data.files, *data.train, *data.val, *data.test, *old.replay, *old.old_data)
    )
    return {name: _of_files(recipe_files.paths(recipe.folder, name)) for name in names}


def check_same(saved: Mapping[str, str], present: Mapping[str, str], folder: Path) -> None:
    """Raise ValueError for files that are not those with which a training was begun.

    Parameters
    ----------
    saved:
        Fingerprint in the state of the training; empty in states of earlier versions.
    present:
        Fingerprint of the present files.
    folder:
        Folder of the training.
    """
    if not saved:
        warnings.warn(
            f"the run in `{folder}` is of an earlier version, which kept no checksums: whether its"
            " data are the same is not known",
            stacklevel=2,
        )
        return
    names = dict.fromkeys([*saved, *present])
    # of a recipe that is longer on purpose, see `schedule`
    if "recipe" not in present:
        names.pop("recipe", None)
    changed = [name for name in names if saved.get(name) != present.get(name)]
    if changed:
        raise ValueError(
            f"not the files with which the run in `{folder}` was begun: {', '.join(changed)}."
            " Restore them, or begin a new run in another folder"
        )


def load_state(path: Path, device: torch.device) -> dict[str, Any]:
    """State of a training.

    Parameters
    ----------
    path:
        Path of the file.
    device:
        Device of its tensors.

    Raises
    ------
    ValueError
        The file is damaged.
    """
    try:
        _require_intact(path)
        # weights_only: nothing in the file is executed
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except DAMAGES as error:
        raise ValueError(
            f"`{path}` is damaged ({type(error).__name__}), the run cannot be continued: begin it"
            " again in another folder"
        ) from None
    return state


def _require_intact(path: Path) -> None:
    """Raise zipfile.BadZipFile for a file that is not what was written: torch does not compare."""
    with zipfile.ZipFile(path) as archive:
        bad = archive.testzip()
    if bad is not None:
        raise zipfile.BadZipFile(bad)


def save_state(state: dict[str, Any], path: Path) -> None:
    """Write the state of a training; where that fails the old one stays, which a note says.

    The training goes on: it has lost nothing as long as it runs, and writes its state again after
    the next epoch.

    Parameters
    ----------
    state:
        State.
    path:
        Path of the file.
    """
    temporary = path.with_name(path.name + ".part")
    try:
        torch.save(state, temporary)
        os.replace(temporary, path)
    # torch raises a RuntimeError of its own where a disk is full
    except (OSError, RuntimeError) as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        _note_unwritten(path, error)


def append_record(path: Path, record: dict[str, Any]) -> None:
    """Append the record of a validation to its file; a note says where that fails.

    Parameters
    ----------
    path:
        Path of the file.
    record:
        Record, which is in the state as well.
    """
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
    except OSError as error:
        _note_unwritten(path, error)


def _note_unwritten(path: Path, error: Exception) -> None:
    """Warn that a file of a training could not be written."""
    # torch says nothing that a user understands
    reason = error.strerror if isinstance(error, OSError) else "is the disk full?"
    warnings.warn(
        f"`{path}` could not be written ({reason}): the training goes on, and tries again after the"
        " next epoch; make space",
        stacklevel=3,
    )


def note_ranks(folder: Path, saved: int, present: int) -> None:
    """Note that a training continues with another number of processes.

    Parameters
    ----------
    folder:
        Folder of the training.
    saved:
        Number of processes that wrote its state.
    present:
        Number of processes now.
    """
    if saved != present:
        warnings.warn(
            f"the run in `{folder}` was begun with {saved} process(es) and continues with"
            f" {present}: the weights will be those of an uninterrupted run up to rounding, not bit"
            " for bit",
            stacklevel=5,
        )


def restore_history(
    path: Path, epoch: int, saved: list[dict[str, Any]] | None
) -> list[dict[str, Any]]:
    """Records of validations up to an epoch, which are written anew, as others may be in the file.

    Parameters
    ----------
    path:
        File of the records, which may hold later ones, or half a line.
    epoch:
        Last epoch of the state.
    saved:
        Records in the state; None in states of earlier versions.
    """
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    read: list[dict[str, Any]] = []
    damaged = 0
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:
            damaged += 1
            continue
        if record["epoch"] <= epoch:
            read.append(record)
    history = read if saved is None else saved
    lost = [record for record in history if record not in read]
    if damaged or lost:
        repaired = "written anew from the state" if saved is not None else "left out"
        warnings.warn(
            f"`{path}` was damaged ({damaged} bad lines, {len(lost)} missing): {repaired}",
            stacklevel=5,
        )
    path.write_text("".join(json.dumps(record) + "\n" for record in history))
    return history


def require_free(folder: Path, recipe: Path) -> None:
    """Raise ValueError if a training would replace files of something else in its folder.

    Parameters
    ----------
    folder:
        Folder without the state of a training.
    recipe:
        Path of the recipe.
    """
    kept = folder / RECIPE
    if recipe.resolve() == kept.resolve():
        return
    # beside the recipe it is one of the user; elsewhere, of a training that failed at its start
    own_recipe = kept.exists() and recipe.resolve().parent == folder.resolve()
    others = [name for name in (store.CARD, WEIGHTS, store.README) if (folder / name).exists()]
    if own_recipe or others:
        raise ValueError(
            f"`output` {folder} holds {', '.join(others or [RECIPE])}, which the training would"
            " replace: name a new folder"
        )


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder for this training; the system lets go of it when the process ends, however.

    Parameters
    ----------
    folder:
        Folder that is there.

    Raises
    ------
    ValueError
        Another training uses it.
    """
    path = folder / LOCK
    while True:
        file = path.open("a+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "another process"
            file.close()
            raise ValueError(
                f"`{folder}` is in use by a training ({holder}): wait for its end, or name another"
                " folder"
            ) from None
        except OSError as error:
            warnings.warn(
                f"`{folder}` cannot be locked against a second training: {error}", stacklevel=3
            )
        # the other training may have ended, and deleted its file, since it was opened
        if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
            break
        file.close()
    file.truncate(0)
    file.write(f"process {os.getpid()} on {platform.node()}\n")
    file.flush()
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        file.close()
        # a training that was refused leaves nothing
        with contextlib.suppress(OSError):
            folder.rmdir()


def _of_files(paths: list[Path]) -> str:
    """SHA-256 of a file, or of the digests of the files of a folder."""
    digests = [_sha256(path) for path in paths]
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256(" ".join(digests).encode()).hexdigest()


def _sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
