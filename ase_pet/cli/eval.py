"""`ase-pet eval`: errors of a calculator against labelled structures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Protocol, runtime_checkable

import typer
from rich.table import Table

from . import options, screen

if TYPE_CHECKING:
    import numpy as np
    from ase import Atoms

UNITS = {"energy": "meV/atom", "forces": "meV/A", "stress": "GPa", "dipole": "e A"}


@runtime_checkable
class StatesProperties(Protocol):
    """A calculator that says what it computes, as those of ASE do."""

    implemented_properties: Sequence[str]


@options.with_options(options.calculator_options())
def command(
    calc: options.Calc = None,
    data: options.Structure = None,
    *,
    calculator: str | None = None,
    split: str | None = None,
    shift: Annotated[bool, typer.Option("--shift")] = False,
    json: options.Json = False,
    **chosen: Any,
) -> None:
    """Errors of a calculator against the labels in a data file.

    Labels are energies, forces, stresses and dipoles.

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
    json:
        Print JSON for programs.
    chosen:
        Options of the calculator, `options.CALCULATOR`.

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
    frames = options.read_structures(data, ":")
    if split is not None:
        frames = [atoms for atoms in frames if atoms.info.get("split") == split]
    if not frames:
        raise ValueError(f"`{data}` holds no structures{f' of split {split!r}' if split else ''}")
    loaded = options.load_calculator(calc, calculator, **chosen)
    errors = compare(loaded, frames, shift)
    if json:
        screen.print_json(errors)
        return

    table = Table("", "RMSE", "MAE", "RMS of reference", "unit", title=f"{len(frames)} structures")
    for name, row in errors.items():
        numbers = [f"{row[key]:.4g}" for key in ("rmse", "mae", "rms")]
        table.add_row(name, *numbers, row["unit"])
    screen.console().print(table)


def compare(calc: Any, frames: Sequence[Atoms], shift: bool = False) -> dict[str, dict[str, Any]]:
    """Errors of a calculator by kind of label, {kind: {"rmse", "mae", "rms", "unit"}}.

    rms is that of the reference, energies are per atom. Labels that the calculator does not compute
    are left out.

    Parameters
    ----------
    calc:
        Any ASE calculator.
    frames:
        Structures whose own calculators hold the labels.
    shift:
        Subtract the mean error of the energies per atom from them.
    """
    import numpy as np

    from ..train.metrics import error_metrics

    references: dict[str, list[np.ndarray]] = {name: [] for name in UNITS}
    predictions: dict[str, list[np.ndarray]] = {name: [] for name in UNITS}
    for atoms in frames:
        for name, (reference, predicted) in _values(calc, atoms).items():
            references[name].append(np.ravel(reference))
            predictions[name].append(np.ravel(predicted))
    errors = {}
    for name, unit in UNITS.items():
        if not references[name]:
            continue
        reference = np.concatenate(references[name])
        predicted = np.concatenate(predictions[name])
        # programs and pseudopotentials differ in the zero of energy
        if shift and name == "energy":
            mean_error = (predicted - reference).mean()
            predicted = predicted - mean_error
        metrics = error_metrics(reference, predicted)
        errors[name] = {**metrics, "unit": unit}
    return errors


def _values(calc: Any, atoms: Atoms) -> dict[str, tuple[Any, Any]]:
    """Reference and prediction of each label of a structure, in the units of UNITS."""
    from ase import units

    labels = atoms.calc.results if atoms.calc is not None else {}
    implemented = calc.implemented_properties if isinstance(calc, StatesProperties) else ()
    trial = atoms.copy()
    trial.calc = calc
    values = {}
    # forces first: calculators compute the energy with them
    if "forces" in labels:
        values["forces"] = (1e3 * labels["forces"], 1e3 * trial.get_forces())
    if "energy" in labels:
        scale = 1e3 / len(atoms)
        values["energy"] = (scale * labels["energy"], scale * trial.get_potential_energy())
    if "stress" in labels:
        values["stress"] = (labels["stress"] / units.GPa, trial.get_stress() / units.GPa)
    if "dipole" in labels and "dipole" in implemented:
        values["dipole"] = (labels["dipole"], trial.get_dipole_moment())
    return values
