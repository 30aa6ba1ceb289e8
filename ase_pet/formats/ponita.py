"""Checkpoints of PONITA and PNITA (github.com/ebekkers/ponita): Lightning files and state dicts.

They are read with torch alone, as data: nothing in the file is executed (`_unpickle`, `_archive`).
Widths, layers, degree and cutoff follow from the tensors. The file does not hold the grid of
orientations, the inputs of each element, and scale and shift of the energy: they must be given.
Source of the names: arXiv:2310.02970 and its repository.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .. import orientations
from ..models import ponita
from ._archive import Archive, StoredTensor
from ._ponita_arguments import Arguments
from ._state import check_state, renamed, stored_tensors, weight_of, without_prefix

BY_CONTENT = True  # other formats have files of the same suffixes
CUTOFF = 100.0  # A, of models without cutoff function, in which all pairs of a molecule are edges
POWER = 6.0  # of the cutoff function, if the file does not say it
# names in the file
FIRST_KERNEL = "interaction_layers.0.conv.kernel.weight"
FIRST_MLP = "interaction_layers.0.linear_1.weight"
LAYER_SCALE = "interaction_layers.0.layer_scale"
BASIS = "basis_fn.1.weight"
FIBRE_BASIS = "fiber_basis_fn.1.weight"  # not in PNITA
EMBEDDING = "x_embedder.weight"
RADIUS = "windowing_fn.r_max"
WINDOW_POWER = "windowing_fn.p"
KERNELS = re.compile(r"interaction_layers\.\d+\.conv\.kernel\.weight")
READOUTS = re.compile(r"read_out_layers\.\d+\.weight")
BUFFERS = re.compile(r"interaction_layers\.\d+\.conv\.callibrated|windowing_fn\.(p|r_max)")
# our names of weights -> those of the file
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
}
# our weights that are parts or products of those of the file
DERIVED = ("axes", "node_embedder.", "vector_embedder.", "last_layers.")

State = Mapping[str, StoredTensor]


def recognises(path: str | Path) -> bool:
    """Whether `path` is a file of torch.save that names the first kernel of a PONITA."""
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
    path: str | Path,
    grid: np.ndarray | torch.Tensor | str | None = None,
    species: Sequence[int] | Mapping[int, Sequence[float]] | None = None,
    scale: float = 1.0,
    shift: float = 0.0,
    multiple_readouts: bool = True,
    *,
    vector_inputs: int = 0,
    vector_outputs: int = 0,
) -> ponita.Model:
    """PONITA or PNITA of a checkpoint, on the CPU, in the dtype of its weights.

    Averaged weights (EMA) are read if there are any. The energy of a structure is scale times the
    output plus shift. Heads are "energy" and "vector", or "vector/0", "vector/1", ... `metadata`
    says which weights were read.

    Parameters
    ----------
    path:
        Path of the file.
    grid:
        Orientations: unit vectors (O, 3), or the name of a grid of `orientations`. None for PNITA.
    species:
        Atomic numbers in the order of the one-hot inputs, range(9) for rMD17; or the inputs of each
        element, {Z: list of numbers}.
    scale:
        Factor on the output in eV.
    shift:
        Energy in eV that is added per structure.
    multiple_readouts:
        Whether a file with several readouts is accepted.
    vector_inputs:
        Number of inputs, the last ones, that are vectors.
    vector_outputs:
        Number of outputs, the last ones, that are vectors.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        An argument is missing or does not fit, or the file is damaged or not supported.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"`{path}` does not exist or is no file")
    # numbers may be texts that are none, so that this raises ValueError too
    try:
        arguments = Arguments(
            grid=grid,
            species=species,
            scale=float(scale),
            shift=float(shift),
            multiple_readouts=multiple_readouts,
            vector_inputs=vector_inputs,
            vector_outputs=vector_outputs,
        )
        with Archive(path) as archive:
            return _read(archive, arguments)
    except ValueError as error:
        raise ValueError(
            f"`{path}` cannot be read as a checkpoint of PONITA: {str(error)[:500]}"
        ) from None


