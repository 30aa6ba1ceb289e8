#!/usr/bin/env python3
"""Exact symmetry as a slow force: CPU time of a time step, conserved energy, temperature.

usage: respa.py [--part cost silicon nvt ethanol pet] [--time 2] [--exact-time 0.2]
    [--inner-steps M ...] [--cells 2] [--symmetrise ecse] [--group O]
    [--thermostat langevin bussi] [--output runs/respa]

silicon: 64 atoms (--cells 1: 8) at 300 K, 1 fs, NVE from one thermal state: the plain calculator,
ECSE at every step (for --exact-time ps, as it is slow), ECSE with inner steps of the plain one.
cost: a few steps of the same without a run around them.
nvt: the same with inner steps and two thermostats: mean temperature, and the distribution of all
momenta (Kolmogorov-Smirnov test of frames 0.2 ps apart against the normal distribution).
ethanol: 0.5 fs, `ethanol` (exact) outside and `ethanol-ponita` inside.
pet: a message-passing PET of published size with random weights, an average over the group outside
(O: 48 rotations and reflections, O:proper: 24 rotations), plain inside.

Each run has a folder in --output. The same command goes on after an interrupt, and prints runs that
are complete. CPU time of a time step: median over the steps, without what is measured before the
first one; for inner steps, of one of them. rms and drift of the conserved energy about a straight
line, in meV/atom and meV/atom/ps; also of windows as long as the run with exact forces at every
step.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from ase import units
from ase.build import bulk, molecule
from ase.io import read, write
from ase.md.verlet import VelocityVerlet
from scipy.stats import kstest

from ase_pet import PETCalculator, md
from ase_pet.models import pet

LATTICE = 5.4695  # A
FRAMES = 0.2  # ps between frames of the test of momenta


def measured(atoms, folder, picoseconds, several=1, **values):
    """Table of a run, its frames, CPU-s for each time step, and what was measured before it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    clocks = folder.parent / f"{folder.name}_cpu.txt"
    before = []

    def on_step(step, kelvin):
        now = time.process_time()
        # steps of the run, or outer steps, since the last call in this process
        if before and step > before[0]:
            with clocks.open("a") as file:
                file.write(f"{(now - before[1]) / (step - before[0])}\n")
        before[:] = [step, now]

    if several > 1:
        values["multiple"] = several
    result = md.run(
        atoms, folder, restart=True, on_step=on_step, time=picoseconds, momenta="keep", **values
    )
    seconds = float(np.median(np.loadtxt(clocks))) / several
    return result.thermo(), result.frames(), seconds, result.inner_steps()


def fluctuation(table, count, window=None):
    """Drift and rms; rms is the root mean square over windows in ps, None for one of all."""
    times = table["time_ps"]
    energy = 1000 * table["conserved_eV"] / count
    whole = md.linear_drift(times, energy)
    if window is None or window >= times[-1]:
        return whole.slope, whole.error, whole.rms
    parts = []
    for begin in np.arange(0, times[-1] - 0.99 * window, window):
        inside = (times >= begin) & (times <= begin + window)
        parts.append(md.linear_drift(times[inside], energy[inside]).rms)
    return whole.slope, whole.error, float(np.sqrt(np.mean(np.square(parts))))


def report(name, run, count, window=None, plain=None):
    """Print one row; returns CPU-s of a time step and the rms."""
    table, _, seconds, inner = run
    drift, error, rms = fluctuation(table, count)
    windows = fluctuation(table, count, window)[2]
    ratio = "" if plain is None else f", {seconds / plain:.2f} of plain"
    print(
        f"{name:34} {table['time_ps'][-1]:5.2f} ps {1000 * seconds:8.1f} CPU-ms/step{ratio}"
        f"  drift {drift:8.4f} +- {error:.4f}"
        f"  rms {rms:.5f}, in windows {windows:.5f}  {table['temperature_K'].mean():.0f} K",
        flush=True,
    )
    if inner:
        print(
            f"{'':34} before the run: rms {inner['rms_meV_per_atom']:.5f}, inner alone"
            f" {inner['rms_inner_meV_per_atom']:.5f}, fastest vibration"
            f" {inner['fastest_vibration_THz']:.1f} THz, notes {inner['notes']}",
            flush=True,
        )
    return seconds, windows


