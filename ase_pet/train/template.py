"""The schema of recipes as texts: a commented recipe to start from, and the table of its keys."""

from __future__ import annotations

import dataclasses
import json
import textwrap
from collections.abc import Iterator
from typing import Any

from pydantic.fields import FieldInfo

from .. import plugins
from .schema import TABLES, Recipe, expected, keys

FREE = ("settings", "card")  # tables without keys of their own in the schema
HEADER = """\
# Recipe for `ase-pet train`, a TOML file. Paths are relative to it.
# Keys that are commented out have their default, or an example where there is none."""


def template(model: str = "pet") -> str:
    """Recipe in TOML that `recipe.read` accepts, each key with its meaning in a comment.

    Parameters
    ----------
    model:
        Architecture whose settings are listed.
    """
    recipe = keys(Recipe)
    lines = [HEADER, ""]
    # TOML: keys of the recipe itself come before its first table
    for key, field in recipe.items():
        if key not in (*TABLES, *FREE):
            lines += _lines(key, field)

    lines += ["", *_comment(recipe["settings"]), "[settings]"]
    lines += _settings(model)
    for name, table in TABLES.items():
        lines += ["", *_comment(recipe[name]), f"[{name}]"]
        for key, field in keys(table).items():
            # a recipe needs files, of which the template has the first kind
            lines += _lines(key, field, required=key == "files")

    lines += ["", *_comment(recipe["card"]), "[card]"]
    for key, text in _example(recipe["card"]).items():
        lines.append(f"# {key} = {json.dumps(text)}")
    return "\n".join(lines) + "\n"


def markdown() -> str:
    """Table of all keys of a recipe: name, default and meaning."""
    rows = ["| key | default | meaning |", "|---|---|---|"]
    for key, field in keys(Recipe).items():
        # one level of tables: `loss.energy` is the key `energy` of [loss]
        if key in TABLES:
            for name, inner in keys(TABLES[key]).items():
                rows.append(_row(f"{key}.{name}", inner))
        elif key in FREE:
            rows.append(_row(f"[{key}]", field))
        else:
            rows.append(_row(key, field))
    return "\n".join(rows) + "\n"


def _row(name: str, field: FieldInfo) -> str:
    """Row of the table of keys."""
    if field.is_required():
        default = "required"
    elif field.default_factory is not None or field.default in (None, ()):
        default = ""
    else:
        default = f"`{json.dumps(field.default)}`"
    return f"| `{name}` | {default} | {field.description} |"


def _lines(key: str, field: FieldInfo, required: bool = False) -> Iterator[str]:
    """Comment and value of a key, the value commented out where it may be left out."""
    yield from _comment(field)
    optional = not (required or field.is_required())
    value = _example(field) if field.is_required() or not field.default else field.default
    yield f"{'# ' if optional else ''}{key} = {json.dumps(value)}"


def _comment(field: FieldInfo) -> Iterator[str]:
    """Meaning of a key, and what it accepts."""
    accepts = expected(field).replace("expected ", "").replace("valid choices are", "one of")
    table = dataclasses.is_dataclass(field.annotation) or accepts == "a table"
    text = f"{field.description}" if table else f"{field.description} ({accepts})"
    yield from textwrap.wrap(text, 88, initial_indent="# ", subsequent_indent="# ")


def _example(field: FieldInfo) -> Any:
    """First example of a key, else its default."""
    return field.examples[0] if field.examples else field.default


def _settings(model: str) -> Iterator[str]:
    """Settings of a model: the species of the example, the others commented out."""
    for field in dataclasses.fields(plugins.load("ase_pet.models", model).Settings):
        if field.name == "species":
            species = _example(keys(Recipe)["settings"])["species"]
            yield f"species = {json.dumps(species)}"
        elif field.default not in (dataclasses.MISSING, None):
            yield f"# {field.name} = {json.dumps(field.default)}"
