"""Training data.

Structures with reference energies, forces, stresses and dipoles, as batches of rotated graphs.
"""

import io
from dataclasses import dataclass
from pathlib import Path

import ase.io
import numpy as np
import torch
from ase.io.formats import filetype, open_with_compression
from scipy.optimize import least_squares

from .. import graph, rotations

SPLITS = ("train", "val", "test")


@dataclass
class Sample:
    """A structure with its labels; what the reference does not give is NaN.

    energy eV, without composition energies once `Dataset` has removed them; forces (n, 3) eV/A;
    virial (3, 3) eV; dipole (3,) e A, NaN as well where none is trained.
    """

    structure: graph.Structure
    pairs: graph.HalfList
    energy: float
    forces: np.ndarray
    virial: np.ndarray
    dipole: np.ndarray
    kind: str


@dataclass
class Batch:
    """A Graph and its targets.

    Energy (B,), forces (n, 3), virial (B, 3, 3), dipole (B, 3), n_atoms (B,), all float64.
    """

    graph: graph.Graph
    energy: torch.Tensor
    forces: torch.Tensor
    virial: torch.Tensor
    dipole: torch.Tensor
    n_atoms: torch.Tensor


def read(recipe, species, cutoff):
    """{split: list of Sample} of the recipe's files.

    Raises ValueError that names the file and the structure.
    """
    splits, seen = {split: [] for split in SPLITS}, set()
    for name, k, atoms, split in _labelled(recipe):
        if split != "train" and (name, k) in seen:
            # a file that is listed twice counts twice in training, not among what is measured
            continue
        seen.add((name, k))
        splits[split].append(
            _sample(atoms, species, cutoff, f"`{name}`, structure {k}", recipe.loss.dipole > 0)
        )
    for split in ("train", "val"):
        if not splits[split]:
            raise ValueError(
                f"recipe `{recipe.name}`: no structures to"
                f" {'train on' if split == 'train' else 'choose by'} (split {split!r})"
            )
        if recipe.loss.dipole > 0 and not any(
            np.isfinite(sample.dipole).all() for sample in splits[split]
        ):
            raise ValueError(
                f"recipe `{recipe.name}`: `loss.dipole` is {recipe.loss.dipole}, but no structure"
                f" of the split {split!r} has a `dipole`"
            )
    if recipe.data.limit is not None:
        order = np.random.default_rng(recipe.seed).permutation(len(splits["train"]))[
            : recipe.data.limit
        ]
        splits["train"] = [splits["train"][k] for k in sorted(order)]
    return splits


def _labelled(recipe):
    """(file, number, atoms, split) of each structure."""
    for split in SPLITS:
        for name in getattr(recipe.data, split):
            yield from ((name, k, atoms, split) for k, atoms in enumerate(_atoms(recipe, name)))
    for name in recipe.data.files:
        for k, atoms in enumerate(_atoms(recipe, name)):
            split = atoms.info.get(recipe.data.split_key)
            if split not in SPLITS:
                raise ValueError(
                    f"`{name}`, structure {k}: `{recipe.data.split_key}` is {split!r}, expected one"
                    f" of {', '.join(SPLITS)}"
                )
            yield name, k, atoms, split


def _atoms(recipe, name):
    path = recipe.folder / name
    if not path.is_file():
        raise ValueError(f"recipe `{recipe.name}`: there is no data file `{path}`")
    return structures(path)


def structures(path, index=":"):
    """What ASE reads from a file, all of its structures by default.

    A compressed file is read whole first: ASE goes back in it for each structure, and would
    decompress it from its start each time.
    """
    path = Path(path)
    if path.suffix not in (".bz2", ".gz", ".xz"):
        return ase.io.read(path, index)
    with open_with_compression(str(path)) as file:
        content = io.StringIO(file.read())
    return ase.io.read(content, index, format=filetype(path.stem, read=False))


def _sample(atoms, species, cutoff, where, dipole=False):
    try:
        structure = graph.from_atoms(atoms)
        graph.check(structure, species)
    except graph.InvalidStructure as error:
        raise ValueError(f"{where}: {error}") from None
    labels = atoms.calc.results if atoms.calc is not None else {}
    if "energy" not in labels:
        raise ValueError(
            f"{where}: no reference energy (ASE reads it from `energy` in the comment line)"
        )
    stress = labels.get("stress")
    virial = (
        np.full((3, 3), np.nan) if stress is None else _full(np.asarray(stress)) * structure.volume
    )
    forces = np.asarray(labels.get("forces", np.full((len(atoms), 3), np.nan)), dtype=np.float64)
    vector = _dipole(structure, labels, where) if dipole else np.full(3, np.nan)
    return Sample(
        structure,
        graph.half_list(structure, cutoff),
        float(labels["energy"]),
        forces,
        virial,
        vector,
        str(atoms.info.get("config_type", "")),
    )


