"""Arguments of any kind: a ValueError that names the argument, or a calculator that works."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from ase_pet import PETCalculator
from toys import silicon, tiny_pet

# values that no argument takes, or only some do
ODD = {
    "true": True,
    "number": 3,
    "negative": -1,
    "part": 1.5,
    "nan": math.nan,
    "infinite": math.inf,
    "huge": 10**400,
    "complex": 1j,
    "empty text": "",
    "text": "zzz",
    "control": "a\x1b]0;b\x07",
    "nul": "a\0b",
    "long": "x" * 100_000,
    "bytes": b"cpu",
    "list": ["ecse"],
    "tuple": (),
    "table": {"a": 1},
    "set": {1},
    "array": np.arange(3),
    "scalar": np.float32(2.5),
    "text of numpy": np.str_("zzz"),
    "tensor": torch.ones(2),
    "path": Path("none"),
    "object": object(),
    "type": int,
    "function": len,
}
ARGUMENTS = [
    "device",
    "dtype",
    "symmetrise",
    "variant",
    "non_conservative",
    "skin",
    "batch_atoms",
    "compile",
    "uncertainty",
    "uncertainty_threshold",
    "orientations",
]
# lengths and energies take any positive number
WORKS = {
    "skin": {"number", "part", "scalar"},
    "batch_atoms": {"number"},
    "uncertainty_threshold": {"number", "part", "scalar"},
    "variant": {"empty text"},  # the plain head
    "compile": {"true"},
}
REFUSED = [
    (argument, kind)
    for argument in ARGUMENTS
    for kind in ODD
    if kind not in WORKS.get(argument, ())
]
ACCEPTED = [(argument, kind) for argument in WORKS for kind in WORKS[argument]]


@pytest.mark.parametrize(("argument", "kind"), REFUSED)
def test_odd_values_are_refused(argument, kind):
    with pytest.raises(ValueError, match=f"`{argument}` is ") as caught:
        PETCalculator(tiny_pet(), **{argument: ODD[kind]})
    text = str(caught.value)
    assert text.isprintable()
    assert len(text) < 400


@pytest.mark.parametrize(("argument", "kind"), sorted(ACCEPTED))
def test_numbers_of_any_type_work(argument, kind):
    calculator = PETCalculator(tiny_pet(), **{argument: ODD[kind]})
    assert math.isfinite(calculator.get_potential_energy(silicon()))


@pytest.mark.parametrize("kind", ODD)
def test_odd_models_are_refused(kind):
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        PETCalculator(ODD[kind])
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("name", ["cpu", "cpu:0", torch.device("cpu"), "auto"])
def test_devices(name):
    assert PETCalculator(tiny_pet(), device=name).device.type in ("cpu", "cuda")


@pytest.mark.parametrize("name", ["cpu:7", "cpu:1", torch.device("cpu", 3), "cuda:-1", "CPU", 0])
def test_devices_that_do_not_exist(name):
    with pytest.raises(ValueError, match="`device` is .*: valid choices are auto, cpu, cuda"):
        PETCalculator(tiny_pet(), device=name)


@pytest.mark.parametrize("index", [1.5, -1, 8, True, "1", None, np.float64(1.0), math.nan])
def test_indices_are_whole_numbers(index):
    calculator = PETCalculator(tiny_pet())
    with pytest.raises(ValueError, match="expected indices of atoms from 0 to 7"):
        calculator.hessian(silicon(), of=[index])
    with pytest.raises(ValueError, match="expected indices of atoms from 0 to 7"):
        calculator.displaced_forces(silicon(), [(index, (0.1, 0, 0))])


@pytest.mark.parametrize("shift", [(0.1, 0), 0.1, "abc", (math.nan, 0, 0), None])
def test_displacements_are_three_lengths(shift):
    with pytest.raises(ValueError, match="`displacements`: expected"):
        PETCalculator(tiny_pet()).displaced_forces(silicon(), [(0, shift)])


def test_one_property_may_be_a_text():
    (results,) = PETCalculator(tiny_pet()).evaluate([silicon()], "energy")
    assert list(results) == ["energy"]


def test_weights_that_overflow_give_no_number():
    model = tiny_pet(dtype=torch.float32)
    model.edge_last_layers["energy"][0].weight.data *= 1e38
    model.edge_heads["energy"][0][0].weight.data *= 1e30
    with pytest.raises(ValueError, match="is not finite: the model has no value"):
        PETCalculator(model).get_forces(silicon())
