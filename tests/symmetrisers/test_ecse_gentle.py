"""The gentle form of ECSE: total weight, inner cutoff, and smoother forces."""

from dataclasses import replace

import pytest
import torch
from ase import Atoms

import toys
from ase_pet import rotations
from ase_pet.symmetrisers import ecse, symmetrise
from ase_pet.symmetrisers.ecse import block_edges, frames, switching
from benchmarks.ecse_stiffness import arc, moving, stiffness
from local_toys import (
    PATHS,
    STRUCTURES,
    batch,
    evaluate,
    line,
    local_pet,
    pieces_that_fail,
    rotated,
    work_is_missing,
)
from tolerances import worst

NETWORK = local_pet()
MODEL = ecse.wrap(NETWORK, "gentle")
FORMS = {
    "published": ecse.Settings(),
    "gentle": MODEL.options,
    "gentle, narrow": ecse.Settings(gentle_width=0.05),
    "gentle, wide": ecse.Settings(gentle_width=0.9, width=1.0),
}
# CO2 bends from a line to a right angle; two atoms at 2.7 A are the next pair of the carbon.
WATCHED = Atoms("COOHN", [[0, 0, 0], [1.16, 0, 0], [0, 0, 0], [0.4, 2.6, 0.5], [-0.3, -1.5, 2.4]])
ENDS = [-1.16, -0.1, 0], [-0.1, 1.16, 0]


def environments(generator, count=3000):
    """Edges of atoms with 2 to 7 neighbours at 0.8 to 4 A, mostly close to two lines."""
    atom = torch.arange(count).repeat_interleave(torch.randint(2, 8, (count,), generator=generator))
    length = 0.8 + 3.2 * torch.rand(len(atom), generator=generator, dtype=torch.float64)
    way = torch.randn(len(atom), 3, generator=generator, dtype=torch.float64) * torch.tensor(
        [1.0, 0.3, 0.1]
    )
    vectors = length[:, None] * way / way.square().sum(1, keepdim=True).sqrt()
    return frames.BlockEdges.from_vectors(vectors, atom, torch.bincount(atom))


@pytest.mark.parametrize("form", FORMS)
def test_one_good_pair_is_enough_weight(form, generator):
    """The bound proven in `frames.inner_cutoff`, for atoms with any number of good pairs."""
    edges, settings, cutoff = environments(generator), FORMS[form], 4.0
    outer = frames.outer_cutoff(cutoff, settings)
    result = frames.pair_frames(edges, outer, settings)
    inner = torch.nonzero(edges.lengths < outer)[:, 0]
    first, second = frames.pairs(inner, edges.atom[inner], edges.n_atoms)
    good = edges.atom[first][
        block_edges.squared_sine(edges, first, second) > settings.squared_sine
    ].unique()
    assert 100 < len(good) < edges.n_atoms
    assert result.total[good].min() >= 2
    assert (
        result.inner_cutoff.max() <= cutoff + switching.SATURATED * settings.width
    )  # up to where a step is exactly 0
    assert result.total.min() == 0


@pytest.mark.parametrize("form", ["gentle", "gentle, narrow", "gentle, wide"])
def test_the_inner_cutoff_is_inside_the_cutoff(form, generator):
    """For random atoms, and for right angles between neighbours at distance r, where v > r."""
    settings, cutoff = FORMS[form], 4.0
    assert (
        frames.inner_cutoff(
            environments(generator), frames.outer_cutoff(cutoff, settings), settings
        ).max()
        <= cutoff
    )
    for r in torch.linspace(1.0, 4.0, 200).tolist():
        edges = frames.BlockEdges.from_vectors(
            r * torch.eye(3, dtype=torch.float64),
            torch.zeros(3, dtype=torch.int64),
            torch.tensor([3]),
        )
        reach = frames.inner_cutoff(edges, frames.outer_cutoff(cutoff, settings), settings)
        assert min(r, cutoff - settings.width) < reach <= cutoff


@pytest.mark.parametrize(
    "name", ["silicon", "ethanol", "fcc", "chiral", "CO2 180", "CO2 175", "CO2 165", "N2", "atom"]
)
def test_energies_and_forces_rotate_with_the_structure(name, generator):
    atoms, matrices = STRUCTURES[name](), rotations.random_orthogonal(20, generator)
    still = evaluate(MODEL, atoms)
    results = evaluate(MODEL, *(rotated(atoms, matrix.numpy()) for matrix in matrices))
    assert worst(results.energy, still.energy.expand(20)) < 1e-12
    assert (results.forces.view(20, -1, 3) @ matrices - still.forces).abs().max() < 1e-10


