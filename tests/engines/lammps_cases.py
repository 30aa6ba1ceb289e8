"""Runs of LAMMPS on ranks of MPI, compared with ASE: mpiexec -n 2 python lammps_cases.py FILE.

All cases in one program, because importing torch takes longer than most of them. The first rank
writes {case: {name: number}} to FILE.
"""

import json
import os
import sys
import traceback
import warnings

import ase.units
import numpy as np
import torch
from ase import Atoms
from ase.build import bulk
from ase.data import chemical_symbols
from ase.md.verlet import VelocityVerlet
from ase.stress import voigt_6_to_full_3x3_stress

from ase_pet import MLIPCalculator
from ase_pet.engines import _certificate
from ase_pet.engines import lammps as engine
from ase_pet.engines._ranks import load_mpi
from ase_pet.models import mace, pet, ponita
from ase_pet.uncertainty_policy import TooUncertain

MPI = load_mpi()
COMM = MPI.COMM_WORLD
# LAMMPS rounds its constants: masses relative to those of ASE, and its bar
MASS = 1 / (1e3 * ase.units.fs) ** 2 / 1.0364269e-4
BAR = 1 / 1.6021765e6  # eV/A^3
PET = {
    "species": (6, 14),
    "cutoff": 3.6,
    "d_pet": 8,
    "d_node": 12,
    "d_head": 8,
    "d_feedforward": 8,
    "num_heads": 2,
    "num_attention_layers": 1,
}
ADAPTIVE = {**PET, "cutoff": 4.0, "num_neighbors_adaptive": 8}
MACE = {
    "species": (6, 14),
    "cutoff": 3.6,
    "width": 8,
    "num_bessel": 4,
    "radial_widths": (8,),
    "degree": 2,
    "hidden_degrees": ((0, 1, 2), (0, 1), (0,)),
    "residual": (False, True, True),
    "density": (False, True, True),
    "average_neighbours": (8.0, 8.0, 8.0),
    "correlation": (2, 2, 2),
    "readouts": ("linear", "linear", "mlp"),
    "distance_transform": "agnesi",
    "pair_repulsion": True,
}
MODELS = {
    "feedforward": lambda: pet.Model(pet.Settings(**PET, num_gnn_layers=3)),
    "residual": lambda: pet.Model(pet.Settings(**PET, featurizer_type="residual")),
    "solver": lambda: pet.Model(pet.Settings(**ADAPTIVE)),
    "grid": lambda: pet.Model(pet.Settings(**ADAPTIVE, adaptive_cutoff_method="grid")),
    "ponita": lambda: ponita.Model(
        ponita.Settings(species=(6, 14), cutoff=3.6, width=8, num_basis=8)
    ),
    "mace": lambda: mace.Model(mace.Settings(**MACE)),
    "local": lambda: pet.Model(pet.Settings(**PET, featurizer_type="residual", num_gnn_layers=1)),
}
CASES = {}


def case(function):
    CASES[function.__name__] = function
    return function


def calculator(name, dtype="float64", **options):
    torch.manual_seed(0)
    model = MODELS[name]().double()
    model.scales = {"energy": 0.2}
    return MLIPCalculator(model, dtype=dtype, device="cpu", **options)


def crystal(temperature=300, repeat=(2, 2, 1), shear=True):
    """Sheared silicon carbide, thinner than two cutoffs, with velocities."""
    atoms = bulk("Si", cubic=True, a=4.9) * repeat
    atoms.numbers[::3] = 6
    rng = np.random.default_rng(1)
    atoms.rattle(0.05, rng=rng)
    tilt = np.array([[1, 0, 0], [0.1, 1, 0], [0.05, 0.02, 1]]) if shear else np.eye(3)
    atoms.set_cell(atoms.cell.array @ tilt, scale_atoms=True)
    width = np.sqrt(ase.units.kB * temperature / atoms.get_masses())[:, None]
    atoms.set_velocities(width * rng.normal(size=(len(atoms), 3)))
    return atoms


