"""Neighbour lists of sheared, tiny, huge and left-handed cells: right, and in bounded time."""

import time

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, graphene
from ase.neighborlist import primitive_neighbor_list

from ase_pet import PETCalculator, graph
from ase_pet.graph import _sparse
from test_graph import both_ways, brute_force, half, rows
from toys import silicon, tiny_pet

SECONDS = 5  # of one CPU; each took minutes, or never ended, or all of the memory
SHEARS = {
    "a of b": [[1, 0, 0], [30, 1, 0], [0, 0, 1]],
    "all": [[1, 0, 0], [-17, 1, 0], [40, 23, 1]],
    "strong": [[1, 0, 0], [0, 1, 0], [5000, 0, 1]],
    "left-handed": [[0, 1, 0], [1, 25, 0], [0, 0, 1]],
}
PBC = [(True, True, True), (True, True, False), (False, True, True), (True, False, True)]


def sheared(atoms, shear):
    """The same crystal, with other vectors of its lattice."""
    copy = atoms.copy()
    copy.set_cell(np.array(shear) @ atoms.cell.array)
    return copy


@pytest.mark.parametrize("shear", SHEARS)
def test_other_vectors_of_the_same_lattice(shear):
    atoms = silicon()
    np.testing.assert_allclose(
        both_ways(half(sheared(atoms, SHEARS[shear]), 5.0)), both_ways(half(atoms, 5.0)), atol=1e-6
    )


@pytest.mark.parametrize("pbc", PBC, ids=str)
def test_sheared_films(pbc):
    """Only periodic vectors may be combined."""
    atoms = silicon()
    atoms.pbc = pbc
    shear = np.eye(3)
    first, second = np.flatnonzero(pbc)[:2]
    shear[second, first] = 40
    other = sheared(atoms, shear)
    np.testing.assert_allclose(both_ways(half(other, 5.0)), both_ways(half(atoms, 5.0)), atol=1e-6)


@pytest.mark.parametrize("shear", SHEARS)
def test_energies_forces_and_stress_of_a_sheared_crystal(shear):
    calculator = PETCalculator(tiny_pet())
    one = silicon()
    other = sheared(one, SHEARS[shear])
    properties = ("energy", "forces", "stress")
    expected, found = calculator.evaluate([one, other], properties)
    for name in properties:
        np.testing.assert_allclose(found[name], expected[name], atol=1e-9)


@pytest.mark.parametrize("order", [(1, 0, 2), (0, 2, 1), (2, 1, 0)])
def test_left_handed_cells_are_the_same_crystal(order):
    calculator = PETCalculator(tiny_pet())
    one = silicon()
    one.cell[0, 1] += 0.4
    other = one.copy()
    other.set_cell(one.cell.array[list(order)])
    mirrored = one.copy()
    mirrored.set_cell(-one.cell.array)  # the same lattice, of negative volume
    properties = ("energy", "forces", "stress")
    expected, *found = calculator.evaluate([one, other, mirrored], properties)
    assert np.linalg.det(other.cell) < 0 > np.linalg.det(mirrored.cell)
    for results in found:
        for name in properties:
            np.testing.assert_allclose(results[name], expected[name], atol=1e-9)


@pytest.mark.parametrize("length", [0.85, 1.0, 1.5])
@pytest.mark.parametrize("pbc", [(1, 1, 1), (1, 0, 0)], ids=str)
def test_tiny_cells(length, pbc):
    atoms = Atoms("Si", [[0.3, 0.1, 0.2]], cell=[length] * 3, pbc=pbc)
    expected = brute_force(atoms, 4.1, 6)
    np.testing.assert_allclose(both_ways(half(atoms, 4.1)), expected, atol=1e-6)


def sparse_line(n):
    return Atoms(f"Si{n}", np.c_[np.arange(n) * 100.0, np.zeros((n, 2))])


def sparse_gas(n, seed=0):
    """Pairs of atoms at random places of a wide box."""
    generator = np.random.default_rng(seed)
    places = generator.uniform(0, 1e4, (n // 2, 3))
    positions = np.concatenate([places, places + [0.0, 1.5, 2.0]])
    return Atoms(f"Si{len(positions)}", positions, cell=[1e4, 1e4, 1e4])


def dust(n, pbc):
    atoms = sparse_gas(n)
    atoms.pbc = pbc
    return atoms


def chain_in_vacuum():
    return Atoms("Si", cell=[5.0, 310.0, 310.0], pbc=True) * (3000, 1, 1)


def evaporated():
    atoms = bulk("Si", cubic=True) * 14 + Atoms("Si", [[9e8, 9e8, 9e8]])
    atoms.pbc = False
    return atoms


FAST = {
    "line without pairs": (lambda: sparse_line(30_000), 0),
    "pairs far apart": (lambda: sparse_gas(20_000), 10_000),
    "periodic pairs far apart": (lambda: dust(20_000, True), 10_000),
    "long chain in a wide cell": (chain_in_vacuum, 3000),
    "sheared a million times": (
        lambda: sheared(bulk("Si"), [[1, 0, 0], [99_999, 1, 0], [0, 0, 1]]),
        46,
    ),
    "evaporated atom": (evaporated, None),
}


@pytest.mark.parametrize("name", FAST)
def test_bounded_work(name):
    make, count = FAST[name]
    atoms = make()
    start = time.process_time()
    pairs = half(atoms, 6.5)
    assert time.process_time() - start < SECONDS
    assert count is None or len(pairs.centres) == count


@pytest.mark.parametrize("pbc", [(0, 0, 0), (1, 1, 1), (1, 0, 1)], ids=str)
@pytest.mark.parametrize("make", [silicon, lambda: graphene(vacuum=4.0)], ids=["si", "graphene"])
def test_the_tree_finds_what_ase_finds(make, pbc):
    atoms = make()
    cell = atoms.cell.array
    pbc = np.array(pbc, dtype=bool)
    fractional = np.where(pbc, atoms.get_scaled_positions(wrap=False) % 1, 0)
    wrapped = np.where(pbc.all(), fractional @ cell, atoms.positions)
    i, j, shifts = _sparse.tree_pairs(wrapped, cell, pbc, 5.0)
    vectors = wrapped[j] - wrapped[i] + shifts @ cell
    expected = primitive_neighbor_list("ijD", pbc, cell, wrapped, 5.0)
    found = both_ways(graph.HalfList(i, j, vectors))
    np.testing.assert_allclose(found, rows(*expected), atol=1e-6)
    assert (i <= j).all()


def test_a_crowd_is_refused_before_the_search():
    atoms = Atoms("Si", cell=[0.5] * 3, pbc=True)
    with pytest.raises(graph.InvalidStructure, match="about 8 atoms per A.3 around atom 0"):
        half(atoms, 6.0)


def test_more_pairs_than_fit_into_memory_are_refused_before_the_search():
    crystal = bulk("Si", cubic=True) * 20
    crystal.pbc = False
    with pytest.raises(graph.InvalidStructure, match="about 7e.08 pairs .*, 21830 neighbours"):
        half(crystal, 50.0)
