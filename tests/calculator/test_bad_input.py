"""Bad input gives a clear error before any evaluation."""

import re
import time
import warnings

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import PropertyNotImplementedError

from ase_pet import InvalidStructure, PETCalculator, store
from ase_pet.models import pet
from toys import charged, ethanol, silicon, slab, tiny_pet


@pytest.fixture(scope="module")
def calculator():
    return PETCalculator(tiny_pet())


def changed(make, **attributes):
    """A structure with entries of its arrays replaced: name = (index, value)."""
    atoms = make()
    for name, (index, value) in attributes.items():
        array = getattr(atoms, name)
        array[index] = value
    return atoms


def long_vectors():
    return Atoms("Si", cell=np.diag([1e300, 5, 5]), pbc=True)


def in_nanometres():
    atoms = silicon()
    atoms.set_cell(0.1 * atoms.cell, scale_atoms=True)
    return atoms


def in_fractions():
    atoms = silicon() * (5, 5, 5)
    atoms.positions = atoms.get_scaled_positions()
    atoms.cell = np.eye(3)
    return atoms


STRUCTURES = {
    "nan position": (
        lambda: changed(silicon, positions=((3, 1), np.nan)),
        "`positions` of atom 3 are not finite",
    ),
    "infinite positions": (
        lambda: changed(ethanol, positions=([1, 4], -np.inf)),
        "`positions` of atoms 1, 4 are not",
    ),
    "many nan": (
        lambda: changed(silicon, positions=(slice(None), np.nan)),
        r"atoms 0, 1, 2, 3, 4, 5, 6, 7 are not",
    ),
    "nan cell": (lambda: changed(silicon, cell=((0, 0), np.nan)), "`cell` is not finite"),
    "infinite cell": (lambda: changed(silicon, cell=((2, 2), np.inf)), "`cell` is not finite"),
    "nan cell without pbc": (
        lambda: changed(ethanol, cell=((1, 1), np.nan)),
        "`cell` is not finite",
    ),
    "far molecule": (
        lambda: changed(ethanol, positions=((2, 0), 1e10)),
        "atom 2 are further than 1e[+]09 A",
    ),
    "farther molecule": (
        lambda: changed(ethanol, positions=((2, 0), -1e30)),
        "atom 2 are further than 1e[+]09 A",
    ),
    "far crystal": (
        lambda: changed(silicon, positions=((5, 2), 6e6)),
        r"atom 5 are further than 1e[+]06 cells.*wrap",
    ),
    "endless cell": (long_vectors, "`cell` has entries beyond 1e[+]09 A"),
    "unsupported element": (
        lambda: Atoms("SiFeAu", np.eye(3) * 3),
        "unsupported element Fe, Au: the model knows H, C, O, Si",
    ),
    "no element": (
        lambda: Atoms("SiX", [[0, 0, 0], [0, 0, 2]]),
        "unsupported element Z=0: the model knows H, C, O, Si",
    ),
    "no such element": (
        lambda: Atoms(numbers=[14, 300], positions=np.eye(3)[:2] * 2),
        "unsupported element Z=300",
    ),
    "negative number": (
        lambda: Atoms(numbers=[-14], positions=[[0, 0, 0]]),
        "unsupported element Z=-14",
    ),
    "empty": (Atoms, "`atoms` is empty"),
    "empty, periodic": (lambda: Atoms(cell=[5, 5, 5], pbc=True), "`atoms` is empty"),
    "pbc without cell": (
        lambda: Atoms("Si", pbc=True),
        "pbc is set along cell vector a, b, c, which is zero",
    ),
    "pbc along zero vector": (
        lambda: Atoms("Si", cell=[5, 0, 5], pbc=True),
        "pbc is set along cell vector b, which is zero",
    ),
    "dependent vectors": (
        lambda: Atoms("Si", cell=[[5, 1, 0], [0, 4, 0], [5, 5, 0]], pbc=True),
        "linearly dependent",
    ),
    "parallel vectors": (
        lambda: Atoms("Si", cell=[[5, 1, 0], [-10, -2, 0], [0, 0, 5]], pbc=(1, 1, 0)),
        "linearly dependent",
    ),
    "almost dependent": (
        lambda: Atoms("Si", cell=[[5, 0, 0], [5, 1e-4, 0], [0, 0, 1e5]], pbc=True),
        "`cell` is only 0.0001 A",
    ),
    "short vector": (lambda: Atoms("Si", cell=[1e-7, 5, 5], pbc=True), "`cell` is only 1e-07 A"),
    "same place": (
        lambda: Atoms("Si3", [[0, 0, 0], [3, 0, 0], [3, 0, 0]]),
        "atoms 1 and 2 are 0 A apart",
    ),
    "below the floor": (
        lambda: Atoms("Si2", [[0, 0, 0], [0, 0, 0.0999]]),
        "atoms 0 and 1 are 0.0999 A apart",
    ),
    "images below the floor": (
        lambda: Atoms("Si2", [[0, 0, 0], [4.95, 5, 0]], cell=[5, 5, 5], pbc=True),
        "atoms 0 and 1 are 0.05",
    ),
    "own image": (
        lambda: Atoms("Si", cell=[0.09, 5, 5], pbc=(1, 0, 0)),
        "atoms 0 and 0 are 0.09 A apart",
    ),
    "pile": (
        lambda: Atoms("Si20000", np.zeros((20000, 3))),
        "about 741 atoms per A.3 around atom 0",
    ),
    "cell in nm": (in_nanometres, r"atoms per A.3 around atom \d+: check the unit"),
    "scaled positions": (in_fractions, r"about 1000 atoms per A.3"),
}


