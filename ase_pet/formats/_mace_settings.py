"""Settings of a MACE from the classes, attributes and shapes of its modules."""

from __future__ import annotations

import re
from typing import Any

from ..models.mace import ACTIVATIONS, SILU_SCALE, Settings
from ._mace_modules import ModuleTable
from ._unpickle import Inert

# classes of interaction blocks -> (density, residual)
INTERACTIONS = {
    "RealAgnosticInteractionBlock": (False, False),
    "RealAgnosticResidualInteractionBlock": (False, True),
    "RealAgnosticDensityInteractionBlock": (True, False),
    "RealAgnosticDensityResidualInteractionBlock": (True, True),
}
READOUTS = {"LinearReadoutBlock": "linear", "NonLinearReadoutBlock": "mlp"}
TRANSFORMS = {"": "none", "AgnesiTransform": "agnesi", "SoftTransform": "soft"}
# every module of a model that is supported has one of these classes
KNOWN = {
    *INTERACTIONS,
    *READOUTS,
    *filter(None, TRANSFORMS),
    "MACE",
    "ScaleShiftMACE",
    "ModuleList",
    "ParameterList",
    "Linear",
    "TensorProduct",
    "FullyConnectedTensorProduct",
    "FullyConnectedNet",
    "_Layer",
    "Activation",
    "normalize2mom",
    "SphericalHarmonics",
    "LinearNodeEmbeddingBlock",
    "RadialEmbeddingBlock",
    "BesselBasis",
    "PolynomialCutoff",
    "ZBLBasis",
    "AtomicEnergiesBlock",
    "ScaleShiftBlock",
    "EquivariantProductBasisBlock",
    "SymmetricContraction",
    "Contraction",
    "reshape_irreps",
}
# switches of the whole model that change what it computes -> what they mean
UNSUPPORTED = {
    "use_so3": "features without parity (`use_so3`)",
    "edge_irreps": "messages with other features than atoms (`edge_irreps`)",
    "use_edge_irreps_first": "messages with other features than atoms (`use_edge_irreps_first`)",
    "embedding_specs": "embeddings of charge, spin or other inputs (`embedding_specs`)",
}
IRREP = re.compile(r"(?:(\d+)x)?(\d+)([eo])")
Irreps = list[tuple[int, int]]  # multiplicity and degree


def settings_of(table: ModuleTable) -> Settings:
    """Settings of the model of a file.

    Parameters
    ----------
    table:
        Modules of the file.

    Raises
    ------
    ValueError
        Something that the model computes is not supported, or the file is damaged.
    """
    _check_supported(table)
    layers = table.children("interactions")
    hidden = [_irreps(table, f"products.{layer}.linear", "irreps_out") for layer in layers]
    width = _width(hidden, "products")
    kinds = [INTERACTIONS[table.kind(f"interactions.{layer}")] for layer in layers]
    readouts = _readouts(table, len(layers))
    degree = _degree(table)
    powers = [_powers(table, layer) for layer in layers]
    heads = heads_of(table)
    radial = [_radial_widths(table, layer) for layer in layers]
    if len({tuple(widths) for widths in radial}) > 1:
        raise ValueError("its radial networks have different widths: not supported")
    repulsion = "pair_repulsion_fn" in table
    return Settings(
        species=tuple(_species(table)),
        cutoff=table.number("radial_embedding.cutoff_fn", "r_max"),
        cutoff_power=_whole(table, "radial_embedding.cutoff_fn", "p"),
        cutoff_in_basis=table.attribute("radial_embedding", "apply_cutoff", True) is not False,
        num_bessel=_size(table, "radial_embedding.bessel_fn.bessel_weights", 0),
        distance_transform=TRANSFORMS[table.kind("radial_embedding.distance_transform")],
        width=width,
        degree=degree,
        hidden_degrees=tuple(tuple(order for _, order in irreps) for irreps in hidden),
        residual=tuple(residual for _, residual in kinds),
        density=tuple(density for density, _ in kinds),
        average_neighbours=tuple(
            table.number(f"interactions.{layer}", "avg_num_neighbors") for layer in layers
        ),
        correlation=tuple(powers),
        readouts=tuple(readouts),
        radial_widths=tuple(radial[0]),
        radial_scale=_radial_scale(table),
        **_mlp(table, readouts, len(heads)),
        pair_repulsion=repulsion,
        repulsion_power=_whole(table, "pair_repulsion_fn", "p") if repulsion else 5,
        num_products=tuple(
            tuple(_counts(table, layer, part, power) for part in range(len(irreps)))
            for layer, irreps, power in zip(layers, hidden, powers, strict=True)
        ),
        heads=dict.fromkeys(heads, 1),
    )