def started(atoms, calc, units="metal", potential=True, commands=""):
    """LAMMPS with these atoms and the potential."""
    lmp = engine.instance(COMM, ["-log", "none"], quiet=True)
    cell = atoms.cell.array
    species = sorted(set(atoms.numbers.tolist()))
    boundary = " ".join("p" if periodic else "f" for periodic in atoms.pbc)
    box = " ".join(
        f"{value:.17g}"
        for value in (0, cell[0, 0], 0, cell[1, 1], 0, cell[2, 2], *cell[[1, 2, 2], [0, 0, 1]])
    )
    lmp.commands_string(
        f"units {units}\natom_style atomic\nboundary {boundary}\natom_modify map array\n"
        f"{commands}\nregion b prism {box} units box\nbox tilt large\ncreate_box {len(species)} b"
    )
    per_time = 1e3 * ase.units.fs if units == "metal" else ase.units.fs
    for kind, number in enumerate(species, 1):
        mass = atoms.get_masses()[atoms.numbers == number][0]
        lmp.command(f"mass {kind} {mass * (MASS if units == 'metal' else 1):.17g}")
    lmp.create_atoms(
        len(atoms),
        list(range(1, len(atoms) + 1)),
        [species.index(number) + 1 for number in atoms.numbers],
        atoms.positions.flatten().tolist(),
        (atoms.get_velocities() * per_time).flatten().tolist(),
    )
    lmp.commands_string("compute virial all pressure NULL virial\ncompute of_atoms all pe/atom")
    lmp.commands_string("compute stresses all stress/atom NULL virial")
    lmp.commands_string("compute sums all reduce sum c_of_atoms c_stresses[1] c_stresses[4]")
    names = [f"virial[{k}]" for k in range(1, 7)] + [f"sums[{k}]" for k in range(1, 4)]
    lmp.command("thermo_style custom step pe vol " + " ".join(f"c_{name}" for name in names))
    symbols = [chemical_symbols[number] for number in species]
    attached = engine.attach(lmp, calc, COMM, species=symbols) if potential else None
    return lmp, attached


def gathered(lmp, name):
    """Array (n, 3) of all atoms, in the order of their IDs."""
    return np.array(lmp.gather_atoms(name, 1, 3)).reshape(-1, 3)


def state(lmp, atoms):
    """The atoms as LAMMPS has them now."""
    low, high, xy, yz, xz, _, _ = lmp.extract_box()
    a, b, c = np.subtract(high, low)
    now = atoms.copy()
    now.set_cell([[a, 0, 0], [xy, b, 0], [xz, yz, c]])
    now.positions = gathered(lmp, "x") - low
    return now


def compared(lmp, atoms, calc, energy_unit=1.0, pressure_unit=BAR):
    """Differences of energy (eV), forces (eV/A) and pressures (bar) from ASE at this state."""
    lmp.command("run 0 post no")
    energy = lmp.get_thermo("pe") * energy_unit
    pressures = lmp.numpy.extract_compute("virial", 0, 1)[:6]  # global vector
    sums = lmp.numpy.extract_compute("sums", 0, 1)[:3]
    volume = lmp.get_thermo("vol")
    forces = gathered(lmp, "f") * energy_unit
    now = state(lmp, atoms)
    now.calc = calc
    stress = voigt_6_to_full_3x3_stress(now.get_stress())
    expected = -stress[[0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2]]
    return {
        "energy": abs(energy - now.get_potential_energy()),
        "forces": np.abs(forces - now.get_forces()).max(),
        "largest force": np.abs(now.get_forces()).max(),
        "pressure": np.abs(pressures * pressure_unit - expected).max() / ase.units.bar,
        "energies of atoms": abs(sums[0] - energy / energy_unit),
        "virials of atoms": np.abs(-sums[1:] / volume - pressures[[0, 3]]).max(),
    }


