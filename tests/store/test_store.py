"""Calculator folders: lossless writing and reading, search by name, errors if damaged."""

import hashlib
import tomllib
from dataclasses import asdict

import pytest
import torch

import metatrain_files
from ase_pet import PETCalculator, shipped, store
from tolerances import DTYPES
from toys import SETTINGS, ethanol, silicon, tiny_pet

INFO = store.CalculatorInfo(
    "tiny",
    dtype="float64",
    shortest_distances={(1, 14): 0.5, (14, 14): 1.0},
    provenance={"code": "none", "errors": {"forces": 0.01}, "note": "Ångström"},
)


@pytest.fixture
def folder(tmp_path):
    """A calculator folder."""
    store.save(tmp_path / "tiny", tiny_pet(), INFO)
    return tmp_path / "tiny"


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", SETTINGS)
def test_round_trip_is_exact(tmp_path, name, dtype):
    model = tiny_pet(name, dtype)
    model.scales = {head: {1: 1.5, 6: 2.5, 8: 3.5, 14: 4.5} for head in model.settings.heads}
    store.save(tmp_path / "made" / "for me", model, INFO)
    again, card = store.load(tmp_path / "made" / "for me")
    assert card == INFO
    assert again.settings == model.settings
    assert (again.compositions, again.scales, again.covalent_radii) == (
        model.compositions,
        model.scales,
        model.covalent_radii,
    )
    state = again.state_dict()
    expected = model.state_dict()
    assert state.keys() == expected.keys()
    assert all(
        torch.equal(state[key], expected[key]) and state[key].dtype == dtype for key in state
    )
    name = str(dtype).removeprefix("torch.")
    energies = [
        PETCalculator(source, dtype=name).get_potential_energy(ethanol())
        for source in (model, tmp_path / "made" / "for me")
    ]
    assert energies[0] == energies[1]


def test_saving_twice_writes_the_same_bytes(folder, tmp_path):
    model, card = store.load(folder)
    store.save(tmp_path / "twin", model, card)
    for name in (store.CARD, store.WEIGHTS):
        assert (folder / name).read_bytes() == (tmp_path / "twin" / name).read_bytes()


def test_content_of_calculator_toml(folder):
    content = tomllib.loads((folder / "calculator.toml").read_text(encoding="utf-8"))
    assert content["format"] == 1
    assert content["name"] == "tiny"
    assert content["model"] == "pet"
    assert content["symmetrise"] == "none"
    assert content["dtype"] == "float64"
    assert content["species"] == ["H", "C", "O", "Si"]
    assert content["cutoff"] == 4.0
    assert content["units"] == {"energy": "eV", "length": "A"}
    assert content["composition_energies"] == {
        "energy": {"H": -0.3, "C": 1.7, "O": -2.1, "Si": 0.4}
    }
    assert content["shortest_distances"] == {"H-Si": 0.5, "Si-Si": 1.0}
    assert content["provenance"] == INFO.provenance
    assert content["weights"] == {
        "file": "weights.safetensors",
        "sha256": hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest(),
    }
    assert set(content["settings"]) == {
        key for key, value in asdict(tiny_pet().settings).items() if value is not None
    }
    assert sorted(path.name for path in folder.iterdir()) == [
        "calculator.toml",
        "weights.safetensors",
    ]


def test_info_that_cannot_be_written_leaves_no_files(tmp_path):
    with pytest.raises(TypeError):
        store.save(
            tmp_path / "bad",
            tiny_pet(),
            store.CalculatorInfo("bad", provenance={"object": object()}),
        )
    assert list((tmp_path / "bad").iterdir()) == []


@pytest.fixture
def shipping(tmp_path, monkeypatch):
    """A folder of shipped calculators with `silicon`, `silica` and something else."""
    for name in ("silicon", "silica"):
        store.save(
            tmp_path / "calculators" / name, tiny_pet(), store.CalculatorInfo(name, dtype="float64")
        )
    (tmp_path / "calculators" / "notes").mkdir()
    monkeypatch.setattr(store, "shipped_folder", lambda: tmp_path / "calculators")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_shipped_lists_calculators(shipping):
    assert shipped() == ["silica", "silicon"]


