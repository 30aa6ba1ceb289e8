"""`ase-pet calibration`: expected against observed errors of a calculator."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import options, screen
from ._results import require_writable

if TYPE_CHECKING:
    import numpy as np
    from ase import Atoms

    from ..uncertainty.calibration import Comparison

UNITS = {"energy": ("meV", 1e3), "forces": ("meV/A", 1e3)}
AT_ONCE = {"energy": 64, "forces": 8}  # structures that are passed to `evaluate` at once
FEWEST = 2  # energies


@options.with_options(options.structure_options(), options.calculator_options())
def command(
    calc: str,
    data: str,
    *,
    split: str | None = None,
    forces: Annotated[bool, typer.Option("--forces")] = False,
    output: Path | None = None,
    card: Annotated[bool, typer.Option("--card")] = False,
    keys: str | None = None,
    units: str | None = None,
    json: options.Json = False,
    **chosen: Any,
) -> None:
    """Compare expected with observed errors of a calculator with uncertainties.

    For energies of structures, and components of forces with --forces (one backward pass for each
    member of the ensemble). The numbers are explained in the guide on uncertainty.

    Parameters
    ----------
    calc:
        Name, calculator folder or checkpoint with uncertainties.
    data:
        File of structures with labels that were not trained on.
    split:
        Only structures whose info['split'] is this.
    forces:
        Compare forces as well.
    output:
        Folder of calibration.json and calibration.png; default: nothing is written.
    card:
        Write the table into the card of CALC, section "Uncertainty on DATA".
    keys:
        Names of labels, such as energy=E,forces=F; see `ase-pet eval`.
    units:
        Units of the file, such as energy=Hartree; see `ase-pet eval`.
    json:
        Print JSON for programs.
    chosen:
        Format of the file, and options of the calculator, `options.CALCULATOR`.

    Examples
    --------
    Example: ase-pet calibration silicon data.extxyz --split test --forces --output calibration
    """
    from ..train.label_options import parse, parse_units
    from ..train.recipe import factors_of
    from ..train.unit_conversion import in_angstrom
    from ..uncertainty import calibration
    from ._plausible import require_supported
    from .eval import labels_of

    if output is not None:
        require_writable(output)
    # data are read before a model is loaded
    names = parse(keys)
    factors = factors_of(parse_units(units))
    read = dict(enumerate(options.read_structures(data, ":", chosen.pop("format"))))
    kept = {
        index: atoms
        for index, atoms in read.items()
        if split is None or atoms.info.get("split") == split
    }
    if not kept:
        raise ValueError(f"`{data}` holds no structures{f' of split {split!r}' if split else ''}")
    frames = [in_angstrom(atoms, factors.length) for atoms in kept.values()]
    places = [f"`{data}`, structure {index}" for index in kept]
    labels = labels_of(frames, names, places, factors)
    _require_several(data, labels)
    calculator = options.load_calculator(calc, None, **chosen)
    _check(calculator, calc, forces)
    require_supported(calculator, frames, places)
    with screen.progress("structures") as report:
        values = _compared_values(calculator, frames, labels, forces, report)
    compared = {kind: calibration.compare(*pair) for kind, pair in values.items()}
    table = {kind: (each, *UNITS[kind]) for kind, each in compared.items()}
    paths = []
    if output is not None:
        pairs = {
            kind: (sigma, error, "eV" if kind == "energy" else "eV/A")
            for kind, (sigma, error) in values.items()
        }
        output.mkdir(parents=True, exist_ok=True)
        paths = calibration.write(output, pairs, compared)
    if card:
        from .. import store

        title = f"Uncertainty on {Path(data).name}{f', {split}' if split else ''}"
        paths.append(store.write_section(calc, title, calibration.markdown(table)))
    if json:
        content = {kind: each.as_dict() for kind, each in compared.items()}
        screen.print_json({**content, "files": [str(path) for path in paths]})
        return
    _show(table, len(frames))
    for path in paths:
        screen.say(path)


def _check(calculator: Any, calc: str, forces: bool) -> None:
    """Raise ValueError for a calculator without the uncertainties that are compared."""
    needed = ["energy_uncertainty", *(["forces_uncertainty"] if forces else [])]
    missing = [name for name in needed if name not in calculator.implemented_properties]
    if missing:
        raise ValueError(
            f"`{calc}` has no {missing[0]}: `ase-pet uncertainty` adds uncertainties to a"
            " calculator folder, those of forces with --members above 0"
        )


def _require_several(data: str, labels: list[dict[str, Any]]) -> None:
    """Raise ValueError unless there are several energies to compare with."""
    count = sum("energy" in row for row in labels)
    if count < FEWEST:
        raise ValueError(f"`{data}` has energies of {count} structures: expected {FEWEST} or more")


def _compared_values(
    calculator: Any,
    frames: list[Atoms],
    labels: list[dict[str, Any]],
    forces: bool,
    report: screen.Report,
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """{kind: (standard deviations, errors)} in eV and eV/A, where labels are known."""
    import numpy as np

    kinds = ["energy", *(["forces"] if forces else [])]
    values: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for kind in kinds:
        # a structure may lack one kind of label
        labelled = [index for index, row in enumerate(labels) if kind in row]
        deviations = []
        errors = []
        names = (kind, f"{kind}_uncertainty")
        for start in range(0, len(labelled), AT_ONCE[kind]):
            report(kind, start, len(labelled))
            part = labelled[start : start + AT_ONCE[kind]]
            structures = [frames[index] for index in part]
            rows = calculator.evaluate(structures, names)
            for index, row in zip(part, rows, strict=True):
                label = np.asarray(labels[index][kind], dtype=float)
                reference = label.ravel()
                known = np.isfinite(reference)
                difference = np.ravel(row[kind]) - reference
                deviation = np.ravel(row[names[1]])
                errors.append(difference[known])
                deviations.append(deviation[known])
        if not labelled:
            raise ValueError(f"no structure has labels of {kind} to compare with")
        values[kind] = (np.concatenate(deviations), np.concatenate(errors))
    return values


def _show(table: dict[str, tuple[Comparison, str, float]], n_structures: int) -> None:
    """Print the comparison, and the errors in groups of rising uncertainty."""
    from rich.table import Table

    for kind, (each, unit, factor) in table.items():
        shown = Table("errors", f"expected ({unit})", f"observed ({unit})", title=kind)
        for row in each.rows:
            numbers = [f"{factor * row.expected:.3g}", f"{factor * row.observed:.3g}"]
            shown.add_row(str(row.count), *numbers)
        screen.console().print(shown)
        screen.say(
            f"{kind}: rms z {each.rms_z:.2f} (1 is calibrated), miscalibration area"
            f" {each.area:.3f}, slope of log error {each.slope:.2f}, rank correlation"
            f" {each.rank:.2f}; {each.count} errors of {n_structures} structures"
        )