def heads_of(table: ModuleTable) -> list[str]:
    """Names of energy heads: "energy" of a model with one, else "energy/NAME".

    Parameters
    ----------
    table:
        Modules of the file.
    """
    names = table.attribute("", "heads", ["Default"])
    if (
        type(names) not in (list, tuple)
        or not names
        or any(type(name) is not str for name in names)
    ):
        raise ValueError("`heads` is no list of names")
    if len(set(names)) < len(names):
        raise ValueError("two of its `heads` have the same name")
    return ["energy"] if len(names) == 1 else [f"energy/{name}" for name in names]


def _check_supported(table: ModuleTable) -> None:
    """Raise ValueError that names the first thing in a file that is not supported."""
    if "joint_embedding" in table or "embedding_readout" in table:
        raise ValueError("embeddings of charge, spin or other inputs are not supported")
    for name, meaning in UNSUPPORTED.items():
        if table.attribute("", name) not in (None, False):
            raise ValueError(f"{meaning} are not supported")
    for path in table.classes:
        kind = table.kind(path)
        for layout in ("cueq_config", "oeq_config"):
            if table.attribute(path, layout) is not None:
                raise ValueError(
                    f"`{path}` has the layout of a GPU library (`{layout}`): not supported; convert"
                    " the model to that of e3nn with mace-torch first"
                )
        if kind not in KNOWN:
            raise ValueError(f"`{path}` is of the class `{kind[:60]}`: not supported")
    if table.kind("radial_embedding.bessel_fn") != "BesselBasis":
        raise ValueError("its radial functions are not Bessel functions: not supported")
    for layer in table.children("interactions"):
        if table.kind(f"interactions.{layer}") not in INTERACTIONS:
            raise ValueError(f"`interactions.{layer}` is no interaction block")
    if table.children("products") != table.children("interactions"):
        raise ValueError("it has not one `products` for each of its `interactions`")


def _irreps(table: ModuleTable, path: str, name: str) -> Irreps:
    """Multiplicity and degree of each irrep of a module, neighbours of the same degree as one."""
    value = table.attribute(path, name)
    try:
        entries = _parsed(value)
    except (TypeError, ValueError, IndexError):
        raise ValueError(f"`{path}` has no `{name}` that can be read") from None
    joined: Irreps = []
    for count, order, parity in entries:
        if parity != (-1) ** order:
            raise ValueError(f"`{path}`: features of unnatural parity are not supported")
        if joined and joined[-1][1] == order:
            count += joined.pop()[0]
        joined.append((count, order))
    return joined


def _parsed(value: Any) -> list[tuple[int, int, int]]:
    """(multiplicity, degree, parity) of each irrep of a text, or of the stand-in of an object."""
    parsed = []
    if type(value) is str:
        for part in value.split("+"):
            match = IRREP.fullmatch(part.strip())
            if match is None:
                raise ValueError
            count, order, letter = match.groups("1")
            parity = 1 if letter == "e" else -1
            parsed.append((int(count), int(order), parity))
        return parsed
    (entries,) = value.arguments
    for entry in entries:
        ((count, irrep),) = entry.arguments
        ((order, parity),) = irrep.arguments
        numbers = (count, order, parity)
        if any(type(number) is not int for number in numbers):
            raise TypeError
        parsed.append(numbers)
    return parsed


def _width(every: list[Irreps], what: str) -> int:
    """Number of channels, which must be the same of all degrees and layers."""
    widths = {count for irreps in every for count, _ in irreps}
    if len(widths) != 1:
        raise ValueError(f"its `{what}` have different numbers of channels: not supported")
    return widths.pop()


def _degree(table: ModuleTable) -> int:
    """Largest degree of the harmonics, which must be all degrees up to it."""
    irreps = _irreps(table, "spherical_harmonics", "irreps_out")
    degrees = [order for _, order in irreps]
    if degrees != list(range(len(degrees))) or {count for count, _ in irreps} != {1}:
        raise ValueError("its `spherical_harmonics` are not all degrees once")
    if table.attribute("spherical_harmonics", "normalization") != "component":
        raise ValueError("its `spherical_harmonics` have another `normalization` than 'component'")
    return degrees[-1]


