"""Checkpoints of PONITA: values read, required arguments, refused files."""

import numpy as np
import pytest
import torch

from ase_pet import PETCalculator, store
from ase_pet.formats import ponita
from local_toys import SPECIES, batch
from ponita_files import lightning, state_dict
from ponita_toys import LEGACY, tiny_ponita
from toys import ethanol

KINDS = {
    "window": {},
    "no window": {"cutoff_function": "none", "cutoff": 100.0},
    "PNITA": {"orientations": "none"},
    "one readout": {"multiple_readouts": False},
    "one layer": {"num_layers": 1},
    "degree 2, layer scale": {"degree": 2, "layer_scale": 0.1},
    "wide": {"widening": 4, "num_basis": 9, "cutoff_power": 5},
}
GRID = tiny_ponita().axes.numpy()


def toy(kind="window", **changes):
    return tiny_ponita("base", torch.float32, **{**LEGACY, **KINDS[kind], **changes})


def grid_of(model):
    return model.axes.numpy() if model.settings.oriented else None


def read(path, *arguments, **options):
    """A model with frozen weights, as products with trainable ones may round differently."""
    return ponita.read(path, *arguments, **options).requires_grad_(False)


@pytest.fixture
def saved(tmp_path):
    """Function that saves a content as a file and returns its path."""

    def save(content, name="model.pt"):
        torch.save(content, tmp_path / name)
        return tmp_path / name

    return save


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_dict_gives_the_same_energies(kind, saved):
    model = toy(kind)
    graph = batch([ethanol()], 100.0 if kind == "no window" else 4.0)
    converted = read(saved(state_dict(model)), grid_of(model), SPECIES)
    assert torch.equal(converted(graph), model(graph))
    for name in (
        "degree",
        "widening",
        "num_basis",
        "num_layers",
        "multiple_readouts",
        "cutoff",
        "cutoff_power",
        "width",
    ):
        assert (
            getattr(converted.settings, name) == getattr(model.settings, name)
            or kind == "one layer"
        )


def test_lightning_and_averaged_weights(saved):
    model = toy()
    averaged = toy(seed=1)
    graph = batch([ethanol()], 4.0)
    plain = read(saved(lightning(state_dict(model)), "last.ckpt"), GRID, SPECIES)
    assert torch.equal(plain(graph), model(graph))
    assert plain.metadata["weights"] == "last"
    converted = read(
        saved(lightning(state_dict(model), state_dict(averaged)), "ema.ckpt"), GRID, SPECIES
    )
    assert torch.equal(converted(graph), averaged(graph))
    assert converted.metadata["weights"] == "averaged (EMA)"


def test_scale_shift_and_inputs(saved):
    """The energy is scale times output plus shift; inputs may be other than one-hot."""
    model = toy()
    graph = batch([ethanol(), ethanol()[:4]], 4.0)
    path = saved(state_dict(model))
    converted = read(path, "icosahedral", SPECIES, scale=2.5, shift=-4000.25)
    expected = torch.zeros(2).double().index_add(0, graph.structure, model(graph).double())
    total = torch.zeros(2).double().index_add(0, graph.structure, converted(graph).double())
    assert (total - (2.5 * expected - 4000.25)).abs().max() < 1e-4
    assert converted.settings.orientations == "icosahedral"
    swapped = read(
        path,
        GRID,
        {8: [0, 1, 0, 0, 0], 6: [0, 0, 0, 1, 0], 1: [1, 0, 0, 0, 0], 14: [0, 0, 0, 0, 1]},
    )
    other = ethanol()
    other.numbers[:] = np.array([{6: 8, 8: 6}.get(z, z) for z in other.numbers])
    assert torch.allclose(swapped(batch([other], 4.0)), model(batch([ethanol()], 4.0)), atol=1e-6)


def test_vector_heads(saved):
    model = toy(heads={"energy": 1, "vector/0": 3, "vector/1": 3}, vector_inputs=2)
    path = saved(state_dict(model))
    graph = batch([ethanol()], 4.0)
    vectors = torch.linspace(-1, 1, 54).view(9, 2, 3)
    converted = read(path, GRID, SPECIES, vector_inputs=2, vector_outputs=2)
    for name, values in model.predict(graph, tuple(model.settings.heads), vectors).items():
        assert torch.equal(converted.predict(graph, (name,), vectors)[name], values)
    with pytest.raises(
        ValueError,
        match=r"it has 3 outputs, 1 of them vectors \(`vector_outputs`\): expected one number",
    ):
        ponita.read(path, GRID, SPECIES, vector_outputs=1)


