"""The compact form of ECSE: effective distances, total weight, locality, and few frames."""

from dataclasses import replace

import pytest
import torch

from ase_pet.symmetrisers import ecse
from ase_pet.symmetrisers.ecse import block_edges, frames
from benchmarks.ecse_stiffness import moving, stiffness
from local_toys import evaluate, local_pet
from test_ecse_gentle import ENDS, WATCHED, environments

NETWORK = local_pet()
SETTINGS = ecse.Settings(**ecse.COMPACT)
SCALED = replace(SETTINGS, **ecse.PRESETS["scaled"])
CUTOFF = 4.0
OUTER = frames.outer_cutoff(CUTOFF, SETTINGS)


@pytest.mark.parametrize("settings", [SETTINGS, SCALED], ids=["compact", "scaled"])
def test_one_good_pair_is_enough_weight(generator, settings):
    """The bound proven in `effective_distance`, for atoms with any number of good pairs."""
    edges = environments(generator)
    result = frames.pair_frames(edges, OUTER, settings)
    inside = torch.nonzero(edges.lengths < OUTER)[:, 0]
    first, second = block_edges.pairs(inside, edges.atom[inside], edges.n_atoms)
    sine = block_edges.squared_sine(edges, first, second)
    # of smaller sines the first step of `smooth_step` is exactly zero
    good = edges.atom[first][sine > SETTINGS.squared_sine + 0.01].unique()
    assert 1000 < len(good) < edges.n_atoms
    assert result.total[good].min() > 1.999
    assert result.total.min() == 0


def test_pairs_are_nearer_at_right_angles():
    """Of two pairs whose larger distance is the same, one is close to a right angle."""
    vectors = torch.tensor([[1.0, 0, 0], [0.9, 0.5, 0.0], [0, 0, 1.0]], dtype=torch.float64)
    edges = block_edges.BlockEdges.from_vectors(
        vectors, torch.zeros(3, dtype=torch.int64), torch.tensor([3])
    )
    result = frames.pair_frames(edges, OUTER, SETTINGS)
    # both pairs with the third neighbour, in two orders; not the pair at 29 degrees
    assert len(result.weights) == 4
    normals = result.axes[:, :, 1].abs()
    assert normals[:, 2].max() < 1e-12


def test_scaled_weights_prefer_the_nearer_pair_at_a_wider_angle():
    """A hydrogen atom of water: the other one at 38 degrees, an atom far away at a right angle."""
    near = [[0.97, 0, 0], [1.2, 0.94, 0]]
    vectors = torch.tensor([*near, [0, 0, 2.2]], dtype=torch.float64)
    edges = block_edges.BlockEdges.from_vectors(
        vectors, torch.zeros(3, dtype=torch.int64), torch.tensor([3])
    )
    compact = frames.pair_frames(edges, OUTER, SETTINGS)
    scaled = frames.pair_frames(edges, OUTER, SCALED)
    assert len(compact.weights) > len(scaled.weights) == 2
    # of the two close ones: their normal is z
    assert scaled.axes[:, 2, 1].abs().min() > 1 - 1e-12


def test_neighbours_vanish_smoothly_at_the_cutoff():
    """A third neighbour adds frames, whose weights are zero where it leaves the cutoff."""
    distances = [CUTOFF - 1e-9, CUTOFF - 0.1, CUTOFF - 0.3, OUTER - 0.1]
    totals = []
    for distance in distances:
        vectors = torch.tensor([[0, 0, 1.5], [distance, 0, 0]], dtype=torch.float64)
        edges = block_edges.BlockEdges.from_vectors(
            vectors, torch.zeros(2, dtype=torch.int64), torch.tensor([2])
        )
        totals.append(float(frames.pair_frames(edges, OUTER, SETTINGS).total))
    assert totals == sorted(totals)
    assert totals[0] == 0
    assert totals[-1] == pytest.approx(2)


def test_a_line_that_bends_next_to_other_atoms_is_softer_than_published():
    """Here 24 eV/A^2; published 1.27e5, gentle 364, and without ECSE 0.36."""

    def forces(structures):
        results = evaluate(ecse.wrap(NETWORK, "compact:so3"), *structures).forces
        return results.view(len(structures), -1, 3).numpy()

    largest = stiffness(forces, moving(WATCHED, 2, *ENDS), points=30, rounds=3)[0]
    assert largest < 50