def displacement(lmp, atoms):
    """Largest distance in A between atoms in LAMMPS and those of ASE, modulo the lattice."""
    fractions = (gathered(lmp, "x") - atoms.positions) @ np.linalg.inv(atoms.cell.array)
    return np.abs((fractions - np.rint(fractions)) @ atoms.cell.array).max()


def trajectory(atoms, calc, steps, deaf=False):
    """Differences of a run of NVE from ASE."""
    lmp, attached = started(atoms, calc)
    start = compared(lmp, atoms, calc)
    lmp.commands_string("fix move all nve\ntimestep 0.001")
    lmp.command(f"run {steps} post no")
    expected = atoms.copy()
    expected.set_momenta(atoms.get_momenta())
    expected.calc = calc
    VelocityVerlet(expected, ase.units.fs).run(steps)
    moved = displacement(lmp, expected)
    energy = abs(lmp.get_thermo("pe") - expected.get_potential_energy())
    n_evaluated = int(attached.ranks.sum(np.array([attached.atoms.n_evaluated]))[0])
    lmp.close()
    end = {"positions": moved, "end": energy, "evaluated beyond local": n_evaluated - len(atoms)}
    return {**start, **end}


for _name in ("feedforward", "residual", "solver", "grid", "ponita", "mace"):
    CASES[f"nve {_name}"] = lambda name=_name: trajectory(crystal(), calculator(name), 10)


def deaf(name):
    """The control: rows of other ranks arrive as zeros."""
    with _certificate.silent_ranks():
        return trajectory(crystal(), calculator(name), 5)


CASES["deaf"] = lambda: deaf("feedforward")
CASES["deaf mace"] = lambda: deaf("mace")


@case
def silicon(repeat=(2, 1, 1), steps=5):
    atoms = bulk("Si", cubic=True, a=5.46) * repeat
    atoms.rattle(0.03, seed=2)
    calc = MLIPCalculator("silicon", dtype="float64", device="cpu")
    return trajectory(atoms, calc, steps)


SLOW = {"silicon 216": lambda: silicon((3, 3, 3), 200)}  # run where they are named


@case
def float32():
    lmp, _ = started(crystal(), calculator("feedforward", "float32"))
    return compared(lmp, crystal(), calculator("feedforward", "float32"))


@case
def real():
    atoms = crystal()
    lmp, _ = started(atoms, calculator("feedforward"), units="real")
    lmp.commands_string("fix move all nve\ntimestep 1.0\nrun 5 post no")
    unit = ase.units.kcal / ase.units.mol
    atmosphere = unit / 68568.415  # LAMMPS's atmosphere in eV/A^3
    return compared(
        lmp, atoms, calculator("feedforward"), energy_unit=unit, pressure_unit=atmosphere
    )


@case
def hot():
    """Atoms migrate between ranks, whose borders `balance` moves as well."""
    atoms = crystal(temperature=6000, repeat=(3, 2, 1))
    calc = calculator("residual")
    lmp, attached = started(atoms, calc, commands="comm_style brick")
    lmp.commands_string("fix move all nve\ntimestep 0.002\nrun 0 post no")
    before = set(lmp.numpy.extract_atom("id", nelem=lmp.extract_setting("nlocal")).tolist())
    lmp.commands_string("run 40 post no\nbalance 1.0 shift xyz 10 1.01\nrun 5 post no")
    after = set(lmp.numpy.extract_atom("id", nelem=lmp.extract_setting("nlocal")).tolist())
    results = compared(lmp, atoms, calc)
    results["migrated"] = len(after - before)
    results["searches"] = attached.atoms.edges.searches
    return results


@case
def slab():
    """All atoms on one rank, the other is empty; one atom is isolated."""
    atoms = Atoms(
        "Si2CSi",
        [[1, 1, 1], [1, 2.9, 1.2], [2.5, 1.5, 2], [1, 8, 8]],
        cell=[24, 12, 12],
        pbc=True,
    )
    calc = calculator("solver")
    lmp, attached = started(atoms, calc, commands="processors 2 1 1")
    lmp.commands_string("fix move all nve\ntimestep 0.001\nrun 5 post no")
    results = compared(lmp, atoms, calc)
    results["least"] = -attached.ranks.largest(-attached.atoms.n_evaluated)
    return results


