"""Steps whose arrays have fixed lengths: the numbers of other steps, also where these run out."""

from dataclasses import replace

import pytest
import torch

import ponita_toys
import toys
from ase_pet import PETCalculator
from ase_pet.evaluation import Evaluation
from ase_pet.graph import InvalidStructure, Room, build, from_atoms
from ase_pet.graph.room import with_space
from tolerances import TOLERANCES, worst

SAME = TOLERANCES[torch.float64]["same"]
NAMES = ("energy", "energies", "forces", "stress")
MODELS = {
    **{name: lambda name=name: toys.tiny_pet(name) for name in ("base", "grid", "solver")},
    "original": lambda: toys.tiny_pet("original"),
    "local, adaptive": lambda: toys.tiny_pet("local, adaptive"),
    "PONITA": ponita_toys.tiny_ponita,
}


def results(model, graph):
    evaluation = Evaluation(model, graph)
    return evaluation.forces, evaluation.energies, evaluation.stress


def fixed(calculator):
    """The calculator, whose steps have the arrays of a GPU."""
    calculator._steps.is_fixed = True
    return calculator


def silicon_calculators(name="grid", **options):
    """The same calculator with arrays of fixed lengths and without."""
    made = [
        PETCalculator(toys.tiny_pet(name), device="cpu", dtype="float64", **options)
        for _ in range(2)
    ]
    return fixed(made[0]), made[1]


@pytest.mark.parametrize("name", MODELS)
def test_results_are_those_of_other_arrays(name):
    model = MODELS[name]().requires_grad_(False)
    graph = build([from_atoms(toys.silicon()), from_atoms(toys.sheared())], model.cutoff)
    expected = results(model, graph)
    room = Room()
    for each in (room, room.fixed()):
        padded = replace(graph.padded(7, 2 * model.cutoff), room=each)
        for one, other in zip(results(model, padded), expected, strict=True):
            assert worst(one, other) < SAME
        assert all(count <= 0 for count in each.excess)


def test_steps_of_a_run_that_changes_its_neighbours():
    """Atoms move by up to the whole skin: pairs and neighbours change, arrays grow."""
    found, expected = silicon_calculators(skin=1.0)
    atoms = toys.silicon()
    lengths = set()
    for step in range(12):
        atoms.rattle(0.12, seed=step)
        for calculator in (found, expected):
            calculator.calculate(atoms, NAMES, ["positions"])
        lengths.add(found._steps._room.known(len(atoms)))
        for key in NAMES:
            assert worst(found.results[key], expected.results[key]) < SAME
    assert found._neighbours.searches == expected._neighbours.searches < 12
    assert len(lengths) > 1


def test_arrays_that_are_too_short_are_noticed():
    found, expected = silicon_calculators("base", skin=10.0)
    atoms = toys.ethanol()
    close = atoms.positions.copy()
    names = NAMES[:3]
    lengths = []
    for spread in (2.5, 2.4, 1.0, 1.1):
        atoms.positions = spread * close
        for calculator in (found, expected):
            calculator.calculate(atoms, names, ["positions"])
        lengths.append(found._steps._room.known(len(atoms)))
        for key in names:
            assert worst(found.results[key], expected.results[key]) < SAME
    assert found._neighbours.searches == 1
    assert lengths[0] == lengths[1] < lengths[2] == lengths[3]


def test_atoms_that_come_close_between_searches():
    found, _ = silicon_calculators(skin=6.0)
    found.card.shortest_distances[14, 14] = 1.8
    atoms = toys.silicon()
    found.calculate(atoms, NAMES)
    vector = atoms.get_distance(0, 1, mic=True, vector=True)
    atoms.positions[0] += 0.3 * vector
    with pytest.warns(UserWarning, match="closer than in training"):
        found.calculate(atoms, NAMES, ["positions"])
    atoms.positions[0] += 0.67 * vector
    with pytest.raises(InvalidStructure, match="closer than 0.1 A"):
        found.calculate(atoms, NAMES, ["positions"])
    assert found._neighbours.searches == 1


def test_a_run_that_forgot_is_the_same_bit_by_bit():
    found, _ = silicon_calculators()
    again, _ = silicon_calculators()
    atoms = toys.silicon()
    for step in range(4):
        found.calculate(atoms, NAMES, ["positions"])
        atoms.rattle(0.05, seed=step)
    found.forget()
    for step in range(2):
        for calculator in (found, again):
            calculator.calculate(atoms, NAMES, ["positions"])
        assert (found.results["forces"] == again.results["forces"]).all()
        atoms.rattle(0.05, seed=step)


def test_charges_between_steps():
    model = toys.tiny_pet(system_conditioning=True)
    calculator = fixed(PETCalculator(model, device="cpu", dtype="float64"))
    atoms = toys.silicon()
    energies = []
    for charge in (0, 0, 1):
        atoms.info["charge"] = charge
        calculator.calculate(atoms, NAMES, ["charge"])
        energies.append(calculator.results["energy"])
    assert abs(energies[1] - energies[0]) < SAME < abs(energies[2] - energies[0])
    atoms.info["charge"] = 11
    with pytest.raises(ValueError, match="the model knows -10 to 10"):
        calculator.calculate(atoms, NAMES, ["charge"])


def test_lengths_have_space_and_are_round():
    counts = range(1, 5000, 7)
    lengths = [with_space(count) for count in counts]
    assert all(
        count < length <= 1.2 * count + 8 for count, length in zip(counts, lengths, strict=True)
    )
    assert len(set(lengths)) < len(lengths) / 6
