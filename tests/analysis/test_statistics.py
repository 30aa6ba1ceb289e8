"""Means of correlated series: error bars that cover the truth, equilibration, drift."""

import numpy as np
import pytest
from scipy.signal import lfilter

from ase_pet import statistics

ROWS = 800
TIME = np.arange(ROWS)


def correlated(rng, time=5.0, rows=ROWS):
    """AR(1) series of unit variance with a correlation time in rows, started in equilibrium."""
    factor = np.exp(-1 / time)
    settled = rows + int(20 * time)
    noise = rng.normal(size=settled) * np.sqrt(1 - factor**2)
    return lfilter([1], [1, -factor], noise)[-rows:]


def generators(count, seed=0):
    return [np.random.default_rng([seed, index]) for index in range(count)]


def outcomes(make, truth, count):
    """Fraction of error bars that cover the truth, and of series without an error bar."""
    results = [statistics.mean(make(rng)) for rng in generators(count)]
    bars = [result for result in results if result.error is not None]
    covered = [abs(result.value - truth) < result.error for result in bars]
    return np.mean(covered), 1 - len(bars) / count


# 68 % of error bars of a normal distribution cover the truth
def test_error_bars_cover_the_truth_at_the_right_rate():
    covered, without = outcomes(correlated, 0, 200)
    assert 0.60 < covered < 0.76
    assert without < 0.05


def test_error_bars_of_a_relaxing_start_cover_the_truth():
    relaxing = 8 * np.exp(-TIME / 25)
    covered, without = outcomes(lambda rng: 3 + correlated(rng) + relaxing, 3, 80)
    assert 0.57 < covered < 0.79
    assert without < 0.10


def test_errors_of_fast_oscillations_on_a_slow_part_are_those_of_the_slow_part():
    """90 % of the variance is a damped oscillation, 10 % decays slowly and makes the error."""

    def make(rng):
        radius = np.exp(-1 / 40)
        fast = lfilter([1], [1, -2 * radius * np.cos(0.6), radius**2], rng.normal(size=2200))
        return 3 * fast[-1500:] / fast.std() + correlated(rng, 10, 1500)

    covered, _ = outcomes(make, 0, 80)
    assert 0.56 < covered < 0.80


@pytest.mark.parametrize("time", [0.01, 2.0, 10.0])
def test_inefficiency_is_that_of_the_correlation(time):
    """Sum of the correlation of AR(1): g = (1 + f) / (1 - f), with the factor f of neighbours."""
    factor = np.exp(-1 / time)
    values = [
        statistics.statistical_inefficiency(correlated(rng, time, 4000)) for rng in generators(20)
    ]
    assert np.mean(values) == pytest.approx((1 + factor) / (1 - factor), rel=0.15)


def test_start_of_a_relaxing_series_is_late_enough():
    for rng in generators(10):
        values = correlated(rng) + 20 * np.exp(-TIME / 25)
        start = statistics.equilibration(values)
        assert 60 < start < 400  # 20 exp(-60 / 25) = 1.8


@pytest.mark.parametrize("height", [3, 10, 100])
def test_a_drift_has_no_error_bar(height):
    for rng in generators(10):
        result = statistics.mean(correlated(rng) + height * TIME / ROWS)
        assert result.error is None
        assert result.note == "not equilibrated: still drifting"


def test_a_relaxation_longer_than_the_series_has_no_error_bar():
    for rng in generators(10):
        result = statistics.mean(correlated(rng) + 20 * np.exp(-TIME / 600))
        assert result.note == "not equilibrated: still drifting"


def test_series_without_drift_are_seldom_called_drifting():
    drifting = [statistics.drifts(correlated(rng)) for rng in generators(400)]
    assert np.mean(drifting) < 0.015


def test_few_independent_samples_have_no_error_bar():
    rng = np.random.default_rng(3)
    results = [statistics.mean(correlated(rng, 200)) for _ in range(20)]
    assert all(result.error is None for result in results)
    notes = " ".join(result.note for result in results)
    assert "independent samples" in notes


def oscillator(rng, periods, quality, period=40):
    """AR(2) series of a damped oscillator that is driven by noise: `quality` periods of memory."""
    frequency = 2 * np.pi / period
    radius = np.exp(-frequency / (2 * quality))
    polynomial = [1, -2 * radius * np.cos(frequency), radius**2]
    rows = periods * period
    return lfilter([1], polynomial, rng.normal(size=rows + 10 * period * quality))[-rows:]


@pytest.mark.parametrize(
    "quality", [*(pytest.param(number, marks=pytest.mark.slow) for number in (1, 2)), 4]
)
def test_error_bars_of_many_oscillations_cover_the_truth(quality):
    covered, without = outcomes(lambda rng: oscillator(rng, 20, quality), 0, 200)
    assert 0.55 < covered < 0.80
    assert without < 0.1