@case
def rotated():
    """ECSE on ranks: energies and forces of a rotated molecule."""
    atoms = Atoms("Si2CSi2", np.random.default_rng(4).normal(0, 1.4, (5, 3)) + 10)
    atoms.set_cell([20, 20, 20])
    calc = calculator("local", symmetrise="ecse")
    energies = []
    for angle in (0, 37):
        turned = atoms.copy()
        turned.rotate(angle, (1, 2, 3), center=(10, 10, 10))
        lmp, _ = started(turned, calc)
        lmp.command("run 0 post no")
        energies.append(lmp.get_thermo("pe"))
        lmp.close()
    plain = [calculator("local").get_potential_energy(a) for a in (atoms, turned)]
    return {"difference": abs(np.subtract(*energies)), "plain": abs(np.subtract(*plain))}


@case
def npt():
    atoms = crystal()
    calc = calculator("residual")
    lmp, _ = started(atoms, calc)
    lmp.commands_string(
        "fix move all npt temp 300 300 0.05 tri 0 0 0.5\ntimestep 0.001\nrun 20 post no\nunfix move"
    )
    results = compared(lmp, atoms, calc)
    results["change of cell"] = np.abs(state(lmp, atoms).cell.array - atoms.cell.array).max()
    return results


@case
def minimise():
    atoms = crystal(temperature=0)
    calc = calculator("residual")
    before = calc.get_potential_energy(atoms)
    lmp, _ = started(atoms, calc)
    lmp.command("minimize 0 1e-3 60 300")
    results = compared(lmp, atoms, calc)
    results["gain"] = before - lmp.get_thermo("pe")
    return results


@case
def restart():
    """20 steps, and 10 steps, a restart file and 10 steps."""
    atoms = crystal()
    calc = calculator("feedforward")
    path = sys.argv[1] + ".restart"
    ends = []
    for halves in (1, 2):
        lmp, _ = started(atoms, calc)
        lmp.commands_string("fix move all nve\ntimestep 0.001")
        lmp.command(f"run {20 // halves} post no")
        if halves == 2:
            lmp.command(f"write_restart {path}")
            lmp.close()
            lmp = engine.instance(COMM, ["-log", "none"], quiet=True)
            lmp.commands_string(f"atom_modify map array\nread_restart {path}")
            engine.attach(lmp, calc, COMM, species=["C", "Si"])
            lmp.commands_string("fix move all nve\ntimestep 0.001\nrun 10 post no")
        ends.append(gathered(lmp, "x"))
        lmp.close()
    fractions = (ends[1] - ends[0]) @ np.linalg.inv(atoms.cell.array)
    return {"positions": np.abs((fractions - np.rint(fractions)) @ atoms.cell.array).max()}


def failing(break_it, steps=20):
    """What a failure leads to: the error of each rank, and the step at which LAMMPS stopped."""
    calc = calculator("feedforward")
    lmp, attached = started(crystal(), calc)
    lmp.commands_string("fix move all nve\ntimestep 0.001\nrun 3 post no")
    break_it(attached)
    error = None
    try:
        lmp.command(f"run {steps} post no")
    except Exception as caught:
        error = caught
    step = lmp.extract_global("ntimestep")
    forces = lmp.numpy.extract_atom("f", nelem=lmp.extract_setting("nlocal"), dim=3)
    texts = COMM.allgather(f"{type(error).__name__}: {error}")
    is_nan = COMM.allgather(bool(np.isnan(forces).all()))
    try:
        lmp.command("run 5 post no")
        texts.append("went on")
    except engine.RunFailed:
        pass
    return {"texts": texts, "step": int(step), "nan": all(is_nan)}


