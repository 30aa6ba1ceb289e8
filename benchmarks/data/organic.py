#!/usr/bin/env python3
"""Training data of organic molecules (H, C, N, O), distilled from SO3LR.

    python benchmarks/data/organic.py FOLDER molecules structures labels split references

Run it in the environment of so3lr.py, on one core (OMP_NUM_THREADS=1). Stages, in this order:

molecules   8000 molecules of up to 9 heavy atoms (organic_molecules.py), each with its split: 200
            for `val`, 200 for `test`, the others for `train` -> organic_molecules.csv beside this
            file, which is in the repository: it is drawn only if it is not there
structures  of each molecule (organic_structures.py): 4 snapshots of GFN2-xTB dynamics at 300, 500,
            750 or 1000 K; for half of them a torsion, for a third two atoms pressed together or
            pulled apart. 1100 dimers at three separations and in dynamics, 560 water clusters of
            2 to 8 molecules, pairs of atoms -> structures/*.extxyz
labels      energies and forces of SO3LR; structures with forces above 30 eV/A (pairs: 100) are
            left out -> labels/*.extxyz
split       all labelled structures in one file, training structures in random order; tests that
            no molecule is in two splits -> organic.extxyz.xz, test.extxyz.xz
references  of SO3LR: relaxed test molecules with harmonic frequencies, relaxed water clusters
            -> references.json, for benchmarks/organic.py

Everything is seeded: each job of `structures` has its own random numbers. `structures` and `labels`
write parts of 40 jobs and skip those that exist, so that they can be interrupted at any time;
--minutes ends them early. `split` may be repeated while the others go on: the jobs are in random
order, so that a first part of them is a sample of all, and the split of a molecule never changes.

Energies of SO3LR are kept as they are. It was trained on forces: differences between its energies
of different molecules mean nothing, and no structure of a single atom is in the data.
"""

import argparse
import csv
import itertools
import time
from collections import Counter
from pathlib import Path

import numpy as np
from ase.io import read, write

SEED = 20261128
LIST = Path(__file__).with_name("organic_molecules.csv")
MOLECULES, HELD = 8000, 200  # all; of each of `val` and `test`
HELD_SIZE = 4  # heavy atoms of the smallest held-out molecules
TORSIONS, PRESSED = 0.55, 0.35  # fractions of the molecules
DIMERS = {"train": 1000, "val": 50, "test": 50}
WATER_CLUSTERS = {"train": 500, "val": 30, "test": 30}
WATER_SIZES = (2, 3, 4, 5, 6, 8)
WITH_WATER = 0.4  # fraction of the dimers
PARTNER_SIZE = 5  # heavy atoms of the largest partner in a dimer
PART = 40  # jobs
LARGEST = {"pair": 100.0}  # eV/A
LARGEST_OTHERWISE = 30.0
REFERENCES = 30  # test molecules


def draw_molecules():
    """Write the list of molecules: SMILES, heavy atoms and split."""
    import organic_molecules
    from rdkit import Chem

    smiles = organic_molecules.draw(MOLECULES, SEED)
    sizes = [Chem.MolFromSmiles(one).GetNumHeavyAtoms() for one in smiles]
    large = [k for k, size in enumerate(sizes) if size >= HELD_SIZE]
    chosen = np.random.default_rng([SEED, 1]).choice(large, 2 * HELD, replace=False)
    split = dict.fromkeys(range(MOLECULES), "train")
    split |= dict.fromkeys(chosen[:HELD].tolist(), "val")
    split |= dict.fromkeys(chosen[HELD:].tolist(), "test")
    with LIST.open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["smiles", "heavy_atoms", "split"])
        table.writerows([one, sizes[k], split[k]] for k, one in enumerate(smiles))


def read_molecules():
    """List of {smiles, heavy_atoms, split} of all molecules."""
    with LIST.open(newline="") as file:
        return list(csv.DictReader(file))


def all_jobs(molecules):
    """List of (kind, split, members) in random order, the same each time.

    members: numbers of molecules, the size of a water cluster, or the symbols of a pair.
    """
    rng = np.random.default_rng([SEED, 2])
    jobs = [("molecule", one["split"], (k,)) for k, one in enumerate(molecules)]
    water = next(k for k, one in enumerate(molecules) if one["smiles"] == "O")
    for split, count in DIMERS.items():
        members = [k for k, one in enumerate(molecules) if one["split"] == split]
        small = [k for k in members if int(molecules[k]["heavy_atoms"]) <= PARTNER_SIZE]
        for _ in range(count):
            other = water if rng.random() < WITH_WATER else int(rng.choice(small))
            jobs.append(("dimer", split, (int(rng.choice(small)), other)))
    for split, count in WATER_CLUSTERS.items():
        jobs += [("water", split, (int(rng.choice(WATER_SIZES)),)) for _ in range(count)]
    jobs += [("pair", "train", pair) for pair in itertools.combinations_with_replacement("HCNO", 2)]
    return [jobs[k] for k in rng.permutation(len(jobs))]


