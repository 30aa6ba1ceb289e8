"""`ase-pet eval`: errors of a calculator against labelled structures."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Protocol, runtime_checkable

import typer
from rich.table import Table

from . import options, screen
from ._plausible import note_of_labels

if TYPE_CHECKING:
    import numpy as np
    from ase import Atoms

    from ..train.schema import Keys
    from ..train.unit_conversion import Factors

CHUNK_ATOMS = 2048  # atoms that are passed to `evaluate` at once


@runtime_checkable
class StatesProperties(Protocol):
    """A calculator that says what it computes, as those of ASE do."""

    implemented_properties: Sequence[str]


@options.with_options(options.structure_options(), options.calculator_options())
def command(
    calc: options.Calc = None,
    data: options.Structure = None,
    *,
    calculator: str | None = None,
    split: str | None = None,
    shift: Annotated[bool, typer.Option("--shift")] = False,
    keys: str | None = None,
    units: str | None = None,
    json: options.Json = False,
    **chosen: Any,
) -> None:
    """Errors of a calculator against the labels in a data file.

    Labels are energies, forces, stresses (all nine components) and dipoles. Constraints are
    ignored.

    Parameters
    ----------
    calc:
        Name, calculator folder or checkpoint.
    data:
        File of structures with labels.
    calculator:
        module:factory of any ASE calculator, instead of CALC.
    split:
        Only structures whose info['split'] is this.
    shift:
        Subtract the mean error of the energies per atom.
    keys:
        Names of labels, such as energy=E,forces=F of the keys energy (eV), forces (eV/A), stress
        (eV/A^3), virial (eV, -stress times volume), dipole (e A); an empty name: not used.
    units:
        Units of the file, such as energy=Hartree,length=Bohr of the keys energy, length, forces,
        stress, virial, dipole; default: eV and A.
    json:
        Print JSON for programs.
    chosen:
        Format of the file, and options of the calculator, `options.CALCULATOR`.

    Examples
    --------
    Example: ase-pet eval silicon data.extxyz --split test
    """
    if calculator and data is None:
        data = calc
        calc = None
    # data are read before a model is loaded or downloaded
    if data is None or (calc is None) == (calculator is None):
        raise ValueError("give CALC DATA, or --calculator module:factory DATA")
    from ..train.label_options import parse, parse_units
    from ..train.recipe import factors_of
    from ..train.unit_conversion import in_angstrom

    names = parse(keys)
    factors = factors_of(parse_units(units))
    structures = dict(enumerate(options.read_structures(data, ":", chosen.pop("format"))))
    if split is not None:
        structures = {
            index: atoms for index, atoms in structures.items() if atoms.info.get("split") == split
        }
    if not structures:
        raise ValueError(f"`{data}` holds no structures{f' of split {split!r}' if split else ''}")
    frames = [in_angstrom(atoms, factors.length) for atoms in structures.values()]
    places = [f"`{data}`, structure {index}" for index in structures]
    references = labels_of(frames, names, places, factors)
    loaded = options.load_calculator(calc, calculator, **chosen)
    options.announce(calc or calculator, loaded, frames)
    with screen.progress("structures") as report:
        errors = compare(loaded, frames, shift, references, report)
    if json:
        screen.print_json(errors)
        return

    title = f"{len(frames)} structures"
    table = Table("", "RMSE", "MAE", "RMS of reference", "unit", "structures", title=title)
    for name, row in errors.items():
        numbers = [f"{row[key]:.4g}" for key in ("rmse", "mae", "rms")]
        table.add_row(name, *numbers, row["unit"], str(row["structures"]))
    screen.console().print(table)


def labels_of(
    frames: Sequence[Atoms], keys: Keys, places: Sequence[str], factors: Factors | None = None
) -> list[dict[str, np.ndarray]]:
    """Labels of each structure in ASE's units, see `train.labels.of_structure`.

    Parameters
    ----------
    frames:
        Structures.
    keys:
        Names of the labels.
    places:
        What messages call each structure.
    factors:
        Units of the labels; None for those of ASE.

    Raises
    ------
    ValueError
        A label is bad, or there is none at all.
    """
    from ..train import labels

    notes = labels.Notes()
    table = []
    found: set[str] = set()
    for atoms, place in zip(frames, places, strict=True):
        found |= labels.held(atoms).keys()
        table.append(labels.of_structure(atoms, keys, place, notes, factors=factors))
        if atoms.constraints:
            notes.add("constraints are ignored: forces and stresses are those of the labels", place)
    labels.check_found(keys, found, f"the structures from {places[0]} on")
    notes.warn()
    if not any(table):
        more = f" and {len(places) - 1} more" if len(places) > 1 else ""
        raise ValueError(
            f"{places[0]}{more}: no energy, forces, stress or dipole to"
            " compare with; --keys gives other names of them"
        )
    return table


def compare(
    calc: Any,
    frames: Sequence[Atoms],
    shift: bool = False,
    labels: Sequence[dict[str, np.ndarray]] | None = None,
    report: screen.Report | None = None,
) -> dict[str, dict[str, Any]]:
    """Errors by kind of label, {kind: {"rmse", "mae", "rms", "unit", "structures"}}.

    rms is that of the reference, energies are per atom, structures the number of those that have
    the label. Labels that the calculator does not compute
    are left out, with a warning.

    Parameters
    ----------
    calc:
        Any ASE calculator.
    frames:
        Structures, whose constraints are ignored.
    shift:
        Subtract the mean error of the energies per atom from them.
    labels:
        Labels of each structure; None for those that their own calculators hold.
    report:
        Called with a text, the structures done, and their number.

    Raises
    ------
    ValueError
        A label is bad, or a prediction is not finite.
    """
    import numpy as np

    from ..train.error_metrics import UNITS, compared
    from ..train.metrics import error_metrics
    from ..train.schema import Keys

    places = [f"structure {index}" for index in range(len(frames))]
    known = labels_of(frames, Keys(), places) if labels is None else labels
    kinds = _computed(calc, {kind for each in known for kind in each})
    wanted = [[kind for kind in kinds if kind in each] for each in known]
    references: dict[str, list[np.ndarray]] = {name: [] for name in kinds}
    predictions: dict[str, list[np.ndarray]] = {name: [] for name in kinds}
    for index, values in _predictions(calc, frames, wanted):
        predicted = compared(values, len(frames[index]))
        reference = compared(known[index], len(frames[index]))
        for name in wanted[index]:
            if not np.isfinite(predicted[name]).all():
                raise ValueError(
                    f"the calculator gives {name} that are not finite for structure {index}"
                )
            # a label that is not known, of fixed atoms, is NaN
            finite = np.isfinite(reference[name])
            references[name].append(reference[name][finite])
            predictions[name].append(predicted[name][finite])
        if report is not None:
            report("structures", index + 1, len(frames))
    errors = {}
    for name in kinds:
        unit, factor = UNITS[name]
        true = factor * np.concatenate(references[name])
        found = factor * np.concatenate(predictions[name])
        # programs and pseudopotentials differ in the zero of energy
        if shift and name == "energy":
            found = found - (found - true).mean()
        odd = note_of_labels(name, true, found)
        if odd:
            screen.note(f"ase-pet: note: {odd}")
        metrics = error_metrics(true, found)
        errors[name] = {**metrics, "unit": unit, "structures": len(references[name])}
    return errors


def _computed(calc: Any, kinds: set[str]) -> list[str]:
    """Kinds of labels that a calculator computes, in the order of the table of errors."""
    from ..train.error_metrics import UNITS

    implemented = calc.implemented_properties if isinstance(calc, StatesProperties) else UNITS
    absent = [kind for kind in UNITS if kind in kinds and kind not in implemented]
    if absent:
        warnings.warn(
            f"the calculator does not compute {', '.join(absent)}: labels left out", stacklevel=3
        )
    computed = [kind for kind in UNITS if kind in kinds and kind in implemented]
    if not computed:
        raise ValueError("the calculator computes none of the labels: there is nothing to compare")
    return computed


def _predictions(
    calc: Any, frames: Sequence[Atoms], wanted: Sequence[list[str]]
) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    """(index, results) of each structure, many at once where the calculator can do that."""
    from ..constraints import without
    from ..phonons._protocols import SupportsBatches

    start = 0
    while start < len(frames):
        end = start + 1
        atoms = len(frames[start])
        # structures with the same kinds of labels, up to a bounded number of atoms
        while end < len(frames) and wanted[end] == wanted[start]:
            atoms += len(frames[end])
            if atoms > CHUNK_ATOMS:
                break
            end += 1
        free = [without(each) for each in frames[start:end]]
        if isinstance(calc, SupportsBatches):
            rows = calc.evaluate(free, wanted[start])
        else:
            rows = [_single(calc, each, wanted[start]) for each in free]
        for offset, row in enumerate(rows):
            yield start + offset, _arrays(row, wanted[start])
        start = end


def _single(calc: Any, atoms: Atoms, names: Sequence[str]) -> dict[str, Any]:
    """Results of a calculator for one structure."""
    atoms.calc = calc
    values = {}
    # forces first: calculators compute the energy with them
    for name in sorted(names, key=lambda name: name != "forces"):
        values[name] = atoms.calc.get_property(name, atoms)
    return values


def _arrays(row: dict[str, Any], names: Sequence[str]) -> dict[str, np.ndarray]:
    """Results in the shapes of labels: stresses (3, 3)."""
    import numpy as np
    from ase.stress import voigt_6_to_full_3x3_stress

    values = {name: np.asarray(row[name], dtype=float) for name in names}
    if "stress" in values and values["stress"].shape == (6,):
        values["stress"] = voigt_6_to_full_3x3_stress(values["stress"])
    return values
