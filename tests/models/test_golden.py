"""Golden values: recorded results that a change of the code must not change.

tests/data/make_golden.py writes them, tests/golden.py describes the files.
"""

import importlib.util

import numpy as np
import pytest

import golden
from ase_pet import shipped
from tolerances import GOLDEN, rounding

NAMES = sorted(path.stem for path in golden.FOLDER.glob("*.npz"))


@pytest.fixture(params=NAMES)
def file(request, tmp_path):
    """(values, model) of a file: a shipped calculator's name, or the folder of a small model."""
    return opened(request.param, tmp_path)


def opened(name, folder):
    values = golden.read(golden.FOLDER / f"{name}.npz")
    model = golden.unpack(values, folder / name) if "model/toml" in values else name
    return values, model


def excess(key, actual, expected, alone):
    """Largest difference in units of the tolerance; above 1 the values differ.

    The tolerance is GOLDEN times the largest number (energies without those of isolated atoms,
    (n,)), plus the rounding of sums.
    """
    part = {"energy": alone.sum(), "energies": alone}.get(key, 0.0)
    sums = rounding(alone) if key in ("energy", "energies") else 0.0
    allowed = GOLDEN[key] * np.abs(expected - part).max() + GOLDEN["absolute"] + sums
    return np.abs(actual - expected).max() / allowed


def worst(values, model, shift=0.0):
    """(excess, structure, options, property) of the value that is farthest off.

    shift: A, by which the first atom is moved along x.
    """
    differences, calculators = [], {}
    for name, options, properties in golden.cases(values):
        atoms = golden.structure(values, name)
        atoms.positions[0, 0] += shift
        calculator = calculators.get(options) or golden.calculator(model, options)
        calculators[options] = calculator
        computed = golden.compute(calculator, atoms, properties)
        for key in properties:
            expected = values[f"{name}/{options}/{key}"]
            assert computed[key].shape == expected.shape
            ratio = excess(key, computed[key], expected, values[f"{name}/composition"])
            differences.append((ratio, name, options, key))
    return max(differences)


def test_values_are_those_of_before(file):
    assert worst(*file)[0] < 1


def test_a_small_change_is_detected(tmp_path):
    assert worst(*opened("pnita", tmp_path), shift=1e-10)[0] > 10


def test_every_shipped_calculator_has_golden_values():
    assert {*shipped()} <= {*NAMES}


@pytest.fixture
def script():
    """The module tests/data/make_golden.py."""
    path = golden.FOLDER.parent / "make_golden.py"
    spec = importlib.util.spec_from_file_location("make_golden", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_golden_files_are_not_overwritten_unless_forced(script, monkeypatch):
    before = (golden.FOLDER / "pnita.npz").read_bytes()
    monkeypatch.setattr("sys.argv", ["make_golden.py", "pnita"])
    with pytest.raises(SystemExit, match="pnita.npz: there already; --force writes them again"):
        script.main()
    assert (golden.FOLDER / "pnita.npz").read_bytes() == before
    assert {*script.SHIPPED, *script.MODELS} == {*NAMES}