@pytest.mark.parametrize("entry", ["get_potential_energy", "evaluate", "hessian"])
@pytest.mark.parametrize("name", STRUCTURES)
def test_bad_structure(calculator, name, entry):
    make, message = STRUCTURES[name]
    atoms = make()
    call = {
        "get_potential_energy": calculator.get_potential_energy,
        "hessian": calculator.hessian,
        "evaluate": lambda bad: calculator.evaluate([silicon(), bad, silicon()]),
    }[entry]
    start = time.process_time()  # of this process only
    with pytest.raises(InvalidStructure, match=message):
        call(atoms)
    assert time.process_time() - start < 5


@pytest.mark.parametrize("name", ["nan position", "unsupported element", "empty", "same place"])
def test_evaluate_names_the_structure(calculator, name):
    with pytest.raises(InvalidStructure, match="^structure 2: "):
        calculator.evaluate([silicon(), silicon(), STRUCTURES[name][0](), ethanol()])


@pytest.mark.parametrize("name", STRUCTURES)
def test_good_structure_after_a_bad_one(name):
    calculator = PETCalculator(tiny_pet())
    expected = calculator.get_forces(silicon())
    with pytest.raises(InvalidStructure):
        calculator.get_potential_energy(STRUCTURES[name][0]())
    assert not calculator.results
    np.testing.assert_allclose(calculator.get_forces(silicon()), expected, rtol=0, atol=1e-12)
    with pytest.raises(InvalidStructure):
        calculator.get_forces(STRUCTURES[name][0]())


def test_repeated_bad_structure_raises_again(calculator):
    atoms = Atoms("Si2", [[0, 0, 0], [0, 0, 0.05]], calculator=calculator)
    for _ in range(3):
        with pytest.raises(InvalidStructure, match="0.05 A apart"):
            atoms.get_potential_energy()


def no_volume(cell):
    atoms = ethanol()
    atoms.set_cell(cell)
    return atoms


@pytest.mark.parametrize(
    "atoms",
    [
        ethanol(),
        no_volume([9, 9, 0]),
        no_volume([[9, 0, 0], [0, 9, 0], [9, 9, 0]]),
        Atoms("Si", cell=[3, 0, 0], pbc=(1, 0, 0)),
    ],
    ids=["none", "two", "dependent", "chain"],
)
def test_stress_without_volume(atoms):
    atoms.calc = PETCalculator(tiny_pet())
    with pytest.raises(PropertyNotImplementedError, match="stress needs a cell of rank 3"):
        atoms.get_stress()
    assert np.isfinite(atoms.get_potential_energy())
    assert np.isfinite(atoms.get_forces()).all()
    with pytest.raises(PropertyNotImplementedError, match="stress needs a cell of rank 3"):
        atoms.get_stress()
    assert set(atoms.calc.results) == {"energy", "free_energy", "energies", "forces"}


