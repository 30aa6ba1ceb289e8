"""Rotation groups and the quadrature: orthogonal, closed, exact on polynomials."""

import pytest
import torch
from scipy.spatial.transform import Rotation

from ase_pet import rotations
from tolerances import ROUNDING_3, rounding

GROUPS = {
    "octahedral": (rotations.octahedral(), 24),
    "icosahedral": (rotations.icosahedral(), 60),
    "octahedral with inversion": (rotations.with_inversion(rotations.octahedral()), 48),
    "icosahedral with inversion": (rotations.with_inversion(rotations.icosahedral()), 120),
}


def element(actual, group):
    """Index of the element of the group closest to each matrix, and the largest distance."""
    distance = (actual[:, None] - group[None]).abs().amax((2, 3)).min(1)
    return distance.indices, distance.values.max()


@pytest.mark.parametrize("name", GROUPS)
def test_group_has_its_order_and_is_orthogonal(name):
    group, order = GROUPS[name]
    assert group.shape == (order, 3, 3)
    assert group.dtype == torch.float64
    assert (group @ group.mT - torch.eye(3, dtype=torch.float64)).abs().max() < ROUNDING_3


@pytest.mark.parametrize("name", GROUPS)
def test_group_is_closed_and_its_elements_differ(name):
    group, order = GROUPS[name]
    products = (group[:, None] @ group[None]).flatten(0, 1)
    numbers, distance = element(products, group)
    assert distance < ROUNDING_3
    assert torch.bincount(numbers, minlength=order).tolist() == [order] * order


@pytest.mark.parametrize("name", ["octahedral", "icosahedral"])
def test_proper_groups_are_proper(name):
    assert torch.allclose(
        torch.linalg.det(GROUPS[name][0]), torch.ones(1, dtype=torch.float64), atol=1e-14
    )


@pytest.mark.parametrize(("name", "angle"), [("octahedral", 0), ("icosahedral", 90)])
def test_groups_are_those_of_scipy(name, angle):
    """Elements in another order; scipy's icosahedron is rotated by 90 degrees about z."""
    ours, order = GROUPS[name]
    frame = Rotation.from_euler("z", angle, degrees=True)
    group = frame * Rotation.create_group(name[0].upper()) * frame.inv()
    numbers, distance = element(torch.tensor(group.as_matrix()), ours)
    assert distance < 1e-15
    assert sorted(numbers.tolist()) == list(range(order))


def test_random_elements_are_orthogonal_and_half_improper(generator):
    actual = rotations.random_orthogonal(1000, generator)
    assert (actual @ actual.mT - torch.eye(3, dtype=torch.float64)).abs().max() < 1e-14
    assert 400 < int((torch.linalg.det(actual) > 0).sum()) < 600


@pytest.mark.parametrize("order", [1, 2, 3, 4, 5])
def test_quadrature_is_made_of_rotations(order):
    points, weights = rotations.quadrature(order)
    assert points.shape == (order * (2 * order - 1) ** 2, 3, 3)
    assert weights.shape == (len(points),)
    assert abs(float(weights.sum()) - 1) < rounding(weights)
    assert (points @ points.mT - torch.eye(3, dtype=torch.float64)).abs().max() < ROUNDING_3
    assert (torch.linalg.det(points) - 1).abs().max() < 1e-14


@pytest.mark.parametrize("order", [1, 2, 3, 4, 5])
def test_quadrature_is_exact_to_degree_2l_minus_2(order, generator):
    """For unit vectors a, b the mean of (a.Q b)^k over SO(3) is 1/(k + 1) for even k, else 0."""
    points, weights = rotations.quadrature(order)
    a, b = torch.nn.functional.normalize(
        torch.randn(2, 3, generator=generator, dtype=torch.float64), dim=1
    )
    degrees = torch.arange(2 * order - 1, dtype=torch.float64)
    # A power k multiplies the relative error of a.Q b, some 10 roundings, by k.
    means = ((points @ b) @ a)[None].pow(degrees[:, None]) @ weights
    limit = rounding(weights, before=10 * len(degrees))
    assert (means - (1 - degrees % 2) / (degrees + 1)).abs().max() < limit


@pytest.mark.parametrize(("name", "degree"), [("octahedral", 3), ("icosahedral", 5)])
def test_group_mean_is_exact_to_its_degree(name, degree, generator):
    a, b = torch.nn.functional.normalize(
        torch.randn(2, 3, generator=generator, dtype=torch.float64), dim=1
    )
    degrees = torch.arange(degree + 1, dtype=torch.float64)
    projections = (GROUPS[name][0] @ b) @ a
    means = projections[None].pow(degrees[:, None]).mean(1)
    limit = rounding(torch.ones_like(projections) / len(projections), before=10 * len(degrees))
    assert (means - (1 - degrees % 2) / (degrees + 1)).abs().max() < limit


def test_quadrature_of_order_0_is_refused():
    with pytest.raises(ValueError, match="`order` is 0: expected 1 or more"):
        rotations.quadrature(0)
