"""`ase-pet data`: what files of labelled structures hold, and what may be wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from . import options, screen

if TYPE_CHECKING:
    from ..train.data import Sample

CUTOFF = 5.0  # A, within which pairs of atoms are looked for


@options.with_options(options.structure_options())
def command(
    files: Annotated[list[str], typer.Argument(show_default=False)],
    *,
    keys: str | None = None,
    units: str | None = None,
    calculator: Annotated[str | None, typer.Option(show_default=False)] = None,
    html: Path | None = None,
    plot: Path | None = None,
    json: options.Json = False,
    **chosen: Any,
) -> None:
    """Describe files of labelled structures, or the data of a recipe by split.

    Numbers of structures and labels, ranges, and structures to look at: duplicates, large forces,
    short distances, energies far off, labels that are not derivatives of each other.

    Parameters
    ----------
    files:
        Files and folders of structures, or one recipe (.toml), whose names, units and splits apply.
    keys:
        Names of labels, such as energy=E,forces=F; an empty name: not used.
    units:
        Units of the files, such as energy=Hartree,length=Bohr.
    calculator:
        Name, folder, checkpoint or module:factory of a calculator of similar forces, by which signs
        and units of forces and stresses are checked; stresses by finite strains.
    html:
        Page to write, with the numbers and pictures.
    plot:
        Picture (PNG) to write.
    json:
        Print JSON for programs.
    chosen:
        Format of the files.

    Examples
    --------
    Example: ase-pet data training.extxyz more/ --html data.html
    """
    from ..train import data_report, summary

    with screen.progress("reading data"):
        groups = _groups(files, keys, units, chosen["format"])
    described = {name: summary.of_samples(samples) for name, samples in groups.items()}
    notes = summary.suspicious(groups)
    if calculator is not None:
        notes += _against(calculator, groups)
    table = _texts(described)
    if html is not None:
        data_report.page(groups, table, notes, html)
    if plot is not None:
        data_report.figure(groups).savefig(plot, dpi=120)
    if json:
        screen.print_json({"groups": described, "notes": notes})
        return
    names = [Path(name).name for name in described]
    if len(set(names)) < len(names):
        names = list(described)
    shown = Table("", *names)
    for row, cells in table.items():
        shown.add_row(row, *cells.values())
    screen.console().print(shown)
    for note in notes:
        screen.say(f"to look at: {note}")
    for path in filter(None, (html, plot)):
        screen.say(f"wrote {path}")


def _groups(
    files: list[str], keys: str | None, units: str | None, format: str | None
) -> dict[str, list[Sample]]:
    """Samples by file, or by split of a recipe."""
    from ..train import data, summary
    from ..train.label_options import parse, parse_units
    from ..train.recipe import factors_of, model_settings, read

    # a recipe says names, units and splits itself
    recipes = [name for name in files if name.endswith(".toml")]
    if not recipes:
        groups = summary.read_files(
            files, parse(keys), factors_of(parse_units(units)), CUTOFF, format
        )
        if not any(groups.values()):
            raise ValueError("the files hold no structures")
        return groups
    if len(files) > 1 or keys is not None or units is not None:
        raise ValueError(
            f"`{recipes[0]}` is a recipe: expected no other file, no --keys, no --units"
        )
    recipe = read(recipes[0])
    splits = data.read(recipe, model_settings(recipe).species, CUTOFF)
    return {split: samples for split, samples in splits.items() if samples}


def _against(calculator: str, groups: dict[str, list[Sample]]) -> list[str]:
    """Lines on labels of each group whose sign or unit is not that of a calculator."""
    from ..train import label_signs

    is_factory = ":" in calculator and not Path(calculator).exists()
    names = (None, calculator) if is_factory else (calculator, None)
    loaded = options.load_calculator(*names)
    texts = []
    for group, samples in groups.items():
        found = label_signs.of_calculator(loaded, samples, f"`{calculator}`")
        texts += [f"`{Path(group).name}`: {text}" for text in found]
    return texts


def _texts(described: dict[str, dict[str, Any]]) -> dict[str, dict[str, str]]:
    """{row: {group: text}} of the numbers of each group."""
    rows = list(next(iter(described.values())))
    return {row: {name: _text(values[row]) for name, values in described.items()} for row in rows}


def _text(value: Any) -> str:
    """A number, a range or a list as people write them."""
    if value is None:
        return "-"
    if isinstance(value, int):
        return str(value)
    if isinstance(value[0], str):
        return " ".join(value)
    low, high = value
    return f"{low:.5g}" if low == high else f"{low:.5g} to {high:.5g}"
