"""Predicted cost of symmetrised models against the atoms and edges that the network evaluates."""

import json

import pytest
import typer.testing

import metatrain_files
import toys
from ase_pet import cli
from ase_pet.symmetrisers import ecse, symmetrise
from local_toys import STRUCTURES, batch, local_pet

NAMES = ("ecse", "ecse:so3", "group:O", "group:I:proper", "quadrature:2")


class Counted(type(local_pet())):
    """A network that records the numbers of atoms and edges of each call."""

    seen: list

    def forward(self, graph):
        self.seen.append((len(graph.centre.unique()), len(graph.centre)))
        return super().forward(graph)


def counted():
    """A very small local PET."""
    model = Counted(local_pet().settings).double().requires_grad_(False)
    model.seen = []
    return model


@pytest.mark.parametrize("chunk_edges", [None, 300])
@pytest.mark.parametrize("name", NAMES)
def test_cost_counts_the_environments_of_the_network(name, chunk_edges):
    network = counted()
    model, graph = (
        symmetrise(network, name),
        batch([STRUCTURES[key]() for key in ("silicon", "water")], 4.0),
    )
    model.chunk_edges = chunk_edges
    cost = model.cost(graph)
    assert network.seen == []
    model(graph)
    atoms, edges = (sum(values) for values in zip(*network.seen, strict=True))
    assert cost["environments"] == atoms
    assert cost["evaluations_per_atom"] == atoms / graph.n_atoms
    assert cost["edges"] == edges
    assert cost["peak_edges"] == max(edges for _, edges in network.seen)
    assert cost["ratio"] == pytest.approx((atoms + edges) / (graph.n_atoms + len(graph.centre)))


@pytest.mark.parametrize(
    ("name", "evaluations"),
    [
        ("none", 1),
        ("group:O", 48),
        ("group:I:proper", 60),
        ("quadrature:3", 150),
        ("ecse", 2),
        ("ecse:so3", 2),
    ],
)
def test_cost_for_each_atom(name, evaluations):
    """Cost of a straight molecule, whose atoms have no frames and two lines each."""
    cost = symmetrise(local_pet(), name).cost(batch([STRUCTURES["CO2 180"]()], 4.0))
    assert cost["evaluations_per_atom"] == evaluations
    assert cost["ratio"] == evaluations


def test_frames_of_atoms():
    graph = batch([STRUCTURES["fcc"]()], 4.0)
    cost, frames = (
        ecse.wrap(local_pet()).cost(graph),
        ecse.wrap(local_pet()).describe(graph)["frames"],
    )
    assert cost["frames_mean"] == frames.double().mean()
    assert cost["frames_max"] == frames.max()
    assert cost["evaluations_per_atom"] == 2 * cost["frames_mean"]


def test_cost_of_a_mean_within_frames_is_a_product():
    graph = batch([STRUCTURES["ethanol"]()], 4.0)
    inner = symmetrise(local_pet(), "group:O:proper")
    assert ecse.wrap(inner).cost(graph)["ratio"] == pytest.approx(
        24 * ecse.wrap(local_pet()).cost(graph)["ratio"]
    )


def test_an_atom_alone_costs_itself():
    graph = batch([STRUCTURES["atom"]()], 4.0)
    assert ecse.wrap(local_pet()).cost(graph)["ratio"] == 1


@pytest.fixture
def info(tmp_path):
    """`ase-pet info` of a model that passes messages, for a structure."""
    checkpoint = metatrain_files.save(
        tmp_path / "toy.ckpt", metatrain_files.checkpoint(toys.tiny_pet())
    )

    def run(atoms, symmetrise):
        atoms.write(tmp_path / "atoms.xyz")
        arguments = [
            "info",
            str(checkpoint),
            str(tmp_path / "atoms.xyz"),
            "--symmetrise",
            symmetrise,
            "--json",
        ]
        return typer.testing.CliRunner().invoke(cli.app, arguments)

    return run


def test_info_predicts_before_it_runs(info):
    result = info(STRUCTURES["water"](), "ecse")
    report = json.loads(result.stdout)["structure"]
    assert (
        result.stderr
        == f"predicted: {report['evaluations_per_atom']:.4g} evaluations for each atom, "
        f"{report['ratio']:.4g} times the work of the plain model\n"
    )


def test_info_predicts_before_it_refuses(info):
    result = info(toys.silicon() * (2, 2, 2), "ecse:published")
    assert result.stderr.startswith("predicted: ")
    with pytest.raises(
        ValueError, match="would take .* times the work .* Or use ecse:force, which has no limit"
    ):
        raise result.exception
