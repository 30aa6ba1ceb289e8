"""PONITA: rotation error by grid of orientations, cost of a step, figure of docs/theory/ponita.md.

    python benchmarks/ponita.py [--output docs/theory] [--skip-times]

Weights are random (as at the start of training, two seeds), numbers are in float64 for ethanol.
`energy`: standard deviation of the energy over 20 random elements of O(3), over that over 20
conformers with 0.05 A of noise, so that 1 means that orientation matters as much as the positions
of atoms. `forces`: rms change of forces rotated back over rms force. Trained models are in
ponita_trained.py.
"""

import argparse
import platform
import time
from datetime import date
from pathlib import Path

import matplotlib
import numpy as np
import torch
from ase import Atoms
from ase.build import molecule

from ase_pet import graph, rotations
from ase_pet.evaluation import Evaluation
from ase_pet.models import ponita

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402  (after the choice of backend)

GRIDS = (
    "octahedral",
    "icosahedral",
    "dodecahedral",
    "compound",
    *(f"{kind}:{n}" for kind in ("fibonacci", "repulsion", "antipodal") for n in (12, 20, 32, 64)),
)
AUTHORS = {
    "softening": 0.0,
    "scaled": False,
    "cutoff_function": "none",
    "cutoff": 100.0,
    "width": 128,
    "num_basis": 256,
    "num_layers": 5,
}
FEW = (*GRIDS[:4], "fibonacci:12", "fibonacci:32")
KINDS = {
    "default": ({}, GRIDS),
    "invariants over the cutoff": ({"scaled": True}, FEW),
    "authors": (AUTHORS, FEW),
}
SPECIES = (1, 6, 8)


def model(seed, **settings):
    """A model with the weights of the start of training, float64."""
    torch.manual_seed(seed)
    return ponita.Model(ponita.Settings(species=SPECIES, **settings)).double().requires_grad_(False)


def batch(structures, cutoff, dtype=torch.float64):
    return graph.build([graph.from_atoms(atoms) for atoms in structures], cutoff, dtype=dtype)


def residual(network, matrices, ethanol, conformers):
    """Residuals (energy, forces), defined at the top of this file."""
    copies = []
    for matrix in matrices:
        copies.append(ethanol.copy())
        copies[-1].positions = ethanol.positions @ matrix.numpy().T
    rotated, moved, plain = (
        Evaluation(network, batch(structures, network.cutoff))
        for structures in (copies, conformers, [ethanol])
    )
    back = rotated.forces.view(len(matrices), -1, 3) @ matrices
    error = (back - plain.forces).square().mean().sqrt() / plain.forces.square().mean().sqrt()
    return float(rotated.energy.std() / moved.energy.std()), float(error)


def residuals():
    """{kind: {grid: [(energy, forces) of each seed]}}, printed."""
    ethanol, random = molecule("CH3CH2OH"), np.random.default_rng(0)
    conformers = [
        Atoms(ethanol.numbers, ethanol.positions + 0.05 * random.normal(size=(9, 3)))
        for _ in range(20)
    ]
    ethanol.positions += 0.05 * random.normal(size=(9, 3))
    matrices = rotations.random_orthogonal(20, torch.Generator().manual_seed(0))
    results = {}
    for kind, (settings, grids) in KINDS.items():
        networks = [model(seed, **settings) for seed in (0, 1)]
        print(
            f"\nweights of the start of training, {kind} settings\n{'grid':16} energy, two seeds  "
            " forces, two seeds"
        )
        for grid in grids:
            pairs = [
                residual(one.with_orientations(grid), matrices, ethanol, conformers)
                for one in networks
            ]
            results.setdefault(kind, {})[grid] = pairs
            print(
                f"{grid:16} {pairs[0][0]:8.3f} {pairs[1][0]:8.3f}   {pairs[0][1]:8.3f}"
                f" {pairs[1][1]:8.3f}",
                flush=True,
            )
    return results


