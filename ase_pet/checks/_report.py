"""Report of checks as one HTML file with its plots inside."""

import base64
import datetime
import io
import platform
from html import escape
from importlib import metadata

from .. import plugins

STYLE = """body{font-family:sans-serif;margin:2em auto;max-width:80em;padding:0 1em;color:#222;line-height:1.35}
table{border-collapse:collapse;width:100%}td,th{border-bottom:1px solid #ccc;padding:.3em .6em;text-align:left;vertical-align:top}
th{border-bottom:2px solid #888}td.number{text-align:right;white-space:nowrap}tr.law td{background:#f3f3f3;font-weight:bold}
tr.law span{font-weight:normal;color:#444}tr.failed td{background:#fdecec}
.pass{color:#060}.fail{color:#b00;font-weight:bold}.not,.info{color:#666}.verdict{font-size:1.25em}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(26em,1fr));gap:1em}figure{margin:0}img{width:100%}"""
HEAD = ("quantity", "value", "limit", "unit", "", "structure", "note")
TOLD = ("ase_pet", "ase", "torch", "numpy")  # packages whose versions a reader needs


def html(results, title=""):
    """Text of a page with the verdict, a table of the results, failed checks first, and their plots.

    It refers to no other file. results: list of Result. Raises ValueError where matplotlib is missing.
    """
    figure = _figure_class()
    checks = {}
    for result in results:
        checks.setdefault(result.check, []).append(result)
    order = sorted(checks, key=lambda name: not _failed(checks[name]))  # stable: otherwise as they were run
    head = "".join(f"<th>{name}</th>" for name in HEAD)
    rows = "\n".join(_law(name) + "".join(map(_row, checks[name])) for name in order)
    plots = "\n".join(_plot(result, figure) for name in order for result in checks[name] if result.plot is not None)
    return (f"<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>checks of {escape(title)}</title>"
            f"<meta name=\"viewport\" content=\"width=device-width\"><style>{STYLE}</style></head>\n"
            f"<body><h1>Checks of {escape(title)}</h1>\n{_verdict(results, checks)}\n<p>{escape(_made())}</p>\n"
            f"<table><tr>{head}</tr>\n{rows}\n</table>\n<h2>Plots</h2>\n<div class=\"plots\">{plots}</div>\n"
            "</body></html>\n")


def _failed(results):
    return any(result.status == "fail" for result in results)


def _verdict(results, checks):
    failed = [name for name, found in checks.items() if _failed(found)]
    counts = {}
    for result in results:
        counts[result.status] = counts.get(result.status, 0) + 1
    numbers = escape(", ".join(f"{count} {kind}" for kind, count in counts.items()))
    if failed:
        return (f"<p class=\"verdict fail\">{len(failed)} of {len(checks)} checks failed: {escape(', '.join(failed))}</p>"
                f"<p>Quantities: {numbers}.</p>")
    return f"<p class=\"verdict pass\">None of {len(checks)} checks failed</p><p>Quantities: {numbers}.</p>"


def _made():
    """When, where and with what."""
    versions = ", ".join(f"{name} {_version(name)}" for name in TOLD)
    date = datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %z")
    return (f"{date}, {platform.system()} {platform.machine()}, Python {platform.python_version()}; {versions}. Of several "
            "structures the worst is shown; info: a number without a limit.")


def _version(name):
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "(not installed)"  # run from its source


def _law(name):
    """Row above the quantities of a check: its name and the law that it tests."""
    law = plugins.load(__package__, name).__doc__.splitlines()[0] if name in plugins.names(__package__) else ""
    text = f" <span>{escape(law)}</span>"
    return f"<tr class=\"law\"><td colspan=\"{len(HEAD)}\">{escape(name)}{text}</td></tr>\n"


def _row(result):
    value = "" if result.value is None else f"{result.value:.3g}"
    cells = "".join(f"<td class=\"{kind}\">{escape(text)}</td>" for kind, text in (
        ("", result.quantity), ("number", value), ("number", result.range), ("", result.unit),
        (result.status.split()[0], result.status), ("", result.structure), ("", result.note)))
    return f"<tr class=\"{'failed' if result.status == 'fail' else ''}\">{cells}</tr>\n"


def _figure_class():
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ValueError("a report needs matplotlib, of the extra `train` (pip install 'ase-pet[train]'): "
                         f"{error}") from None
    return Figure


def _plot(result, figure_class):
    figure = figure_class(figsize=(6, 3.6), layout="constrained")
    axes = figure.add_subplot()
    for name, (x, y) in result.plot.curves.items():
        axes.plot(x, y, label=name)
    axes.set(xlabel=result.plot.x, ylabel=result.plot.y, title=f"{result.check}: {result.structure}")
    axes.legend()
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=110)
    picture = base64.b64encode(data.getvalue()).decode("ascii")
    text = escape(f"{result.check}, {result.quantity}, {result.structure}")
    return f"<figure><img alt=\"{text}\" src=\"data:image/png;base64,{picture}\"></figure>"
