"""Why a file that no format recognises cannot be read, where its bytes say so."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

from ._archive import LARGEST_PICKLE, ZIP_ERRORS

BEGINNING = b"PK\x03\x04"  # of a ZIP archive
# of a file of torch.save before torch 1.6: a pickle of a magic number
BEFORE_ZIP = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"
AGAIN = "copy or download it again"


def damage(path: Path) -> str | None:
    """Sentence on a damaged or outdated file of torch.save, None where it is neither.

    Parameters
    ----------
    path:
        Path of a file or folder.
    """
    if not path.is_file():
        return None
    with path.open("rb") as file:
        first = file.read(len(BEFORE_ZIP))
    if first == BEFORE_ZIP:
        return (
            "is a file of torch.save from before torch 1.6: load it with torch and save it again,"
            " on a machine where you trust it"
        )
    is_zip = first.startswith(BEGINNING)
    try:
        if not is_zip and not zipfile.is_zipfile(path):
            return None
        with zipfile.ZipFile(path) as archive:
            return _of_archive(archive, is_zip)
    except (*ZIP_ERRORS, OSError):
        return f"is damaged or incomplete: a ZIP archive that has lost its end; {AGAIN}"


def _of_archive(archive: zipfile.ZipFile, is_zip: bool) -> str | None:
    """Sentence on the damage of an archive whose list of records can be read."""
    entries = archive.infolist()
    # a list that does not begin with the first record is that of an archive within this one
    if is_zip and all(entry.header_offset > 0 for entry in entries):
        return f"is damaged or incomplete: a ZIP archive that has lost its end; {AGAIN}"
    pickles = [entry for entry in entries if entry.filename.endswith("/data.pkl")]
    folders = {entry.filename.partition("/")[0] for entry in entries}
    # torch.save writes one folder with a version and numbered records
    names = {entry.filename.rpartition("/")[2] for entry in entries}
    is_torch = bool(pickles) or (len(folders) == 1 and {"version", "0"} <= names)
    if not is_torch:
        return None
    what = "a file of torch.save (a ZIP archive)"
    if not is_zip:
        return f"is damaged: {what} whose first bytes are wrong; {AGAIN}"
    if not pickles:
        return f"is damaged: {what} without its record data.pkl; {AGAIN}"
    if not _is_intact(archive, pickles[0]):
        return f"is damaged: {what} whose record data.pkl is not what was written; {AGAIN}"
    return None


def _is_intact(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bool:
    """Whether a record has the check sum that was written with it."""
    if entry.file_size > LARGEST_PICKLE:
        return False
    try:
        with archive.open(entry) as record:
            record.read(LARGEST_PICKLE)  # compares the check sum at its end
    except (*ZIP_ERRORS, OSError, zlib.error):
        return False
    return True
