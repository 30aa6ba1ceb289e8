"""Runs checks: chooses the structures of each and turns errors of the calculator into results."""

from __future__ import annotations

import functools
import itertools
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from ase import Atoms

from .. import executors
from . import _check as plugin
from ._cases import Structures, cases, named, validate
from ._check import Check
from ._results import Limit, Measured, NotApplicable, Result, allowed, excess, status
from ._subject import Calculator, Subject, one_line

LEVELS = ("quick", "full")
MADE = ("free", "pair")  # kinds of structures that are made if none is given
DTYPES = (None, "float32", "float64")
STRUCTURES_OF_NOISE = 2  # structures around which the scatter of the results is measured


@dataclass(frozen=True)
class Failure:
    """Why a quantity was not measured on a structure; status is "not applicable" or "fail"."""

    status: str
    structure: str
    reason: str


@dataclass
class Measurements:
    """What one check measured on its structures, by quantity, and the seconds that it took."""

    values: dict[str, list[tuple[str, Measured]]] = field(default_factory=dict)  # with structures
    failures: dict[str, list[Failure]] = field(default_factory=dict)
    seconds: float = 0.0

    def add(self, other: Measurements) -> None:
        """Add what was measured on other structures."""
        for quantity, values in other.values.items():
            self.values.setdefault(quantity, []).extend(values)
        for quantity, failures in other.failures.items():
            self.failures.setdefault(quantity, []).extend(failures)
        self.seconds += other.seconds


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
    on_results: Callable[[list[Result]], object] | None = None,
    executor: Any = None,
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
        errors. Constraints are ignored, with a warning.
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
    on_results:
        Function called with the results of each check after it ran, which keeps them if the run
        is interrupted.
    executor:
        Processes that share the checks and structures, see `ase_pet.executors`; None for this one.

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
    executors.check(executor)
    full = level == "full"
    subject = Subject(calculator, dtype=dtype, full=full, temperature=temperature, seed=seed)
    if species is None:
        species = subject.species
    given = named(structures, species)
    validate(given, subject.species)
    by_kind, pairs_left = cases(given, species, subject)
    _prepare(subject, by_kind)
    on_structure = functools.partial(_measured, subject=subject.of(None))
    jobs = []
    for name, check in checks.items():
        jobs += [(name, case, atoms) for case, atoms in by_kind[check.STRUCTURES].items()]
    results = []
    measured = executors.stream(executor, calculator, on_structure, jobs)
    for name, check in checks.items():
        if on_check is not None:
            on_check(name)
        # they come in the order of the jobs
        parts = itertools.islice(measured, len(by_kind[check.STRUCTURES]))
        of_check = _results(name, check, subject.dtype, parts)
        if check.STRUCTURES == "pair" and pairs_left:
            note = f"{pairs_left} pairs of elements left to --full"
            of_check = [_with_note(result, note) for result in of_check]
        results += of_check
        if on_results is not None:
            on_results(of_check)
    return results


def _prepare(subject: Subject, by_kind: Mapping[str, Mapping[str, Atoms]]) -> None:
    """Find out the precision of the calculator, its scatter and whether it needs a cell."""
    with warnings.catch_warnings():
        # The checks do not report warnings of the calculator.
        warnings.simplefilter("ignore")
        structures = list(by_kind["any"].values())
        first_free = next(iter(by_kind["free"].values()))
        subject.adapt_to_free(first_free)
        subject.infer_dtype(structures[0])
        for atoms in structures[:STRUCTURES_OF_NOISE]:
            subject.noise = subject.noise.maximum(subject.measure_noise(atoms))


def _measured(
    calculator: Calculator, job: tuple[str, str, Atoms], subject: Subject
) -> Measurements:
    """What a check measured on one structure; job: name of the check, and the structure."""
    name, case, atoms = job
    start = time.perf_counter()
    measurements = Measurements()
    with warnings.catch_warnings():
        # Some checks bring atoms closer than in training on purpose, which calculators warn of.
        warnings.simplefilter("ignore")
        _measure(plugin.load(name), subject.of(calculator), case, atoms, measurements)
    measurements.seconds = time.perf_counter() - start
    return measurements


def _results(name: str, check: Check, dtype: str, parts: Iterable[Measurements]) -> list[Result]:
    """Results of a check, one for each of its quantities."""
    measurements = Measurements()
    for part in parts:
        measurements.add(part)
    seconds = measurements.seconds / len(check.LIMITS)
    results = [
        _worst(name, quantity, limit, measurements, dtype, seconds)
        for quantity, limit in check.LIMITS.items()
    ]
    helps = plugin.remedy(check)
    return [
        replace(result, remedy=helps) if result.status == "fail" else result for result in results
    ]


def _measure(
    check: Check, subject: Subject, case: str, atoms: Atoms, measurements: Measurements
) -> None:
    """Add the values of a check on one structure, or why they are missing, to the measurements."""
    missing = dict.fromkeys(check.LIMITS)  # a dictionary keeps the order
    failure = Failure("not applicable", case, "not measured")
    try:
        if check.STRUCTURES in MADE and subject.refuses_free:
            raise NotApplicable(f"the calculator refuses free structures: {subject.refuses_free}")
        with np.errstate(all="ignore"):  # a value that is not finite fails by itself
            for measured in check.measure(subject, atoms):
                missing.pop(measured.quantity)
                values = measurements.values.setdefault(measured.quantity, [])
                values.append((case, measured))
    # ASE's PropertyNotImplementedError is a NotImplementedError.
    except (NotApplicable, NotImplementedError) as reason:
        failure = Failure("not applicable", case, one_line(reason))
    except Exception as error:  # any error of a calculator is a result of the check
        message = f"{type(error).__name__}: {one_line(error)}"
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
    structure, worst = max(values, key=lambda pair: excess(pair[1], limit, dtype))
    high = allowed(worst, limit, dtype)
    result = replace(
        result,
        status=status(worst.value, limit, dtype, high),
        value=float(worst.value),
        limit=high,
        structure=structure,
        note=worst.note,
        plot=worst.plot,
    )
    if high != limit.high(dtype):
        result = _with_note(result, f"limit from the scatter {worst.noise:.2g}")
    return result


def _with_note(result: Result, text: str) -> Result:
    """The result with a text added to its note."""
    note = "; ".join(part for part in (result.note, text) if part)
    return replace(result, note=note)