@pytest.mark.parametrize("model", ["silicon", "calculators/silica", "./calculators/silicon"])
def test_find_by_name_and_path(shipping, model):
    assert PETCalculator(model).card.name == model.rpartition("/")[2]
    assert PETCalculator(shipping / "calculators" / "silica").card.name == "silica"


def test_a_folder_of_the_same_name_does_not_hide_a_shipped_calculator(shipping):
    (shipping / "silicon").mkdir()
    assert PETCalculator("silicon").card.name == "silicon"


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            "silicn",
            (
                "`silicn` is neither a path nor the name of a calculator; did you mean silicon or"
                " silica"
            ),
        ),
        ("Silicon", "did you mean silicon"),
        (
            "zzz",
            (
                "`zzz` is neither a path nor .*; shipped calculators: silica, silicon; published"
                " .*`ase-pet list --published`"
            ),
        ),
        ("pet-mda-s", "did you mean pet-mad-s or"),
        ("PET-MAD-S", "did you mean pet-mad-s or"),
        ("pet-mad", "did you mean pet-mad-"),
        (
            "pet-mad-s-v1.5.0.ckpt",
            "`pet-mad-s-v1.5.0.ckpt` is neither a path nor .*; did you mean pet-mad-s",
        ),
        ("runs/none", "`runs/none` is neither a path"),
    ],
)
def test_unknown_name(shipping, model, message):
    with pytest.raises(FileNotFoundError, match=message):
        PETCalculator(model)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_checkpoint_is_used_in_the_precision_of_its_weights(tmp_path, dtype):
    content = metatrain_files.checkpoint(tiny_pet(dtype=dtype))
    path = metatrain_files.save(tmp_path / "model.ckpt", content)
    assert store.load(path)[1].dtype == str(dtype).removeprefix("torch.")
    assert PETCalculator(path).dtype == dtype


def test_tensors_keep_their_own_precision(tmp_path):
    """Neither a float64 buffer beside float32 weights is rounded, nor the reverse."""
    model = tiny_pet(dtype=torch.float32)
    model.gnn_layers[0].compress[0].bias = torch.nn.Parameter(
        model.gnn_layers[0].compress[0].bias.double() / 3
    )
    store.save(tmp_path / "mixed", model, INFO)
    again = store.load(tmp_path / "mixed")[0].state_dict()
    expected = model.state_dict()
    assert all(
        torch.equal(again[key], expected[key]) and again[key].dtype == expected[key].dtype
        for key in expected
    )


def test_tensors_are_aligned(folder):
    """Badly aligned weights can change the last bit of a matrix product."""
    assert {weight.data_ptr() % 64 for weight in store.load(folder)[0].parameters()} == {0}


def test_every_shipped_calculator_loads():
    names = shipped()
    assert names == sorted(names)
    for name in names:
        calculator = PETCalculator(name)
        assert calculator.card.name == name
        assert calculator.species


def test_folder_that_is_no_calculator(tmp_path):
    with pytest.raises(
        ValueError, match="is not a calculator folder nor a checkpoint that can be read"
    ):
        PETCalculator(tmp_path)


def rewritten(folder, old, new):
    path = folder / "calculator.toml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def truncated(folder):
    path = folder / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-7])


def flipped(folder):
    path = folder / "weights.safetensors"
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)


def no_tensors(folder):
    (folder / "weights.safetensors").write_bytes(b"not tensors")
    content = tomllib.loads((folder / "calculator.toml").read_text(encoding="utf-8"))
    rewritten(folder, content["weights"]["sha256"], hashlib.sha256(b"not tensors").hexdigest())


