"""ECSE: smooth energies and forces, distant parts, and the defects of the published code."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule

import toys
from ase_pet.graph import chunking
from ase_pet.symmetrisers import ecse
from ase_pet.symmetrisers.ecse import collinear, frames, switching
from ase_pet.symmetrisers.ecse.edges import GraphEdges
from local_toys import (
    PATHS,
    STRUCTURES,
    WATER,
    around,
    batch,
    co2,
    evaluate,
    line,
    local_pet,
    mover,
    pieces_that_fail,
    scan,
    work_is_missing,
)
from tolerances import rounding, worst

NETWORK = local_pet()  # cutoff 4 A, so R_out is 3.5 A
MODEL, PROPER = ecse.wrap(NETWORK), ecse.wrap(NETWORK, "so3")
CUTOFF = NETWORK.cutoff


def forces_are_uneven(model, path, pieces):
    """Whether a force deviates from the mean of both ends by more than 1e-4 eV/A, (n,) bool.

    It is evaluated in the middle of each of the pieces (n, 2).
    """
    at, _ = path
    points = np.stack([pieces[:, 0], pieces.mean(1), pieces[:, 1]], 1)
    forces = scan(model, points.flatten(), at).forces.numpy().reshape(len(pieces), 3, -1)
    return np.abs(np.diff(forces, 2, axis=1)).max((1, 2)) > 1e-4


@pytest.mark.parametrize("test", [work_is_missing, forces_are_uneven])
@pytest.mark.parametrize("path", PATHS)
def test_energies_and_forces_do_not_jump(path, test):
    assert pieces_that_fail(test, PROPER, PATHS[path]) == 0


@pytest.mark.parametrize("path", PATHS)
def test_forces_are_central_differences(path):
    at, way = PATHS[path]
    points, h = np.linspace(0, 1, 50), 1e-5
    energy = [scan(PROPER, points + shift * h, at).energy.numpy() for shift in (-2, -1, 1, 2)]
    slope = (8 * (energy[2] - energy[1]) - (energy[3] - energy[0])) / (12 * h)
    forces = scan(PROPER, points, at).forces.numpy().reshape(50, -1, 3)[:, mover(at)]
    assert np.abs(slope + forces @ way).max() < 1e-6


@pytest.mark.parametrize(
    "t", [0.0, 1e-300, 1e-8, 0.019999, 0.02, 0.020001, 0.025, 0.5, 0.975, 0.98, 1 - 1e-8, 1.0, 2.0]
)
def test_steps_have_finite_derivatives_everywhere(t):
    t = torch.tensor(t, dtype=torch.float64, requires_grad=True)
    value = switching.smooth_step(t)
    (slope,) = torch.autograd.grad(value, t, create_graph=True)
    (curvature,) = torch.autograd.grad(slope, t)
    assert 0 <= value <= 1
    assert slope.isfinite()
    assert curvature.isfinite()


def test_steps_are_flat_at_their_ends_to_the_last_digit():
    close = torch.tensor(
        [0.0199999, 0.0200001, 0.9799999, 0.9800001], dtype=torch.float64, requires_grad=True
    )
    value = switching.smooth_step(close)
    assert value.tolist() == [0, 0, 1, 1]
    assert torch.autograd.grad(value.sum(), close)[0].tolist() == [0, 0, 0, 0]


def test_energy_of_a_distant_molecule_is_added():
    """Defect B2 of the published code: frames of all atoms rotated the full structure."""
    close, distant = toys.ethanol(), molecule("CH4")
    distant.rattle(0.05, seed=8)
    distant.positions += [40, 0, 0]
    alone = [evaluate(MODEL, atoms) for atoms in (close, distant)]
    both = evaluate(MODEL, close + distant)
    assert abs(both.energy - alone[0].energy - alone[1].energy) < 1e-12
    assert (both.forces - torch.cat([one.forces for one in alone])).abs().max() < 1e-12
    distant.rotate(50, (1, 2, 3), center="COM")
    assert abs(evaluate(MODEL, close + distant).energy - both.energy) < 1e-12


def test_nothing_jumps_at_the_cutoff_of_the_network():
    """Defect B1: a pair had its full weight up to the cutoff."""
    at, _ = line(WATER, 2, [0, CUTOFF - 1e-7, 0], [0, CUTOFF + 1e-7, 0])
    results = scan(PROPER, [0.0, 1.0], at)
    weights = MODEL.describe(results.graph)
    assert abs(results.energy[0] - results.energy[1]) < 1e-12
    assert weights["total"][[0, 3]].tolist() == [0, 0]
    assert weights["collinear_total"][[0, 3]].tolist() == [1, 1]


def test_a_pair_within_r_out_always_counts_fully():
    """So that some weight is not small. Each form measures distances of pairs in its own way."""
    at, _ = line(WATER, 2, [0, 0.9, 0], [0, CUTOFF - 0.5 - 0.49, 0])
    environments = scan(PROPER, np.linspace(0, 1, 200), at).graph
    published = ecse.wrap(NETWORK, "published").describe(environments)
    assert published["inner_cutoff"].max() <= CUTOFF
    for weights in (published, MODEL.describe(environments)):
        assert weights["total"].view(200, 3)[:, 0].min() > 2 - 1e-12


def test_wide_switches_keep_forces_gentle():
    """Defect B3: switches of 0.15 A, and pruning of frames in windows that are narrower still."""
    at, way = around(molecule("CH3OH"), 4, np.array([0.1, -0.08, 0.05]))
    largest = {}
    for width in (0.15, 0.5):
        model = ecse.wrap(NETWORK, ecse.Settings(width=width))
        forces = scan(model, np.linspace(0, 1, 201), at).forces.numpy().reshape(201, -1)
        largest[width] = np.abs(np.diff(forces, axis=0)).max() * 200 / np.linalg.norm(way)  # eV/A^2
    assert largest[0.5] < 0.4 * largest[0.15]


def test_energies_are_the_same_each_time():
    """Defect B4: each frame was rotated randomly in each evaluation."""
    first, second = (evaluate(ecse.wrap(NETWORK), toys.ethanol()) for _ in range(2))
    assert torch.equal(first.energies, second.energies)
    assert torch.equal(first.forces, second.forces)


def test_inversion_reverses_forces():
    """Defect B5: frames were right-handed, so that mirror images had other energies."""
    atoms = toys.ethanol()
    inverted = atoms.copy()
    inverted.positions *= -1
    still, mirrored = evaluate(MODEL, atoms), evaluate(MODEL, inverted)
    assert worst(mirrored.energies, still.energies) < 1e-13
    assert worst(mirrored.forces, -still.forces) < 1e-12


@pytest.mark.parametrize("angle", [180, 170, 167, 166, 160])
def test_molecules_without_frames_have_energies(angle):
    """Defect B6: an error for straight molecules, and a jump at 167 degrees."""
    straight, bent = evaluate(MODEL, co2(180)), evaluate(MODEL, co2(angle))
    assert (bent.energies - straight.energies).abs().max() < 1.0
    assert bent.forces.isfinite().all()


def test_straight_molecules_are_evaluated_along_the_axis():
    """Each atom of CO2 with its neighbours on the x axis, in both directions if it has two axes."""
    atoms = Atoms("COO", [[0, 0, 0], [1.16, 0, 0], [-1.16, 0, 0]])
    rotated = atoms.copy()
    rotated.positions *= -1
    energies = [evaluate(NETWORK, structure).energies for structure in (atoms, rotated)]
    results = evaluate(MODEL, atoms).energies
    assert abs(results[0] - (energies[0][0] + energies[1][0]) / 2) < 1e-13
    assert abs(results[1] - energies[1][1]) < 1e-13


def test_neighbours_off_the_axis_wait_at_the_cutoff():
    """Also the neighbour at exactly a right angle, where the sign of its cosine is 0."""
    vectors = torch.tensor(
        [[1.2, 0, 0], [-1.5, 0.3, 0], [0, 1.1, 0], [-0.5, -0.9, 0.1]], dtype=torch.float64
    )
    edges = frames.BlockEdges.from_vectors(
        vectors, torch.zeros(4, dtype=torch.int64), torch.tensor([4])
    )
    lines = collinear.collinear_environments(edges, torch.tensor([True]), CUTOFF, ecse.Settings())
    straight, bent = (
        collinear.projected(lines, torch.zeros(4, dtype=torch.int64), vectors, n_azimuthal)
        for n_azimuthal in (None, 16)
    )
    assert straight[:, 0].tolist() == [1.2, -float(edges.lengths[1]), CUTOFF, -CUTOFF]
    assert straight[:, 1:].abs().max() == 0
    assert torch.equal(bent[:2], vectors[:2])  # vectors close to the axis are unchanged
    assert torch.equal(bent[2:], straight[2:])
    assert abs(lines.weights.sum() - 1) < rounding(lines.weights)


def test_an_atom_alone_has_the_energy_of_no_neighbours():
    results = evaluate(MODEL, Atoms("C"), Atoms("C", cell=[9, 9, 9], pbc=True))
    alone = NETWORK(batch([Atoms("C")], CUTOFF)).expand(2).double()
    assert worst(results.energies - toys.COMPOSITION[6], alone) < 1e-13
    assert results.forces.abs().max() == 0


def test_no_weight_is_dropped_before_it_vanishes():
    """Defect B7: frames below 1e-10 were dropped."""
    at, _ = PATHS["a neighbour crosses the cutoff"]
    graph = scan(PROPER, np.linspace(0, 1, 500), at).graph
    kept = torch.cat([block.frames.weights for block in MODEL._survey(graph)])
    assert 0 < kept.min() < 1e-13


def test_cost_is_linear_and_weights_are_made_once(monkeypatch):
    """Defect B8: loops over pairs were repeated for each batch of frames."""
    calls, original = [], frames.pair_frames
    monkeypatch.setattr(
        ecse.model, "pair_frames", lambda *arguments: calls.append(1) or original(*arguments)
    )
    small, large = toys.silicon(), toys.silicon() * (2, 2, 1)
    results = evaluate(ecse.wrap(NETWORK, "so3"), large)
    assert results.forces.isfinite().all()
    assert len(calls) == len(GraphEdges.from_graph(results.graph, CUTOFF).blocks(0))
    counts = [
        int(MODEL.describe(batch([atoms], CUTOFF))["environments"].sum())
        for atoms in (small, large)
    ]
    assert counts[1] == 4 * counts[0]


@pytest.mark.parametrize("cutoff", [4.0, 9.0])
def test_blocks_of_pairs_change_nothing(cutoff, monkeypatch):
    """Pairs of distant neighbours enter the inner cutoff; they are summed a few atoms at a time."""
    model, atoms = ecse.wrap(local_pet(cutoff=cutoff)), STRUCTURES["water"]()
    in_one_chunk = evaluate(model, atoms)
    monkeypatch.setitem(chunking.BUDGETS, "pairs", {"cpu": 10})
    pieces = evaluate(model, atoms)
    assert len(GraphEdges.from_graph(pieces.graph, cutoff).blocks(0)) == len(atoms)
    assert worst(pieces.forces, in_one_chunk.forces) < 1e-12