@pytest.mark.parametrize("quality", [1, 2, 4])
@pytest.mark.parametrize("periods", [2, 5])
def test_few_oscillations_have_no_error_bar(periods, quality):
    results = [statistics.mean(oscillator(rng, periods, quality)) for rng in generators(20)]
    assert [result.error for result in results] == [None] * 20


@pytest.mark.parametrize("noise", [0.0, 0.3, 1.0])
def test_few_oscillations_below_noise_have_no_narrow_error_bar(noise):
    for rng in generators(10):
        values = np.sqrt(2) * np.sin(2 * np.pi * 3.2 * TIME / ROWS) + noise * rng.normal(size=ROWS)
        result = statistics.mean(values, start=0)
        # a wide error bar remains where noise adds crossings of the mean
        assert result.error is None or result.error > 0.15


def test_a_random_walk_has_no_error_bar():
    walks = [np.cumsum(rng.normal(size=ROWS)) for rng in generators(20)]
    assert sum(statistics.mean(walk).error is not None for walk in walks) <= 1


def test_a_constant_has_no_error_bar():
    result = statistics.mean(np.full(100, 47.241632))
    assert (result.value, result.error, result.note) == (47.241632, None, "constant")
    assert str(result) == "47.242 (constant)"


def test_few_values_have_no_error_bar():
    result = statistics.mean(np.arange(19.0))
    assert (result.value, result.error) == (9, None)
    assert result.note == "no error bar: fewer than 20 values"


def test_long_series_are_reduced_to_blocks_with_the_same_error():
    rng = np.random.default_rng(1)
    values = correlated(rng, 30, 50000)
    expected = np.sqrt((1 + np.exp(-1 / 30)) / (1 - np.exp(-1 / 30)) / 50000)
    assert statistics.mean(values).error == pytest.approx(expected, rel=0.25)


def test_series_of_a_run_share_the_end_of_equilibration():
    first, second = generators(2)
    series = {
        "early": correlated(first),
        "late": correlated(second) + 20 * np.exp(-TIME / 25),
        "drifting": correlated(second) + TIME,
        "constant": np.full(ROWS, 3.0),
    }
    means = statistics.means(series)
    assert means["early"].start == means["late"].start > 60
    assert means["drifting"].note == statistics.DRIFTING
    assert means["constant"].note == statistics.CONSTANT
    assert str(means["early"]).count("±") == 1


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (301.541, 3.22, "301.5 ± 3.2"),
        (0.0013393, 0.0397, "0.001 ± 0.040"),
        (-123456.7, 52.1, "-123457 ± 52"),
        (5.1877e-5, 1.2e-5, "5.2e-05 ± 1.2e-05"),
        (6.5765e-5, 2.1e-6, "6.58e-05 ± 2.1e-06"),
        (-1110.6, 4.7e-5, "-1110.600000 ± 0.000047"),
        (1e-6, 2e-5, "1.0e-06 ± 2.0e-05"),
        (1234567, 52000, "1.235e+06 ± 5.2e+04"),
        (1.0, 0.0, "1 ± 0"),
    ],
)
def test_values_have_the_digits_of_their_errors(value, error, text):
    assert statistics.with_error(value, error) == text


# Lines


def test_slopes_have_errors_that_cover_the_truth():
    times = 0.01 * TIME
    deviations = []
    for rng in generators(200):
        line = statistics.fit_line(times, correlated(rng) + 2 * times)
        deviations.append((line.slope - 2) / line.error)
    assert 0.58 < np.mean(np.abs(deviations) < 1) < 0.78
    assert line.rms == pytest.approx(1, abs=0.2)


def test_an_exact_line_has_no_error():
    times = np.linspace(0, 1, 101)
    line = statistics.fit_line(times, 2 * times + 1)
    assert line.slope == pytest.approx(2, rel=1e-12)
    assert line.error < 1e-12
    assert statistics.fit_line(times, np.zeros(101)) == (0, 0, 0)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0, np.nan, 2.0], "`values` holds nan at index 1"),
        ([1.0, np.inf], "`values` holds inf at index 1"),
        ([], "expected a series"),
        ([[1.0, 2.0]], "expected a series"),
    ],
)
def test_bad_values_are_named(values, message):
    for function in (statistics.mean, statistics.equilibration, statistics.drifts):
        with pytest.raises(ValueError, match=message):
            function(values)


def test_a_bad_series_of_a_run_is_named():
    with pytest.raises(ValueError, match="`pressure_GPa`: `values` holds nan at index 0"):
        statistics.means({"pressure_GPa": [np.nan, 1]})


@pytest.mark.parametrize(("times", "values"), [([1.0], [1.0]), ([1, 1], [1, 2]), ([1, 2], [1])])
def test_bad_lines_are_refused(times, values):
    with pytest.raises(ValueError, match="two different times"):
        statistics.fit_line(times, values)
