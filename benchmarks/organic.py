#!/usr/bin/env python3
"""What a calculator of organic molecules must reach before it is shipped, and what it reaches.

usage: organic.py CALC --data FOLDER --output RESULTS [--only errors water] [--molecules 30]
[--time 50]

FOLDER of benchmarks/data/organic.py: test.extxyz.xz and references.json. Sections:

errors       forces of 200 molecules that no training set holds, by kind of structure; energies
             after one shift for each molecule. Gate: MAE <= 70 meV/A in dynamics and torsions
frequencies  harmonic, of 30 of these molecules relaxed by the calculator, against the teacher.
             Gate: mean deviation <= 3 % of the frequencies above 300 1/cm, no imaginary ones
water        binding energy of clusters of 2 to 6 molecules, at the geometry of the teacher and
             relaxed. Gate: <= 20 meV for each molecule
checks       nve, repulsion and diatomics of `ase-pet check`. Gate: they pass
dynamics     Langevin dynamics of the 30 molecules at 500 K, for --time ps with steps of 1 fs.
             Gate: no broken or new bond

RESULTS/organic.json is written after each section; sections that are not in --only keep their
results. The dynamics can be interrupted and repeated: finished steps are kept, and a longer --time
continues them. Exit status 1: a gate is missed.
"""

import argparse
import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.io import read, write
from ase.optimize import BFGS

from ase_pet import PETCalculator, md, vibrations

SECTIONS = ("errors", "frequencies", "water", "checks", "dynamics")
LARGEST_MAE = 70.0  # meV/A
LARGEST_DEVIATION = 3.0  # %
LOWEST_FREQUENCY = 300.0  # 1/cm: below it percentages say little
LARGEST_BINDING_ERROR = 20.0  # meV a molecule
THERMAL = ("dynamics", "torsion")
CHECKS = "nve,repulsion,diatomics"
BROKEN = 1.4  # sums of covalent radii
FORMED = 1.1  # the same, of two atoms that are not bonded
TEMPERATURE = 500.0  # K
TIGHT = 2e-3  # eV/A, largest force of a relaxed cluster
INTERVAL = 50  # fs between the frames that are looked at


def force_errors(frames, predicted):
    """MAE and RMSE of force components and the RMS force, in meV/A."""
    known = np.concatenate([atoms.get_forces().ravel() for atoms in frames])
    wrong = np.concatenate([result["forces"].ravel() for result in predicted]) - known
    return {
        "structures": len(frames),
        "mae_meV_per_A": 1e3 * float(np.abs(wrong).mean()),
        "rmse_meV_per_A": 1e3 * float(np.sqrt((wrong**2).mean())),
        "rms_force_meV_per_A": 1e3 * float(np.sqrt((known**2).mean())),
    }


def energy_error(frames, predicted):
    """RMSE in meV/atom of energies, after one shift for each molecule, of its dynamics."""
    errors = defaultdict(list)
    for atoms, result in zip(frames, predicted, strict=True):
        if atoms.info["config_type"] == "dynamics":
            wrong = (result["energy"] - atoms.get_potential_energy()) / len(atoms)
            errors[atoms.info["member"]].append(1e3 * wrong)
    shifted = [np.array(values) - np.mean(values) for values in errors.values() if len(values) > 1]
    # a mean of n values takes one degree of freedom of each molecule
    freedom = sum(len(values) - 1 for values in shifted)
    return float(np.sqrt(sum((values**2).sum() for values in shifted) / freedom))


def errors(calc, arguments):
    """Errors on test structures by kind, and the molecule with the largest ones."""
    frames = read(arguments.data / "test.extxyz.xz", ":")
    predicted = calc.evaluate(frames, ("energy", "forces"))
    groups = defaultdict(list)
    molecules = defaultdict(list)
    for pair in zip(frames, predicted, strict=True):
        kind = pair[0].info["config_type"]
        groups["water" if kind.startswith("water") else kind].append(pair)
        if kind in THERMAL:
            groups["dynamics and torsion"].append(pair)
            molecules[pair[0].info["member"]].append(pair)
    table = {kind: force_errors(*zip(*pairs, strict=True)) for kind, pairs in groups.items()}
    each = {name: force_errors(*zip(*pairs, strict=True)) for name, pairs in molecules.items()}
    worst = max(each, key=lambda name: each[name]["mae_meV_per_A"])
    return {
        "kinds": table,
        "molecules": len(molecules),
        "worst_member": int(worst),
        "worst_mae_meV_per_A": each[worst]["mae_meV_per_A"],
        "energy_rmse_meV_per_atom": energy_error(frames, predicted),
        "passes": table["dynamics and torsion"]["mae_meV_per_A"] <= LARGEST_MAE,
    }