def test_missing_arguments_are_requested(saved):
    """Also if the calculator gets only the path, with any suffix."""
    for path in (saved(state_dict(toy())), saved(lightning(state_dict(toy())), "last.ckpt")):
        with pytest.raises(
            ValueError, match=r"`grid` and `species` must be given.*ase_pet.formats.ponita.read"
        ) as error:
            PETCalculator(path)
        assert str(path) in str(error.value)
    path = saved(state_dict(toy("PNITA")))
    with pytest.raises(ValueError, match="`species` must be given, as these files do not hold it"):
        ponita.read(path)
    with pytest.raises(ValueError, match="leave out `grid`"):
        ponita.read(path, GRID, SPECIES)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"species": SPECIES[:4]},
            r"its atoms have 5 inputs besides 0 vectors \(`vector_inputs`\), but `species` gives 4",
        ),
        ({"species": []}, r"`species` is \(\): expected a list of whole numbers, not empty"),
        ({"species": [1, 1, 6, 8, 14]}, r"`species` is \[1, 1, 6, 8, 14\]: expected different"),
        ({"vector_inputs": 1}, "its atoms have 4 inputs besides 1 vectors"),
        ({"grid": 2 * GRID}, "expected unit vectors"),
        ({"grid": "cubic"}, "`orientations` is 'cubic'"),
        ({"grid": "given:3"}, "expected unit vectors"),
        ({"scale": float("nan")}, "`scale` is nan"),
        ({"multiple_readouts": False}, "it has 2 readouts: `multiple_readouts` is False"),
    ],
)
def test_what_does_not_fit_is_refused(saved, given, message):
    path = saved(state_dict(toy()))
    with pytest.raises(ValueError, match=message) as error:
        ponita.read(path, **{"grid": GRID, "species": SPECIES, **given})
    assert str(path) in str(error.value)


def without(name):
    return lambda state: {key: value for key, value in state.items() if key != name}


def with_(**changes):
    return lambda state: state | {key.replace("__", "."): value for key, value in changes.items()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("x_embedder.weight"), "lacks `x_embedder.weight`"),
        (
            without("interaction_layers.1.conv.kernel.weight"),
            "holds the unknown `interaction_layers.1",
        ),
        (without("interaction_layers.1.norm.bias"), "lacks `interaction_layers.1.norm.bias`"),
        (without("read_out_layers.1.bias"), "lacks `read_out_layers.1.bias`"),
        (with_(net__weight=torch.ones(2)), "holds the unknown `net.weight`"),
        (with_(net__weight="text"), "holds `net.weight`, which is not a tensor"),
        (
            with_(basis_fn__1__weight=torch.ones(8, 39)),
            "its kernels have 39 polynomials of invariants",
        ),
        (
            with_(basis_fn__3__weight=torch.ones(6, 9)),
            r"`basis_fn.3.weight` has shape \(6, 9\): expected \(6, 8\)",
        ),
        (with_(basis_fn__3__bias=torch.full((6,), torch.inf)), "`basis_fn.3.bias` is not finite"),
        (
            with_(basis_fn__3__bias=torch.ones(6).half()),
            "expected all in float32 or all in float64",
        ),
        (
            with_(windowing_fn__p=torch.tensor(2.5)),
            "`windowing_fn` is not one radius and one whole power",
        ),
        (with_(windowing_fn__r_max=torch.tensor(-1.0)), "`cutoff` is -1.0"),
        (
            lambda state: lightning(state, {**state, "basis_fn.3.bias": torch.ones(7)}),
            "do not have the shapes of its weights",
        ),
        (lambda state: [1, 2], "does not hold a table of tensors"),
    ],
)
def test_files_of_other_formats_are_refused(saved, change, message):
    path = saved(change(state_dict(toy())))
    with pytest.raises(ValueError, match=message) as error:
        ponita.read(path, GRID, SPECIES)
    assert str(path) in str(error.value)


def test_files_are_not_executed(saved, tmp_path):
    class Hostile:
        def __reduce__(self):
            return open, (str(tmp_path / "made"), "w")

    path = saved(state_dict(toy()) | {"hostile": Hostile()})
    with pytest.raises(ValueError, match=r"names `(_?io|builtins).open`"):
        ponita.read(path, GRID, SPECIES)
    assert not (tmp_path / "made").exists()


def test_damaged_files_are_refused_or_read(saved):
    """Truncated files and files with one to three flipped bits raise no other exception."""
    path = saved(lightning(state_dict(toy()), state_dict(toy(seed=1))))
    random = np.random.default_rng(0)
    data = path.read_bytes()
    for k in range(60):
        mutant = bytearray(data[: random.integers(1, len(data))] if k % 2 else data)
        for place in random.integers(0, len(mutant), 3 * (1 - k % 2)):
            mutant[place] ^= 1 << int(random.integers(0, 8))
        path.write_bytes(mutant)
        try:
            ponita.read(path, GRID, SPECIES)
        except ValueError as error:
            assert str(path) in str(error)  # noqa: PT017 (reading it is an outcome too)


def test_no_file():
    with pytest.raises(FileNotFoundError, match="does not exist"):
        ponita.read("nowhere.pt")


def test_as_a_calculator_folder_it_needs_nothing_more(saved, tmp_path):
    path = saved(lightning(state_dict(toy())))
    model = ponita.read(path, GRID, SPECIES, scale=0.5, shift=3.0)
    store.save(tmp_path / "folder", model, store.CalculatorInfo("test", dtype="float64"))
    energies = [
        PETCalculator(source, dtype="float64").get_potential_energy(ethanol())
        for source in (model, tmp_path / "folder")
    ]
    assert energies[0] == energies[1]
