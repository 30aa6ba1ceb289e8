#!/usr/bin/env python3
"""Energy conservation of a calculator in NVE: drift and order in the time step.

usage: nve.py [CALC] [--repeat 3] [--time 5] [--timesteps 1 0.5] [--dtype float64] [--output FOLDER]

Silicon cubic cells repeated (216 atoms for 3), thermalised to 300 K without net momentum from a
seed, equilibrated for 0.5 ps, then velocity Verlet from the same state with each time step.
E_tot(t) / N = a + b t is fitted: drift b with its standard error in meV/atom/ps, rms about the line
in meV/atom. The rms of a smooth, conservative potential falls by 4 when the step is halved; the
drift of a rough one does not fall. One line of JSON per run is added to FOLDER/nve.jsonl, and the
energies of each run are kept; completed runs are skipped.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
from ase import units
from ase.build import bulk
from ase.md.velocitydistribution import Stationary, thermalize_momenta
from ase.md.verlet import VelocityVerlet
from matplotlib.figure import Figure

from ase_pet import PETCalculator

EQUILIBRATION = 0.5  # ps
SAMPLE = 5.0  # fs between recorded energies
BLOCKS = 10  # of the residuals, for the standard error


def start(model, repeat, temperature, seed):
    """Thermal cell after equilibration in float32, the start of all time steps and dtypes."""
    atoms = bulk("Si", "diamond", 5.4695, cubic=True).repeat(repeat)
    atoms.calc = PETCalculator(model, dtype="float32")
    thermalize_momenta(
        atoms,
        temperature_K=2 * temperature,
        exact_temperature=True,
        rng=np.random.default_rng(seed),
    )
    Stationary(atoms)
    VelocityVerlet(atoms, 1.0 * units.fs).run(int(EQUILIBRATION * 1000))
    return atoms


def run(atoms, timestep, picoseconds, minutes):
    """Total energies (samples, 2) in ps and meV/atom; stops early after `minutes`."""
    every, rows = max(1, round(SAMPLE / timestep)), []
    dynamics = VelocityVerlet(atoms, timestep * units.fs)
    dynamics.attach(
        lambda: rows.append(
            (dynamics.get_time() / units.fs / 1000, 1000 * atoms.get_total_energy() / len(atoms))
        ),
        interval=every,
    )
    end = time.time() + 60 * minutes
    for _ in dynamics.irun(round(picoseconds * 1000 / timestep)):
        if time.time() > end:
            break
    return np.array(rows)


def fit(rows):
    """Drift and its standard error (meV/atom/ps) and rms about the line (meV/atom).

    The error of the slope is estimated from blocks, as neighbouring residuals are correlated.
    """
    if len(rows) < 3:
        raise SystemExit(f"{len(rows)} samples are too few for a straight line: make --time longer")
    t, energy = rows.T
    slope, offset = np.polyfit(t, energy, 1)
    residual = energy - slope * t - offset
    size = len(t) // BLOCKS
    means = (
        residual[: size * BLOCKS].reshape(BLOCKS, size).mean(1) if size else np.full(BLOCKS, np.nan)
    )  # too short to tell
    error = means.std(ddof=1) / np.sqrt(BLOCKS) * np.sqrt(12) / np.ptp(t)
    return {
        "drift": float(slope),
        "drift_error": float(error),
        "rms": float(np.sqrt(np.mean(residual**2))),
    }


def plot(folder, names):
    """PNG of the total energies of all runs."""
    figure = Figure(figsize=(7, 3 * len(names)), layout="constrained")
    for axes, name in zip(figure.subplots(len(names), 1, squeeze=False)[:, 0], names, strict=True):
        t, energy = np.loadtxt(folder / f"{name}.txt").T
        axes.plot(t, energy - energy.mean(), linewidth=0.6)
        axes.set(xlabel="time (ps)", ylabel="E_tot - mean (meV/atom)", title=name)
    figure.savefig(folder / "nve.png", dpi=120)


def main():
    """Run the missing cases, print and plot."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("calc", nargs="?", default="silicon")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--time", type=float, default=5.0)
    parser.add_argument(
        "--minutes", type=float, default=float("inf"), help="longest time for one run"
    )
    parser.add_argument("--temperature", type=float, default=300.0)
    parser.add_argument("--timesteps", type=float, nargs="+", default=[1.0, 0.5])
    parser.add_argument("--dtype", default="float64")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", default="runs/nve")
    args = parser.parse_args()
    folder = Path(args.output)
    folder.mkdir(parents=True, exist_ok=True)
    calc = PETCalculator(args.calc, dtype=args.dtype)
    for timestep in args.timesteps:
        name = f"{args.dtype}_{timestep:g}fs"
        if (folder / f"{name}.txt").exists():
            continue
        atoms = start(args.calc, args.repeat, args.temperature, args.seed)
        atoms.calc = calc
        began = time.time()
        rows = run(atoms, timestep, args.time, args.minutes)
        np.savetxt(folder / f"{name}.txt", rows)
        record = {
            "run": name,
            "atoms": len(atoms),
            "temperature": round(atoms.get_temperature()),
            "ps": round(float(rows[-1, 0]), 3),
            **fit(rows),
            "seconds": round(time.time() - began),
        }
        print(json.dumps(record), flush=True)
        with open(folder / "nve.jsonl", "a") as file:
            file.write(json.dumps(record) + "\n")
    plot(folder, sorted(path.stem for path in folder.glob("*fs.txt")))
    rms = {
        record["run"]: record["rms"]
        for record in map(json.loads, (folder / "nve.jsonl").read_text().splitlines())
    }
    for dtype in ("float32", "float64"):
        if {f"{dtype}_1fs", f"{dtype}_0.5fs"} <= rms.keys():
            print(
                f"{dtype}: rms at 1 fs / rms at 0.5 fs ="
                f" {rms[f'{dtype}_1fs'] / rms[f'{dtype}_0.5fs']:.2f}"
            )


if __name__ == "__main__":
    main()
