"""Phonon bands of silicon.

Lattice constant, 128-atom supercell, phonopy, beside the PBE values at Gamma, X and L.
"""

import argparse
from pathlib import Path

import ase.build
import numpy as np
from ase.atoms import Atoms
from ase.constraints import FixSymmetry
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS
from phonopy import Phonopy
from phonopy.structure.atoms import PhonopyAtoms

from ase_pet import PETCalculator

# THz, of the level of theory that the calculator "silicon" was trained on: density-functional
# perturbation theory, PBE.
PBE = {
    "Gamma": ((0, 0, 0), (0, 0, 0, 15.06, 15.06, 15.06)),
    "X": ((0.5, 0, 0.5), (4.43, 4.43, 12.02, 12.02, 13.38, 13.38)),
    "L": ((0.5, 0.5, 0.5), (3.37, 3.37, 11.12, 11.98, 14.28, 14.28)),
}

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument(
    "calculator", nargs="?", default="silicon", help="name or folder of a calculator of silicon"
)
parser.add_argument("--output", type=Path, default=Path("demo"), help="folder to write to")
parser.add_argument(
    "--supercell", type=int, default=4, help="repeats of the primitive cell; even for X and L"
)
arguments = parser.parse_args()
arguments.output.mkdir(parents=True, exist_ok=True)

atoms = ase.build.bulk("Si", a=5.47)
atoms.calc = calculator = PETCalculator(arguments.calculator, dtype="float64")
atoms.set_constraint(FixSymmetry(atoms))
if not BFGS(FrechetCellFilter(atoms), logfile=None).run(fmax=1e-4, steps=100):
    raise SystemExit(
        "the lattice constant has not converged: this calculator does not describe silicon"
    )
print(
    f"lattice constant {2**0.5 * atoms.cell.lengths()[0]:.4f} A (PBE: 5.4695 from energies, 5.4662"
    " from zero stress)"
)

phonons = Phonopy(
    PhonopyAtoms(atoms.symbols, cell=atoms.cell[:], scaled_positions=atoms.get_scaled_positions()),
    supercell_matrix=3 * [arguments.supercell],
    primitive_matrix="P",
)
phonons.generate_displacements(distance=0.01, is_plusminus=True)
displaced = [
    Atoms(cell.symbols, cell=cell.cell, positions=cell.positions, pbc=True)
    for cell in phonons.supercells_with_displacements
]
phonons.forces = np.array(
    [found["forces"] for found in calculator.evaluate(displaced, ("forces",))]
)
phonons.produce_force_constants()
phonons.symmetrize_force_constants()
phonons.save(
    arguments.output / "phonons.yaml"
)  # displacements and forces: `phonopy-load` continues from there

at_points = phonons.run_qpoints([point for point, _ in PBE.values()])
for (name, (_, reference)), found in zip(PBE.items(), at_points.frequencies, strict=True):
    print(f"{name:5}", " ".join(f"{value:6.2f}" for value in found), "THz; PBE", *reference)
phonons.auto_band_structure(npoints=51)
figure = phonons.plot_band_structure().gcf()
for axes in figure.axes:
    for place, label in zip(axes.get_xticks(), axes.get_xticklabels(), strict=True):
        for name, (_, reference) in PBE.items():
            if name in label.get_text():
                axes.plot(6 * [place], reference, "ko", fillstyle="none", clip_on=False)
figure.axes[0].set_ylabel("frequency (THz)")
figure.suptitle(
    f"phonons of silicon, {len(phonons.supercell)} atoms; lines: this calculator, circles: PBE"
)
figure.savefig(arguments.output / "phonon_bands.png", dpi=150)
