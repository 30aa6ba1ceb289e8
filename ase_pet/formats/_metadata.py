"""What a checkpoint of metatrain says about itself.

Name, description, authors, references, as printable text.
"""

import json

from ._unpickle import Inert

CLASS = "__torch__.torch.classes.metatomic.ModelMetadata"
MOST_TEXT, MOST_ENTRIES = 20_000, 200  # characters of a text, entries of a list
TABLES = ("references", "extra")


def read_metadata(content):
    """{"name", "description": text, "authors": [text], "references": {kind: [text]}, "extra": {key:
    text}} of a table.

    What is empty is left out; without metadata the result is empty. Raises ValueError where they
    are damaged.
    """
    found = content.get("metadata")
    match found:
        case None:
            return {}
        case Inert(state=(str(text), str(kind))) if kind == CLASS and len(text) <= MOST_TEXT * 10:
            return _printable_fields(_parsed(text))
    raise ValueError("`metadata` is not described as metatomic describes it")


def merged(outer, inner):
    """Metadata of a wrapper and of the model inside.

    The outer text where both have one, the lists of both.
    """
    authors = list(dict.fromkeys([*outer.get("authors", []), *inner.get("authors", [])]))
    both = {**inner, **outer} | ({"authors": authors} if authors else {})
    references = {kind: list(entries) for kind, entries in inner.get("references", {}).items()}
    for kind, entries in outer.get("references", {}).items():
        references[kind] = list(dict.fromkeys([*entries, *references.get(kind, [])]))
    return both | ({"references": references} if references else {})


def _parsed(text):
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        fields = None
    if type(fields) is not dict:
        raise ValueError("`metadata` is not a table in JSON")
    return fields


def _printable_fields(fields):
    found = {name: _text(fields[name]) for name in ("name", "description") if fields.get(name)}
    if fields.get("authors"):
        found["authors"] = _texts("authors", fields["authors"])
    for name in TABLES:
        table = fields.get(name)
        if table and type(table) is not dict:
            raise ValueError(f"`{name}` of `metadata` is not a table")
        if table:
            found[name] = {
                _text(key): _entry(name, value) for key, value in list(table.items())[:MOST_ENTRIES]
            }
    return found


def _entry(name, value):
    return _texts(name, value) if name == "references" else _text(value)


def _texts(name, values):
    if type(values) is not list:
        raise ValueError(f"`{name}` of `metadata` is not a list of texts")
    return [_text(value) for value in values[:MOST_ENTRIES]]


def _text(value):
    """Text that can be shown on a terminal: no control characters, bounded length."""
    if type(value) is not str:
        raise ValueError("`metadata` holds something that is not a text")
    return "".join(
        letter if letter.isprintable() or letter == "\n" else "\N{REPLACEMENT CHARACTER}"
        for letter in value[:MOST_TEXT]
    )
