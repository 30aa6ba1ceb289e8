"""Grids that are drawn for each step of a training: draws, weights of axes, grids of the result."""

import pytest
import torch

from ase_pet import PETCalculator, evaluation, orientations, store
from ase_pet.layers.linear import derived
from local_toys import batch
from ponita_toys import tiny_ponita
from tolerances import worst
from toys import ethanol


def energies(model):
    """Energies (n,) of the atoms of ethanol in eV."""
    return evaluation.Evaluation(model, batch([ethanol()], model.cutoff)).energies


def test_weights_are_the_multiplicities_of_axes(monkeypatch):
    """An axis of weight 2/4 is an axis that is there twice, in all layers and in vectors."""
    axes = orientations.grid("repulsion:3")
    doubled = axes[[0, 1, 2, 2]]
    monkeypatch.setattr(orientations, "weights", lambda axes: torch.tensor([1, 1, 2]).double() / 4)
    model = tiny_ponita("dipole", orientations_drawn=True).with_orientations(axes)
    repeated = tiny_ponita("dipole").with_orientations(doubled)
    graph = batch([ethanol()], model.cutoff)
    for head in ("energy", "dipole"):
        result = model.predict(graph, (head,))[head]
        assert worst(result, repeated.predict(graph, (head,))[head]) < 1e-12
    assert worst(model.last_layer(graph)[1], repeated.last_layer(graph)[1]) < 1e-12


def test_a_solid_has_equal_weights():
    drawn = tiny_ponita(orientations_drawn=True)
    assert worst(energies(drawn), energies(tiny_ponita())) < 1e-12
    other = drawn.with_orientations("fibonacci:9")
    plain = tiny_ponita().with_orientations("fibonacci:9")
    assert worst(energies(other), energies(plain)) > 1e-6


def test_all_grids_are_drawn_and_the_own_one_is_restored():
    model = tiny_ponita("drawn")
    own = model.axes
    before = energies(model)
    generator = torch.Generator().manual_seed(0)
    sizes = []
    for _ in range(200):
        with model.on_drawn_axes(generator):
            sizes.append(len(model.axes))
    assert set(sizes) == {len(orientations.grid(name)) for name in orientations.DRAWN}
    # coarse grids are drawn more often
    assert sizes.count(12) > sizes.count(64)
    with pytest.raises(RuntimeError, match="stopped"), model.on_drawn_axes(generator):
        raise RuntimeError("stopped")
    assert model.axes is own
    assert torch.equal(energies(model), before)


def test_derived_tensors_are_not_those_of_freed_axes():
    """The memory of axes that are gone is that of the next ones."""
    module = torch.nn.Module()
    for number in range(20):
        axes = torch.full((4, 3), float(number))
        kept = derived(module, "first", (axes,), lambda axes=axes: float(axes[0, 0]))
        assert kept == number
        del axes


def test_a_model_of_one_grid_draws_nothing():
    model = tiny_ponita()
    generator = torch.Generator().manual_seed(0)
    state = generator.get_state()
    own = model.axes
    with model.on_drawn_axes(generator):
        assert model.axes is own
    assert torch.equal(generator.get_state(), state)


def test_the_calculator_takes_the_grids_that_were_drawn(tmp_path):
    model = tiny_ponita("drawn")
    store.save(tmp_path, model, store.Card("toy", dtype="float64"))
    for axes in (64, "dodecahedral", *orientations.DRAWN):
        calculator = PETCalculator(tmp_path, orientations=axes)
        assert calculator.model.settings.orientations_drawn
    for axes in (6, "fibonacci:64", 110):
        with pytest.raises(ValueError, match=r"was not trained on .*'dodecahedral', .*'compound'"):
            PETCalculator(tmp_path, orientations=axes)
        assert PETCalculator(tmp_path, orientations=axes, orientations_untrained=True)


def test_a_number_of_axes_is_the_grid_that_was_drawn():
    """20 points: the dodecahedron is drawn, though other models have an optimised grid."""
    model = tiny_ponita("drawn")
    names = [
        model.with_orientations(len(orientations.grid(n))).settings.orientations
        for n in orientations.DRAWN
    ]
    assert names == list(orientations.DRAWN)
    assert tiny_ponita().with_orientations(20).settings.orientations == "antipodal:20"
    assert model.with_orientations(22).settings.orientations == "antipodal:22"
