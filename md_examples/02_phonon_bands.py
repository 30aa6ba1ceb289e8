"""Phonon bands of silicon with phonopy, compared with density-functional theory (PBE).

Takes about ten seconds on one core.
"""

import argparse
from pathlib import Path

import ase.build
import numpy as np
from ase.atoms import Atoms
from phonopy import Phonopy
from phonopy.structure.atoms import PhonopyAtoms

from ase_pet import PETCalculator
from ase_pet.phonons import relax

# q-point and frequencies in THz from density-functional perturbation theory with PBE, the level of
# theory of the training data of the calculator "silicon"
PBE = {
    "Gamma": ((0, 0, 0), (0, 0, 0, 15.06, 15.06, 15.06)),
    "X": ((0.5, 0, 0.5), (4.43, 4.43, 12.02, 12.02, 13.38, 13.38)),
    "L": ((0.5, 0.5, 0.5), (3.37, 3.37, 11.12, 11.98, 14.28, 14.28)),
}

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("calculator", nargs="?", default="silicon", help="calculator of silicon")
parser.add_argument("--output", type=Path, default=Path("demo"), help="folder to write to")
parser.add_argument("--supercell", type=int, default=4, help="repeats; even for X and L")
arguments = parser.parse_args()
arguments.output.mkdir(parents=True, exist_ok=True)

atoms = ase.build.bulk("Si", a=5.47)
atoms.calc = calculator = PETCalculator(arguments.calculator, dtype="float64")
atoms = relax(atoms).atoms
print(f"lattice constant {2**0.5 * atoms.cell.lengths()[0]:.4f} A (PBE, zero stress: 5.4662)")
cell = PhonopyAtoms(atoms.symbols, cell=atoms.cell, scaled_positions=atoms.get_scaled_positions())
phonons = Phonopy(cell, supercell_matrix=3 * [arguments.supercell], primitive_matrix="P")
phonons.generate_displacements(distance=0.01, is_plusminus=True)
displaced = [
    Atoms(cell.symbols, cell=cell.cell, positions=cell.positions, pbc=True)
    for cell in phonons.supercells_with_displacements
]
rows = calculator.evaluate(displaced, ("forces",))  # all displaced supercells in one call
phonons.forces = np.array([row["forces"] for row in rows])
phonons.produce_force_constants()
phonons.symmetrize_force_constants()
phonons.save(arguments.output / "phonons.yaml")  # input of `phonopy-load`

at_points = phonons.run_qpoints([point for point, _ in PBE.values()]).frequencies
for (name, (_, reference)), frequencies in zip(PBE.items(), at_points, strict=True):
    print(f"{name:5}", " ".join(f"{value:6.2f}" for value in frequencies), "THz; PBE", *reference)
phonons.auto_band_structure(npoints=51)
figure = phonons.plot_band_structure().gcf()
for axes in figure.axes:
    for tick, label in zip(axes.get_xticks(), axes.get_xticklabels(), strict=True):
        for name in [name for name in PBE if name in label.get_text()]:
            axes.plot(6 * [tick], PBE[name][1], "ko", fillstyle="none", clip_on=False)
figure.suptitle("phonon frequencies of silicon in THz; lines: this calculator, circles: PBE")
figure.savefig(arguments.output / "phonon_bands.png", dpi=150)