def structures_of(job, molecules, rng):
    """Structures of a job, or none if the molecule has no conformer or GFN2-xTB fails."""
    import organic_structures as make

    kind, _, members = job
    if kind == "pair":
        return make.pair(members)
    if kind == "water":
        return make.water(members[0], rng)
    conformers = [make.embedded(molecules[k]["smiles"], rng) for k in members]
    if None in conformers:
        return []
    if kind == "dimer":
        return make.dimers(*conformers, rng)
    bonds = make.bonds_of(conformers[0])
    start = make.as_atoms(conformers[0], "dynamics")
    temperature = rng.choice(make.TEMPERATURES)
    frames = make.dynamics(start, bonds, "dynamics", temperature, make.SNAPSHOTS, rng)
    if rng.random() < TORSIONS:
        frames += make.torsion(conformers[0], rng)
    if frames and rng.random() < PRESSED:
        frames += make.pressed(frames[0], bonds, rng)
    return frames


def write_part(path, frames):
    """Write a part; an interrupted one leaves no file of that name."""
    unfinished = path.with_suffix(".unfinished")
    write(unfinished, frames, format="extxyz")
    unfinished.rename(path)


def make_structures(folder, until):
    """Write the parts of structures/ that do not exist yet, until a time in s."""
    from ase.calculators.calculator import CalculatorError

    molecules = read_molecules()
    jobs = all_jobs(molecules)
    (folder / "structures").mkdir(exist_ok=True)
    for part, first in enumerate(range(0, len(jobs), PART)):
        path = folder / "structures" / f"{part:04d}.extxyz"
        if path.exists():
            continue
        if time.time() > until:
            return
        frames = []
        for number, job in enumerate(jobs[first : first + PART], first):
            try:
                made = structures_of(job, molecules, np.random.default_rng([SEED, 3, number]))
            except CalculatorError as error:
                print(f"job {number}, {job}: {error}", flush=True)
                continue
            for k, atoms in enumerate(made):
                member = "-".join(str(member) for member in job[2])
                atoms.info.update(
                    job=job[0], member=member, split=job[1], config_id=100 * number + k
                )
            frames += made
        write_part(path, frames)
        print(f"structures: part {part}, {len(frames)} structures", flush=True)


def label(folder, until):
    """Label the parts of structures/ that are not in labels/ yet, until a time in s."""
    from ase.calculators.singlepoint import SinglePointCalculator
    from so3lr import Teacher

    teacher = Teacher()
    (folder / "labels").mkdir(exist_ok=True)
    for source in sorted((folder / "structures").glob("*.extxyz")):
        path = folder / "labels" / source.name
        if path.exists():
            continue
        if time.time() > until:
            return
        frames = read(source, ":")
        kept = []
        for atoms, (energy, forces) in zip(frames, teacher.evaluate(frames), strict=True):
            largest = LARGEST.get(atoms.info["config_type"], LARGEST_OTHERWISE)
            if abs(forces).max() < largest:  # false for NaN, too
                atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
                kept.append(atoms)
        write_part(path, kept)
        print(f"labels: part {source.stem}, {len(kept)} of {len(frames)} structures", flush=True)


def gather(folder):
    """Write organic.extxyz.xz of all labelled structures, and test.extxyz.xz of the test ones."""
    frames = [
        atoms for path in sorted((folder / "labels").glob("*.extxyz")) for atoms in read(path, ":")
    ]
    smiles = [one["smiles"] for one in read_molecules()]
    water = str(smiles.index("O"))
    seen = {split: set() for split in ("train", "val", "test")}
    for atoms in frames:
        if atoms.info["job"] in ("molecule", "dimer"):
            seen[atoms.info["split"]] |= set(str(atoms.info["member"]).split("-")) - {water}
    if seen["train"] & seen["test"] or seen["train"] & seen["val"] or seen["val"] & seen["test"]:
        raise SystemExit("a molecule is in two splits")
    rng = np.random.default_rng([SEED, 4])
    frames = [frames[k] for k in rng.permutation(len(frames))]
    write(folder / "organic.extxyz.xz", frames, format="extxyz")
    test = [atoms for atoms in frames if atoms.info["split"] == "test"]
    write(folder / "test.extxyz.xz", test, format="extxyz")
    count = Counter((atoms.info["split"], atoms.info["config_type"]) for atoms in frames)
    for (split, kind), number in sorted(count.items()):
        print(f"{split:6} {kind:16} {number:6d} structures")
    for split, members in seen.items():
        total = sum(atoms.info["split"] == split for atoms in frames)
        print(f"{split:6} {total} structures, {len(members)} molecules without water")


def main():
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    stages = ["molecules", "structures", "labels", "split", "references"]
    parser.add_argument("stages", nargs="+", choices=stages)
    parser.add_argument("--minutes", type=float, default=1e9, help="of structures and of labels")
    arguments = parser.parse_args()
    folder = arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    for stage in arguments.stages:
        until = time.time() + 60 * arguments.minutes
        if stage == "molecules" and not LIST.exists():
            draw_molecules()
        if stage == "structures":
            make_structures(folder, until)
        if stage == "labels":
            label(folder, until)
        if stage == "split":
            gather(folder)
        if stage == "references":
            from organic_references import write_references

            write_references(folder, read_molecules(), REFERENCES, SEED)


if __name__ == "__main__":
    main()
