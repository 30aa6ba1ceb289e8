"""Report of a run: report.html, one page with settings, plots, means, warnings and versions."""

from __future__ import annotations

import base64
import datetime
import json
from importlib import resources
from pathlib import Path
from typing import Any

import ase.io

from ..statistics import FEWEST_ROWS, with_error
from . import _report_rows, folders, inner, plots, thermo
from .outputs import SETTINGS, THERMO, TRAJECTORY
from .settings import Settings
from .simulation import Result

summary_rows = _report_rows.of_summary  # also those of the terminal
inner_rows = _report_rows.of_inner_steps

TEMPLATE = "report.html.j2"
REPORT = "report.html"
SUMMARY = "md.json"
PICTURES = (thermo.PICTURE, "averages.png", "rdf.png", "msd.png", "vdos.png")
ANALYSIS = "analysis.json"


def write(folder: Path | str, analysis: Path | str | None = None) -> Path:
    """Path of report.html in the folder of a run, which refers to no other file.

    The plots that the folder holds are part of the page; thermo.png is drawn again.

    Parameters
    ----------
    folder:
        Folder of a run.
    analysis:
        Folder with the files of `ase_pet.analysis`; None for the folder analysis of the run.

    Raises
    ------
    ValueError
        The folder holds no run, or matplotlib is not installed.
    """
    folder = Path(folder)
    if not (folder / SETTINGS).exists() or not (folder / THERMO).exists():
        raise ValueError(f"`{folder}` holds no run: {SETTINGS} or {THERMO} is missing")
    description = folders.read(folder)
    atoms = int(description["structure"]["atoms"])
    picture = thermo.plot(folder, atoms)
    table = thermo.read(folder)
    means = thermo.summary(table, atoms)
    settings = Settings(**description["settings"])
    result = Result(folder, settings, atoms, int(table["step"][-1]), 0, 0.0)
    place = folder / "analysis" if analysis is None else Path(analysis)
    texts = _warnings(folder, description, table, means)
    stale = _stale(folder, place)
    texts += [stale] if stale else []
    candidates = [] if stale else [place / name for name in PICTURES[1:]]
    pictures = [picture, *filter(Path.exists, candidates)]
    page = _render(
        title=plots.title(folder),
        means=_report_rows.of_summary(
            settings, result.summary(), result.equilibration(), result.ramp_parts()
        )
        + inner_rows(result.inner_steps()),
        rows=len(table["step"]),
        end=float(table["time_ps"][-1]),
        warnings=texts,
        analyses=[] if stale else _analyses(place / ANALYSIS),
        tables=_tables(description, settings),
        command=_command(description, settings, folder),
        plots=[_embedded(path) for path in pictures],
        date=datetime.date.today().isoformat(),
    )
    path = folder / REPORT
    path.write_text(page, encoding="utf-8")
    return path


def _render(**content: Any) -> str:
    # imported here, as only reports need it
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    source = resources.files(__package__).joinpath(TEMPLATE).read_text(encoding="utf-8")
    return environment.from_string(source).render(**content)


def _embedded(path: Path) -> dict[str, str]:
    """Description of a picture, and the picture in base64."""
    return {"name": path.stem, "png": base64.b64encode(path.read_bytes()).decode("ascii")}


def _tables(description: dict[str, Any], settings: Settings) -> dict[str, list[tuple[str, str]]]:
    """{heading: rows of name and text} of settings.toml."""
    tables = {"settings": _report_rows.of_settings(settings)}
    for heading, content in description.items():
        if isinstance(content, dict) and heading not in ("settings", "command"):
            tables[heading] = _report_rows.of_table(content)
    return tables


def _command(description: dict[str, Any], settings: Settings, folder: Path) -> str:
    """Command of a run that was begun by one, else ""."""
    command = description.get("command")
    if not isinstance(command, dict):
        return ""
    return _report_rows.command_line(command, settings, folder)


def _stale(folder: Path, place: Path) -> str:
    """Note on an analysis of fewer frames than the run has now, "" if it has all."""
    path = place / ANALYSIS
    trajectory = folder / TRAJECTORY
    if not path.exists() or not trajectory.exists():
        return ""
    analysed = json.loads(path.read_text(encoding="utf-8")).get("frames")
    with ase.io.Trajectory(trajectory) as frames:
        now = len(frames)
    if analysed is None or analysed >= now:
        return ""
    return (
        f"the analysis in {place} is left out: it is of {analysed} frames, and the run went on to"
        f" {now}. Repeat `ase-pet analyse {folder} --html`"
    )


def _warnings(
    folder: Path, description: dict[str, Any], table: thermo.Table, means: dict[str, Any]
) -> list[str]:
    """What a reader of the results should know."""
    # the mean of a ramp is no result, so its drift is no fault
    is_ramp = isinstance(description["settings"]["temperature"], list)
    notes = {} if is_ramp else means.get("notes", {})
    texts = [
        f"{name.rsplit('_', 1)[0]}: {note}" for name, note in notes.items() if note != "constant"
    ]
    if not means:
        texts.append(too_short(table))
    if (folder / "last_good.traj").exists():
        texts.append("the run became unstable: last_good.traj holds the last good structure")
    drift = thermo.drift_note(table, means)
    if drift is not None:
        texts.append(drift)
    stored = [f"inner steps: {note}" for note in inner.read(folder).get("notes", [])]
    stored += description.get("warnings", {}).get("texts", [])
    return [*texts, *map(str, stored)]


def too_short(table: thermo.Table) -> str:
    """Note on a table with too few rows for means, with the plain mean temperature.

    Parameters
    ----------
    table:
        Table of the run.
    """
    mean = table["temperature_K"].mean()
    return (
        f"no means: thermo.csv has fewer than {FEWEST_ROWS} rows (lower --thermo-interval);"
        f" plain mean temperature {mean:.4g} K, without error"
    )


def _analyses(path: Path) -> list[dict[str, Any]]:
    """Sections of the analyses in analysis.json: title, rows and notes; none without the file."""
    if not path.exists():
        return []
    content = json.loads(path.read_text(encoding="utf-8"))
    sections = []
    for analysis in content["analyses"].values():
        rows = [(name, text(value)) for name, value in analysis["values"].items()]
        sections.append({"title": analysis["title"], "rows": rows, "notes": analysis["notes"]})
    skipped = [f"{name}: {reason}" for name, reason in content["skipped"].items()]
    if skipped:
        sections.append({"title": "not analysed", "rows": [], "notes": skipped})
    return sections


def text(value: Any) -> str:
    """Text of a number, or of a mean with its error or note.

    Parameters
    ----------
    value:
        Number, or table with value, error and note as in analysis.json.
    """
    if not isinstance(value, dict):
        return f"{value}"
    if value.get("error") is not None:
        return with_error(value["value"], value["error"])
    note = value.get("note", "no error bar")
    # there is no mean
    if value["value"] is None:
        return str(note)
    return f"{value['value']:.6g} ({note})"
