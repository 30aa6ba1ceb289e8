"""Labels of structures: names, signs, shapes, and numbers that are none."""

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

from ase_pet.train import data, labels, read
from ase_pet.train.schema import Keys


def results(atoms):
    """Energy, forces and stress (3, 3) of EMT."""
    copy = atoms.copy()
    copy.calc = EMT()
    return copy.get_potential_energy(), copy.get_forces(), copy.get_stress(voigt=False)


def copper(seed=0):
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.1, seed=seed)
    return atoms


def labelled(**values):
    """Copper with values where ASE keeps results."""
    atoms = copper()
    atoms.calc = SinglePointCalculator(atoms, **{"energy": 1.0, **values})
    return atoms


def found(atoms, **keys):
    """Labels of a structure, with notes as warnings."""
    notes = labels.Notes()
    values = labels.of_structure(atoms, Keys(**keys), "here", notes)
    notes.warn()
    return values


def written_and_read(path, atoms):
    """What a file of extended XYZ keeps of a structure."""
    ase.io.write(path, atoms)
    return ase.io.read(path)


def test_labels_of_ase(tmp_path):
    atoms = copper()
    energy, forces, stress = results(atoms)
    atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces, stress=stress)
    values = found(written_and_read(tmp_path / "a.extxyz", atoms))
    assert set(values) == {"energy", "forces", "stress"}
    assert values["energy"] == pytest.approx(energy)
    assert values["forces"] == pytest.approx(forces, abs=1e-7)
    assert values["stress"] == pytest.approx(stress)


@pytest.mark.parametrize("name", ["virial", "virials"])
def test_names_of_gap_and_gpumd(tmp_path, name):
    """`force`, and a virial that is minus the stress times the volume."""
    atoms = copper()
    energy, forces, stress = results(atoms)
    atoms.info[name] = -stress * atoms.cell.volume
    atoms.arrays["force"] = forces
    atoms.calc = SinglePointCalculator(atoms, free_energy=energy)
    with pytest.warns(UserWarning, match="here: ") as notes:
        values = found(written_and_read(tmp_path / "a.extxyz", atoms))
    texts = [str(note.message) for note in notes]
    assert "here: `free_energy` is read as energy in eV" in texts
    assert "here: `force` is read as forces in eV/A" in texts
    assert f"here: `{name}` is read as stress in eV, -stress times volume" in texts
    assert values["energy"] == pytest.approx(energy)
    assert values["forces"] == pytest.approx(forces, abs=1e-7)
    assert values["stress"] == pytest.approx(stress)


def test_names_that_are_given(tmp_path):
    atoms = copper()
    energy, forces, stress = results(atoms)
    atoms.info["REF_energy"] = energy
    atoms.info["REF_virial"] = -stress * atoms.cell.volume
    atoms.arrays["REF_forces"] = forces
    atoms.calc = SinglePointCalculator(atoms, energy=0.0, forces=0 * forces)
    read_atoms = written_and_read(tmp_path / "a.extxyz", atoms)
    given = {"energy": "REF_energy", "forces": "REF_forces", "virial": "REF_virial"}
    values = found(read_atoms, **given)
    assert values["energy"] == pytest.approx(energy)
    assert values["forces"] == pytest.approx(forces, abs=1e-7)
    assert values["stress"] == pytest.approx(stress)
    assert set(found(read_atoms, energy="REF_energy", forces="", stress="")) == {"energy"}


FORCES = np.ones((4, 3))
STRESS = np.diag([1.0, 2.0, 3.0])


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("total_energy_eV", -1.0, r'no `energy`, .* energy = "total_energy_eV" \(eV\)'),
        ("Etot", -1.0, 'energy = "Etot"'),
        ("Energy", -1.0, 'energy = "Energy"'),
        ("Forces", FORCES, 'no `forces`, but `Forces`. .* forces = "Forces"'),
        ("gradient", FORCES, 'forces = "gradient"'),
        ("mace_stress", np.arange(6.0), 'stress = "mace_stress"'),
        ("my_virials", STRESS, 'virial = "my_virials" .*--keys virial=my_virials'),
        ("dipole_moment", np.ones(3), 'dipole = "dipole_moment"'),
    ],
)
def test_names_that_mean_nothing_are_refused(name, value, message):
    atoms = copper()
    store = atoms.arrays if np.shape(value) == (4, 3) else atoms.info
    store[name] = value
    with pytest.raises(ValueError, match=message):
        found(atoms)


