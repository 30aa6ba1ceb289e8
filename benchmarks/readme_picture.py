#!/usr/bin/env python3
"""The picture of the README: three panels, all with the shipped silicon calculator in float64.

usage: readme_picture.py [--output docs/images/silicon.png] [--time 0.3]

Left: total energy of 64 atoms in NVE (velocity Verlet, from one state of 300 K) with two time
steps. Middle: largest change of a force component when a displaced crystal is rotated, without
and with ECSE. Right: phonon bands by finite displacements in a 4x4x4 supercell, beside PBE at
Gamma, X and L. Prints the numbers that the panels show, and writes them to a file named as the
picture, with the ending .json, in benchmarks/results.
"""

from __future__ import annotations

import argparse
import json
import platform
from pathlib import Path

import matplotlib
import numpy as np
import torch
from ase import Atoms, units
from ase.build import bulk
from ase.md.velocitydistribution import Stationary, thermalize_momenta
from ase.md.verlet import VelocityVerlet
from scipy.spatial.transform import Rotation
from silicon_physics import BRANCHES, REFERENCES

from ase_pet import PETCalculator, phonons

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402  (after the choice of backend)
from matplotlib.axes import Axes  # noqa: E402

RESULTS = Path(__file__).parent / "results"
AXIS = np.array([1.0, 2.0, 3.0]) / np.sqrt(14)  # of the rotations
THERMALISATION = 100  # steps of 1 fs before the energy is recorded
CORNERS = {"L": (0.5, 0.5, 0.5), "Gamma": (0.0, 0.0, 0.0), "X": (0.5, 0.0, 0.5)}
PATH_POINTS = 51  # on each of the two segments L-Gamma and Gamma-X
PLAIN = "#c44e52"
SYMMETRISED = "#1f77b4"
REFERENCE = "black"


def thermal_crystal(calculator: PETCalculator) -> Atoms:
    """64 atoms of silicon with positions and momenta of a run at 300 K.

    Parameters
    ----------
    calculator:
        Calculator of the run.
    """
    # equipartition: half of the kinetic energy becomes potential energy
    atoms = bulk("Si", a=5.466, cubic=True) * (2, 2, 2)
    atoms.calc = calculator
    thermalize_momenta(atoms, temperature_K=600, rng=np.random.default_rng(0))
    Stationary(atoms)
    VelocityVerlet(atoms, units.fs).run(THERMALISATION)
    return atoms


def energy_conservation(axes: Axes, picoseconds: float) -> dict[str, float]:
    """Rms of the total energy in meV/atom about a straight line for two time steps, their ratio.

    Parameters
    ----------
    axes:
        Panel to draw in.
    picoseconds:
        Length of each run.
    """
    start = thermal_crystal(PETCalculator("silicon", dtype="float64"))
    rms = {}
    for step, colour in ((1.0, PLAIN), (0.5, SYMMETRISED)):
        atoms = start.copy()
        atoms.calc = start.calc
        energies = []
        dynamics = VelocityVerlet(atoms, step * units.fs)
        for _ in dynamics.irun(round(1000 * picoseconds / step)):
            energies.append(1000 * atoms.get_total_energy() / len(atoms))
        # a straight line takes out the drift, which has its own benchmark (nve.py)
        times = step / 1000 * np.arange(len(energies))
        line = np.polynomial.Polynomial.fit(times, energies, 1)
        rms[step] = float(np.std(energies - line(times)))
        axes.plot(times, np.array(energies) - line(0), color=colour, label=f"{step:g} fs")
        print(f"NVE, {step:g} fs: rms {rms[step]:.5f} meV/atom about a straight line")
    axes.set(
        xlabel="time (ps)",
        ylabel="change of total energy (meV/atom)",
        title="64 Si atoms, NVE, 300 K",
    )
    axes.set_ylim(top=1.5 * axes.get_ylim()[1])
    axes.legend(title="time step", loc="upper right", ncols=2)
    ratio = rms[1.0] / rms[0.5]
    print(f"NVE: halving the step divides the rms by {ratio:.2f}")
    return {"rms_1fs_meV_per_atom": rms[1.0], "rms_0.5fs_meV_per_atom": rms[0.5], "ratio": ratio}


