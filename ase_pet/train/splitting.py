"""Splits by fractions, in which structures that are nearly the same stay together."""

from __future__ import annotations

import dataclasses
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence

import ase
import numpy as np

from .recipe import Recipe
from .recipe_files import SPLITS, Row

BLOCKS = 10  # of structures that follow each other, at least
DIGITS = 4  # of positions and cells in A, in which copies agree
PAIRS = 50  # of structures of a file that are compared
FOLLOWS = 0.5  # distance of neighbours in a file over that of any two, below which they follow
LEAST = 4  # structures in a file that may follow each other
LEFT_OUT = "left out"  # in place of a split


def assigned(recipe: Recipe, rows: Iterable[Row]) -> Iterable[Row]:
    """Structures with their splits; a warning says how those without one got it.

    Parameters
    ----------
    recipe:
        Recipe, of which `data` and `seed` are used.
    rows:
        Its structures.

    Raises
    ------
    ValueError
        There are too few groups for the splits.
    """
    data = recipe.data
    # without fractions, structures need not be in memory together
    if not data.val_fraction + data.test_fraction > 0:
        return rows
    listed = list(rows)
    free = [row for row in listed if not row.split]
    # without structures of any split, training structures give some of theirs
    given = {row.split for row in listed}
    fractions = {"val": data.val_fraction, "test": data.test_fraction}
    wanted = {split: part for split, part in fractions.items() if part and split not in given}
    if not free and wanted:
        free = [row for row in listed if row.split == "train"]
    if not free or not wanted:
        return listed
    if given - {""} and any(not row.split for row in listed):
        raise ValueError(
            f"recipe `{recipe.name}`: some structures have a split and others have none"
            f" ({free[0].where}): give all of them one, or none"
        )
    # a file that is listed twice has each structure in one split
    different = list({(row.path, row.index): row for row in free}.values())
    groups, how = grouped(different, data.split_by)
    if len(groups) <= len(wanted):
        raise ValueError(
            f"recipe `{recipe.name}`: `data.split_by` = {data.split_by!r} finds {len(groups)}"
            f" groups of structures ({how}): expected more than {len(wanted)}"
        )
    splits = _drawn(groups, wanted, recipe.seed)
    for index in at_borders(different, splits, data.split_by):
        splits[index] = LEFT_OUT
    chosen = {(row.path, row.index): split for row, split in zip(different, splits, strict=True)}
    result = []
    for row in listed:
        split = chosen.get((row.path, row.index), row.split)
        if split != LEFT_OUT:
            result.append(dataclasses.replace(row, split=split))
    counts = Counter(splits)
    numbers = ", ".join(f"{counts[split]} {split}" for split in SPLITS if counts[split])
    if counts[LEFT_OUT]:
        numbers += (
            f"; {counts[LEFT_OUT]} left out, as they follow or precede a structure of another split"
        )
    warnings.warn(f"split by fractions, {how}: {numbers}", stacklevel=2)
    return result


def grouped(rows: Sequence[Row], by: str) -> tuple[list[list[int]], str]:
    """Indices of structures that stay together, and what they have in common, in words.

    Parameters
    ----------
    rows:
        Structures.
    by:
        Value of `data.split_by`.
    """
    keys: list[object] = list(range(len(rows)))
    how = "each structure by itself"
    if by == "composition":
        keys = [row.atoms.get_chemical_formula(empirical=True) for row in rows]
        how = "all of a composition together"
    if by == "file":
        keys = [row.path for row in rows]
        how = "all of a file together"
    if by in ("blocks", "auto"):
        blocks = _blocks(rows, by == "blocks")
        if blocks is not None:
            keys = list(blocks)
            how = f"structures that follow each other in blocks, {len(set(keys))} in all"
    return _with_copies(rows, keys), how


def _blocks(rows: Sequence[Row], always: bool) -> list[object] | None:
    """Block of each structure; None if no structures follow each other."""
    keys: list[object] = list(range(len(rows)))
    following = _following(rows, always)
    # few long blocks have few neighbours in other splits
    for run in following:
        n_blocks = min(BLOCKS, len(run))
        for number, part in enumerate(np.array_split(run, n_blocks)):
            for index in part.tolist():
                keys[index] = ("block", run[0], number)
    return keys if following else None


