"""Setting of a crystal: handedness of its cell, vacuum of a layer, atoms that are equivalent."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols

VACUUM = 20.0  # A between the periodic images of a layer
SPACING = 8.0  # A; atoms further apart than this do not form a crystal


def right_handed(atoms: Atoms) -> Atoms:
    """Copy whose cell vectors form a right-handed system, with the same calculator.

    All three vectors of a left-handed cell are reversed: atoms, Cartesian axes, repeats and meshes
    stay as they are, and fractional coordinates change their sign.

    Parameters
    ----------
    atoms:
        Structure.
    """
    copy: Atoms = atoms.copy()
    copy.calc = atoms.calc
    if np.linalg.det(copy.cell) < 0:
        copy.set_cell(-np.array(copy.cell))
    return copy


def vacuum_axis(atoms: Atoms) -> int | None:
    """Index of the cell vector that is not periodic, None unless there is exactly one.

    Parameters
    ----------
    atoms:
        Structure.
    """
    open_axes = np.flatnonzero(~atoms.pbc)
    return int(open_axes[0]) if len(open_axes) == 1 else None


def normal(atoms: Atoms, axis: int) -> np.ndarray:
    """(3,) unit vector normal to the plane of a layer.

    Parameters
    ----------
    atoms:
        Layer.
    axis:
        Index of the vector that is not periodic.
    """
    plane = np.delete(np.array(atoms.cell), axis, axis=0)
    vector = np.cross(*plane)
    # the order of the two vectors that makes the cell right-handed
    vector = -vector if axis == 1 else vector
    length = np.linalg.norm(vector)
    if not length > 1e-8:
        raise ValueError("the two periodic cell vectors are parallel, or zero")
    return np.asarray(vector / length)


def with_vacuum(atoms: Atoms) -> Atoms:
    """Copy of a layer whose third vector is normal to its plane and leaves 20 A of vacuum.

    The third vector means nothing to a calculator, as it is not periodic; but symmetry and
    supercells need one. Periodic crystals are copied as they are.

    Parameters
    ----------
    atoms:
        Structure.
    """
    copy: Atoms = atoms.copy()
    copy.calc = atoms.calc
    axis = vacuum_axis(atoms)
    if axis is None:
        return copy
    direction = normal(atoms, axis)
    heights = atoms.positions @ direction
    cell = np.array(atoms.cell)
    cell[axis] = (np.ptp(heights) + VACUUM) * direction
    copy.set_cell(cell)
    return copy


def plane_mask(atoms: Atoms, axis: int) -> list[int]:
    """(6,) Voigt mask of the strains in the plane of a layer, xx yy zz yz xz xy.

    Parameters
    ----------
    atoms:
        Layer.
    axis:
        Index of the vector that is not periodic.

    Raises
    ------
    ValueError
        The plane is not spanned by two Cartesian axes.
    """
    direction = np.abs(normal(atoms, axis))
    cartesian = int(np.argmax(direction))
    if direction[cartesian] < 1 - 1e-8:
        raise ValueError(
            "the cell of a layer is relaxed in its plane, which has to be that of two Cartesian"
            " axes: rotate the structure (`atoms.rotate(..., rotate_cell=True)`), or keep the cell"
        )
    components = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
    return [int(cartesian not in component) for component in components]


def kinds(atoms: Atoms, masses: bool = True, moments: bool = True) -> list[int]:
    """Atomic number of each atom, or of a stand-in, so that only equivalent atoms share one.

    Atoms of one element with different masses or magnetic moments are not equivalent. Libraries of
    crystal symmetry compare elements only, so that all but the first kind get the number of an
    element that the crystal does not contain.

    Parameters
    ----------
    atoms:
        Structure.
    masses:
        Distinguish masses, to 1e-4 u.
    moments:
        Distinguish initial magnetic moments, to 1e-4 Bohr magnetons.
    """
    digits = 4
    unused = [z for z in range(len(chemical_symbols) - 1, 0, -1) if z not in atoms.numbers]
    values = atoms.get_initial_magnetic_moments().reshape(len(atoms), -1)
    numbers: dict[tuple[object, ...], int] = {}
    found = []
    for number, mass, moment in zip(atoms.numbers, atoms.get_masses(), values, strict=True):
        kind: tuple[object, ...] = (int(number),)
        if masses:
            kind += (round(float(mass), digits),)
        if moments:
            kind += tuple(round(float(value), digits) + 0.0 for value in moment)
        if kind not in numbers:
            taken = int(number) in numbers.values()
            if taken and not unused:
                raise ValueError("more kinds of atoms than there are elements: use no symmetry")
            numbers[kind] = unused.pop() if taken else int(number)
        found.append(numbers[kind])
    return found


def restore_cell(atoms: Atoms, initial: Atoms) -> None:
    """Undo `right_handed` and `with_vacuum` in the cell of a structure, whose atoms stay.

    Parameters
    ----------
    atoms:
        Structure in the setting of these functions; it is changed.
    initial:
        Structure that was given to them.
    """
    cell = np.array(atoms.cell)
    axis = vacuum_axis(initial)
    if axis is not None:
        cell[axis] = initial.cell[axis]
    elif np.linalg.det(initial.cell) < 0:
        cell = -cell
    atoms.set_cell(cell, apply_constraint=False)


def require_cell(atoms: Atoms) -> None:
    """Raise ValueError if a periodic direction has no cell vector, or the cell no volume.

    Parameters
    ----------
    atoms:
        Structure.
    """
    if not len(atoms):
        raise ValueError("the structure has no atoms")
    if not (np.isfinite(atoms.cell.array).all() and np.isfinite(atoms.positions).all()):
        raise ValueError("the structure has a position or a cell vector that is NaN or infinite")
    flat = atoms.pbc.all() and not abs(np.linalg.det(atoms.cell)) > 1e-6
    if flat or not atoms.cell.lengths()[atoms.pbc].min(initial=1.0) > 1e-6:
        raise ValueError(
            "the structure is periodic, but its cell has no volume: give it three cell vectors, or"
            " set `pbc` to False"
        )


def symbols_of_kinds(atoms: Atoms) -> tuple[list[str], dict[str, str]]:
    """Symbol of each atom with stand-ins for isotopes, and {stand-in: what it is}.

    Parameters
    ----------
    atoms:
        Structure.
    """
    symbols = [chemical_symbols[number] for number in kinds(atoms, moments=False)]
    stand_ins = {}
    for index, symbol in enumerate(symbols):
        if atomic_numbers[symbol] != atoms.numbers[index]:
            stand_ins[symbol] = f"{atoms.symbols[index]}, mass {atoms.get_masses()[index]:g}"
    return symbols, stand_ins


def require_crystal(atoms: Atoms, task: str, layers: bool = False) -> None:
    """Raise ValueError unless the atoms form a crystal (or a layer) that fills its cell.

    Parameters
    ----------
    atoms:
        Structure.
    task:
        What is computed, such as "phonons".
    layers:
        Whether two periodic directions are enough.
    """
    require_cell(atoms)
    if not atoms.pbc.all() and not (layers and vacuum_axis(atoms) is not None):
        also = ", or two for a layer" if layers else ""
        raise ValueError(
            f"`pbc` is {atoms.pbc.tolist()}: {task} need three periodic directions{also} (give a"
            " molecule or a chain a cell with vacuum, and set all three)"
        )
    nearest = nearest_distance(atoms)
    if not nearest < SPACING:
        raise ValueError(
            f"no two atoms are closer than {SPACING:g} A, periodic images included: these are"
            f" isolated atoms, and {task} are those of a crystal"
        )


def nearest_distance(atoms: Atoms) -> float:
    """Shortest distance in A between two atoms or periodic images, inf if it is above 8 A.

    Parameters
    ----------
    atoms:
        Structure.
    """
    from ase.neighborlist import neighbor_list

    # a shorter radius is enough for almost all structures, and quick for large ones
    for radius in (SPACING / 2, SPACING):
        distances = neighbor_list("d", with_vacuum(atoms), radius)
        if len(distances):
            return float(distances.min())
    return float("inf")
