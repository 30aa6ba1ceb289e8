"""Running checks: which structures each gets, and how errors of the calculator become results."""

import time
import warnings

import numpy as np

from .. import plugins
from . import _structures as build
from ._results import NotApplicable, Result, excess, status
from ._subject import Subject

PAIRS_OF_QUICK = 6
LEVELS = ("quick", "full")
DTYPES = (None, "float32", "float64")


def names(level="full"):
    """Sorted names of the checks of a level; those of "quick" are among those of "full"."""
    if level not in LEVELS:
        raise ValueError(f"`level` is {level!r}: valid choices are {', '.join(LEVELS)}")
    found = plugins.names(__package__)
    return [
        name
        for name in found
        if level == "full" or plugins.load(__package__, name).LEVEL == "quick"
    ]


def run(
    calculator,
    structures=None,
    *,
    species=None,
    level="quick",
    only=None,
    dtype=None,
    temperature=300.0,
    seed=0,
    on_check=None,
):
    """List of Result, one for each quantity of each check, each of the structure where it is worst.

    calculator: any ASE calculator. structures: Atoms, a list or {name: Atoms} of them; None: made
        from `species`, which is the calculator's own where it has that attribute. Atoms are
        displaced by 0.05 A before use, since forces that are zero by symmetry say nothing.
    level: "quick", or "full" with the long checks, longer runs and all pairs of elements. only:
    names of checks to run.
    dtype: "float32" or "float64", which sets the limits; None: what the calculator says, else the
    dtype of its forces.
    temperature: K, of the runs of molecular dynamics. on_check: function called with the name of
    each check before it.

    Raises ValueError for an unknown level, check or dtype, for structures that hold no atoms,
    numbers that are not finite or species that the calculator does not know, and where neither
    structures nor species are known. Errors of the calculator are results: a failed check with the
    text of the error.
    """
    chosen = names(level) if only is None else list(dict.fromkeys(only))
    modules = {name: plugins.load(__package__, name) for name in chosen}
    if dtype not in DTYPES:
        raise ValueError(f"`dtype` is {dtype!r}: valid choices are float32, float64")
    if not 0 < temperature < np.inf:
        raise ValueError(f"`temperature` is {temperature!r}: expected K, above 0")
    species = species if species is not None else getattr(calculator, "species", None)
    found = _named(structures, species)
    _check(found, getattr(calculator, "species", None))
    subject = Subject(
        calculator, dtype=dtype, full=level == "full", temperature=temperature, seed=seed
    )
    cases = _cases(found, species, subject)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        subject.find_dtype(next(iter(cases["any"].values())))
    results = []
    for name, module in modules.items():
        if on_check is not None:
            on_check(name)
        results += _results(name, module, subject, cases[module.STRUCTURES])
    return results


def _named(structures, species):
    if structures is None:
        if species is None:
            raise ValueError(
                "the calculator does not say which species it knows: give `species` (`--species`)"
                " or `structures` (`--structure FILE`)"
            )
        return build.defaults(species)
    if isinstance(structures, dict):
        return structures
    structures = structures if isinstance(structures, (list, tuple)) else [structures]
    return {
        (
            f"{atoms.get_chemical_formula()} ({k})"
            if len(structures) > 1
            else atoms.get_chemical_formula()
        ): atoms
        for k, atoms in enumerate(structures)
    }


def _check(structures, species):
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
        unknown = sorted(set(atoms.numbers) - set(species)) if species is not None else []
        if unknown:
            raise ValueError(
                f"structure `{name}` holds species with atomic numbers"
                f" {', '.join(map(str, unknown))}: the calculator knows"
                f" {', '.join(map(str, species))}"
            )


def _cases(structures, species, subject):
    """{kind of structures: {name: Atoms}}, displaced; clusters stand in where nothing is free."""
    moved = {name: build.displaced(atoms, subject.seed) for name, atoms in structures.items()}
    free = {name: atoms for name, atoms in moved.items() if build.is_free(atoms)}
    if not free:
        free = {f"cluster of {name}": build.cluster(atoms) for name, atoms in moved.items()}
    numbers = sorted({int(z) for atoms in structures.values() for z in atoms.numbers})
    if subject.full and species is not None:
        numbers = _atomic_numbers(species)
    pairs = build.pairs(numbers)
    if not subject.full:
        pairs = dict(list(pairs.items())[:PAIRS_OF_QUICK])
    periodic = {name: atoms for name, atoms in moved.items() if build.is_periodic(atoms)}
    return {"any": moved, "periodic": periodic, "free": free, "pair": pairs}


def _atomic_numbers(species):
    return [build.atomic_numbers[name] if isinstance(name, str) else int(name) for name in species]


def _results(name, module, subject, cases):
    start, measured, reasons = time.perf_counter(), {}, {}
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # of atoms closer than in training, which some checks bring about on purpose
        for case, atoms in cases.items():
            _measure(module, subject, case, atoms, measured, reasons)
    seconds = (time.perf_counter() - start) / len(module.LIMITS)
    absent = ("not applicable", "", "no structure of this kind")
    return [
        _worst(
            name,
            quantity,
            limit,
            measured.get(quantity, []),
            reasons.get(quantity, [absent]),
            subject,
            seconds,
        )
        for quantity, limit in module.LIMITS.items()
    ]


def _measure(module, subject, case, atoms, measured, reasons):
    """Add what a check finds on one structure to `measured`.

    And why the rest was not measured to `reasons`.
    """
    missing, stopped = dict.fromkeys(module.LIMITS), ("not applicable", case, "not measured")
    try:
        with np.errstate(all="ignore"):  # what is not finite fails by its value
            for found in module.measure(subject, atoms):
                missing.pop(found.quantity)
                measured.setdefault(found.quantity, []).append((case, found))
    except (
        NotApplicable,
        NotImplementedError,
    ) as reason:  # ASE's PropertyNotImplementedError is one of these
        stopped = ("not applicable", case, _line(reason))
    except Exception as error:  # whatever a calculator stumbles over is the result of the check
        stopped = ("fail", case, f"{type(error).__name__}: {_line(error)}")
    for quantity in missing:
        reasons.setdefault(quantity, []).append(stopped)


def _worst(name, quantity, limit, measured, reasons, subject, seconds):
    dtype = subject.dtype
    common = {
        "check": name,
        "quantity": quantity,
        "unit": limit.unit,
        "limit": limit.high(dtype),
        "low": limit.low,
        "dtype": dtype,
        "seconds": round(seconds, 3),
    }
    failed = [reason for reason in reasons if reason[0] == "fail"]
    if failed or not measured:
        kind, case, note = (failed or reasons)[0]
        return Result(status=kind, structure=case, note=note, structures=len(measured), **common)
    case, found = max(measured, key=lambda pair: excess(pair[1].value, limit, dtype))
    return Result(
        status=status(found.value, limit, dtype),
        value=float(found.value),
        structure=case,
        structures=len(measured),
        note=found.note,
        plot=found.plot,
        **common,
    )


def _line(error):
    return " ".join(str(error).split())[:300]
