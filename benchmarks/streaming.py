#!/usr/bin/env python3
"""Memory and time of a training on a synthetic set that is larger than memory.

usage: streaming.py [--structures 1000000] [--files 0] [--updates 200] [--folder FOLDER]

Strained and rattled argon cells of 4 atoms with random labels, which only have to have the right
shape. A first process writes --files of them to extended XYZ files of 10 000 structures, and reads
these into a store (`data.cache`). A second one writes a store of --structures without files. A
third one begins a training on it: composition energies, units of the loss, the search for mistakes,
then --updates updates with structures drawn from all of it, and the fit of a validation. Each
prints the peak of its resident memory, mapped files included, and its CPU time.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import ase.io
import numpy as np
import torch
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator

from ase_pet import rotations
from ase_pet.train import data, read, run, sources, streaming
from ase_pet.train.prediction import refit_composition

IN_A_FILE = 10_000
VARIANTS = 1000  # structures from which a store without files is made
RECIPE = """
name = "argon"
model = "pet"
dtype = "float32"
device = "cpu"
[settings]
species = ["Ar"]
cutoff = 5.0
d_pet = 8
d_node = 8
d_head = 8
d_feedforward = 8
num_heads = 2
num_gnn_layers = 1
num_attention_layers = 1
featurizer_type = "residual"
[data]
train = [{train}]
val = ["val.extxyz"]
cache = "cache"
[optimiser]
batch_size = 8
"""


def arguments():
    """Parsed command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--structures", type=int, default=1_000_000)
    parser.add_argument("--files", type=int, default=0, help="structures that are read from files")
    parser.add_argument("--updates", type=int, default=200)
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--part", choices=("files", "store", "train"), help="only this")
    return parser.parse_args()


def structures(count, seed):
    """Cells of 4 atoms with random labels."""
    generator = np.random.default_rng(seed)
    cell = bulk("Ar", "fcc", a=5.3, cubic=True)
    for _ in range(count):
        atoms = cell.copy()
        strain = np.eye(3) + generator.uniform(-0.02, 0.02, (3, 3))
        atoms.set_cell(atoms.cell @ strain, scale_atoms=True)
        atoms.positions += generator.normal(0, 0.1, (4, 3))
        forces = generator.normal(0, 0.1, (4, 3))
        energy = float(generator.normal(-28, 0.1))
        stress = generator.normal(0, 0.01, 6)
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces, stress=stress)
        yield atoms


def report(what, count, start):
    """Print the peak of the memory and the CPU time of this process."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    gigabytes = usage.ru_maxrss / 1024**2
    seconds = usage.ru_utime + usage.ru_stime
    wall = time.time() - start
    print(
        f"{what}: {count} structures, {gigabytes:.2f} GiB at most, {seconds:.0f} s of CPU time,"
        f" {wall:.0f} s",
        flush=True,
    )


def write_recipe(folder, name, files):
    """Path of a recipe."""
    path = folder / f"{name}.toml"
    path.write_text(RECIPE.format(train=", ".join(map(json.dumps, files))))
    return path


def write_files(folder, count):
    """Names of files with structures."""
    names = []
    for first in range(0, count, IN_A_FILE):
        names.append(f"train_{first}.extxyz")
        frames = list(structures(min(IN_A_FILE, count - first), seed=first + 1))
        ase.io.write(folder / names[-1], frames)
    return names


def from_files(folder, count):
    """A store of files."""
    start = time.time()
    names = write_files(folder, count)
    report("writing files", count, start)
    recipe = read(write_recipe(folder, "files", names))
    splits = sources.read_samples(recipe, (18,), 5.0)
    report("files to a store, with the above", len(splits["train"]), start)


def without_files(folder, count):
    """Store of a recipe whose one file has a few structures, in their place `count` of them."""
    start = time.time()
    ase.io.write(folder / "few.extxyz", list(structures(VARIANTS, seed=-1 % 97)))
    recipe = read(write_recipe(folder, "store", ["few.extxyz"]))
    few = data.read(recipe, (18,), 5.0)
    generator = np.random.default_rng(1)

    def many(*_):
        for each in few["val"]:
            yield "val", each
        for index in range(count):
            each = few["train"][index % VARIANTS]
            each.energy = float(generator.normal(-28, 0.1))
            each.where = f"`few.extxyz`, structure {index}"
            yield "train", each

    data.labelled_samples = many
    splits = sources.read_samples(recipe, (18,), 5.0)
    report("a store", len(splits["train"]), start)
    size = sum(path.stat().st_size for path in (folder / "cache").rglob("*"))
    print(f"size of the stores: {size / 1024**3:.2f} GiB", flush=True)


def train(folder, n_updates):
    """Updates of a training."""
    start = time.time()
    trainer = run.prepare(read(folder / "store.toml"), folder, "cpu")
    samples = trainer.splits["train"]
    assert isinstance(samples, streaming.StoredSamples)
    report("preparation of a training", len(samples), start)
    generator = torch.Generator().manual_seed(1)
    order = torch.randperm(len(samples), generator=generator).tolist()
    size = trainer.recipe.optimiser.batch_size
    for first in range(0, n_updates * size, size):
        rotation = rotations.random_orthogonal(size, generator)
        parts = trainer._parts(order[first : first + size], rotation)
        trainer._update(parts, size, generator)
    report(f"{n_updates} updates, with the above", len(samples), start)
    refit_composition(trainer.model, samples, (18,), trainer.dtype, trainer.device)
    report("composition energies of a validation, with the above", len(samples), start)


def main():
    """Run the parts in processes of their own."""
    options = arguments()
    if options.part == "files":
        from_files(options.folder, options.files)
    if options.part == "store":
        without_files(options.folder, options.structures)
    if options.part == "train":
        train(options.folder, options.updates)
    if options.part:
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        ase.io.write(Path(name) / "val.extxyz", list(structures(100, seed=0)))
        for part in ("files", "store", "train")[not options.files :]:
            command = [sys.executable, __file__, *sys.argv[1:], "--folder", name, "--part", part]
            subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
