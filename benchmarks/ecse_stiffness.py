"""Stiffness of ECSE: largest force derivative along paths on which ECSE weights change.

    python benchmarks/ecse_stiffness.py [CALC] [--widths 0.5 0.75 1.0] [--points 100] > \
        benchmarks/results/ecse_stiffness.txt

CALC: a calculator of this package with a local model; for a model of C and O alone, such as that of
benchmarks/data/carbon_dioxide_gfn2.toml, the paths bend CO2. max |dF/dx| in eV/A^2 with and without
ECSE (`ecse:so3`, float64), in the forms published, gentle, pruned, compact and compact:scaled.
"""

import argparse
import platform
from dataclasses import replace

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.data import chemical_symbols, covalent_radii

from ase_pet import PETCalculator
from ase_pet.symmetrisers import ecse

FORMS = {
    "published": ecse.Settings(parity=False),
    "gentle": ecse.Settings(parity=False, **ecse.GENTLE),
    "pruned": ecse.Settings(parity=False, **ecse.PRESETS["pruned"]),
    "compact": ecse.Settings(parity=False, **ecse.COMPACT),
    "scaled": ecse.Settings(parity=False, **{**ecse.COMPACT, **ecse.PRESETS["scaled"]}),
}


def stiffness(forces, at, points=100, rounds=8):
    """max |dF/dx| in eV/A^2 on a path, t in [0, 1] -> Atoms, and its t.

    The path is sampled at points, then on quarters of the steepest pieces: those with the largest
    change of a force, which would contain a jump, and those with the largest slope.
    forces: [Atoms] -> list of (n, 3) in eV/A.
    """

    def seen(places):
        frames = [at(t) for t in places]
        return np.array([np.ravel(array) for array in forces(frames)]), np.array(
            [one.positions for one in frames]
        )

    def steepness():
        change = np.abs(np.diff(values, axis=0)).max(1)
        return change, change / np.linalg.norm(np.diff(positions, axis=0), axis=(1, 2))

    places = np.linspace(0, 1, points)
    values, positions = seen(places)
    for _ in range(rounds):
        pieces = np.unique(np.concatenate([np.argsort(key)[-5:] for key in steepness()]))
        more = np.concatenate([np.linspace(*places[[k, k + 1]], 5)[1:-1] for k in pieces])
        places, order = np.unique(np.concatenate([places, more]), return_index=True)
        values, positions = (
            np.concatenate(pair)[order]
            for pair in zip((values, positions), seen(more), strict=True)
        )
    slope = steepness()[1]
    return slope.max(), places[slope.argmax()]


def moving(atoms, index, start, stop):
    """t in [0, 1] -> structure with one atom on the line from start to stop in A."""

    def at(t):
        moved = atoms.copy()
        moved.positions[index] = (1 - t) * np.array(start) + t * np.array(stop)
        return moved

    return at


def arc(atoms, index, radius, first, last):
    """t in [0, 1] -> structure with one atom on an arc about the origin; angles in degrees."""

    def at(t):
        moved, angle = atoms.copy(), np.deg2rad((1 - t) * first + t * last)
        moved.positions[index] = radius * np.array([np.cos(angle), np.sin(angle), 0])
        return moved

    return at


def ways(species, cutoff):
    """{name: path} of structures of these elements.

    Bonds have the length of the largest element, except in ethanol.
    """
    symbol, bond = chemical_symbols[max(species)], 2 * covalent_radii[max(species)]
    corners = bond * np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / 3**0.5
    five = Atoms(5 * [symbol], np.concatenate([np.zeros((1, 3)), corners]))
    two = np.array([[0, 0, 0], [bond, 0, 0]])
    three = Atoms(3 * [symbol], [*two, [0, 0, 0]])
    four = Atoms(4 * [symbol], [*two, [0, 0, 0], [0.3 * bond, -0.5 * bond, 1.2 * bond]])
    far = (cutoff + 0.3) / bond
    paths = {
        "an atom leaves": moving(five, 4, 0.95 * corners[3], far * corners[3]),
        "a third atom joins": moving(three, 2, [0.2, cutoff + 0.3, 0], [0.1, bond, 0]),
        "a line bends": arc(three, 2, bond, 180, 70),
        "a line bends, an atom watches": arc(four, 2, bond, 180, 70),
    }
    if 14 in species:
        crystal = bulk("Si") * (1, 1, 2)
        crystal.rattle(0.05, seed=1)
        shift = np.array([0.4, 0.15, -0.1])
        paths["an atom of the crystal"] = moving(
            crystal, 3, crystal.positions[3] - shift, crystal.positions[3] + shift
        )
    if {6, 8} == set(species):
        dioxide = Atoms("COO", [[0, 0, 0], [1.16, 0, 0], [0, 0, 0]])
        return {
            "CO2 bends": arc(dioxide, 2, 1.16, 180, 115),
            "CO2 bends a little": arc(dioxide, 2, 1.16, 180, 170),
            "CO2 bends, one bond long": arc(dioxide, 2, 1.3, 180, 115),
        }
    if {1, 6, 8} <= set(species):
        ethanol = molecule("CH3CH2OH")
        place, shift = ethanol.positions[3], np.array([0.12, -0.1, 0.25])
        paths["hydrogen of ethanol"] = moving(ethanol, 3, place - shift, place + shift)
    return paths


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("calculator", nargs="?", default="silicon")
    parser.add_argument("--widths", nargs="+", type=float, default=[0.5, 0.75, 1.0])
    parser.add_argument("--points", type=int, default=100)
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=list(FORMS))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    bare = PETCalculator(arguments.calculator, device="cpu", dtype="float64", symmetrise="none")
    models = {
        "without": bare,
        **{
            f"{name} {width:g}": PETCalculator(
                ecse.wrap(bare.model, replace(settings, width=width)), device="cpu", dtype="float64"
            )
            for name, settings in FORMS.items()
            if name in arguments.forms
            for width in arguments.widths
        },
    }
    print(
        f"python benchmarks/ecse_stiffness.py {arguments.calculator} --points"
        f" {arguments.points}\n{platform.platform()}, torch {torch.__version__}\n\nmax |dF/dx| in"
        " eV/A^2, and its ratio to that without ECSE, by form and width\n"
    )
    print(f"{'':30s} " + " ".join(f"{name:>18s}" for name in models))
    for name, at in ways(bare.model.species, bare.cutoff).items():
        values = [
            stiffness(
                lambda frames, calculator=calculator: [
                    row["forces"] for row in calculator.evaluate(frames, ("forces",))
                ],
                at,
                arguments.points,
            )[0]
            for calculator in models.values()
        ]
        print(
            f"{name:30s} "
            + " ".join(f"{value:10.3g} {value / values[0]:7.2f}" for value in values),
            flush=True,
        )


if __name__ == "__main__":
    main()
