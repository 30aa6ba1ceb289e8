"""Checkpoints converted to calculator folders: bit-equal numbers, a card, no partial folders."""

import hashlib
import json
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
import typer.testing

import hub
import metatrain_files
from ase_pet import PETCalculator, __version__, cards, cli, published, store
from paths import DATA
from tolerances import DTYPES
from toys import SETTINGS, STRUCTURES, charged, ethanol, silicon, tiny_pet

DIRECT = DATA / "pet_direct_heads.ckpt"
FOREIGN = ("pet_direct_heads.ckpt", "pet_llpr.ckpt", "original_pet", "original_pet_2023")
SHARED = (
    "tiny_modern_fixed",
    "tiny_modern_adaptive_solver",
    "tiny_modern_adaptive_grid",
    "tiny_legacy_residual",
    "tiny_variants_zbl_temp",
    "tiny_conditioning",
)
TOYS = {
    "base": {},
    "zbl": SETTINGS["zbl"],
    "conditioning": SETTINGS["conditioning"],
    "grid": SETTINGS["grid"],
    "solver": SETTINGS["solver"],
    "temperature": SETTINGS["temperature"],
    "residual": SETTINGS["residual"],
    "several heads": {"heads": {"energy": 1, "energy/r2scan": 1, "energy/a/b c": 1}},
    "variants only": {"heads": {"energy/b": 1, "energy/a": 1}},
    "unsorted species": {"species": (14, 1, 8, 6)},
}
AWKWARD = {
    1: 0.1 + 0.2,
    6: -1e-7 / 3,
    8: 1e3 / 7,
    14: -138.43260856565664,
}  # eV: numbers of 17 digits


def structures(species):
    """Structures that contain only some of the species."""
    atoms = [charged(make()) for make in STRUCTURES.values()]
    for each in atoms:
        numbers = np.unique(each.numbers, return_inverse=True)[1]
        each.numbers = np.sort(species)[numbers % len(species)]
    return atoms


def results(source, **options):
    """All results of a calculator for the structures, with each setting of its direct heads."""
    calculator = PETCalculator(source, **options)
    names = [
        name
        for name in calculator.implemented_properties
        if name not in ("stress", "stresses", "stress_uncertainty")
    ]
    rows = calculator.evaluate(structures(calculator.species), names)
    rows += calculator.evaluate(
        structures(calculator.species)[:1], calculator.implemented_properties
    )
    return [row[name] for row in rows for name in row]


def options_of(source):
    """Arguments of the calculators that a checkpoint allows: its variants and direct heads."""
    heads = store.load(source)[0].settings.heads
    variants = [head.partition("/")[2] or None for head in heads if head.split("/")[0] == "energy"]
    direct = [
        base
        for base in ("forces", "stress")
        if any(head.startswith(f"non_conservative_{base[:5]}") for head in heads)
    ]
    return [{"variant": variant} for variant in variants] + [
        {"non_conservative": base, "variant": variants[0]} for base in direct
    ]


def check_same(source, folder, dtypes=("float32", "float64")):
    """Results of the folder are bit-identical to those of the source."""
    assert options_of(folder) == options_of(source)
    for options in options_of(source):
        for dtype in dtypes:
            actual, expected = (results(each, dtype=dtype, **options) for each in (folder, source))
            assert len(actual) == len(expected) > 0
            assert all(
                np.array_equal(one, other) for one, other in zip(actual, expected, strict=True)
            )
    assert (
        PETCalculator(folder, **options_of(source)[0]).dtype
        == PETCalculator(source, **options_of(source)[0]).dtype
    )


@pytest.mark.parametrize("name", FOREIGN)
def test_conversion_is_exact(name, tmp_path):
    check_same(DATA / name, store.convert(DATA / name, tmp_path / "converted"))


@pytest.mark.parametrize("name", SHARED)
def test_conversion_of_reference_checkpoints(name, reference_file, tmp_path):
    source = reference_file(f"metatrain/{name}.ckpt")
    check_same(source, store.convert(source, tmp_path / "converted"))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", TOYS)
def test_conversion_of_toys(name, dtype, tmp_path):
    model = tiny_pet(dtype=dtype, **TOYS[name])
    model.compositions = {
        head: {z: AWKWARD[z] for z in model.species} for head in model.settings.heads
    }
    model.scales = {head: 1.0 + 1 / (3 + k) for k, head in enumerate(model.settings.heads)}
    source = metatrain_files.save(tmp_path / "toy.ckpt", metatrain_files.checkpoint(model))
    folder = store.convert(source, tmp_path / "converted")
    check_same(source, folder, dtypes=(None,))
    again, card = store.load(folder)
    assert again.compositions == model.compositions
    assert again.scales == model.scales
    assert list(again.settings.heads) == list(model.settings.heads)
    assert again.species == model.species
    assert card.dtype == str(dtype).removeprefix("torch.")


