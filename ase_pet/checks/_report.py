"""Report of checks as one HTML file with its plots inside."""

import base64
import io
from html import escape

STYLE = """body{font-family:sans-serif;margin:2em;max-width:75em}table{border-collapse:collapse}
td,th{border:1px solid #bbb;padding:.25em .6em;text-align:left;vertical-align:top}
td.number{text-align:right;white-space:nowrap}
.pass{color:#060}.fail{color:#b00;font-weight:bold}.not{color:#777}figure{display:inline-block;margin:1em 1em 0 0}"""
HEAD = ("check", "quantity", "value", "limit", "unit", "", "structure", "note")


def html(results, title=""):
    """Text of a page with a table of the results and a plot of each that has one; it refers to no other file.

    results: list of Result. Raises ValueError where matplotlib is missing.
    """
    figure = _figure_class()
    counts = {}
    for result in results:
        counts[result.status] = counts.get(result.status, 0) + 1
    head = "".join(f"<th>{name}</th>" for name in HEAD)
    rows = "\n".join(_row(result) for result in results)
    plots = "\n".join(_plot(result, figure) for result in results if result.plot is not None)
    summary = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    return (f"<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>checks of {escape(title)}</title>"
            f"<style>{STYLE}</style></head>\n<body><h1>Checks of {escape(title)}</h1>\n<p>{summary}</p>\n"
            f"<table><tr>{head}</tr>\n{rows}\n</table>\n{plots}\n</body></html>\n")


def _row(result):
    value = "" if result.value is None else f"{result.value:.3g}"
    cells = "".join(f"<td class=\"{kind}\">{escape(text)}</td>" for kind, text in (
        ("", result.check), ("", result.quantity), ("number", value), ("number", result.range), ("", result.unit),
        (result.status.split()[0], result.status), ("", result.structure), ("", result.note)))
    return f"<tr>{cells}</tr>"


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