def water(count=64):
    """Water molecules in random orientations on a cubic lattice at the density of the liquid."""
    side, random, atoms = round(count ** (1 / 3)), np.random.default_rng(0), Atoms(pbc=True)
    for place in np.ndindex(side, side, side):
        one = molecule("H2O")
        one.rotate(random.uniform(0, 360), random.normal(size=3))
        one.positions += 3.1 * np.array(place)
        atoms += one
    atoms.set_cell(3.1 * side * np.eye(3))
    return atoms


def times(repeats=2):
    """CPU time of energy and forces of 192 atoms of water in float32.

    With and without the use of opposite axes.
    """
    atoms = water()
    print(
        f"\n{len(atoms)} atoms of water, float32, one thread, least CPU time of {repeats} of energy"
        " and forces"
    )
    for label, settings in (
        ("default", {}),
        ("width 128", {"width": 128, "num_layers": 5, "cutoff": 4.5}),
    ):
        for halved in (True, False):
            network = model(0, **settings).float()
            network.fast = halved
            scene, spent = batch([atoms], network.cutoff), []
            for _ in range(repeats + 1):
                start = time.process_time()
                Evaluation(network, scene).forces  # noqa: B018  (a property that computes)
                spent.append(time.process_time() - start)
            print(
                f"{label:10} {len(scene.centre)} edges, kernels of"
                f" {'half of them' if halved else 'all of them'}: {min(spent[1:]):.2f} s",
                flush=True,
            )


def figure(results, path):
    """The invariants of an edge and an axis, and the residual by number of axes."""
    drawing, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.4))
    edge, axis, a = np.array([2.0, 1.3]), np.array([1.0, 0.0]), 2.0
    left.annotate("", edge, (0, 0), arrowprops={"arrowstyle": "-|>", "lw": 2})
    left.annotate("", axis, (0, 0), arrowprops={"arrowstyle": "-|>", "lw": 2, "color": "C1"})
    left.plot([0, 2.4], [0, 0], color="C1", lw=0.8, ls=":")
    left.plot([a, a], [0, edge[1]], color="C2", lw=2)
    left.plot([0, a], [-0.18, -0.18], color="C0", lw=2)
    for text, place, colour in (
        ("atom i", (-0.1, 0.12), "k"),
        ("atom j", (2.05, 1.35), "k"),
        ("$r_{ij}$", (0.8, 0.75), "k"),
        ("axis o", (0.75, 0.07), "C1"),
        ("$a = r_{ij} \\cdot o$", (0.8, -0.42), "C0"),
        ("$b = |r_{ij} - a\\, o|$", (2.06, 0.6), "C2"),
    ):
        left.text(*place, text, color=colour, ha="right" if text == "atom i" else "left")
    left.set(xlim=(-0.6, 3.1), ylim=(-0.6, 1.7), aspect="equal")
    left.axis("off")
    for marker, kind in zip("o^s", ("fibonacci", "repulsion", "antipodal"), strict=True):
        names = [name for name in GRIDS if name.startswith(kind)]
        values = [np.mean([energy for energy, _ in results["default"][name]]) for name in names]
        right.loglog(
            [int(name.partition(":")[2]) for name in names], values, marker + "-", label=kind, ms=4
        )
    solids = {"octahedral": 6, "icosahedral": 12, "dodecahedral": 20, "compound": 32}
    right.loglog(
        solids.values(),
        [np.mean([energy for energy, _ in results["default"][name]]) for name in solids],
        "kD",
        label="solids",
        ms=5,
    )
    right.set(xlabel="number of axes", ylabel="energy: rotation / conformers")
    right.legend()
    drawing.tight_layout()
    drawing.savefig(path, dpi=110)


def main():
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("docs/theory"))
    parser.add_argument("--skip-times", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{date.today()}, torch {torch.__version__}, {platform.machine()}")
    figure(residuals(), options.output / "ponita.png")
    if not options.skip_times:
        times()


if __name__ == "__main__":
    main()
