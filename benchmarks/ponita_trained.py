#!/usr/bin/env python3
"""A trained PONITA of ethanol: rotation error by number of axes, dynamics with exact symmetry.

usage: ponita_trained.py CALC [--part residual nve exact] [--output docs/theory/ponita_residual.png]

CALC: name or folder of a calculator. Parts:
residual: with 6, 12, 20, 32, 64 and 110 axes in inference: standard deviation of the energy over 20
random elements of O(3) (root mean square over 8 test structures of calculators/ethanol), rms change
of force components rotated back, and MAE of forces on 40 test structures; float64; the figure.
nve: 2 ps of ethanol at 300 K, as in ecse_nve.py: drift, rms of steps of 1 and 0.5 fs, change of the
angular momentum.
exact: the same for --picoseconds with ecse:force, exact at the cost of one evaluation of the
molecule for each frame of each atom.
"""

import argparse
from pathlib import Path

import ase.io
import matplotlib
import numpy as np
import torch
from ecse_nve import report, start
from ponita_ethanol import DATA, residuals

from ase_pet import PETCalculator, orientations

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402  (after the choice of backend)

COUNTS = (6, 12, 20, 32, 64, 110)


def residual(name, path):
    """Print the table by number of axes and draw it."""
    frames = [
        atoms
        for atoms in ase.io.read(DATA / "training.extxyz.xz", ":")
        if atoms.info["split"] == "test"
    ]
    own, rows = PETCalculator(name).model.settings.orientations, []
    print(
        f"axes in training: {own}\n{'axes':14} {'energy, meV':>11} {'forces, meV/A':>13}"
        f" {'MAE, meV/A':>10}"
    )
    for count in COUNTS:
        calculator = PETCalculator(
            name, orientations=count, orientations_untrained=True, dtype="float64"
        )
        left = residuals(calculator, frames[:8])
        results = calculator.evaluate(frames[::4][:40], ("forces",))
        error = 1e3 * np.mean(
            [
                np.abs(one["forces"] - atoms.get_forces()).mean()
                for one, atoms in zip(results, frames[::4], strict=False)
            ]
        )
        rows.append((count, *left[:2], error))
        print(
            f"{orientations.name_of(count):14} {left[0]:11.3g} {left[1]:13.3g} {error:10.2f}",
            flush=True,
        )
    draw(np.array(rows).T, own, path)


def draw(columns, own, path):
    """Energy and forces by number of axes."""
    count, energy, forces, error = columns
    drawing, axes = pyplot.subplots(figsize=(5.2, 3.6))
    axes.loglog(count, energy, "o-", label="energy, std over orientations, meV")
    axes.loglog(count, forces, "s-", label="forces, rms change, meV/A")
    axes.loglog(count, error, "k^:", label="forces, MAE against PBE, meV/A")
    axes.set(
        xlabel="axes in inference",
        title=f"trained with {own} axes",
        xticks=count,
        xticklabels=[f"{n:.0f}" for n in count],
    )
    axes.minorticks_off()
    axes.legend(fontsize=8)
    drawing.tight_layout()
    drawing.savefig(path, dpi=110)


def dynamics(name, uses, picoseconds, timesteps):
    """Print runs of NVE from one state; uses: (label, symmetriser)."""
    options = argparse.Namespace(
        silicon=None, molecule="CH3CH2OH", symmetrise=["none"], temperature=300.0
    )
    initial = start(name, options, 1)
    for label, symmetriser in uses:
        calculator = PETCalculator(name, dtype="float64", symmetrise=symmetriser)
        rms = [report(initial, calculator, label, timestep, picoseconds) for timestep in timesteps]
        print(
            f"{label}: rms at {timesteps[0]:g} fs / rms at {timesteps[-1]:g} fs ="
            f" {rms[0] / rms[-1]:.2f}",
            flush=True,
        )


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("calc")
    parser.add_argument(
        "--part", nargs="+", choices=("residual", "nve", "exact"), default=["residual", "nve"]
    )
    parser.add_argument("--output", type=Path, default=Path("docs/theory/ponita_residual.png"))
    parser.add_argument("--picoseconds", type=float, default=0.1, help="of the exact runs")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if "residual" in arguments.part:
        residual(arguments.calc, arguments.output)
    if "nve" in arguments.part:
        dynamics(arguments.calc, (("own axes", "none"),), 2.0, (1.0, 0.5))
    if "exact" in arguments.part:
        dynamics(
            arguments.calc,
            (("own axes", "none"), ("exact", "ecse:force")),
            arguments.picoseconds,
            (1.0, 0.5),
        )


if __name__ == "__main__":
    main()