def test_files_and_their_content(tmp_path):
    folder = store.convert(DIRECT, tmp_path / "made" / "for me", name="direct")
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "calculator.toml",
        "weights.safetensors",
    ]
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {
        DIRECT.stat().st_mode & 0o777
    }
    content = tomllib.loads((folder / "calculator.toml").read_text(encoding="utf-8"))
    sha256 = hashlib.sha256(DIRECT.read_bytes()).hexdigest()
    assert content["name"] == "direct"
    assert content["provenance"]["source"] == {"file": "pet_direct_heads.ckpt", "sha256": sha256}
    assert content["provenance"]["ase_pet"] == __version__
    assert content["provenance"].items() >= store.load(DIRECT)[1].provenance.items()
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert card.startswith("# direct\n")
    for text in (
        "| species | H C O Mg Si |",
        "| cutoff | 7.5 A |",
        "26,186 parameters",
        "| precision | float32 |",
        "No check was run on this calculator",
        sha256,
        __version__,
        "d_pet: 16",
        "arxiv.org/abs/2305.19302",
        "## Licence\n\n- Not stated in the checkpoint",
        "## Authors\n\n- Not stated in the checkpoint",
    ):
        assert text in card
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["for me"]


METADATA = {
    "name": "Toy [/bold]\x1b[31m",
    "description": "Two\nlines {braces} | and a pipe",
    "authors": ["A. Bé", "C."],
    "references": {"model": ["DOI 1"], "architecture": ["DOI 2", "DOI 3"]},
    "license": "MIT",
    "absent": None,
    "extra": {"list": [1, 2.5, None], "nested": {"key": "value"}},
    "version": 16,
}


@pytest.fixture
def described(monkeypatch):
    """Checkpoints contain METADATA."""

    def read(path):
        model = tiny_pet()
        model.metadata = METADATA
        return model

    monkeypatch.setattr(store.formats, "read", read)
    return METADATA


def test_metadata_of_the_checkpoint_are_kept(described, tmp_path):
    assert store.load(DIRECT)[1].provenance == described
    card = store.load(store.convert(DIRECT, tmp_path / "converted"))[1]
    expected = {key: value for key, value in described.items() if key != "absent"}
    expected["extra"] = {"list": [1, 2.5], "nested": {"key": "value"}}
    assert {key: card.provenance[key] for key in expected} == expected
    assert "absent" not in card.provenance
    text = (tmp_path / "converted" / "README.md").read_text(encoding="utf-8")
    for part in (
        "\nTwo lines {braces} | and a pipe\n",
        "## Authors\n\n- A. Bé\n- C.\n",
        "## Licence\n\n- MIT\n",
        "- model: DOI 1\n- architecture:\n  - DOI 2\n  - DOI 3\n",
        "- version: 16\n",
        "- name: Toy [/bold]?[31m\n",
    ):
        assert part in text


def run(*arguments):
    """Output of the command, run in this process."""
    result = typer.testing.CliRunner().invoke(
        cli.app, list(map(str, arguments)), catch_exceptions=False
    )
    assert result.exit_code == 0
    return result.stdout


def test_info_shows_the_metadata_of_a_checkpoint(described):
    report = json.loads(run("info", DIRECT, "--json"))
    assert report["provenance"] == json.loads(json.dumps(described))
    text = run("info", DIRECT)
    for part in ("A. Bé", "architecture:", "DOI 3", "Toy [/bold]?[31m", "license: MIT"):
        assert part in text
    assert "\x1b" not in text


def test_lines():
    assert cards.lines(
        {"a": 1, "b": [1, 2], "c": {"d": "x"}, "e": ["y", "z"], "f": [], "g": ["w"]}
    ) == ["a: 1", "b: 1, 2", "c:", "  d: x", "e:", "  y", "  z", "f: ", "g: w"]


def test_command(tmp_path):
    assert str(tmp_path / "one" / "weights.safetensors") in run("convert", DIRECT, tmp_path / "one")
    report = json.loads(run("convert", DIRECT, tmp_path / "two", "--name", "second", "--json"))
    assert report == {
        "folder": str(tmp_path / "two"),
        "files": ["README.md", "calculator.toml", "weights.safetensors"],
    }
    assert [store.load(tmp_path / name)[1].name for name in ("one", "two")] == [
        "pet_direct_heads",
        "second",
    ]
    assert "sha256" in run("info", tmp_path / "two")


def test_a_published_checkpoint_states_its_origin(tmp_path, monkeypatch):
    monkeypatch.setattr(published, "cache_folder", lambda: tmp_path / "hub")
    hub.put(tmp_path / "hub", "models/pet-mad-s-v1.5.0.ckpt", DIRECT.read_bytes())
    card = store.load(store.convert("pet-mad-s", tmp_path / "converted"))[1]
    assert card.name == "pet-mad-s-v1.5.0"
    assert card.provenance["source"] == {
        "file": "pet-mad-s-v1.5.0.ckpt",
        "repository": hub.REPOSITORY,
        "commit": hub.COMMIT,
        "sha256": hashlib.sha256(DIRECT.read_bytes()).hexdigest(),
    }


