"""Calculator cards: the `README.md` of a converted checkpoint, and tables as lines of text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# keys of the provenance that have a section of their own -> title of the section
STATED = {
    "description": "",  # at the top of the card
    "authors": "Authors",
    "references": "References",
    "license": "Licence",
    "licence": "Licence",
}
# keys of the provenance that the conversion adds
ADDED = ("date", "ase_pet", "source")
CARD = """# {name}

{description}

A checkpoint of another program, converted by ase_pet {ase_pet} on {date}. It loads with

```python
from ase_pet import PETCalculator

atoms.calc = PETCalculator("path/of/this/folder")
```

| | |
|---|---|
| species | {species} |
| cutoff | {cutoff:g} A |
| model | {model}, {parameters} parameters |
| heads | {heads} |
| precision | {dtype} |

## Accuracy

No check was run on this calculator when it was converted: how well it describes your system is not
known here. What its authors state is in the references; `ase-pet eval FOLDER DATA.extxyz` compares
it with data of yours. What is known: weights, settings, composition energies and scales were read
back from this folder and are those of the checkpoint bit for bit, so that it gives the same
numbers.

{sections}
"""
# sections that each card has -> their text if the checkpoint says nothing
NOT_STATED = {
    "Authors": "Not stated in the checkpoint.",
    "References": "Not stated in the checkpoint.",
    "Licence": (
        "Not stated in the checkpoint: that of the file it came from applies. Ask where you got it."
    ),
}


def converted(content: Mapping[str, Any], parameters: int) -> str:
    """Markdown card of a converted checkpoint.

    Parameters
    ----------
    content:
        Content of its calculator.toml.
    parameters:
        Number of parameters of the model.
    """
    provenance = content["provenance"]
    settings = content["settings"]
    description = provenance.get("description") or "No description is stated."
    sections = []
    for title, entries in _sections(provenance, settings).items():
        # empty: the checkpoint states nothing else
        if entries:
            items = "\n".join(_item(entry) for entry in entries)
            sections.append(f"## {title}\n\n{items}")
    return CARD.format(
        name=plain(content["name"]),
        description=plain(description),
        ase_pet=provenance["ase_pet"],
        date=provenance["date"],
        species=" ".join(content["species"]),
        cutoff=content["cutoff"],
        model=content["model"],
        parameters=f"{parameters:,}",
        heads=", ".join(settings.get("heads", {"energy": 1})),
        dtype=content["dtype"],
        sections="\n\n".join(sections),
    )


def _sections(provenance: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, list[str]]:
    """{title of a section: its lines}, in the order of the card."""
    sections = {title: [text] for title, text in NOT_STATED.items()}
    for key, title in STATED.items():
        if title and provenance.get(key):
            sections[title] = lines(provenance[key])
    others = {
        key: value for key, value in provenance.items() if key not in STATED and key not in ADDED
    }
    # species and heads are in the table at the top
    shown = {key: value for key, value in settings.items() if key not in ("species", "heads")}
    sections["Source"] = lines(provenance["source"])
    sections["What else the checkpoint states"] = lines(others)
    sections["Settings"] = lines(shown)
    return sections


def with_section(text: str, title: str, body: str) -> str:
    """The card with one section replaced or added.

    Parameters
    ----------
    text:
        Markdown of the card.
    title:
        Title of the section, without `## `. A new section is put before the section "Limits" if
        there is one, else at the end.
    body:
        Markdown of the section, without its title.
    """
    section = f"## {title}\n\n{body.strip()}\n"
    parts = re.split(r"(?m)^(?=## )", text)  # each begins with a title, apart from the first
    titles = []
    for part in parts:
        first_line = part.splitlines()[0] if part else ""
        titles.append(first_line.removeprefix("## ").strip())
    if title in titles:
        parts[titles.index(title)] = section
    else:
        end = titles.index("Limits") if "Limits" in titles else len(parts)
        parts.insert(end, section)
    return "\n".join(part.rstrip("\n") + "\n" for part in parts if part)


def lines(value: Any, indent: str = "") -> list[str]:
    """Lines of text of a nested table.

    Parameters
    ----------
    value:
        Table, list, or a single value.
    indent:
        Spaces before each line. Nested tables are indented by two more spaces.
    """
    if isinstance(value, dict):
        rows = []
        for key, entry in value.items():
            inside = lines(entry, indent + "  ")
            # a single value goes on the line of its key
            if len(inside) == 1 and not isinstance(entry, dict):
                rows.append(f"{indent}{plain(key)}: {inside[0].strip()}")
            else:
                rows += [f"{indent}{plain(key)}:", *inside]
        return rows
    if isinstance(value, list | tuple):
        if all(isinstance(entry, int | float) for entry in value):
            on_one_line = ", ".join(map(str, value))
            return [indent + on_one_line]
        return [line for entry in value for line in lines(entry, indent)]
    return [indent + plain(value)]


def plain(value: Any) -> str:
    """Text of `value` on one line, without characters that a terminal would interpret."""
    text = " ".join(str(value).split())
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _item(line: str) -> str:
    """Markdown list item of a line, with the same indentation."""
    text = line.lstrip(" ")
    indent = line[: len(line) - len(text)]
    return f"{indent}- {text}"
