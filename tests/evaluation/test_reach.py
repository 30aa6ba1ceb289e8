"""The declared number of hops is the measured one, for every kind of model."""

import pytest
import torch

from ase_pet import MLIPCalculator
from ase_pet.evaluation.reach import declared_hops, measured_hops
from ase_pet.models import mace, original_pet, pet, ponita

PET = {
    "species": (6, 14),
    "cutoff": 3.0,
    # wide, so that adaptive cutoffs of a sparse chain change and act on its edges
    "cutoff_width": 2.5,
    "cutoff_width_adaptive": 2.0,
    "d_pet": 8,
    "d_node": 12,
    "d_head": 8,
    "d_feedforward": 8,
    "num_heads": 2,
    "num_attention_layers": 1,
}
CASES = {
    f"{kind}, {layers} layers, adaptive {target}": (
        lambda kind=kind, layers=layers, target=target: pet.Model(
            pet.Settings(
                **PET,
                featurizer_type=kind,
                num_gnn_layers=layers,
                num_neighbors_adaptive=target,
                adaptive_cutoff_method="grid",
            )
        )
    )
    for kind in ("residual", "feedforward")
    for layers in (1, 2, 3)
    for target in (None, 4)
}
CASES["original"] = lambda: original_pet.Model(
    original_pet.Settings(
        species=(6, 14),
        transformer_d_model=8,
        transformer_dim_feedforward=8,
        head_n_neurons=8,
        n_trans_layers=1,
    )
)
CASES["ponita"] = lambda: ponita.Model(
    ponita.Settings(species=(6, 14), cutoff=4.0, width=8, num_basis=8)
)
CASES["mace"] = lambda: mace.Model(mace.Settings(species=(6, 14)))


@pytest.mark.parametrize("name", CASES)
def test_declared_reach_is_the_measured_one(name):
    torch.manual_seed(0)
    model = CASES[name]().double()
    assert measured_hops(model) == declared_hops(model)


def test_averages_reach_as_far_as_their_model():
    torch.manual_seed(0)
    model = CASES["feedforward, 2 layers, adaptive None"]().double()
    calc = MLIPCalculator(model, dtype="float64", device="cpu", symmetrise="quadrature:2")
    assert measured_hops(calc.model) == declared_hops(calc.model) == 3


def test_a_wrong_declaration_is_seen():
    """The control: a model that sees farther than it says."""
    torch.manual_seed(0)
    model = CASES["residual, 3 layers, adaptive None"]().double()

    class Liar(type(model)):
        message_passing_depth = 1

    model.__class__ = Liar
    assert measured_hops(model) == 3
    assert declared_hops(model) == 2
