"""The reader of all commands: names, compression, formats, and what ASE reads in silence."""

import gzip
import lzma
import re

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.constraints import FixAtoms

import cif
from ase_pet.cli.options import read_structures
from ase_pet.train.files import structures

CIF = cif.template("occupancy")
DIAMOND = "_symmetry_Int_Tables_number 227\n_symmetry_space_group_setting 1"
FULL = "Si1 Si 0 0 0 1.0"
XYZ = '2\nLattice="5 0 0 0 5 0 0 0 5" Properties=species:S:1:pos:R:3 pbc="T T T"\n'
ATOMS = "Ar 0.00000000 0.00000000 0.00000000\nAr 0.00000000 0.00000000 2.50000000\n"


def cif(name="one", symmetry=DIAMOND, sites=FULL):
    return CIF.format(name=name, symmetry=symmetry, sites=sites)


def write(path, text):
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", ["Ar@300K.extxyz", "Ar@0.traj", "a@b@c.cif", "@.xyz"])
def test_an_at_sign_is_part_of_the_name(tmp_path, name):
    ase.io.write(tmp_path / "plain.extxyz", bulk("Ar", cubic=True))
    ase.io.write(
        tmp_path / name, bulk("Ar", cubic=True), format=ase.io.formats.filetype(name, False)
    )
    assert len(structures(tmp_path / name, -1)) == 4
    assert len(read_structures(str(tmp_path / name), ":")) == 1


def test_an_index_after_an_at_sign(tmp_path):
    """As in ASE, where no file has that name."""
    frames = [Atoms("Ar", positions=[[k, 0, 0]]) for k in range(4)]
    ase.io.write(tmp_path / "a.extxyz", frames)
    assert structures(f"{tmp_path}/a.extxyz@2") == [frames[2]]
    assert structures(f"{tmp_path}/a.extxyz@2", -1) == frames[2]
    assert structures(f"{tmp_path}/a.extxyz@1:3") == frames[1:3]
    with pytest.raises(ValueError, match="holds 4 structures: no 4"):
        structures(f"{tmp_path}/a.extxyz@4", -1)
    with pytest.raises(ValueError, match="no such file, and '300K.extxyz' is no index"):
        structures(f"{tmp_path}/a.extxyz@300K.extxyz")


@pytest.mark.parametrize(("suffix", "compress"), [(".gz", gzip.compress), (".xz", lzma.compress)])
@pytest.mark.parametrize("name", ["a.traj", "a.extxyz", "POSCAR", "a.cif"])
def test_compressed_files_of_any_format(tmp_path, name, suffix, compress):
    atoms = bulk("Ar", cubic=True)
    ase.io.write(tmp_path / name, atoms)
    packed = tmp_path / f"{name}{suffix}"
    packed.write_bytes(compress((tmp_path / name).read_bytes()))
    (read,) = structures(packed)
    assert np.allclose(read.positions, atoms.positions)
    packed.write_bytes(packed.read_bytes()[:-20])
    with pytest.raises(ValueError, match="cannot be read as structures: (EOF|LZMA|BadGzip)"):
        structures(packed)


def test_the_format_may_be_given(tmp_path):
    atoms = bulk("Ar", cubic=True)
    ase.io.write(tmp_path / "ar.in", atoms, format="lammps-data", masses=True)
    assert structures(tmp_path / "ar.in", -1, "lammps-data").symbols[0] == "Ar"
    with pytest.raises(ValueError, match="cannot be read as structures: UnknownFileTypeError"):
        structures(tmp_path / "ar.in", -1, "lamps")


