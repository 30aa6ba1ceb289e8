"""Files in wrong units are noted: lengths in bohr, labels in Hartree, gradients as forces."""

import ase.io
import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, graphene, molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from typer.testing import CliRunner

from ase_pet.cli import app
from ase_pet.cli._plausible import note_of_labels, note_of_lengths

SOUND = [
    bulk("Cu", cubic=True),
    bulk("Si"),
    bulk("NaCl", "rocksalt", a=5.64),
    bulk("Cs", "bcc", a=6.14),
    bulk("Ar", "fcc", a=5.26),
    molecule("CH3CH2OH"),
    molecule("H2"),
    graphene(vacuum=10.0),
    Atoms("Cu"),
    Atoms("H2", [[0, 0, 0], [0, 0, 9]]),
]


def scaled(atoms, factor):
    """A structure with all lengths multiplied."""
    changed = atoms.copy()
    changed.positions *= factor
    changed.set_cell(factor * atoms.cell)
    return changed


@pytest.mark.parametrize("atoms", SOUND, ids=str)
def test_sound_structures_have_no_note(atoms):
    assert note_of_lengths(atoms) == ""


@pytest.mark.parametrize("atoms", [SOUND[index] for index in (0, 1, 2, 5, 6, 7)], ids=str)
def test_lengths_in_another_unit_are_noted(atoms):
    assert "are in bohr" in note_of_lengths(scaled(atoms, 1 / units.Bohr))
    assert "too short for bonds" in note_of_lengths(scaled(atoms, units.Bohr))


@pytest.mark.parametrize(
    ("kind", "factor", "text"),
    [
        ("energy", 1 / units.Hartree, "in Hartree"),
        ("energy", units.mol / units.kcal, "in kcal/mol"),
        ("forces", units.Bohr / units.Hartree, "in Hartree/bohr"),
        ("forces", 1 / units.Hartree, "in Hartree/A"),
        ("forces", -1.0, "opposite sign"),
        ("stress", -1.0, "opposite sign"),
        ("stress", 1 / units.GPa, "in GPa"),
        ("stress", -10 / units.GPa, "in kbar"),
    ],
)
def test_labels_in_another_unit_are_noted(kind, factor, text):
    rng = np.random.default_rng(0)
    values = rng.normal(size=30)
    labels = factor * (values + 0.05 * rng.normal(size=30))
    assert text in note_of_labels(kind, labels, values)
    assert note_of_labels(kind, values, values + 0.05 * rng.normal(size=30)) == ""
    # a poor model says nothing about units
    assert note_of_labels(kind, labels, rng.normal(size=30)) == ""


def test_the_commands_print_the_notes(tmp_path):
    frames = []
    for seed in range(8):
        atoms = bulk("Cu", cubic=True)
        atoms.rattle(0.1, seed=seed)
        atoms.calc = EMT()
        labels = {"energy": atoms.get_potential_energy() / units.Hartree}
        atoms.calc = SinglePointCalculator(atoms, **labels)
        frames.append(atoms)
    ase.io.write(tmp_path / "hartree.extxyz", frames)
    ase.io.write(tmp_path / "bohr.xyz", scaled(molecule("CH3CH2OH"), 1 / units.Bohr))
    foreign = ["--calculator", "ase.calculators.emt:EMT"]
    done = CliRunner().invoke(app, ["eval", *foreign, str(tmp_path / "hartree.extxyz")])
    assert "as if these were in Hartree: expected eV and A" in done.stderr
    assert "sums of covalent radii" not in done.stderr
    done = CliRunner().invoke(app, ["info", *foreign, str(tmp_path / "bohr.xyz")])
    assert "bohr.xyz: the nearest distances" in done.stderr
