"""Grids of orientations: unit vectors, their documented symmetries, known minima."""

import itertools
import math

import pytest
import torch

from ase_pet import orientations, rotations
from tolerances import ROUNDING_3, rounding

NAMES = [
    "octahedral",
    "icosahedral",
    "dodecahedral",
    "compound",
    "fibonacci:1",
    "fibonacci:64",
    "repulsion:2",
    "repulsion:20",
    "antipodal:2",
    "antipodal:32",
]
POINTS = {"octahedral": 6, "icosahedral": 12, "dodecahedral": 20, "compound": 32}


def onto_itself(axes, rotation):
    """Largest distance of a rotated axis from the closest of the axes."""
    return float(((axes @ rotation.T)[:, None] - axes).abs().amax(-1).min(1).values.max())


@pytest.mark.parametrize("name", NAMES)
def test_grids_are_different_unit_vectors(name):
    axes = orientations.grid(name)
    assert axes.dtype == torch.float64
    assert axes.shape == (POINTS.get(name) or int(name.partition(":")[2]), 3)
    assert ((axes.norm(dim=1) - 1).abs() < ROUNDING_3).all()
    assert (torch.pdist(axes) > 0.2).all()
    assert torch.equal(orientations.grid(name), axes)


@pytest.mark.parametrize("name", ["icosahedral", "dodecahedral", "compound"])
def test_icosahedral_grids_map_onto_themselves(name):
    axes = orientations.grid(name)
    assert (
        max(onto_itself(axes, q) for q in rotations.with_inversion(rotations.icosahedral())) < 1e-14
    )
    assert axes.sum(0).abs().max() < rounding(axes[:, 0])
    limit = rounding(axes[:, 0] ** 2) / len(axes)
    assert (axes.T @ axes / len(axes) - torch.eye(3, dtype=torch.float64) / 3).abs().max() < limit


def test_octahedral_grid_maps_onto_itself():
    axes = orientations.grid("octahedral")
    assert max(onto_itself(axes, q) for q in rotations.with_inversion(rotations.octahedral())) == 0


def double_factorial(n):
    return math.prod(range(n, 0, -2))


def monomial_mean(powers):
    """Mean of x^a y^b z^c over the sphere, exactly."""
    if any(power % 2 for power in powers):
        return 0.0
    numerator = math.prod(double_factorial(power - 1) for power in powers)
    return numerator / double_factorial(sum(powers) + 1)


@pytest.mark.parametrize(
    ("name", "degree"),
    [
        ("octahedral", 3),
        ("icosahedral", 5),
        ("antipodal:14", 5),
        ("antipodal:16", 3),
        ("antipodal:18", 3),
        ("dodecahedral", 5),
        ("antipodal:26", 3),
        ("compound", 9),
        ("antipodal:64", 7),
        ("fibonacci:64", 7),
        ("repulsion:7", 3),
        ("antipodal:2", 1),
        ("repulsion:1", 0),
    ],
)
def test_weights_integrate_polynomials(name, degree):
    """All monomials up to a degree exactly, and not all of the next one."""
    axes = orientations.grid(name)
    weights = orientations.weights(axes)
    assert weights.min() >= orientations.SMALLEST_WEIGHT / len(axes)
    errors = []  # largest of each degree
    for total in range(degree + 2):
        powers = [p for p in itertools.product(range(total + 1), repeat=3) if sum(p) == total]
        means = torch.stack([weights @ axes.pow(torch.tensor(p)).prod(1) for p in powers])
        exact = torch.tensor([monomial_mean(p) for p in powers], dtype=torch.float64)
        errors.append(float((means - exact).abs().max()))
    # the points of optimised grids are known to 1e-8
    assert max(errors[:-1]) < 1e-7
    assert errors[-1] > 1e-5


def test_weights_of_the_compound_are_those_of_the_literature():
    """Of the rule with 32 points and degree 9: 25/840 for 12 of them and 27/840 for 20."""
    weights = orientations.weights(orientations.grid("compound"))
    expected = torch.tensor([25.0] * 12 + [27.0] * 20, dtype=torch.float64) / 840
    assert ((weights.sort().values - expected).abs() < 1e-12).all()


@pytest.mark.parametrize("name", NAMES)
def test_opposite(name):
    """The index of the opposite axis is known if and only if each axis has an opposite."""
    axes = orientations.grid(name)
    partner = orientations.opposite(axes)
    far = onto_itself(axes, -torch.eye(3, dtype=torch.float64))
    known = name in POINTS or name.startswith("antipodal") or name == "repulsion:2"
    assert known is (far < 1e-7)
    assert (partner is not None) or far > 1e-9
    assert partner is None or torch.allclose(axes[partner], -axes, atol=1e-9)


@pytest.mark.parametrize(
    ("n", "energy"),
    [(2, 0.5), (4, 3.674234614), (6, 9.985281374), (12, 49.165253058), (20, 150.881568334)],
)
def test_repulsion_finds_the_known_minima(n, energy):
    """Tabulated energies of the Thomson problem."""
    assert float((1 / torch.pdist(orientations.grid(f"repulsion:{n}"))).sum()) == pytest.approx(
        energy, abs=1e-8
    )


def test_fibonacci_covers_the_sphere():
    axes = orientations.grid("fibonacci:200")
    assert axes.sum(0).norm() / 200 < 2e-3
    assert (axes.T @ axes / 200 - torch.eye(3, dtype=torch.float64) / 3).abs().max() < 1e-3


def test_given_axes_are_nan_until_weights_are_loaded():
    assert orientations.grid("given:3").isnan().all()


@pytest.mark.parametrize(
    "name",
    [
        "cubic",
        "fibonacci",
        "fibonacci:0",
        "repulsion:x",
        "octahedral:6",
        "antipodal:7",
        "fibonacci:100000",
        "",
    ],
)
def test_unknown_grids_are_refused(name):
    with pytest.raises(ValueError, match="`orientations` is"):
        orientations.grid(name)


@pytest.mark.parametrize("axes", [[[1.0, 0, 0.1]], [1.0, 0, 0], [], [[float("nan"), 0, 1]]])
def test_axes_must_be_unit_vectors(axes):
    with pytest.raises(ValueError, match="expected unit vectors"):
        orientations.checked(axes)


@pytest.mark.parametrize(
    "name", ["octahedral", "icosahedral", "compound", "antipodal:14", "fibonacci:9"]
)
def test_classes_are_rotations_that_produce_the_same_grid(name, generator):
    """Compare with a point-by-point search."""
    axes = orientations.grid(name)
    matrices = torch.cat(
        [
            rotations.with_inversion(rotations.icosahedral()),
            rotations.random_orthogonal(10, generator),
        ]
    )
    label = orientations.classes(axes, matrices)
    grids = axes @ matrices  # (n, O, 3), the rows are Q^T o
    same = (grids[:, None, :, None] - grids[:, None]).abs().amax(-1).amin(-1).amax(-1) < 1e-9
    assert torch.equal(label[:, None] == label, same)


def test_rotations_of_unknown_axes_are_all_different():
    matrices = rotations.octahedral()
    assert torch.equal(
        orientations.classes(orientations.grid("given:3"), matrices), torch.arange(24)
    )
