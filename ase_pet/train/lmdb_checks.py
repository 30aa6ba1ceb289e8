"""What LMDB does not check: a file that was cut off ends the process that reads it by a signal."""

from __future__ import annotations

import importlib.util
import struct
from pathlib import Path

from ..extras import how_to_install
from .crystal_checks import Refused

MAGIC = 0xBEEFC0DE
META = 152  # bytes of a page that describes the file: header, sizes, two trees, last page, number
SPARE = 2  # pages at the end that LMDB may have reserved and never written


def check(path: Path) -> None:
    """Raise Refused for a database that cannot be read.

    Parameters
    ----------
    path:
        Path of a file .aselmdb.

    Raises
    ------
    Refused
        It is not LMDB, or was cut off, or ase-db-backends is missing.
    """
    if importlib.util.find_spec("ase_db_backends") is None:
        raise Refused(f"`{path}`: files .aselmdb need ase-db-backends ({how_to_install('lmdb')})")
    with path.open("rb") as file:
        first = file.read(META)
        if len(first) < META or struct.unpack_from("<I", first, 16) != (MAGIC,):
            raise Refused(f"`{path}` is not a database of LMDB, as its name says")
        (page,) = struct.unpack_from("<I", first, 40)
        file.seek(page)
        second = file.read(META)
    if len(second) < META:
        raise Refused(f"`{path}` is incomplete: copy or download it again")
    # (last page, number of the change): the later one of the two descriptions is valid
    ends = [struct.unpack_from("<QQ", each, 136) for each in (first, second)]
    last_page, _ = max(ends, key=lambda end: end[1])
    expected = (last_page + 1 - SPARE) * page
    size = path.stat().st_size
    if size < expected:
        raise Refused(
            f"`{path}` is incomplete ({size} of {(last_page + 1) * page} bytes): copy or download"
            " it again"
        )
