"""Labels of VASP: vasprun.xml and OUTCAR written here in its format, units and signs."""

import numpy as np
import pytest
from ase import units

import argon
from ase_pet.train import data, read
from ase_pet.train.files import structures
from ase_pet.train.recipe_files import paths

KBAR = units.GPa / 10
SMEARING = 0.25  # eV, that the energy without broadening differs from the free energy
# VASP's order of the components of a stress: XX YY ZZ XY YZ ZX
IN_KB = [(0, 0), (1, 1), (2, 2), (0, 1), (1, 2), (2, 0)]


def compression(atoms):
    """Stress (3, 3) as VASP prints it: in kbar, positive under compression."""
    return -atoms.get_stress(voigt=False) / KBAR


def rows(table, form="%16.10f"):
    return [" ".join(form % value for value in row) for row in np.atleast_2d(table)]


def varray(name, table):
    lines = [f"<v>{row}</v>" for row in rows(table)]
    return "\n".join([f'<varray name="{name}">', *lines, "</varray>"])


def vasprun(frames):
    """Text of a vasprun.xml with an ionic step for each structure."""
    first = frames[0]
    atoms = "".join(f"<rc><c>{symbol}</c><c>1</c></rc>" for symbol in first.symbols)
    steps = []
    for atoms_of_step in frames:
        free = atoms_of_step.get_potential_energy()
        energies = (
            f'<energy><i name="e_fr_energy">{free:.10f}</i>'
            f'<i name="e_0_energy">{free + SMEARING:.10f}</i></energy>'
        )
        steps.append(
            f"<calculation><scstep>{energies}</scstep>{place(atoms_of_step)}"
            f"{varray('forces', atoms_of_step.get_forces())}"
            f"{varray('stress', compression(atoms_of_step))}{energies}</calculation>"
        )
    return (
        '<?xml version="1.0" encoding="ISO-8859-1"?><modeling>'
        '<kpoints><varray name="kpointlist"><v>0 0 0</v></varray>'
        '<varray name="weights"><v>1</v></varray></kpoints>'
        '<parameters><i name="PSTRESS">0.0</i></parameters>'
        f'<atominfo><array name="atoms"><set>{atoms}</set></array></atominfo>'
        f"{place(first, 'initialpos')}{''.join(steps)}</modeling>"
    )


def place(atoms, name=""):
    cell = varray("basis", atoms.cell.array)
    positions = varray("positions", atoms.get_scaled_positions(wrap=False))
    named = f' name="{name}"' if name else ""
    return f"<structure{named}><crystal>{cell}</crystal>{positions}</structure>"


def outcar(frames):
    """Text of an OUTCAR with an ionic step for each structure."""
    lines = [
        " POTCAR:    PAW_PBE Ar 07Sep2000",
        " POTCAR:    PAW_PBE Ar 07Sep2000",
        f"   ions per type =              {len(frames[0])}",
        "   ISPIN  =      1    spin polarized calculation?",
        "----------- Iteration    1(   1)  -----------",
    ]
    for atoms in frames:
        stress = compression(atoms)
        free = atoms.get_potential_energy()
        zero = free + SMEARING
        table = np.hstack([atoms.positions, atoms.get_forces()])
        vectors = np.hstack([atoms.cell.array, atoms.cell.array])
        lines += [
            "  in kB  " + rows([stress[place] for place in IN_KB])[0],
            "      direct lattice vectors                 reciprocal lattice vectors",
            *rows(vectors),
            " POSITION                                       TOTAL-FORCE (eV/Angst)",
            " ---------------------------------------------------------------------",
            *rows(table),
            "  FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)",
            "  ---------------------------------------------------",
            f"  free  energy   TOTEN  = {free:18.8f} eV",
            "",
            f"  energy  without entropy= {zero:16.8f}  energy(sigma->0) = {zero:16.8f}",
        ]
    return "\n".join([*lines, ""])


WRITERS = {"vasprun.xml": vasprun, "OUTCAR": outcar}


@pytest.mark.parametrize("name", WRITERS)
def test_units_and_signs_of_vasp(name, tmp_path):
    """A stress that is positive under compression, in kbar, becomes that of ASE."""
    frames = argon.structures(3)
    (tmp_path / name).write_text(WRITERS[name](frames))
    for atoms, expected in zip(structures(tmp_path / name), frames, strict=True):
        np.testing.assert_allclose(atoms.positions, expected.positions, atol=1e-8)
        np.testing.assert_allclose(atoms.get_forces(), expected.get_forces(), atol=1e-9)
        np.testing.assert_allclose(atoms.get_stress(), expected.get_stress(), atol=1e-10)
        free = atoms.get_potential_energy(force_consistent=True)
        assert free == pytest.approx(expected.get_potential_energy(), abs=1e-7)


@pytest.mark.parametrize("name", WRITERS)
def test_training_on_files_of_vasp(name, tmp_path):
    frames = argon.structures(15)
    groups = {
        split: [atoms for atoms in frames if atoms.info["split"] == split]
        for split in ("train", "val", "test")
    }
    for split, part in groups.items():
        (tmp_path / split).mkdir()
        (tmp_path / split / name).write_text(WRITERS[name](part))
    lists = "\n".join(f'{split} = ["{split}/{name}"]' for split in groups)
    text = argon.RECIPE.format(epochs=1, method="adam", rate=0.01, dtype="float64")
    path = tmp_path / "recipe.toml"
    text = text.replace('files = ["argon.extxyz"]', lists)
    path.write_text(f'{text}\n[keys]\nenergy = "free_energy"\n')
    splits = data.read(read(path), (18,), 5.0)
    for split, part in groups.items():
        for sample, atoms in zip(splits[split], part, strict=True):
            assert sample.energy == pytest.approx(atoms.get_potential_energy(), abs=1e-7)
            np.testing.assert_allclose(sample.forces, atoms.get_forces(), atol=1e-9)
            virial = atoms.get_stress(voigt=False) * atoms.get_volume()
            np.testing.assert_allclose(sample.virial, virial, atol=1e-6)
    # the energy without broadening has other derivatives than the forces
    path.write_text(text)
    with pytest.warns(UserWarning, match="`energy` is not `free_energy`, as with smeared"):
        data.read(read(path), (18,), 5.0)


def test_an_outcar_beside_its_vasprun_is_not_read_twice(tmp_path):
    frames = argon.structures(3)
    for name, writer in WRITERS.items():
        (tmp_path / name).write_text(writer(frames))
    assert paths(tmp_path, ".") == [tmp_path / "vasprun.xml"]
