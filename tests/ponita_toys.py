"""Small PONITA models with random weights for the tests of PONITA."""

from dataclasses import replace

import torch

from ase_pet.models import ponita
from local_toys import SPECIES

BASE = ponita.Settings(
    species=SPECIES,
    cutoff=4.0,
    width=8,
    num_basis=6,
    num_layers=2,
    widening=2,
    softening=0.3,
    scaled=True,
)
LEGACY = {"softening": 0.0, "scaled": False}
SETTINGS = {
    "base": {},
    "one layer": {"num_layers": 1},
    "three layers": {"num_layers": 3},
    "octahedral": {"orientations": "octahedral"},
    "fibonacci": {"orientations": "fibonacci:7"},
    "antipodal": {"orientations": "antipodal:14"},
    "drawn": {"orientations": "antipodal:14", "orientations_drawn": True},
    "bump": {"cutoff_function": "bump"},
    "step": {"cutoff_function": "step", "cutoff_width": 2.0},
    "degree 2": {"degree": 2},
    "layer scale": {"layer_scale": 0.1},
    "last readout": {"multiple_readouts": False},
    "dipole": {"heads": {"energy": 1, "dipole": 3}},
    "in A": {"scaled": False},
    "norm": LEGACY,
    "PNITA": {"orientations": "none"},
}
WIDTHS = {"basis": 6.0, "last_layers": 4.0}  # of random weights, so that forces are 0.01 to 1 eV/A
COMPOSITION = {1: -0.3, 6: 1.7, 7: 0.9, 8: -2.1, 14: 0.4}  # eV


def tiny_ponita(name="base", dtype=torch.float64, seed=0, **changes):
    """PONITA of some hundred random weights.

    They are scaled so that energies change by about 1 eV as atoms move.
    """
    model = ponita.Model(replace(BASE, **{**SETTINGS[name], **changes})).to(dtype)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            fan_in = parameter.shape[1] if parameter.ndim == 2 and "node_embedder" not in key else 1
            width = (
                WIDTHS.get(key.partition(".")[0], 1.0) / fan_in**0.5 if parameter.ndim == 2 else 0.3
            )
            parameter.copy_(width * noise + ("norm.weight" in key))
    model.compositions = {head: COMPOSITION for head in model.settings.heads}
    return model.requires_grad_(False)
