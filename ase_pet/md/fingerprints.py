"""What a run began with, in short texts: a run that is continued must begin with the same.

Hashes are compared, not files: nothing that a file of the run names is loaded.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.mixing import LinearCombinationCalculator

from .. import symmetrisers
from ._protocols import AseCalculator, HasParameters, SupportsFingerprint

DIGITS = 6  # of bond lengths in A
LENGTH = 16  # hexadecimal digits of a hash
LARGEST_FILE = 2**28  # bytes, of files that are hashed
# entries of `atoms.info` that calculators read
INFO = ("charge", "spin", "total_charge", "total_spin", "multiplicity", "head", "external_field")


def of_structure(atoms: Atoms) -> dict[str, str]:
    """{what: hash or value} of what decides a run besides positions, cell and momenta.

    Parameters
    ----------
    atoms:
        Structure at the beginning of the run; its constraints know their values.
    """
    prints = {
        "masses": of_array(atoms.get_masses()),
        "initial magnetic moments": of_array(atoms.get_initial_magnetic_moments()),
        "initial charges": of_array(atoms.get_initial_charges()),
        "constraints": _of_constraints(atoms),
    }
    for name in INFO:
        if name in atoms.info:
            prints[f"info {name}"] = repr(_plain(atoms.info[name]))
    return prints


def of_calculator(calculator: AseCalculator) -> dict[str, Any]:
    """Class and parameters of a calculator, the hash of its weights, those of its parts.

    Parameters
    ----------
    calculator:
        Any ASE calculator.
    """
    kind = type(calculator)
    parameters = calculator.parameters if isinstance(calculator, HasParameters) else {}
    texts = {}
    files = {}
    for name, value in parameters.items():
        texts[str(name)] = repr(value)
        # potentials of many calculators are files that a parameter names
        digest = _of_file(value)
        if digest is not None:
            files[str(name)] = digest
    description: dict[str, Any] = {
        "class": f"{kind.__module__}.{kind.__qualname__}",
        "parameters": texts,
        "files": files,
    }
    if isinstance(calculator, SupportsFingerprint):
        description["fingerprint"] = calculator.fingerprint()
    if isinstance(calculator, LinearCombinationCalculator):
        description["parts"] = [of_calculator(part) for part in calculator.mixer.calcs]
        description["factors"] = [float(weight) for weight in calculator.mixer.weights]
    return description


def parameters_of(description: dict[str, Any]) -> dict[str, str]:
    """Texts of parameters in a description of a calculator, with full names of symmetrisers.

    Runs of version 0.2 have names without the form of the weights of ECSE, such as 'ecse'.

    Parameters
    ----------
    description:
        Description by `of_calculator`, or {}.
    """
    texts: dict[str, str] = dict(description.get("parameters", {}))
    name = texts.get("symmetrise", "").strip("'")
    if str(description.get("class", "")).startswith("ase_pet.") and name:
        texts["symmetrise"] = repr(symmetrisers.full_name(name, trained=name))
    return texts


def of_array(values: np.ndarray) -> str:
    """Short hash of an array of numbers, the same on all machines; -0 is 0.

    Parameters
    ----------
    values:
        Array of any shape.
    """
    array = np.ascontiguousarray(values, dtype="<f8") + 0.0
    return hashlib.sha256(repr(array.shape).encode() + array.tobytes()).hexdigest()[:LENGTH]


def _of_constraints(atoms: Atoms) -> str:
    """Hash of kinds and values of all constraints, "" without any."""
    if not atoms.constraints:
        return ""
    described = []
    for constraint in atoms.constraints:
        content = constraint.todict()
        # constraints of users may not describe themselves, and ASE's leave out bond lengths
        values = dict(vars(constraint)) if content is None else {"as dict": content}
        lengths = vars(constraint).get("bondlengths")
        if lengths is not None:
            values["bondlengths"] = np.round(lengths, DIGITS)
        kind = type(constraint).__name__
        described.append([kind, _plain(values)])
    text = json.dumps(described, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()[:LENGTH]


def _plain(value: Any) -> Any:
    """Value in types of JSON."""
    if isinstance(value, Atoms):
        rounded = np.round(value.positions, DIGITS)
        return [value.numbers.tolist(), rounded.tolist()]
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return {str(name): _plain(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return value


def _of_file(value: Any) -> str | None:
    """Hash of the file that a parameter names, None if it names none."""
    if not isinstance(value, str | Path):
        return None
    try:
        path = Path(value)
        if not path.is_file() or path.stat().st_size > LARGEST_FILE:
            return None
        return hashlib.sha256(path.read_bytes()).hexdigest()[:LENGTH]
    except (OSError, ValueError):  # texts that are no paths
        return None
