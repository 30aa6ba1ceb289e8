"""Free energies of a gas of molecules, or of an adsorbate, from its vibrations, by ASE."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from ase import Atoms
from ase.thermochemistry import HarmonicThermo, IdealGasThermo
from ase.units import _e, _Nav

from ..display import Displayed
from .modes import IMAGINARY
from .run import Vibrations

BAR = 1e5  # Pa
HIGHEST_PRESSURE = 1e9  # bar
EV_PER_K = _e * _Nav  # in J/mol/K


class NoThermochemistry(ValueError):
    """The structure is no minimum, or no saddle point, of the energy."""


@dataclass(frozen=True, repr=False)
class Thermochemistry(
    Displayed,
    shows={"model": "{}", "temperatures": "{} K", "free_energy": "{} eV"},
):
    """Thermochemistry of a structure; energies include the potential energy.

    Attributes
    ----------
    model:
        ideal gas (rigid rotor, harmonic oscillators), or harmonic.
    temperatures:
        (T,) temperatures in K.
    internal_energy:
        (T,) internal energy U in eV.
    enthalpy:
        (T,) enthalpy H in eV; of the harmonic model it is U.
    entropy:
        (T,) entropy S in eV/K.
    free_energy:
        (T,) Gibbs energy of the ideal gas, Helmholtz energy of the harmonic model, in eV.
    facts:
        What it was computed for: pressure (bar), symmetry number, multiplicity.
    """

    model: str
    temperatures: np.ndarray
    internal_energy: np.ndarray
    enthalpy: np.ndarray
    entropy: np.ndarray
    free_energy: np.ndarray
    facts: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """The numbers, for JSON."""
        return {
            "model": self.model,
            **self.facts,
            "temperature_K": self.temperatures.tolist(),
            "internal_energy_eV": self.internal_energy.tolist(),
            "enthalpy_eV": self.enthalpy.tolist(),
            "entropy_J_per_mol_K": (EV_PER_K * self.entropy).tolist(),
            "free_energy_eV": self.free_energy.tolist(),
        }


@np.errstate(all="ignore")  # numbers that are not finite are refused
def thermochemistry(
    vibrations: Vibrations,
    temperatures: Sequence[float] | np.ndarray = (298.15,),
    *,
    symmetry_number: int = 1,
    multiplicity: int | None = None,
    pressure: float = 1.0,
    transition_state: bool = False,
) -> Thermochemistry:
    """Free energies at temperatures: of an ideal gas for molecules, else of harmonic oscillators.

    A molecule is a rigid rotor with harmonic vibrations (ASE's IdealGasThermo). Adsorbates and
    periodic structures have no translations and rotations (HarmonicThermo).

    Parameters
    ----------
    vibrations:
        Vibrations of the structure.
    temperatures:
        Temperatures in K.
    symmetry_number:
        Number of rotations that map the molecule onto itself: 2 for H2O, 3 for NH3, 12 for CH4.
    multiplicity:
        Spin multiplicity 2S+1 of a molecule; None for that of `atoms.info["spin"]`, else 1.
    pressure:
        Pressure of the gas in bar.
    transition_state:
        The structure is a saddle point: its one imaginary mode is left out.

    Raises
    ------
    NoThermochemistry
        There are imaginary modes, or a free energy is not finite.
    ValueError
        An argument is wrong.
    """
    kelvin = np.atleast_1d(np.asarray(temperatures, dtype=float))
    _check(kelvin, symmetry_number, pressure)
    energies = _real(vibrations, transition_state)
    potential = float(vibrations.atoms.get_potential_energy())
    if vibrations.external != "molecule":
        oscillators = HarmonicThermo(energies, potential)
        return _require_finite(_harmonic(oscillators, kelvin))
    atoms = vibrations.atoms.copy()
    multiplicity = checked_multiplicity(atoms, multiplicity)
    gas = IdealGasThermo(
        energies,
        "linear" if vibrations.linear else "nonlinear",
        potential,
        atoms=atoms,
        symmetrynumber=symmetry_number,
        spin=(multiplicity - 1) / 2,
        vib_selection="all",  # translations and rotations are projected out already
    )
    facts = {
        "pressure_bar": pressure,
        "symmetry_number": symmetry_number,
        "multiplicity": multiplicity,
        "linear": vibrations.linear,
    }
    pascal = BAR * pressure
    result = Thermochemistry(
        model="ideal gas",
        temperatures=kelvin,
        internal_energy=np.array([gas.get_internal_energy(t, verbose=False) for t in kelvin]),
        enthalpy=np.array([gas.get_enthalpy(t, verbose=False) for t in kelvin]),
        entropy=np.array([gas.get_entropy(t, pascal, verbose=False) for t in kelvin]),
        free_energy=np.array([gas.get_gibbs_energy(t, pascal, verbose=False) for t in kelvin]),
        facts=facts,
    )
    return _require_finite(result)


def checked_multiplicity(atoms: Atoms, multiplicity: int | None) -> int:
    """Spin multiplicity 2S+1, that of `atoms.info["spin"]` or else 1 if it is not given.

    Parameters
    ----------
    atoms:
        Structure.
    multiplicity:
        Multiplicity, None for that of the structure.

    Raises
    ------
    ValueError
        It is no whole number above 0.
    """
    name = "`multiplicity`"
    value: Any = multiplicity
    if value is None:
        name = '`atoms.info["spin"]`'
        value = atoms.info.get("spin", 1)
    whole = isinstance(value, Real) and float(value).is_integer()
    if not whole or value < 1:
        raise ValueError(f"{name} is {value!r}: expected 2S+1, such as 1, 2 or 3")
    return int(value)


def _require_finite(result: Thermochemistry) -> Thermochemistry:
    """The result itself, or NoThermochemistry if a number of it is nan or inf."""
    columns = ("internal_energy", "enthalpy", "entropy", "free_energy")
    for name in columns:
        wrong = np.flatnonzero(~np.isfinite(getattr(result, name)))
        if len(wrong):
            raise NoThermochemistry(
                f"the {name.replace('_', ' ')} at {result.temperatures[wrong[0]]:g} K is"
                f" {getattr(result, name)[wrong[0]]}, not a finite number: there is no"
                " thermochemistry"
            )
    return result


def _check(kelvin: np.ndarray, symmetry_number: int, pressure: float) -> None:
    if not (np.isfinite(kelvin).all() and (kelvin > 0).all()):
        raise ValueError(f"`temperatures` are {kelvin.tolist()}: expected numbers above 0 in K")
    if symmetry_number < 1:
        raise ValueError(f"`symmetry_number` is {symmetry_number!r}: expected 1 or more")
    if not 0 < pressure <= HIGHEST_PRESSURE:
        raise ValueError(
            f"`pressure` is {pressure!r}: expected a number above 0, at most {HIGHEST_PRESSURE:g},"
            " in bar"
        )


def _real(vibrations: Vibrations, transition_state: bool) -> list[float]:
    """Energies in eV of the modes that count, all real."""
    energies = vibrations.energies
    expected = 1 if transition_state else 0
    count = int((energies < IMAGINARY).sum())
    if count != expected:
        raise NoThermochemistry(
            f"{count} imaginary modes where a {'saddle point' if transition_state else 'minimum'}"
            f" has {expected}: there is no thermochemistry"
        )
    kept: list[float] = energies[expected:].tolist()
    # a mode of zero energy has an infinite entropy
    if kept and min(kept) <= -IMAGINARY:
        raise NoThermochemistry(
            f"a mode of {min(kept):.1e} eV is no vibration: there is no thermochemistry"
        )
    return kept


def _harmonic(oscillators: HarmonicThermo, kelvin: np.ndarray) -> Thermochemistry:
    energy = np.array([oscillators.get_internal_energy(t, verbose=False) for t in kelvin])
    entropy = np.array([oscillators.get_entropy(t, verbose=False) for t in kelvin])
    return Thermochemistry(
        model="harmonic",
        temperatures=kelvin,
        internal_energy=energy,
        enthalpy=energy,
        entropy=entropy,
        free_energy=energy - kelvin * entropy,
        facts={},
    )
