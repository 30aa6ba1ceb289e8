"""Means of correlated series: equilibration, independent samples, standard errors, drift.

The standard error of the mean of n values with variance v is sqrt(v g / (n - g)). The statistical
inefficiency g is one for independent values. It follows from the spectral density at frequency
zero, S(0) = v g, of an autoregressive model (Burg's method; order by Akaike's criterion, P. J.
Brockwell and R. A. Davis, Introduction to Time Series and Forecasting, chapter 5). Such a model
describes the decay and the oscillations of series of molecular dynamics. It is fitted to the series
and to its means over blocks of 2, 4, 8, ... values, and the largest S(0) counts: a slow part of the
correlation that is hidden below fast fluctuations becomes visible in the means.

A series is equilibrated from the row after which the number of independent samples, (n - start) /
g(start), is largest (J. D. Chodera, J. Chem. Theory Comput. 12, 1799 (2016)).
"""

from ._correlation import statistical_inefficiency
from ._equilibration import FEWEST_ROWS, equilibration
from ._lines import Line, drifts, fit_line
from ._means import CONSTANT, DRIFTING, FEWEST_SAMPLES, NO_MEAN, RAMP, Mean, mean, means, with_error

__all__ = [
    "CONSTANT",
    "DRIFTING",
    "FEWEST_ROWS",
    "FEWEST_SAMPLES",
    "NO_MEAN",
    "RAMP",
    "Line",
    "Mean",
    "drifts",
    "equilibration",
    "fit_line",
    "mean",
    "means",
    "statistical_inefficiency",
    "with_error",
]
