#!/usr/bin/env python3
"""Calculators of elements trained on the public mlearn data: errors, crystal, defects, liquid.

usage: elements.py DATA [NAME ...] [--part errors crystal defects liquid] [--time PS] [--write]
                   [--cards]

DATA is the folder of the converted data (docs/guides/elements.md says where they are published).
Each part of each calculator is kept in --work and not measured again without --again; a
liquid that was interrupted is continued. --write renders all parts as results/elements.txt, --cards
writes them into the cards.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from ase import units
from ase.build import bulk, surface
from ase.io import read
from ase.neighborlist import neighbor_list
from ase.optimize import FIRE

from ase_pet import PETCalculator, md, phonons, store
from ase_pet.train import read as read_recipe

RESULTS = Path(__file__).parent / "results" / "elements.txt"
ELEMENTS = {  # melting points in K: CRC Handbook of Chemistry and Physics
    "silicon-general": {"symbol": "Si", "crystal": "diamond", "a": 5.47, "melting": 1687},
    "germanium": {"symbol": "Ge", "crystal": "diamond", "a": 5.76, "melting": 1211},
    "lithium": {"symbol": "Li", "crystal": "bcc", "a": 3.43, "melting": 454},
    "molybdenum": {"symbol": "Mo", "crystal": "bcc", "a": 3.16, "melting": 2896},
}
# points in units of the reciprocal vectors of the primitive cell
POINTS = {
    "diamond": {"Gamma": (0, 0, 0), "X": (0.5, 0, 0.5), "L": (0.5, 0.5, 0.5)},
    "bcc": {"H": (0.5, -0.5, 0.5), "N": (0, 0, 0.5)},
}
REPEATS = {"diamond": (2, 2, 2), "bcc": (3, 3, 3)}  # of the cubic cell: 64 and 54 atoms
LAYERS = {"100": (1, 0, 0), "110": (1, 1, 0), "111": (1, 1, 1)}
GPA = 1 / units.GPa
# Lattice constants and elastic constants (GPa) near 300 K. Si: H. J. McSkimin and P. Andreatch,
# J. Appl. Phys. 35, 2161 (1964); Ge: the same, 34, 651 (1963); Li: T. Slotwinski and J. Trivisonno,
# J. Phys. Chem. Solids 30, 1276 (1969); Mo: F. H. Featherston and J. R. Neighbours, Phys. Rev. 130,
# 1324 (1963). Lattice constants: C. Kittel, Introduction to Solid State Physics.
EXPERIMENT = {
    "silicon-general": {"a (A)": 5.43, "C11": 165.8, "C12": 63.9, "C44": 79.6},
    "germanium": {"a (A)": 5.66, "C11": 129, "C12": 48, "C44": 67},
    "lithium": {"a (A)": 3.51, "C11": 13.4, "C12": 11.3, "C44": 8.9},
    "molybdenum": {"a (A)": 3.15, "C11": 464, "C12": 158, "C44": 109},
}


def errors(name, data):
    """Errors on held-out data by group, and time per atom of energy and forces."""
    frames, origin = held_out(name, data)
    calc = PETCalculator(name)
    begin = time.process_time()
    predicted = calc.evaluate(frames, ("energy", "forces", "stress"))
    seconds = time.process_time() - begin
    rows = {}
    for group in ["all", *sorted({atoms.info["group"] for atoms in frames})]:
        pairs = []
        for atoms, results in zip(frames, predicted, strict=True):
            if group in ("all", atoms.info["group"]):
                pairs.append((atoms, results))
        rows[group] = {"structures": len(pairs), **errors_of(pairs)}
    model, info = store.load(name)
    return {
        "data": origin,
        "groups": rows,
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "ms/atom": 1e3 * seconds / sum(map(len, frames)),
        "training, wall h": info.provenance["seconds"] / 3600,
    }


def held_out(name, data):
    """Structures that were not trained on: those of the test file, else the validation split."""
    recipe = read_recipe(store.find(name) / "recipe.toml")
    if recipe.data.test:
        path = data / Path(recipe.data.test[0]).name
        return read(path, ":"), path.name
    path = recipe.folder / recipe.data.files[0]
    frames = [atoms for atoms in read(path, ":") if atoms.info["split"] == "val"]
    return frames, f"validation split of {path.name}"


def errors_of(pairs):
    """RMSE and MAE of energies (meV/atom), force components (meV/A) and stresses (GPa)."""
    energy = [1e3 * (r["energy"] - a.get_potential_energy()) / len(a) for a, r in pairs]
    forces = [1e3 * (r["forces"] - a.get_forces()).ravel() for a, r in pairs]
    stress = [GPA * (r["stress"] - a.get_stress()) for a, r in pairs]
    table = {"energy": energy, "forces": np.concatenate(forces), "stress": np.concatenate(stress)}
    rows = {}
    for kind, values in table.items():
        rows[kind] = [float(np.sqrt(np.mean(np.square(values)))), float(np.mean(np.abs(values)))]
    return rows


def crystal(name, data):
    """Lattice constant, elastic constants (GPa) and phonons (THz) of the relaxed crystal."""
    element = ELEMENTS[name]
    cubic = element["crystal"] == "bcc"
    atoms = bulk(element["symbol"], element["crystal"], element["a"])
    atoms.calc = PETCalculator(name, dtype="float64")
    relaxed = phonons.relax(atoms).atoms
    relaxed.calc = atoms.calc
    per_cell = 2 if cubic else 4  # primitive cells in the cubic one
    constants = phonons.elastic(relaxed).constants
    points = POINTS[element["crystal"]]
    repeats = (4, 4, 4) if cubic else (3, 3, 3)
    spectrum = phonons.run(relaxed, repeats, relaxed=False, q_points=list(points.values()))
    frequencies = {}
    for point, row in zip(points, spectrum.at_q_points, strict=True):
        frequencies[point] = np.sort(row["frequencies"]).round(3).tolist()
    return {
        "a (A)": float((per_cell * relaxed.get_volume()) ** (1 / 3)),
        "C11": float(np.mean(constants[[0, 1, 2], [0, 1, 2]])),
        "C12": float(np.mean(constants[[0, 0, 1], [1, 2, 2]])),
        "C44": float(np.mean(constants[[3, 4, 5], [3, 4, 5]])),
        "phonons (THz)": frequencies,
        "energy (eV/atom)": float(relaxed.get_potential_energy() / len(relaxed)),
    }


def defects(name, data):
    """Formation energy of a vacancy (eV), and energies of ideal, relaxed surfaces (J/m^2)."""
    element = ELEMENTS[name]
    calc = PETCalculator(name, dtype="float64")
    cell = bulk(element["symbol"], element["crystal"], lattice_constant(name), cubic=True)
    cell.calc = calc
    per_atom = cell.get_potential_energy() / len(cell)

    vacancy = cell.repeat(REPEATS[element["crystal"]])
    del vacancy[0]
    vacancy.calc = calc
    values = {"vacancy (eV)": relaxed_energy(vacancy) - len(vacancy) * per_atom}
    for title, miller in LAYERS.items():
        slab = without_adatoms(surface(cell, miller, 8, vacuum=8.0, periodic=True))
        slab.calc = calc
        excess = relaxed_energy(slab) - len(slab) * per_atom
        area = np.linalg.norm(np.cross(*slab.cell[:2]))
        values[f"surface {title} (J/m2)"] = float(excess / (2 * area) / (units.J / units.m**2))
    return values


def without_adatoms(slab):
    """A slab without atoms that have one bond: (111) of diamond is cut where bonds are fewest."""
    bond = neighbor_list("d", slab, 4.0).min()
    bonds = np.bincount(neighbor_list("i", slab, 1.2 * bond), minlength=len(slab))
    return slab[bonds > 1]


def lattice_constant(name):
    """Lattice constant that the part `crystal` has measured."""
    return json.loads((WORK / f"{name}.crystal.json").read_text())["a (A)"]


def relaxed_energy(atoms):
    """Energy in eV after a relaxation of the atoms."""
    atoms.rattle(0.01, seed=1)
    optimiser = FIRE(atoms, logfile=None)
    optimiser.run(fmax=0.02, steps=200)
    return float(atoms.get_potential_energy())


def liquid(name, data):
    """A crystal that is melted at twice and then held at 1.2 times the melting point, NVT."""
    element = ELEMENTS[name]
    cell = bulk(element["symbol"], element["crystal"], lattice_constant(name), cubic=True)
    atoms = cell.repeat(REPEATS[element["crystal"]])
    atoms.calc = PETCalculator(name)
    hot = {"ensemble": "nvt", "timestep": 2.0, "seed": 1}
    begin = time.time()
    for stage, (factor, duration) in {"melt": (2.0, 1.0), "hold": (1.2, TIME)}.items():
        folder = WORK / f"{name}.{stage}"
        kelvin = factor * element["melting"]
        md.run(atoms, folder, restart=True, temperature=kelvin, time=duration, **hot)
    frames = read(next(folder.glob("*.traj")), ":")
    distances = [neighbor_list("d", frame, 4.0).min() for frame in frames]
    forces = [np.abs(frame.get_forces()).max() for frame in frames if frame.calc]
    return {
        "ps": TIME,
        "K": round(kelvin),
        "mean K": float(np.mean([frame.get_temperature() for frame in frames[len(frames) // 5 :]])),
        "shortest distance (A)": float(min(distances)),
        "largest force (eV/A)": float(max(forces)) if forces else None,
        "steps per s": (TIME + 1.0) / 2e-3 / (time.time() - begin),
    }


PARTS = {"errors": errors, "crystal": crystal, "defects": defects, "liquid": liquid}


def rendered(names):
    """All parts that were measured, as text."""
    lines = []
    for name in names:
        lines.append(f"== {name}")
        for part in PARTS:
            path = WORK / f"{name}.{part}.json"
            if path.exists():
                lines.append(f"{part}:")
                lines += table(json.loads(path.read_text()))
        lines.append("")
    return "\n".join(lines)


def table(values, indent="  "):
    """Lines of a part."""
    lines = []
    for key, value in values.items():
        if isinstance(value, dict):
            lines.append(f"{indent}{key}")
            lines += table(value, indent + "  ")
            continue
        if isinstance(value, list):
            value = " / ".join(f"{each:.4g}" for each in value)
        shown = f"{value:.4g}" if isinstance(value, float) else value
        lines.append(f"{indent}{key:24} {shown}")
    return lines


def part_of(name, part):
    """A part that was measured, {} if it was not."""
    path = WORK / f"{name}.{part}.json"
    return json.loads(path.read_text()) if path.exists() else {}


def write_card(name):
    """Write errors by group and physics into the card of a calculator."""
    found = part_of(name, "errors")
    rows = [
        "| group | structures | energy RMSE / MAE (meV/atom) | forces RMSE / MAE (meV/A) |",
        "|---|---|---|---|",
    ]
    for group, values in found["groups"].items():
        cells = [f"{a:.3g} / {b:.3g}" for a, b in (values["energy"], values["forces"])]
        rows.append(f"| {group} | {values['structures']} | {' | '.join(cells)} |")
    text = f"{found['data']}, by the groups of the publication (`python benchmarks/elements.py`)."
    store.write_section(store.find(name), "Held-out data by group", text + "\n\n" + "\n".join(rows))

    rows = ["| quantity | model | experiment |", "|---|---|---|"]
    measured = part_of(name, "crystal") | part_of(name, "defects")
    for key, value in measured.items():
        known = EXPERIMENT[name].get(key, "")
        unit = " (GPa)" if key.startswith("C") else ""
        if isinstance(value, float):
            rows.append(f"| {key}{unit} | {value:.4g} | {known} |")
    for point, values in measured.get("phonons (THz)", {}).items():
        distinct = sorted({round(value, 2) for value in values if abs(value) > 0.01})
        rows.append(f"| phonons at {point} (THz) | {', '.join(map(str, distinct))} | |")
    hot = part_of(name, "liquid")
    if hot:
        rows.append(
            f"| NVT at {hot['K']} K, 1.2 times the melting point, {hot['ps']:g} ps | shortest"
            f" distance {hot['shortest distance (A)']:.2f} A | |"
        )
    body = (
        "Of the model in float64, at 0 K unless a row says otherwise; experiments near 300 K, with"
        " sources in `benchmarks/elements.py`.\n\n"
    )
    store.write_section(store.find(name), "Physics", body + "\n".join(rows))


def main():
    """Measure what is missing; print and write it."""
    global WORK, TIME
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of the data")
    parser.add_argument("names", nargs="*", help="calculators; default: those that are shipped")
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--time", type=float, default=5.0, help="ps of the liquid")
    parser.add_argument("--work", type=Path, default=Path("runs/elements"))
    parser.add_argument("--again", action="store_true", help="measure what was measured before")
    parser.add_argument("--cards", action="store_true", help="write the cards")
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name}")
    options = parser.parse_args()
    WORK = options.work
    TIME = options.time
    WORK.mkdir(parents=True, exist_ok=True)
    names = options.names or [name for name in ELEMENTS if name in store.shipped()]
    for name in names:
        for part in options.part:
            path = WORK / f"{name}.{part}.json"
            if path.exists() and not options.again:
                continue
            path.write_text(json.dumps(PARTS[part](name, options.data), indent=1) + "\n")
            print(name, part, path.read_text(), flush=True)
    text = rendered(names)
    print(text)
    for name in names if options.cards else []:
        write_card(name)
    if options.write:
        command = f"python benchmarks/elements.py DATA {' '.join(names)} --time {TIME:g}"
        head = f"{time.strftime('%Y-%m-%d')}, torch {torch.__version__}, one thread."
        RESULTS.write_text(f"{head} Command: {command}\n\n{text}\n")


if __name__ == "__main__":
    main()
