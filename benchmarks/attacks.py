#!/usr/bin/env python3
"""Hostile and senseless inputs by kind: held, refused, or failed.

    python benchmarks/attacks.py [--kind folders ...] [--every 1] [--list] [--output FILE]

Each attack runs in a process of its own with limits on CPU time and memory. It is *held* where the
result is right (compared with a reference), *refused* where one printable sentence says what is
wrong, and *failed* otherwise: a wrong number, NaN, an exception that is no answer, code of the
input that ran, a file written elsewhere, or a limit that was exceeded. Exit status 1 if any failed.
"""

import argparse
import contextlib
import hashlib
import json
import math
import os
import pickle
import resource
import shutil
import signal
import sys
import tempfile
import time
import tomllib
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import ase.io
import numpy as np
import safetensors.torch
import tomli_w
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms, FixBondLengths

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

import metatrain_files  # noqa: E402
import original_pet_files  # noqa: E402
import ponita_files  # noqa: E402
import ponita_toys  # noqa: E402
from ase_pet import PETCalculator, formats, md, phonons, store, train  # noqa: E402
from toys import tiny_pet  # noqa: E402

SECONDS = 60  # CPU time of an attack
GIGABYTES = 4  # of memory beyond that of the idle process
ANSWERS = (ValueError, OSError, PropertyNotImplementedError)
LONGEST = 1500  # characters of an answer
NAN = math.nan
INF = math.inf
# values that a setting may not have, or that have no effect
BAD = {
    "nan": NAN,
    "inf": INF,
    "-inf": -INF,
    "-1": -1,
    "-1.5": -1.5,
    "0": 0,
    "0.0": 0.0,
    "1e9": 10**9,
    "1e300": 1e300,
    "empty": "",
    "escape": "x\x1b]0;y\x07",
    "true": True,
    "list": [],
    "list of one": [1],
    "table": {"a": 1},
}


def silicon():
    """Crystal that most attacks evaluate."""
    atoms = bulk("Si", cubic=True)
    atoms.rattle(0.05, seed=1)
    return atoms


def energy(model, **arguments):
    """Energy (eV) of the crystal; forces and stress must be finite."""
    atoms = silicon()
    atoms.calc = PETCalculator(model, **arguments)
    assert np.isfinite(atoms.get_forces()).all(), "forces are not finite"
    assert np.isfinite(atoms.get_stress()).all(), "stress is not finite"
    return atoms.get_potential_energy()


def same(found, expected, what="energy"):
    """Raise AssertionError unless two numbers or arrays are equal to rounding."""
    close = np.allclose(found, expected, rtol=1e-6, atol=1e-6)
    assert close, f"wrong {what}: {np.ravel(found)[:3]}, right {np.ravel(expected)[:3]}"


# ---- folders

# settings of which every number in range has a meaning: another model, not a broken one
FREE = {"Si", "softening", "shift", "residual_factor"}
FREE |= {"r_embedding_activation", "average_bond_energies"}


def models():
    """{name: small model}, of each architecture."""
    return {
        "pet": tiny_pet(),
        "ponita": ponita_toys.tiny_ponita(),
        "original_pet": original_pet_files.tiny(),
    }


def edited(model, change, weights=None):
    """Path of a calculator folder whose content `change` has edited, with weights (bytes)."""
    folder = Path("folder")
    store.save(folder, model, store.CalculatorInfo("attacked", dtype="float64"))
    content = tomllib.loads((folder / "calculator.toml").read_text())
    if weights is not None:
        (folder / "weights.safetensors").write_bytes(weights)
        content["weights"]["sha256"] = hashlib.sha256(weights).hexdigest()
    change(content)
    (folder / "calculator.toml").write_text(tomli_w.dumps(content))
    return folder


def put(content, path, value):
    """Set an entry of nested tables, by its path."""
    *parents, last = path
    for parent in parents:
        content = content[parent]
    content[last] = value


def drop(content, path):
    """Remove an entry of nested tables, by its path."""
    *parents, last = path
    for parent in parents:
        content = content[parent]
    del content[last]


def removed(table, key):
    """Remove an entry of a table."""
    del table[key]


