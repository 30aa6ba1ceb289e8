"""Plugin of pytest: the checks as tests of your own calculator, one test for each law.

Enable it in `conftest.py` with `pytest_plugins = ["ase_pet.checks.pytest_plugin"]`, then

    @pytest.mark.physical_laws(species=["Cu"])
    def test_laws(physical_law):
        physical_law(MyCalculator())

is one test for each check. The marker takes `level`, `only` and the other options of
`ase_pet.checks.run`; known failures are marked as usual, by `-k "not nve"` or `xfail`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from . import _run
from ._cases import Structures
from ._report import severity
from ._results import Result
from ._subject import Calculator

MARKER = "physical_laws"
FIXTURE = "physical_law"


class PhysicalLaw:
    """One check, to be called with a calculator; the test fails where the check does.

    Attributes
    ----------
    name:
        Name of the check.
    options:
        Options of `ase_pet.checks.run` of the marker.
    """

    def __init__(self, name: str, options: dict[str, Any]) -> None:
        self.name = name
        self.options = options

    def __call__(
        self, calculator: Calculator, structures: Structures | None = None, **options: Any
    ) -> list[Result]:
        """Results of the check; the test fails where it fails, and is skipped where it applies not.

        Parameters
        ----------
        calculator:
            Any ASE calculator.
        structures:
            As in `ase_pet.checks.run`.
        options:
            More options of `ase_pet.checks.run`, before those of the marker.
        """
        chosen = {**self.options, **options}
        results = _run.run(calculator, structures, **chosen, only=[self.name])
        _judge(results)
        return results


def _judge(results: Sequence[Result]) -> None:
    """Fail the test with what failed and what helps, or skip it where nothing applies."""
    failed = [result for result in results if result.status == "fail"]
    if failed:
        lines = [_line(result) for result in failed]
        lines.append(f"What helps: {failed[0].remedy}")
        pytest.fail("\n".join(lines), pytrace=False)
    if not any(result.status == "pass" for result in results):
        pytest.skip(results[0].note)


def _line(result: Result) -> str:
    """What failed, by how much, and where, in one line."""
    details = [_value(result), severity(result), result.structure, result.note]
    # Parts that are empty are left out.
    text = ", ".join(part for part in details if part)
    return f"{result.check}, {result.quantity}: {text}"


def _value(result: Result) -> str:
    """Value, unit and limit of a result, "error" without a value."""
    if result.value is None:
        return "error"
    return f"{result.value:.3g} {result.unit} (limit {result.range})"


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker.

    Parameters
    ----------
    config:
        Configuration of pytest.
    """
    config.addinivalue_line(
        "markers",
        f"{MARKER}(level='quick', only=None, **options): checks of ase_pet that the fixture"
        f" `{FIXTURE}` stands for, and options of `ase_pet.checks.run`",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one test for each check of each function that uses the fixture.

    Parameters
    ----------
    metafunc:
        Test function that pytest collects.
    """
    if FIXTURE not in metafunc.fixturenames:
        return
    marker = metafunc.definition.get_closest_marker(MARKER)
    options: dict[str, Any] = {}
    if marker:
        options.update(marker.kwargs)
    # The others are options of `run`.
    only = options.pop("only", None)
    level = options.get("level", "quick")
    names = list(only or _run.names(level))
    laws = [PhysicalLaw(name, options) for name in names]
    metafunc.parametrize(FIXTURE, laws, ids=names, indirect=True)


@pytest.fixture
def physical_law(request: pytest.FixtureRequest) -> PhysicalLaw:
    """Check of a test, a function of a calculator.

    Parameters
    ----------
    request:
        Request of pytest.
    """
    law: PhysicalLaw = request.param
    return law