def at_borders(rows: Sequence[Row], splits: Sequence[str], by: str) -> list[int]:
    """Indices of training structures that are nearly those of another split, beside them in time.

    Two blocks of a trajectory meet at a border. From there, training structures are left out while
    their distance from the other side is that of structures that follow each other; at most half
    a block.

    Parameters
    ----------
    rows:
        Structures.
    splits:
        Split of each.
    by:
        Value of `data.split_by`.
    """
    if by not in ("blocks", "auto"):
        return []
    left_out = set()
    for run in _following(rows, by == "blocks"):
        frames = [rows[k].atoms for k in run]
        limit = FOLLOWS * _typical_distance(frames)
        most = max(1, len(run) // BLOCKS // 2)
        for direction in (1, -1):
            # from left to right, then from right to left
            order = list(range(len(run)))[::direction]
            held = None  # last structure that is not trained on
            count = 0
            for place in order:
                index = run[place]
                if splits[index] != "train":
                    held = place
                    count = 0
                elif held is not None:
                    count += 1
                    near = _distance(frames[held], frames[place]) < limit
                    if near and count <= most:
                        left_out.add(index)
                    else:
                        held = None
    return sorted(left_out)


def _following(rows: Sequence[Row], always: bool) -> list[list[int]]:
    """Indices of structures that follow each other, for each trajectory."""
    return [run for run in _runs(rows) if always or _follows([rows[k].atoms for k in run])]


def _runs(rows: Sequence[Row]) -> list[list[int]]:
    """Indices of consecutive structures of a file with the same atoms."""
    runs: list[list[int]] = []
    for index, row in enumerate(rows):
        last = rows[runs[-1][-1]] if runs else None
        same = last is not None and last.path == row.path
        if last is not None and same and np.array_equal(last.atoms.numbers, row.atoms.numbers):
            runs[-1].append(index)
        else:
            runs.append([index])
    return runs


def _follows(frames: Sequence[ase.Atoms]) -> bool:
    """Whether neighbours in a list are much closer to each other than any two structures."""
    if len(frames) < LEAST:
        return False
    generator = np.random.default_rng(1)
    # some pairs are enough to tell dynamics from structures in any order
    following = []
    for start in generator.integers(0, len(frames) - 1, PAIRS):
        following.append(_distance(frames[start], frames[start + 1]))
    return bool(np.median(following) < FOLLOWS * _typical_distance(frames))


def _typical_distance(frames: Sequence[ase.Atoms]) -> float:
    """Median distance in A of two structures of a list."""
    generator = np.random.default_rng(0)
    distances = []
    for first, second in generator.integers(0, len(frames), (PAIRS, 2)):
        if first != second:
            distances.append(_distance(frames[first], frames[second]))
    return float(np.median(distances)) if distances else 0.0


def _distance(first: ase.Atoms, second: ase.Atoms) -> float:
    """Root mean square displacement in A of the atoms of two structures with the same atoms."""
    shift = second.positions - first.positions  # (n, 3)
    if first.cell.rank == 3 and first.pbc.any():
        # atoms that left the cell come back on its other side
        scaled = first.cell.scaled_positions(shift)
        scaled -= np.round(scaled) * first.pbc
        shift = scaled @ first.cell.array
    shift = shift - shift.mean(axis=0)
    squares = (shift**2).sum(axis=1)
    difference = first.cell.array - second.cell.array
    strain = np.abs(difference).max()
    return float(np.sqrt(squares.mean()) + strain)


def _with_copies(rows: Sequence[Row], keys: Sequence[object]) -> list[list[int]]:
    """Indices by key, where groups that hold copies of one structure are one group."""
    parent: dict[object, object] = {}

    def root(item: object) -> object:
        while parent.setdefault(item, item) != item:
            item = parent[item]
        return item

    # union of sets: a copy joins the groups of both structures
    for row, key in zip(rows, keys, strict=True):
        parent[root(("copy", _content(row.atoms)))] = root(("key", key))
    groups: dict[object, list[int]] = {}
    for index, key in enumerate(keys):
        groups.setdefault(root(("key", key)), []).append(index)
    return list(groups.values())


def _content(atoms: ase.Atoms) -> bytes:
    """Atoms, positions and cell of a structure, for comparison."""
    # adding 0 makes 0 of -0
    arrays = [np.round(each, DIGITS) + 0.0 for each in (atoms.positions, atoms.cell.array)]
    return b"".join(part.tobytes() for part in (atoms.numbers, atoms.pbc, *arrays))


def _drawn(groups: Sequence[Sequence[int]], wanted: dict[str, float], seed: int) -> list[str]:
    """Split of each structure: groups in random order fill the splits up to their fractions."""
    total = sum(map(len, groups))
    splits = ["train"] * total
    order = np.random.default_rng(seed).permutation(len(groups)).tolist()
    for split, fraction in wanted.items():
        target = max(1.0, fraction * total)
        count = 0
        for position in list(order):
            size = len(groups[position])
            # the first in any case; another one if it brings the split closer to its size
            if count and abs(count + size - target) >= abs(count - target):
                continue
            # the last group is left for the training
            if len(order) == 1:
                break
            order.remove(position)
            count += size
            for index in groups[position]:
                splits[index] = split
            if count >= target:
                break
    return splits
