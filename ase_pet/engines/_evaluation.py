"""Energies, forces and virials of the atoms of one process of an engine."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import torch

from .. import graph, memory, outputs
from ..calculator import MLIPCalculator
from ..evaluation import Evaluation
from ..graph import HalfList, InvalidStructure, Structure, VerletList
from ..graph.domains import Domain, DomainList
from ..graph.structure import symbol
from ._ranks import Ranks

UNCERTAINTY = "energies_uncertainty"


class Results(NamedTuple):
    """Results for the n local atoms of a process.

    Attributes
    ----------
    energies:
        Energies (n,) of the local atoms in eV.
    forces:
        Forces (n, 3) on them in eV/A.
    virials:
        Shares (n, 3, 3) of them in dE/d(strain) in eV, symmetric.
    energy:
        Energy of all atoms of all processes in eV.
    virial:
        dE/d(strain) (3, 3) of all atoms of all processes in eV.
    """

    energies: np.ndarray
    forces: np.ndarray
    virials: np.ndarray
    energy: float
    virial: np.ndarray


def check_calculator(calculator: object, n_ranks: int) -> None:
    """Raise ValueError for a calculator that an engine cannot run on a number of processes.

    Parameters
    ----------
    calculator:
        Calculator to run.
    n_ranks:
        Number of processes.
    """
    if not isinstance(calculator, MLIPCalculator):
        raise ValueError(
            f"`calculator` is a {type(calculator).__name__}: expected an MLIPCalculator, as other"
            " calculators of ASE cannot be evaluated on the atoms of an engine"
        )
    if calculator._direct:
        raise ValueError(
            "`non_conservative` forces are not supported by this engine: use non_conservative=False"
        )
    model = calculator.model
    if n_ranks == 1 or model.supports_domains:
        return
    if model.is_symmetrised:
        reason = (
            "the symmetriser rotates clusters of atoms, of which each process has a part: use"
            " group:O, group:I or quadrature:L, or one process"
        )
    else:
        reason = (
            f"models of type {_kind(model)} exchange more between atoms than this engine passes on:"
            " use one process"
        )
    raise ValueError(f"this calculator cannot be divided among {n_ranks} processes: {reason}")


def _kind(model: object) -> str:
    """Name of the kind of a model: that of its file."""
    return type(model).__module__.rpartition(".")[2]


def numbers_of_types(species: list[str] | tuple[str, ...], known: tuple[int, ...]) -> np.ndarray:
    """Atomic numbers (1 + types,) of atom types 1, 2, ...; entry 0 is unused.

    Parameters
    ----------
    species:
        Chemical symbols of the types, in their order.
    known:
        Atomic numbers that the calculator supports.

    Raises
    ------
    ValueError
        An element is unknown, or not supported.
    """
    from ase.data import atomic_numbers

    numbers = [0]
    for element in species:
        number = atomic_numbers.get(element)
        if number not in known:
            choices = ", ".join(map(symbol, known))
            raise ValueError(
                f"`species` has {element!r}: valid choices for this calculator are {choices}"
            )
        numbers.append(number)
    return np.array(numbers, dtype=np.int64)


class AtomsOfRanks:
    """A calculator on the atoms of the processes of an engine.

    Parameters
    ----------
    calculator:
        Calculator to run, that passed `check_calculator`.
    ranks:
        Processes.
    skin:
        Additional search radius of neighbours in A.
    state:
        {"charge": e, "spin": 2S+1} of the whole structure, for models that depend on them.

    Attributes
    ----------
    n_evaluated:
        Number of atoms that the model evaluated in the latest call, without one per element that
        represents neighbours.
    seconds:
        {"list", "model"}: time in s for edges and for the model with its messages so far.
    """

    def __init__(
        self,
        calculator: MLIPCalculator,
        ranks: Ranks,
        skin: float,
        state: Mapping[str, int] | None = None,
    ) -> None:
        self.calculator = calculator
        self.ranks = ranks
        self.state = {"charge": 0, "spin": 1, **(state or {})}
        self.model = calculator.model
        self.inputs = calculator._inputs
        self.edges = DomainList(self.model.cutoff, skin, self.model.species, ranks)
        self.whole = VerletList(self.model.cutoff, skin)
        self.n_evaluated = 0
        self.seconds = {"list": 0.0, "model": 0.0}
        self._has_warned = False

    def of_domain(self, domain: Domain, is_new: bool) -> Results:
        """Results for the local atoms of a domain; all processes call it together.

        Parameters
        ----------
        domain:
            Atoms of this process.
        is_new:
            Whether the engine has exchanged atoms among processes since the last call.

        Raises
        ------
        ValueError
            Atoms are too close, or have moved too far since the engine exchanged them.
        """
        start = time.perf_counter()
        _check_finite(domain.positions, "positions", domain.tags)
        is_other = is_new or not self.edges.is_same_system(domain)
        if self.ranks.largest(int(is_other)):
            self.edges.search(domain)
        elif not self.edges.covers(domain):
            raise ValueError(
                f"atoms moved by more than half of the skin, {self.edges.skin:g} A, and the engine"
                " did not search neighbours again: let it check at each step (`neigh_modify delay 0"
                " every 1 check yes`), or use a shorter time step"
            )
        self._check_distances(domain)
        # structure 0 are the local atoms, structure 1 those that represent elements
        batch = self.edges.graph(domain, **self.state)
        batch = batch.to(self.calculator.device, self.inputs.dtype)
        self.seconds["list"] += time.perf_counter() - start
        return self._evaluated(batch, domain.tags[: domain.n_local])

    def of_structure(self, structure: Structure, tags: np.ndarray) -> Results:
        """Results for all atoms of a structure in one process, for models without domains.

        Parameters
        ----------
        structure:
            All n atoms.
        tags:
            Numbers (n,) of the atoms in the engine.
        """
        start = time.perf_counter()
        graph.check(structure, self.model.species)
        pairs = self.inputs.pairs(structure, self.whole)
        batch = self.inputs.graph([structure], [pairs])
        self.seconds["list"] += time.perf_counter() - start
        return self._evaluated(batch, tags)

    def _evaluated(self, batch: graph.Graph, tags: np.ndarray) -> Results:
        """Results for the first atoms of a graph, one for each tag."""
        start = time.perf_counter()
        n = len(tags)
        self.n_evaluated = n
        n_edges = len(batch.centre)
        names = ["energy", *self.calculator._policy.properties]
        with self._on_one_thread(), memory.explained(self.calculator.device, n, n_edges, 1):
            run = outputs.evaluation_of(self.model, batch, names)
            forces = run.forces[:n].cpu().numpy()  # first: its run yields the energies, too
            energies = run.energies[:n].detach().cpu().numpy()
            virials = _virials(run)[:n].cpu().numpy()
            deviations = run.uncertainties.atom_deviations[:n] if len(names) > 1 else None
        _check_finite(forces, "forces", tags)
        _check_finite(energies, "energies", tags)
        totals = np.concatenate([[energies.sum()], virials.sum(axis=0).flatten()])
        totals = self.ranks.sum(totals)
        if deviations is not None:
            self._apply_policy(deviations.cpu().numpy(), tags)
        self.ranks.agree()
        self.seconds["model"] += time.perf_counter() - start
        return Results(energies, forces, virials, float(totals[0]), totals[1:].reshape(3, 3))

    def _apply_policy(self, deviations: np.ndarray, tags: np.ndarray) -> None:
        """Warn or stop where an atom of any process is too uncertain, on all processes alike."""
        every_tag = np.concatenate(self.ranks.gather(tags))
        every_deviation = np.concatenate(self.ranks.gather(deviations))
        results = {UNCERTAINTY: every_deviation[np.argsort(every_tag)]}
        with warnings.catch_warnings():
            if self.ranks.rank > 0:  # the first one says it
                warnings.simplefilter("ignore")
            self.calculator._policy.apply(results)

    def _check_distances(self, domain: Domain) -> None:
        """Refuse atoms on top of each other; warn once of distances below those of training."""
        centre, neighbour, vectors = self.edges.edges(domain)
        squared = np.einsum("ik,ik->i", vectors, vectors)
        shortest = self.inputs.shortest_distances
        limit = max([graph.CLOSEST, *(shortest or {}).values()])
        if squared.min(initial=np.inf) >= limit**2:
            return
        is_close = squared < limit**2
        i = domain.tags[centre[is_close]]
        j = domain.tags[neighbour[is_close]]
        numbers = np.zeros(domain.tags.max() + 1, dtype=np.int64)
        numbers[domain.tags] = domain.numbers
        structure = Structure(numbers, np.zeros((0, 3)), np.zeros((3, 3)), np.zeros(3, bool))
        close = graph.check_distances(structure, HalfList(i, j, vectors[is_close]), shortest)
        if close and not self._has_warned:
            self._has_warned = True
            warnings.warn(
                f"atoms closer than in training: {'; '.join(close)}. Results are an extrapolation.",
                stacklevel=2,
            )

    @contextlib.contextmanager
    def _on_one_thread(self) -> Iterator[None]:
        """Derivatives in this thread, where they pass messages between processes."""
        with torch.autograd.set_multithreading_enabled(self.ranks.size == 1):
            yield


def _virials(run: Evaluation) -> torch.Tensor:
    """Shares (n_atoms, 3, 3) of atoms in dE/d(strain) in eV, symmetric.

    That of atom i is the sum over its edges of v_ij dE/dv_ij, which is the strain derivative of its
    own energy where that depends on its own edges only. Of a graph of pairs, each atom of a pair
    has half.
    """
    batch = run.graph
    products = batch.pair_vectors.double()[:, :, None] * run.pair_gradient.double()[:, None, :]
    shares = products.new_zeros(batch.n_atoms, 3, 3)
    if batch.one_sided:
        shares = shares.index_add(0, batch.pair_centre, products)
    else:
        shares = shares.index_add(0, batch.pair_centre, products / 2)
        shares = shares.index_add(0, batch.pair_neighbour, products / 2)
    return (shares + shares.mT) / 2


def _check_finite(values: np.ndarray, name: str, tags: np.ndarray) -> None:
    """Raise InvalidStructure for values (n, ...) of atoms that are not finite."""
    is_finite = np.isfinite(values)
    is_finite = is_finite.all(axis=tuple(range(1, values.ndim)))  # (n,)
    if not is_finite.all():
        wrong = ", ".join(map(str, tags[~is_finite][:8]))
        raise InvalidStructure(f"`{name}` of atoms {wrong} are not finite: the run is unstable")
