"""Figures of docs/theory/ecse.md: rotation, an atom crossing the cutoff, frames per atom.

    python benchmarks/ecse_figures.py [--output docs/theory]

Everything is in float64 with the shipped silicon calculator; the frames per atom need no network.
Prints the numbers that the page quotes.
"""

import argparse
import platform
from pathlib import Path

import matplotlib
import numpy as np
import torch
from ase.build import bulk, fcc111, molecule
from scipy.spatial.transform import Rotation

from ase_pet import PETCalculator, graph
from ase_pet.models import pet
from ase_pet.symmetrisers import ecse

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402  (after the choice of backend)

KINDS = {"none": "plain", "group:O": "group:O", "ecse": "ECSE"}
AXIS = np.array([1.0, 2.0, 3.0]) / np.sqrt(14)


def calculators(model, kinds):
    """{label: calculator} of a model: plain, averaged and symmetrised, in float64."""
    return {
        kind: PETCalculator(model, dtype="float64", symmetrise=kind, skin=0.0) for kind in kinds
    }


def untrained():
    """A local model with random weights.

    It is far from invariant, which makes the effect of the ECSE weights visible.
    """
    torch.manual_seed(1)
    return pet.Model(
        pet.Settings(
            species=(14,),
            cutoff=5.0,
            cutoff_width=1.5,
            d_pet=16,
            d_node=16,
            d_head=16,
            d_feedforward=32,
            num_heads=2,
            num_gnn_layers=1,
            featurizer_type="residual",
        )
    )


def rotation(folder):
    """Energy of 8 atoms of displaced silicon against the angle of a rotation about [1 2 3]."""
    atoms = bulk("Si", cubic=True)
    atoms.rattle(0.1, seed=1)
    angles = np.linspace(0, 180, 46)
    figure, panels = pyplot.subplots(1, 2, figsize=(9, 3.4))
    for kind, calculator in calculators("silicon", ("none", "group:O", "ecse")).items():
        energies = []
        for angle in angles:
            rotated, matrix = (
                atoms.copy(),
                Rotation.from_rotvec(np.radians(angle) * AXIS).as_matrix(),
            )
            rotated.set_cell(atoms.cell @ matrix.T, scale_atoms=True)
            energies.append(calculator.get_potential_energy(rotated))
        spread = 1e3 * (np.array(energies) - energies[0]) / len(atoms)
        print(
            f"rotation, {kind}: standard deviation {spread.std():.2e}, largest"
            f" {np.abs(spread).max():.2e} meV/atom"
        )
        panels[0].plot(angles, spread, label=KINDS[kind])
        panels[1].semilogy(angles, np.abs(spread) + 1e-14, label=KINDS[kind])
    panels[0].set(xlabel="angle (degrees)", ylabel="energy change (meV/atom)")
    panels[1].set(xlabel="angle (degrees)", ylabel="|energy change| (meV/atom)")
    panels[0].legend()
    save(figure, folder / "ecse_rotation.png")


def leaving(folder):
    """Energy of an atom and force on a neighbour that moves out through R_in and the cutoff.

    The weights are random.
    """
    atoms, centre, moving, direction = cluster()
    radii = np.linspace(2.1, 5.4, 133)
    figure, panels = pyplot.subplots(2, 1, figsize=(6, 5), sharex=True)
    for kind, calculator in calculators(untrained(), ("none", "ecse")).items():
        energies, forces = [], []
        for radius in radii:
            moved = atoms.copy()
            moved.positions[moving] = moved.positions[centre] + radius * direction
            calculator.calculate(moved, ("energies", "forces"), ["positions"])
            energies.append(calculator.results["energies"][centre])
            forces.append(calculator.results["forces"][moving] @ direction)
        slope = np.abs(np.diff(forces) / np.diff(radii)).max()
        print(f"leaving, {kind}: largest |dF/dx| {slope:.3g} eV/A^2")
        panels[0].plot(radii, np.array(energies) - energies[-1], label=KINDS[kind])
        panels[1].plot(radii, forces, label=KINDS[kind])
    inner = inner_cutoff(atoms, centre, calculator)
    for panel in panels:
        panel.axvline(inner, color="0.6", linestyle=":")
        panel.axvline(5.0, color="0.6", linestyle="--")
    panels[0].set(ylabel="energy of the centre (eV)")
    panels[1].set(
        ylabel="force on the moving atom (eV/A)",
        xlabel="distance (A); dotted: R_in, dashed: cutoff",
    )
    panels[0].legend()
    save(figure, folder / "ecse_leaving.png")


