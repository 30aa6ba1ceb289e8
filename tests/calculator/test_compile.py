"""Compiled steps: the numbers of other steps, compiled once; a note where there is no compiler."""

import copy
import pickle

import numpy as np
import pytest
import torch

import local_toys
import ponita_toys
import toys
from ase_pet import PETCalculator
from ase_pet.evaluation.traced import TracedGradient
from tolerances import TOLERANCES, worst

SAME = TOLERANCES[torch.float64]["same"]
NAMES = ("energy", "energies", "forces", "stress")
RECORDED = {
    "grid": lambda: toys.tiny_pet("grid"),
    "zbl": lambda: toys.tiny_pet("zbl", system_conditioning=True),
    "three layers": lambda: toys.tiny_pet("grid", num_gnn_layers=3),
}
OTHERS = {
    "ecse": (local_toys.local_pet, {"symmetrise": "ecse"}),
    "PONITA": (ponita_toys.tiny_ponita, {}),
    "original": (lambda: toys.tiny_pet("original"), {}),
    "group": (local_toys.local_pet, {"symmetrise": "group:O:proper"}),
}
SLOW = ("PONITA", "original", "group")


@pytest.fixture
def recorded(monkeypatch):
    """Operators are recorded, but not compiled, which takes a minute."""
    monkeypatch.setattr(TracedGradient, "_compiled", lambda self, operators, tensors: operators)


def calculators(make, **options):
    """The same calculator with compiled steps and without."""
    options = {"device": "cpu", "dtype": "float64", **options}
    return [PETCalculator(make(), compile=compile, **options) for compile in (True, False)]


def check_run(found, expected, steps, names=NAMES):
    """The same results in each of some steps of a hot solid, whose neighbours change."""
    atoms = toys.silicon()
    places = atoms.positions.copy()
    for step in range(steps):
        atoms.positions = places
        atoms.rattle(0.08, seed=step)
        for calculator in (found, expected):
            calculator.calculate(atoms, names, ["positions"])
        for name in names:
            assert worst(found.results[name], expected.results[name]) < SAME
    return atoms


@pytest.mark.filterwarnings("ignore:`compile`")
@pytest.mark.parametrize("name", ["grid", pytest.param("zbl", marks=pytest.mark.slow)])
def test_results_and_number_of_compilations(name, recorded):
    found, expected = calculators(RECORDED[name])
    for _ in range(2):
        check_run(found, expected, 6)
        found.forget()  # as at a checkpoint of a run: neighbours are searched again
    assert found._steps.traced.traces == 1
    assert found._neighbours.searches == 2


@pytest.mark.filterwarnings("ignore:`compile`")
@pytest.mark.parametrize(
    "name", ["ecse", *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]
)
def test_what_cannot_be_compiled_runs_as_without(name, recorded):
    make, options = OTHERS[name]
    check_run(*calculators(make, **options), 3)


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


def no_compiler(operators, tensors, options):
    raise RuntimeError("no compiler")


def wrong_compiler(operators, tensors, options):
    return lambda *values: [1.001 * value for value in operators(*values)]


@pytest.mark.parametrize(
    ("compiler", "note"),
    [(no_compiler, "install a C.. compiler"), (wrong_compiler, "its numbers are wrong")],
)
def test_without_a_compiler_that_works(compiler, note, monkeypatch):
    monkeypatch.setattr("torch._inductor.compile", compiler)
    found, expected = calculators(RECORDED["grid"])
    with pytest.warns(UserWarning, match=note) as notes:
        check_run(found, expected, 4)
    assert len(notes) == 1


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
