"""Checkpoints of PONITA and PNITA (github.com/ebekkers/ponita): Lightning checkpoints and plain
state dicts.

Read with torch alone, and as data: nothing in the file is executed (`_unpickle`, `_archive`).
Widths, layers, degree and window are those of the tensors. What these files do not hold must be
given: the grid of orientations, which atom has which input, and the scale and shift of energies.
Source of the names: arXiv:2310.02970 and its repository.
"""

import math
import re
from dataclasses import dataclass
from pathlib import Path

import torch

from .. import orientations
from ..models import ponita
from ._archive import Archive, Stored
from ._state import check_state, renamed, weight_of

BY_CONTENT = True  # recognised by what is inside, which other formats with the same suffix are not
FIRST_KERNEL = "interaction_layers.0.conv.kernel.weight"
CUTOFF = 100.0  # A, within which all pairs of a molecule are looked for where a model has no window
IN_FILE = {
    r"^basis\.": "basis_fn.",
    r"^fibre_basis\.": "fiber_basis_fn.",
    r"\.embedder\.": ".1.",
    r"\.hidden\.": ".3.",
    r"^layers\.": "interaction_layers.",
    r"\.convolution\.": ".conv.",
    r"\.fibre_kernel\.": ".fiber_kernel.",
    r"\.mlp\.0\.": ".linear_1.",
    r"\.mlp\.2\.": ".linear_2.",
}  # our names -> those of the file
OTHERS = re.compile(r"interaction_layers\.\d+\.conv\.callibrated|windowing_fn\.(p|r_max)")


def recognises(path):
    """Whether the path is a file of torch.save that names the kernel of a first layer of PONITA."""
    path = Path(path)
    if not path.is_file():
        return False
    with path.open("rb") as file:
        if file.read(2) != b"PK":
            return False
    try:
        with Archive(path) as archive:
            return archive.mentions(FIRST_KERNEL)
    except ValueError:
        return False


