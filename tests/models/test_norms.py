"""Norms with derivatives of their own, against the plain equations."""

import copy

import pytest
import torch
from torch.nn import functional

from ase_pet.layers import norms
from ase_pet.layers.linear import SwiGLU
from tolerances import TOLERANCES, worst

SAME = TOLERANCES[torch.float64]["same"]


def rows(generator, *shape):
    values = torch.randn(*shape, generator=generator, dtype=torch.float64)
    return values.requires_grad_()


def rms_norm(width, generator):
    norm = norms.NORMS["RMSNorm"](width).double()
    with torch.no_grad():
        norm.weight.copy_(rows(generator, width))
    return norm


def test_rms_norm_is_that_of_torch(generator):
    x = rows(generator, 5, 4)
    norm = rms_norm(4, generator)
    plain = copy.deepcopy(norm)
    plain.fast = False
    assert worst(norm(x).detach(), plain(x).detach()) < SAME
    results = []
    for each in (norm, plain):
        (to_x,) = torch.autograd.grad(each(x).square().sum(), x, create_graph=True)
        results.append(torch.autograd.grad(to_x.sin().sum(), [x, each.weight]))
    for one, other in zip(*results, strict=True):
        assert worst(one, other) < SAME


def test_pair_norm_is_the_layer_norm_of_both_directions(generator):
    forwards = rows(generator, 3, 4)
    backwards = rows(generator, 3, 4)
    total, difference = norms.pair_norm(forwards, backwards, 1e-5)
    both = torch.cat([forwards, backwards], 1)
    first, second = functional.layer_norm(both, [8], eps=1e-5).chunk(2, 1)
    assert worst(total.detach(), (first + second).detach()) < SAME
    assert worst(difference.detach(), (first - second).detach()) < SAME


@pytest.mark.parametrize("name", ["RMS", "pair", "SwiGLU"])
def test_first_and_second_derivatives(name, generator):
    norm = rms_norm(3, generator)
    gate = SwiGLU(3, 2).double()
    functions = {
        "RMS": lambda x, y: norm(x + y),
        "pair": lambda x, y: norms.pair_norm(x, y, 1e-5),
        "SwiGLU": lambda x, y: gate(x * y),
    }
    inputs = rows(generator, 2, 3), rows(generator, 2, 3)
    assert torch.autograd.gradcheck(functions[name], inputs)
    assert torch.autograd.gradgradcheck(functions[name], inputs)


def test_the_gradient_of_a_constant_norm_needs_no_weight(generator):
    x = rows(generator, 5, 4)
    norm = rms_norm(4, generator).requires_grad_(False)
    (to_x,) = torch.autograd.grad(norm(x).sum(), x)
    assert to_x.shape == x.shape
