"""A process of `ase-pet`: exit status, one line for each error, notes of libraries."""

from __future__ import annotations

import contextlib
import io
import os
import select
import signal
import sys
import warnings
from collections.abc import Iterator
from types import FrameType
from typing import TextIO

import typer

from . import BROKEN_PIPE, INTERRUPTED, _errors, screen
from ._application import app
from ._results import release

IMPORTS = "<frozen importlib"  # files of the frames of an import


def run() -> int:
    """Exit status of the command that sys.argv holds."""
    # as `python -m ase_pet` does: a factory may be in a file of the present folder
    sys.path.append(os.getcwd())
    _escape_what_cannot_be_encoded()
    handler = signal.getsignal(signal.SIGINT)
    # a shell that starts a command in the background has told it to ignore Ctrl-C
    if handler is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = screen.show_warning
            if "--json" not in sys.argv:
                return _status()
            with _only_json():
                return _status()
    finally:
        release()
        signal.signal(signal.SIGINT, handler)


@contextlib.contextmanager
def _only_json() -> Iterator[None]:
    """Send to stderr what libraries print, compiled ones too: stdout holds one JSON document."""
    with contextlib.ExitStack() as stack:
        screen.documents = _document_stream(stack)
        stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        try:
            yield
        finally:
            screen.documents = None


def _document_stream(stack: contextlib.ExitStack) -> TextIO:
    """Stream to what was stdout, which leads to stderr until the stack is closed."""
    if sys.stdout is None:  # closed by the caller
        return io.StringIO()
    try:
        number = sys.stdout.fileno()
        copy = os.dup(number)
        os.dup2(sys.stderr.fileno(), number)
    except (AttributeError, OSError):  # no files: replaced by a program, or stderr is closed
        return sys.stdout
    # the last entry of the stack is the first to be undone
    stream = stack.enter_context(os.fdopen(copy, "w", encoding=sys.stdout.encoding))
    stack.callback(os.dup2, copy, number)
    return stream


def _status() -> int:
    """Exit status of the command; its error, if there is one, is printed as one line."""
    try:
        status = app(prog_name="ase-pet", standalone_mode=False)
        # a full disk or a closed pipe is noticed here, not when Python has ended
        _flush()
        return status if isinstance(status, int) else 0
    except (KeyboardInterrupt, typer.Abort):
        screen.complain("interrupted")
        return INTERRUPTED
    except BaseException as error:  # of any library and of any calculator
        if isinstance(error, screen.BrokenPipe | BrokenPipeError) and _reader_has_gone():
            _forget_stdout()
            return BROKEN_PIPE
        if not isinstance(error, Exception) and not _errors.is_foreign(error):
            raise  # of typer, to complete a word, or of the program that called
        text = _errors.line(error)
        if text:
            screen.complain(text)
        if isinstance(error, OSError):
            _forget_stdout()
        return _errors.status(error)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt; end at once while a module is imported, as some of them catch it."""
    importing = False
    while frame is not None and frame.f_code is not run.__code__:
        # not by "<module>", which is the name of compiled code (`compile=True`) as well
        importing |= frame.f_code.co_filename.startswith(IMPORTS)
        frame = frame.f_back
    # frames outside of `run`, where it was called by a program, do not count
    if importing and frame is not None:
        screen.complain("interrupted")
        os._exit(INTERRUPTED)
    raise KeyboardInterrupt


def _escape_what_cannot_be_encoded() -> None:
    """Let names in any encoding be printed, whatever the encoding of the terminal."""
    for stream in (sys.stdout, sys.stderr):
        # None where it was closed by the caller
        if stream is not None:
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def _flush() -> None:
    """Write what is still in the buffer of stdout."""
    stream = screen.documents or sys.stdout
    # None where the caller closed it
    if stream is not None:
        stream.flush()


def _reader_has_gone() -> bool:
    """Whether stdout is a pipe whose reader has closed it."""
    pipe = select.poll()
    pipe.register(screen.documents or sys.stdout, select.POLLOUT)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in pipe.poll(0))


def _forget_stdout() -> None:
    """Drop what could not be written to stdout, which Python would try again at its end."""
    try:
        _flush()
    except OSError:
        stream = screen.documents or sys.stdout
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