def folders():
    """Settings, tables and texts of calculator.toml."""
    for name, model in models().items():
        right = energy(model)
        base = Path(tempfile.mkdtemp()) / "base"
        store.save(base, model, store.CalculatorInfo("attacked", dtype="float64"))
        written = tomllib.loads((base / "calculator.toml").read_text())
        paths = [("settings", key) for key in written["settings"]]
        paths += [("settings", "unknown"), ("settings", "heads", "energy"), ("unknown",)]
        paths += [(key,) for key in written if key != "provenance"]
        paths += [("composition_energies", "energy", "Si"), ("scales", "energy")]
        paths += [("weights", "sha256"), ("weights", "file"), ("units", "energy")]
        paths += [("covalent_radii", "Si"), ("shortest_distances", "Si-Si"), ("scales", "other")]

        def attack(path, value, model=model, right=right):
            folder = edited(model, lambda content: put(content, path, value))
            found = energy(folder, dtype="float64")
            assert math.isfinite(found), "not finite"
            if path[-1] not in FREE:
                same(found, right)

        def missing(path, model=model, right=right):
            same(energy(edited(model, lambda content: drop(content, path))), right)

        for path in paths:
            for label, value in BAD.items():
                label = f"{name}: {'.'.join(path)} = {label}"
                yield label, lambda path=path, value=value: attack(path, value)
        for key in written:
            yield f"{name}: without {key}", lambda key=key: missing((key,))