DAMAGE = {
    "no tensors": (no_tensors, "weights.safetensors` holds no weights .SafetensorError"),
    "truncated weights": (
        truncated,
        "weights.safetensors` is damaged or not the file its card names",
    ),
    "flipped bit": (flipped, "weights.safetensors` is damaged or not the file its card names"),
    "other sha256": (
        lambda folder: rewritten(folder, 'sha256 = "', 'sha256 = "0'),
        "is damaged or not the file",
    ),
    "no toml": (
        lambda folder: (folder / "calculator.toml").write_text("format = = 1"),
        "is not a calculator card",
    ),
    "binary card": (
        lambda folder: (folder / "calculator.toml").write_bytes(b"\xff\xfe\x00"),
        "is not a calculator card",
    ),
    "empty card": (
        lambda folder: (folder / "calculator.toml").write_text(""),
        "has format None: this version .* reads 1",
    ),
    "newer format": (
        lambda folder: rewritten(folder, "format = 1", "format = 2"),
        "has format 2: this version .* reads 1",
    ),
    "lacks entries": (
        lambda folder: (folder / "calculator.toml").write_text("format = 1\nname = 'x'"),
        "lacks composition_energies, dtype",
    ),
    "unknown model": (
        lambda folder: rewritten(folder, 'model = "pet"', 'model = "os"'),
        "`os` is not one of the models: valid choices are .*pet",
    ),
    "path as model": (
        lambda folder: rewritten(folder, 'model = "pet"', 'model = "../x"'),
        "is not one of the models",
    ),
    "unknown setting": (
        lambda folder: rewritten(folder, "d_head", "d_tail"),
        "does not describe a calculator.*d_tail",
    ),
    "other shape": (
        lambda folder: rewritten(folder, "d_head = 8", "d_head = 9"),
        "does not describe a calculator",
    ),
    "unknown choice": (
        lambda folder: rewritten(folder, '"SwiGLU"', '"Swish"'),
        "`activation` is 'Swish'",
    ),
    "no such element": (
        lambda folder: rewritten(folder, "Si = 0.4", "Sy = 0.4"),
        "does not describe a calculator.*Sy",
    ),
    "no table": (
        lambda folder: rewritten(folder, "[composition_energies.energy]", "[composition_energies]"),
        "`composition_energies.H` is -0.3: expected a table",
    ),
    "unknown dtype": (
        lambda folder: rewritten(folder, 'dtype = "float64"', 'dtype = "half"'),
        "`dtype` is 'half'",
    ),
    "unknown symmetriser": (
        lambda folder: rewritten(folder, 'symmetrise = "none"', 'symmetrise = "some"'),
        "`symmetrise` is 'some'",
    ),
    "no sha256": (
        lambda folder: rewritten(folder, "sha256", "md5"),
        "does not describe a calculator.*sha256",
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_folder(folder, name):
    damage, message = DAMAGE[name]
    PETCalculator(folder)
    damage(folder)
    with pytest.raises(ValueError, match=message):
        PETCalculator(folder)


def test_missing_weights(folder):
    (folder / "weights.safetensors").unlink()
    with pytest.raises(
        FileNotFoundError,
        match="weights.safetensors` is missing: the calculator folder is incomplete",
    ):
        PETCalculator(folder)


def test_stored_precision_is_kept(folder):
    """Float64 weights are not rounded, independent of the default precision."""
    expected = PETCalculator(tiny_pet()).get_forces(silicon())
    assert (PETCalculator(folder).get_forces(silicon()) == expected).all()


def test_loading_does_not_change_the_random_state(tmp_path):
    store.save(tmp_path / "tiny", tiny_pet(), store.CalculatorInfo(name="tiny"))
    before = torch.get_rng_state()
    store.load(tmp_path / "tiny")
    assert torch.equal(torch.get_rng_state(), before)


def test_card_is_an_alias():
    """The former name of CalculatorInfo."""
    assert store.Card is store.CalculatorInfo


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("cutoff = nan", "`cutoff` is nan: expected a number, 0.1 or more, at most 100"),
        ("cutoff = -1.0", "`cutoff` is -1.0: expected a number, 0.1 or more, at most 100"),
        ("cut_off = 3.0", "`cut_off` is no setting"),
    ],
)
def test_a_bad_key_at_the_top_level_is_named(folder, line, message):
    path = folder / "calculator.toml"
    name = line.partition(" ")[0]
    content = path.read_text(encoding="utf-8").splitlines()
    others = [each for each in content if not each.startswith((f"{name} =", f"[{name}]"))]
    path.write_text("\n".join([line, *others]), encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        store.load(folder)
