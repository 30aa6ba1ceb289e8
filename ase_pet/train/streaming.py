"""Samples and their neighbour lists on disk, mapped into memory: data sets larger than memory.

A store is a folder of flat files, one for each quantity, which hold the values of one structure
after the other. A sample is made when it is used; pages that were read are given back to the
system. The numbers are those of samples in memory, to the last bit.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import mmap
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, overload

import numpy as np

from .. import graph
from .data import SPLITS, Sample

VERSION = 1
INDEX = "index.json"
KEPT = 2**28  # bytes of mapped pages, after which all are given back
FAULT = 2**16  # bytes that Linux maps at once where a page is read
NOT_GIVEN = np.iinfo(np.int32).min  # charge or spin
# quantity -> (type of numbers, shape of one entry, what there is one entry for)
QUANTITIES: dict[str, tuple[str, tuple[int, ...], str]] = {
    "split": ("<u1", (), "structure"),
    "n_atoms": ("<i4", (), "structure"),
    "n_pairs": ("<i4", (), "structure"),
    "n_letters": ("<i4", (), "structure"),
    "energy": ("<f8", (), "structure"),
    "weight": ("<f8", (), "structure"),
    "virial": ("<f8", (3, 3), "structure"),
    "dipole": ("<f8", (3,), "structure"),
    "cell": ("<f8", (3, 3), "structure"),
    "pbc": ("<u1", (3,), "structure"),
    "charge": ("<i4", (), "structure"),
    "spin": ("<i4", (), "structure"),
    "numbers": ("<u1", (), "atom"),
    "positions": ("<f8", (3,), "atom"),
    "forces": ("<f8", (3,), "atom"),
    "centres": ("<i4", (), "pair"),
    "neighbours": ("<i4", (), "pair"),
    "vectors": ("<f8", (3,), "pair"),
    "where": ("<u1", (), "letter"),
}
COUNTED = {"atom": "n_atoms", "pair": "n_pairs", "letter": "n_letters"}


class Store:
    """The quantities of all structures of a folder.

    Parameters
    ----------
    folder:
        Folder that `write` has filled.
    """

    def __init__(self, folder: Path) -> None:
        self.composition: dict[int, float] = {}  # eV, subtracted from the energies
        self.arrays: dict[str, np.ndarray] = {}
        self._maps: list[mmap.mmap] = []
        self._read = 0  # bytes, since pages were given back
        for name, (kind, shape, _) in QUANTITIES.items():
            self.arrays[name] = self._mapped(folder / name, kind).reshape(-1, *shape)
        # index of the first atom, pair and letter of each structure, and of those after the last
        self.starts = {
            what: np.concatenate([[0], np.cumsum(self.arrays[count], dtype=np.int64)])
            for what, count in COUNTED.items()
        }

    def _mapped(self, path: Path, kind: str) -> np.ndarray:
        """Numbers of a file, which is read where they are used."""
        if path.stat().st_size == 0:
            return np.empty(0, kind)
        with path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._maps.append(mapped)
        return np.frombuffer(mapped, kind)

    def sample(self, index: int) -> Sample:
        """Sample of a structure, its energy without composition energies.

        Parameters
        ----------
        index:
            Number of the structure.
        """
        values = {name: self._entry(name, index) for name in QUANTITIES}
        numbers = values["numbers"].astype(np.int64)
        structure = graph.Structure(
            numbers=numbers,
            positions=values["positions"],
            cell=values["cell"],
            pbc=values["pbc"].astype(bool),
            charge=_given(values["charge"]),
            spin=_given(values["spin"]),
        )
        pairs = graph.HalfList(
            values["centres"].astype(np.int64),
            values["neighbours"].astype(np.int64),
            values["vectors"],
        )
        energy = float(values["energy"])
        if self.composition:
            energy -= sum(self.composition[int(z)] for z in numbers)
        self._forget(sum(value.nbytes for value in values.values()))
        return Sample(
            structure=structure,
            pairs=pairs,
            energy=energy,
            forces=values["forces"],
            virial=values["virial"],
            dipole=values["dipole"],
            where=values["where"].tobytes().decode(),
            weight=float(values["weight"]),
        )

    def _entry(self, name: str, index: int) -> np.ndarray:
        """Copy of the values of a structure, which keeps no page of the file."""
        what = QUANTITIES[name][2]
        if what == "structure":
            return self.arrays[name][index].copy()  # type: ignore[no-any-return]
        start = self.starts[what][index]
        stop = self.starts[what][index + 1]
        return self.arrays[name][start:stop].copy()

    def _forget(self, read: int) -> None:
        """Give pages back to the system now and then; they are read again where they are needed."""
        self._read += read + FAULT * len(QUANTITIES)
        if self._read < KEPT:
            return
        self._read = 0
        for mapped in self._maps:
            mapped.madvise(mmap.MADV_DONTNEED)


@dataclass(frozen=True)
class StoredSamples(Sequence[Sample]):
    """Some structures of a store as samples, which are made where they are used.

    Attributes
    ----------
    store:
        The store.
    indices:
        Number of each structure in the store, (n,).
    """

    store: Store
    indices: np.ndarray

    def __len__(self) -> int:
        return len(self.indices)

    @overload
    def __getitem__(self, index: int) -> Sample: ...

    @overload
    def __getitem__(self, index: slice) -> StoredSamples: ...

    def __getitem__(self, index: int | slice) -> Sample | StoredSamples:
        if isinstance(index, slice):
            return StoredSamples(self.store, self.indices[index])
        return self.store.sample(int(self.indices[index]))

    @property
    def sizes(self) -> np.ndarray:
        """Number of atoms of each structure, (n,)."""
        return np.asarray(self.store.arrays["n_atoms"][self.indices])

    def separated(self) -> tuple[StoredSamples, StoredSamples]:
        """Structures of one atom without neighbours, and the others."""
        arrays = self.store.arrays
        alone = (arrays["n_atoms"] == 1) & (arrays["n_pairs"] == 0)
        mask = alone[self.indices]
        chosen = (self.indices[mask], self.indices[~mask])
        return StoredSamples(self.store, chosen[0]), StoredSamples(self.store, chosen[1])


def sizes(samples: Sequence[Sample]) -> Sequence[int] | np.ndarray:
    """Number of atoms of each sample.

    Parameters
    ----------
    samples:
        Samples.
    """
    if isinstance(samples, StoredSamples):
        return samples.sizes
    return [len(each.structure) for each in samples]


@dataclass
class _Writer:
    """Files of a store that is being written."""

    folder: Path
    files: dict[str, BinaryIO] = field(default_factory=dict)

    def add(self, split: str, sample: Sample) -> None:
        """Append a structure to all files."""
        structure = sample.structure
        pairs = sample.pairs
        letters = sample.where.encode()
        values: dict[str, Any] = {
            "split": SPLITS.index(split),
            "n_atoms": len(structure),
            "n_pairs": len(pairs.centres),
            "n_letters": len(letters),
            "energy": sample.energy,
            "weight": sample.weight,
            "virial": sample.virial,
            "dipole": sample.dipole,
            "cell": structure.cell,
            "pbc": structure.pbc,
            "charge": NOT_GIVEN if structure.charge is None else structure.charge,
            "spin": NOT_GIVEN if structure.spin is None else structure.spin,
            "numbers": structure.numbers,
            "positions": structure.positions,
            "forces": sample.forces,
            "centres": pairs.centres,
            "neighbours": pairs.neighbours,
            "vectors": pairs.vectors,
            "where": np.frombuffer(letters, np.uint8),
        }
        for name, (kind, _, _) in QUANTITIES.items():
            self.files[name].write(np.asarray(values[name], kind).tobytes())


def samples(
    folder: Path, key: Mapping[str, Any], read: Callable[[], Iterable[tuple[str, Sample]]]
) -> dict[str, StoredSamples]:
    """Samples of each split, from a store in a folder, which is written if it is not there.

    Parameters
    ----------
    folder:
        Folder of stores, which processes and trainings may share.
    key:
        All that decides about the content, such as hashes of the files; can be written as JSON.
    read:
        Returns all structures as (split, sample); called if there is no such store.
    """
    text = json.dumps({"version": VERSION, **key}, sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    path = folder / digest
    with _alone(folder, digest):
        if not (path / INDEX).is_file():
            _write(path, text, read())
    store = Store(path)
    split = store.arrays["split"]
    return {
        name: StoredSamples(store, np.flatnonzero(split == number))
        for number, name in enumerate(SPLITS)
    }


def _write(path: Path, key: str, read: Iterable[tuple[str, Sample]]) -> None:
    """Write a store; one that is complete has its index."""
    temporary = path.with_name(path.name + ".part")
    shutil.rmtree(temporary, ignore_errors=True)  # of a process that was killed
    shutil.rmtree(path, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        with contextlib.ExitStack() as stack:
            writer = _Writer(temporary)
            for name in QUANTITIES:
                writer.files[name] = stack.enter_context((temporary / name).open("wb"))
            for split, sample in read:
                writer.add(split, sample)
        (temporary / INDEX).write_text(key + "\n", encoding="utf-8")
        os.replace(temporary, path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


@contextlib.contextmanager
def _alone(folder: Path, name: str) -> Iterator[None]:
    """Wait until no other process writes the same store."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _given(value: np.ndarray) -> int | None:
    """Charge or spin, None if it was not given."""
    number = int(value)
    return None if number == NOT_GIVEN else number