def cluster():
    """Silicon cluster around an atom, without the atoms in the path of one of its neighbours.

    Returns the atoms, the indices of the two atoms and the direction of the path.
    """
    atoms = bulk("Si", cubic=True) * 3
    atoms.rattle(0.05, seed=2)
    atoms.pbc = False
    away = atoms.positions - atoms.positions.mean(0)
    vectors = atoms.positions - atoms.positions[np.linalg.norm(away, axis=1).argmin()]
    distances = np.linalg.norm(vectors, axis=1)
    direction = vectors[np.argsort(distances)[1]] / np.sort(distances)[1]
    in_the_way = (vectors @ direction > 0.5 * distances) & (
        distances > np.sort(distances)[1] + 1e-6
    )
    kept = np.flatnonzero((distances < 5.0) & ~in_the_way)
    centre, moving = (int(k) for k in np.argsort(distances[kept])[:2])
    return atoms[kept], centre, moving, direction


def inner_cutoff(atoms, centre, calculator):
    """R_in of an atom in A."""
    batch = graph.build([graph.from_atoms(atoms)], calculator.cutoff)
    return float(calculator.model.describe(batch)["inner_cutoff"][centre])


def systems():
    """Structures by name: crystals, a molecule, a surface."""
    silicon, copper, aluminium = (
        bulk("Si", cubic=True) * 2,
        bulk("Cu", cubic=True) * 3,
        bulk("Al", cubic=True) * 3,
    )
    structures = {
        "Si": silicon,
        "Cu": copper,
        "Al": aluminium,
        "NaCl": bulk("NaCl", "rocksalt", a=5.64, cubic=True) * 2,
        "Cu (111)": fcc111("Cu", (3, 3, 4), vacuum=8.0),
        "ethanol": molecule("CH3CH2OH"),
        "benzene": molecule("C6H6"),
        "CO2": molecule("CO2"),
    }
    for atoms in structures.values():
        atoms.rattle(0.05, seed=3)
    return structures


def frames(folder):
    """Frames and environments per atom (cutoff 5 A) for the default width and a narrow one."""
    figure, panel = pyplot.subplots(figsize=(7, 3.4))
    for shift, width in ((-0.2, 0.5), (0.2, 0.3)):
        means = []
        for name, atoms in systems().items():
            species = tuple(sorted(set(atoms.numbers.tolist())))
            model = pet.Model(
                pet.Settings(
                    species=species,
                    cutoff=5.0,
                    d_pet=8,
                    d_node=8,
                    d_head=8,
                    num_heads=1,
                    num_gnn_layers=1,
                    featurizer_type="residual",
                )
            )
            description = ecse.wrap(model, ecse.Settings(width=width)).describe(
                graph.build([graph.from_atoms(atoms)], 5.0)
            )
            means.append(description["frames"].double().mean().item())
            print(
                f"frames, D = {width} A, {name}: mean {means[-1]:.1f}, most"
                f" {int(description['frames'].max())}, environments"
                f" {description['environments'].double().mean():.1f}, R_in"
                f" {description['inner_cutoff'].mean():.2f} A, least weight"
                f" {description['total'].min():.2f}"
            )
        panel.bar(np.arange(len(means)) + shift, means, 0.4, label=f"D = {width} A")
    panel.set_xticks(range(len(means)), list(systems()))
    panel.set(ylabel="frames per atom")
    panel.legend()
    save(figure, folder / "ecse_frames.png")


def save(figure, path):
    """Write a figure."""
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("docs/theory"))
    folder = parser.parse_args().output
    folder.mkdir(parents=True, exist_ok=True)
    print(f"{platform.platform()}, torch {torch.__version__}")
    rotation(folder)
    leaving(folder)
    frames(folder)


if __name__ == "__main__":
    main()
