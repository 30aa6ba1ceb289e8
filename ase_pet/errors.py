"""Errors of calculators, and the text of any error."""

from __future__ import annotations


class WrongResult(ValueError):
    """A calculator returned something that is no result: another type or shape, nan or inf."""


def error_text(error: BaseException) -> str:
    """Type and text of an error; of errors whose text cannot be made, the type.

    Parameters
    ----------
    error:
        What was raised, by any library.
    """
    try:
        text = str(error)
    except Exception:  # classes of other packages
        text = ""
    return f"{type(error).__name__}: {text}".removesuffix(": ")
