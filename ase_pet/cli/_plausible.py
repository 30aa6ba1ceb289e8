"""Files that are not what was meant: lengths in bohr, labels in Hartree, unknown elements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from ase import Atoms

BOHR = 0.529177  # A
CLOSE = 0.65  # nearest distances in sums of covalent radii, below which no bond is that short
BONDED = (0.75, 1.3)  # and the range of bonds
MOST_ATOMS = 1000  # of a structure that is examined
NOBLE = (2, 10, 18, 36, 54, 86)  # without bonds
# unit of labels: the calculator's value in eV and A over that of the label
ENERGIES = {"Hartree": 27.2114, "Rydberg": 13.6057, "kcal/mol": 0.0433641, "kJ/mol": 0.0103643}
FACTORS = {
    "energy": ENERGIES,
    "forces": {
        "Hartree/bohr": 51.4221,
        "Rydberg/bohr": 25.7110,
        "eV/bohr": 1.88973,
        **{f"{unit}/A": factor for unit, factor in ENERGIES.items()},
    },
    "stress": {"GPa": 1 / 160.2177, "kbar": 1 / 1602.177},
}
TOLERANCE = 0.05  # of a factor
CORRELATED = 0.98  # below it a slope means nothing
FEWEST = 6  # numbers


def require_supported(calculator: Any, frames: Sequence[Atoms], places: Sequence[str]) -> None:
    """Raise ValueError, with its place, for a structure that a calculator does not support.

    Parameters
    ----------
    calculator:
        PETCalculator.
    frames:
        Structures.
    places:
        What messages call each of them.
    """
    for atoms, place in zip(frames, places, strict=True):
        calculator._inputs.structure(atoms, f"{place}: ")


def note_of_lengths(atoms: Atoms) -> str:
    """What is odd about the distances of a structure, "" if nothing is.

    Parameters
    ----------
    atoms:
        Structure.
    """
    ratio = _nearest(atoms)
    if ratio < CLOSE:
        return (
            f"the nearest distances are {ratio:.2g} times the sums of covalent radii, too short for"
            " bonds: are positions and cell in A?"
        )
    low, high = BONDED
    if ratio > 1.5 and low < BOHR * ratio < high:
        return (
            f"the nearest distances are {ratio:.2g} times the sums of covalent radii, and those of"
            " bonds if positions and cell are in bohr: expected A"
        )
    return ""


def _nearest(atoms: Atoms) -> float:
    """Median over atoms of the shortest distance in sums of covalent radii; 1 if unknown."""
    import numpy as np
    from ase.data import covalent_radii
    from ase.neighborlist import neighbor_list

    bonded = ~np.isin(atoms.numbers, NOBLE)
    if not 1 < len(atoms) <= MOST_ATOMS or not bonded.all():
        return 1.0
    radii = covalent_radii[atoms.numbers]
    reach = BONDED[1] / BOHR
    try:
        first, second, distances = neighbor_list("ijd", atoms, (reach * radii).tolist())
    except Exception:  # cells that are refused later, by name
        return 1.0
    shortest = np.full(len(atoms), np.inf)
    np.minimum.at(shortest, first, distances / (radii[first] + radii[second]))
    return float(np.median(shortest))


def note_of_labels(kind: str, reference: np.ndarray, predicted: np.ndarray) -> str:
    """Unit, or sign, that labels seem to have in place of eV and A, "" if they look right.

    Parameters
    ----------
    kind:
        energy (of atoms), forces or stress.
    reference:
        (n,) labels.
    predicted:
        (n,) values of the calculator.
    """
    import numpy as np

    if kind not in FACTORS or len(reference) < FEWEST:
        return ""
    # energies have any zero
    shift = kind == "energy"
    labels = reference - shift * reference.mean()
    values = predicted - shift * predicted.mean()
    product = (labels * values).sum()
    size = np.sqrt((labels**2).sum() * (values**2).sum())
    if not size > 0 or abs(product) < CORRELATED * size:
        return ""
    slope = product / (labels**2).sum()
    if kind != "energy" and abs(slope + 1) < TOLERANCE:
        return f"labels of {kind} have the opposite sign of the calculator's: is it that of ASE?"
    unit, factor = min(FACTORS[kind].items(), key=lambda item: abs(np.log(abs(slope) / item[1])))
    if abs(abs(slope) / factor - 1) > TOLERANCE:
        return ""
    return (
        f"{kind}: the calculator's values are {slope:.4g} times the labels, as if these were in"
        f" {unit}: expected eV and A"
    )
