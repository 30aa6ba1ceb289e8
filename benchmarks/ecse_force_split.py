#!/usr/bin/env python3
"""The force of a symmetrised model, split into the forces of frames and those of the weights.

    python benchmarks/ecse_force_split.py [CALC] [--symmetrise NAME] [--structures N] [--data FILE]

With normalised weights c_m of the frames m of an atom and their energies eps_m, the energy is
sum c_m eps_m, and

    -dE/dr = - sum c_m d(eps_m)/dr - sum eps_m d(c_m)/dr

The second sum vanishes if all frames of an atom have one energy. A training in single frames
does not see it. Data: structures with the splits test and val of FILE, by default
training.extxyz.xz of the calculator. Printed: the standard deviation of an atom's energy over its
frames, in meV, its rms over atoms and its largest value. And for force components, in meV/A: the
rms of the second sum; the errors (MAE, rms, and their 99th percentile) of the whole force and of
the first sum alone; the same errors of components by size of the second sum; and the correlation of
its size with that of the error.
"""

import argparse
from dataclasses import replace

import numpy as np
import torch
from ase.io import read

from ase_pet import PETCalculator, graph
from ase_pet.symmetrisers import FRAME_VARIANCE, SeedStream, ecse

ALL = 10_000  # draws: all frames of an atom


def forces(calculator, structures):
    """Force components (m,) in meV/A."""
    results = calculator.evaluate(structures, ("forces",))
    return 1e3 * np.concatenate([result["forces"].ravel() for result in results])


def of_fixed_weights(calculator, structures):
    """The same, without derivatives of the weights."""
    original = ecse.model.pair_frames

    def fixed(*arguments):
        frames = original(*arguments)
        return replace(frames, weights=frames.weights.detach(), total=frames.total.detach())

    ecse.model.pair_frames = fixed
    try:
        return forces(calculator, structures)
    finally:
        ecse.model.pair_frames = original


def deviations(calculator, structures):
    """Standard deviations (n_atoms,) in meV of the energies of atoms over their frames."""
    model = calculator.model
    seeds = SeedStream(torch.Generator())
    every = ecse.sampled.SampledModel(model.model, model.options, seeds, ALL)
    variances = []
    for atoms in structures:
        of_atoms = graph.build([graph.from_atoms(atoms)], every.cutoff, dtype=torch.float32)
        with torch.no_grad():
            variances.append(every.predict(of_atoms, (FRAME_VARIANCE,))[FRAME_VARIANCE])
    return 1e3 * torch.cat(variances).clamp_min(0).sqrt().numpy()


def summary(errors):
    """ "MAE, rms, 99th percentile" of errors in meV/A."""
    size = np.abs(errors)
    rms = np.sqrt(np.mean(errors**2))
    return f"{size.mean():8.2f} {rms:8.2f} {np.percentile(size, 99):8.1f}"


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("calculator", nargs="?", default="ethanol")
    parser.add_argument("--symmetrise", help="default: of the card")
    parser.add_argument("--structures", type=int, default=100)
    parser.add_argument("--data", help="default: training.extxyz.xz of the calculator")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    calculator = PETCalculator(
        arguments.calculator, symmetrise=arguments.symmetrise, dtype="float32", device="cpu"
    )
    data = read(arguments.data or f"calculators/{arguments.calculator}/training.extxyz.xz", ":")
    held_out = [atoms for atoms in data if atoms.info["split"] in ("test", "val")]
    structures = held_out[: arguments.structures]
    expected = 1e3 * np.concatenate([atoms.get_forces().ravel() for atoms in structures])
    whole = forces(calculator, structures)
    of_frames = of_fixed_weights(calculator, structures)
    of_weights = whole - of_frames
    name = arguments.symmetrise or calculator.card.symmetrise
    print(
        f"{arguments.calculator}, {name}, {len(structures)} structures, force components in meV/A"
    )
    of_atoms = deviations(calculator, structures)
    rms = np.sqrt(np.mean(of_atoms**2))
    print(f"deviation of energies over frames: rms {rms:.2f}, largest {of_atoms.max():.2f} meV")
    print(f"rms of the second sum: {np.sqrt(np.mean(of_weights**2)):.2f}")
    print(f"{'errors':34}{'MAE':>8} {'rms':>8} {'99 %':>8}")
    print(f"{'whole force':34}{summary(whole - expected)}")
    print(f"{'first sum':34}{summary(of_frames - expected)}")
    order = np.argsort(np.abs(of_weights))
    for label, part in zip(
        ("least third", "middle third", "largest third"), np.array_split(order, 3), strict=True
    ):
        print(f"{'whole force, second sum in its ' + label:48}{summary((whole - expected)[part])}")
    correlation = np.corrcoef(np.abs(of_weights), np.abs(whole - expected))[0, 1]
    print(f"correlation of |second sum| and |error|: {correlation:.2f}")


if __name__ == "__main__":
    main()
