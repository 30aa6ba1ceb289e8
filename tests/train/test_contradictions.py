"""Files that contradict themselves, or say less than their structure needs."""

import warnings

import ase.io
import numpy as np
import pytest
from ase.build import bulk

import cif
from ase_pet.train.files import structures

HEAD = '2\nLattice="4 0 0 0 4 0 0 0 4" Properties=species:S:1:pos:R:3 pbc="T T T"'
ATOMS = "Cu 0 0 0\nCu 2 2 2\n"
CIF = cif.template("disorder_group").replace("{name}", "one")
NONE = "_symmetry_Int_Tables_number 1"
PDB = "ATOM      {k}  N  {letter}ALA A   1       {x:5.3f}   0.000   0.000  1.00  0.00           N\n"


def read(path, text):
    path.write_text(text)
    return structures(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD.replace(":pos:", ":scaled_pos:") + "\n" + ATOMS, "has no `pos` .*scaled_pos"),
        (HEAD.replace("species:S", "label:S") + "\n" + ATOMS, "has no `species` .*label, pos"),
        (
            HEAD.replace("pos:R:3", "pos:R:3:Z:I:1")
            + "\n"
            + ATOMS.replace("0\n", "0 29\n").replace("2\n", "2 14\n"),
            "structure 0: atom 1 has the species Cu, but Z 14",
        ),
        (HEAD + " energy=1 energy=2\n" + ATOMS, "key `energy` is given twice"),
        (HEAD + ' Lattice="5 0 0 0 5 0 0 0 5"\n' + ATOMS, "key `Lattice` is given twice"),
        (f"{HEAD}\n{ATOMS}{HEAD} a={{1}} b='a=' a=2\n{ATOMS}", "structure 1: the key `a` is"),
    ],
)
def test_structures_that_contradict_themselves(text, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        read(tmp_path / "a.extxyz", text)


@pytest.mark.parametrize(
    "words",
    ['note="a=1 a=2" energy=1', "note=a=1 more=a=2", "free text = 3, other text, a='b=\" b=1'"],
)
def test_values_are_no_keys(words, tmp_path):
    (atoms,) = read(tmp_path / "a.extxyz", f"{HEAD} {words}\n{ATOMS}")
    assert len(atoms) == 2


def test_species_and_numbers_that_agree(tmp_path):
    text = HEAD.replace("pos:R:3", "pos:R:3:Z:I:1") + "\nCu 0 0 0 29\nC 2 2 2 6\n"
    (atoms,) = read(tmp_path / "a.extxyz", text)
    assert str(atoms.symbols) == "CuC"


@pytest.mark.parametrize("key", ["Lattice", "pbc"])
def test_a_key_of_extended_xyz_in_another_format(key, tmp_path):
    atoms = bulk("Cu")
    atoms.info[key] = "5 0 0 0 5 0 0 0 5"
    ase.io.write(tmp_path / "a.traj", atoms)
    with pytest.raises(ValueError, match=rf"`info` has the key `{key}`.*del atoms.info\['{key}'\]"):
        structures(tmp_path / "a.traj")


def test_groups_of_disorder_on_top_of_each_other(tmp_path):
    sites = "Si1 Si 0 0 0 {}\nSi2 Si 0.1 0 0 {}\n"
    with pytest.raises(ValueError, match=r"groups of disorder, whose atoms lie 0\.54 A apart"):
        read(tmp_path / "a.cif", CIF.format(symmetry=NONE, sites=sites.format(1, 2)))
    assert len(read(tmp_path / "a.cif", CIF.format(symmetry=NONE, sites=sites.format(".", ".")))[0])
    apart = sites.format(1, 2).replace("0.1", "0.5")
    assert len(read(tmp_path / "a.cif", CIF.format(symmetry=NONE, sites=apart))[0]) == 2


def test_atoms_on_top_of_each_other_are_noted(tmp_path):
    sites = "Si1 Si 0 0 0 .\nC2 C 0.04 0 0 .\n"
    with pytest.warns(UserWarning, match=r"structure 0: atoms 0\.22 A apart"):
        read(tmp_path / "a.cif", CIF.format(symmetry=NONE, sites=sites))
    text = PDB.format(k=1, letter=" ", x=0.0) + PDB.format(k=2, letter=" ", x=0.2)
    with pytest.warns(UserWarning, match=r"structure 0: atoms 0\.2 A apart"):
        read(tmp_path / "a.pdb", text)


def test_alternate_locations(tmp_path):
    first = PDB.format(k=1, letter="A", x=0.0)
    with pytest.raises(ValueError, match="alternate locations A, B"):
        read(tmp_path / "a.pdb", first + PDB.format(k=2, letter="B", x=0.5))
    assert len(read(tmp_path / "a.pdb", first)[0]) == 1


def test_the_origin_is_noted_where_a_file_leaves_it_open(tmp_path):
    sites = "Si1 Si 0 0 0 .\n"
    with pytest.warns(UserWarning, match="group 227 .* origin choice 1 is assumed"):
        read(tmp_path / "a.cif", CIF.format(symmetry="_space_group_IT_number 227", sites=sites))
    with pytest.warns(UserWarning, match="group 227 .* origin choice 1 is assumed"):
        read(
            tmp_path / "a.cif",
            CIF.format(symmetry="_space_group_name_H-M_alt 'F d -3 m'", sites=sites),
        )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stated = "_space_group_IT_number 227\n_symmetry_space_group_setting 2"
        (atoms,) = read(
            tmp_path / "a.cif", CIF.format(symmetry=stated, sites="Si1 Si 0.125 0.125 0.125 .\n")
        )
        assert len(atoms) == 8
        assert np.isclose(atoms.get_all_distances(mic=True)[0, 1:].min(), 5.43 * 3**0.5 / 4)
        read(tmp_path / "a.cif", CIF.format(symmetry="_space_group_IT_number 225", sites=sites))


def test_a_setting_that_is_named_but_not_applied(tmp_path):
    named = "_space_group_IT_number 227\n_space_group_name_H-M_alt 'F d -3 m :2'"
    with pytest.raises(ValueError, match="names setting '2' of space group 227"):
        read(tmp_path / "a.cif", CIF.format(symmetry=named, sites="Si1 Si 0.125 0.125 0.125 .\n"))
