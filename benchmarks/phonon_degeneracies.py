#!/usr/bin/env python3
"""Splitting of degenerate phonon frequencies by broken symmetry, in randomly rotated cells.

usage: phonon_degeneracies.py [CALC] [--symmetrise none ecse] [--orientations 3]

Diamond silicon, 16 atoms, force constants from second derivatives of the energy (no displacements,
no projection onto any symmetry), float64; Gamma, X and L of that cell are exact. For each point the
largest difference between frequencies that are equal by symmetry: the three optical ones at Gamma,
three pairs at X, two pairs at L.
"""

import argparse
import time

import numpy as np
import torch
from ase.build import bulk
from phonopy import Phonopy
from phonopy.structure.atoms import PhonopyAtoms

from ase_pet import PETCalculator, evaluation, graph, rotations

POINTS = {
    "Gamma": ((0, 0, 0), [(3, 4, 5)]),
    "X": ((0.5, 0, 0.5), [(0, 1), (2, 3), (4, 5)]),
    "L": ((0.5, 0.5, 0.5), [(0, 1), (4, 5)]),
}


def crystal(matrix):
    """Primitive cell of diamond silicon after the rotation (3, 3)."""
    atoms = bulk("Si", a=5.47)
    atoms.set_cell(atoms.cell @ matrix.T, scale_atoms=True)
    return atoms


def frequencies(model, atoms):
    """{point: (6,) THz} from the Hessian of the 2x2x2 supercell."""
    phonons = Phonopy(
        PhonopyAtoms(
            atoms.symbols, cell=atoms.cell[:], scaled_positions=atoms.get_scaled_positions()
        ),
        supercell_matrix=[2, 2, 2],
        primitive_matrix="P",
        is_symmetry=False,
    )
    large = phonons.supercell
    structure = graph.from_atoms(
        type(atoms)(large.symbols, cell=large.cell, positions=large.positions, pbc=True)
    )
    hessian_matrix = evaluation.hessian(model, graph.build([structure], model.cutoff))
    phonons.force_constants = (
        hessian_matrix.view(len(large), 3, len(large), 3).transpose(1, 2).numpy()
    )
    at_points = phonons.run_qpoints([point for point, _ in POINTS.values()])
    return dict(zip(POINTS, at_points.frequencies, strict=True))


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("calculator", nargs="?", default="silicon")
    parser.add_argument("--symmetrise", nargs="+", default=["none", "ecse"])
    parser.add_argument("--orientations", type=int, default=3)
    arguments = parser.parse_args()
    matrices = rotations.random_orthogonal(
        arguments.orientations, torch.Generator().manual_seed(0)
    ).numpy()
    for name in arguments.symmetrise:
        model, start = (
            PETCalculator(arguments.calculator, dtype="float64", symmetrise=name).model,
            time.process_time(),
        )
        bands = [frequencies(model, crystal(matrix)) for matrix in matrices]
        for point, (_, groups) in POINTS.items():
            values = np.array([one[point] for one in bands])
            split = max(np.ptp(values[:, list(group)], axis=1).max() for group in groups)
            print(
                f"{name:12} {point:6} largest splitting {split:.1e} THz, change with the"
                f" orientation {np.ptp(values, axis=0).max():.1e} THz; {values[0].round(3)}"
            )
        print(
            f"{name:12} {time.process_time() - start:.0f} CPU-s for {len(matrices)} orientations",
            flush=True,
        )


if __name__ == "__main__":
    main()
