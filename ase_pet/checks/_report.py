"""Reports of checks: a page of HTML with plots, and a Markdown table for a calculator's README."""

from __future__ import annotations

import base64
import datetime
import io
import itertools
import math
import platform
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata, resources
from typing import Any

from ..extras import how_to_install
from . import _check as plugin
from ._describe import sentence
from ._results import Plot, Result

TEMPLATE = "report.html.j2"
PACKAGES = ("ase_pet", "ase", "torch", "numpy")  # their versions are part of a report
MEANING = "Where it fails, "  # begins the paragraph of a docstring that says what a failure means


def html(
    results: Sequence[Result],
    title: str = "",
    description: Mapping[str, Any] | None = None,
    unfinished: str = "",
) -> str:
    """Text of an HTML page with a table of the results, failed checks first, and their plots.

    The page refers to no other file.

    Parameters
    ----------
    results:
        Results of a run, in its order.
    title:
        Name of the calculator.
    description:
        What `describe` returns of the calculator.
    unfinished:
        Why results are missing, "" if none are.

    Raises
    ------
    ValueError
        Matplotlib, which draws the plots, is not installed.
    """
    figure_class = _figure_class()
    # Imported here, as only reports need it.
    from jinja2 import Environment, StrictUndefined

    by_check = _by_check(results)
    # The sort is stable: otherwise checks stay in the order in which they were run.
    ordered = sorted(by_check, key=lambda name: not _failed(by_check[name]))
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    source = resources.files(__package__).joinpath(TEMPLATE).read_text(encoding="utf-8")
    return environment.from_string(source).render(
        title=title,
        n_checks=len(by_check),
        n_failed=sum(_failed(group) for group in by_check.values()),
        n_passed=sum(_status(group) == "pass" for group in by_check.values()),
        description=sentence(description or {}),
        unfinished=unfinished,
        counts=_counts(results),
        dtypes=", ".join(_dtypes(results)),
        checks=[_section(name, by_check[name]) for name in ordered],
        plots=_pictures([by_check[name] for name in ordered], figure_class),
        provenance=provenance(results),
    )


def markdown(results: Sequence[Result]) -> str:
    """Markdown table of the `results`, one row for each check.

    A row lists the failed quantities of its check, or all of them where none failed.
    """
    lines = [
        f"{provenance(results)} Quantities: {_counts(results)}.",
        "",
        "| check | result | values (limits) |",
        "|---|---|---|",
    ]
    for name, group in _by_check(results).items():
        status = _status(group)
        if status == "not applicable":
            values = group[0].note
        else:
            failed = [result for result in group if result.status == "fail"]
            values = "; ".join(_words(result) for result in failed or group)
        # A bar would begin a new cell.
        escaped = values.replace("|", "\\|")
        lines.append(f"| `{name}` | {'FAIL' if status == 'fail' else status} | {escaped} |")
    return "\n".join(lines)


def provenance(results: Sequence[Result]) -> str:
    """One line with the date, machine, versions, limits and time of a run and its `results`."""
    date = datetime.date.today().isoformat()
    machine = f"{platform.system()} {platform.machine()}"
    python = f"Python {platform.python_version()}"
    packages = ", ".join(f"{name} {version}" for name, version in versions().items())
    parts = [f"{date}, {machine}, {python}", packages]
    # No results have no dtypes.
    dtypes = _dtypes(results)
    if dtypes:
        names = " and ".join(dtypes)
        parts.append(f"limits of {names}")
    seconds = sum(result.seconds for result in results)
    parts.append(f"{seconds:.0f} s.")
    return "; ".join(parts)


def versions() -> dict[str, str]:
    """{package: version} of this package and of those that it computes with."""
    return {name: _version(name) for name in PACKAGES}


def _by_check(results: Sequence[Result]) -> dict[str, list[Result]]:
    """{check: its results}, in the order in which they were run."""
    groups: dict[str, list[Result]] = {}
    for result in results:
        groups.setdefault(result.check, []).append(result)
    return groups


