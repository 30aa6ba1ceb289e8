"""The `ase-pet` command.

Exit status: 0, 1 where a check failed or a run became unstable, 2 for bad input and for errors of a
library or of a foreign calculator, 130 for Ctrl-C. An error is one line on stderr; its traceback is
shown with -v, or with ASE_PET_DEBUG=1 in the environment.
"""

from __future__ import annotations

import atexit
import importlib
import os
import sys
from typing import Any

INTERRUPTED = 130  # exit status of shells for Ctrl-C
BROKEN_PIPE = 141  # and of a program whose reader has gone, as in `ase-pet list | head -1`


def __getattr__(name: str) -> Any:
    """Typer application `app`, which is imported when it is used: Ctrl-C may come before that."""
    if name == "app":
        return importlib.import_module("._application", __name__).app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def main() -> None:
    """Run the command line and exit; each error ends in one line on stderr."""
    try:
        status = importlib.import_module("._process", __name__).run()
    except KeyboardInterrupt:  # while the command line itself was imported
        print("ase-pet: interrupted", file=sys.stderr)
        status = INTERRUPTED
    if status == INTERRUPTED:
        # Python ends with a signal instead if Ctrl-C came inside of an `exec`, as some imports do
        atexit._run_exitfuncs()
        os._exit(status)
    sys.exit(status)
