#!/usr/bin/env python3
"""NVE with and without symmetrisation: energy drift, integrator order, angular momentum.

usage: ecse_nve.py CALC [--molecule CH3CH2OH | --silicon 2] [--symmetrise none ecse] [--time 2]
    [--timesteps 1 0.5] [--starts 1]

A molecule of ASE, or repeated cubic cells of silicon. Momenta are drawn from a seed (a molecule
keeps its rotation), followed by 0.2 ps of equilibration with the first symmetriser in float64 and
velocity Verlet from the same state for each symmetriser and time step. Drift and rms of the energy
are defined as in benchmarks/nve.py; |L(t) - L(0)| / |L(0)| is the largest relative change of the
angular momentum of a molecule. --starts: number of thermal states; the ratio of the rms uses mean
squares over them, as single trajectories of a hot molecule differ too much.
"""

import argparse
import time
from itertools import pairwise

import numpy as np
from ase import units
from ase.build import bulk, molecule
from ase.md.velocitydistribution import Stationary, thermalize_momenta
from ase.md.verlet import VelocityVerlet
from nve import fit

from ase_pet import PETCalculator

EQUILIBRATION, SAMPLE = 0.2, 5.0  # ps, fs


def start(model, arguments, seed):
    """Thermal structure that all runs of a seed share."""
    atoms = (
        bulk("Si", "diamond", 5.4695, cubic=True).repeat(arguments.silicon)
        if arguments.silicon
        else molecule(arguments.molecule)
    )
    atoms.calc = PETCalculator(model, dtype="float64", symmetrise=arguments.symmetrise[0])
    thermalize_momenta(
        atoms, temperature_K=2 * arguments.temperature, rng=np.random.default_rng(seed)
    )
    Stationary(atoms)
    VelocityVerlet(atoms, 1.0 * units.fs).run(round(EQUILIBRATION * 1000))
    return atoms


def run(atoms, timestep, picoseconds):
    """Energies (samples, 2) in ps and meV/atom, and largest relative change of angular momentum."""
    dynamics, rows, momenta = VelocityVerlet(atoms, timestep * units.fs), [], []

    def sample():
        rows.append(
            (dynamics.get_time() / units.fs / 1000, 1000 * atoms.get_total_energy() / len(atoms))
        )
        momenta.append(atoms.get_angular_momentum())

    dynamics.attach(sample, interval=max(1, round(SAMPLE / timestep)))
    dynamics.run(round(picoseconds * 1000 / timestep))
    change = np.linalg.norm(np.array(momenta) - momenta[0], axis=1).max() / np.linalg.norm(
        momenta[0]
    )
    return np.array(rows), float(change)


def report(initial, calculator, kind, timestep, picoseconds):
    """Print the results of one run; returns the rms of its energy in meV/atom."""
    atoms = initial.copy()
    atoms.calc = calculator
    began = time.perf_counter()
    rows, change = run(atoms, timestep, picoseconds)
    fitted = fit(rows)
    momentum = "" if atoms.pbc.any() else f", angular momentum changes by {change:.1e}"
    print(
        f"{len(atoms)} atoms, {kind}, {timestep:g} fs, {picoseconds:g} ps,"
        f" {atoms.get_temperature():.0f} K: drift {fitted['drift']:.1e} +-"
        f" {fitted['drift_error']:.1e} meV/atom/ps, rms {fitted['rms']:.2e} meV/atom{momentum}"
        f" ({time.perf_counter() - began:.0f} s)",
        flush=True,
    )
    return fitted["rms"]


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("calc")
    parser.add_argument("--molecule", default="CH3CH2OH")
    parser.add_argument("--silicon", type=int, help="cubic cells in each direction")
    parser.add_argument("--symmetrise", nargs="+", default=["none", "ecse"])
    parser.add_argument("--time", type=float, default=2.0)
    parser.add_argument("--timesteps", type=float, nargs="+", default=[1.0, 0.5])
    parser.add_argument("--temperature", type=float, default=300.0)
    parser.add_argument("--starts", type=int, default=1)
    arguments = parser.parse_args()
    initial = [start(arguments.calc, arguments, seed) for seed in range(1, arguments.starts + 1)]
    for kind in arguments.symmetrise:
        calculator, rms = PETCalculator(arguments.calc, dtype="float64", symmetrise=kind), []
        for timestep in arguments.timesteps:
            rms_of_starts = [
                report(one, calculator, kind, timestep, arguments.time) for one in initial
            ]
            rms.append(np.sqrt(np.mean(np.square(rms_of_starts))))
        for (long, large), (short, small) in pairwise(zip(arguments.timesteps, rms, strict=True)):
            print(
                f"{kind}: rms at {long:g} fs / rms at {short:g} fs = {large / small:.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
