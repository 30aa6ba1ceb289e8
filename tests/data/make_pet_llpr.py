"""Write pet_llpr.ckpt and pet_llpr.npz: a random PET model with LLPR uncertainties, and its values.

Both come from metatrain and upet, not from this project:

    python -m venv peer
    peer/bin/pip install torch==2.13.0 metatrain==2026.4.1 upet==0.3.1 metatomic-ase==0.1.4
    peer/bin/python tests/data/make_pet_llpr.py

The files of the repository were made with these and metatomic-torch 0.1.19, metatensor-torch
0.10.8, ase 3.29.0, on a CPU. The checkpoint is a wrapper of version 4 around a PET model of version
16, with weights in float32. Its covariances are random and well conditioned, its multipliers are
not 1, and the residual featuriser has two readouts, so that the order of the last-layer features
matters. The values are those of the same file in float64, through UPETCalculator.

Keys of the npz: STRUCTURE/FIELD. `energy`, `energies`, `forces`, `stress_voigt` (eV, A; Voigt order
of ASE), `energy_uncertainty` and `energies_uncertainty` (structure and atoms), `energy_ensemble`
(m,), `energies_ensemble` (n, m), `forces_ensemble` (n, 3, m), `forces_uncertainty` (n, 3), and for
periodic structures `stress_ensemble` (6, m) and `stress_uncertainty` (6,); uncertainties of forces
and stress are standard deviations of the ensemble. The same fields with `_pbe` at the end are those
of the head `energy/pbe`, which has fewer members.
"""

import copy
import os
import warnings

import metatensor.torch as mts
import numpy as np
import torch
from ase import Atoms
from ase.build import bulk, diamond100, molecule
from metatrain.llpr import LLPRUncertaintyModel
from metatrain.pet import PET
from metatrain.utils.architectures import get_default_hypers
from metatrain.utils.data import DatasetInfo
from metatrain.utils.data.target_info import get_energy_target_info
from upet.ase import UPETCalculator

FOLDER = os.path.dirname(os.path.abspath(__file__))
SPECIES = [1, 6, 8, 14]
SETTINGS = {
    "cutoff": 5.0,
    "cutoff_width": 0.5,
    "d_pet": 16,
    "d_head": 8,
    "d_node": 32,
    "d_feedforward": 16,
    "num_heads": 2,
    "num_attention_layers": 1,
    "num_gnn_layers": 2,
    "featurizer_type": "residual",
}
MEMBERS = {"energy": 8, "energy/pbe": 4}
MULTIPLIERS = {"energy": 0.37, "energy/pbe": 1.9}
NAMES = {"energy": "energy_uncertainty", "energy/pbe": "mtt::aux::energy/pbe_uncertainty"}
SUFFIXES = {None: "", "pbe": "_pbe"}


def structures():
    """{name: atoms}: crystal, skewed mixture, molecule, slab, atom, pair beyond the cutoff."""
    rng = np.random.default_rng(5)
    examples = {
        "si8": bulk("Si", cubic=True),
        "ethanol": molecule("CH3CH2OH"),
        "slab": diamond100("Si", (2, 2, 4), vacuum=6.0),
    }
    examples["mixture"] = Atoms(
        "Si2O4C2H4",
        cell=[[6.0, 0, 0], [1.0, 5.5, 0], [-0.5, 0.7, 5.8]],
        pbc=True,
        scaled_positions=(np.indices((3, 2, 2)).reshape(3, -1).T + 0.5) / (3, 2, 2),
    )
    examples["slab"].pbc = [True, True, False]
    for atoms in examples.values():
        atoms.positions += 0.1 * rng.normal(size=atoms.positions.shape)
    examples["si_atom"] = Atoms("Si", positions=[[0.3, -0.2, 0.1]])
    examples["dimer_beyond"] = Atoms("O2", positions=[[0, 0, 0], [0, 0, 5.5]])
    return examples


def fill(table, values):
    """Bytes of a TensorMap of one block with other values."""
    filled = mts.load_buffer(table)
    filled.block().values[:] = values
    return mts.save_buffer(filled)