def _read(archive: Archive, arguments: Arguments) -> ponita.Model:
    """Model of an open file."""
    content = archive.content()
    state = _state(content)
    arguments.check(oriented=FIBRE_BASIS in state)
    averaged = _averaged(content, state)
    settings = _settings(archive, state, arguments)
    # on "meta" no memory is allocated before the shapes are known to be those in the file
    with torch.device("meta"):
        model = ponita.Model(settings)
    weights = _weights(archive, state | averaged, settings, _shapes(model))
    weights |= _embedders(archive, state | averaged, settings, arguments)
    weights["axes"] = _axes(settings, arguments.grid)
    model.load_state_dict(weights, assign=True)
    if "energy" in settings.heads:
        model.scales = {"energy": arguments.scale}
    model.metadata = {
        "format": "PONITA checkpoint",
        "weights": "averaged (EMA)" if averaged else "last",
    }
    return model


def _state(content: Any) -> dict[str, StoredTensor]:
    """State dict of a file, without the prefix `model.` of Lightning checkpoints."""
    if type(content) is dict and type(content.get("state_dict")) is dict:
        content = content["state_dict"]
    if type(content) is not dict or not content:
        raise ValueError("it does not hold a table of tensors")
    state = stored_tensors(content, "the state dict")
    return without_prefix(state, "model." if f"model.{FIRST_KERNEL}" in state else "")


def _averaged(content: Mapping[str, Any], state: State) -> dict[str, StoredTensor]:
    """Averaged weights by name, {} if there are none.

    They are a list: first the matrices of linear maps, then all others, each sorted by name.
    """
    optimisers = content.get("optimizer_states")
    first = optimisers[0] if type(optimisers) is list and optimisers else None
    values = first.get("ema") if type(first) is dict else None
    if values is None:
        return {}
    # buffers are not averaged
    weights = sorted(name for name in state if not BUFFERS.fullmatch(name))
    matrices = [name for name in weights if name.endswith("weight") and ".norm." not in name]
    others = [name for name in weights if name not in matrices]
    names = matrices + others
    if type(values) not in (list, tuple) or any(
        type(value) is not StoredTensor for value in values
    ):
        raise ValueError("its averaged weights (`ema`) are not a list of tensors")
    shapes = [value.shape for value in values]
    expected = [state[name].shape for name in names]
    if shapes != expected:
        raise ValueError("its averaged weights (`ema`) do not have the shapes of its weights")
    return dict(zip(names, values, strict=True))


def _shape(state: State, name: str) -> tuple[int, int]:
    """Shape of a matrix of the file."""
    if name not in state or len(state[name].shape) != 2:
        raise ValueError(f"`{name}` is missing or has another shape than that of 2 dimensions")
    rows, columns = state[name].shape
    return rows, columns