def _species(table: ModuleTable) -> list[int]:
    numbers: list[int] = table.tensor("atomic_numbers").flatten().tolist()
    return [int(number) for number in numbers]


def _whole(table: ModuleTable, path: str, name: str) -> int:
    value = table.number(path, name)
    if value != int(value):
        raise ValueError(f"`{path}.{name}` is {value}: expected a whole number")
    return int(value)


def _size(table: ModuleTable, name: str, dimension: int) -> int:
    """Size of a dimension of a tensor."""
    shape = table.shape(name)
    if not -len(shape) <= dimension < len(shape):
        raise ValueError(f"`{name}` has shape {shape}: expected another number of dimensions")
    return shape[dimension]


def _powers(table: ModuleTable, layer: str) -> int:
    """Largest number of factors of the products of a layer."""
    path = f"products.{layer}.symmetric_contractions.contractions.0"
    power = 1
    while f"{path}.U_matrix_{power + 1}" in table:
        power += 1
    return power


def _counts(table: ModuleTable, layer: str, part: int, power: int) -> tuple[int, ...]:
    """Number of products of 1..power factors of one degree of a layer."""
    path = f"products.{layer}.symmetric_contractions.contractions.{part}"
    return tuple(_size(table, f"{path}.U_matrix_{each}", -1) for each in range(1, power + 1))


def _readouts(table: ModuleTable, n_layers: int) -> list[str]:
    """Kind of the readout of each layer."""
    names = table.children("readouts")
    kinds = [table.kind(f"readouts.{name}") for name in names]
    known = [READOUTS.get(kind, "") for kind in kinds]
    if "" in known or len(known) not in (1, n_layers):
        raise ValueError(f"its `readouts` are {', '.join(kinds)}: not supported")
    # one alone reads the last layer
    return ["none"] * (n_layers - len(known)) + known


def _radial_widths(table: ModuleTable, layer: str) -> list[int]:
    """Widths of the hidden layers of a radial network."""
    path = f"interactions.{layer}.conv_tp_weights"
    widths: list[int] = []
    while f"{path}.layer{len(widths) + 1}" in table:
        widths.append(_size(table, f"{path}.layer{len(widths)}.weight", 1))
    return widths


def _radial_scale(table: ModuleTable) -> float:
    """Factor of the SiLU of the radial networks."""
    scales = set()
    for layer in table.children("interactions"):
        path = f"interactions.{layer}.conv_tp_weights"
        hidden = len(_radial_widths(table, layer))
        for index in range(hidden):
            name, scale = _activation(table, f"{path}.layer{index}.act")
            if name != "silu":
                raise ValueError(f"its radial networks have {name}: expected silu")
            scales.add(scale)
    if len(scales) > 1:
        raise ValueError("its radial networks have different factors of silu")
    return scales.pop() if scales else SILU_SCALE


def _activation(table: ModuleTable, path: str) -> tuple[str, float]:
    """Name and factor of an activation of e3nn."""
    match table.attribute(path, "f"):
        # a function written in C is the attribute of a class
        case Inert(arguments=(_, str(name))):
            pass
        case Inert(name=str(place)):
            name = place.rpartition(".")[2]
        case _:
            name = ""
    if name not in ACTIVATIONS:
        raise ValueError(f"`{path}` is the activation {name[:40]!r}: not supported")
    return name, table.number(path, "cst")


def _mlp(table: ModuleTable, readouts: list[str], n_heads: int) -> dict[str, Any]:
    """Settings of the readout that is an MLP, {} without one."""
    if "mlp" not in readouts:
        return {}
    if readouts.count("mlp") > 1 or readouts[-1] != "mlp":
        raise ValueError("its nonlinear readout is not the last one: not supported")
    (last,) = table.children("readouts")[-1:]
    path = f"readouts.{last}"
    width, _ = _scalars(table, f"{path}.linear_1", "irreps_out")
    if width % n_heads:
        raise ValueError(f"`{path}` has {width} units for {n_heads} heads")
    name = "none"
    scale = 1.0
    activations = f"{path}.non_linearity.acts"
    if table.children(activations):
        name, scale = _activation(table, f"{activations}.0")
    return {
        "readout_width": width // n_heads,
        "activation": name,
        "activation_scale": scale,
    }


def _scalars(table: ModuleTable, path: str, name: str) -> tuple[int, int]:
    irreps = _irreps(table, path, name)
    if [order for _, order in irreps] != [0]:
        raise ValueError(f"`{path}` has other features than scalars: not supported")
    return irreps[0]