def _failed(results: Sequence[Result]) -> bool:
    return any(result.status == "fail" for result in results)


def _status(results: Sequence[Result]) -> str:
    """Status of a check with these results: fail, pass, info or not applicable."""
    kinds = {result.status for result in results}
    return next((kind for kind in ("fail", "pass", "info") if kind in kinds), "not applicable")


def _counts(results: Sequence[Result]) -> str:
    """Text such as "3 pass, 1 fail"."""
    kinds = [result.status for result in results]
    return ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))


def _dtypes(results: Sequence[Result]) -> list[str]:
    """Sorted names of the precisions that the limits are for."""
    return sorted({result.dtype for result in results} - {""})


def _words(result: Result) -> str:
    """Quantity, value, limit and unit of a result."""
    if result.status == "not applicable":
        return f"{result.quantity} not applicable"
    value = f"error: {result.note}" if result.value is None else f"{result.value:.2g}"
    if result.limit is not None:
        value += f" ({result.range})"
    return " ".join(text for text in (result.quantity, value, result.unit) if text)


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "(not installed)"  # the package is run from its source


def _section(name: str, results: Sequence[Result]) -> dict[str, Any]:
    """What the template needs of one check: its law, its rows and what its failure means."""
    # Results may be of a check that is not part of this package.
    text = (plugin.load(name).__doc__ or "") if name in plugin.names() else name
    title, _, law = text.partition("\n")[0].partition(":")
    meaning = ""
    helps = ""
    # Of failed checks only, as readers skip long texts.
    if _failed(results):
        helps = next((result.remedy for result in results if result.remedy), "")
        if MEANING in text:
            meaning = text[text.index(MEANING) :].strip()
    return {
        "name": name,
        "status": _css_class(_status(results)),
        "title": title,
        "law": law.strip(),
        "meaning": meaning,
        "helps": helps,
        "rows": [_row(result) for result in results],
    }


def _row(result: Result) -> dict[str, str]:
    """Texts of the cells of one quantity, and the class of its status."""
    return {
        "quantity": result.quantity,
        "value": "" if result.value is None else f"{result.value:.3g}",
        "limit": result.range.replace("<=", "≤"),
        "unit": result.unit,
        "severity": severity(result),
        "status": result.status,
        "class": _css_class(result.status),
        "structure": result.structure,
        "note": result.note,
    }


def severity(result: Result) -> str:
    """Text such as "12 x limit" of a quantity that failed, "" of the others."""
    factor = result.severity
    if result.status != "fail" or factor is None or not math.isfinite(factor):
        return ""
    return f"{factor:.3g} x limit"


def _css_class(status: str) -> str:
    """Class of the style sheet for a status: "not" for "not applicable"."""
    return status.split()[0]


def _figure_class() -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ValueError(
            f"a report needs matplotlib, of the extra `train` ({how_to_install('train')}): {error}"
        ) from None
    return Figure


def _pictures(groups: Iterable[Sequence[Result]], figure_class: Any) -> list[dict[str, str]]:
    """Descriptions of the plots of all results, and the plots as PNG files in base64."""
    pictures = []
    # The page refers to no files: pictures are part of its text.
    for result in itertools.chain.from_iterable(groups):
        if result.plot is None:
            continue
        description = f"{result.check}, {result.quantity}, {result.structure}"
        title = f"{result.check}: {result.structure}"
        png = _png(result.plot, title, figure_class)
        encoded = base64.b64encode(png).decode("ascii")
        pictures.append({"description": description, "png": encoded})
    return pictures


def _png(plot: Plot, title: str, figure_class: Any) -> bytes:
    """PNG file of a plot."""
    figure = figure_class(figsize=(6, 3.6), layout="constrained")
    axes = figure.add_subplot()
    for name, (x, y) in plot.curves.items():
        axes.plot(x, y, label=name)
    axes.set(xlabel=plot.x, ylabel=plot.y, title=title)
    axes.legend()
    # Without pyplot, which would keep the figure in memory.
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=110)
    return file.getvalue()