def pet():
    """PET with random weights, composition energies and scales, none of them zero or one."""
    hypers = copy.deepcopy(get_default_hypers("pet")["model"]) | SETTINGS
    targets = {
        name: get_energy_target_info(name, {"quantity": "energy", "unit": "eV"}, True, True)
        for name in MEMBERS
    }
    model = PET(hypers, DatasetInfo(length_unit="angstrom", atomic_types=SPECIES, targets=targets))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias") or "norm" in name:
                parameter += 0.1 * torch.randn_like(parameter)
    for k, name in enumerate(MEMBERS):
        composition, scaler = model.additive_models[0], model.scaler
        table = getattr(composition, f"{name}_composition_buffer")
        setattr(
            composition,
            f"{name}_composition_buffer",
            fill(table, torch.randn(len(SPECIES), 1, dtype=torch.float64) - 2.0),
        )
        for kind in ("", "_per_target"):
            table = getattr(scaler, f"{name}{kind}_scaler_buffer")
            setattr(scaler, f"{name}{kind}_scaler_buffer", fill(table, 1.3 + 0.4 * k))
    model.additive_models[0].sync_tensor_maps()
    model.scaler.sync_tensor_maps()
    return model


def wrapped():
    """LLPR model around PET with random covariances of last-layer features.

    Metatrain factorises the covariances and draws the ensemble.
    """
    model = pet()
    llpr = LLPRUncertaintyModel({"num_ensemble_members": MEMBERS}, model.dataset_info)
    llpr.set_wrapped_model(model)
    size = model.last_layer_feature_size
    for name, output in NAMES.items():
        features = torch.randn(4 * size, size) * (1 + torch.rand(size))
        getattr(llpr, f"covariance_{output}")[:] = features.T @ features / 4
        getattr(llpr, f"multiplier_{output}")[:] = MULTIPLIERS[name]
    llpr.compute_cholesky_decomposition()
    llpr.generate_ensemble()
    return llpr


def uncertainties(calculator, atoms):
    """Values of UPETCalculator by field; arrays keep the axis of the atoms even for one atom."""
    n = len(atoms)
    results = {
        "energy_uncertainty": calculator.get_energy_uncertainty(atoms),
        "energies_uncertainty": calculator.get_energy_uncertainty(atoms, per_atom=True).reshape(n),
        "energy_ensemble": calculator.get_energy_ensemble(atoms),
        "energies_ensemble": calculator.get_energy_ensemble(atoms, per_atom=True).reshape(n, -1),
        "forces_ensemble": calculator.get_forces_ensemble(atoms),
        "forces_uncertainty": calculator.get_forces_uncertainty(atoms),
    }
    if atoms.pbc.all():
        results |= {
            "stress_ensemble": calculator.get_stress_ensemble(atoms),
            "stress_uncertainty": calculator.get_stress_uncertainty(atoms),
        }
    return results


def values(calculator, atoms):
    """All values of a structure by field, in eV and A."""
    results = {
        "energy": atoms.get_potential_energy(),
        "energies": atoms.get_potential_energies(),
        "forces": atoms.get_forces(),
    }
    if atoms.pbc.all():
        results["stress_voigt"] = atoms.get_stress()
    return results | uncertainties(calculator, atoms)


def main():
    warnings.simplefilter("ignore")
    torch.manual_seed(7)
    path = os.path.join(FOLDER, "pet_llpr.ckpt")
    torch.save(wrapped().get_checkpoint(), path)
    table = {}
    for variant, suffix in SUFFIXES.items():
        # metatomic-ase finds no uncertainty of a variant and refuses to start unless its threshold
        # is off
        calculator = UPETCalculator(
            checkpoint_path=path,
            dtype="float64",
            device="cpu",
            uncertainty_threshold=None,
            variants={"energy": variant} if variant else None,
        )
        for name, atoms in structures().items():
            atoms.calc = calculator
            for field, value in values(calculator, atoms).items():
                table[f"{name}/{field}{suffix}"] = np.asarray(value, dtype=np.float64)
            for field in ("numbers", "positions", "pbc"):
                table[f"{name}/{field}"] = getattr(atoms, field)
            table[f"{name}/cell"] = np.array(atoms.cell)
    np.savez_compressed(os.path.join(FOLDER, "pet_llpr.npz"), **table)


if __name__ == "__main__":
    main()