def test_stress_of_a_slab_with_a_cell_is_given(calculator):
    assert np.isfinite(calculator.get_stress(slab())).all()


def test_evaluate_says_which_structure_has_no_volume():
    calculator = PETCalculator(tiny_pet(), batch_atoms=16)
    with pytest.raises(
        PropertyNotImplementedError, match=r"structures \[1\], counted from structure 2"
    ):
        calculator.evaluate([silicon(), silicon(), bulk("Si"), ethanol()], ["stress"])


@pytest.mark.parametrize(
    "call",
    [
        lambda calc, atoms: calc.get_property("dipole", atoms),
        lambda calc, atoms: calc.calculate(atoms, ["magmoms"]),
        lambda calc, atoms: calc.evaluate([atoms], ["energy", "charges"]),
    ],
)
def test_unknown_property(calculator, call):
    with pytest.raises(PropertyNotImplementedError, match="dipole|magmoms|charges"):
        call(calculator, silicon())


BAD_ARGUMENTS = {
    "symmetrise": (
        {"symmetrise": "octahedron"},
        "`symmetrise` is 'octahedron': valid choices are .*none",
    ),
    "symmetrise, empty": ({"symmetrise": ""}, "`symmetrise` is '': valid choices are .*none"),
    "symmetrise, argument": ({"symmetrise": "none:5"}, "'none' takes no argument, got '5'"),
    "variant": ({"variant": "pbe"}, "`variant` is 'pbe': valid choices are ''"),
    "device": ({"device": "tpu"}, "`device` is 'tpu': valid choices are auto, cpu, cuda"),
    "device, of torch": (
        {"device": "meta"},
        "`device` is 'meta': valid choices are auto, cpu, cuda",
    ),
    "device, none": ({"device": None}, "`device` is None: valid choices are auto, cpu, cuda"),
    "dtype": ({"dtype": "float16"}, "`dtype` is 'float16': valid choices are float32, float64"),
    "dtype, of torch": (
        {"dtype": torch.float64},
        "`dtype` is torch.float64: valid choices are float32, float64",
    ),
    "dtype, empty": ({"dtype": ""}, "`dtype` is '': valid choices are float32, float64"),
    "compile": (
        {"compile": "always"},
        "`compile` is 'always': valid choices are 'auto', True, False",
    ),
    "non_conservative": (
        {"non_conservative": "energy"},
        "`non_conservative` is 'energy': valid choices are False, True",
    ),
    "non_conservative, list": (
        {"non_conservative": ["forces"]},
        r"`non_conservative` is \['forces'\]: valid choices are False, True",
    ),
    "non_conservative, no head": ({"non_conservative": True}, "`non_conservative`"),
    "skin, negative": ({"skin": -0.1}, "`skin` is -0.1: expected a length"),
    "skin, nan": ({"skin": float("nan")}, "`skin` is nan: expected a length"),
    "skin, infinite": ({"skin": float("inf")}, "`skin` is inf: expected a length"),
    "skin, text": ({"skin": "1.0"}, "`skin` is '1.0': expected a length"),
    "batch_atoms, zero": ({"batch_atoms": 0}, "`batch_atoms` is 0: expected a number of atoms"),
    "batch_atoms, part": ({"batch_atoms": 1.5}, "`batch_atoms` is 1.5: expected a number of atoms"),
}


@pytest.mark.parametrize("name", BAD_ARGUMENTS)
def test_bad_argument(name):
    arguments, message = BAD_ARGUMENTS[name]
    with pytest.raises(ValueError, match=message):
        PETCalculator(tiny_pet(), **arguments)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_cuda_requested_but_absent():
    with pytest.raises(
        ValueError,
        match="`device` is 'cuda', but this torch sees no CUDA devices: use 'cpu' or 'auto'",
    ):
        PETCalculator(tiny_pet(), device="cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA on this machine")
def test_missing_cuda_device():
    with pytest.raises(
        ValueError, match=r"`device` is 'cuda:99', but this torch sees \d+ CUDA devices"
    ):
        PETCalculator(tiny_pet(), device="cuda:99")