def thermal(atoms, inner, kelvin, timestep, file, picoseconds=0.25):
    """The atoms after Langevin dynamics with a cheap calculator; kept in a file."""
    if file.exists():
        return read(file)
    atoms.calc = inner
    with tempfile.TemporaryDirectory() as folder:
        md.run(
            atoms,
            folder,
            ensemble="nvt",
            temperature=kelvin,
            start_temperature=2 * kelvin,
            thermostat_time=50,
            time=picoseconds,
            timestep=timestep,
        )
    md.momenta.remove_conserved(atoms)
    file.parent.mkdir(parents=True, exist_ok=True)
    atoms.calc = None
    write(file, atoms)
    return atoms


def fresh(start, calculator):
    """Copy of a thermal state with another calculator."""
    atoms = start.copy()
    atoms.calc = calculator
    return atoms


def compare(start, exact, inner, plain, args, several, timestep, folder):
    """Rows of plain, exact and mixed dynamics from one state in NVE."""
    count = len(start)
    short = args.exact_time
    settings = {"timestep": timestep, "thermo_interval": 2}
    run = measured(fresh(start, plain), folder / "plain", 2 * short, **settings)
    cost, _ = report("plain", run, count, short)
    run = measured(fresh(start, exact), folder / "exact", short, **settings)
    _, all_exact = report("exact at every step", run, count, short, cost)
    settings["thermo_interval"] = 1
    for number in several:
        run = measured(
            fresh(start, exact),
            folder / f"every_{number}",
            args.time,
            number,
            inner=inner,
            **settings,
        )
        _, mixed = report(f"exact every {number} steps", run, count, short, cost)
        ratio = mixed / all_exact
        print(f"{'':34} rms / rms with exact forces at every step: {ratio:.3f}", flush=True)


def silicon_state(args):
    """Thermal crystal of 8 atoms in each of the cubed number of cells, at 300 K."""
    atoms = bulk("Si", "diamond", LATTICE, cubic=True).repeat(args.cells)
    file = args.output / f"silicon_{args.cells}.traj"
    return thermal(atoms, PETCalculator("silicon"), 300, 1.0, file)


def silicon(args):
    """NVE of a crystal."""
    exact = PETCalculator("silicon", symmetrise=args.symmetrise)
    plain = PETCalculator("silicon")
    several = args.inner_steps or [4, 8]
    folder = args.output / f"nve_{args.cells}"
    compare(silicon_state(args), exact, "plain", plain, args, several, 1.0, folder)


def nvt(args):
    """Temperature and distribution of momenta with thermostats."""
    start = silicon_state(args)
    several = (args.inner_steps or [8])[-1]
    for thermostat in args.thermostat:
        run = measured(
            fresh(start, PETCalculator("silicon", symmetrise=args.symmetrise)),
            args.output / f"nvt_{args.cells}_{thermostat}_{several}",
            args.time,
            several,
            inner="plain",
            ensemble="nvt",
            thermostat=thermostat,
            thermo_interval=1,
            interval=round(1000 * FRAMES / several),
        )
        report(f"nvt, {thermostat}, every {several} steps", run, len(start), args.exact_time)
        scaled = [
            frame.get_momenta() / np.sqrt(frame.get_masses()[:, None] * units.kB * 300)
            for frame in run[1][1:]
        ]
        values = np.ravel(scaled)
        test = kstest(values, "norm")
        mean = run[0]["temperature_K"].mean()
        error = md.summary(run[0], len(start))["error_temperature_K"]
        print(
            f"{'':34} temperature {mean:.1f} +- {error:.1f} K of 300, variance of {len(values)}"
            f" momenta {values.var():.3f} of 1, Kolmogorov-Smirnov p = {test.pvalue:.3f}",
            flush=True,
        )


