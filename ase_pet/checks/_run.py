"""Runs checks: chooses the structures of each and turns errors of the calculator into results."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers

from . import _check as plugin
from . import _structures as build
from ._check import Check
from ._results import Limit, Measured, NotApplicable, Result, excess, status
from ._subject import Calculator, Subject

LEVELS = ("quick", "full")
DTYPES = (None, "float32", "float64")
PAIRS_OF_QUICK = 6  # pairs of elements of the level "quick"
LONGEST_NOTE = 300  # characters

Structures = Atoms | list[Atoms] | tuple[Atoms, ...] | dict[str, Atoms]


@dataclass(frozen=True)
class Failure:
    """Why a quantity was not measured on a structure; status is "not applicable" or "fail"."""

    status: str
    structure: str
    reason: str


@dataclass
class Measurements:
    """What one check measured on all structures, by quantity."""

    values: dict[str, list[tuple[str, Measured]]] = field(default_factory=dict)  # with structures
    failures: dict[str, list[Failure]] = field(default_factory=dict)


def names(level: str = "full") -> list[str]:
    """Sorted names of the checks of `level`; "full" includes those of "quick"."""
    if level not in LEVELS:
        raise ValueError(f"`level` is {level!r}: valid choices are {', '.join(LEVELS)}")
    return [
        name for name in plugin.names() if level == "full" or plugin.load(name).LEVEL == "quick"
    ]


def run(
    calculator: Calculator,
    structures: Structures | None = None,
    *,
    species: Sequence[int | str] | None = None,
    level: str = "quick",
    only: Iterable[str] | None = None,
    dtype: str | None = None,
    temperature: float = 300.0,
    seed: int = 0,
    on_check: Callable[[str], object] | None = None,
) -> list[Result]:
    """List of Result, one for each quantity of each check, on the structure where it is worst.

    An error of the calculator is a result: a failed check with the text of the error as its note.

    Parameters
    ----------
    calculator:
        Any ASE calculator.
    structures:
        Atoms, a list or a {name: Atoms} of them; None: built from `species`. Checks use copies
        with coordinates displaced by 0.05 A rms, since forces that are zero by symmetry hide
        errors.
    species:
        Atomic numbers or symbols of the elements; None: the calculator's attribute `species`.
    level:
        "quick", or "full" with the long checks, longer runs and all pairs of elements.
    only:
        Names of the checks to run; None: all of the level.
    dtype:
        "float32" or "float64", which sets the limits; None: what the calculator states, else the
        dtype of its forces.
    temperature:
        Temperature of molecular dynamics in K.
    seed:
        Seed of all random numbers.
    on_check:
        Function called with the name of each check before it runs.

    Raises
    ------
    ValueError
        The level, a check or the dtype is unknown; a structure has no atoms, numbers that are not
        finite or elements that the calculator does not support; or neither structures nor species
        are known.
    """
    # Each check runs once, however often it is named.
    chosen = names(level) if only is None else list(dict.fromkeys(only))
    checks = {name: plugin.load(name) for name in chosen}
    if dtype not in DTYPES:
        raise ValueError(f"`dtype` is {dtype!r}: valid choices are float32, float64")
    if not 0 < temperature < np.inf:
        raise ValueError(f"`temperature` is {temperature!r}: expected K, above 0")
    full = level == "full"
    subject = Subject(calculator, dtype=dtype, full=full, temperature=temperature, seed=seed)
    if species is None:
        species = subject.species
    named = _named(structures, species)
    _validate(named, subject.species)
    cases = _cases(named, species, subject)
    # The checks do not report warnings of the calculator, here and below.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        first_structure = next(iter(cases["any"].values()))
        subject.infer_dtype(first_structure)
    results = []
    for name, check in checks.items():
        if on_check is not None:
            on_check(name)
        structures_of_check = cases[check.STRUCTURES]
        results += _results(name, check, subject, structures_of_check)
    return results


def _named(structures: Structures | None, species: Sequence[int | str] | None) -> dict[str, Atoms]:
    """{name: Atoms} of the structures that were given, else of default structures."""
    if structures is None:
        if species is None:
            raise ValueError(
                "the calculator does not say which species it knows: give `species` (`--species`)"
                " or `structures` (`--structure FILE`)"
            )
        return build.defaults(species)
    if isinstance(structures, dict):
        return structures
    if isinstance(structures, Atoms):
        structures = [structures]
    formulas = [atoms.get_chemical_formula() for atoms in structures]
    if len(formulas) > 1:  # two may have the same formula
        formulas = [f"{formula} ({k})" for k, formula in enumerate(formulas)]
    return dict(zip(formulas, structures, strict=True))


def _validate(structures: Mapping[str, Atoms], species: Sequence[int] | None) -> None:
    """Raise ValueError for structures that cannot be checked; species: supported atomic numbers."""
    if not structures:
        raise ValueError("`structures` is empty: expected one Atoms or more")
    for name, atoms in structures.items():
        if len(atoms) == 0:
            raise ValueError(f"structure `{name}` holds no atoms")
        if len(atoms) == 1 and not atoms.pbc.any():
            raise ValueError(
                f"structure `{name}` is one atom alone: expected two or more, or a periodic"
                " structure"
            )
        if not (np.isfinite(atoms.positions).all() and np.isfinite(atoms.cell.array).all()):
            raise ValueError(f"structure `{name}` has positions or a cell that are not finite")
        # Nothing is known to be unsupported where the calculator does not state its species.
        unknown = [] if species is None else sorted(set(atoms.numbers) - set(species))
        if species is not None and unknown:
            raise ValueError(
                f"structure `{name}` holds species with atomic numbers"
                f" {', '.join(map(str, unknown))}: the calculator knows"
                f" {', '.join(map(str, species))}"
            )


def _cases(
    structures: Mapping[str, Atoms], species: Sequence[int | str] | None, subject: Subject
) -> dict[str, dict[str, Atoms]]:
    """{"any", "periodic", "free" or "pair": {name: Atoms}}, by what checks run on."""
    moved = {}
    periodic = {}
    free = {}
    for name, atoms in structures.items():
        moved[name] = build.displaced(atoms, subject.seed)
        if build.is_periodic(atoms):
            periodic[name] = moved[name]
        if build.is_free(atoms):
            free[name] = moved[name]
    # Clusters cut from the crystals stand in for molecules, if there are none.
    if not free:
        for name, atoms in moved.items():
            free[f"cluster of {name}"] = build.cluster(atoms)
    pairs = _pairs(structures, species, subject.full)
    return {"any": moved, "periodic": periodic, "free": free, "pair": pairs}


def _pairs(
    structures: Mapping[str, Atoms], species: Sequence[int | str] | None, full: bool
) -> dict[str, Atoms]:
    """{name: Atoms} of pairs of all elements, or of some of those in the structures."""
    if full and species is not None:
        return build.pairs([_atomic_number(name) for name in species])
    numbers = {int(number) for atoms in structures.values() for number in atoms.numbers}
    pairs = build.pairs(numbers)
    names = list(pairs) if full else list(pairs)[:PAIRS_OF_QUICK]
    return {name: pairs[name] for name in names}


def _atomic_number(name: int | str) -> int:
    return int(atomic_numbers[name] if isinstance(name, str) else name)


def _results(
    name: str, check: Check, subject: Subject, structures: Mapping[str, Atoms]
) -> list[Result]:
    """Results of a check, one for each of its quantities."""
    start = time.perf_counter()
    measurements = Measurements()
    with warnings.catch_warnings():
        # Some checks bring atoms closer than in training on purpose, which calculators warn of.
        warnings.simplefilter("ignore")
        for case, atoms in structures.items():
            _measure(check, subject, case, atoms, measurements)
    seconds = (time.perf_counter() - start) / len(check.LIMITS)
    return [
        _worst(name, quantity, limit, measurements, subject.dtype, seconds)
        for quantity, limit in check.LIMITS.items()
    ]


def _measure(
    check: Check, subject: Subject, case: str, atoms: Atoms, measurements: Measurements
) -> None:
    """Add the values of a check on one structure, or why they are missing, to the measurements."""
    missing = dict.fromkeys(check.LIMITS)  # a dictionary keeps the order
    failure = Failure("not applicable", case, "not measured")
    try:
        with np.errstate(all="ignore"):  # a value that is not finite fails by itself
            for measured in check.measure(subject, atoms):
                missing.pop(measured.quantity)
                values = measurements.values.setdefault(measured.quantity, [])
                values.append((case, measured))
    # ASE's PropertyNotImplementedError is a NotImplementedError.
    except (NotApplicable, NotImplementedError) as reason:
        failure = Failure("not applicable", case, _one_line(reason))
    except Exception as error:  # any error of a calculator is a result of the check
        message = f"{type(error).__name__}: {_one_line(error)}"
        failure = Failure("fail", case, message)
    for quantity in missing:
        measurements.failures.setdefault(quantity, []).append(failure)


def _worst(
    name: str,
    quantity: str,
    limit: Limit,
    measurements: Measurements,
    dtype: str,
    seconds: float,
) -> Result:
    """Result of one quantity on the structure where it is worst; errors are worse than values."""
    values = measurements.values.get(quantity, [])
    failures = measurements.failures.get(quantity, [])
    errors = [failure for failure in failures if failure.status == "fail"]
    # Status and value follow below.
    result = Result(
        check=name,
        quantity=quantity,
        unit=limit.unit,
        status="not applicable",
        limit=limit.high(dtype),
        low=limit.low,
        dtype=dtype,
        structures=len(values),
        seconds=round(seconds, 3),
    )
    if errors or not values:
        absent = Failure("not applicable", "", "no structure of this kind")
        first = [*errors, *failures, absent][0]
        return replace(result, status=first.status, structure=first.structure, note=first.reason)
    structure, worst = max(values, key=lambda pair: excess(pair[1].value, limit, dtype))
    return replace(
        result,
        status=status(worst.value, limit, dtype),
        value=float(worst.value),
        structure=structure,
        note=worst.note,
        plot=worst.plot,
    )


def _one_line(error: BaseException) -> str:
    """Text of an error in one line."""
    return " ".join(str(error).split())[:LONGEST_NOTE]