SHORTEST = {(14, 14): 2.2, (1, 8): 0.9}


def guarded(tmp_path):
    store.save(
        tmp_path / "guarded",
        tiny_pet(),
        store.Card("guarded", dtype="float64", shortest_distances=SHORTEST),
    )
    return PETCalculator(tmp_path / "guarded")


def dimer(distance, symbols="Si2"):
    return Atoms(symbols, [[0, 0, 0], [0, 0, 9], [0, 0, 9 + distance]][3 - len(Atoms(symbols)) :])


def caught(call):
    with warnings.catch_warnings(record=True) as recorded:
        warnings.simplefilter("always")
        call()
    return [str(warning.message) for warning in recorded]


def test_distances_below_training_warn_once(tmp_path):
    calculator = guarded(tmp_path)
    assert caught(lambda: calculator.get_potential_energy(dimer(2.21))) == []
    first = caught(lambda: calculator.get_potential_energy(dimer(2.1)))
    assert len(first) == 1
    assert "Si-Si 2.100 A (atoms 0 and 1; shortest in training 2.200 A)" in first[0]
    assert caught(lambda: [calculator.get_forces(dimer(2.1 + 0.02 * k)) for k in range(10)]) == []


def test_every_system_gets_its_own_warning(tmp_path):
    calculator = guarded(tmp_path)
    close = caught(
        lambda: [
            calculator.get_potential_energy(dimer(0.8, symbols))
            for symbols in ("Si2", "SiHO", "SiOH", "H2")
        ]
    )
    assert len(close) == 3
    assert "H-O 0.800 A (atoms 1 and 2" in close[1]
    assert "H-O 0.800 A (atoms 1 and 2" in close[2]


def test_evaluate_warns_of_close_atoms(tmp_path):
    messages = caught(lambda: guarded(tmp_path).evaluate([dimer(2.3), dimer(2.0)]))
    assert len(messages) == 1
    assert messages[0].startswith("structure 1: atoms closer than in training: Si-Si 2.000 A")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("charge", 0.5, r"`atoms.info\['charge'\]` must be a whole number, got 0.5"),
        ("charge", float("nan"), "must be a whole number"),
        ("charge", float("inf"), "must be a whole number"),
        ("charge", "1", "must be a whole number, got '1'"),
        ("spin", "up", "must be a whole number, got 'up'"),
        ("spin", [1, 2], "must be a whole number"),
        ("charge", object, "must be a whole number"),
        ("charge", 11, "the model knows -10 to 10"),
        ("spin", 0, "multiplicities 1 to 10"),
        ("spin", 11, "multiplicities 1 to 10"),
    ],
)
def test_bad_charge_and_spin(key, value, message):
    atoms = charged(ethanol())
    atoms.info[key] = value
    with pytest.raises(ValueError, match=message):
        PETCalculator(tiny_pet("conditioning")).get_potential_energy(atoms)


@pytest.mark.parametrize("value", ["up", 0.5, [1, 2], None])
def test_models_without_conditioning_ignore_charge_and_spin(calculator, value):
    atoms = ethanol()
    expected = calculator.get_potential_energy(atoms)
    atoms.info.update(charge=value, spin=value)
    assert calculator.get_potential_energy(atoms) == expected
    assert calculator.get_potential_energy(atoms) == expected


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"cutoff_function": "box"},
            "`cutoff_function` is 'box': valid choices are bump, cosine, step",
        ),
        ({"adaptive_cutoff_method": "guess"}, "valid choices are grid, solver"),
        ({"normalization": "BatchNorm"}, "valid choices are RMSNorm, LayerNorm"),
        ({"activation": "ReLU"}, "valid choices are SwiGLU, SiLU"),
        ({"transformer_type": "MidLN"}, "valid choices are PreLN, PostLN"),
        ({"featurizer_type": "sum"}, "valid choices are feedforward, residual"),
        ({"d_pet": 9}, "`d_pet` 9 is no multiple of `num_heads` 2"),
    ],
)
def test_bad_settings(changes, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        pet.Settings(species=(14,), **{"num_heads": 2, "d_pet": 8, **changes})
