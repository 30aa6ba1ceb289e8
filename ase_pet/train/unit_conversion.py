"""Units of the labels in a file, as factors to those of ASE (eV, A, e)."""

from __future__ import annotations

import re
from dataclasses import dataclass

import ase
from ase import units

ENERGIES = {
    "eV": 1.0,
    "meV": 1e-3,
    "Hartree": units.Hartree,
    "Rydberg": units.Rydberg,
    "kcal/mol": units.kcal / units.mol,
    "kJ/mol": units.kJ / units.mol,
}
LENGTHS = {"A": 1.0, "Bohr": units.Bohr, "nm": 10.0, "pm": 0.01}
PRESSURES = {"GPa": units.GPa, "MPa": 1e-3 * units.GPa, "kbar": 0.1 * units.GPa, "bar": units.bar}
DIPOLES = {"e A": 1.0, "e Bohr": units.Bohr, "Debye": units.Debye}
# other spellings, in lower case
ALIASES = {
    "ha": "Hartree",
    "eh": "Hartree",
    "ry": "Rydberg",
    "angstrom": "A",
    "å": "A",
    "a0": "Bohr",
    "kb": "kbar",
    "d": "Debye",
    "e*bohr": "e Bohr",
    "e*a": "e A",
}


@dataclass(frozen=True)
class Factors:
    """Numbers by which labels and positions of a file are multiplied, and the words for them."""

    energy: float = 1.0
    forces: float = 1.0
    stress: float = 1.0
    virial: float = 1.0
    dipole: float = 1.0
    length: float = 1.0
    # of those that are not the units of ASE, {key: unit as the user wrote it}
    words: tuple[tuple[str, str], ...] = ()

    def word(self, key: str, usual: str) -> str:
        """Unit of a label, for messages.

        Parameters
        ----------
        key:
            Key of [keys], such as "energy".
        usual:
            Unit of ASE.
        """
        return dict(self.words).get(key, usual)


def factors(
    energy: str = "eV",
    length: str = "A",
    forces: str | None = None,
    stress: str | None = None,
    virial: str | None = None,
    dipole: str = "e A",
) -> Factors:
    """Factors for the units of a file; a unit that begins with "-" has the opposite sign.

    Parameters
    ----------
    energy:
        Unit of energies.
    length:
        Unit of positions and cell.
    forces:
        Unit of forces; None: energy/length. "-eV/A" says that they are gradients.
    stress:
        Unit of stresses; None: energy/length^3. "-GPa" says that they are positive under
        compression.
    virial:
        Unit of virials; None: that of energies.
    dipole:
        Unit of dipoles.

    Raises
    ------
    ValueError
        A unit is not known; says which are.
    """
    units_of = {
        "energy": energy,
        "length": length,
        "forces": forces or f"{energy}/{length}",
        "stress": stress or f"{energy}/{length}^3",
        "virial": virial or energy,
        "dipole": dipole,
    }
    # forces and stresses follow from energy and length where they are not given
    values = {key: _factor(key, unit) for key, unit in units_of.items()}
    words = [(key, unit) for key, unit in units_of.items() if values[key] != 1.0]
    return Factors(
        energy=values["energy"],
        forces=values["forces"],
        stress=values["stress"],
        virial=values["virial"],
        dipole=values["dipole"],
        length=values["length"],
        words=tuple(words),
    )


def in_angstrom(atoms: ase.Atoms, length: float) -> ase.Atoms:
    """The structure, or a copy whose positions and cell are in A.

    Parameters
    ----------
    atoms:
        Structure as its file has it.
    length:
        Unit of its lengths in A.
    """
    if length == 1.0:
        return atoms
    scaled: ase.Atoms = atoms.copy()
    scaled.set_cell(atoms.cell * length)
    scaled.positions *= length
    scaled.calc = atoms.calc
    return scaled


def _factor(key: str, unit: str) -> float:
    """Factor of a unit of the quantity `key`."""
    sign = -1.0 if unit.startswith("-") else 1.0
    text = unit.removeprefix("-").strip()
    signed = key in ("forces", "stress", "virial")
    value = None if sign < 0 and not signed else _size(key, text)
    if value is None:
        minus = ", with a minus before it for the opposite sign" if signed else ""
        raise ValueError(f"`units.{key}` is {unit!r}: expected {_choices(key)}{minus}")
    return sign * value


def _size(key: str, text: str) -> float | None:
    """Size of a unit in that of ASE, None if it is not known."""
    if key in ("energy", "virial"):
        return _look_up(ENERGIES, text)
    if key == "length":
        return _look_up(LENGTHS, text)
    if key == "dipole":
        return _look_up(DIPOLES, text)
    pressure = _look_up(PRESSURES, text) if key == "stress" else None
    if pressure is not None:
        return pressure
    # energy/length, where "kcal/mol" holds a slash as well
    energy, _, length = text.rpartition("/")
    power = 3 if key == "stress" else 1
    length = re.sub(r"\s*(\^|\*\*)?3$", "", length) if power > 1 else length
    numerator = _look_up(ENERGIES, energy)
    denominator = _look_up(LENGTHS, length)
    if numerator is None or denominator is None:
        return None
    return numerator / denominator**power


def _look_up(table: dict[str, float], text: str) -> float | None:
    """Value of a unit in a table, under its name in any case or another spelling."""
    name = ALIASES.get(text.strip().lower(), text.strip())
    # meV and MeV, mPa and MPa differ
    if name in table:
        return table[name]
    found = [key for key in table if key.lower() == name.lower() and key not in ("meV", "MPa")]
    return table[found[0]] if found else None


def _choices(key: str) -> str:
    """Valid units of a quantity, in words."""
    energies = ", ".join(ENERGIES)
    match key:
        case "length":
            return f"one of {', '.join(LENGTHS)}"
        case "dipole":
            return f"one of {', '.join(DIPOLES)}"
        case "forces":
            return f"an energy ({energies}) over a length ({', '.join(LENGTHS)}), such as eV/A"
        case "stress":
            return f"one of {', '.join(PRESSURES)}, or an energy over a cubed length, as eV/A^3"
        case _:
            return f"one of {energies}"