def _dipole(structure, labels, where):
    """(3,) in e A, NaN without a label; refused where a dipole has no meaning of its own."""
    vector = np.asarray(labels.get("dipole", np.full(3, np.nan)), dtype=np.float64)
    if vector.shape != (3,):
        raise ValueError(f"{where}: `dipole` has shape {vector.shape}: expected (3,), in e A")
    if np.isfinite(vector).any() and (structure.pbc.any() or structure.charge):
        raise ValueError(
            f"{where}: `dipole` of a {'periodic' if structure.pbc.any() else 'charged'} structure: "
            "expected neutral molecules only"
        )
    return vector


def _full(stress):
    return stress.reshape(3, 3) if stress.size == 9 else stress[[[0, 5, 4], [5, 1, 3], [4, 3, 2]]]


def fit_composition(numbers, energies, species, robust=False):
    """{Z: eV} by least squares of energies (B,) in eV on the numbers of atoms of each species.

    numbers: list of (n,) arrays of atomic numbers. robust: energies far from the rest, beyond the
    median of the deviations, count linearly (`soft_l1` of scipy).
    """
    counts, energies = (
        np.array([[np.sum(atoms == z) for z in species] for atoms in numbers], dtype=float),
        np.asarray(energies),
    )
    solution, *_ = np.linalg.lstsq(counts, energies, rcond=None)
    scale = np.median(np.abs(counts @ solution - energies))
    if robust and scale > 0:
        solution = least_squares(
            lambda x: counts @ x - energies, solution, loss="soft_l1", f_scale=scale
        ).x
    return dict(zip(species, solution.tolist(), strict=True))


def remove_composition(samples, composition):
    """Subtract composition energies from the energies of the samples, in place."""
    for sample in samples:
        sample.energy -= sum(composition[int(z)] for z in sample.structure.numbers)


def spreads(samples):
    """Root mean squares over the samples: energy per atom (eV), force components (eV/A), virial per
    atom (eV), and
    dipole components (e A).
    """
    energy = np.array([sample.energy / len(sample.structure) for sample in samples])
    forces = np.concatenate([sample.forces.ravel() for sample in samples])
    virial = np.concatenate([sample.virial.ravel() / len(sample.structure) for sample in samples])
    dipole = np.concatenate([sample.dipole for sample in samples])
    return {
        name: _rms(values)
        for name, values in (
            ("energy", energy),
            ("forces", forces),
            ("stress", virial),
            ("dipole", dipole),
        )
    }


def _rms(values):
    values = values[np.isfinite(values)]
    return float(np.sqrt(np.mean(values**2))) if len(values) and values.any() else 1.0


def shortest_distances(samples):
    """{(Z, Z'): A} shortest distance of each pair of species."""
    shortest = {}
    for sample in samples:
        numbers, distances = sample.structure.numbers, sample.pairs.distances()
        z = np.sort([numbers[sample.pairs.centres], numbers[sample.pairs.neighbours]], axis=0)
        for pair in np.unique(z, axis=1).T:
            least = distances[(z == pair[:, None]).all(0)].min()
            key = tuple(pair.tolist())
            shortest[key] = min(float(least), shortest.get(key, np.inf))
    return shortest


def collate(samples, dtype, device, generator=None):
    """Batch of samples; with a generator each structure is turned by a random element of O(3)."""
    batch = graph.build(
        [s.structure for s in samples], [s.pairs for s in samples], dtype=torch.float64
    )
    forces = torch.from_numpy(np.concatenate([sample.forces for sample in samples]))
    virial = torch.from_numpy(np.stack([sample.virial for sample in samples]))
    dipole = torch.from_numpy(np.stack([sample.dipole for sample in samples]))
    if generator is not None:
        turn = rotations.random_orthogonal(len(samples), generator)
        per_pair, per_atom = turn[batch.structure[batch.pair_centre]], turn[batch.structure]
        batch = batch.with_vectors(torch.einsum("pij,pj->pi", per_pair, batch.pair_vectors))
        forces = torch.einsum("nij,nj->ni", per_atom, forces)
        virial = turn @ virial @ turn.transpose(1, 2)
        dipole = torch.einsum("bij,bj->bi", turn, dipole)
    energy = torch.tensor([sample.energy for sample in samples], dtype=torch.float64)
    n_atoms = torch.tensor([len(sample.structure) for sample in samples], dtype=torch.float64)
    return Batch(
        batch.to(device, dtype), *(t.to(device) for t in (energy, forces, virial, dipole, n_atoms))
    )