def rotation_error(axes: Axes) -> dict[str, float]:
    """Largest change of a force component in eV/A over all rotations, for each symmetriser.

    Parameters
    ----------
    axes:
        Panel to draw in.
    """
    crystal = bulk("Si", a=5.466, cubic=True)
    crystal.rattle(0.1, seed=1)
    angles = np.linspace(0, 180, 37)[1:]
    largest = {}
    for name, label, colour in (
        ("none", "plain PET", PLAIN),
        ("ecse", "with ECSE", SYMMETRISED),
    ):
        calculator = PETCalculator("silicon", dtype="float64", symmetrise=name)
        reference = calculator.get_forces(crystal)
        changes = []
        for angle in angles:
            matrix = Rotation.from_rotvec(np.radians(angle) * AXIS).as_matrix()
            rotated = crystal.copy()
            rotated.set_cell(crystal.cell @ matrix.T, scale_atoms=True)
            # forces rotate with the crystal: undo that before they are compared
            changes.append(np.abs(calculator.get_forces(rotated) @ matrix - reference).max())
        largest[name] = float(max(changes))
        axes.semilogy(angles, changes, color=colour, label=label)
        print(f"rotation, {name}: forces change by up to {largest[name]:.1e} eV/A")
    axes.set(
        xlabel="angle of rotation (degrees)",
        ylabel="largest force error (eV/$\\mathrm{\\AA}$)",
        title="8 Si atoms, rotated and rotated back",
        ylim=(1e-17, 1e1),
    )
    axes.legend(loc="upper right", ncols=2)
    return {f"forces_{name}_eV_per_A": value for name, value in largest.items()}


def phonon_bands(axes: Axes) -> dict[str, float]:
    """Largest difference of the bands to PBE at Gamma, X and L in THz.

    Parameters
    ----------
    axes:
        Panel to draw in.
    """
    atoms = bulk("Si", a=5.466)
    atoms.calc = PETCalculator("silicon", dtype="float64")
    bands = phonons.run(atoms, supercell=(4, 4, 4), mesh=(4, 4, 4)).phonopy
    corners = np.array(list(CORNERS.values()))
    fractions = np.linspace(0, 1, PATH_POINTS)[:, None]
    path = np.concatenate(
        [
            corners[0] + fractions * (corners[1] - corners[0]),
            (corners[1] + fractions * (corners[2] - corners[1]))[1:],
        ]
    )
    frequencies = np.sort(bands.run_qpoints(path).frequencies, axis=1)  # (points, 6) THz
    axes.plot(np.arange(len(path)), frequencies, color=SYMMETRISED)
    places = {"L": 0, "Gamma": PATH_POINTS - 1, "X": 2 * PATH_POINTS - 2}
    branches = {**BRANCHES, "Gamma": {"optical": (3, 4, 5)}}  # modes from low to high
    differences = []
    for point, modes_of in branches.items():
        for branch, modes in modes_of.items():
            reference = REFERENCES[f"{point} {branch} (THz)"]
            axes.plot(places[point], reference, "o", color=REFERENCE, clip_on=False, zorder=3)
            model = frequencies[places[point], list(modes)].mean()
            differences.append(abs(model - reference))
    axes.plot([], [], "o", color=REFERENCE, label="PBE (DFT)")
    axes.plot([], [], color=SYMMETRISED, label="ase_pet")
    axes.set(
        ylabel="frequency (THz)",
        title="Phonons of Si",
        xlim=(0, len(path) - 1),
        ylim=(0, 18.5),
        xticks=list(places.values()),
        xticklabels=["L", "$\\Gamma$", "X"],
    )
    axes.axvline(places["Gamma"], color="0.7", linewidth=0.8)
    axes.legend(loc="upper right", ncols=2)
    largest = float(max(differences))
    print(f"phonons: within {largest:.2f} THz of PBE at Gamma, X and L")
    return {"largest_difference_THz": largest}


def main() -> None:
    """Draw the picture; print and write its numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("docs/images/silicon.png"))
    parser.add_argument("--time", type=float, default=0.3, help="of each NVE run, ps")
    arguments = parser.parse_args()
    pyplot.rcParams.update({"font.size": 9, "axes.titlesize": 10})
    figure, panels = pyplot.subplots(1, 3, figsize=(10, 3), layout="constrained")
    numbers = {
        "command": "python benchmarks/readme_picture.py",
        "versions": f"{platform.platform()}, torch {torch.__version__}",
        "nve": energy_conservation(panels[0], arguments.time),
        "rotation": rotation_error(panels[1]),
        "phonons": phonon_bands(panels[2]),
    }
    figure.savefig(arguments.output, dpi=120)
    text = json.dumps(numbers, indent=1) + "\n"
    (RESULTS / f"readme_{arguments.output.stem}.json").write_text(text)


if __name__ == "__main__":
    main()