@pytest.mark.parametrize(
    ("name", "value", "kind", "text"),
    [
        ("REF_energy", -1.0, "energy", "energy in eV"),
        ("dft_energy", -1.0, "energy", "energy in eV"),
        ("energy_pbe", -1.0, "energy", "energy in eV"),
        ("pbe0_mbd_energy", -1.0, "energy", "energy in eV"),
        ("total_energy", -1.0, "energy", "energy in eV"),
        ("REF_forces", FORCES, "forces", "forces in eV/A"),
        ("dft_force", FORCES, "forces", "forces in eV/A"),
        ("atomic_forces", FORCES, "forces", "forces in eV/A"),
        ("REF_stress", STRESS.ravel(), "stress", r"stress in eV/A\^3"),
        ("REF_virials", STRESS, "stress", "stress in eV, -stress times volume"),
        ("ref_dipole", np.ones(3), "dipole", "dipole in e A"),
    ],
)
def test_usual_names_are_read_and_said(name, value, kind, text):
    atoms = copper()
    store = atoms.arrays if np.shape(value) == (4, 3) else atoms.info
    store[name] = value
    with pytest.warns(UserWarning, match=f"here: `{name}` is read as {text}"):
        assert set(found(atoms)) == {kind}


def test_labels_of_two_methods_are_not_mixed():
    """Forces of the reference beside energies of something else, or two references."""
    atoms = labelled()
    atoms.info["REF_energy"] = 2.0
    atoms.arrays["REF_forces"] = FORCES
    message = "`REF_forces` would be read with `energy`, but there is `REF_energy` as well"
    with pytest.raises(ValueError, match=message):
        found(atoms)
    assert set(found(atoms, energy="REF_energy", forces="REF_forces")) == {"energy", "forces"}
    atoms = copper()
    atoms.info.update(pbe_energy=1.0, scan_energy=2.0)
    with pytest.raises(ValueError, match="`pbe_energy`, `scan_energy` may be the energy: choose"):
        found(atoms)


def test_energies_of_smeared_occupations_are_noted():
    with pytest.warns(UserWarning, match="`energy` is not `free_energy`"):
        assert found(labelled(free_energy=0.9))["energy"] == 1.0
    assert found(labelled(free_energy=0.9), energy="free_energy")["energy"] == 0.9


def test_all_names_are_proposed_at_once():
    atoms = copper()
    atoms.info.update(my_energy=-1.0, my_virial=STRESS)
    atoms.arrays["my_forces"] = FORCES
    option = "--keys energy=my_energy,forces=my_forces,virial=my_virial"
    with pytest.raises(
        ValueError, match=f"no `energy`, .*; no `forces`, .*; no `stress`.*{option}"
    ):
        found(atoms)


def test_a_second_label_of_a_kind_is_noted():
    atoms = labelled(forces=FORCES)
    atoms.info["REF_energy"] = 2.0
    atoms.arrays["dft_forces"] = 2 * FORCES
    with pytest.warns(UserWarning, match="here: ") as notes:
        assert found(atoms)["energy"] == 1.0
    texts = [str(note.message) for note in notes]
    assert texts == [
        "here: `energy` is used, `REF_energy` not: `keys.energy` chooses",
        "here: `forces` is used, `dft_forces` not: `keys.forces` chooses",
    ]


def test_vectors_of_atoms_without_forces_are_noted():
    atoms = labelled()
    atoms.arrays["target"] = FORCES
    with pytest.warns(
        UserWarning, match="no forces, and `target`, three numbers for each atom, is"
    ):
        assert set(found(atoms)) == {"energy"}
    assert set(found(atoms, forces="")) == {"energy"}
    assert set(found(atoms, forces="target")) == {"energy", "forces"}


