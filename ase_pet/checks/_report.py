"""Reports of checks.

One HTML file with its plots inside, and a table for the card of a calculator.
"""

import base64
import datetime
import io
import platform
from html import escape
from importlib import metadata

from .. import plugins

STYLE = """body{font-family:sans-serif;margin:2em auto;max-width:80em;padding:0 1em;color:#222;line-height:1.35}
table{border-collapse:collapse;width:100%}td,th{border-bottom:1px solid #ccc;padding:.3em .6em;text-align:left;vertical-align:top}
th{border-bottom:2px solid #888}td.number{text-align:right;white-space:nowrap}tr.law td{background:#f3f3f3;padding-top:.7em}
tr.law code{color:#666;margin-left:.6em}.failure{color:#b00}tr.failed td{background:#fdecec}
.pass{color:#060}.fail{color:#b00;font-weight:bold}.not,.info{color:#666}.verdict{font-size:1.25em;margin-bottom:.4em}
nav{display:flex;flex-wrap:wrap;gap:.4em;margin:1em 0}nav a{padding:.15em .6em;border-radius:1em;text-decoration:none;
border:1px solid currentColor;font-weight:normal}nav a.fail{background:#fdecec}.made{color:#666;font-size:.9em}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(26em,100%),1fr));gap:1em}figure{margin:0}img{width:100%}
@media(max-width:45em){body{margin:1em auto}thead{display:none}table,tbody{display:block}tr{display:flex;flex-wrap:wrap;
column-gap:.8em;border-bottom:1px solid #ccc;padding:.35em .4em}td,td.number{border:0;padding:0;text-align:left;
white-space:normal}td:first-child,td:last-child{flex-basis:100%}td:first-child{font-weight:600}tr.law{padding:0}tr.law td{
padding:.5em .4em;font-weight:normal}td[data-name]:before{content:attr(data-name) " ";color:#666}td:empty{display:none}
tr.failed{background:#fdecec}}
@media print{body{margin:0;max-width:none;font-size:9pt;print-color-adjust:exact;-webkit-print-color-adjust:exact}
tr,figure{break-inside:avoid}tr.law{break-after:avoid}.plots{grid-template-columns:1fr 1fr}nav a{color:inherit}}"""  # noqa: E501
HEAD = ("quantity", "value", "limit", "unit", "result", "structure", "note")
TOLD = ("ase_pet", "ase", "torch", "numpy")  # packages whose versions a reader needs
PREFIX = "Where it fails, "
READING = """Each check tests one law of physics or of numerics that molecular dynamics relies on;
it says nothing about whether forces are those of nature. A row is one quantity, on the structure
where it is worst. pass, fail: the value is within the limit or not; info: a number without a limit;
not applicable: the law says nothing here, and the note says why."""


def html(results, title=""):
    """Text of a page with the verdict, a table of the results, failed checks first, and their
    plots.

    It refers to no other file. results: list of Result. Raises ValueError where matplotlib is
    missing.
    """
    figure, checks = _figure_class(), _by_check(results)
    order = sorted(
        checks, key=lambda name: not _failed(checks[name])
    )  # stable: otherwise as they were run
    head = "".join(f"<th>{name}</th>" for name in HEAD)
    rows = "\n".join(_law(name, checks[name]) + "".join(map(_row, checks[name])) for name in order)
    plots = "\n".join(
        _plot(result, figure)
        for name in order
        for result in checks[name]
        if result.plot is not None
    )
    links = "\n".join(
        f'<a class="{_status(checks[name]).split()[0]}" href="#{escape(name)}">{escape(name)}</a>'
        for name in order
    )
    shown = f'<h2>Plots</h2>\n<div class="plots">{plots}</div>\n' if plots else ""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>checks of'
        f' {escape(title)}</title><meta name="viewport" content="width=device-width,'
        f' initial-scale=1"><style>{STYLE}</style></head>\n<body><h1>Checks of'
        f" {escape(title)}</h1>\n{_verdict(results, checks)}\n<nav>{links}</nav>\n<p>"
        f"{escape(READING)}</p>\n<table><thead><tr>{head}</tr></thead>\n<tbody>{rows}\n</tbody>"
        f"</table>\n{shown}<p"
        f' class="made">{escape(made(results))}</p>\n</body></html>\n'
    )


def markdown(results):
    """Table for the card of a calculator.

    A row for each check, its failed quantities, or all of them where none failed.
    """
    rows = []
    for name, found in _by_check(results).items():
        status = _status(found)
        told = (
            [result for result in found if result.status == status] if status == "fail" else found
        )
        values = (
            "; ".join(_words(result) for result in told)
            if status != "not applicable"
            else found[0].note
        )
        values = values.replace("|", "\\|")
        rows.append(f"| `{name}` | {'FAIL' if status == 'fail' else status} | {values} |")
    table = ["| check | result | values (limits) |", "|---|---|---|", *rows]
    return "\n".join([f"{made(results)} Quantities: {_counts(results)}.", "", *table])


