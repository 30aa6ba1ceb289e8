"""Training data: structures with reference energies, forces, stresses and dipoles, and batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import ase
import numpy as np
import torch
from scipy.optimize import least_squares

from .. import graph, rotations
from . import constrained, label_checks, labels, recipe_files, splitting
from .label_checks import check_splits as check_splits
from .recipe import Keys, Recipe, factors_of
from .unit_conversion import Factors, in_angstrom

SPLITS = recipe_files.SPLITS


@dataclass
class Sample:
    """A structure of n atoms with its labels; labels that the reference lacks are NaN."""

    structure: graph.Structure
    pairs: graph.HalfList
    energy: float  # eV, without composition energies after `remove_composition`
    forces: np.ndarray  # (n, 3) eV/A
    virial: np.ndarray  # (3, 3) eV, stress times volume
    dipole: np.ndarray  # (3,) e A, NaN as well where the recipe trains no dipole
    where: str = ""  # what messages call the structure, its file and number
    weight: float = 1.0  # in the loss


@dataclass
class Batch:
    """A graph of B structures, n atoms in all, and its labels in float64."""

    graph: graph.Graph
    energy: torch.Tensor  # (B,) eV
    forces: torch.Tensor  # (n, 3) eV/A
    virial: torch.Tensor  # (B, 3, 3) eV
    dipole: torch.Tensor  # (B, 3) e A
    n_atoms: torch.Tensor  # (B,)
    weight: torch.Tensor | None = None  # (B,) in the loss; None: all 1


def read(recipe: Recipe, species: Sequence[int], cutoff: float) -> dict[str, list[Sample]]:
    """Samples of the recipe's files, {split: list of Sample}.

    Parameters
    ----------
    recipe:
        Recipe, of which `data`, `loss.dipole`, `seed` and `folder` are used.
    species:
        Atomic numbers that the model supports.
    cutoff:
        Cutoff radius of the model in A.

    Raises
    ------
    ValueError
        A structure is bad or lacks its energy, or a split is empty; names file and structure.
    """
    splits: dict[str, list[Sample]] = {split: [] for split in SPLITS}
    for split, each in labelled_samples(recipe, species, cutoff):
        splits[split].append(each)
    check_splits(recipe, splits)
    if recipe.data.limit is not None:
        available = splits["train"]
        splits["train"] = [available[index] for index in drawn(recipe, len(available))]
    return splits


def labelled_samples(
    recipe: Recipe, species: Sequence[int], cutoff: float
) -> Iterator[tuple[str, Sample]]:
    """(split, sample) of each structure of the recipe's files, one after the other.

    Notes on the structures are given as warnings at the end.

    Parameters
    ----------
    recipe:
        Recipe, of which `data`, `keys`, `units`, `loss.dipole` and `folder` are used.
    species:
        Atomic numbers that the model supports.
    cutoff:
        Cutoff radius of the model in A.

    Raises
    ------
    ValueError
        A structure is bad or lacks its energy; names file and structure.
    """
    seen = set()
    found: set[str] = set()
    notes = labels.Notes()
    dipole = recipe.loss.dipole > 0
    for row in splitting.assigned(recipe, recipe_files.rows(recipe)):
        # a file that is listed twice counts twice in training, once in validation and test
        if row.split != "train" and (row.path, row.index, row.split) in seen:
            continue
        if row.split != "train":
            seen.add((row.path, row.index, row.split))
        found |= labels.held(row.atoms).keys()
        springs = constrained.adds_energy(row.atoms)
        if springs:
            text = f"energy and forces may have a part of {', '.join(springs)}"
            notes.add(f"left out, as {text}", row.where)
            continue
        factors = factors_of(recipe.units, row.file)
        of_atoms = sample(
            row.atoms, species, cutoff, row.where, dipole, recipe.keys, notes, factors
        )
        of_atoms.weight = label_checks.weight(row, recipe.data.weight_key, notes)
        yield row.split, of_atoms
    labels.check_found(recipe.keys, found, f"recipe `{recipe.name}`")
    notes.warn()


def drawn(recipe: Recipe, available: int) -> list[int]:
    """Indices of the training structures that `data.limit` of a recipe leaves.

    Parameters
    ----------
    recipe:
        Recipe, of which `data.limit` and `seed` are used.
    available:
        Number of training structures.
    """
    generator = np.random.default_rng(recipe.seed)
    order = generator.permutation(available)
    chosen: list[int] = sorted(order[: recipe.data.limit].tolist())
    return chosen


def sample(
    atoms: ase.Atoms,
    species: Sequence[int],
    cutoff: float,
    where: str,
    dipole: bool = False,
    keys: Keys | None = None,
    notes: labels.Notes | None = None,
    factors: Factors | None = None,
    energy: bool = True,
) -> Sample:
    """Sample of a structure and its labels.

    Parameters
    ----------
    atoms:
        Structure of n atoms.
    species:
        Atomic numbers that the model supports.
    cutoff:
        Cutoff radius of the model in A.
    where:
        What error messages call the structure.
    dipole:
        Whether the dipole is a label, too.
    keys:
        Names of the labels, None for those of ASE.
    notes:
        Notes, to which those on this structure are added; None: they are warnings.
    factors:
        Units of the file; None for those of ASE.
    energy:
        Whether an energy is required.

    Raises
    ------
    ValueError
        The structure is bad or has no energy, or its dipole is not defined.
    """
    sizes = factors or Factors()
    atoms = in_angstrom(atoms, sizes.length)
    try:
        structure = graph.from_atoms(atoms)
        graph.check(structure, species)
        pairs = graph.half_list(structure, cutoff)
        graph.check_distances(structure, pairs)
    except graph.InvalidStructure as error:
        raise ValueError(f"{where}: {error}") from None
    collected = notes or labels.Notes()
    known = labels.of_structure(atoms, keys or Keys(), where, collected, dipole, sizes)
    if notes is None:
        collected.warn()
    if energy and "energy" not in known:
        raise ValueError(
            f"{where}: no reference energy: expected `energy` in the comment line of extended XYZ,"
            " or another name in [keys] of the recipe"
        )

    # NaN marks labels that are unknown, which the loss and the errors leave out
    unknown = {"energy": (), "forces": (len(atoms), 3), "stress": (3, 3), "dipole": (3,)}
    values = {name: np.full(shape, np.nan) for name, shape in unknown.items()}
    values.update(known)
    label_checks.check_dipole(structure, values["dipole"], where)
    return Sample(
        structure=structure,
        pairs=pairs,
        energy=float(values["energy"]),
        forces=values["forces"],
        virial=values["stress"] * structure.volume,
        dipole=values["dipole"],
        where=where,
    )


def count_atoms(numbers: Sequence[np.ndarray], species: Sequence[int]) -> np.ndarray:
    """Number of atoms of each species in each structure, (B, number of species).

    Parameters
    ----------
    numbers:
        Atomic numbers of each of B structures, (n,).
    species:
        Atomic numbers Z.
    """
    columns = list(species)
    size = max(columns) + 1
    return np.array([np.bincount(atoms, minlength=size)[columns] for atoms in numbers])


def fit_composition(
    numbers: Sequence[np.ndarray],
    energies: np.ndarray | Sequence[float],
    species: Sequence[int],
    robust: bool = False,
) -> dict[int, float]:
    """Energy of each species, {Z: eV}, by least squares.

    The energy of structure b is sum over Z of N_bZ E_Z, with N_bZ its number of atoms of Z.

    Parameters
    ----------
    numbers:
        Atomic numbers of each of B structures, (n,).
    energies:
        Energies of the structures (B,) in eV.
    species:
        Atomic numbers Z.
    robust:
        Whether deviations beyond their median count linearly (`soft_l1` of scipy).
    """
    return fit_counts(count_atoms(numbers, species), np.asarray(energies), species, robust)


def fit_counts(
    counts: np.ndarray, energies: np.ndarray, species: Sequence[int], robust: bool = False
) -> dict[int, float]:
    """The same for numbers of atoms.

    Parameters
    ----------
    counts:
        Number of atoms of each species in each structure, (B, number of species).
    energies:
        Energies of the structures (B,) in eV.
    species:
        Atomic numbers Z.
    robust:
        Whether deviations beyond their median count linearly (`soft_l1` of scipy).
    """
    counts = counts.astype(float)
    reference = energies

    def deviations(solution: np.ndarray) -> np.ndarray:
        deviation: np.ndarray = counts @ solution - reference  # (B,)
        return deviation

    solution, _, rank, _ = np.linalg.lstsq(counts, reference, rcond=None)
    scale = np.median(np.abs(deviations(solution)))
    # a scale of 0: least squares fits at least half of the energies exactly
    if not robust or not scale > 0:
        return dict(zip(species, solution.tolist(), strict=True))
    if rank == len(species):
        fit = least_squares(deviations, solution, loss="soft_l1", f_scale=scale)
        solution = fit.x
    else:
        # Elements in a fixed ratio: the smallest solution, in the space of the rows of the counts,
        # as steps out of it would be of any size.
        _, _, rows = np.linalg.svd(counts, full_matrices=False)
        basis = rows[:rank].T  # (number of species, rank)
        fit = least_squares(
            lambda inside: deviations(basis @ inside),
            basis.T @ solution,
            loss="soft_l1",
            f_scale=scale,
        )
        solution = basis @ fit.x
    return dict(zip(species, solution.tolist(), strict=True))


def remove_composition(samples: Sequence[Sample], composition: dict[int, float]) -> None:
    """Subtract composition energies from the energies of samples, in place.

    Parameters
    ----------
    samples:
        Samples, changed in place.
    composition:
        Energy of each species, {Z: eV}.
    """
    for each in samples:
        each.energy -= sum(composition[int(z)] for z in each.structure.numbers)


def collate(
    samples: Sequence[Sample],
    dtype: torch.dtype,
    device: torch.device | str,
    generator: torch.Generator | None = None,
    rotation: torch.Tensor | None = None,
) -> Batch:
    """Batch of samples.

    Parameters
    ----------
    samples:
        Samples of B structures.
    dtype:
        Precision of the graph; labels are float64.
    device:
        Device of graph and labels.
    generator:
        Where given, each structure and its labels are rotated by a random element of O(3).
    rotation:
        Where given, the elements of O(3) by which they are rotated instead, (B, 3, 3).
    """
    structures = [each.structure for each in samples]
    pairs = [each.pairs for each in samples]
    sizes = [len(structure) for structure in structures]
    batch = graph.build(structures, pairs, dtype=torch.float64)
    energy = torch.tensor([each.energy for each in samples], dtype=torch.float64)
    forces = torch.from_numpy(np.concatenate([each.forces for each in samples]))
    virial = torch.from_numpy(np.stack([each.virial for each in samples]))
    dipole = torch.from_numpy(np.stack([each.dipole for each in samples]))
    n_atoms = torch.tensor(sizes, dtype=torch.float64)
    if generator is not None:
        rotation = rotations.random_orthogonal(len(samples), generator)  # (B, 3, 3)
    if rotation is not None:
        of_pair = rotation[batch.structure[batch.pair_centre]]  # (P, 3, 3)
        of_atom = rotation[batch.structure]  # (n, 3, 3)
        vectors = torch.einsum("pij,pj->pi", of_pair, batch.pair_vectors)
        batch = batch.with_vectors(vectors)
        forces = torch.einsum("nij,nj->ni", of_atom, forces)
        virial = rotation @ virial @ rotation.transpose(1, 2)
        dipole = torch.einsum("bij,bj->bi", rotation, dipole)
    return Batch(
        batch.to(device, dtype),
        energy.to(device),
        forces.to(device),
        virial.to(device),
        dipole.to(device),
        n_atoms.to(device),
        _weights(samples, device),
    )


def _weights(samples: Sequence[Sample], device: torch.device | str) -> torch.Tensor | None:
    """(B,) weights of samples in the loss, None where all are 1."""
    values = [each.weight for each in samples]
    if all(value == 1.0 for value in values):
        return None
    return torch.tensor(values, dtype=torch.float64, device=device)
