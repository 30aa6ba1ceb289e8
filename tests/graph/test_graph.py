"""The graph: half lists against independent full lists, batches, reuse of lists along a run."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, make_supercell
from ase.neighborlist import neighbor_list

from ase_pet import PETCalculator, graph
from tolerances import TOLERANCES, rounding, worst
from toys import ethanol, sheared, silicon, slab, tiny_pet

SHEAR = np.array([[1, 0.9, 0.3], [0, 1, 0.7], [0, 0, 1]])
EVERY_PBC = [(x, y, z) for x in (False, True) for y in (False, True) for z in (False, True)]


def half(atoms, cutoff):
    structure = graph.from_atoms(atoms)
    graph.check(structure)
    return graph.half_list(structure, cutoff)


def rows(centres, neighbours, vectors):
    """Edges as sorted rows (i, j, x, y, z), so that lists in any order can be compared."""
    table = np.round(np.column_stack([centres, neighbours, vectors]), 7) + 0.0
    return table[np.lexsort(table.T[::-1])]


def both_ways(pairs):
    return rows(
        np.concatenate([pairs.centres, pairs.neighbours]),
        np.concatenate([pairs.neighbours, pairs.centres]),
        np.concatenate([pairs.vectors, -pairs.vectors]),
    )


def brute_force(atoms, cutoff, images):
    """All edges by a loop over lattice vectors with coefficients up to `images`."""
    ranges = [range(-images, images + 1) if periodic else (0,) for periodic in atoms.pbc]
    edges = []
    for shift in np.array(np.meshgrid(*ranges)).reshape(3, -1).T:
        vectors = atoms.positions[None] - atoms.positions[:, None] + shift @ atoms.cell.array
        is_edge = np.linalg.norm(vectors, axis=2) <= cutoff
        # an atom is a neighbour of its images, not of itself
        is_edge &= shift.any() | ~np.eye(len(atoms), dtype=bool)
        edges += [(i, j, *vectors[i, j]) for i, j in np.argwhere(is_edge)]
    table = np.array(edges).reshape(-1, 5)
    return rows(table[:, 0], table[:, 1], table[:, 2:])


def skewed(seed=0):
    atoms = silicon(seed)
    atoms.set_cell(atoms.cell @ SHEAR, scale_atoms=True)
    return atoms


def left_handed():
    atoms = skewed()
    atoms.set_cell(atoms.cell[[1, 0, 2]])
    return atoms


def scattered():
    atoms = skewed()
    atoms.positions += np.random.default_rng(5).normal(size=(8, 3)) * 30
    return atoms


def in_vacuum():
    atoms = ethanol()
    atoms.set_cell([40, 41, 42])
    atoms.positions -= 17
    return atoms


CASES = {
    "primitive, cutoff of several cells": (lambda: bulk("Si"), 8.0),
    "displaced": (silicon, 5.0),
    "skewed": (skewed, 5.0),
    "left-handed": (left_handed, 5.0),
    "outside the cell": (scattered, 5.0),
    "sheared primitive": (sheared, 6.0),
    "slab": (slab, 6.0),
    "molecule": (ethanol, 3.0),
    "molecule in vacuum": (in_vacuum, 3.0),
}


@pytest.mark.parametrize("name", CASES)
def test_half_list_is_that_of_ase(name):
    make, cutoff = CASES[name]
    atoms = make()
    expected = rows(*neighbor_list("ijD", atoms, cutoff))
    assert len(expected) > 0
    np.testing.assert_allclose(both_ways(half(atoms, cutoff)), expected, atol=1e-6)


@pytest.mark.parametrize(
    "name", ["primitive, cutoff of several cells", "sheared primitive", "slab", "molecule"]
)
def test_half_list_is_that_of_brute_force(name):
    make, cutoff = CASES[name]
    np.testing.assert_allclose(
        both_ways(half(make(), cutoff)), brute_force(make(), cutoff, 9), atol=1e-6
    )


@pytest.mark.parametrize("pbc", EVERY_PBC)
@pytest.mark.parametrize("make", [skewed, left_handed, scattered])
def test_every_pbc_is_that_of_ase(make, pbc):
    atoms = make()
    atoms.pbc = pbc
    np.testing.assert_allclose(
        both_ways(half(atoms, 5.0)), rows(*neighbor_list("ijD", atoms, 5.0)), atol=1e-6
    )


@pytest.mark.parametrize("pbc", EVERY_PBC)
def test_cell_along_open_directions_has_no_meaning(pbc):
    atoms = skewed()
    atoms.pbc = pbc
    expected = both_ways(half(atoms, 5.0))
    for vector in ([0, 0, 0], [1e-3, 0, 0], [3e4, 2e4, 1e4]):
        atoms.cell[~atoms.pbc] = vector
        np.testing.assert_allclose(both_ways(half(atoms, 5.0)), expected, atol=1e-7)


@pytest.mark.parametrize("cells", [1, 17, 1e4, -1e4, 9e5])
def test_atoms_many_cells_away(cells):
    atoms = skewed()
    expected = both_ways(half(atoms, 5.0))
    atoms.positions[3] += cells * (atoms.cell[0] - atoms.cell[2])
    pairs = half(atoms, 5.0)
    limit = rounding(np.abs(atoms.positions).max()) + 2e-7
    np.testing.assert_allclose(both_ways(pairs), expected, atol=limit)


@pytest.mark.parametrize(
    ("distance", "count"), [(3.999999, 1), (4.000001, 0), (50.0, 0), (1e7, 0), (1.9e9, 0)]
)
def test_dimer_at_and_beyond_the_cutoff(distance, count):
    assert len(half(Atoms("Si2", [[0, 0, 0], [distance / 2, 0, 0]]), 2.0).centres) == count


def test_isolated_atom_has_no_edges():
    assert len(half(Atoms("Si"), 8.0).centres) == 0
    assert len(half(Atoms("Si", cell=[20, 20, 20], pbc=True), 8.0).centres) == 0


@pytest.mark.parametrize("pbc", [False, (True, False, False), True])
def test_very_sparse_cluster(pbc):
    """Dimers on a line of 1e6 A: the search ends, memory is bounded, and no pair is lost."""
    places = np.cumsum(np.random.default_rng(0).uniform(10, 4e4, size=50))
    positions = np.repeat(places, 2)[:, None] * [1.0, 0.3, 0.1]
    positions[1::2] += 1.0
    atoms = Atoms("Si100", positions, cell=[3e6, 2e6, 2e6], pbc=pbc)
    pairs = half(atoms, 5.0)
    assert sorted(zip(pairs.centres.tolist(), pairs.neighbours.tolist(), strict=True)) == [
        (2 * k, 2 * k + 1) for k in range(50)
    ]


@pytest.mark.parametrize("length", [60, 1e3, 1e4, 1e6, 1e8])
@pytest.mark.parametrize("place", [0.0, 0.5, -0.3, 0.99999])
def test_molecule_across_the_boundary_of_a_large_periodic_cell(length, place):
    atoms = Atoms(
        "Si3", [[0, 0, 0], [1, 0.5, 0.3], [0, 2, 2]], cell=[length, 2 * length, length], pbc=True
    )
    atoms.positions += place * atoms.cell.sum(0) - 0.6
    atoms.positions[1] += atoms.cell[1]
    expected = half(Atoms("Si3", [[0, 0, 0], [1, 0.5, 0.3], [0, 2, 2]]), 4.0)
    actual = half(atoms, 4.0)
    limit = 1e-7 + rounding(float(length))
    np.testing.assert_allclose(both_ways(actual), both_ways(expected), atol=limit)


def test_long_cell_filled_with_atoms_keeps_its_periodicity():
    atoms = make_supercell(bulk("Si", cubic=True), np.diag([60, 1, 1]))
    atoms.rattle(0.05, seed=0)
    assert atoms.cell.lengths()[0] > 50 * 5.0
    np.testing.assert_allclose(
        both_ways(half(atoms, 5.0)), rows(*neighbor_list("ijD", atoms, 5.0)), atol=1e-6
    )


def test_half_list_has_each_pair_once():
    pairs = half(bulk("Si"), 8.0)
    assert (pairs.centres <= pairs.neighbours).all()
    forward = rows(pairs.centres, pairs.neighbours, pairs.vectors)
    backward = rows(pairs.neighbours, pairs.centres, -pairs.vectors)
    assert not {tuple(row) for row in forward} & {tuple(row) for row in backward}


def build(*structures, **options):
    return graph.build([graph.from_atoms(atoms) for atoms in structures], 4.0, **options)


def test_reverse_of_an_edge_is_a_roll_by_half():
    batch = build(silicon(), ethanol())
    half_size = len(batch.pair_vectors)
    vectors = torch.cat([batch.pair_vectors, -batch.pair_vectors])
    torch.testing.assert_close(batch.centre.roll(half_size), batch.neighbour, rtol=0, atol=0)
    torch.testing.assert_close(vectors.roll(half_size, 0), -vectors, rtol=0, atol=0)


def test_vectors_are_made_in_float64():
    """A shift by 1e5 A does not change a float32 model: differences are taken before the cast."""
    atoms = silicon()
    atoms.positions = np.round(atoms.positions * 1024) / 1024  # exact also after the shift
    expected = build(atoms, dtype=torch.float32).pair_vectors
    atoms.positions += 2.0**17
    assert half(atoms, 4.0).vectors.dtype == np.float64
    assert expected.dtype == torch.float32
    actual = build(atoms, dtype=torch.float32).pair_vectors
    assert worst(sorted(actual.norm(dim=1).tolist()), sorted(expected.norm(dim=1).tolist())) < 1e-7


def test_batch_offsets_atoms_of_later_structures():
    parts = [silicon(), Atoms("H"), ethanol(), slab()]
    batch = build(*parts)
    sizes = [len(atoms) for atoms in parts]
    first = np.cumsum([0, *sizes])
    assert batch.n_structures == 4
    assert batch.numbers.tolist() == sum((atoms.numbers.tolist() for atoms in parts), [])
    assert batch.structure.tolist() == np.repeat(range(4), sizes).tolist()
    for k, atoms in enumerate(parts):
        own = batch.structure[batch.pair_centre] == k
        pairs = half(atoms, 4.0)
        assert (batch.structure[batch.pair_neighbour] == k).tolist() == own.tolist()
        np.testing.assert_array_equal(batch.pair_centre[own].numpy() - first[k], pairs.centres)
        np.testing.assert_array_equal(
            batch.pair_neighbour[own].numpy() - first[k], pairs.neighbours
        )
        np.testing.assert_array_equal(batch.pair_vectors[own].numpy(), pairs.vectors)


def test_batch_carries_charge_and_spin():
    ion = ethanol()
    ion.info.update(charge=-2.0, spin=np.int64(3))
    batch = build(silicon(), ion)
    assert batch.charge.tolist() == [0, -2]
    assert batch.spin.tolist() == [1, 3]


@pytest.mark.parametrize(
    "cell",
    [
        np.zeros((3, 3)),
        np.diag([3.0, 4.0, 0.0]),
        [[3.1, 0.2, 0.3], [1.7, 3.3, 0.9], [4.8, 3.5, 1.2]],
    ],
)
def test_flat_cells_have_no_volume(cell):
    assert graph.from_atoms(Atoms("Si", cell=cell)).volume == 0


@pytest.mark.parametrize("make", [silicon, sheared, skewed])
def test_volume(make):
    assert graph.from_atoms(make()).volume == pytest.approx(make().get_volume(), rel=1e-13)


EVENTS = {
    60: lambda atoms: atoms.wrap(),
    90: lambda atoms: atoms.positions.__iadd__(atoms.cell[0] * 7),
    120: lambda atoms: atoms.positions.__setitem__(2, atoms.positions[2] - 3 * atoms.cell[1]),
    150: lambda atoms: atoms.set_cell(atoms.cell * 1.02, scale_atoms=True),
    180: lambda atoms: atoms.set_pbc((True, True, False)),
    210: lambda atoms: atoms.set_pbc(True),
    230: lambda atoms: atoms.symbols.__setitem__(1, "C"),
    250: lambda atoms: atoms.__delitem__(4),
    270: lambda atoms: atoms.append("H"),
}
SEARCHED = (150, 180, 210, 230, 250, 270)


def nothing(atoms):
    """No event."""


@pytest.mark.parametrize(
    "make",
    [lambda: bulk("Si", cubic=True), lambda: sheared() * (3, 1, 2)],
    ids=["cubic", "sheared"],
)
def test_reused_lists_equal_new_lists(make):
    """300 steps of a random walk against new lists.

    Atoms are also wrapped, moved by lattice vectors, exchanged, removed and added.
    """
    atoms = make()
    generator = np.random.default_rng(0)
    reusing, searching = (PETCalculator(tiny_pet(), skin=skin) for skin in (1.0, 0.0))
    deviations = []
    searches = []
    for step in range(300):
        EVENTS.get(step, nothing)(atoms)
        atoms.positions += 0.03 * generator.normal(size=atoms.positions.shape)
        forces = reusing.get_forces(atoms)
        expected = searching.get_forces(atoms)
        deviations.append(worst(forces, expected))
        deviations.append(
            worst(reusing.get_potential_energy(atoms), searching.get_potential_energy(atoms))
        )
        searches.append(reusing._neighbours.searches)
    assert max(deviations) < TOLERANCES[torch.float64]["same"]
    assert searching._neighbours.searches == 300
    assert 8 < searches[-1] < 100
    assert all(searches[step] == searches[step - 1] + 1 for step in SEARCHED)


@pytest.mark.parametrize("make", [silicon, sheared, slab])
def test_lattice_vectors_need_no_search(make):
    """Wrapping atoms and moving them by lattice vectors does not change list and vectors."""
    atoms = make()
    verlet = graph.VerletList(4.0, 1.0)
    expected = both_ways(verlet(graph.from_atoms(atoms)))
    atoms.wrap()
    atoms.positions[0] += 5 * atoms.cell[0] - 1000 * atoms.cell[1]
    np.testing.assert_allclose(both_ways(verlet(graph.from_atoms(atoms))), expected, atol=1e-6)
    assert verlet.searches == 1


@pytest.mark.parametrize(
    ("skin", "distance", "searches"),
    [(1.0, 0.49, 1), (1.0, 0.51, 2), (0.2, 0.11, 2), (0.0, 0.0, 2)],
)
def test_search_once_an_atom_has_moved_by_half_the_skin(skin, distance, searches):
    atoms = silicon()
    verlet = graph.VerletList(4.0, skin)
    verlet(graph.from_atoms(atoms))
    atoms.positions[5] += distance * np.array([0.6, 0.0, 0.8])
    np.testing.assert_allclose(
        both_ways(verlet(graph.from_atoms(atoms))), both_ways(half(atoms, 4.0)), atol=1e-6
    )
    assert verlet.searches == searches


@pytest.mark.parametrize(
    "change",
    [
        lambda atoms: atoms.set_cell(atoms.cell * 1.001),
        lambda atoms: atoms.set_cell(atoms.cell * 1.001, scale_atoms=True),
        lambda atoms: atoms.set_pbc((True, True, False)),
        lambda atoms: atoms.symbols.__setitem__(0, "C"),
        lambda atoms: atoms.__delitem__(7),
        lambda atoms: atoms.append(Atoms("H", [[0.5, 0.5, 0.5]])[0]),
    ],
)
def test_another_system_is_searched_anew(change):
    """Even if its atoms are at nearly the same positions."""
    atoms = silicon()
    verlet = graph.VerletList(4.0, 1.0)
    verlet(graph.from_atoms(atoms))
    change(atoms)
    np.testing.assert_allclose(
        both_ways(verlet(graph.from_atoms(atoms))), both_ways(half(atoms, 4.0)), atol=1e-6
    )
    assert verlet.searches == 2
