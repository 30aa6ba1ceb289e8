"""References of SO3LR for benchmarks/organic.py: frequencies of test molecules, water clusters."""

import json

import numpy as np
import organic_structures as make
from ase import Atoms
from ase.optimize import BFGS
from ase.vibrations import VibrationsData
from so3lr import Teacher

DISPLACEMENT = 0.005  # A, of central differences
TIGHT = 2e-3  # eV/A, largest force of a relaxed structure
CLUSTERS = (2, 3, 4, 5, 6)  # water molecules
STARTS = 4  # random clusters of each size, of which the lowest minimum is kept


def relaxed(atoms, teacher, steps=400):
    """Whether a structure could be relaxed, in place."""
    atoms.calc = teacher.calculator
    return BFGS(atoms, logfile=None).run(fmax=TIGHT, steps=steps)


def frequencies(atoms, teacher):
    """(3n - 6,) harmonic frequencies in 1/cm, rising; imaginary ones are negative."""
    moved = []
    for index in range(3 * len(atoms)):
        for sign in (1, -1):
            copy = Atoms(atoms.numbers, atoms.positions)
            copy.positions.flat[index] += sign * DISPLACEMENT
            moved.append(copy)
    forces = np.array([forces.ravel() for _, forces in teacher.evaluate(moved)])
    hessian = -(forces[::2] - forces[1::2]) / (2 * DISPLACEMENT)
    hessian = (hessian + hessian.T) / 2
    values = VibrationsData.from_2d(atoms, hessian).get_frequencies()
    signed = np.sort(values.real - values.imag)
    # six of them are translations and rotations, those next to zero
    others = np.argsort(abs(signed))[6:]
    return np.sort(signed[others])


def plain(atoms, **values):
    """A structure as JSON holds it."""
    symbols = atoms.get_chemical_symbols()
    return {"symbols": symbols, "positions": atoms.positions.round(6).tolist(), **values}


def reference_of(smiles, number, teacher, rng):
    """Entry of a test molecule, or None if its bonds change while SO3LR relaxes it."""
    molecule = make.embedded(smiles, rng)
    if molecule is None:
        return None
    atoms = make.as_atoms(molecule, "relaxed")
    bonds = make.bonds_of(molecule)
    if not relaxed(atoms, teacher) or not make.intact(atoms, bonds):
        return None
    values = {
        "smiles": smiles,
        "member": number,
        "bonds": bonds.tolist(),
        "energy_eV": float(atoms.get_potential_energy()),
        "frequencies_per_cm": frequencies(atoms, teacher).round(2).tolist(),
    }
    return plain(atoms, **values)


def cluster(size, teacher, rng):
    """Entry of the lowest of some minima of a water cluster."""
    minima = []
    for _ in range(STARTS if size > 1 else 1):
        atoms = make.water_cluster(size, rng)
        if relaxed(atoms, teacher):
            minima.append((float(atoms.get_potential_energy()), atoms))
    energy, atoms = min(minima, key=lambda pair: pair[0])
    return plain(atoms, molecules=size, energy_eV=energy)


def write_references(folder, molecules, count, seed):
    """Write references.json after each entry; entries that it holds are kept.

    Its molecules are the first `count` test molecules that keep their bonds.
    """
    path = folder / "references.json"
    empty = {
        "teacher": "SO3LR, so3krates-torch 0.2.1",
        "molecules": [],
        "left_out": [],
        "water": [],
    }
    references = json.loads(path.read_text()) if path.exists() else empty
    teacher = Teacher()

    def keep(name, entry):
        references[name].append(entry)
        unfinished = path.with_suffix(".unfinished")
        unfinished.write_text(json.dumps(references) + "\n")
        unfinished.rename(path)
        print(f"reference: {name}, {len(references[name])}", flush=True)

    for size in (1, *CLUSTERS):
        if size not in [entry["molecules"] for entry in references["water"]]:
            keep("water", cluster(size, teacher, np.random.default_rng([seed, 6, size])))
    done = {entry["member"] for entry in references["molecules"]} | set(references["left_out"])
    for number, one in enumerate(molecules):
        if one["split"] != "test" or number in done or len(references["molecules"]) >= count:
            continue
        rng = np.random.default_rng([seed, 5, number])
        entry = reference_of(one["smiles"], number, teacher, rng)
        keep("left_out" if entry is None else "molecules", number if entry is None else entry)
