"""Forms of the ECSE weights: the default, and what names mean in files of before."""

import numpy as np
import pytest

from ase_pet import PETCalculator, store
from ase_pet.fingerprints import of_model
from ase_pet.md import fingerprints
from ase_pet.symmetrisers import ecse, full_name, of_file, symmetrise
from ase_pet.symmetrisers.ecse import settings as ecse_settings
from local_toys import STRUCTURES, batch, local_pet
from tolerances import worst

NETWORK = local_pet()


@pytest.mark.parametrize(
    ("name", "trained", "full"),
    [
        ("ecse", "none", "ecse:compact"),
        ("ecse:so3", "none", "ecse:compact:so3"),
        ("ecse:force", "none", "ecse:compact:force"),
        ("ecse:ordered", "none", "ecse:compact:ordered"),
        ("ecse:scaled", "none", "ecse:compact:scaled"),
        ("ecse:published", "ecse:compact", "ecse:published"),
        ("ecse:gentle:so3", "none", "ecse:gentle:so3"),
        ("ecse:pruned", "none", "ecse:pruned"),
        # the form of the calculator
        ("ecse", "ecse", "ecse:published"),
        ("ecse:so3", "ecse:compact:ordered", "ecse:compact:ordered:so3"),
        ("ecse:so3", "ecse:compact:scaled", "ecse:compact:scaled:so3"),
        # of compact only
        ("ecse:scaled", "ecse", "ecse:compact:scaled"),
        ("ecse:scaled:so3", "ecse:gentle", "ecse:compact:scaled:so3"),
        ("ecse", "ecse:gentle:so3", "ecse:gentle"),
        ("ecse_layers", "ecse", "ecse_layers:compact"),
        ("group:O", "ecse", "group:O"),
    ],
)
def test_full_names(name, trained, full):
    assert full_name(name, trained) == full
    # a full name means the same everywhere
    assert full_name(full, "ecse:pruned") == full


def test_the_default_is_compact_and_needs_few_frames():
    graph = batch([STRUCTURES["fcc"]()], NETWORK.cutoff)
    default, published = (symmetrise(NETWORK, name) for name in ("ecse", "ecse:published"))
    assert default.options == ecse.Settings(**ecse.COMPACT) == ecse.EcseModel(NETWORK).options
    assert published.options == ecse.Settings()
    frames = [model.describe(graph)["frames"].double().mean() for model in (default, published)]
    assert frames[0] < frames[1] / 3
    assert worst(default(graph), published(graph)) > 1e-6


def test_fingerprints_tell_forms_apart():
    names = ("published", "published:so3", "compact", "gentle", "pruned", "ordered", "scaled")
    prints = {of_model(symmetrise(NETWORK, f"ecse:{name}")) for name in names}
    assert len(prints) == len(names)
    assert of_model(symmetrise(NETWORK, "ecse:force")) == of_model(symmetrise(NETWORK, "ecse"))


@pytest.fixture
def folder(tmp_path):
    """Function that writes a calculator folder, as version 0.2 did or as now."""

    def write(symmetrise, edit=None):
        store.save(tmp_path / "it", NETWORK, store.CalculatorInfo("it", symmetrise, "float64"))
        card = tmp_path / "it" / store.CARD
        text = card.read_text()
        card.write_text(text.replace(*edit) if edit else text)
        return tmp_path / "it"

    return write


def test_a_folder_without_a_form_keeps_the_published_one(folder):
    atoms = STRUCTURES["ethanol"]()
    old = folder("ecse:so3", ('"ecse:compact:so3"', '"ecse:so3"'))
    energies = [
        PETCalculator(model, symmetrise=name).get_potential_energy(atoms)
        for model, name in ((old, None), (old, "ecse:published:so3"), (old, "ecse:so3"))
    ]
    assert energies[0] == energies[1] == energies[2]
    assert PETCalculator(old).card.symmetrise == "ecse:published:so3"
    # written again, it says so
    store.save(old, *store.load(old))
    assert 'symmetrise = "ecse:published:so3"' in (old / store.CARD).read_text()
    compact = PETCalculator(old, symmetrise="ecse:compact:so3").get_potential_energy(atoms)
    assert abs(compact - energies[0]) > 1e-6


def test_a_new_folder_has_the_full_name(folder):
    new = folder("ecse")
    assert 'symmetrise = "ecse:compact"' in (new / store.CARD).read_text()
    calculator = PETCalculator(new, symmetrise="ecse")
    assert calculator.parameters["symmetrise"] == "ecse:compact"
    atoms = STRUCTURES["ethanol"]()
    forces = [each.get_forces(atoms) for each in (calculator, PETCalculator(new))]
    assert np.array_equal(*forces)


def test_runs_of_version_0_2_had_the_published_form():
    new = fingerprints.of_calculator(PETCalculator(NETWORK, symmetrise="ecse:published"))
    old = {**new, "parameters": {**new["parameters"], "symmetrise": "'ecse'"}}
    other = fingerprints.of_calculator(PETCalculator(NETWORK, symmetrise="ecse"))
    assert fingerprints.parameters_of(old) == fingerprints.parameters_of(new)
    assert fingerprints.parameters_of(old) != fingerprints.parameters_of(other)
    assert fingerprints.parameters_of(other)["symmetrise"] == "'ecse:compact'"
    assert fingerprints.parameters_of({}) == {}


def test_scaled_weights_are_of_the_compact_form_only():
    for name in ("ecse:published:scaled", "ecse:scaled:gentle", "ecse:compact:pruned:scaled"):
        with pytest.raises(ValueError, match="scaled is for the form compact only: choose ecse:sc"):
            symmetrise(NETWORK, name)
    with pytest.raises(ValueError, match="is 2.5: expected None in forms without effective dist"):
        ecse.Settings(**ecse_settings.SCALED)
    # a recipe that names no form, which means the published one otherwise
    assert of_file("ecse:scaled") == "ecse:compact:scaled"
    assert symmetrise(NETWORK, "ecse:compact:scaled").options.right_angle_power == 3.2
