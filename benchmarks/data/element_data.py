"""Training data of an element from the mlearn data: a fixed validation part, and short distances.

    python benchmarks/data/element_data.py runs/mlearn Si runs/mlearn-split/Si.extxyz

A part of the training data, blocks of structures that follow each other, becomes the split `val`,
the rest `train`; nothing of `val` is used otherwise. Si and Li, whose test data are public, have
the blocks of `val_fraction`; the others two blocks in each group, as `val` is their only held-out
data. The data have no atoms closer than 1.8 A. So
that atoms repel each other below, the training sees

- pairs of atoms from 0.5 A to 0.75 of the bond, with the repulsion that `zbl = true` adds to a
  model, and two and one atoms apart;
- structures of `train` whose shortest bond is pressed further, down to 0.5 A. Their energies and
  the forces on the two atoms change by that repulsion, all other forces are kept.

The labels are repulsive, not accurate. Energies of an atom alone are those of the crystal plus the
cohesive energy of experiment (C. Kittel, Introduction to Solid State Physics).
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from ase.io import read, write
from ase.neighborlist import neighbor_list

import pairs
from ase_pet.layers.zbl import RADII
from ase_pet.train import read as read_recipe
from ase_pet.train.sources import read_samples

COHESIVE = {"Si": 4.63, "Ge": 3.85, "Li": 1.63, "Mo": 6.82}  # eV/atom
TESTED = ("Si", "Li")  # elements with public test data
N_PAIRS = 12
N_PRESSED = 28
NEAREST = 0.5  # A
SEED = 20261128
SPLIT = """
name = "split"
model = "pet"
seed = 1
settings = {{species = ["{symbol}"]}}
data = {{train = ["{path}"], val_fraction = 0.08, split_by = "blocks"}}
"""


class Repulsion(pairs.Pair):
    """The repulsion alone, as a curve of `pairs`."""

    def __init__(self, symbol: str) -> None:
        self.z = [atomic_numbers[symbol]] * 2
        self.nearest = 2 * RADII[self.z[0]]  # A, where it ends

    def energy(self, distance):
        """Energies (n,) in eV of n distances."""
        return self.repulsion(np.atleast_1d(distance))


def by_fraction(path: Path, symbol: str) -> set[int]:
    """Numbers of the structures of a file that `val_fraction` makes the split val."""
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        file.write(SPLIT.format(symbol=symbol, path=path.resolve()))
        file.flush()
        splits = read_samples(read_recipe(file.name), [atomic_numbers[symbol]], 1.0)
    return {int(sample.where.split("structure ")[1]) for sample in splits["val"]}


def by_group(frames: list[Atoms]) -> set[int]:
    """Numbers of two blocks of structures in each group, a tenth of it in all."""
    held = set()
    for group in sorted({frame.info["group"] for frame in frames}):
        numbers = [k for k, frame in enumerate(frames) if frame.info["group"] == group]
        size = max(1, round(0.05 * len(numbers)))
        for begin in (len(numbers) // 4, 3 * len(numbers) // 4):
            held |= set(numbers[begin : begin + size])
    return held


def main() -> None:
    """Write the structures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of the data")
    parser.add_argument("element", choices=COHESIVE)
    parser.add_argument("output", type=Path)
    options = parser.parse_args()
    symbol = options.element
    path = options.data / f"{symbol}_training.extxyz.xz"
    frames = read(path, ":")
    held = by_fraction(path, symbol) if symbol in TESTED else by_group(frames)
    for number, frame in enumerate(frames):
        frame.info["split"] = "val" if number in held else "train"
    curve = Repulsion(symbol)
    per_atom = [frame.get_potential_energy() / len(frame) for frame in frames]
    alone = min(per_atom) + COHESIVE[symbol]

    structures = [pairs.labelled(Atoms(symbol), alone, np.zeros((1, 3)), "atom", 0)]
    distances = [*np.linspace(NEAREST, 0.75 * curve.nearest, N_PAIRS), 4.6, 5.2]
    structures += pairs.alone([symbol] * 2, curve, distances, 2 * alone, 1)
    rng = np.random.default_rng(SEED)
    learned = [frame for frame in frames if frame.info["split"] == "train"]
    hot = [frame for frame in learned if frame.info["group"] in ("AIMD-NVT", "Vacancy")]
    for index in rng.choice(len(hot), N_PRESSED, replace=False):
        frame = hot[index]
        first, second, lengths = neighbor_list("ijd", frame, 4.0)
        nearest = lengths.argmin()
        frame.info["pair"] = (first[nearest], second[nearest])
        for atoms, energy, forces in pairs.pressed(frame, curve, rng, 1, NEAREST):
            structures.append(pairs.labelled(atoms, energy, forces, "pressed", len(structures)))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    for frame in frames:
        frame.info.pop("pair", None)
    write(options.output, [*frames, *structures], format="extxyz")
    print(f"{len(frames)} structures, {len(held)} of them val, and {len(structures)} close ones")


if __name__ == "__main__":
    main()