def read(
    path,
    grid=None,
    species=None,
    scale=1.0,
    shift=0.0,
    multiple_readouts=True,
    *,
    vector_inputs=0,
    vector_outputs=0,
):
    """PONITA or PNITA of a checkpoint, on the CPU in the dtype of its weights; averaged weights
    (EMA) where it has them.

    grid: (O, 3) unit vectors, or the name of a grid (`orientations`); None for PNITA alone.
    species: atomic numbers in the order of the one-hot inputs (for rMD17 range(9)), or {Z: list of
    inputs}. The energy in eV of a structure is scale times the output plus shift.
    multiple_readouts: False insists on a file with one readout. vector_inputs,
    vector_outputs: how many of the inputs, and of the outputs, the last ones, are vectors; heads
    are "energy" and "vector", or "vector/0", "vector/1", ... `metadata` says where the weights come
    from.

    Raises ValueError that names what must be given, or what is damaged, unknown or not served.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"`{path}` does not exist or is no file")
    try:
        given = _Given(
            grid,
            species,
            float(scale),
            float(shift),
            multiple_readouts,
            vector_inputs,
            vector_outputs,
        )
        with Archive(path) as archive:
            return _read(archive, given)
    except ValueError as error:
        raise ValueError(
            f"`{path}` cannot be read as a checkpoint of PONITA: {str(error)[:500]}"
        ) from None


@dataclass(frozen=True)
class _Given:
    """What the file does not hold, see `read`."""

    grid: object
    species: object
    scale: float
    shift: float
    multiple_readouts: bool
    vector_inputs: int
    vector_outputs: int

    def inputs(self):
        """{Z: list of inputs}."""
        if isinstance(self.species, dict):
            return {
                int(z): [float(value) for value in values] for z, values in self.species.items()
            }
        found = dict(
            zip(
                map(int, self.species),
                torch.eye(len(self.species), dtype=torch.float64).tolist(),
                strict=True,
            )
        )
        if len(found) < len(self.species):
            raise ValueError(
                f"`species` is {list(self.species)}: expected different atomic numbers"
            )
        return found

    def heads(self, outputs):
        """{name: components} of a number of outputs."""
        numbers = outputs - self.vector_outputs
        if numbers not in (0, 1) or not outputs:
            raise ValueError(
                f"it has {outputs} outputs, {self.vector_outputs} of them vectors"
                " (`vector_outputs`): expected one number, or none, and any vectors"
            )
        vectors = {
            f"vector/{k}" if self.vector_outputs > 1 else "vector": 3
            for k in range(self.vector_outputs)
        }
        return ({"energy": 1} if numbers else {}) | vectors


def _read(archive, given):
    content = archive.content()
    state = _state(content)
    _check_given(given, oriented="fiber_basis_fn.1.weight" in state)
    averaged = _averaged(content, state)
    settings = _settings(archive, state, given)
    with torch.device(
        "meta"
    ):  # nothing is allocated before its shape is known to be that in the file
        model = ponita.Model(settings)
    weights = _weights(archive, state | averaged, model, given)
    model.load_state_dict(weights | {"axes": _axes(given, settings)}, assign=True)
    if "energy" in settings.heads:
        model.scales = {"energy": given.scale}
    model.metadata = {
        "format": "PONITA checkpoint",
        "weights": "averaged (EMA)" if averaged else "last",
    }
    return model


def _state(content):
    """{name.

    Stored} of a state dict, or of that of a Lightning checkpoint without its prefix `model.`
    """
    if type(content) is dict and type(content.get("state_dict")) is dict:
        content = content["state_dict"]
    if type(content) is not dict or not content:
        raise ValueError("it does not hold a table of tensors")
    odd = [
        name
        for name, value in content.items()
        if type(name) is not str or type(value) is not Stored
    ]
    if odd:
        raise ValueError(f"the state dict holds `{str(odd[0])[:60]}`, which is not a tensor")
    prefix = "model." if f"model.{FIRST_KERNEL}" in content else ""
    strange = [name for name in content if not name.startswith(prefix)]
    if strange:
        raise ValueError(f"the state dict holds the unknown `{strange[0][:80]}`")
    return {name.removeprefix(prefix): value for name, value in content.items()}


def _check_given(given, oriented):
    missing = [
        name
        for name, wanted in (("grid", oriented), ("species", True))
        if wanted and getattr(given, name) is None
    ]
    if missing:
        names = " and ".join(f"`{name}`" for name in missing)
        raise ValueError(
            f"{names} must be given, as these files do not hold"
            f" {'it' if len(missing) == 1 else 'them'}, nor scale and shift of the energy: model ="
            " ase_pet.formats.ponita.read(path, grid=(O, 3) array or name, species=[Z, ...],"
            " scale=eV, shift=eV), then PETCalculator(model)"
        )
    if not oriented and given.grid is not None:
        raise ValueError("it is a PNITA, which has no orientations: leave out `grid`")
    if not math.isfinite(given.scale) or not math.isfinite(given.shift):
        raise ValueError(
            f"`scale` is {given.scale}, `shift` {given.shift}: expected finite numbers"
        )


def _averaged(content, state):
    """{name: Stored} of averaged weights, or {}.

    A list, matrices of linear maps first, each part sorted by name.
    """
    optimisers = content.get("optimizer_states")
    first = optimisers[0] if type(optimisers) is list and optimisers else None
    values = first.get("ema") if type(first) is dict else None
    if values is None:
        return {}
    names = [name for name in state if not OTHERS.fullmatch(name)]
    names = sorted(names, key=lambda name: (not name.endswith("weight") or ".norm." in name, name))
    if type(values) not in (list, tuple) or any(type(value) is not Stored for value in values):
        raise ValueError("its averaged weights (`ema`) are not a list of tensors")
    if [value.shape for value in values] != [state[name].shape for name in names]:
        raise ValueError("its averaged weights (`ema`) do not have the shapes of its weights")
    return dict(zip(names, values, strict=True))


def _shape(state, name, dimensions=2):
    if name not in state or len(state[name].shape) != dimensions:
        raise ValueError(
            f"`{name}` is missing or has another shape than that of {dimensions} dimensions"
        )
    return state[name].shape


def _settings(archive, state, given):
    oriented = "fiber_basis_fn.1.weight" in state
    width, num_basis = _shape(state, FIRST_KERNEL)
    layers = sum(
        re.fullmatch(r"interaction_layers\.\d+\.conv\.kernel\.weight", name) is not None
        for name in state
    )
    readouts = [name for name in state if re.fullmatch(r"read_out_layers\.\d+\.weight", name)]
    if not readouts or (len(readouts) > 1 and not given.multiple_readouts):
        raise ValueError(
            f"it has {len(readouts)} readouts: `multiple_readouts` is {given.multiple_readouts}"
        )
    radius, power = (
        archive.tensor(state[name]).flatten().tolist() if name in state else [otherwise]
        for name, otherwise in (("windowing_fn.r_max", CUTOFF), ("windowing_fn.p", 6))
    )
    if len(radius) != 1 or len(power) != 1 or not 1 <= power[0] <= 100 or power[0] != int(power[0]):
        raise ValueError("`windowing_fn` is not one radius and one whole power")
    axes = len(given.grid) if oriented and not isinstance(given.grid, str) else 0
    return ponita.Settings(
        species=tuple(given.inputs()),
        cutoff=radius[0],
        cutoff_power=int(power[0]),
        cutoff_function="polynomial" if "windowing_fn.r_max" in state else "none",
        orientations=(
            "none"
            if not oriented
            else given.grid
            if isinstance(given.grid, str)
            else f"given:{axes}"
        ),
        softening=0.0,
        scaled=False,
        degree=_degree(_shape(state, "basis_fn.1.weight")[1], oriented),
        width=width,
        num_basis=num_basis,
        num_layers=layers,
        multiple_readouts=len(readouts) > 1,
        widening=max(1, _shape(state, "interaction_layers.0.linear_1.weight")[0] // max(1, width)),
        layer_scale=1.0 if "interaction_layers.0.layer_scale" in state else None,
        vector_inputs=given.vector_inputs,
        shift=given.shift,
        heads=given.heads(_shape(state, readouts[0])[0]),
    )


def _degree(features, oriented):
    """Degree of polynomials of two invariants, or of one."""
    degrees = [
        degree
        for degree in range(1, 8)
        if features == (2 ** (degree + 1) - 2 if oriented else degree)
    ]
    if not degrees:
        raise ValueError(
            f"its kernels have {features} polynomials of invariants: neither those of PONITA on a"
            " grid nor of PNITA"
        )
    return degrees[0]


def _axes(given, settings):
    if settings.orientations == "none":
        return settings.axes()
    return orientations.checked(settings.axes() if isinstance(given.grid, str) else given.grid)


def _weights(archive, state, model, given):
    """State dict of the model from the file, complete and of one dtype.

    Every tensor of the file must have a use.
    """
    n_layers, readouts = model.settings.num_layers, len(next(iter(model.last_layers.values())))
    ours = {
        name: tensor.shape
        for name, tensor in model.state_dict().items()
        if name != "axes"
        and not name.startswith(("node_embedder", "vector_embedder", "last_layers"))
    }
    names = {name: renamed(name, IN_FILE) for name in ours}
    numbers = range(n_layers - readouts, n_layers)
    parts = [f"read_out_layers.{k}.{part}" for k in numbers for part in ("weight", "bias")]
    check_state(
        state, [*names.values(), "x_embedder.weight", *parts], OTHERS.fullmatch, "the state dict"
    )
    found = {name: weight_of(archive, state, names[name], shape) for name, shape in ours.items()}
    found |= _embedders(archive, state, model, given)
    heads = model.settings.heads
    for index, k in enumerate(numbers):
        weight = weight_of(
            archive, state, f"read_out_layers.{k}.weight", (len(heads), model.settings.width)
        )
        bias = weight_of(archive, state, f"read_out_layers.{k}.bias", (len(heads),))
        for row, name in enumerate(heads):
            found |= {
                f"last_layers.{name}.{index}.weight": weight[row : row + 1].clone(),
                f"last_layers.{name}.{index}.bias": bias[row : row + 1].clone(),
            }
    return found


def _embedders(archive, state, model, given):
    """Rows by species of what the inputs of their atoms are made into, and columns of vectors."""
    inputs, vectors = given.inputs(), given.vector_inputs
    numbers = _shape(state, "x_embedder.weight")[1] - vectors
    odd = [z for z, values in inputs.items() if len(values) != numbers]
    if odd:
        raise ValueError(
            f"its atoms have {numbers} inputs besides {vectors} vectors (`vector_inputs`), but"
            f" `species` gives {len(inputs[odd[0]])}"
        )
    weight = weight_of(
        archive, state, "x_embedder.weight", (model.settings.width, numbers + vectors)
    )
    rows = torch.tensor(list(inputs.values()), dtype=torch.float64, device="cpu")
    found = {"node_embedder.weight": (rows.to(weight.dtype) @ weight[:, :numbers].T).contiguous()}
    return found | ({"vector_embedder.weight": weight[:, numbers:].contiguous()} if vectors else {})
