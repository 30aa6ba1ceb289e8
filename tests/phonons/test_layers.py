"""Layers, periodic in two directions: relaxed in their plane, with phonons in their plane."""

import ase.io
import numpy as np
import pytest
from ase.build import fcc111
from ase.calculators.emt import EMT

from ase_pet import phonons

SMALL = {"mesh": (4, 4, 4), "temperature_max": 300}


def slab(vacuum=None, rattle=0.0):
    """Three layers of copper; without vacuum, the third cell vector is zero."""
    atoms = fcc111("Cu", (1, 1, 3), a=3.6, vacuum=vacuum)
    atoms.info = {}
    atoms.rattle(rattle, seed=1)
    atoms.calc = EMT()
    return atoms


@pytest.fixture(scope="module")
def relaxed():
    """Relaxed layers."""
    return phonons.relax(slab())


def test_layers_are_relaxed_in_their_plane(relaxed):
    assert not relaxed.atoms.cell[2].any()
    assert relaxed.atoms.pbc.tolist() == [True, True, False]
    assert relaxed.space_group == "P-3m1 (164)"
    report = relaxed.as_dict()
    assert (report["volume"], report["largest_stress"]) == (None, None)
    assert report["area"] == pytest.approx(
        np.linalg.norm(np.cross(relaxed.atoms.cell[0], relaxed.atoms.cell[1]))
    )
    # no strain in the plane lowers the energy
    for strain in (0.001, -0.001):
        strained = relaxed.atoms.copy()
        strained.set_cell(strained.cell * [1 + strain, 1 + strain, 1], scale_atoms=True)
        strained.calc = EMT()
        other = phonons.relax(strained, cell=False).atoms
        assert other.get_potential_energy() > relaxed.atoms.get_potential_energy()


def test_the_vacuum_does_not_change(tmp_path):
    start = slab(vacuum=7.0, rattle=0.02)
    found = phonons.relax(start, record=tmp_path)
    np.testing.assert_array_equal(found.atoms.cell[2], start.cell[2])
    frames = ase.io.read(tmp_path / "relaxation.traj", ":")
    np.testing.assert_array_equal(
        [frame.cell[2] for frame in frames], [start.cell[2]] * len(frames)
    )
    assert found.initial_space_group == "P1 (1)"
    assert found.space_group == "P-3m1 (164)"


def test_the_vacuum_may_be_along_any_axis(relaxed):
    turned = slab()
    turned.positions = turned.positions[:, [2, 0, 1]]
    turned.set_cell(turned.cell.array[[2, 0, 1]][:, [2, 0, 1]])
    turned.pbc = [False, True, True]
    turned.calc = EMT()
    found = phonons.relax(turned)
    assert found.atoms.get_potential_energy() == pytest.approx(
        relaxed.atoms.get_potential_energy(), abs=1e-7
    )
    tilted = slab(vacuum=5.0)
    tilted.rotate(30, "x", rotate_cell=True)
    with pytest.raises(ValueError, match="has to be that of two Cartesian axes"):
        phonons.relax(tilted)


@pytest.mark.parametrize("shift", [0.0, -1.0])
def test_phonons_of_layers_are_those_of_a_crystal_with_vacuum(relaxed, shift):
    atoms = relaxed.atoms.copy()
    atoms.positions[:, 2] += shift  # atoms at negative heights stay together
    atoms.calc = EMT()
    found = phonons.run(atoms, (3, 3, 2), relaxed=False, **SMALL)
    assert found.facts["supercell"] == [[3, 0, 0], [0, 3, 0], [0, 0, 1]]
    assert found.phonopy.mesh.mesh_numbers.tolist() == [4, 4, 1]
    assert found.phonopy.band_structure.labels == [
        r"$\Gamma$",
        r"$\mathrm{M}$",
        r"$\mathrm{K}$",
        r"$\Gamma$",
    ]
    crystal = atoms.copy()
    crystal.center(vacuum=10, axis=2)
    crystal.pbc = True
    crystal.calc = EMT()
    expected = phonons.run(crystal, (3, 3, 1), relaxed=False, mesh=(4, 4, 1), temperature_max=300)
    points = [(0, 0, 0), (0.5, 0, 0), (1 / 3, 1 / 3, 0), (0.1, 0.2, 0)]
    np.testing.assert_allclose(
        found.phonopy.run_qpoints(points).frequencies,
        expected.phonopy.run_qpoints(points).frequencies,
        atol=1e-4,
    )


def test_what_layers_do_not_have_is_refused(relaxed):
    layers = relaxed.atoms
    with pytest.raises(ValueError, match="expected one cell along vector 3"):
        phonons.run(layers, np.diag([2, 2, 2]), relaxed=False)
    with pytest.raises(ValueError, match="valid names of this crystal are G, K, M"):
        phonons.run(layers, relaxed=False, path="G,A")
    with pytest.raises(ValueError, match="a layer has bands in its plane only"):
        phonons.run(layers, relaxed=False, path="0 0 0, 0 0 1/2")
    with pytest.raises(ValueError, match="`pressure` is 1 GPa: it needs"):
        phonons.relax(layers, pressure=1.0)
    for task in (phonons.elastic, phonons.equation_of_state):
        with pytest.raises(ValueError, match="need three periodic directions"):
            task(layers)
