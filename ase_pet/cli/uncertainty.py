"""`ase-pet uncertainty`: last-layer uncertainty added to a calculator."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import options, screen
from ._results import require_writable

if TYPE_CHECKING:
    from ase import Atoms

Files = Annotated[list[str], typer.Option(show_default=False)]
Members = Annotated[int, typer.Option(min=0, max=10_000)]
SPLIT_KEY = "split"


def command(
    calc: str,
    *,
    train: Files,
    validation: Files,
    output: options.Output,
    members: Members = 16,
    device: str = "auto",
    keys: str | None = None,
    units: str | None = None,
    json: options.Json = False,
) -> None:
    """Add uncertainties (LLPR) to a calculator folder: one pass over its data.

    The new folder has the same energies and forces. `ase-pet train` does this at its end.
    Structures with info['split'] are used by it: those of `train` for the covariance, of `val` for
    the calibration. Those of `test` in the files of --validation are compared with, for the card.

    Parameters
    ----------
    calc:
        Name or calculator folder.
    train:
        File of the structures of the training; several: --train A --train B.
    validation:
        File of structures with energies that were not trained on.
    output:
        Calculator folder to write; must not exist.
    members:
        Members of the ensemble, for uncertainties of forces and stresses.
    device:
        Device: auto (CUDA if there is one), cpu, cuda, ...
    keys:
        Names of labels, such as energy=E; see `ase-pet eval`.
    units:
        Units of the files, such as energy=Hartree; see `ase-pet eval`.
    json:
        Print JSON for programs.

    Examples
    --------
    Example: ase-pet uncertainty runs/mine --train data.extxyz --validation data.extxyz --output
    runs/mine-uq
    """
    from ..train.uncertainties import section
    from ..uncertainty import calibration, folders
    from ._plausible import require_supported

    # data are read before a model is loaded
    folders.require_free(output)
    require_writable(output)
    _require_splits(_shared(train, validation))
    training, _, places = _read(train, "train", keys, units, labels=False)
    held, energies, places_held = _read(validation, "val", keys, units, labels=True)
    further, further_energies, places_further = _read(validation, "test", keys, units, labels=True)
    everything = training + held + further
    all_places = places + places_held + places_further
    with screen.progress("structures") as report:
        fit = folders.Fit(calc, members, device, report)
        require_supported(fit.calculator, everything, all_places)
        chosen = fit.run(training, held, energies)
        # one error says nothing of a spread
        if len(further) >= calibration.FEWEST:
            fit.compare("test", further, further_energies)
    compared = {split: calibration.compare(*pair) for split, pair in fit.compared.items()}
    tables = {split: each.summary() for split, each in compared.items()}
    fit.write(output, {**chosen, **tables}, section(chosen, compared))
    kinds = {f"energy, {split}": (*pair, "eV") for split, pair in fit.compared.items()}
    calibration.plot(kinds, output / calibration.PICTURE)
    if json:
        numbers = {split: each.as_dict() for split, each in compared.items()}
        screen.print_json({"folder": str(output), **chosen, **numbers, **numbers["val"]})
        return
    screen.say(
        f"{output}: uncertainties from {chosen['structures']} structures, calibrated on"
        f" {chosen['validation']} energies (ridge {chosen['ridge']:g}, {chosen['members']} members)"
    )


def _shared(train: list[str], validation: list[str]) -> set[str]:
    """Files of the validation that are files of the training, under any name."""
    known = {Path(path).resolve() for path in train}
    return {path for path in validation if Path(path).resolve() in known}


def _require_splits(paths: set[str]) -> None:
    """Raise ValueError if a file of both kinds does not say which structures are which."""
    for path in sorted(paths):
        splits = {atoms.info.get(SPLIT_KEY) for atoms in options.read_structures(path, ":")}
        if None in splits:
            raise ValueError(
                f"`{path}` is in --train and in --validation, but not all of its structures have"
                f" info[{SPLIT_KEY!r}]: errors of the training set are too small to calibrate with"
            )


def _read(
    paths: list[str], split: str, keys: str | None, units: str | None, labels: bool
) -> tuple[list[Atoms], list[float], list[str]]:
    """Structures of files that belong to a split, their energies in eV if asked for, and places."""
    from ..train.label_options import parse, parse_units
    from ..train.recipe import factors_of
    from ..train.unit_conversion import in_angstrom
    from .eval import labels_of

    names = parse(keys)
    factors = factors_of(parse_units(units))
    frames = []
    places = []
    for path in paths:
        for index, atoms in enumerate(options.read_structures(path, ":")):
            # a structure without a split is taken, one of another is not; tests say that they are
            unstated = "" if split == "test" else split
            if atoms.info.get(SPLIT_KEY, unstated) == split:
                frames.append(in_angstrom(atoms, factors.length))
                places.append(f"`{path}`, structure {index}")
    if not frames and split != "test":
        raise ValueError(f"{', '.join(paths)}: no structures of split {split!r}")
    if not labels or not frames:
        return frames, [], places
    table = labels_of(frames, names, places, factors)
    known = [index for index, row in enumerate(table) if "energy" in row]
    if not known and split != "test":
        raise ValueError(f"{', '.join(paths)}: no structure has an energy to calibrate with")
    chosen = [frames[index] for index in known]
    energies = [float(table[index]["energy"]) for index in known]
    return chosen, energies, [places[index] for index in known]
