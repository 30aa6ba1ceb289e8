"""Greedy splitting against its definition, and the table of memory budgets."""

import numpy as np
import pytest
import torch

from ase_pet.graph import chunking


def one_by_one(sizes, limit):
    """Slices by the definition: an item joins a slice that is empty or has room for it."""
    groups = [[]]
    for index, size in enumerate(sizes):
        full = sum(sizes[k] for k in groups[-1]) + size > limit
        groups += [[]] * bool(groups[-1] and full)
        groups[-1] = [*groups[-1], index]
    return [slice(group[0], group[-1] + 1) for group in groups if group]


@pytest.mark.parametrize("limit", [1, 7, 20, 100, 10**6])
@pytest.mark.parametrize("count", [0, 1, 2, 50])
def test_splitter_follows_its_definition(count, limit):
    sizes = np.random.default_rng(count).integers(0, 30, count)
    expected = one_by_one(sizes.tolist(), limit)
    assert chunking.split(sizes, limit) == expected
    assert chunking.split(sizes.tolist(), limit) == expected
    assert chunking.split(torch.tensor(sizes), limit) == expected


def test_items_above_the_limit_are_alone():
    assert chunking.split([9, 1, 9, 1, 1], 2) == [
        slice(0, 1),
        slice(1, 2),
        slice(2, 3),
        slice(3, 5),
    ]


@pytest.mark.parametrize("kind", sorted(chunking.BUDGETS))
def test_devices_without_a_budget_use_that_of_the_cpu(kind):
    assert chunking.budget(kind, "cuda:1") == chunking.BUDGETS[kind]["cuda"]
    assert chunking.budget(kind, torch.device("meta")) == chunking.budget(kind, "cpu")