@pytest.mark.parametrize("path", [*PATHS, "a watched line bends"])
def test_energies_and_forces_do_not_jump(path):
    paths = {**PATHS, "a watched line bends": line(WATCHED, 2, *ENDS)}
    assert pieces_that_fail(work_is_missing, ecse.wrap(NETWORK, "gentle:so3"), paths[path]) == 0


WAYS = {
    "watched": (
        moving(WATCHED, 2, *ENDS),
        (0.36, 1.27e5, 364),
    ),  # max |dF/dx| in eV/A^2: plain, published, gentle
    "alone": (arc(WATCHED[:3], 2, 1.16, 180, 100), (0.03, 25.6, 1.28)),
}


@pytest.mark.parametrize("way", WAYS)
def test_forces_change_less(way):
    """The two oxygens of a carbon leave a line.

    With further atoms present, they are much closer than the pairs of the previous frames.
    """
    at, expected = WAYS[way]

    def stiffest(model):
        def forces(structures):
            results = evaluate(model, *structures).forces
            return results.view(len(structures), -1, 3).numpy()

        return stiffness(forces, at)[0]

    results = [
        stiffest(model)
        for model in (
            NETWORK,
            ecse.wrap(NETWORK, "published:so3"),
            ecse.wrap(NETWORK, "gentle:so3"),
        )
    ]
    assert results == pytest.approx(expected, rel=0.1)
    assert results[2] < 0.1 * results[1]


def test_what_depends_on_the_first_rotation_is_rounding(generator):
    """Bent by up to 13 degrees, where environments about a line have weight.

    With few azimuthal angles, the rotation about the line would be visible.
    """

    def change(n_azimuthal):
        model = ecse.Model(NETWORK, replace(MODEL.options, n_azimuthal=n_azimuthal))
        atoms, elements = (
            STRUCTURES["CO2 170"](),
            rotations.random_orthogonal(10, torch.Generator().manual_seed(5)),
        )
        energies = evaluate(
            model, *(rotated(atoms, element.numpy()) for element in elements)
        ).energy
        assert 0 < model.describe(batch([atoms], model.cutoff))["collinear_total"][0] < 1
        return float(energies.max() - energies.min())

    assert change(8) > 1e-12 > 1e-13 > change(16)
    with pytest.raises(
        ValueError, match="`n_azimuthal` is 4: expected None, or a whole number, 8 or more"
    ):
        replace(MODEL.options, n_azimuthal=4)


def test_an_environment_near_a_line_keeps_its_shape():
    """With an invariant network, the mean close to a line is the energy of the bent environment."""
    atoms = STRUCTURES["CO2 175"]()
    invariant = ecse.Model(
        NETWORK, ecse.Settings(**{**ecse.GENTLE, "n_azimuthal": 64, "least_weight": 2.0})
    )
    settings = replace(MODEL.options, n_azimuthal=None)
    straight, bent = (
        evaluate(ecse.Model(network, options), atoms).energies
        for network, options in ((invariant, settings), (invariant, MODEL.options))
    )
    own = evaluate(invariant, atoms).energies
    assert (bent - own).abs().max() < 1e-12 < 1e-6 < (straight - own).abs().max()


def test_presets_may_be_combined():
    options = symmetrise(NETWORK, "ecse:gentle:so3").options
    assert (options.gentle_width, options.parity) == (0.35, False)
    assert symmetrise(toys.tiny_pet(), "ecse:force:gentle").options.limit == float("inf")
    with pytest.raises(
        ValueError,
        match=(
            "'ecse:gentle:gentle': valid choices are ecse, ecse:o3, ecse:so3, ecse:force, "
            "ecse:gentle, ecse:pruned, ecse:published, ecse:compact, ecse:ordered, ecse:scaled,"
            " and several such as ecse:gentle:so3"
        ),
    ):
        symmetrise(NETWORK, "ecse:gentle:gentle")
    with pytest.raises(
        ValueError, match="`gentle_width` is 0.0: expected a finite number above 0, or None"
    ):
        ecse.Settings(gentle_width=0.0)


def test_models_that_pass_messages_may_be_gentle(generator):
    model, matrix = (
        ecse.wrap(toys.tiny_pet(species=(1, 6, 7, 8, 14)), "gentle"),
        rotations.random_orthogonal(1, generator)[0],
    )
    atoms = STRUCTURES["chiral"]()
    energy = evaluate(model, atoms, rotated(atoms, matrix.numpy())).energy
    assert worst(energy[1], energy[0]) < 1e-12
    assert model(batch([atoms], model.cutoff)).isfinite().all()
