"""Golden values: recorded results of this package, recomputed after each change.

A file tests/data/golden/NAME.npz has the values of the shipped calculator NAME, or of a small model
with random weights that the file contains. All arrays are concatenated in its array `values`;
`index` is JSON of their keys and shapes. Keys are:

STRUCTURE/{numbers,positions,cell,pbc}, and STRUCTURE/{charge,spin} if the model uses them;
STRUCTURE/composition (n,): energies of isolated atoms in eV, which are included in the energies;
STRUCTURE/OPTIONS/PROPERTY: values; OPTIONS are arguments of `PETCalculator` as in a web address,
    such as "symmetrise=ecse:so3&variant=other";
model/{toml,names,weights}: of a small model, the text of calculator.toml, the names and shapes of
    the weights as JSON, and all weights one after the other in units of 1/1024 (int16).
"""

import hashlib
import json
import re
from math import prod
from pathlib import Path
from urllib.parse import parse_qsl

import numpy as np
import safetensors.torch
import torch
from ase import Atoms

from ase_pet import PETCalculator, symmetrisers

FOLDER = Path(__file__).resolve().parent / "data" / "golden"
GEOMETRY = ("numbers", "positions", "cell", "pbc")
STATE = ("charge", "spin")
UNIT = 1024  # weights are whole numbers of 1/UNIT, exact in float32 and float64
DISPLACEMENTS = [(0, (0.1, -0.05, 0.02)), (1, (0.0, 0.03, 0.08))]  # (atom, A), of displaced_forces
ROWS = (1,)  # atoms, of hessian_rows


def read(path):
    """{key: array} of a file."""
    with np.load(path) as file:
        shapes, flat = json.loads(str(file["index"])), file["values"]
        others = {key: file[key] for key in file.files if key.startswith("model/")}
    ends = np.cumsum([prod(shape) for shape in shapes.values()])
    parts = np.split(flat, ends[:-1])
    return others | {
        key: part.reshape(shape) for (key, shape), part in zip(shapes.items(), parts, strict=True)
    }


def write(path, table):
    """Write {key: array} to a file; the bytes are reproducible."""
    numbers = {key: value for key, value in table.items() if not key.startswith("model/")}
    others = {key: value for key, value in table.items() if key not in numbers}
    index = json.dumps({key: list(value.shape) for key, value in numbers.items()})
    flat = np.concatenate([value.astype(float).ravel() for value in numbers.values()])
    np.savez_compressed(path, index=np.array(index), values=flat, **others)


def structure(values, name):
    """Atoms of a file, with charge and spin in `info` if the file has them."""
    atoms = Atoms(
        values[f"{name}/numbers"].astype(int),
        values[f"{name}/positions"],
        cell=values[f"{name}/cell"],
        pbc=values[f"{name}/pbc"].astype(bool),
    )
    atoms.info = {key: int(values[f"{name}/{key}"]) for key in STATE if f"{name}/{key}" in values}
    return atoms


def cases(values):
    """List of (structure, options, properties) of a file."""
    table = {}
    for key in values:
        name, *rest = key.split("/")
        if len(rest) == 2:
            table.setdefault((name, rest[0]), []).append(rest[1])
    return [(*case, tuple(properties)) for case, properties in table.items()]


def calculator(model, options):
    """PETCalculator in float64 of a model, with options in the form of a key.

    Values were recorded when groups had the axes x, y and z only, as in files.
    """
    chosen = dict(parse_qsl(options))
    if "symmetrise" in chosen:
        chosen["symmetrise"] = symmetrisers.of_file(chosen["symmetrise"])
    if "orientations" in chosen:
        chosen["orientations_untrained"] = True
    return PETCalculator(model, dtype="float64", **chosen)


def compute(calculator, atoms, properties):
    """{property: array}: ASE properties by `evaluate`, Hessians and displaced forces."""
    special = {
        "hessian": lambda: calculator.hessian(atoms),
        "hessian_rows": lambda: calculator.hessian(atoms, of=ROWS),
        "displaced_forces": lambda: np.array(calculator.displaced_forces(atoms, DISPLACEMENTS)),
    }
    plain = [name for name in properties if name not in special]
    results = calculator.evaluate([atoms], plain)[0]
    results |= {name: special[name]() for name in properties if name in special}
    return {name: np.asarray(value) for name, value in results.items()}


def packed(toml, state):
    """Entries of a file that hold a small model: text of calculator.toml, {name: weights}."""
    shapes = {name: list(tensor.shape) for name, tensor in state.items()}
    flat = torch.cat([tensor.flatten() for tensor in state.values()]).double().numpy() * UNIT
    units = np.rint(flat).astype(np.int16)
    assert np.array_equal(units, flat), "weights are not whole numbers of 1/UNIT"
    return {
        "model/toml": np.array(toml),
        "model/names": np.array(json.dumps(shapes)),
        "model/weights": units,
    }


def unpack(values, folder):
    """Path of a calculator folder, written from the entries of a small model."""
    shapes = json.loads(str(values["model/names"]))
    flat = torch.tensor(values["model/weights"] / UNIT)
    parts = flat.split([prod(shape) for shape in shapes.values()])
    state = {
        name: part.reshape(shape).clone()
        for (name, shape), part in zip(shapes.items(), parts, strict=True)
    }
    weights = safetensors.torch.save(state)
    sha256 = hashlib.sha256(weights).hexdigest()
    toml = re.sub(r'sha256 = ".*"', f'sha256 = "{sha256}"', str(values["model/toml"]))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "calculator.toml").write_text(toml, encoding="utf-8")
    (folder / "weights.safetensors").write_bytes(weights)
    return folder
