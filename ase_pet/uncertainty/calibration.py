"""Expected against observed errors: whether standard deviations are those of the errors.

With errors r_k and their predicted standard deviations sigma_k, z_k = r_k / sigma_k of a calibrated
model are normal with mean 0 and variance 1:

    rms z               1; above 1 the errors are larger than expected
    coverage(p)         fraction of |z_k| below the p-quantile of |z|: p
    miscalibration      integral over p of |coverage(p) - p|: 0, at most 0.5
    slope               of log |r_k| against log sigma_k: 1; 0 if sigma tells nothing
    rank                Spearman's correlation of |r_k| with sigma_k: high, but well below 1 even
                        for a calibrated model, whose |r_k| scatter about sigma_k

Sources: V. Kuleshov, N. Fenner, S. Ermon, ICML 2018, arXiv:1807.00263 (coverage); K. Tran et al.,
Mach. Learn.: Sci. Technol. 1, 025006 (2020) (area).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np

from ..md.plots import figure_class
from ..staging import staged

PICTURE = "calibration.png"
TABLE = "calibration.json"
FEWEST = 2  # errors, of which a calibration can be said
PER_BIN = 5  # errors, at least, of a row of the table
BINS = 8
LEVELS = np.linspace(0.01, 0.99, 99)
TINY = 1e-300
TICKS = (1.0, 2.0, 5.0)  # labels of an axis in each decade


@dataclass(frozen=True)
class Row:
    """Errors with similar expected ones.

    Attributes
    ----------
    count:
        Number of errors.
    expected:
        Root mean square of their standard deviations.
    observed:
        Root mean square of the errors.
    """

    count: int
    expected: float
    observed: float


@dataclass(frozen=True)
class Comparison:
    """Expected against observed errors, see the head of this file.

    Attributes
    ----------
    count:
        Number of errors.
    expected, observed:
        Root mean squares of standard deviations and errors.
    rms_z:
        Root mean square of error over standard deviation.
    area:
        Miscalibration area.
    slope, rank:
        Of the logarithms, and of the ranks; NaN where all standard deviations are equal.
    rows:
        Errors sorted by their standard deviations, in groups of about the same number.
    """

    count: int
    expected: float
    observed: float
    rms_z: float
    area: float
    slope: float
    rank: float
    rows: tuple[Row, ...]

    def summary(self) -> dict[str, Any]:
        """Table for calculator.toml: the numbers of all errors together."""
        return {name: value for name, value in self.as_dict().items() if name != "rows"}

    def as_dict(self) -> dict[str, Any]:
        """Table for JSON and TOML, without numbers that are not known."""
        table = asdict(self)
        table["rows"] = [asdict(row) for row in self.rows]
        return {name: value for name, value in table.items() if value == value}


def compare(deviations: np.ndarray, errors: np.ndarray) -> Comparison:
    """Comparison of expected with observed errors, both in the same unit.

    Parameters
    ----------
    deviations:
        Predicted standard deviations (n,), above 0.
    errors:
        Predicted minus true values (n,).

    Raises
    ------
    ValueError
        There are fewer than two, or a number is not finite, or a deviation not above 0.
    """
    sigma = np.asarray(deviations, dtype=float).ravel()
    error = np.asarray(errors, dtype=float).ravel()
    if len(sigma) != len(error) or len(error) < FEWEST:
        raise ValueError(
            f"{len(sigma)} standard deviations and {len(error)} errors: expected the same number,"
            f" at least {FEWEST}"
        )
    if not np.isfinite(error).all() or not (np.isfinite(sigma) & (sigma > 0)).all():
        raise ValueError("standard deviations must be finite and above 0, and errors finite")
    z = np.abs(error) / sigma
    size = np.abs(error)
    # of an error of 0 the logarithm is that of the smallest number
    logarithm = np.log(np.maximum(size, TINY))
    beyond = np.abs(coverage(z) - LEVELS)
    rows = tuple(_rows(sigma, error))
    return Comparison(
        count=len(error),
        expected=_rms(sigma),
        observed=_rms(error),
        rms_z=_rms(z),
        area=float(beyond.mean()),
        slope=_slope(np.log(sigma), logarithm),
        rank=_correlation(_ranks(sigma), _ranks(size)),
        rows=rows,
    )


def coverage(z: np.ndarray) -> np.ndarray:
    """Fraction of errors within the quantile of each of `LEVELS`, (levels,).

    Parameters
    ----------
    z:
        Absolute errors (n,) over their standard deviations.
    """
    normal = NormalDist()
    quantiles = np.array([normal.inv_cdf((1 + level) / 2) for level in LEVELS])
    within = z[:, None] <= quantiles  # (n, levels)
    fractions: np.ndarray = within.mean(0)
    return fractions


def plot(kinds: Mapping[str, tuple[np.ndarray, np.ndarray, str]], path: Path) -> None:
    """Write a PNG: errors against standard deviations, and coverage, a row for each kind.

    Parameters
    ----------
    kinds:
        {title: (standard deviations (n,), errors (n,), unit)}.
    path:
        Path of the picture.
    """
    figure = figure_class()(figsize=(7.6, 3.4 * len(kinds)), layout="constrained")
    panels = figure.subplots(len(kinds), 2, squeeze=False)
    for (left, right), title in zip(panels, kinds, strict=True):
        deviations, errors, unit = kinds[title]
        sigma = np.ravel(deviations)
        error = np.abs(np.ravel(errors))
        compared = compare(sigma, error)
        _plot_errors(left, sigma, error, compared)
        left.set(xlabel=f"expected error ({unit})", ylabel=f"observed error ({unit})", title=title)
        observed = coverage(error / sigma)
        right.plot(LEVELS, observed)
        right.plot([0, 1], [0, 1], "k--", linewidth=1)
        area = f"miscalibration area {compared.area:.3f}"
        right.set(xlabel="expected fraction", ylabel="observed fraction within", title=area)
    figure.savefig(path, dpi=120)


def _plot_errors(axes: Any, sigma: np.ndarray, error: np.ndarray, compared: Comparison) -> None:
    """Plot absolute errors against standard deviations, and the RMS of groups of them."""
    from matplotlib import ticker

    # an error of 0 has no logarithm
    shown = np.maximum(error, error.max() * 1e-6)
    axes.loglog(sigma, shown, ".", color="0.7", markersize=2)
    expected = [row.expected for row in compared.rows]
    observed = [row.observed for row in compared.rows]
    axes.loglog(expected, observed, "o-", label="RMS of groups")
    limits = [sigma.min(), sigma.max()]
    axes.loglog(limits, limits, "k--", linewidth=1, label="observed = expected")
    axes.legend(fontsize="small", frameon=False)
    # ranges are often shorter than a decade, where matplotlib's own labels overlap
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(ticker.LogLocator(subs=TICKS))
        axis.set_major_formatter(ticker.FormatStrFormatter("%g"))
        axis.set_minor_formatter(ticker.NullFormatter())


def write(
    folder: Path,
    kinds: Mapping[str, tuple[np.ndarray, np.ndarray, str]],
    compared: Mapping[str, Comparison],
) -> list[Path]:
    """Paths of calibration.json and calibration.png, written into a folder.

    Parameters
    ----------
    folder:
        Existing folder.
    kinds:
        {kind: (standard deviations (n,), errors (n,), unit)}.
    compared:
        {kind: comparison}.
    """
    content = {kind: each.as_dict() for kind, each in compared.items()}
    with staged(folder) as stage:
        (stage / TABLE).write_text(json.dumps(content, indent=1) + "\n")
        plot(kinds, stage / PICTURE)
    return [folder / TABLE, folder / PICTURE]


def markdown(comparisons: Mapping[str, tuple[Comparison, str, float]]) -> str:
    """Markdown tables of comparisons.

    Parameters
    ----------
    comparisons:
        {title: (comparison, unit, factor from ASE's unit to it)}.
    """
    lines = [
        "| | errors | expected RMS | observed RMS | rms z | miscalibration area | slope | rank |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for title, (each, unit, factor) in comparisons.items():
        # the sizes of errors have a unit, the other numbers have none
        sizes = [f"{factor * value:.3g} {unit}" for value in (each.expected, each.observed)]
        plain = (each.rms_z, each.area, each.slope, each.rank)
        numbers = [f"{value:.2f}" for value in plain]
        cells = [title, str(each.count), *sizes, *numbers]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2)))


def _rows(sigma: np.ndarray, error: np.ndarray) -> list[Row]:
    """Groups of errors, from the smallest standard deviations to the largest."""
    order = np.argsort(sigma, kind="stable")
    n_groups = max(1, min(BINS, len(sigma) // PER_BIN))
    groups = np.array_split(order, n_groups)
    return [Row(len(group), _rms(sigma[group]), _rms(error[group])) for group in groups]


def _slope(x: np.ndarray, y: np.ndarray) -> float:
    """Slope of the least-squares line of y against x, NaN where x is constant."""
    deviation = x - x.mean()
    square = float(deviation @ deviation)
    return float(deviation @ (y - y.mean())) / square if square > 0 else math.nan


def _correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Pearson's correlation, NaN where one of them is constant."""
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return math.nan
    return float(np.corrcoef(x, y)[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks (n,) of values, the mean rank of equal ones."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    means = ends - (counts - 1) / 2
    return np.asarray(means[place])
