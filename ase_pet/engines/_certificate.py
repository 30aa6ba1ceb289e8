"""Program on ranks of MPI that compares LAMMPS with ASE: what `ase-pet check --engine` runs.

    mpiexec -n N python -m ase_pet.engines._certificate TASK RESULTS

TASK is a JSON file with the arguments of the calculator and the path of a structure; the first rank
writes rows of results to RESULTS. The last rows are controls: with the messages between ranks
switched off, and with a model that fails on one rank.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ase.units
import numpy as np
import torch
from ase import Atoms
from ase.data import chemical_symbols
from ase.io import read
from ase.md.verlet import VelocityVerlet
from ase.stress import voigt_6_to_full_3x3_stress

from ..calculator import MLIPCalculator
from ..evaluation.reach import declared_hops, measured_hops
from ._certificate_rows import Limits, Row, outcome
from ._ranks import Ranks, load_mpi
from .lammps import RunFailed, attach, instance

# LAMMPS rounds its constants: masses relative to those of ASE, and its bar in eV/A^3
MASS = 1 / (1e3 * ase.units.fs) ** 2 / 1.0364269e-4
BAR = 1 / 1.6021765e6
PER_PICOSECOND = 1e3 * ase.units.fs
TEMPERATURE = 300.0  # K
STEPS = 200  # of 1 fs, of the trajectory
DRIFT = 60.0  # A/ps, velocity of all atoms that takes them to other ranks
DRIFT_STEPS = 60
FEWEST = 1e3  # times the limit: what a control must exceed


def main(task_file: str, results_file: str) -> None:
    """Run all checks of a task and write their rows.

    Parameters
    ----------
    task_file:
        JSON file with {"calculator": arguments, "structure": path, "seed": number}.
    results_file:
        JSON file to write.
    """
    torch.set_num_threads(1)
    comm = load_mpi().COMM_WORLD
    if comm.rank > 0:
        warnings.simplefilter("ignore")
    task = json.loads(Path(task_file).read_text(encoding="utf-8"))
    calculator = MLIPCalculator(**task["calculator"])
    structure: Any = read(task["structure"])
    atoms = started_atoms(structure, task["seed"])
    certificate = Certificate(comm, calculator)
    rows = certificate.rows(atoms)
    if comm.rank == 0:
        Path(results_file).write_text(json.dumps(rows), encoding="utf-8")


def started_atoms(atoms: Atoms, seed: int) -> Atoms:
    """A periodic copy of a structure with velocities, its cell vectors as LAMMPS needs them.

    Parameters
    ----------
    atoms:
        Structure; without a cell it is placed in a box.
    seed:
        Seed of displacements and velocities.
    """
    atoms = atoms.copy()
    if not atoms.pbc.any() or atoms.cell.rank < 3:
        atoms.center(vacuum=8.0)
    atoms.pbc = True
    standard, rotation = atoms.cell.standard_form()
    atoms.set_cell(np.asarray(standard))
    atoms.positions = atoms.positions @ np.asarray(rotation).T
    generator = np.random.default_rng(seed)
    atoms.rattle(0.02, rng=generator)
    widths = np.sqrt(ase.units.kB * TEMPERATURE / atoms.get_masses())
    atoms.set_velocities(widths[:, None] * generator.normal(size=(len(atoms), 3)))
    return atoms


class Certificate:
    """Comparisons of a calculator in LAMMPS with the same calculator in ASE.

    Parameters
    ----------
    comm:
        Communicator of mpi4py.
    calculator:
        Calculator to compare.
    """

    def __init__(self, comm: Any, calculator: MLIPCalculator) -> None:
        self.comm = comm
        self.calculator = calculator
        self.limits = Limits(calculator.dtype == torch.float64)

    def rows(self, atoms: Atoms) -> list[Row]:
        """Rows of all checks.

        Parameters
        ----------
        atoms:
            Periodic structure with velocities.
        """
        return [
            *self.trajectory(atoms),
            *self.migration(atoms),
            *self.empty_rank(atoms),
            self.failing_rank(atoms),
            *self.without_messages(atoms),
            self.reach(),
        ]

    def trajectory(self, atoms: Atoms) -> list[Row]:
        """First step and 200 steps of NVE against ASE.

        Parameters
        ----------
        atoms:
            Structure with velocities.
        """
        lmp, potential = self.started(atoms)
        rows = self.compared("state", lmp, atoms)
        lmp.commands_string("fix move all nve\ntimestep 0.001")
        lmp.command(f"run {STEPS} post no")
        expected = atoms.copy()
        expected.set_momenta(atoms.get_momenta())
        expected.calc = self.calculator
        VelocityVerlet(expected, ase.units.fs).run(STEPS)
        inverse = np.linalg.inv(atoms.cell.array)
        fractions = (_gathered(lmp, "x") - expected.positions) @ inverse
        moved = (fractions - np.rint(fractions)) @ atoms.cell.array
        rows.append(self.limits.row("trajectory", "positions", np.abs(moved).max()))
        evaluated = potential.ranks.sum(np.array([float(potential.atoms.n_evaluated)]))
        n_ghosts = evaluated[0] - len(atoms)
        rows.append(self.limits.row("trajectory", "ghost atoms evaluated", n_ghosts))
        lmp.close()
        return rows

    def migration(self, atoms: Atoms) -> list[Row]:
        """A state after atoms have drifted to other ranks.

        Parameters
        ----------
        atoms:
            Structure with velocities.
        """
        drifting = atoms.copy()
        velocities = atoms.get_velocities() * PER_PICOSECOND + [DRIFT, DRIFT / 2, DRIFT / 3]
        drifting.set_velocities(velocities / PER_PICOSECOND)
        lmp, _ = self.started(drifting)
        before = set(_local_ids(lmp))
        lmp.commands_string("fix move all nve\ntimestep 0.001")
        lmp.command(f"run {DRIFT_STEPS} post no")
        migrated = sum(self.comm.allgather(len(set(_local_ids(lmp)) - before)))
        rows = self.compared("migration", lmp, atoms)
        is_done = migrated > 0 or self.comm.size == 1
        lmp.close()
        return [*rows, outcome("migration", "atoms that changed rank", migrated, is_done)]

    def empty_rank(self, atoms: Atoms) -> list[Row]:
        """A state of a slab, the vacuum of which is on ranks of its own.

        Parameters
        ----------
        atoms:
            Structure.
        """
        slab = atoms.copy()
        slab.wrap()
        cell = slab.cell.array.copy()
        # all atoms in the first of equal slices along x
        cell[0] *= 2 * self.comm.size
        slab.set_cell(cell)
        lmp, _ = self.started(slab, f"processors {self.comm.size} 1 1")
        rows = self.compared("empty rank", lmp, slab)
        fewest = min(self.comm.allgather(lmp.extract_setting("nlocal")))
        is_empty = fewest == 0 or self.comm.size == 1
        lmp.close()
        return [*rows, outcome("empty rank", "fewest atoms of a rank", fewest, is_empty)]

    def failing_rank(self, atoms: Atoms) -> Row:
        """Whether an error on the last rank ends the run on all of them.

        Parameters
        ----------
        atoms:
            Structure.
        """
        lmp, _ = self.started(atoms)
        lmp.commands_string("fix move all nve\nrun 2 post no")
        stopped = False
        with self.broken_model():
            try:
                lmp.command("run 20 post no")
            except RunFailed as error:
                stopped = "a failure on purpose" in str(error)
        step = int(lmp.extract_global("ntimestep"))
        is_ended = all(self.comm.allgather(stopped and step < 10))
        lmp.close()
        return outcome("failing rank", "step at which all stopped", step, is_ended)

    def without_messages(self, atoms: Atoms) -> list[Row]:
        """The control: without messages between ranks the results must be wrong.

        Parameters
        ----------
        atoms:
            Structure.
        """
        if self.comm.size == 1:
            return []
        with silent_ranks():
            lmp, _ = self.started(atoms)
            rows = self.compared("control without messages", lmp, atoms)
            lmp.close()
        # a control passes where the comparison fails
        wrong = [row for row in rows if row["quantity"] == "forces"]
        for row in wrong:
            row["limit"] = row["limit"] * FEWEST
            row["passed"] = row["value"] > row["limit"]
            row["note"] = "must be above"
        return wrong

    def reach(self) -> Row:
        """Number of edges that energies depend on, at most the declared one.

        An adaptive cutoff that stays at its largest value on a sparse chain adds no edge.
        """
        model = self.calculator.model
        declared = declared_hops(model)
        measured = measured_hops(model)
        row = outcome("reach", "edges", measured, declared is None or measured <= declared)
        return Row(row, limit=declared)

    @contextmanager
    def broken_model(self) -> Iterator[None]:
        """The model raises an error on the last rank."""
        model = self.calculator.model
        is_last = self.comm.rank + 1 == self.comm.size

        def fail(*arguments: Any) -> None:
            raise RuntimeError("a failure on purpose")

        handle = model.register_forward_pre_hook(fail) if is_last else None
        try:
            yield
        finally:
            if handle is not None:
                handle.remove()

    def started(self, atoms: Atoms, commands: str = "") -> tuple[Any, Any]:
        """LAMMPS with these atoms, and its potential.

        Parameters
        ----------
        atoms:
            Structure with a lower triangular cell.
        commands:
            Commands of LAMMPS before the box.
        """
        lmp = instance(self.comm, ["-log", "none"], quiet=True)
        cell = atoms.cell.array
        edges = [0, cell[0, 0], 0, cell[1, 1], 0, cell[2, 2], cell[1, 0], cell[2, 0], cell[2, 1]]
        box = " ".join(f"{length:.17g}" for length in edges)
        species = sorted(set(atoms.numbers.tolist()))
        lmp.commands_string(
            f"units metal\natom_style atomic\natom_modify map array\n{commands}\n"
            f"region box prism {box} units box\nbox tilt large\ncreate_box {len(species)} box"
        )
        for kind, number in enumerate(species, 1):
            mass = atoms.get_masses()[atoms.numbers == number][0] * MASS
            lmp.command(f"mass {kind} {mass:.17g}")
        ids = list(range(1, len(atoms) + 1))
        types = [species.index(number) + 1 for number in atoms.numbers]
        velocities = atoms.get_velocities() * PER_PICOSECOND
        lmp.create_atoms(
            len(atoms),
            ids,
            types,
            atoms.positions.flatten().tolist(),
            velocities.flatten().tolist(),
        )
        lmp.command("compute virial all pressure NULL virial")
        lmp.command("compute energies all pe/atom")
        lmp.command("compute sum all reduce sum c_energies")
        lmp.command("thermo_style custom step pe c_virial[1] c_sum")
        symbols = [chemical_symbols[number] for number in species]
        return lmp, attach(lmp, self.calculator, self.comm, species=symbols)

    def compared(self, check: str, lmp: Any, atoms: Atoms) -> list[Row]:
        """Differences of energy, forces and pressures from ASE, at the present positions.

        Parameters
        ----------
        check:
            Name of the check.
        lmp:
            LAMMPS.
        atoms:
            Structure whose cell it has.
        """
        lmp.command("run 0 post no")
        now = atoms.copy()
        now.positions = _gathered(lmp, "x")
        now.calc = self.calculator
        energy = lmp.get_thermo("pe")
        of_atoms = lmp.extract_compute("sum", 0, 0)
        pressures = lmp.numpy.extract_compute("virial", 0, 1)[:6] * BAR
        stress = voigt_6_to_full_3x3_stress(now.get_stress())
        expected = -stress[[0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2]]
        differences = {
            "energy": abs(energy - now.get_potential_energy()) / len(now),
            "energies of atoms": abs(of_atoms - energy),
            "forces": np.abs(_gathered(lmp, "f") - now.get_forces()).max(),
            "six pressures": np.abs(pressures - expected).max() / ase.units.bar,
        }
        return [self.limits.row(check, name, value) for name, value in differences.items()]


@contextmanager
def silent_ranks() -> Iterator[None]:
    """Floating-point rows of other ranks arrive as zeros, but for those of the search of edges."""
    original: Any = Ranks.rows

    def zeros(self: Ranks, rows: torch.Tensor, *counts: Any) -> torch.Tensor:
        received: torch.Tensor = original(self, rows, *counts)
        is_search = rows.shape[1] == 5  # tags and vectors
        is_mask = not rows.is_floating_point()
        return received if is_search or is_mask else torch.zeros_like(received)

    Ranks.rows = zeros  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        Ranks.rows = original  # type: ignore[method-assign]


def _gathered(lmp: Any, name: str) -> np.ndarray:
    """Array (n, 3) of all atoms, in the order of their numbers."""
    return np.array(lmp.gather_atoms(name, 1, 3)).reshape(-1, 3)


def _local_ids(lmp: Any) -> list[int]:
    """Numbers of the atoms of this rank."""
    count = lmp.extract_setting("nlocal")
    ids: list[int] = lmp.numpy.extract_atom("id", nelem=count).tolist() if count else []
    return ids


if __name__ == "__main__":
    main(*sys.argv[1:])
