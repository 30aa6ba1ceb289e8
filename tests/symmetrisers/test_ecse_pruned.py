"""Pruning of frames: fewer frames, no vanishing weights, smooth and symmetric energies."""

import pytest
import torch

from ase_pet import rotations
from ase_pet.symmetrisers import ecse, symmetrise
from ase_pet.symmetrisers.ecse import frames
from local_toys import (
    PATHS,
    STRUCTURES,
    batch,
    evaluate,
    local_pet,
    pieces_that_fail,
    rotated,
    work_is_missing,
)
from tolerances import rounding, worst

NETWORK = local_pet()
MODEL = symmetrise(NETWORK, "ecse:pruned")


def weights(name, settings):
    """Frames of a structure, without an evaluation of the network."""
    model = ecse.Model(NETWORK, settings)
    (block,) = model._survey(batch([STRUCTURES[name]()], NETWORK.cutoff))
    return block.frames


@pytest.mark.parametrize("name", ["ethanol", "water", "silicon", "fcc", "chiral"])
def test_frames_of_small_weight_are_pruned(name):
    """Kept frames have the published weights times a factor, which is 1 for the largest weight."""
    settings = ecse.Settings(pruning=0.5)
    unpruned, kept = weights(name, ecse.Settings()), weights(name, settings)
    assert len(kept.atom) < len(unpruned.atom) or name in ("silicon", "fcc")
    n = len(unpruned.total)
    largest, still = (
        case.weights.new_zeros(n).scatter_reduce(0, case.atom, case.weights, "amax")
        for case in (unpruned, kept)
    )
    assert torch.equal(largest, still)
    assert (kept.total[unpruned.total >= 2] >= 2).all()
    # Sums of fewer terms, in another order: use the rounding bound of the full sum.
    assert (kept.total <= unpruned.total + rounding(unpruned.weights)).all()
    assert torch.equal(kept.inner_cutoff, unpruned.inner_cutoff)


def test_it_is_off_by_default():
    assert ecse.Settings().pruning is None
    graph = batch([STRUCTURES["ethanol"]()], NETWORK.cutoff)
    assert worst(symmetrise(NETWORK, "ecse")(graph), MODEL(graph)) > 1e-4


@pytest.mark.parametrize("name", ["ethanol", "silicon", "CO2 180", "CO2 160", "N2", "atom"])
def test_energies_and_forces_rotate_with_the_structure(name, generator):
    atoms, matrices = STRUCTURES[name](), rotations.random_orthogonal(10, generator)
    still, results = (
        evaluate(MODEL, atoms),
        evaluate(MODEL, *(rotated(atoms, matrix.numpy()) for matrix in matrices)),
    )
    assert worst(results.energies.view(10, -1), still.energies.expand(10, -1)) < 1e-12
    assert (results.forces.view(10, -1, 3) @ matrices - still.forces).abs().max() < 1e-10


@pytest.mark.parametrize(
    "path",
    [
        "a neighbour crosses the cutoff",
        "an atom joins a dimer",
        "third atoms come and go",
        "a line bends",
    ],
)
def test_energies_and_forces_do_not_jump(path):
    assert (
        pieces_that_fail(work_is_missing, symmetrise(NETWORK, "ecse:so3:pruned"), PATHS[path]) == 0
    )


def test_bad_settings_are_refused():
    for pruning in (0.0, 0.6, -1.0):
        with pytest.raises(
            ValueError, match=f"`pruning` is {pruning}: expected None, or more than 0 and 1 - "
        ):
            ecse.Settings(pruning=pruning)
    with pytest.raises(ValueError, match="`pruning_width` is 0.0"):
        ecse.Settings(pruning=0.2, pruning_width=0.0)


def test_an_atom_without_pairs_has_no_weight_to_prune():
    edges = frames.BlockEdges.from_vectors(
        torch.tensor([[1.0, 0, 0]], dtype=torch.float64), torch.tensor([0]), torch.tensor([1, 0])
    )
    result = frames.pair_frames(edges, 3.5, ecse.Settings(pruning=0.5))
    assert result.total.tolist() == [0, 0]
