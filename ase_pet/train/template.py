"""The schema of recipes as texts: a commented recipe to start from, and the table of its keys.

The meanings of the settings of a model are the comments of the fields of its class `Settings`.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import io
import json
import re
import textwrap
import tokenize
from collections.abc import Iterator
from typing import Any

from pydantic.fields import FieldInfo

from .. import plugins
from .schema import TABLES, Recipe, expected, keys

FREE = ("settings", "card")  # tables without keys of their own in the schema
HEADER = """\
# Recipe for `ase-pet train`, a TOML file. Paths are relative to it.
# Keys that are commented out have their default, or an example where there is none."""
SPECIES = "symbols, or atomic numbers"
WIDTH = 88  # columns of a recipe
# settings of models that are None by default, which TOML cannot say
EXAMPLES = {"num_neighbors_adaptive": 16.0, "layer_scale": 1e-6}


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

    lines += ["", *_comment(recipe["settings"])]
    lines += [f"# (here those of `{model}`; others are in the class `Settings` of their models)"]
    lines += ["[settings]"]
    lines += _settings(model)
    for name, table in TABLES.items():
        lines += ["", *_comment(recipe[name]), f"[{name}]"]
        for key, field in keys(table).items():
            # a recipe needs files, of which the template has the first kind
            lines += _lines(key, field, required=(name, key) == ("data", "files"))

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


def settings_markdown(model: str) -> str:
    """Table of all settings of an architecture: name, default and meaning.

    Parameters
    ----------
    model:
        Architecture, a file of ase_pet/models.
    """
    kind = plugins.load("ase_pet.models", model).Settings
    meanings = comments_of_fields(kind)
    rows = ["| setting | default | meaning |", "|---|---|---|"]
    for field in dataclasses.fields(kind):
        default = _default(field)
        shown = "" if default is None else f"`{_toml(default)}`"
        # a bar would end the cell
        meaning = meanings.get(field.name, "").replace("|", "\\|")
        if field.name == "species":
            shown = "required"
            meaning = SPECIES
        rows.append(f"| `{field.name}` | {shown} | {meaning} |")
    return "\n".join(rows) + "\n"


def _default(field: dataclasses.Field[Any]) -> Any:
    """Default of a setting, None where it has none."""
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return None if field.default is dataclasses.MISSING else field.default


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
    made = field.default_factory is not None
    value = _example(field) if field.is_required() or made or not field.default else field.default
    yield f"{'# ' if optional else ''}{key} = {_toml(value)}"


def _comment(field: FieldInfo) -> Iterator[str]:
    """Meaning of a key, and what it accepts."""
    accepts = expected(field).replace("expected ", "").replace("valid choices are", "one of")
    table = dataclasses.is_dataclass(field.annotation) or accepts == "a table"
    text = f"{field.description}" if table else f"{field.description} ({accepts})"
    yield from textwrap.wrap(text, WIDTH, initial_indent="# ", subsequent_indent="# ")


def _example(field: FieldInfo) -> Any:
    """First example of a key, else its default."""
    return field.examples[0] if field.examples else field.default


def _settings(model: str) -> Iterator[str]:
    """Settings of a model with their meanings: the species, the others commented out."""
    kind = plugins.load("ase_pet.models", model).Settings
    meanings = comments_of_fields(kind)
    for field in dataclasses.fields(kind):
        if field.name == "species":
            species = _example(keys(Recipe)["settings"])["species"]
            yield from _setting(f"species = {_toml(species)}", SPECIES)
            continue
        default = _default(field)
        value = EXAMPLES.get(field.name) if default is None else default
        # a setting of a plug-in that has neither default nor example is only mentioned
        line = f"# {field.name}" if value is None else f"# {field.name} = {_toml(value)}"
        yield from _setting(line, meanings.get(field.name, ""))


def _setting(line: str, meaning: str) -> Iterator[str]:
    """Line of a setting with its meaning at the end, or before it if the line would be long."""
    together = f"{line}  # {meaning}"
    if meaning and len(together) > WIDTH:
        yield from textwrap.wrap(meaning, WIDTH, initial_indent="# ", subsequent_indent="# ")
        yield line
    else:
        yield together if meaning else line


def comments_of_fields(kind: type) -> dict[str, str]:
    """{field of a dataclass: its comment}, at the end of its line or, if there is none, above it.

    Parameters
    ----------
    kind:
        Dataclass, such as `Settings` of a model.
    """
    source = textwrap.dedent(inspect.getsource(kind))
    at_end: dict[int, str] = {}  # {line: comment} after code
    alone: dict[int, str] = {}  # {line: comment} of lines that hold nothing else
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            comments = alone if token.line.lstrip().startswith("#") else at_end
            # a recipe leaves a key out where Python has None
            comments[token.start[0]] = re.sub(r"\bNone:", "not given:", token.string.strip("# "))

    meanings = {}
    (definition,) = ast.parse(source).body
    for node in ast.iter_child_nodes(definition):
        if not (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)):
            continue
        # a value in brackets may have its comment beside it
        lines = range(node.lineno, (node.end_lineno or node.lineno) + 1)
        beside = [at_end[line] for line in lines if line in at_end]
        if beside:
            meanings[node.target.id] = beside[-1]
            continue
        above: list[str] = []
        while node.lineno - 1 - len(above) in alone:
            above.insert(0, alone[node.lineno - 1 - len(above)])
        if above:
            meanings[node.target.id] = " ".join(above)
    return meanings


def _toml(value: Any) -> str:
    """Value in TOML, a table on one line."""
    if isinstance(value, dict):
        names = [key if re.fullmatch(r"[\w-]+", key) else json.dumps(key) for key in value]
        entries = [
            f"{name} = {_toml(entry)}" for name, entry in zip(names, value.values(), strict=True)
        ]
        return f"{{{', '.join(entries)}}}"
    return json.dumps(value)
