"""Download of one file from a web address: checked, in bounded time and size, whole or not at all.

Only the standard library is used. Addresses and all that they redirect to must be https.
"""

from __future__ import annotations

import hashlib
import secrets
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path
from typing import IO

SCHEMES = ("https",)
LARGEST = 10**9  # bytes
SILENCE = 30.0  # s without an answer
LONGEST = 3600.0  # s for a file
BLOCK = 2**18  # bytes read at once
MOST_REDIRECTS = 5
Report = Callable[[int, int | None], None]


class DownloadError(OSError):
    """A download that did not give the file; the text is the reason in a few words."""


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Redirects to https only, and few of them."""

    max_redirections = MOST_REDIRECTS

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        """Request for the new address; the names of the arguments are those of urllib."""
        try:
            _check_scheme(newurl)
        except DownloadError:
            fp.close()
            raise
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def fetch(
    url: str,
    path: Path,
    sha256: str,
    largest: int = LARGEST,
    report: Report | None = None,
) -> None:
    """Download a file, compare it with its sha256, and give it its name when it is complete.

    Whatever happens, `path` is either absent or the whole file. Several processes may download the
    same file at once.

    Parameters
    ----------
    url:
        Address, https.
    path:
        File to write. Its folder is made if it does not exist.
    sha256:
        Expected digest, as 64 hexadecimal digits.
    largest:
        Largest number of bytes that are read.
    report:
        Called with the number of bytes read so far and their total, None if it is unknown.

    Raises
    ------
    DownloadError
        There is no network, no such file, or another file than expected; the text says which.
    """
    _check_scheme(url)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.incomplete")
    try:
        with temporary.open("xb") as file:
            found = _copied(url, file, largest, report)
        if found != sha256:
            raise DownloadError(
                f"what came is not the published file: its sha256 is {found}, expected {sha256}"
            )
        # in one step, so that no reader sees a part of the file
        temporary.replace(path)
    except (OSError, HTTPException) as error:
        raise _explained(error) from None
    finally:
        temporary.unlink(missing_ok=True)


def _copied(url: str, file: IO[bytes], largest: int, report: Report | None) -> str:
    """The sha256 of what an address sends, after it was written to an open file."""
    deadline = time.monotonic() + LONGEST
    opener = urllib.request.build_opener(_Redirects)
    request = urllib.request.Request(url, headers={"User-Agent": "ase_pet"})
    digest = hashlib.sha256()
    done = 0
    with opener.open(request, timeout=SILENCE) as response:
        total = _stated_length(response)
        # small blocks, as limits are checked between them
        while block := response.read1(BLOCK):
            done += len(block)
            if max(done, total or 0) > largest:
                raise DownloadError(f"it is larger than {largest} bytes")
            if time.monotonic() > deadline:
                raise DownloadError(f"it took longer than {LONGEST:g} s")
            digest.update(block)
            file.write(block)
            if report is not None:
                report(done, total)
    if total is not None and done != total:
        raise DownloadError(f"the connection was cut off after {done} of {total} bytes")
    return digest.hexdigest()


def _stated_length(response: HTTPResponse) -> int | None:
    """Number of bytes that the server announces, None if it says nothing that can be read."""
    text = response.headers.get("Content-Length", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None


def _check_scheme(url: str) -> None:
    """Raise DownloadError for an address that is not https."""
    scheme = urllib.parse.urlsplit(url).scheme
    if scheme not in SCHEMES:
        raise DownloadError(f"the address {url[:200]} is not https")


def _explained(error: OSError | HTTPException) -> DownloadError:
    """The error with its reason in one line."""
    if isinstance(error, DownloadError):
        return error
    if isinstance(error, urllib.error.HTTPError):
        error.close()  # it holds the connection
        return DownloadError(f"HTTP status {error.code}")
    if isinstance(error, urllib.error.URLError) and isinstance(error.reason, OSError):
        error = error.reason
    # the first line: some messages are longer
    lines = str(error).strip().splitlines() or [""]
    return DownloadError(f"{type(error).__name__}: {lines[0][:200]}")
