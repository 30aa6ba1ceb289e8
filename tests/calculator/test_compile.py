"""Compiled steps: the numbers of other steps, compiled once; a note where there is no compiler."""

import copy
import pickle
import re
import sys

import numpy as np
import pytest
import torch

import local_toys
import ponita_toys
import toys
from ase_pet import PETCalculator
from ase_pet.evaluation import traced
from ase_pet.evaluation.traced import TracedGradient
from tolerances import TOLERANCES, worst

SAME = TOLERANCES[torch.float64]["same"]
NAMES = ("energy", "energies", "forces", "stress")
RECORDED = {
    "grid": lambda: toys.tiny_pet("grid"),
    "zbl": lambda: toys.tiny_pet("zbl", system_conditioning=True),
    "three layers": lambda: toys.tiny_pet("grid", num_gnn_layers=3),
    "original": lambda: toys.tiny_pet("original"),
    "PONITA": ponita_toys.tiny_ponita,
    "PNITA": lambda: ponita_toys.tiny_ponita("PNITA"),
}
OTHERS = {
    "ecse": (local_toys.local_pet, {"symmetrise": "ecse"}),
    "group": (local_toys.local_pet, {"symmetrise": "group:O:proper"}),
}
SLOW = ("zbl", "original", "PONITA")


@pytest.fixture
def recorded(monkeypatch):
    """Operators are recorded, but not compiled, which takes a minute."""
    monkeypatch.setattr(TracedGradient, "_compiled", lambda self, operators, tensors: operators)


def calculators(make, **options):
    """The same calculator with compiled steps and without."""
    options = {"device": "cpu", "dtype": "float64", **options}
    return [PETCalculator(make(), compile=compile, **options) for compile in (True, False)]


def check_run(found, expected, steps, names=NAMES, make=toys.silicon):
    """The same results in each of some steps of a hot solid, whose neighbours change."""
    atoms = make()
    places = atoms.positions.copy()
    for step in range(steps):
        atoms.positions = places
        atoms.rattle(0.08, seed=step)
        for calculator in (found, expected):
            changes = calculator.check_state(atoms)
            calculator.calculate(atoms, names, changes)
        for name in names:
            assert worst(found.results[name], expected.results[name]) < SAME
    return atoms


@pytest.mark.filterwarnings("ignore:`compile`")
@pytest.mark.parametrize(
    "name", ["grid", "PNITA", *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]
)
def test_results_and_number_of_compilations(name, recorded):
    found, expected = calculators(RECORDED[name])
    for _ in range(2):
        check_run(found, expected, 6)
        found.forget()  # as at a checkpoint of a run: neighbours are searched again
    assert found._steps.traced.traces == 1
    assert found._neighbours.searches == 2


@pytest.mark.parametrize("name", ["ecse", pytest.param("group", marks=pytest.mark.slow)])
def test_what_cannot_be_compiled_runs_as_without(name, recorded):
    make, options = OTHERS[name]
    pair = calculators(make, **options)
    with pytest.warns(UserWarning, match="steps of this model are not compiled") as notes:
        check_run(*pair, 3)
    assert len(notes) == 1


def test_a_model_without_fixed_lengths_says_so():
    model = small()
    model.fixed_lengths = False
    with pytest.warns(
        UserWarning, match=r"steps of this model are not compiled \(no PET or PONITA\)"
    ):
        PETCalculator(model, device="cpu", compile=True)


@pytest.mark.filterwarnings("ignore:`compile`")
def test_other_outputs_of_a_compiled_calculator(recorded):
    def make():
        return toys.tiny_pet("base", heads={"energy": 1, "dipole": 3}, uncertainties={"energy": 2})

    found, expected = calculators(make)
    names = (*NAMES, "stresses", "energy_uncertainty", "forces_uncertainty")
    atoms = check_run(found, expected, 2, names)
    assert worst(found.hessian(atoms, of=[0]), expected.hessian(atoms, of=[0])) < SAME


