"""Damaged, hostile and unsupported models of MACE are refused with a reason."""

import zipfile

import numpy as np
import pytest
import torch

from ase_pet.formats import _mace_modules, mace
from ase_pet.formats._unpickle import Inert
from metatrain_files import rewrite
from paths import DATA

ORGANIC = DATA / "oracles" / "mace" / "organic.model"
N_MUTANTS = 25  # of each kind


@pytest.fixture
def changed(tmp_path):
    """Function that writes a copy of a model with its pickle changed, and returns the path."""

    def change(function):
        return rewrite(
            ORGANIC,
            tmp_path / "model.model",
            lambda name, data: function(data) if name.endswith("data.pkl") else data,
        )

    return change


def replaced(changed, old, new):
    """Path of a copy in which one text replaces another of the same length."""
    assert len(old) == len(new)
    return changed(lambda data: data.replace(old.encode(), new.encode()))


def outcome(path):
    """Weights of a file that can be read, None for one that is refused with its name."""
    try:
        return mace.read(path).state_dict()
    except ValueError as error:
        assert str(path) in str(error)  # noqa: PT017 (reading it is an outcome too)
        return None


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("ScaleShiftMACE", "AtomicDipoleMA", "it is of the class `mace.modules.models.Atomic"),
        ("RealAgnosticInteractionBlock", "RealAgnosticUnknownedddBlock", "`interactions.0` is of"),
        ("BesselBasis", "GaussBasisX", "`radial_embedding.bessel_fn` is of the class `GaussB"),
        ("e3nn.o3._linear\nLinear", "cuet.o3._linear\nLinear", "names `cuet.o3._linear.Linear`"),
        ("NonLinearReadoutBlock", "NonLinearUnknownBlock", "`readouts.1` is of the class"),
    ],
)
def test_unsupported_models_are_named(old, new, message, changed):
    with pytest.raises(ValueError, match=message):
        mace.read(replaced(changed, old, new))


def test_mutated_files_are_refused_or_the_same(changed):
    good = mace.read(ORGANIC).state_dict()
    random = np.random.default_rng(0)

    def flip(data):
        data = bytearray(data)
        data[random.integers(len(data))] ^= 1 << int(random.integers(8))
        return bytes(data)

    results = [outcome(changed(flip)) for _ in range(N_MUTANTS)]
    read = [state for state in results if state is not None]
    assert 0 < len(read) < N_MUTANTS
    for state in read:
        assert state.keys() == good.keys()
        assert all(torch.equal(state[name], good[name]) for name in good)


def test_truncated_files_are_refused(tmp_path):
    data = ORGANIC.read_bytes()
    path = tmp_path / "model.model"
    for cut in np.random.default_rng(1).integers(1, len(data), N_MUTANTS):
        path.write_bytes(data[:cut])
        assert outcome(path) is None


def test_nothing_in_a_file_is_executed(tmp_path):
    class Hostile:
        def __reduce__(self):
            return (open, (str(tmp_path / "executed"), "w"))

    path = tmp_path / "model.model"
    torch.save({"mace.modules.": Hostile()}, path)
    with pytest.raises(ValueError, match="names `[_a-z]*.open`, which is not among the things"):
        mace.read(path)
    assert not (tmp_path / "executed").exists()


def test_a_compiled_model_and_a_package_of_nequip_are_refused(tmp_path, changed):
    compiled = changed(lambda data: data + b"__torch__.mace.modules.models")
    with pytest.raises(ValueError, match="compiled"):
        mace.read(compiled)
    package = tmp_path / "model.nequip.zip"
    with zipfile.ZipFile(package, "w") as file:
        file.writestr("model/nequip/model.py", "")
    assert mace.recognises(package)
    with pytest.raises(ValueError, match="package of NequIP"):
        mace.read(package)


def test_a_module_within_itself_is_refused():
    module = Inert("mace.modules.models.MACE")
    module.state = {"_modules": {"again": module}}
    with pytest.raises(ValueError, match="is not a module of torch"):
        _mace_modules.ModuleTable(None, module)


@pytest.mark.parametrize("value", [np.float64(7.25), np.float32(7.25), np.int64(7)])
def test_scalars_of_numpy_are_numbers(value):
    function, arguments = value.__reduce__()
    kind, data = arguments
    stored = Inert(
        f"{function.__module__}.{function.__name__}", (Inert("numpy.dtype", (kind.str[1:],)), data)
    )
    assert _mace_modules._scalar(stored) == float(value)


def test_other_files_are_not_recognised(tmp_path):
    path = tmp_path / "model.pt"
    torch.save({"weight": torch.zeros(3)}, path)
    assert not mace.recognises(path)
    assert not mace.recognises(tmp_path)
    path.write_text("PK but no archive")
    assert not mace.recognises(path)
