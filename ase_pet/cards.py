"""What a calculator is, in words.

The card of a converted checkpoint, and tables as lines of text.
"""

import re

STATED = {
    "description": "",
    "authors": "Authors",
    "references": "References",
    "license": "Licence",
    "licence": "Licence",
}
OWN = ("date", "ase_pet", "source")
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
NOT_STATED = {
    "Authors": "Not stated in the checkpoint.",
    "References": "Not stated in the checkpoint.",
    "Licence": (
        "Not stated in the checkpoint: that of the file it came from applies. Ask where you got it."
    ),
}


def converted(content, parameters):
    """Markdown card of a converted checkpoint; content: what its calculator.toml holds, parameters.

    Their number.
    """
    provenance, settings = content["provenance"], content["settings"]
    other = {
        key: value for key, value in provenance.items() if key not in STATED and key not in OWN
    }
    stated = {
        title: provenance[key] for key, title in STATED.items() if title and provenance.get(key)
    }
    sections = {
        title: lines(stated[title]) if title in stated else [text]
        for title, text in NOT_STATED.items()
    }
    sections["Source"] = lines(provenance["source"])
    sections["What else the checkpoint states"] = lines(other)
    sections["Settings"] = lines(
        {key: value for key, value in settings.items() if key not in ("species", "heads")}
    )
    text = "\n\n".join(
        f"## {title}\n\n" + "\n".join(_item(line) for line in found)
        for title, found in sections.items()
        if found
    )
    return CARD.format(
        name=plain(content["name"]),
        description=plain(provenance.get("description") or "No description is stated."),
        ase_pet=provenance["ase_pet"],
        date=provenance["date"],
        species=" ".join(content["species"]),
        cutoff=content["cutoff"],
        model=content["model"],
        parameters=f"{parameters:,}",
        heads=", ".join(settings.get("heads", {"energy": 1})),
        dtype=content["dtype"],
        sections=text,
    )


def with_section(text, title, body):
    """The card with the section `## title` replaced by this body, or added.

    Before its limits where it has such a section.
    """
    section = f"## {title}\n\n{body.strip()}\n"
    parts = re.split(r"(?m)^(?=## )", text)
    titles = [part.splitlines()[0].removeprefix("## ").strip() if part else "" for part in parts]
    if title in titles:
        place = titles.index(title)
        parts[place] = section
    else:
        place = titles.index("Limits") if "Limits" in titles else len(parts)
        parts.insert(place, section)
    return "\n".join(part.rstrip("\n") + "\n" for part in parts if part)


def lines(value, indent=""):
    """List of lines of text of a table, list or number.

    Tables inside of it indented by two spaces.
    """
    if isinstance(value, dict):
        found = []
        for key, entry in value.items():
            inside = lines(entry, indent + "  ")
            short = len(inside) == 1 and not isinstance(entry, dict)
            found += (
                [f"{indent}{plain(key)}: {inside[0].strip()}"]
                if short
                else [f"{indent}{plain(key)}:", *inside]
            )
        return found
    if isinstance(value, list | tuple):
        if all(isinstance(entry, int | float) for entry in value):
            return [indent + ", ".join(map(str, value))]
        return [line for entry in value for line in lines(entry, indent)]
    return [indent + plain(value)]


def plain(value):
    """Text of a value on one line, without characters that would act on a terminal."""
    text = " ".join(str(value).split())
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _item(line):
    text = line.lstrip(" ")
    return f"{line[: len(line) - len(text)]}- {text}"
