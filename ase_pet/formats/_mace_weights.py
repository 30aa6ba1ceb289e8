"""Weights of a MACE from the tensors of its file, in the shapes and by the names of our model."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Sequence

import torch

from ..layers.equivariant_convolution import paths
from ..layers.symmetric_polynomials import summed
from ..models.mace import Settings
from ._mace_modules import ModuleTable

# tensors that follow from others, or are not used
OTHERS = re.compile(
    r"r_max|num_interactions|.*\.output_mask|.*\.r_max|.*\.weights_\w+_zeroed"
    r"|radial_embedding\.distance_transform\.\w+|pair_repulsion_fn\.(?:cutoff\.)?\w+|atomic_energies_fn\..*"
)
AGNESI = ("a", "q", "p")
HEAVIEST = 118


def weights_of(table: ModuleTable, settings: Settings) -> dict[str, torch.Tensor]:
    """State dict of our model.

    Parameters
    ----------
    table:
        Modules of the file.
    settings:
        Settings of the model.

    Raises
    ------
    ValueError
        A tensor is missing, unknown, not finite, or has another shape than the settings imply.
    """
    n_species = len(settings.species)
    width = settings.width
    weights = {
        "embedding.weight": _flat(table, "node_embedding.linear.weight", [(n_species, width)])[0]
    }
    weights |= _radial(table, settings)
    for layer in range(len(settings.hidden_degrees)):
        weights |= _interaction(table, settings, layer)
        weights |= _products(table, settings, layer)
    weights |= _readouts(table, settings)
    shifts = torch.zeros(len(settings.heads), dtype=torch.float64)
    if "scale_shift" in table:
        shifts = _of_heads(table, "scale_shift.shift", len(settings.heads))
    weights["shifts.of_heads"] = shifts
    return weights


def scales_of(table: ModuleTable, settings: Settings) -> dict[str, float]:
    """Factor on the energies of each head.

    Parameters
    ----------
    table:
        Modules of the file.
    settings:
        Settings of the model.
    """
    heads = list(settings.heads)
    if "scale_shift" not in table:
        return dict.fromkeys(heads, 1.0)
    values = _of_heads(table, "scale_shift.scale", len(heads)).tolist()
    return dict(zip(heads, values, strict=True))


def compositions_of(table: ModuleTable, settings: Settings) -> dict[str, dict[int, float]]:
    """Energies in eV of free atoms of each head and element.

    Parameters
    ----------
    table:
        Modules of the file.
    settings:
        Settings of the model.
    """
    heads = list(settings.heads)
    species = settings.species
    values = table.constant("atomic_energies_fn.atomic_energies")
    values = torch.atleast_2d(values)
    if values.shape != (len(heads), len(species)):
        raise ValueError(f"`atomic_energies` has shape {tuple(values.shape)}")
    compositions = {}
    for head, row in zip(heads, values.tolist(), strict=True):
        energies = zip(species, row, strict=True)
        compositions[head] = dict(energies)
    return compositions


def check_all_read(table: ModuleTable) -> None:
    """Raise ValueError if the file holds a tensor that is neither used nor known.

    Parameters
    ----------
    table:
        Modules of the file.
    """
    unknown = [name for name in table.unread() if not OTHERS.fullmatch(name)]
    if unknown:
        raise ValueError(f"it holds the unknown tensor `{unknown[0][:80]}`")


def _flat(table: ModuleTable, name: str, shapes: Sequence[tuple[int, ...]]) -> list[torch.Tensor]:
    """Parts of these shapes of a flat tensor."""
    sizes = [int(torch.Size(shape).numel()) for shape in shapes]
    flat = table.tensor(name, (sum(sizes),))
    parts = flat.split(sizes)
    return [part.reshape(shape).clone() for part, shape in zip(parts, shapes, strict=True)]


def _maps(
    table: ModuleTable, name: str, ours: str, sizes: dict[int, int], width: int
) -> dict[str, torch.Tensor]:
    """Linear maps {degree: number of inputs} to `width` channels."""
    parts = _flat(table, f"{name}.weight", [(n, width) for n in sizes.values()])
    return {f"{ours}.{order}.weight": part for order, part in zip(sizes, parts, strict=True)}


def _radial(table: ModuleTable, settings: Settings) -> dict[str, torch.Tensor]:
    """Constants of the radial functions and of the repulsion."""
    path = "radial_embedding.bessel_fn"
    weights = {
        "radial_basis.frequencies": table.constant(
            f"{path}.bessel_weights", (settings.num_bessel,)
        ),
        "radial_basis.prefactor": table.constant(f"{path}.prefactor", ()),
    }
    path = "radial_embedding.distance_transform"
    if settings.distance_transform != "none":
        names = AGNESI if settings.distance_transform == "agnesi" else ("alpha",)
        values = [table.number(path, name) for name in names]
        weights["radial_basis.constants"] = torch.tensor(values, dtype=torch.float64)
        weights["radial_basis.radii"] = _radii(table, path, settings)
    if settings.pair_repulsion:
        path = "pair_repulsion_fn"
        values = table.constant(f"{path}.c", (4,)).tolist()
        values += [table.number(path, name) for name in ("a_exp", "a_prefactor")]
        weights["repulsion.constants"] = torch.tensor(values, dtype=torch.float64)
        weights["repulsion.radii"] = _radii(table, path, settings)
    return weights


def _radii(table: ModuleTable, path: str, settings: Settings) -> torch.Tensor:
    """Covalent radii (n_species,) in A of a table by atomic number."""
    every = table.constant(f"{path}.covalent_radii")
    if every.dim() != 1 or len(every) <= max(settings.species):
        raise ValueError(f"`{path}.covalent_radii` has no radius of some elements")
    radii = every[list(settings.species)]
    if not bool(((radii > 0) & (radii < 10)).all()):
        raise ValueError(f"`{path}.covalent_radii` are no lengths in A")
    return radii


def _interaction(table: ModuleTable, settings: Settings, layer: int) -> dict[str, torch.Tensor]:
    """Weights of an interaction block."""
    path = f"interactions.{layer}"
    width = settings.width
    degrees = settings.inputs(layer)
    every = paths(degrees, settings.degree)
    before = dict.fromkeys(degrees, width)
    weights = _maps(table, f"{path}.linear_up", f"{path}.up", before, width)
    sizes = (settings.num_bessel, *settings.radial_widths, len(every) * width)
    for index, shape in enumerate(itertools.pairwise(sizes)):
        name = f"{path}.conv_tp_weights.layer{index}.weight"
        weights[f"{path}.radial.{index}.weight"] = table.tensor(name, shape)
    if settings.density[layer]:
        name = f"{path}.density_fn.layer0.weight"
        shape = (settings.num_bessel, 1)
        weights[f"{path}.density.weight"] = table.tensor(name, shape)
    counts = Counter(each.l3 for each in every)
    messages = {order: n * width for order, n in counts.items()}
    weights |= _maps(table, f"{path}.linear", f"{path}.linear", messages, width)
    return weights | _skip(table, settings, layer, list(counts))


def _skip(
    table: ModuleTable, settings: Settings, layer: int, degrees: list[int]
) -> dict[str, torch.Tensor]:
    """Linear maps of each element, of features before a residual block or of messages."""
    path = f"interactions.{layer}"
    width = settings.width
    if settings.residual[layer]:
        before = settings.inputs(layer)
        after = settings.hidden_degrees[layer]
        degrees = [order for order in after if order in before]
    # (inputs, elements, outputs) of each degree
    n_species = len(settings.species)
    shape = (width, n_species, width)
    shapes = [shape] * len(degrees)
    parts = _flat(table, f"{path}.skip_tp.weight", shapes)
    weights = {}
    for order, part in zip(degrees, parts, strict=True):
        of_element = part.transpose(0, 1)
        weights[f"{path}.skip.weights.{order}"] = of_element.contiguous()
    return weights


def _products(table: ModuleTable, settings: Settings, layer: int) -> dict[str, torch.Tensor]:
    """Coupling coefficients and weights of the products of a layer."""
    width = settings.width
    n_species = len(settings.species)
    largest = settings.correlation[layer]
    ranks = settings.hidden_degrees[layer]
    ours = f"products.{layer}"
    weights = {}
    for part, rank in enumerate(ranks):
        path = f"{ours}.symmetric_contractions.contractions.{part}"
        for power in range(1, largest + 1):
            coupling = _coupling(table, path, settings.degree, rank, power)
            weights[f"{ours}.products.couplings.table_{rank}_{power}"] = coupling
            # the highest power first, and by another name
            name = "weights_max" if power == largest else f"weights.{largest - 1 - power}"
            name = f"{path}.{name}"
            count = coupling.shape[2]
            is_agnostic = table.shape(name)[:1] == (1,)  # the same for all elements
            shape = (1 if is_agnostic else n_species, count, width)
            values = table.tensor(name, shape)
            values = values.expand(n_species, count, width)
            weights[f"{ours}.products.weights.{rank}_{power}"] = values.contiguous()
    sizes = dict.fromkeys(ranks, width)
    return weights | _maps(table, f"{ours}.linear", f"{ours}.linear", sizes, width)


def _coupling(table: ModuleTable, path: str, degree: int, rank: int, power: int) -> torch.Tensor:
    """Table (2L+1, monomials, K) of a tensor of the file."""
    name = f"{path}.U_matrix_{power}"
    components = [(degree + 1) ** 2] * power
    *shape, count = table.shape(name) or (0,)
    # no dimension of M for scalars
    expected = [2 * rank + 1, *components] if rank else components
    if shape != expected:
        raise ValueError(f"`{name}` has shape {(*shape, count)}")
    values = table.constant(name)
    values = values.view(2 * rank + 1, *components, count)
    try:
        return summed(values, degree, rank % 2)
    except ValueError as error:
        raise ValueError(f"`{name}`: {error}") from None


def _readouts(table: ModuleTable, settings: Settings) -> dict[str, torch.Tensor]:
    """Weights of the readouts of all layers."""
    n_heads = len(settings.heads)
    hidden = n_heads * settings.readout_width
    shapes = {}
    index = 0
    for layer, kind in enumerate(settings.readouts):
        if kind == "none":
            continue
        path = f"readouts.{index}"
        index += 1
        ours = f"readouts.{layer}"
        last = f"{ours}.last"
        if kind == "mlp":
            first = f"{ours}.hidden"
            shapes[f"{path}.linear_1", first] = (settings.width, hidden)
            shapes[f"{path}.linear_2", last] = (hidden, n_heads)
        else:
            shapes[f"{path}.linear", last] = (settings.width, n_heads)
    weights = {}
    for (name, ours), shape in shapes.items():
        (weight,) = _flat(table, f"{name}.weight", [shape])
        weights[f"{ours}.weight"] = weight
    return weights


def _of_heads(table: ModuleTable, name: str, n_heads: int) -> torch.Tensor:
    """Values (n_heads,) of a tensor that has one for each head, or one for all."""
    values = torch.atleast_1d(table.constant(name))
    if values.shape not in ((1,), (n_heads,)):
        raise ValueError(f"`{name}` has shape {tuple(values.shape)} for {n_heads} heads")
    of_heads: torch.Tensor = values.expand(n_heads).clone()
    return of_heads