def test_weights_that_change_and_copies(recorded):
    found, expected = calculators(RECORDED["grid"])
    with pytest.warns(UserWarning, match=r"8 atoms was compiled in .* s \(1 so far\)"):
        atoms = check_run(found, expected, 2)
    for calculator in (found, expected):
        calculator.model.edge_heads["energy"][0][0].weight.mul_(1.1)
    before = found.results["forces"]
    atoms.rattle(0.01, seed=9)
    expected.calculate(atoms, NAMES, ["positions"])
    with pytest.warns(UserWarning, match="2 so far"):
        found.calculate(atoms, NAMES, ["positions"])
    assert worst(found.results["forces"], expected.results["forces"]) < SAME
    assert worst(found.results["forces"], before) > SAME
    for again in (copy.deepcopy(found), pickle.loads(pickle.dumps(found))):
        assert again.results["energy"] == found.results["energy"]


def small():
    return toys.tiny_pet("local")


def test_scales_that_change(recorded):
    """A scale is a number among the operators."""
    found, expected = calculators(small)
    with pytest.warns(UserWarning, match="1 so far"):
        check_run(found, expected, 2)
    for calculator in (found, expected):
        calculator.model.scales = {"energy": 1.7}
    with pytest.warns(UserWarning, match="2 so far"):
        check_run(found, expected, 2)


def test_the_number_of_compilations_is_bounded(recorded, monkeypatch):
    monkeypatch.setattr(traced, "MOST_TRACES", 1)
    found, expected = calculators(small)
    with pytest.warns(UserWarning, match="1 so far"):
        check_run(found, expected, 2)
    with pytest.warns(UserWarning, match="other sizes than the first 1 run without") as notes:
        check_run(found, expected, 3, make=lambda: toys.silicon() * (2, 1, 1))
    check_run(found, expected, 2)
    assert len(notes) == 1
    assert found._steps.traced.traces == 1


def no_compiler(operators, tensors, options):
    raise RuntimeError("InvalidCxxCompiler: No working C++ compiler found")


def compiler_without_headers(operators, tensors, options):
    raise RuntimeError(
        "CppCompileError: C++ compile error\n\nCommand:\ng++ a.cpp\n\nOutput:\n"
        "a.cpp:1:10: fatal error: Python.h: No such file\n  1 | #include <Python.h>"
    )


def no_folder(operators, tensors, options):
    raise PermissionError(13, "Permission denied", "/cache")


def wrong_compiler(operators, tensors, options):
    return lambda *values: [1.001 * value for value in operators(*values)]


@pytest.mark.parametrize(
    ("compiler", "note"),
    [
        (no_compiler, "compiler found. It needs a C.. compiler such as g"),
        (compiler_without_headers, "compiler: a.cpp:1:10: fatal error: Python.h: No such file. It"),
        (no_folder, "PermissionError: .* Permission denied: '/cache'. It needs .* a folder that"),
        (wrong_compiler, "compiled numbers are wrong$"),
    ],
)
def test_without_a_compiler_that_works(compiler, note, monkeypatch):
    monkeypatch.setattr("torch._inductor.compile", compiler)
    found, expected = calculators(small)
    with pytest.warns(UserWarning, match="`compile`") as notes:
        check_run(found, expected, 4)
    begin, end = [str(each.message) for each in notes]
    assert "being compiled, which takes minutes" in begin
    assert re.search(note, end)


def test_a_compiler_that_cannot_be_imported(monkeypatch):
    """Torch makes its folder during the import, which fails where it cannot be written."""
    monkeypatch.setitem(sys.modules, "torch._inductor", None)
    found, expected = calculators(small)
    with pytest.warns(UserWarning, match="without a compiler: ModuleNotFoundError"):
        check_run(found, expected, 2)


@pytest.mark.skipif(" " in sys.prefix, reason="torch's compiler takes no spaces in paths")
@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.filterwarnings("ignore:`compile`")
def test_compiled_steps(dtype):
    found, expected = calculators(RECORDED["three layers"], dtype=dtype)
    atoms = toys.silicon()
    for step in range(4):
        atoms.rattle(0.05, seed=step)
        for calculator in (found, expected):
            calculator.calculate(atoms, NAMES, ["positions"])
    assert found._steps.traced.traces == 1
    assert found._steps.traced._has_compiler
    largest = np.abs(expected.results["forces"]).max()
    precision = TOLERANCES[getattr(torch, dtype)]["same"]
    for name in NAMES:
        assert worst(found.results[name], expected.results[name]) < precision * max(1, largest)