def on_last_rank(function):
    """Break the model of the last rank at its second call."""

    def break_it(attached):
        if COMM.rank + 1 < COMM.size:
            return
        model = attached.atoms.model
        exchange = model.exchange
        calls = []

        def exchanged(*arguments):
            calls.append(1)
            value = exchange(*arguments)
            return function(value) if len(calls) > 3 else value

        model.exchange = exchanged

    return break_it


def _memory(value):
    raise MemoryError("out of memory on the test device")


CASES["out of memory"] = lambda: failing(on_last_rank(_memory))
CASES["nan"] = lambda: failing(on_last_rank(lambda value: value * float("nan")))


@case
def moved_too_far():
    """LAMMPS told not to search neighbours in time."""

    def slow(attached):
        attached.lmp.commands_string("neigh_modify every 1000 check no\nvelocity all scale 9000")

    return failing(slow, 100)


@case
def too_close():
    def close(attached):
        attached.lmp.command("set atom 2 x 0.01 y 0.01 z 0.01")
        attached.lmp.command("set atom 1 x 0.01 y 0.03 z 0.01")

    return failing(close)


@case
def uncertain():
    """The policy sees the atoms of all ranks, as it sees those of ASE."""
    torch.manual_seed(0)
    model = pet.Model(pet.Settings(**PET, uncertainties={"energy": 0})).double()
    last_layer = model.uncertainties["energy"]
    last_layer.factor.copy_(torch.eye(len(last_layer.factor)))
    calc = MLIPCalculator(
        model, device="cpu", dtype="float64", uncertainty="stop", uncertainty_threshold=1e-9
    )
    expected = ""
    try:
        calc.get_potential_energy(crystal())
    except TooUncertain as error:
        expected = str(error)
    lmp, _ = started(crystal(), calc)
    try:
        lmp.command("run 5")
    except engine.RunFailed as error:
        return {"text": str(error), "expected": expected}


@case
def certificate():
    """What `ase-pet check --engine lammps` does, with a small model and fewer steps."""
    _certificate.STEPS = 5
    _certificate.DRIFT_STEPS = 20
    atoms = _certificate.started_atoms(crystal(), 0)
    return {"rows": _certificate.Certificate(COMM, calculator("feedforward")).rows(atoms)}


@case
def refusals():
    """Sentences of what is refused."""
    texts = {}

    def refused(name, make):
        try:
            make()
            texts[name] = "accepted"
        except ValueError as error:
            texts[name] = str(error)

    atoms = crystal()
    calc = calculator("feedforward")
    refused("clusters", lambda: started(atoms, calculator("feedforward", symmetrise="ecse:force")))
    refused("units", lambda: started(atoms, calc, units="lj"))
    lmp, _ = started(atoms, calc, potential=False)
    refused("types", lambda: engine.attach(lmp, calc, COMM, species=["Si"]))
    refused("element", lambda: engine.attach(lmp, calc, COMM, species=["Si", "O"]))
    refused("calculator", lambda: engine.attach(lmp, object(), COMM, species=["C", "Si"]))
    refused("skin", lambda: engine.attach(lmp, calc, COMM, species=["C", "Si"], skin=0))
    empty = engine.instance(COMM, ["-log", "none"], quiet=True)
    empty.command("units metal")
    refused("box", lambda: engine.attach(empty, calc, COMM, species=["C", "Si"]))
    return texts


def main():
    """Run all cases, or those named after the file."""
    torch.set_num_threads(1)
    warnings.simplefilter("error")
    results = {}
    for name in sys.argv[2:] or CASES:
        try:
            results[name] = {**CASES, **SLOW}[name]()
        except Exception:
            print(f"rank {COMM.rank}, case {name}", file=sys.stderr)
            traceback.print_exc()
            COMM.Abort(1)
            os._exit(1)  # it returns before the process is ended
    if COMM.rank == 0:
        with open(sys.argv[1], "w", encoding="utf-8") as file:
            json.dump(results, file, default=float)


if __name__ == "__main__":
    main()
