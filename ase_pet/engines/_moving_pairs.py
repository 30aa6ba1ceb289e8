"""Systems that an engine moves on a device, and the graphs of their pairs.

Neighbours are searched on the CPU, but only where a new pair is possible. In between, nothing
leaves the device but a few numbers that decide on that.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from .. import graph
from ..graph import Graph, HalfList, InvalidStructure, Structure
from ..graph.neighbours import pairs as search
from ..graph_inputs import GraphInputs


@dataclass(frozen=True)
class Systems:
    """The s systems of a state with n atoms, as tensors on the device of the model.

    Attributes
    ----------
    numbers:
        Atomic numbers (n,), int64.
    positions:
        Positions (n, 3) in A, float64.
    system:
        Index (n,) of the system of each atom.
    cells:
        Cells (s, 3, 3) in A, float64; rows are cell vectors.
    pbc:
        Periodic directions (3,) of all systems, bool.
    states:
        Total charge and spin multiplicity of each system, where the state has them.
    dtype:
        Type of the positions of the state.
    """

    numbers: torch.Tensor
    positions: torch.Tensor
    system: torch.Tensor
    cells: torch.Tensor
    pbc: torch.Tensor
    states: dict[str, torch.Tensor] = field(default_factory=dict)
    dtype: torch.dtype = torch.float64

    @classmethod
    def of(cls, state: Any, device: torch.device) -> Systems:
        """Systems of a state.

        Parameters
        ----------
        state:
            SimState, or a mapping with its attributes.
        device:
            Device of the tensors.
        """
        entries = dict(state) if isinstance(state, Mapping) else _attributes(state)
        positions = entries["positions"].detach().to(device)
        pbc = torch.as_tensor(entries["pbc"], device=device)
        # torch-sim's cell vectors are columns
        columns = entries["cell"].detach().to(device, torch.float64)
        system = entries.get("system_idx")
        if system is None:
            system = torch.zeros(len(positions), dtype=torch.int64)
        states = {}
        for name in ("charge", "spin"):
            if entries.get(name) is not None:
                states[name] = entries[name].detach().to(device)
        return cls(
            numbers=entries["atomic_numbers"].to(device, torch.int64),
            positions=positions.double(),
            system=system.to(device, torch.int64),
            cells=columns.reshape(-1, 3, 3).mT,
            pbc=pbc.bool().expand(3),
            states=states,
            dtype=positions.dtype,
        )

    def same_as(self, other: Systems) -> bool:
        """Whether both have the same atoms, boundary conditions, charges and spins.

        Parameters
        ----------
        other:
            Other systems.
        """
        if self.states.keys() != other.states.keys():
            return False
        if len(self.cells) != len(other.cells):
            return False
        own = self._fixed()
        others = other._fixed()
        return all(map(torch.equal, own, others))

    def _fixed(self) -> list[torch.Tensor]:
        """What does not change as the atoms move."""
        return [self.numbers, self.system, self.pbc, *self.states.values()]

    def copy(self) -> Systems:
        """The same systems in tensors of their own."""
        return replace(
            self,
            numbers=self.numbers.clone(),
            positions=self.positions.clone(),
            system=self.system.clone(),
            cells=self.cells.clone(),
            pbc=self.pbc.clone(),
            states={name: values.clone() for name, values in self.states.items()},
        )

    def arrays(self) -> list[ArraySystem]:
        """Each system as arrays."""
        sizes = torch.bincount(self.system, minlength=len(self.cells)).tolist()
        numbers = self.numbers.cpu().split(sizes)
        positions = self.positions.cpu().split(sizes)
        return [
            ArraySystem(
                numbers=numbers[k].numpy(),
                positions=positions[k].numpy(),
                cell=cell,
                pbc=self.pbc.cpu().numpy(),
                info={name: int(values[k]) for name, values in self.states.items()},
            )
            for k, cell in enumerate(self.cells.cpu().numpy())
        ]


@dataclass(frozen=True)
class ArraySystem:
    """One system as arrays, with the attributes that `GraphInputs.structure` reads.

    Attributes
    ----------
    numbers:
        Atomic numbers (n,).
    positions:
        Positions (n, 3) in A.
    cell:
        Cell (3, 3) in A.
    pbc:
        Periodic directions (3,).
    info:
        Total charge and spin multiplicity, where they are given.
    """

    numbers: np.ndarray
    positions: np.ndarray
    cell: np.ndarray
    pbc: np.ndarray
    info: dict[str, Any]


class MovingPairs:
    """Graphs of systems that move, whose pairs are searched again only if a new one is possible.

    Atoms that were wrapped into the cell have not moved. Cells may change: with the linear map F of
    the cell since the search, pairs beyond cutoff + skin are now at least that long over |F^-1|,
    less twice the largest displacement.

    Parameters
    ----------
    inputs:
        Validation of structures, and the model.
    skin:
        Additional search radius in A; 0 searches at each call.
    """

    def __init__(self, inputs: GraphInputs, skin: float) -> None:
        self.inputs = inputs
        self.cutoff = float(inputs.model.cutoff)
        self.skin = float(skin)
        self.searches = 0
        self._reference: Systems | None = None
        self._graph: Graph  # of the reference, with all pairs of the search
        self._shifts: torch.Tensor  # (P', 3) lattice shifts of these pairs
        self._has_warned = False

    def graph(self, systems: Systems) -> Graph:
        """Graph with all pairs within the cutoff.

        Parameters
        ----------
        systems:
            Systems that have moved.
        """
        positions = self._unwrapped(systems)
        if positions is None:
            self._search(systems)
            positions = systems.positions
        vectors = self._vectors(systems, positions)
        squared = (vectors * vectors).sum(1)
        self._check_distances(squared)
        keep = torch.nonzero(squared <= self.cutoff**2)[:, 0]
        within = self._graph.with_vectors(vectors).select(keep)
        volumes = _volumes(systems.cells)
        # without a volume the stress is NaN, and all else of the batch is as it should be
        volumes[volumes == 0] = math.nan
        return replace(within, volume=volumes).to(dtype=self.inputs.dtype)

    def _vectors(self, systems: Systems, positions: torch.Tensor) -> torch.Tensor:
        """Vectors (P', 3) of the pairs of the search."""
        i = self._graph.pair_centre
        j = self._graph.pair_neighbour
        cells = systems.cells[self._graph.structure[i]]  # (P', 3, 3)
        translations = torch.einsum("pk,pkx->px", self._shifts, cells)
        return positions[j] - positions[i] + translations

    def _check_distances(self, squared: torch.Tensor) -> None:
        """Raise InvalidStructure for pairs below 0.1 A, which may be reached between searches."""
        if not len(squared) or squared.min() >= graph.CLOSEST**2:
            return
        pair = squared.argmin()
        atom = self._graph.pair_centre[pair]
        distance = float(squared[pair]) ** 0.5
        raise InvalidStructure(
            f"system {int(self._graph.structure[atom])}: two atoms are {distance:.3g} A apart:"
            f" closer than {graph.CLOSEST} A is not evaluated"
        )

    def _unwrapped(self, systems: Systems) -> torch.Tensor | None:
        """Positions (n, 3) closest to those of the search; None if a new one is needed."""
        old = self._reference
        if old is None or self.skin <= 0 or not systems.same_as(old):
            return None
        strained = _strained(old, systems)
        if strained is None:
            return None
        reference, stretch = strained
        moved = _without_periods(systems, systems.positions - reference)
        largest = float(moved.norm(dim=1).max())
        # also False where a position is NaN
        if stretch * (self.cutoff + 2 * largest) <= self.cutoff + self.skin:
            return reference + moved
        return None

    def _search(self, systems: Systems) -> None:
        """Search the pairs of all systems within cutoff + skin, after their validation."""
        self._reference = None
        structures = []
        lists = []
        shifts = []
        close = []
        for k, system in enumerate(systems.arrays()):
            structure = self.inputs.structure(system, f"system {k}: ")  # type: ignore[arg-type]
            try:
                found, shift = self._found(structure)
                close += graph.check_distances(structure, found, self.inputs.shortest_distances)
            except InvalidStructure as error:
                raise InvalidStructure(f"system {k}: {error}") from None
            structures.append(structure)
            lists.append(found)
            shifts.append(shift)
        if close and not self._has_warned:
            self._has_warned = True
            warnings.warn(
                f"atoms closer than in training: {'; '.join(close)}. Results are an extrapolation.",
                stacklevel=4,
            )
        device = systems.positions.device
        self._graph = graph.build(structures, lists, device=device)
        self._shifts = torch.from_numpy(np.concatenate(shifts)).to(device, torch.float64)
        # integrators may move the atoms of a state in place
        self._reference = systems.copy()
        self.searches += 1

    def _found(self, structure: Structure) -> tuple[HalfList, np.ndarray]:
        """Pairs of a structure within cutoff + skin, and their lattice shifts (P', 3)."""
        i, j, shifts = search(structure, self.cutoff + self.skin)
        translations = shifts @ structure.cell
        vectors = structure.positions[j] - structure.positions[i] + translations
        return HalfList(i, j, vectors), shifts


def _attributes(state: Any) -> dict[str, Any]:
    """Attributes of a SimState that are read here; charge and spin where its version has them."""
    entries: dict[str, Any] = dict(vars(state))
    # where later versions keep what a state was given beyond the usual
    entries.update(entries.get("_system_extras", {}))
    entries["system_idx"] = state.system_idx
    return entries


def _volumes(cells: torch.Tensor) -> torch.Tensor:
    """Volumes (s,) of cells (s, 3, 3) in A^3, 0 where a cell has no rank 3."""
    volumes = torch.linalg.det(cells).abs()
    # the determinant of linearly dependent vectors is zero up to rounding only
    rounding = 1e-9 * cells.norm(dim=2).prod(1)
    return torch.where(volumes > rounding, volumes, torch.zeros_like(volumes))


def _strained(old: Systems, now: Systems) -> tuple[torch.Tensor, float] | None:
    """Old positions (n, 3) strained as the cells, and the largest |F^-1|; None if undefined."""
    if torch.equal(now.cells, old.cells):
        return old.positions, 1.0
    volumes = torch.cat([_volumes(old.cells), _volumes(now.cells)])
    if volumes.min() == 0:
        return None
    strain = torch.linalg.solve(old.cells, now.cells)  # F (s, 3, 3)
    smallest = torch.linalg.matrix_norm(strain, -2).min()  # 1 / |F^-1|
    of_atoms = strain[now.system]
    positions = torch.einsum("nx,nxy->ny", old.positions, of_atoms)
    return positions, 1 / float(smallest)


def _without_periods(systems: Systems, moved: torch.Tensor) -> torch.Tensor:
    """Displacements (n, 3) in A less whole lattice vectors along the periodic directions."""
    if not bool(systems.pbc.any()):
        return moved
    periodic = systems.cells * systems.pbc[:, None]
    dual = torch.linalg.pinv(periodic)[systems.system]
    periods = torch.einsum("nx,nxk->nk", moved, dual).round()
    return moved - torch.einsum("nk,nkx->nx", periods, periodic[systems.system])