def made(results):
    """When, where and with what, in one line."""
    versions = ", ".join(f"{name} {_version(name)}" for name in TOLD)
    limits = " and ".join(sorted({result.dtype for result in results} - {""}))
    date = datetime.datetime.now().astimezone().strftime("%Y-%m-%d")
    return (
        f"{date}, {platform.system()} {platform.machine()}, Python {platform.python_version()};"
        f" {versions}{f'; limits of {limits}' if limits else ''};"
        f" {sum(result.seconds for result in results):.0f} s."
    )


def _by_check(results):
    """{check: its results}, in the order in which they were run."""
    found = {}
    for result in results:
        found.setdefault(result.check, []).append(result)
    return found


def _failed(results):
    return any(result.status == "fail" for result in results)


def _status(results):
    """Of a whole check: fail, pass, info or not applicable."""
    kinds = {result.status for result in results}
    return next((kind for kind in ("fail", "pass", "info") if kind in kinds), "not applicable")


def _counts(results):
    kinds = [result.status for result in results]
    return ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))


def _verdict(results, checks):
    failed, numbers = (
        [name for name, found in checks.items() if _failed(found)],
        escape(_counts(results)),
    )
    text = (
        f"{len(failed)} of {len(checks)} checks failed"
        if failed
        else f"None of {len(checks)} checks failed"
    )
    limits = ", ".join(sorted({result.dtype for result in results} - {""}))
    return (
        f'<p class="verdict {"fail" if failed else "pass"}">{text}</p><p>Quantities: {numbers}.'
        f"{f' Limits are those of {limits}.' if limits else ''}</p>"
    )


def _words(result):
    """Quantity, value, limit and unit of a result."""
    if result.status == "not applicable":
        return f"{result.quantity} not applicable"
    value = f"{result.value:.2g}" if result.value is not None else f"error: {result.note}"
    limit = f" ({result.range})" if result.limit is not None else ""
    return " ".join(filter(None, (result.quantity, value + limit, result.unit)))


def _version(name):
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "(not installed)"  # run from its source


def _law(name, results):
    """Row above the quantities of a check.

    Its law, its name and, where it failed, what that means for a user.
    """
    text = plugins.load(__package__, name).__doc__ if name in plugins.names(__package__) else name
    title, _, law = text.splitlines()[0].partition(":")
    meaning = text[text.index(PREFIX) :].strip() if PREFIX in text and _failed(results) else ""
    failure = f' <span class="failure">{escape(meaning)}</span>' if meaning else ""
    return (
        f'<tr class="law" id="{escape(name)}"><td'
        f' colspan="{len(HEAD)}"><strong>{escape(title)}</strong>:'
        f" {escape(law.strip())}{failure}<code>{escape(name)}</code></td></tr>\n"
    )


def _row(result):
    """Row of one quantity.

    Names of cells are for narrow screens, which have no heads of columns.
    """
    cells = [
        _cell(result.quantity),
        _cell("" if result.value is None else f"{result.value:.3g}", "number"),
        _cell(result.range.replace("<=", "≤"), "number", "limit"),
        _cell(result.unit),
        _cell(result.status, result.status.split()[0]),
        _cell(result.structure, name="on"),
        _cell(result.note),
    ]
    failed = ' class="failed"' if result.status == "fail" else ""
    return f"<tr{failed}>{''.join(cells)}</tr>\n"


def _cell(text, kind="", name=""):
    attributes = {"class": kind, "data-name": name if text else ""}
    inside = "".join(f' {key}="{value}"' for key, value in attributes.items() if value)
    return f"<td{inside}>{escape(text)}</td>"


def _figure_class():
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ValueError(
            "a report needs matplotlib, of the extra `train` (pip install 'ase-pet[train]'): "
            f"{error}"
        ) from None
    return Figure


def _plot(result, figure_class):
    figure = figure_class(figsize=(6, 3.6), layout="constrained")
    axes = figure.add_subplot()
    for name, (x, y) in result.plot.curves.items():
        axes.plot(x, y, label=name)
    axes.set(
        xlabel=result.plot.x, ylabel=result.plot.y, title=f"{result.check}: {result.structure}"
    )
    axes.legend()
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=110)
    picture = base64.b64encode(data.getvalue()).decode("ascii")
    text = escape(f"{result.check}, {result.quantity}, {result.structure}")
    return f'<figure><img alt="{text}" src="data:image/png;base64,{picture}"></figure>'