def test_a_folder_is_named_and_hashed_file_by_file(tmp_path):
    card = store.load(store.convert(DATA / "original_pet", tmp_path / "converted"))[1]
    assert card.name == "original_pet"
    assert card.provenance["source"]["sha256"] == {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (DATA / "original_pet").iterdir()
    }


def test_an_existing_empty_folder_is_used(tmp_path):
    (tmp_path / "empty").mkdir()
    assert store.load(store.convert(DIRECT, tmp_path / "empty"))[1].name == "pet_direct_heads"


def occupied(folder):
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")


REFUSED = {
    "a folder in use": (
        occupied,
        DIRECT,
        ValueError,
        "`.*target` exists: give the name of a new folder, or delete it",
    ),
    "a file": (Path.touch, DIRECT, ValueError, "`.*target` exists"),
    "no checkpoint": (
        lambda folder: None,
        DATA / "pet_direct_heads.npz",
        ValueError,
        "nor a checkpoint that can be",
    ),
    "no such name": (
        lambda folder: None,
        "pet-mda-s",
        FileNotFoundError,
        "`pet-mda-s` is neither a path nor",
    ),
    "a calculator": (
        lambda folder: None,
        "silicon",
        ValueError,
        "`.*silicon` is a calculator folder already",
    ),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_refused(reason, tmp_path):
    prepare, source, kind, message = REFUSED[reason]
    prepare(tmp_path / "target")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(kind, match=message):
        store.convert(source, tmp_path / "target")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("step", ["save", "_compare", "cards.converted"])
def test_a_failed_conversion_leaves_no_files(step, tmp_path, monkeypatch):
    def fail(*arguments):
        raise OSError("no space left on device")

    monkeypatch.setattr(f"ase_pet.store.{step}", fail)
    with pytest.raises(OSError, match="no space left on device"):
        store.convert(DIRECT, tmp_path / "target")
    assert list(tmp_path.iterdir()) == []


def lossy(change):
    """A model returned by a reader, with something that a calculator folder cannot store."""
    model = tiny_pet()
    change(model)
    return model


LOSSES = {
    "species": (
        lambda model: setattr(model, "species", (1, 6, 8)),
        "`species` are H C O, but the settings name others",
    ),
    "scales": (
        lambda model: setattr(model, "scales", {"energy": float("nan")}),
        "scales of `energy` are nan for atomic number 1",
    ),
    "covalent radii": (
        lambda model: setattr(model, "covalent_radii", {1: 0.3, 6: 2, 8: (1, 2), 14: 1.0}),
        r"covalent radii are \(1, 2\) for atomic number 8",
    ),
    "lengths": (
        lambda model: setattr(model, "covalent_radii", {1: 0.3}),
        "covalent radii lack atomic numbers 6, 8, 14",
    ),
}


@pytest.mark.parametrize("what", LOSSES)
def test_a_model_that_a_folder_cannot_hold_is_refused(what, tmp_path, monkeypatch):
    change, message = LOSSES[what]
    monkeypatch.setattr(store.formats, "read", lambda path: lossy(change))
    with pytest.raises(ValueError, match=message):
        store.convert(DIRECT, tmp_path / "target")
    assert list(tmp_path.iterdir()) == []


def test_a_copy_with_another_number_is_refused():
    model = tiny_pet()
    copy = tiny_pet()
    copy.scales = {"energy": 2.0}
    with pytest.raises(ValueError, match="cannot hold this model: scales came back different"):
        store._compare(model, copy)


def test_no_permission_is_one_line(tmp_path, monkeypatch, capsys):
    def refuse(*arguments):
        raise PermissionError(13, "Permission denied", str(tmp_path))

    monkeypatch.setattr(store, "save", refuse)
    monkeypatch.setattr(sys, "argv", ["ase-pet", "convert", str(DIRECT), str(tmp_path / "target")])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 2
    assert capsys.readouterr().err == f"ase-pet: `{tmp_path}`: Permission denied\n"


def test_a_converted_calculator_runs_by_itself(tmp_path):
    """The checkpoint is no longer needed; the precision is that of its weights."""
    source = metatrain_files.save(
        tmp_path / "toy.ckpt", metatrain_files.checkpoint(tiny_pet(dtype=torch.float64))
    )
    expected = [PETCalculator(source).get_forces(make()) for make in (silicon, ethanol)]
    store.convert(source, tmp_path / "converted")
    source.unlink()
    for forces, make in zip(expected, (silicon, ethanol), strict=True):
        assert (PETCalculator(tmp_path / "converted").get_forces(make()) == forces).all()


@pytest.mark.parametrize("symmetrise", ["none", "ecse"])
def test_info_predicts_the_cost_of_symmetrisation(symmetrise, tmp_path):
    silicon().write(tmp_path / "si8.xyz")
    arguments = ["info", "silicon", str(tmp_path / "si8.xyz"), "--symmetrise", symmetrise, "--json"]
    report = json.loads(typer.testing.CliRunner().invoke(cli.app, arguments).stdout)["structure"]
    assert report["atoms"] == 8
    assert report["seconds"] > 0
    assert ("ratio" in report) == (symmetrise == "ecse")
