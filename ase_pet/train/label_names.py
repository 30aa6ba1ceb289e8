"""Names under which programs store labels: which are read, and which look as if they were labels.

Three kinds of names: those of ASE and their variants with one meaning only (`PLAIN`); the same with
the name of a method before or after it (`REF_energy`, `energy_pbe`), a family; and names that look
like labels, for which nobody but their author knows unit and sign.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

KINDS = ("energy", "forces", "stress", "dipole")
# what each key of [keys] is a name of: (kind of label, unit)
MEANINGS = {
    "energy": ("energy", "eV"),
    "forces": ("forces", "eV/A"),
    "stress": ("stress", "eV/A^3"),
    "virial": ("stress", "eV, -stress times volume"),
    "dipole": ("dipole", "e A"),
}
# names that are read without being given, in order of preference: {name: key of [keys]}
PLAIN = {
    "energy": "energy",
    "free_energy": "energy",
    "total_energy": "energy",
    "potential_energy": "energy",
    "forces": "forces",
    "force": "forces",
    "atomic_forces": "forces",
    "stress": "stress",
    "cauchy_stress": "stress",
    "virial": "virial",
    "virials": "virial",
    "dipole": "dipole",
}
# beside `energy` and `stress` they say the same
REDUNDANT = ("free_energy", "virial", "virials")
# words for a method; models of machine learning are none, as their numbers are predictions
METHODS = (
    "ref|reference|target|qm|dft|vasp|qe|cp2k|aims|orca|gpaw|castep|abinit|siesta|psi4|pyscf|lda"
    "|gga|pbe|pbesol|revpbe|rpbe|pw91|blyp|b3lyp|pbe0|hse|hse06|tpss|scan|rscan|r2scan|wb97x|wb97m"
    "|hf|mp2|ccsd|ccsdt|xtb|gfn1|gfn2|dftb|d2|d3|d4|mbd|vdw|ts|tz|dz|svp|tzvp"
)
WORDS = "|".join(PLAIN)
AXES = 2  # of forces, (n, 3)
WITH_METHOD = re.compile(
    rf"(?:(?P<before>(?:{METHODS})(?:[_-](?:{METHODS}))*)[_-])?(?P<word>{WORDS})"
    rf"(?:[_-](?P<after>(?:{METHODS})(?:[_-](?:{METHODS}))*))?",
    re.IGNORECASE,
)
# how other names look that may mean a label
LOOKS = {
    "energy": r".*energy.*|e_?(0|tot|ref|dft)?|etot",
    "forces": r".*(force|grad).*|f_?(ref|dft)?",
    "stress": r".*(stress|virial).*",
    "dipole": r".*dipole.*|mu",
}
# names that look like labels, but are something about them
NO_LABELS = (
    r".*(uncertainty|std|sigma|error|cutoff|tolerance|correction|kinetic|weight|per_?atom).*"
)


def family(name: str) -> tuple[str, str] | None:
    """Key of [keys] and method of a name, ("energy", "ref") of `REF_energy`; None of other names.

    The method of a name without one is "".

    Parameters
    ----------
    name:
        Name of an entry of a structure.
    """
    if name in PLAIN:
        return PLAIN[name], ""
    found = WITH_METHOD.fullmatch(name)
    if found is None:
        return None
    method = found["before"] or found["after"] or ""
    # other cases of plain names have no settled meaning: "Energy" may be of any unit
    if not method or (found["before"] and found["after"]):
        return None
    return PLAIN[found["word"].lower()], method.lower()


def read_as(kind: str, values: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """{name: (key of [keys], method)} of the entries that are labels of a kind, the best first.

    Parameters
    ----------
    kind:
        Kind of label.
    values:
        Entries of a structure, {name: value}.
    """
    order = list(PLAIN)
    found = {}
    for name, value in values.items():
        parts = family(name)
        if parts is None or MEANINGS[parts[0]][0] != kind:
            continue
        # bad values of plain names are errors; of others a word or a column may be anything
        dimensions = shape(value)
        if parts[1] and (dimensions is None or (kind == "forces" and len(dimensions) != AXES)):
            continue
        found[name] = parts

    def place(name: str) -> tuple[bool, int]:
        key, method = found[name]
        # plain names as in PLAIN; of a method the stress before the virial
        return bool(method), order.index(name) if not method else order.index(key)

    return {name: found[name] for name in sorted(found, key=place)}


def similar(kind: str, values: Mapping[str, Any]) -> Iterator[str]:
    """Names that look like those of a label of a kind, and whose values have its shape.

    Parameters
    ----------
    kind:
        Kind of label.
    values:
        Entries of a structure, {name: value}.
    """
    shapes: dict[str, list[tuple[int, ...]]] = {
        "energy": [(), (1,)],
        "stress": [(3, 3), (9,), (6,)],
        "dipole": [(3,)],
    }
    for name, value in values.items():
        if not re.fullmatch(LOOKS[kind], name, re.IGNORECASE):
            continue
        if re.fullmatch(NO_LABELS, name, re.IGNORECASE):
            continue
        found = shape(value)
        # forces of any number of atoms: a wrong one is an error, not another kind of label
        if kind == "forces":
            right = found is not None and len(found) == AXES
        else:
            right = found in shapes[kind]
        if right:
            yield name


def shape(value: Any) -> tuple[int, ...] | None:
    """Shape of a number or an array of numbers, None of anything else.

    Parameters
    ----------
    value:
        Value of an entry.
    """
    try:
        array = np.asarray(value)
    except ValueError:  # a list of lists of different lengths
        return None
    return array.shape if array.dtype.kind in "iuf" else None


def listed(names: list[str]) -> str:
    """Names in backticks, at most four.

    Parameters
    ----------
    names:
        Names.
    """
    text = ", ".join(f"`{name}`" for name in names[:4])
    return f"{text}, ..." if len(names) > 4 else text
