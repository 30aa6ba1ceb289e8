"""Linear maps by each library, and cutoff functions with formulas of their own for derivatives."""

import pytest
import torch

from ase_pet.layers import cutoff
from ase_pet.layers import linear as layers_linear
from ase_pet.layers.linear import linear


def first_and_second(x, weight, bias):
    """Result, and first and second derivatives with respect to x (rows, k) of a cubic loss."""
    x = x.clone().requires_grad_()
    rows = linear(x, weight, bias)
    (first,) = torch.autograd.grad((rows**3).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), x)
    return rows, first, second


@pytest.mark.parametrize("fewest", [0, 10**9], ids=["packed", "default"])
def test_frozen_weights_have_all_derivatives(fewest, generator, monkeypatch):
    monkeypatch.setattr(layers_linear, "FEWEST_PRODUCTS", fewest)
    tensors = [torch.randn(shape, generator=generator) for shape in ((9, 5), (7, 5), (7,))]
    single = first_and_second(*tensors)
    double = first_and_second(*(tensor.double() for tensor in tensors))
    for one, other in zip(single, double, strict=True):
        assert (one - other).norm() < 1e-5 * other.norm()


def test_few_products_are_left_to_the_default_library(monkeypatch):
    """Below the limit, where few rows count as `ROWS`."""
    calls, original = [], layers_linear._onednn
    monkeypatch.setattr(
        layers_linear, "_onednn", lambda *arguments: calls.append(1) or original(*arguments)
    )
    monkeypatch.setattr(layers_linear, "FEWEST_PRODUCTS", layers_linear.ROWS * 8 * 4)
    layers_linear._onednn_works()
    calls.clear()
    linear(torch.ones(2, 8), torch.ones(3, 8))
    linear(torch.ones(layers_linear.ROWS, 8), torch.ones(3, 8))
    assert not calls
    linear(torch.ones(2, 8), torch.ones(4, 8))
    assert len(calls) == layers_linear._onednn_works()


def test_derivatives_of_the_bump():
    """First and second ones, and 0 outside of the region in which it switches."""
    distances = torch.tensor([4.6, 4.75, 4.9], dtype=torch.float64, requires_grad=True)
    cutoffs = torch.tensor([5.0, 5.05, 5.0], dtype=torch.float64, requires_grad=True)

    def bump(distances, cutoffs):
        return cutoff.bump(distances, cutoffs, 0.5)

    assert torch.autograd.gradcheck(bump, (distances, cutoffs))
    assert torch.autograd.gradgradcheck(bump, (distances, cutoffs))
    outside = torch.tensor([0.0, 4.5, 5.0, 9.0], dtype=torch.float64, requires_grad=True)
    weights = cutoff.bump(outside, 5.0, 0.5)
    (slope,) = torch.autograd.grad(weights.sum(), outside)
    assert weights.tolist() == [1, 1, 0, 0]
    assert slope.tolist() == [0, 0, 0, 0]
