"""Metadata of metatrain's checkpoints as printable text: name, description, authors, references."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ._unpickle import Inert

CLASS = "__torch__.torch.classes.metatomic.ModelMetadata"
MOST_TEXT = 20_000  # characters of a text
MOST_ENTRIES = 200  # entries of a list or table


def read_metadata(content: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata without its empty entries, {} if there is none.

    {"name": text, "description": text, "authors": [text], "references": {kind: [text]},
    "extra": {key: text}}

    Parameters
    ----------
    content:
        Table that the checkpoint holds.

    Raises
    ------
    ValueError
        The metadata are damaged.
    """
    match content.get("metadata"):
        case None:
            return {}
        case Inert(state=(str(text), str(kind))) if kind == CLASS and len(text) <= MOST_TEXT * 10:
            return _printable(_parsed(text))
    raise ValueError("`metadata` is not described as metatomic describes it")


def merged(outer: Mapping[str, Any], inner: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata of a wrapper around a model and of the model, as one table.

    Texts of the wrapper replace those of the model; authors and references are joined, without
    repetitions.

    Parameters
    ----------
    outer:
        Metadata of the wrapper.
    inner:
        Metadata of the model.
    """
    both = {**inner, **outer}  # the entries of the wrapper come last and win
    authors = _joined(outer.get("authors", []), inner.get("authors", []))
    if authors:
        both["authors"] = authors
    references = dict(inner.get("references", {}))
    for kind, entries in outer.get("references", {}).items():
        references[kind] = _joined(entries, references.get(kind, []))
    if references:
        both["references"] = references
    return both


def _joined(first: list[str], second: list[str]) -> list[str]:
    """The different entries of two lists, in order."""
    return list(dict.fromkeys([*first, *second]))


def _parsed(text: str) -> dict[str, Any]:
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        fields = None
    if type(fields) is not dict:
        raise ValueError("`metadata` is not a table in JSON")
    return fields


def _printable(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The known entries that are not empty, as texts."""
    printable: dict[str, Any] = {}
    # others are dropped: the file may hold anything
    for name in ("name", "description"):
        if fields.get(name):
            printable[name] = _text(fields[name])
    if fields.get("authors"):
        printable["authors"] = _texts("authors", fields["authors"])
    if fields.get("references"):
        table = _table("references", fields["references"])
        printable["references"] = {kind: _texts("references", table[kind]) for kind in table}
    if fields.get("extra"):
        table = _table("extra", fields["extra"])
        printable["extra"] = {key: _text(value) for key, value in table.items()}
    return printable


def _table(name: str, value: Any) -> dict[str, Any]:
    """The first entries of a table, with printable keys."""
    if type(value) is not dict:
        raise ValueError(f"`{name}` of `metadata` is not a table")
    return {_text(key): entry for key, entry in list(value.items())[:MOST_ENTRIES]}


def _texts(name: str, values: Any) -> list[str]:
    """The first entries of a list, as texts."""
    if type(values) is not list:
        raise ValueError(f"`{name}` of `metadata` is not a list of texts")
    return [_text(value) for value in values[:MOST_ENTRIES]]


def _text(value: Any) -> str:
    """Text that can be shown on a terminal: no control characters, bounded length."""
    if type(value) is not str:
        raise ValueError("`metadata` holds something that is not a text")
    return "".join(
        letter if letter.isprintable() or letter == "\n" else "\N{REPLACEMENT CHARACTER}"
        for letter in value[:MOST_TEXT]
    )