def molecule_of(reference, calc):
    """Atoms of an entry of references.json."""
    atoms = Atoms(reference["symbols"], reference["positions"])
    atoms.calc = calc
    return atoms


def frequencies(calc, arguments):
    """Deviations of harmonic frequencies from those of the teacher."""
    rows = []
    for reference in arguments.references["molecules"][: arguments.molecules]:
        atoms = molecule_of(reference, calc)
        try:
            found = vibrations.run(atoms, relaxed=True, infrared=False).wavenumbers
        except ValueError as error:  # not relaxed
            rows.append({"smiles": reference["smiles"], "failed": str(error)})
            continue
        expected = np.array(reference["frequencies_per_cm"])
        number = min(len(found), len(expected))
        model, teacher = np.sort(found)[-number:], np.sort(expected)[-number:]
        high = teacher > LOWEST_FREQUENCY
        deviation = 100 * (model[high] / teacher[high] - 1)
        row = {
            "smiles": reference["smiles"],
            "mean_%": float(np.abs(deviation).mean()),
            "largest_%": float(np.abs(deviation).max()),
            "imaginary": int((model < -1).sum()),
        }
        rows.append(row)
    measured = [row for row in rows if "failed" not in row]
    mean = float(np.mean([row["mean_%"] for row in measured])) if measured else float("inf")
    sound = len(measured) == len(rows) and not any(row["imaginary"] for row in measured)
    return {"mean_%": mean, "molecules": rows, "passes": sound and mean <= LARGEST_DEVIATION}


def relaxed_energy(atoms):
    """Energy in eV of a structure after its relaxation, in place; infinite if that failed."""
    try:
        converged = BFGS(atoms, logfile=None).run(fmax=TIGHT, steps=500)
        return atoms.get_potential_energy() if converged else float("inf")
    except ValueError:  # atoms that fused
        return float("inf")


def water(calc, arguments):
    """Binding energies of water clusters in meV a molecule, minus those of the teacher."""
    single, *clusters = arguments.references["water"]
    monomer = molecule_of(single, calc)
    fixed = monomer.get_potential_energy()
    free = relaxed_energy(monomer)
    rows = []
    for reference in clusters:
        size = reference["molecules"]
        known = reference["energy_eV"] / size - single["energy_eV"]
        atoms = molecule_of(reference, calc)
        there = atoms.get_potential_energy() / size - fixed
        row = {
            "molecules": size,
            "teacher_meV": 1e3 * known,
            "error_meV": 1e3 * (there - known),
            "error_relaxed_meV": 1e3 * (relaxed_energy(atoms) / size - free - known),
        }
        rows.append(row)
    deviations = [abs(row[key]) for row in rows for key in ("error_meV", "error_relaxed_meV")]
    # false for NaN, which is the difference of two failed relaxations
    return {"clusters": rows, "passes": all(one <= LARGEST_BINDING_ERROR for one in deviations)}


def checks(calc, arguments):
    """Output of `ase-pet check` on a test molecule, and on pairs of atoms."""
    structure = arguments.output / "molecule.extxyz"
    write(structure, molecule_of(arguments.references["molecules"][0], None))
    del calc  # a process of its own reads it
    command = [sys.executable, "-m", "ase_pet", "check", arguments.calc]
    command += ["--structure", str(structure), "--only", CHECKS]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode == 2:
        raise SystemExit(result.stderr)
    return {"output": result.stdout.splitlines(), "passes": result.returncode == 0}


