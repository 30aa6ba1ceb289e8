"""Structures with old elements, made from those of new data: strained, rattled, and exchanged."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import ase
import numpy as np
from ase.data import covalent_radii

from .data import Sample

STRAIN = 0.03  # standard deviation of the components of the strain
RATTLE = 0.03  # the same of displacements, in units of the sum of two covalent radii
EXCHANGED = 0.5  # share of structures whose elements are replaced where there are others
CLOSEST = 0.65  # distance of two atoms in units of the sum of their covalent radii


def structures(
    samples: Sequence[Sample], species: Collection[int], generator: np.random.Generator
) -> Iterator[ase.Atoms]:
    """Structures without end, made from samples drawn at random.

    Half of them keep their elements; in the others, and where the model does not know an element,
    each element is replaced by one of the model, and lengths are scaled by the covalent radii.
    Structures with atoms that are too close are left out.

    Parameters
    ----------
    samples:
        Samples of the new data.
    species:
        Atomic numbers that the model was trained on.
    generator:
        Generator of all draws.
    """
    known = sorted(species)
    while True:
        index = int(generator.integers(len(samples)))
        structure = samples[index].structure
        numbers = _exchanged(structure.numbers, known, generator)
        radii = covalent_radii[numbers]  # (n,)
        ratios = radii / covalent_radii[structure.numbers]
        atoms = ase.Atoms(numbers, structure.positions, cell=structure.cell, pbc=structure.pbc)
        strain = generator.normal(0, STRAIN, (3, 3))
        symmetric = (strain + strain.T) / 2
        deformation = ratios.mean() * (np.eye(3) + symmetric)
        # without periodic directions as well: bonds become longer and shorter
        atoms.set_cell(atoms.cell.array @ deformation)
        atoms.positions = atoms.positions @ deformation
        lengths = RATTLE * 2 * radii[:, None]  # (n, 1) A
        atoms.positions += lengths * generator.normal(0, 1, (len(atoms), 3))
        given = {"charge": structure.charge, "spin": structure.spin}
        stated = {key: value for key, value in given.items() if value is not None}
        atoms.info.update(stated)
        yield atoms


def _exchanged(
    numbers: np.ndarray, known: Sequence[int], generator: np.random.Generator
) -> np.ndarray:
    """Atomic numbers (n,), half of the times, and where one is not known, of other elements."""
    kinds, places = np.unique(numbers, return_inverse=True)
    is_known = np.isin(kinds, known).all()
    has_others = len(known) > len(kinds) or not is_known
    exchange = has_others and generator.random() < EXCHANGED
    if is_known and not exchange:
        return numbers
    chosen = generator.choice(known, len(kinds))
    return np.asarray(chosen[places])


def is_close(sample: Sample) -> bool:
    """Whether two atoms of a sample are too close for a label that means anything.

    Parameters
    ----------
    sample:
        Sample.
    """
    radii = covalent_radii[sample.structure.numbers]
    contact = radii[sample.pairs.centres] + radii[sample.pairs.neighbours]  # (P,)
    return bool((sample.pairs.distances() < CLOSEST * contact).any())
