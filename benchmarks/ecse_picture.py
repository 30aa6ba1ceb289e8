"""Picture of ase_pet/symmetrisers/ecse/README.md: frames, environments, network, weighted mean.

    python benchmarks/ecse_picture.py [--output ase_pet/symmetrisers/ecse/ecse.png]

A flat environment of three neighbours. Frames and weights are those of the code, with default
settings, without mirror images.
"""

import argparse
from pathlib import Path

import matplotlib
import numpy as np
import torch

from ase_pet.symmetrisers import ecse
from ase_pet.symmetrisers.ecse.block_edges import BlockEdges
from ase_pet.symmetrisers.ecse.frames import pair_frames

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402  (after the choice of backend)

FOLDER = Path(__file__).resolve().parent.parent / "ase_pet" / "symmetrisers" / "ecse"
LENGTHS = np.array([1.0, 1.15, 1.5])  # A
ANGLES = np.radians([15, 120, 235])
OUTER_CUTOFF = 4.0  # A
COLOURS = ("#d1495b", "#2e86ab", "#edae49")
CENTRE = "#333333"
REACH = 1.65  # A, half the width of a panel


def environment():
    """Vectors (3, 3) in A of the neighbours, and their frames."""
    directions = np.stack([np.cos(ANGLES), np.sin(ANGLES), np.zeros(3)], 1)
    vectors = torch.tensor(LENGTHS[:, None] * directions)
    edges = BlockEdges.from_vectors(vectors, torch.zeros(3, dtype=torch.int64), torch.tensor([3]))
    return vectors, pair_frames(edges, OUTER_CUTOFF, ecse.Settings())


def draw_atoms(axes, points, size):
    """Draw the atom, and its neighbours at points (3, 2) in A."""
    for point, colour in zip(points, COLOURS, strict=True):
        axes.plot([0, point[0]], [0, point[1]], color="#aaaaaa", zorder=1)
        axes.scatter(*point, s=size, color=colour, zorder=2)
    axes.scatter(0, 0, s=1.4 * size, color=CENTRE, zorder=2)
    axes.set(xlim=(-REACH, REACH), ylim=(-REACH, REACH), aspect="equal")
    axes.set_axis_off()


def draw_axes(axes, first, third, length=0.75):
    """Draw the axes e1 and e3 of a frame, as vectors (2,)."""
    style = {"arrowstyle": "-|>", "color": "black", "linewidth": 1.2}
    for vector, other, label in ((first, third, "e$_1$"), (third, first, "e$_3$")):
        axes.annotate("", length * vector, (0, 0), arrowprops=style, zorder=3)
        beside = 0.75 * length * vector + 0.22 * other
        axes.annotate(label, beside, ha="center", va="center", fontsize=9)


def draw_structure(axes, vectors, frames):
    """Draw the environment as it is, the inner cutoff, and the frame of the first pair."""
    draw_atoms(axes, vectors[:, :2].numpy(), 130)
    inner = frames.inner_cutoff.item()
    axes.add_patch(pyplot.Circle((0, 0), inner, fill=False, linestyle=":", color="#888888"))
    axes.text(0, -inner - 0.25, "inner cutoff", ha="center", fontsize=8, color="#666666")
    draw_axes(axes, frames.axes[0, :2, 0].numpy(), frames.axes[0, :2, 2].numpy())
    axes.set(xlim=(-2.1, 2.1), ylim=(-2.1, 2.1))


def draw_row(axes, vectors, frame, weight):
    """Draw the environment in one frame, the network, and the weight of its energy."""
    rotated = (vectors @ frame).numpy()  # components along e1, e2 and e3
    draw_atoms(axes[0], rotated[:, [0, 2]], 28)
    style = {"boxstyle": "round", "facecolor": "#e8eef4", "edgecolor": "#7a8ba0"}
    axes[1].annotate(
        "", (0.98, 0.5), (0.02, 0.5), arrowprops={"arrowstyle": "-|>", "color": "#7a8ba0"}
    )
    axes[1].text(0.5, 0.5, "PET", ha="center", va="center", fontsize=8, bbox=style)
    axes[2].text(0.0, 0.5, f"{weight:.2f} " + r"$\varepsilon$", va="center", fontsize=9)
    for part in axes[1:]:
        part.set(xlim=(0, 1), ylim=(0, 1))
        part.set_axis_off()


def picture():
    """Figure of all steps from left to right."""
    vectors, frames = environment()
    shares = (frames.weights / frames.total).tolist()
    figure = pyplot.figure(figsize=(8.4, 5.0))
    grid = figure.add_gridspec(
        len(shares),
        5,
        width_ratios=(3.4, 1, 1.2, 0.9, 1.9),
        left=0.01,
        right=0.99,
        bottom=0.02,
        top=0.88,
        hspace=0.05,
    )
    draw_structure(figure.add_subplot(grid[:, 0]), vectors, frames)
    for row, (frame, share) in enumerate(zip(frames.axes, shares, strict=True)):
        axes = [figure.add_subplot(grid[row, column]) for column in (1, 2, 3)]
        draw_row(axes, vectors, frame, share)
    mean = figure.add_subplot(grid[:, 4])
    mean.set_axis_off()
    equation = r"$E_i = \frac{\sum_{jk} w_{jk}\,\varepsilon_i(F_{jk})}{\sum_{jk} w_{jk}}$"
    mean.text(0.35, 0.5, equation, ha="center", va="center", fontsize=14)
    titles = (
        (0.19, "a frame for each ordered\npair of close neighbours"),
        (0.475, "environment\nin each frame"),
        (0.605, "network"),
        (0.715, "weights"),
        (0.855, "weighted mean"),
    )
    for place, title in titles:
        figure.text(place, 0.94, title, ha="center", va="center", fontsize=9)
    return figure


def main():
    """Write the picture."""
    parser = argparse.ArgumentParser(description="Picture of the README of ECSE.")
    parser.add_argument("--output", type=Path, default=FOLDER / "ecse.png")
    arguments = parser.parse_args()
    picture().savefig(arguments.output, dpi=100, metadata={"Software": None})


if __name__ == "__main__":
    main()