def _settings(archive: Archive, state: State, arguments: Arguments) -> ponita.Settings:
    """Settings of the model, from the names and shapes of the tensors and the arguments."""
    oriented = FIBRE_BASIS in state
    width, num_basis = _shape(state, FIRST_KERNEL)
    readouts = _readouts(state, arguments.multiple_readouts)
    radius, power = _window(archive, state)
    _, n_features = _shape(state, BASIS)
    hidden_width, _ = _shape(state, FIRST_MLP)
    n_outputs, _ = _shape(state, readouts[0])
    return ponita.Settings(
        species=tuple(arguments.inputs()),
        cutoff=radius,
        cutoff_power=power,
        cutoff_function="polynomial" if RADIUS in state else "none",
        orientations=_orientations(arguments.grid) if oriented else "none",
        # the authors' invariants: not smoothed on the axes, and in A
        softening=0.0,
        scaled=False,
        degree=_degree(n_features, oriented),
        width=width,
        num_basis=num_basis,
        num_layers=sum(KERNELS.fullmatch(name) is not None for name in state),
        multiple_readouts=len(readouts) > 1,
        widening=max(1, hidden_width // max(1, width)),
        layer_scale=1.0 if LAYER_SCALE in state else None,
        vector_inputs=arguments.vector_inputs,
        shift=arguments.shift,
        heads=arguments.heads(n_outputs),
    )


def _readouts(state: State, multiple_readouts: bool) -> list[str]:
    """Names of the weights of the readouts."""
    readouts = [name for name in state if READOUTS.fullmatch(name)]
    if not readouts or (len(readouts) > 1 and not multiple_readouts):
        raise ValueError(
            f"it has {len(readouts)} readouts: `multiple_readouts` is {multiple_readouts}"
        )
    return readouts


def _window(archive: Archive, state: State) -> tuple[float, int]:
    """Radius in A and power of the cutoff function."""
    buffers = {RADIUS: [CUTOFF], WINDOW_POWER: [POWER]}
    for name in buffers:
        if name in state:
            buffers[name] = archive.tensor(state[name]).flatten().tolist()
    # the buffers of a damaged file may have any shape
    try:
        (radius,), (power,) = buffers.values()
    except ValueError:
        power = math.nan
    if not 1 <= power <= 100 or power != int(power):
        raise ValueError("`windowing_fn` is not one radius and one whole power")
    return radius, int(power)


def _degree(n_features: int, oriented: bool) -> int:
    """Degree of the polynomials of two invariants (PONITA) or one (PNITA), of their number."""
    for degree in range(1, 8):
        # 2 + 4 + ... + 2^degree products of two invariants
        if n_features == (2 ** (degree + 1) - 2 if oriented else degree):
            return degree
    raise ValueError(
        f"its kernels have {n_features} polynomials of invariants: neither those of PONITA on a"
        " grid nor of PNITA"
    )


def _orientations(grid: Any) -> str:
    """The setting `orientations` of a grid."""
    return grid if isinstance(grid, str) else f"given:{len(grid)}"


def _axes(settings: ponita.Settings, grid: Any) -> torch.Tensor:
    """(O, 3) unit vectors, (0, 3) for PNITA."""
    if settings.orientations == "none":
        return settings.axes()
    return orientations.checked(settings.axes() if isinstance(grid, str) else grid)


def _shapes(model: ponita.Model) -> dict[str, torch.Size]:
    """{name: shape} of the weights that are in the file by another name only."""
    state = model.state_dict()
    return {name: state[name].shape for name in state if not name.startswith(DERIVED)}


def _weights(
    archive: Archive,
    state: State,
    settings: ponita.Settings,
    shapes: Mapping[str, torch.Size],
) -> dict[str, torch.Tensor]:
    """Weights of all layers but the embeddings, for the state dict of the model.

    The state of the file must be complete and of one dtype. Tensors that are not used and not
    known are refused.
    """
    names = {name: renamed(name, IN_FILE) for name in shapes}
    layers = range(settings.num_layers)
    readouts = [f"read_out_layers.{k}" for k in layers]
    if not settings.multiple_readouts:
        readouts = readouts[-1:]
    needed = [*names.values(), EMBEDDING]
    for readout in readouts:
        needed += [f"{readout}.weight", f"{readout}.bias"]
    check_state(state, needed, BUFFERS.fullmatch, "the state dict")
    weights = {name: weight_of(archive, state, names[name], shapes[name]) for name in shapes}
    n_heads = len(settings.heads)
    for index, readout in enumerate(readouts):
        # (heads, width) and (heads,): one row for each head
        weight = weight_of(archive, state, f"{readout}.weight", (n_heads, settings.width))
        bias = weight_of(archive, state, f"{readout}.bias", (n_heads,))
        for row, head in enumerate(settings.heads):
            prefix = f"last_layers.{head}.{index}"
            weights[f"{prefix}.weight"] = weight[row : row + 1].clone()
            weights[f"{prefix}.bias"] = bias[row : row + 1].clone()
    return weights


def _embedders(
    archive: Archive, state: State, settings: ponita.Settings, arguments: Arguments
) -> dict[str, torch.Tensor]:
    """Embeddings of elements and of vector inputs, for the state dict of the model."""
    inputs = arguments.inputs()
    n_vectors = arguments.vector_inputs
    _, n_inputs = _shape(state, EMBEDDING)
    n_scalars = n_inputs - n_vectors
    for values in inputs.values():
        if len(values) != n_scalars:
            raise ValueError(
                f"its atoms have {n_scalars} inputs besides {n_vectors} vectors (`vector_inputs`),"
                f" but `species` gives {len(values)}"
            )
    weight = weight_of(archive, state, EMBEDDING, (settings.width, n_inputs))
    # Columns are inputs, vectors last. The linear map of the scalar inputs of an element is a row
    # of our table: (species, n_scalars) @ (n_scalars, width).
    rows = torch.tensor(list(inputs.values()), dtype=torch.float64, device="cpu").to(weight.dtype)
    embedders = {"node_embedder.weight": (rows @ weight[:, :n_scalars].T).contiguous()}
    if n_vectors:
        embedders["vector_embedder.weight"] = weight[:, n_scalars:].contiguous()
    return embedders