def changed_bonds(frames, bonds):
    """Number of the first frame with a broken or a new bond, or None."""
    numbers = frames[0].numbers
    sums = covalent_radii[numbers][:, None] + covalent_radii[numbers]
    bonded = np.zeros(sums.shape, dtype=bool)
    bonded[tuple(np.array(bonds).T)] = True
    bonded |= bonded.T
    for number, atoms in enumerate(frames):
        relative = atoms.get_all_distances() / sums
        np.fill_diagonal(relative, np.inf)
        if (relative[bonded] > BROKEN).any() or (relative[~bonded] < FORMED).any():
            return number
    return None


def trajectory(calc, reference, folder, arguments):
    """{smiles, ps, problem} of one molecule; continues the dynamics in a folder."""
    settings = {
        "ensemble": "nvt",
        "temperature": TEMPERATURE,
        "timestep": 1.0,
        "time": arguments.time,
        "interval": INTERVAL,
        "seed": reference["member"],
    }
    row = {"smiles": reference["smiles"], "ps": arguments.time, "problem": None}
    atoms = molecule_of(reference, calc)
    try:
        frames = md.run(atoms, folder, restart=True, **settings).frames
    except md.UnstableRun as error:
        return row | {"problem": str(error)}
    number = changed_bonds(frames(), reference["bonds"])
    if number is not None:
        row["problem"] = f"bonds changed before {number * INTERVAL / 1000:.2f} ps"
    return row


def dynamics(calc, arguments):
    """Molecules whose bonds changed, or that became unstable."""
    rows = []
    for reference in arguments.references["molecules"][: arguments.molecules]:
        folder = arguments.output / "dynamics" / str(reference["member"])
        rows.append(trajectory(calc, reference, folder, arguments))
        print(f"  {rows[-1]['smiles']:24} {rows[-1]['problem'] or 'stable'}", flush=True)
    failed = sum(row["problem"] is not None for row in rows)
    return {"molecules": rows, "failed": failed, "passes": failed == 0}


def shown(name, result):
    """Lines of a section."""
    if name == "errors":
        for kind, row in sorted(result["kinds"].items()):
            yield (
                f"{kind:22} {row['structures']:5d} structures: forces"
                f" MAE {row['mae_meV_per_A']:.1f} RMSE {row['rmse_meV_per_A']:.1f}"
                f" of rms {row['rms_force_meV_per_A']:.0f} meV/A"
            )
        yield f"worst of {result['molecules']}: MAE {result['worst_mae_meV_per_A']:.1f} meV/A"
        yield f"energies: RMSE {result['energy_rmse_meV_per_atom']:.2f} meV/atom, shifted"
    if name == "frequencies":
        yield f"mean deviation {result['mean_%']:.2f} % of {len(result['molecules'])} molecules"
        for row in result["molecules"]:
            yield "  " + ", ".join(
                f"{key} {value:.2f}" if isinstance(value, float) else f"{key} {value}"
                for key, value in row.items()
            )
    if name == "water":
        for row in result["clusters"]:
            yield (
                f"{row['molecules']} water: {row['teacher_meV']:.1f} meV a molecule, error"
                f" {row['error_meV']:+.1f}, relaxed {row['error_relaxed_meV']:+.1f}"
            )
    if name == "checks":
        yield from result["output"]
    if name == "dynamics":
        yield f"{result['failed']} of {len(result['molecules'])} molecules unstable"


def main():
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("calc")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=SECTIONS)
    parser.add_argument("--molecules", type=int, default=30)
    parser.add_argument("--time", type=float, default=50.0, help="ps")
    parser.add_argument("--symmetrise", help="default: of the card")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    arguments.references = json.loads((arguments.data / "references.json").read_text())
    path = arguments.output / "organic.json"
    results = json.loads(path.read_text()) if path.exists() else {}
    single = PETCalculator(arguments.calc, symmetrise=arguments.symmetrise)
    # relaxations and second derivatives need float64
    double = PETCalculator(arguments.calc, symmetrise=arguments.symmetrise, dtype="float64")
    for name in arguments.only:
        calc = double if name in ("frequencies", "water") else single
        results[name] = globals()[name](calc, arguments)
        path.write_text(json.dumps(results, indent=1) + "\n")
        print(f"{name}: {'pass' if results[name]['passes'] else 'MISSED'}", flush=True)
        print("\n".join("  " + line for line in shown(name, results[name])), flush=True)
    sys.exit(not all(results[name]["passes"] for name in arguments.only))


if __name__ == "__main__":
    main()