def texts():
    """Bytes of calculator.toml, and things that stand in the place of files."""
    model = tiny_pet()
    right = energy(model)

    def with_text(text):
        folder = edited(model, lambda content: None)
        path = folder / "calculator.toml"
        before = path.read_bytes()
        path.write_bytes(text(before))
        same(energy(folder), right)

    def instead(what, name):
        folder = edited(model, lambda content: None)
        path = folder / name
        data = path.read_bytes()
        path.unlink()
        what(path, data)
        same(energy(folder), right)

    def link(path, data):
        Path("elsewhere").write_bytes(data)
        path.symlink_to(Path("elsewhere").resolve())

    def sparse(path, data):
        with path.open("wb") as file:
            file.truncate(10**12)

    dotted = b"\n" + b".".join([b"a"] * 20_000) + b" = 1\n"
    variants = {
        "20 000 dotted keys": lambda text: dotted + text,
        "20 000 brackets": lambda text: b"x = " + b"[" * 20_000 + b"\n" + text,
        "nested tables": lambda text: b"x = " + b"{a=" * 5000 + b"\n" + text,
        "100 MB": lambda text: text + b"#" * 10**8,
        "a million comments": lambda text: text + b"#\n" * 10**6,
        "byte order mark": lambda text: b"\xef\xbb\xbf" + text,
        "utf-16": lambda text: text.decode().encode("utf-16"),
        "latin-1": lambda text: text + b"# \xe9\n",
        "nul": lambda text: text + b"\0",
        "carriage returns": lambda text: text.replace(b"\n", b"\r\n"),
        "escape": lambda text: text + b"# \x1b]0;x\x07",
        "twice": lambda text: text + text,
        "truncated": lambda text: text[: len(text) // 2],
        "empty": lambda text: b"",
        "long integer": lambda text: text + b"\n[x]\ny = " + b"9" * 10**5,
        "unclosed string": lambda text: text + b'\nx = """' + b'\\"""' * 10**5,
    }
    for label, change in variants.items():
        yield label, lambda change=change: with_text(change)
    things = {
        "folder": lambda path, data: path.mkdir(),
        "link": link,
        "broken link": lambda path, data: path.symlink_to("nowhere"),
        "link to itself": lambda path, data: path.symlink_to(path.name),
        "pipe": lambda path, data: os.mkfifo(path),
        "nothing": lambda path, data: None,
        "1 TB of zeros": sparse,
        "device": lambda path, data: path.symlink_to("/dev/zero"),
    }
    for name in ("calculator.toml", "weights.safetensors"):
        for label, what in things.items():
            yield f"{name} is {label}", lambda what=what, name=name: instead(what, name)

    def outside():
        folder = edited(model, lambda content: None)
        Path("precious").write_text("kept")
        (folder / "README.md").symlink_to(Path("precious").resolve())
        store.write_section(folder, "Checks", "x")
        store.save(folder, model, store.CalculatorInfo("attacked"))
        assert Path("precious").read_text() == "kept", "a file elsewhere was overwritten"

    yield "README.md is a link out of the folder", outside


def weights():
    """Tensors of weights.safetensors, with the checksum of the file."""
    for name, model in models().items():
        right = energy(model)
        state = {key: value.contiguous() for key, value in model.state_dict().items()}
        first = next(key for key in state if "weight" in key)
        last = list(state)[-1]

        def attack(change, model=model, right=right, state=state):
            tensors = {key: value.clone() for key, value in state.items()}
            data = change(tensors)
            data = safetensors.torch.save(tensors) if data is None else data
            same(energy(edited(model, lambda content: None, data)), right)

        def fill(key, value, index=slice(None)):
            return lambda tensors: tensors[key].view(-1).__setitem__(index, value)

        def replaced(key, make):
            return lambda tensors: tensors.update({key: make(tensors[key]).contiguous()})

        cases = {"extra tensor": lambda tensors: tensors.update(x=torch.ones(1))}
        for key in (first, last):
            cases |= {
                f"one nan in {key}": fill(key, NAN, 0),
                f"one inf in {key}": fill(key, INF, -1),
                f"all -inf in {key}": fill(key, -INF),
                f"1e300 in {key}": fill(key, 1e300),
                f"without {key}": lambda tensors, key=key: removed(tensors, key),
                f"no numbers in {key}": replaced(key, lambda tensor: tensor[:0]),
                f"one row more in {key}": replaced(key, lambda t: torch.cat([t, t[:1]])),
                f"flat {key}": replaced(key, lambda tensor: tensor.reshape(1, -1)),
            }
            for dtype in (torch.float16, torch.bfloat16, torch.int64, torch.bool, torch.uint8):
                cases[f"{dtype} {key}"] = replaced(key, lambda t, dtype=dtype: t.to(dtype))
        for label, change in cases.items():
            yield f"{name}: {label}", lambda change=change: attack(change)
        good = safetensors.torch.save(state)
        header = (10**12).to_bytes(8, "little")
        files = {
            "truncated": good[:-9],
            "empty": b"",
            "huge header": header + good[8:],
            "pickle": pickle.dumps({"a": 1}),
            "deep header": (10**5).to_bytes(8, "little") + b"[" * 10**5,
            "appended": good + b"x",
        }
        for label, data in files.items():
            yield f"{name}: {label}", lambda data=data: attack(lambda tensors: data)


# ---- checkpoints


class Evil:
    """An object whose pickle runs a function."""

    def __reduce__(self):
        return os.system, ("touch RAN",)


def checkpoints():
    """Files of metatrain, of the original PET and of PONITA."""
    pet = tiny_pet()
    right = energy(pet)
    original = original_pet_files.tiny()
    right_original = energy(original)
    oriented = ponita_toys.tiny_ponita()

    def metatrain(change):
        content = metatrain_files.checkpoint(pet)
        change(content)
        same(energy(metatrain_files.save(Path("m.ckpt"), content)), right)

    def hyper(name, value):
        metatrain(lambda content: content["model_data"]["model_hypers"].update({name: value}))

    def tensor(key, change):
        def edit(content):
            state = content["model_state_dict"]
            state[key] = change(state[key].clone())

        metatrain(edit)

    hypers = metatrain_files.checkpoint(pet)["model_data"]["model_hypers"]
    for name in hypers:
        for label, value in BAD.items():
            case = f"metatrain: {name} = {label}"
            yield case, lambda name=name, value=value: hyper(name, value)
    state = metatrain_files.checkpoint(pet)["model_state_dict"]
    changes = {
        "nan": lambda t: t.fill_(NAN) if t.is_floating_point() else t[:-1],
        "half": lambda t: t.half(),
        "no numbers": lambda t: t[:0],
        "zeros of bytes": lambda t: torch.zeros(3, dtype=torch.uint8),
    }
    others = [key for key in state if "buffer" in key or "index" in key or "scale" in key]
    for key in [*others, *list(state)[:3]]:
        for label, change in changes.items():
            case = f"metatrain: {label} in {key}"
            yield case, lambda key=key, change=change: tensor(key, change)
    colliding = {k * (2**61 - 1): 0 for k in range(10)}

    def collide():
        """Keys with one hash: a table of n of them takes a time of n^2."""
        keys = b"".join(
            b"\x8a\x0c" + (k * (2**61 - 1)).to_bytes(12, "little", signed=True) + b"K\x00"
            for k in range(60_000)
        )
        content = metatrain_files.checkpoint(pet)
        path = metatrain_files.save(Path("good.ckpt"), content)
        data = b"\x80\x02}(" + keys + b"u."
        replace_pickle(path, Path("m.ckpt"), data)
        energy(Path("m.ckpt"))

    assert len(colliding) == 10
    yield "metatrain: 60 000 keys with one hash", collide
    yield "metatrain: runs a command", lambda: metatrain(lambda c: c.update(evil=Evil()))
    for target, right_value, write in (
        (
            "metatrain",
            right,
            lambda: metatrain_files.save(Path("m.ckpt"), metatrain_files.checkpoint(pet)),
        ),
        ("original", right_original, lambda: original_pet_files.write(Path("o"), original)),
    ):
        for seed in range(30):
            case = f"{target}: 20 random bytes, seed {seed}"
            yield (
                case,
                lambda seed=seed, right=right_value, write=write: mutated(seed, right, write()),
            )

    def original_hyper(name, value):
        content = original_pet_files.hypers(original)
        flat = content.get("ARCHITECTURAL_HYPERS", content)
        flat[name] = value
        same(energy(original_pet_files.write(Path("o"), original, content)), right_original)

    content = original_pet_files.hypers(original)
    names = content.get("ARCHITECTURAL_HYPERS", content).keys() - {"RESIDUAL_FACTOR"}
    for name in sorted(names):
        for label in ("nan", "inf", "-1", "1e9", "escape", "list", "table"):
            case = f"original: {name} = {label}"
            yield case, lambda name=name, label=label: original_hyper(name, BAD[label])

    def ponita_tensor(change):
        state = ponita_files.state_dict(oriented)
        change(state)
        torch.save(state, "p.ckpt")
        species = list(oriented.species)
        model = formats.ponita.read("p.ckpt", grid=oriented.axes, species=species)
        energy(model)

    first = "interaction_layers.0.conv.kernel.weight"
    cases = {
        "nan": lambda state: state[first].view(-1)[:1].fill_(NAN),
        "missing": lambda state: removed(state, first),
        "radius nan": lambda state: state["windowing_fn.r_max"].fill_(NAN),
        "radius -1": lambda state: state["windowing_fn.r_max"].fill_(-1.0),
        "radius 1e9": lambda state: state["windowing_fn.r_max"].fill_(1e9),
        "power 0": lambda state: state["windowing_fn.p"].fill_(0),
        "power 10^6": lambda state: state["windowing_fn.p"].fill_(10**6),
        "half": lambda state: state.update({first: state[first].half()}),
        "code": lambda state: state.update(evil=Evil()),
    }
    for label, change in cases.items():
        yield f"ponita: {label}", lambda change=change: ponita_tensor(change)


def replace_pickle(source, target, data):
    """Write a copy of a file of torch.save with another pickle."""
    metatrain_files.rewrite(
        source, target, lambda name, old: data if name.endswith("data.pkl") else old
    )


def mutated(seed, right, path):
    """A file with random bytes is refused, or holds the same numbers."""
    file = path if path.is_file() else next(path.glob("*_state_dict"))
    data = bytearray(file.read_bytes())
    generator = np.random.default_rng(seed)
    for place in generator.integers(0, len(data), 20):
        data[place] = generator.integers(0, 256)
    file.write_bytes(data)
    same(energy(path), right)


# ---- arguments and structures


def arguments():
    """Arguments of PETCalculator, and of its methods."""
    odd = {
        **BAD,
        "huge": 10**400,
        "bytes": b"cpu",
        "array": np.arange(3),
        "tensor": torch.ones(2),
        "object": object(),
        "long": "x" * 10**5,
        "nul": "a\0b",
        "cpu:7": "cpu:7",
        "set": {1},
        "complex": 1j,
    }
    names = ["device", "dtype", "symmetrise", "variant", "non_conservative", "skin", "batch_atoms"]
    names += ["compile", "uncertainty", "uncertainty_threshold", "orientations"]
    model = tiny_pet()
    right = energy(model)
    for name in names:
        for label, value in odd.items():
            case = f"{name} = {label}"
            yield case, lambda name=name, value=value: same(energy(model, **{name: value}), right)
    for label, value in odd.items():
        yield f"model = {label}", lambda value=value: energy(value)
    calls = {
        "hessian(of=[0.5])": lambda calc: calc.hessian(silicon(), of=[0.5]),
        "hessian(of=[-1])": lambda calc: calc.hessian(silicon(), of=[-1]),
        "displaced_forces(1.5)": lambda calc: calc.displaced_forces(silicon(), [(1.5, (0, 0, 1))]),
        "displaced_forces(nan)": lambda calc: calc.displaced_forces(silicon(), [(1, (0, 0, NAN))]),
        "evaluate(x)": lambda calc: calc.evaluate([silicon()], ["x"]),
        "evaluate(3)": lambda calc: calc.evaluate([silicon()], [3]),
    }
    for label, call in calls.items():
        yield label, lambda call=call: call(PETCalculator(model))


def structures():
    """Structures that have no energy, or whose neighbours are hard to find."""
    calculator = PETCalculator(tiny_pet())
    crystal = silicon()
    right = calculator.get_potential_energy(crystal) / len(crystal)

    def per_atom(atoms, expected=None):
        results = calculator.evaluate([atoms], ("energy", "forces"))[0]
        assert np.isfinite(results["forces"]).all(), "forces are not finite"
        if expected is not None:
            same(results["energy"] / len(atoms), expected)

    def put_values(name, value):
        atoms = silicon()
        getattr(atoms, name)[0, 0] = value
        per_atom(atoms)

    for name in ("positions", "cell"):
        for value in (NAN, INF, -INF, 1e10, -1e300, 1e9):
            case = f"{name} {value}"
            yield case, lambda name=name, value=value: put_values(name, value)
    for shear in (3, 20, 300, 10_000, 10**6, -77):
        for row in (
            [[1, 0, 0], [shear, 1, 0], [0, 0, 1]],
            [[1, shear, 0], [0, 1, shear], [0, 0, 1]],
        ):
            other = crystal.copy()
            other.set_cell(np.array(row) @ crystal.cell.array)
            yield f"sheared by {row}", lambda other=other: per_atom(other, right)
    for order in ((1, 0, 2), (2, 1, 0), (0, 2, 1)):
        other = crystal.copy()
        other.set_cell(crystal.cell.array[list(order)])
        yield f"left-handed {order}", lambda other=other: per_atom(other, right)
    negative = crystal.copy()
    negative.set_cell(-crystal.cell.array)
    yield "negative volume", lambda: per_atom(negative, right)
    alone = calculator.get_potential_energy(Atoms("Si"))
    for n in (1000, 10_000, 30_000):
        line = Atoms(f"Si{n}", np.c_[np.arange(n) * 100.0, np.zeros((n, 2))])
        yield f"line of {n} atoms without pairs", lambda line=line: per_atom(line, alone)
        box = line.copy()
        box.set_cell([100.0 * n, 300, 300])
        box.pbc = True
        yield f"the same, periodic, {n}", lambda box=box: per_atom(box, alone)
    for length in (0.01, 0.1, 0.3, 0.5, 0.7, 1.0, 1.5):
        for pbc in ((1, 1, 1), (1, 1, 0), (1, 0, 0)):
            cube = Atoms("Si", cell=[length] * 3, pbc=pbc)
            yield f"cube of {length} A, {pbc}", lambda cube=cube: per_atom(cube)
    flying = bulk("Si", cubic=True) * 3 + Atoms("Si", [[1e8, -1e8, 1e8]])
    flying.pbc = False
    yield "an atom 10^8 A away", lambda: per_atom(flying)
    yield "no atoms", lambda: per_atom(Atoms())
    yield "unknown element", lambda: per_atom(Atoms("Au2", [[0, 0, 0], [0, 0, 2]]))
    yield "20 000 atoms at one place", lambda: per_atom(Atoms("Si20000"))
    yield "no structure", lambda: calculator.evaluate([None])


def threads():
    """One calculator in several threads: each result is compared."""
    model = tiny_pet()
    many = [silicon() for _ in range(12)]
    for seed, atoms in enumerate(many):
        atoms.rattle(0.02, seed=seed)
    alone = [PETCalculator(model).get_potential_energy(atoms) for atoms in many]

    def attack(n_threads, method):
        sys.setswitchinterval(1e-5)
        calculator = PETCalculator(model)

        def work(k):
            atoms = many[k % 12].copy()
            atoms.calc = calculator
            return k, method(atoms, calculator)

        with ThreadPoolExecutor(n_threads) as pool:
            for k, found in pool.map(work, range(36)):
                same(found, alone[k % 12])

    methods = {
        "energy": lambda atoms, calc: atoms.get_potential_energy(),
        "forces, energy": lambda atoms, calc: (atoms.get_forces(), atoms.get_potential_energy())[1],
        "evaluate": lambda atoms, calc: calc.evaluate([atoms], ["energy"])[0]["energy"],
        "copies": lambda atoms, calc: pickle.loads(pickle.dumps(calc)).get_potential_energy(atoms),
        "hessian": lambda atoms, calc: (
            calc.hessian(atoms, of=[0]),
            calc.get_potential_energy(atoms),
        )[1],
    }
    for label, method in methods.items():
        for n_threads in (2, 4, 8):
            case = f"{label}, {n_threads} threads"
            yield case, lambda n_threads=n_threads, method=method: attack(n_threads, method)

    def forked():
        calculator = PETCalculator(model)
        with ThreadPoolExecutor(2) as pool:
            futures = [pool.submit(calculator.get_potential_energy, atoms) for atoms in many]
            child = os.fork()
            if child == 0:
                right = abs(calculator.get_potential_energy(many[3]) - alone[3]) < 1e-6
                os._exit(0 if right else 1)
            _, status = os.waitpid(child, 0)
            assert status == 0, "the child failed"
            for future in futures:
                future.result()

    for k in range(5):
        yield f"fork while threads compute, {k}", forked


# ---- workflows


def restarts():
    """Molecular dynamics: another system, another calculator, files of a run folder."""
    options = {"time": 0.02, "timestep": 1.0, "interval": 5, "thermo_interval": 5, "checkpoint": 5}

    def copper(masses=None, fixed=None, info=None, cell=None, rattle=0.0, calc=None):
        atoms = bulk("Cu", cubic=True)
        if masses:
            atoms.set_masses(masses)
        if fixed is not None:
            atoms.set_constraint(FixAtoms(fixed))
        atoms.info.update(info or {})
        if cell:
            atoms.set_cell(atoms.cell * cell, scale_atoms=True)
        atoms.rattle(rattle, seed=3)
        atoms.calc = calc or EMT()
        return atoms

    def interrupted(make, after=10):
        def stop(step, temperature):
            if step == after:
                raise KeyboardInterrupt

        with contextlib.suppress(KeyboardInterrupt):
            md.run(make(), "run", on_step=stop, **options)

    def attack(make, **changes):
        """Another system must be refused: going on is a failure."""
        interrupted(copper)
        md.run(make(), "run", restart=True, **{**options, **changes})
        raise AssertionError("continued without a word")

    changes = {
        "masses": lambda: copper(masses=[65.0] * 4),
        "one mass": lambda: copper(masses=[65.0, 63.546, 63.546, 63.546]),
        "fixed atom": lambda: copper(fixed=[0]),
        "charge": lambda: copper(info={"charge": 1}),
        "cell": lambda: copper(cell=1.01),
        "elements": lambda: bulk("Ag", cubic=True),
    }
    for label, make in changes.items():
        yield f"other {label}", lambda make=make: attack(make)
    for label, change in {
        "shorter than what is done": {"time": 0.005},
        "nan": {"time": NAN},
        "time step": {"timestep": 2.0},
        "temperature": {"temperature": 500.0},
        "ensemble": {"ensemble": "nvt"},
    }.items():
        yield f"restart, {label}", lambda change=change: attack(copper, **change)

    def silicon_with(scale):
        model = tiny_pet()
        model.scales = {"energy": scale}
        store.save("pot", model, store.CalculatorInfo("pot", dtype="float64"))
        atoms = bulk("Si", cubic=True)
        atoms.calc = PETCalculator("pot")
        return atoms

    def replaced_weights():
        interrupted(lambda: silicon_with(1.0), after=1)
        md.run(silicon_with(1.3), "run", restart=True, **options)
        raise AssertionError("continued with replaced weights")

    yield "replaced weights of the same path", replaced_weights

    def damaged(name, change):
        md.run(copper(), "run", **options)
        path = Path("run") / name
        path.write_bytes(change(path.read_bytes()))
        md.run(copper(), "run", restart=True, **{**options, "time": 0.04})

    files = ("settings.toml", "thermo.csv", "trajectory.traj")
    ways = {
        "empty": lambda data: b"",
        "half": lambda data: data[: len(data) // 2],
        "binary": lambda data: bytes(range(256)) * 8,
        "dotted": lambda data: data + b"\n" + b".".join([b"a"] * 20_000) + b" = 1\n",
    }
    for name in files:
        for label, change in ways.items():
            yield f"{name} is {label}", lambda name=name, change=change: damaged(name, change)

    def stranger():
        """A run folder that names code: `--restart` must not import it."""
        md.run(copper(), "run", about={"command": {"calculator": "evil:make"}}, **options)
        Path("evil.py").write_text("open('RAN', 'w')\ndef make(): pass\n")
        sys.path.insert(0, ".")
        md.run(copper(), "run", restart=True, **{**options, "time": 0.04})

    yield "a folder that names a module", stranger

    def values(**changed):
        result = md.run(copper(rattle=0.02), "run", **{**options, **changed})
        assert np.isfinite(result.thermo()["total_eV"]).all(), "thermo.csv holds nan"

    for name in ("time", "timestep", "temperature", "interval", "checkpoint", "seed", "pressure"):
        for label, value in BAD.items():
            case = f"{name} = {label}"
            yield case, lambda name=name, value=value: values(**{name: value})

    def bonds():
        atoms = molecule("CH3CH2OH")
        atoms.set_constraint(FixBondLengths([[0, 1], [1, 2]]))
        atoms.calc = EMT()
        md.run(atoms, "run", **options)

    yield "bond lengths fixed", bonds


RECIPE = """
name = "t"
model = "pet"
dtype = "float64"
[settings]
species = ["Si"]
cutoff = 4.0
d_pet = 8
d_node = 8
d_head = 8
d_feedforward = 8
num_heads = 2
num_gnn_layers = 1
[data]
files = ["d.extxyz"]
[loss]
energy = 0.01
[optimiser]
epochs = 2
"""


def training():
    """Recipes and labels."""

    def labelled(change=None):
        frames = []
        for seed in range(6):
            atoms = bulk("Si", cubic=True)
            atoms.rattle(0.05, seed=seed)
            results = {"energy": -1.0 - seed, "forces": 0.1 * np.ones((8, 3))}
            atoms.info["split"] = "train" if seed < 4 else "val"
            if change and seed == 1:
                change(atoms, results)
            atoms.calc = SinglePointCalculator(atoms, **results)
            frames.append(atoms)
        ase.io.write("d.extxyz", frames)

    def attack(edit=None, change=None):
        labelled(change)
        recipe = tomllib.loads(RECIPE)
        if edit:
            edit(recipe)
        Path("r.toml").write_text(tomli_w.dumps(recipe))
        train.train("r.toml", "out")
        assert math.isfinite(energy("out", dtype="float64")), "the trained model gives nan"

    def set_(results, name, value):
        results[name] = value

    labels = {
        "nan energy": lambda atoms, results: set_(results, "energy", NAN),
        "inf energy": lambda atoms, results: set_(results, "energy", INF),
        "nan force": lambda atoms, results: results["forces"].__setitem__((0, 0), NAN),
        "two atoms at one place": lambda atoms, results: atoms.positions.__setitem__(
            1, atoms.positions[0]
        ),
        "nan position": lambda atoms, results: atoms.positions.__setitem__((1, 0), NAN),
        "nan cell": lambda atoms, results: atoms.cell.__setitem__((0, 0), NAN),
    }
    for label, change in labels.items():
        yield label, lambda change=change: attack(change=change)
    places = [("optimiser", key) for key in ("epochs", "batch_size", "learning_rate", "ema")]
    places += [("optimiser", "weight_decay"), ("loss", "energy"), ("loss", "forces")]
    places += [("settings", "species"), ("settings", "cutoff"), ("settings", "d_pet")]
    places += [("data", "files"), ("model",), ("symmetrise",), ("dtype",), ("seed",), ("start",)]
    for path in places:
        for label, value in BAD.items():
            case = f"{'.'.join(path)} = {label}"
            yield (
                case,
                lambda path=path, value=value: attack(lambda recipe: put(recipe, path, value)),
            )
    yield (
        "learning rate 1e6",
        lambda: attack(lambda recipe: put(recipe, ("optimiser", "learning_rate"), 1e6)),
    )


def crystals():
    """Phonons: displacements, meshes, supercells, masses."""

    def attack(change=None, **options):
        atoms = bulk("Cu")
        atoms.calc = EMT()
        if change:
            change(atoms)
        phonons.run(atoms, **{"supercell": (2, 2, 2), "mesh": (4, 4, 4), **options})

    values = {
        "displacement": (5.0, 1e-12, 0.0, -0.01, NAN, INF, "x", True),
        "mesh": ((0, 1, 1), (1.5, 2, 2), (-1, 2, 2), (10**4,) * 3, (NAN,) * 3, "444"),
        "supercell": ((0, 1, 1), (1.5, 1, 1), (-2, 2, 2), (40, 40, 40), (NAN,) * 3, "222"),
        "fmax": (0.0, -1.0, NAN, INF),
        "pressure": (NAN, INF, 1e9),
        "temperature_max": (-1.0, NAN, INF, 1e300),
        "method": ("x", 3, None),
        "tolerance": (NAN, -1.0, 1e9),
    }
    for name, several in values.items():
        for value in several:
            case = f"{name} = {value}"
            yield case, lambda name=name, value=value: refused(attack, **{name: value})
    changes = {
        "mass 0": lambda atoms: atoms.set_masses([0.0]),
        "mass -1": lambda atoms: atoms.set_masses([-1.0]),
        "mass nan": lambda atoms: atoms.set_masses([NAN]),
        "no cell": lambda atoms: atoms.set_pbc(False),
        "nan position": lambda atoms: atoms.positions.__setitem__((0, 0), NAN),
    }
    for label, change in changes.items():
        yield label, lambda change=change: refused(attack, change=change)


def refused(call, **options):
    """Run what must be refused."""
    call(**options)
    raise AssertionError("accepted")


KINDS = {
    "folders": folders,
    "texts and links": texts,
    "weights": weights,
    "checkpoints": checkpoints,
    "arguments": arguments,
    "structures": structures,
    "threads": threads,
    "restarts": restarts,
    "training": training,
    "phonons": crystals,
}


def outcome(attack):
    """("held" | "refused" | "failed", text) of an attack in a process of its own."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        status = 1
        try:
            result = _in_child(attack)
            os.write(writer, json.dumps(result).encode()[:60_000])
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        signal.alarm(0)
        data = pipe.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return "failed", f"killed by signal {os.WTERMSIG(status)}: time or memory"
    return tuple(json.loads(data)) if data else ("failed", "the process ended")


def _in_child(attack):
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limit = used + GIGABYTES * 10**9
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 5))
    signal.alarm(10 * SECONDS)  # a hang that uses no CPU
    warnings.simplefilter("ignore")
    os.chdir(tempfile.mkdtemp(dir=os.environ["ATTACKS"]))
    quiet = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(quiet, stream)
    try:
        attack()
        result = ("held", "")
    except ANSWERS as error:
        text = str(error)
        is_line = text.isprintable() and 0 < len(text) < LONGEST
        result = ("refused" if is_line else "failed", f"{type(error).__name__}: {text[:300]!r}")
    except BaseException as error:
        own = type(error).__module__.startswith("ase_pet") and isinstance(error, RuntimeError)
        kind = "refused" if own else "failed"
        result = (kind, f"{type(error).__name__}: {str(error)[:300]!r}")
    if Path("RAN").exists():
        result = ("failed", "code of the input ran")
    return result


def main(arguments=None):
    """Run the attacks and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kind", nargs="*", choices=KINDS, default=list(KINDS))
    parser.add_argument("--every", type=int, default=1, help="run each n-th attack only")
    parser.add_argument("--list", action="store_true", help="print every attack with its outcome")
    parser.add_argument("--output", type=Path, help="file of the table")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    rows = []
    failures = []
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ATTACKS"] = folder
        for kind in chosen.kind:
            start = time.perf_counter()
            counts = Counter()
            for k, (name, attack) in enumerate(KINDS[kind]()):
                if k % chosen.every:
                    continue
                what, text = outcome(attack)
                counts[what] += 1
                if what == "failed":
                    failures.append(f"{kind}: {name}: {text}")
                if chosen.list:
                    print(f"{what:8s} {kind}: {name}: {text}", flush=True)
                shutil.rmtree(folder, ignore_errors=True)
                Path(folder).mkdir(exist_ok=True)
            seconds = time.perf_counter() - start
            rows.append((kind, counts["held"], counts["refused"], counts["failed"], seconds))
    lines = [f"{'kind':18s}{'attacks':>8s}{'held':>8s}{'refused':>9s}{'failed':>8s}{'s':>7s}"]
    for kind, held, said, failed, seconds in rows:
        total = held + said + failed
        lines.append(f"{kind:18s}{total:8d}{held:8d}{said:9d}{failed:8d}{seconds:7.0f}")
    sums = [sum(row[k] for row in rows) for k in (1, 2, 3)]
    lines.append(f"{'all':18s}{sum(sums):8d}{sums[0]:8d}{sums[1]:9d}{sums[2]:8d}")
    lines += [f"failed: {failure}" for failure in failures]
    text = "\n".join(lines)
    print(text)
    if chosen.output:
        chosen.output.write_text(text + "\n", encoding="utf-8")
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