def test_types_of_lammps_are_not_elements(tmp_path):
    """ASE takes the first type for hydrogen."""
    ase.io.write(tmp_path / "ar.lmp", bulk("Ar", cubic=True), format="lammps-data")
    with pytest.raises(ValueError, match="does not say which elements its types are"):
        structures(tmp_path / "ar.lmp", -1, "lammps-data")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty: expected structures"),
        (bytes(range(256)) * 20, "cannot be read as structures: UnicodeDecodeError"),
        ((XYZ + ATOMS + XYZ + ATOMS[:20]).encode(), "cannot be read as structures"),
        ((XYZ + ATOMS + XYZ + ATOMS[:-25]).encode(), "cannot be read as structures"),
        ((XYZ + ATOMS + "\n" + XYZ + ATOMS).encode(), "has a blank line after structure 0"),
        ((XYZ + ATOMS.replace("\n", " 1.0\n")).encode(), "has 5 values, but `Properties` names 4"),
        ((XYZ + ATOMS.replace("2.50000000", "nan")).encode(), "structure 0: `positions` is not fi"),
        ((XYZ + ATOMS).replace('"5 0', '"inf 0').encode(), "structure 0: `cell` is not finite"),
        ((XYZ + ATOMS).replace("Latt", "latt").encode(), "`lattice` means nothing: .* `Lattice`"),
        ((XYZ + ATOMS).replace("pbc", "PBC").encode(), "`PBC` means nothing: expected `pbc`"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*no `pbc` beside")
def test_a_bad_file_is_one_sentence(tmp_path, content, message):
    path = tmp_path / "bad.extxyz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        structures(path)
    assert "\n" not in str(caught.value)
    assert str(path.name) in str(caught.value)


def test_a_missing_file_is_said_by_the_system(tmp_path):
    for name in ("none.xyz", "none@0.xyz", "postgresql:none", "-"):
        with pytest.raises(FileNotFoundError):
            structures(tmp_path / name)


@pytest.mark.parametrize(
    ("text", "note"),
    [
        (XYZ.replace(' pbc="T T T"', "") + ATOMS, "no `pbc` beside `Lattice`: taken as periodic"),
        (XYZ + ATOMS + XYZ + ATOMS[:-5], "its last line is short and does not end"),
        ("2\n\nAr 0 0 0 1 2 3\nAr 0 0 2 1 2 3\n", r"values after the position \(3 columns\)"),
    ],
)
def test_a_guess_is_noted(tmp_path, text, note):
    with pytest.warns(UserWarning, match=note):
        structures(write(tmp_path / "a.xyz", text), -1)


@pytest.mark.parametrize(
    ("sites", "said"),
    [
        ("Si1 Si 0 0 0 0.6\nGe1 Ge 0 0 0 0.4", r"2 of 2 sites is partial or mixed \(0.6 Si \+ 0.4"),
        ("Si1 Si 0 0 0 0.9", r"1 of 1 sites is partial or mixed \(0.9 Si\)"),
        ("Si1 Si 0 0 0 0.5(1)", r"\(0.5 Si\)"),
        ("Si1 Si 0 0 0 1\nLi1 Li 0.5 0.5 0.5 0.25", r"\(0.25 Li\)"),
    ],
)
@pytest.mark.parametrize("symmetry", [DIAMOND, "_symmetry_Int_Tables_number 1"])
def test_partial_occupancy_is_refused(tmp_path, sites, said, symmetry):
    path = write(tmp_path / "a.cif", cif(sites=sites, symmetry=symmetry))
    with pytest.raises(ValueError, match=re.sub(r"^\d of \d", r"\\d+ of \\d+", said)):
        structures(path, -1)


@pytest.mark.parametrize("occupancy", ["1", "1.0", ".", "1.000(3)", "0.9999"])
def test_full_occupancy_is_read(tmp_path, occupancy):
    path = write(tmp_path / "a.cif", cif(sites=f"Si1 Si 0 0 0 {occupancy}"))
    assert len(structures(path, -1)) == 8


def test_occupancy_of_other_files(tmp_path):
    """Kept in extended XYZ; of a PDB file, where 0 means that it is not given."""
    atoms = Atoms("Si", cell=[4, 4, 4], pbc=True)
    atoms.info["occupancy"] = {"0": {"Si": 0.6, "Ge": 0.4}}
    ase.io.write(tmp_path / "a.extxyz", atoms)
    line = "ATOM      1  N   GLY A   1       0.000   0.000   0.000  {}  0.00           N\n"
    half = write(tmp_path / "half.pdb", line.format("0.50"))
    for path in (tmp_path / "a.extxyz", half):
        with pytest.raises(ValueError, match="is partial or mixed"):
            structures(path)
    for occupancy in ("0.00", "1.00"):
        assert len(structures(write(tmp_path / "a.pdb", line.format(occupancy)), -1)) == 1


@pytest.mark.parametrize("value", [0.5, [0.5, 1.0], {"0": 0.5}, "half", {"0": {}}])
def test_other_meanings_of_occupancy(tmp_path, value):
    atoms = Atoms("Si", cell=[4, 4, 4], pbc=True)
    atoms.info["occupancy"] = value
    ase.io.write(tmp_path / "a.extxyz", atoms)
    assert len(structures(tmp_path / "a.extxyz")) == 1


def test_notes_on_crystallographic_files(tmp_path):
    two = write(tmp_path / "two.cif", cif() + cif("two"))
    with pytest.warns(UserWarning, match=r"holds 2 structures \(one, two\): two is used"):
        structures(two, -1)
    assert len(structures(two)) == 2
    with pytest.warns(UserWarning, match="no space group and no symmetry operations"):
        assert len(structures(write(tmp_path / "p1.cif", cif(symmetry="")), -1)) == 1


def test_what_a_poscar_says_is_kept(tmp_path):
    """Selective dynamics as constraints, velocities as momenta."""
    atoms = bulk("Ar", cubic=True)
    atoms.set_velocities(np.random.default_rng(1).normal(0, 0.01, (4, 3)))
    atoms.set_constraint(FixAtoms([0]))
    ase.io.write(tmp_path / "POSCAR", atoms)
    with (tmp_path / "POSCAR").open("a") as file:
        file.write("\n")
        np.savetxt(file, atoms.get_velocities() * ase.units.fs)
    read = structures(tmp_path / "POSCAR", -1)
    assert np.array_equal(read.constraints[0].index, [0])
    assert read.get_velocities()[1:] == pytest.approx(atoms.get_velocities()[1:])
