"""The teacher of organic.py: SO3LR, energies and forces of many molecules in one call.

SO3LR (PyPI so3krates-torch 0.2.1, MIT, weights in the package) was trained on PBE0+MBD forces of
molecules. It is used to label training data only; ase_pet does not depend on it. Its environment:

    python3.11 -m venv teacher
    teacher/bin/pip install torch==2.13.0
    teacher/bin/pip install --no-deps so3krates-torch==0.2.1
    teacher/bin/pip install torch_geometric==2.7.0 e3nn tblite==0.8.0 rdkit torch-ema \\
        torchmetrics h5py prettytable matscipy
"""

import os

import numpy as np
import torch
from so3krates_torch.calculator.so3 import SO3LRCalculator
from so3krates_torch.data.atomic_data import AtomicData
from so3krates_torch.data.utils import config_from_atoms
from so3krates_torch.tools.torch_geometric.dataloader import DataLoader

FARTHEST = 100.0  # A: electrostatics and dispersion of all pairs
BATCH = 16


class Teacher:
    """SO3LR in float64, with its options as its authors use them for molecules."""

    def __init__(self):
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
        self.calculator = SO3LRCalculator(
            r_max_lr=FARTHEST,
            dispersion_energy_cutoff_lr_damping=2.0,
            default_dtype="float64",
        )
        keys = {self.calculator.charges_key: "Qs"}
        self.calculator.key_specification.update(arrays_keys=keys)

    def _data(self, atoms):
        """A molecule as SO3LR reads it."""
        calculator = self.calculator
        config = config_from_atoms(atoms, key_specification=calculator.key_specification)
        return AtomicData.from_config(
            config, z_table=calculator.z_table, cutoff=calculator.r_max, cutoff_lr=FARTHEST
        )

    def evaluate(self, structures):
        """List of (energy in eV, forces (n, 3) in eV/A) of molecules."""
        labels = []
        for first in range(0, len(structures), BATCH):
            chunk = structures[first : first + BATCH]
            loader = DataLoader([self._data(atoms) for atoms in chunk], batch_size=len(chunk))
            result = self.calculator.models[0](next(iter(loader)).to_dict(), compute_stress=False)
            energies = result["energy"].detach().numpy()
            ends = np.cumsum([len(atoms) for atoms in chunk])
            forces = np.split(result["forces"].detach().numpy(), ends[:-1])
            labels += zip(energies.tolist(), forces, strict=True)
        return labels