def test_other_entries_are_no_labels():
    atoms = labelled(free_energy=1.0)
    atoms.info.update(config_type="energy", dipole_correction=True, energies=[1.0, 2.0], mu=3)
    atoms.info.update(energy_uncertainty=0.1, energy_cutoff=500.0, kinetic_energy=1.0)
    atoms.arrays["vel"] = FORCES
    atoms.arrays["local_energy"] = np.ones(4)
    assert set(found(atoms)) == {"energy"}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("energy", np.nan, "here: `energy` is not finite: nan"),
        ("energy", "low", "here: `energy` has the value 'low': expected"),
        ("energy", [1.0, 2.0], r"here: `energy` has shape \(2,\)"),
        ("energy", True, "here: `energy` has the value True"),
        ("forces", np.where(FORCES > 0, np.inf, 0), r"`forces` is not finite \(atom 0\): inf"),
        ("forces", FORCES[:3], r"`forces` has shape \(3, 3\): expected \(4, 3\), in eV/A"),
        ("forces", FORCES[:, :2], r"`forces` has shape \(4, 2\)"),
        ("stress", np.full((3, 3), np.nan), "`stress` is not finite"),
        ("stress", np.ones(4), r"`stress` has shape \(4,\): expected \(3, 3\) or \(9,\) or \(6,\)"),
        ("stress", np.arange(9.0), "`stress` is not symmetric"),
        ("virial", np.ones(6), r"`virial` has shape \(6,\): expected \(3, 3\) or \(9,\), in eV"),
        ("dipole", [0.0, np.inf, 0.0], "`dipole` is not finite"),
        ("dipole", np.eye(3), r"`dipole` has shape \(3, 3\)"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*`virial` is read as")
def test_bad_values_are_refused(name, value, message):
    atoms = labelled()
    atoms.calc.results[name] = value
    with pytest.raises(ValueError, match=message):
        found(atoms)


@pytest.mark.parametrize("pbc", [True, (True, True, False)])
def test_stress_with_a_volume_is_used(pbc):
    atoms = labelled(stress=STRESS)
    atoms.pbc = pbc
    assert np.array_equal(found(atoms)["stress"], STRESS)


@pytest.mark.parametrize(
    ("cell", "pbc"), [((0, 0, 0), False), ((9, 9, 0), (1, 1, 0)), ((9, 9, 9), False)]
)
def test_stress_without_a_volume_is_not_used(cell, pbc):
    atoms = molecule("H2O", cell=cell, pbc=pbc)
    atoms.calc = SinglePointCalculator(atoms, energy=1.0, stress=STRESS)
    with pytest.warns(UserWarning, match="without a periodic cell, so without a volume: not used"):
        assert set(found(atoms)) == {"energy"}


def test_a_virial_that_contradicts_the_stress_is_refused():
    """A wrong sign is the usual mistake."""
    atoms = labelled(stress=STRESS)
    for virial in (-STRESS * atoms.cell.volume, -1.01 * STRESS * atoms.cell.volume):
        atoms.info["virial"] = virial
        assert np.array_equal(found(atoms)["stress"], STRESS)
    for virial in (STRESS * atoms.cell.volume, -STRESS):
        atoms.info["virial"] = virial
        with pytest.raises(ValueError, match="`virial` is not -`stress` times the volume"):
            found(atoms)
        assert found(atoms, virial="virial")["stress"] == pytest.approx(-virial / atoms.cell.volume)


def test_notes_of_many_structures_are_one_line():
    notes = labels.Notes()
    for index in range(20):
        atoms = Atoms("H", cell=np.eye(3) * 9)
        atoms.calc = SinglePointCalculator(atoms, energy=1.0, stress=STRESS)
        labels.of_structure(atoms, Keys(), f"structure {index}", notes)
    with pytest.warns(UserWarning, match="structure 0 and 19 more: stress without") as caught:
        notes.warn()
    assert len(caught) == 1


def trained_on(recipe, tmp_path, frames, extra=""):
    """Samples of a recipe of argon with these structures."""
    path = recipe(extra=extra)
    ase.io.write(tmp_path / "argon.extxyz", frames)
    return data.read(read(path), (18,), 5.0)


def argon(index, split):
    atoms = bulk("Ar", cubic=True)
    atoms.rattle(0.1, seed=index)
    atoms.info["split"] = split
    atoms.info["REF_energy"] = -1.0
    atoms.arrays["REF_forces"] = 0.1 * atoms.positions
    return atoms


def test_a_recipe_gives_names(recipe, tmp_path):
    frames = [argon(index, ("train", "val")[index % 2]) for index in range(4)]
    with pytest.warns(UserWarning, match="0 and 3 more: `REF_(energy|forces)` is read as"):
        splits = trained_on(recipe, tmp_path, frames)
    assert splits["train"][0].energy == -1.0
    keys = '[keys]\nenergy = "REF_energy"\nforces = "REF_forces"\n'
    splits = trained_on(recipe, tmp_path, frames, keys)
    assert splits["train"][0].energy == -1.0
    assert splits["val"][0].forces == pytest.approx(0.1 * frames[1].positions, abs=1e-8)
    with pytest.raises(ValueError, match="no structure has `REF_force`, the name in `keys.forces`"):
        trained_on(recipe, tmp_path, frames, keys.replace("REF_forces", "REF_force"))
    del frames[2].arrays["REF_forces"]
    with pytest.warns(UserWarning, match="structure 2: no `REF_forces`"):
        trained_on(recipe, tmp_path, frames, keys)


@pytest.mark.parametrize(
    ("kind", "size", "message"),
    [
        ("energy", 5e6, r"here: `energy` is 5e\+06 eV in size: .* at most 1e\+06 eV per atom"),
        ("energy", 1e300, r"here: `energy` is 1e\+300 eV"),
        ("forces", 2e6, r"here: `forces` is 2e\+06 eV/A in size \(atom 2\)"),
        ("forces", 1e200, r"here: `forces` is 1e\+200 eV/A in size \(atom 2\)"),
    ],
)
def test_labels_that_no_calculation_gives(kind, size, message):
    values = {"energy": np.array(-size), "forces": np.zeros((4, 3))}
    values["forces"][2, 1] = -size
    with pytest.raises(ValueError, match=message):
        found(labelled(**{kind: values[kind]}))


def test_large_labels_are_read():
    """Total energies of heavy atoms, forces of nuclei that touch."""
    forces = np.full((4, 3), 9e5)
    values = found(labelled(energy=-3.9e6, forces=forces))
    assert values["energy"] == -3.9e6