def ethanol(args):
    """Ethanol, exact PET outside and PONITA inside."""
    exact = PETCalculator("ethanol")
    inner = PETCalculator("ethanol-ponita")
    file = args.output / "ethanol.traj"
    start = thermal(molecule("CH3CH2OH"), PETCalculator("ethanol-ponita"), 300, 0.5, file)
    network = PETCalculator(exact.model.model, dtype="float32")
    seconds = timed(fresh(start, network))
    print(f"one evaluation of the PET without frames: {1000 * seconds:.1f} CPU-ms", flush=True)
    several = args.inner_steps or [4]
    ponita = PETCalculator("ethanol-ponita")
    compare(start, exact, ponita, inner, args, several, 0.5, args.output / "ethanol")


def timed(atoms, repeats=30):
    """CPU-s of an evaluation of energy and forces."""
    rng = np.random.default_rng(0)
    seconds = []
    for _ in range(repeats):
        atoms.rattle(1e-3, rng=rng)
        began = time.process_time()
        atoms.get_forces()
        seconds.append(time.process_time() - began)
    return float(np.median(seconds))


def message_passing(args):
    """A published size with random weights: the cost only, as its energy is that of no material."""
    torch.manual_seed(0)
    network = pet.Model(pet.Settings(species=(14,)))
    start = bulk("Si", "diamond", LATTICE, cubic=True)
    start.rattle(0.05, seed=1)
    force = np.abs(fresh(start, PETCalculator(network)).get_forces()).max()
    network.scales = {"energy": 0.2 / force}  # eV, so that the largest force is about 0.2 eV/A
    md.thermalise(start, 300, np.random.default_rng(0))
    several = (args.inner_steps or [16])[-1]
    run = measured(fresh(start, PETCalculator(network)), args.output / "pet", 0.1)
    cost, _ = report("published size, plain", run, len(start))
    group = f"group:{args.group}"
    exact = PETCalculator(network, symmetrise=group)
    folder = args.output / f"pet_{several}_{args.group.replace(':', '_')}"
    time_ps = 0.008 * several
    run = measured(fresh(start, exact), folder, time_ps, several, inner="plain", thermo_interval=1)
    report(f"{group} every {several} steps", run, len(start), None, cost)


def cost(args):
    """CPU time of a time step of silicon, of a few steps without a run around them."""
    start = bulk("Si", "diamond", LATTICE, cubic=True).repeat(args.cells)
    start.rattle(0.08, seed=1)
    md.thermalise(start, 300, np.random.default_rng(0))
    several = (args.inner_steps or [16])[-1]
    plain = VelocityVerlet(fresh(start, PETCalculator("silicon")), units.fs)
    exact = fresh(start, PETCalculator("silicon", symmetrise=args.symmetrise))
    mixed = md.MultipleTimeStep(exact, units.fs, PETCalculator("silicon"), several)
    seconds = []
    for dynamics, steps in ((plain, 24), (mixed, 3)):
        dynamics.run(1)
        began = time.process_time()
        dynamics.run(steps)
        seconds.append((time.process_time() - began) / steps)
    seconds[1] /= several
    print(
        f"{len(start)} atoms: plain {1000 * seconds[0]:.1f} CPU-ms/step, {args.symmetrise} every"
        f" {several} steps {1000 * seconds[1]:.1f}, {seconds[1] / seconds[0]:.2f} of plain",
        flush=True,
    )


PARTS = {"cost": cost, "silicon": silicon, "nvt": nvt, "ethanol": ethanol, "pet": message_passing}


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--time", type=float, default=2.0, help="ps with inner steps")
    parser.add_argument("--exact-time", type=float, default=0.2, help="ps, exact at every step")
    parser.add_argument("--inner-steps", type=int, nargs="+")
    parser.add_argument("--thermostat", nargs="+", default=["langevin", "bussi"], help="of nvt")
    parser.add_argument(
        "--symmetrise", default="ecse", help="of silicon; another --output for each"
    )
    parser.add_argument("--group", default="O", help="of the message-passing PET")
    parser.add_argument("--output", type=Path, default=Path("runs/respa"))
    parser.add_argument("--cells", type=int, default=2, help="of silicon, in each direction")
    args = parser.parse_args()
    torch.set_num_threads(1)
    for part in args.part:
        print(part, flush=True)
        PARTS[part](args)


if __name__ == "__main__":
    main()
