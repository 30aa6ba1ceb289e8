"""Writes tests/data/mace: small MACE models with random weights, and the numbers of mace-torch.

    python tests/data/make_mace.py

Needs an environment with torch 2.13.0 and mace-torch 0.3.16. `early_repulsion` has the layout of
the first files with a repulsion of nuclei (mace-mp-0b): no list of heads, no switches of later
versions, a second cutoff function, powers in floating point. The other files are as mace-torch
saves them.
"""

import warnings
from pathlib import Path

import numpy as np
import torch
from ase.build import molecule
from mace.calculators import MACECalculator
from mace.modules.radial import PolynomialCutoff

from mace import modules

from e3nn import o3  # isort: skip

FOLDER = Path(__file__).parent / "mace"
KINDS = modules.interaction_classes
PLAIN = "RealAgnosticInteractionBlock"
RESIDUAL = "RealAgnosticResidualInteractionBlock"
DENSITY = "RealAgnosticDensityInteractionBlock"
DENSITY_RESIDUAL = "RealAgnosticDensityResidualInteractionBlock"
LATER = (  # attributes of models that later versions added
    "heads",
    "use_agnostic_product",
    "use_so3",
    "apply_cutoff",
    "edge_irreps",
    "use_reduced_cg",
    "lammps_mliap",
    "use_last_readout_only",
    "embedding_specs",
    "cueq_config",
)
HEADS = ["pbe", "r2scan"]


def model(first, other, hidden="4x0e + 4x1o", kind="ScaleShiftMACE", heads=None, **settings):
    """A model with random weights for H, C and O."""
    torch.manual_seed(3)
    energies = np.array([-13.6, -1030.1, -2040.2])
    arguments = {
        "r_max": 4.5,
        "num_bessel": 4,
        "num_polynomial_cutoff": 5,
        "max_ell": 1,
        "num_interactions": 2,
        "avg_num_neighbors": 7.5,
        "correlation": 2,
        "radial_MLP": [6, 6],
        "MLP_irreps": o3.Irreps("4x0e"),
        "atomic_energies": energies,
        **settings,
    }
    if heads is not None:
        arguments["heads"] = heads
        arguments["atomic_energies"] = np.stack([energies, energies + 1.0])
    if kind == "ScaleShiftMACE":
        arguments["atomic_inter_scale"] = 0.8 if heads is None else [0.8, 1.3]
        arguments["atomic_inter_shift"] = 0.1 if heads is None else [0.1, -0.2]
    return getattr(modules, kind)(
        interaction_cls=KINDS[other],
        interaction_cls_first=KINDS[first],
        num_elements=3,
        hidden_irreps=o3.Irreps(hidden),
        atomic_numbers=[1, 6, 8],
        gate=torch.nn.functional.silu,
        **arguments,
    )


def as_early(network):
    """The model in the layout of an early version."""
    for name in LATER:
        if name in vars(network):
            delattr(network, name)
    repulsion = network.pair_repulsion_fn
    repulsion.cutoff = PolynomialCutoff(r_max=4.5, p=6)
    repulsion.register_buffer("r_max", torch.tensor(4.5))
    repulsion.p = repulsion.p.double()
    cutoff = network.radial_embedding.cutoff_fn
    cutoff.p = cutoff.p.double()
    return network


def values(network, head=None):
    """Energy in eV and forces in eV/A of a distorted ethanol, by mace-torch in float64."""
    atoms = molecule("CH3CH2OH")
    atoms.rattle(0.05, seed=2)
    options = {} if head is None else {"head": head}
    atoms.calc = MACECalculator(models=[network], device="cpu", default_dtype="float64", **options)
    return {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}


def main():
    """Write all files."""
    warnings.filterwarnings("ignore")
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    FOLDER.mkdir(exist_ok=True)
    early = model(DENSITY, DENSITY_RESIDUAL, distance_transform="Agnesi", pair_repulsion=True)
    results = {"early_repulsion": values(early)}
    torch.save(as_early(early), FOLDER / "early_repulsion.model")
    networks = {
        "two_heads_float32": model(RESIDUAL, RESIDUAL, heads=HEADS).float(),
        # without scale and shift
        "three_layers": model(PLAIN, RESIDUAL, kind="MACE", num_interactions=3),
    }
    for name, network in networks.items():
        torch.save(network, FOLDER / f"{name}.model")
        network = network.double()
        for head in HEADS if name.startswith("two_heads") else [None]:
            results[name if head is None else f"{name}/{head}"] = values(network, head)
    flat = {f"{name}/{key}": value for name, one in results.items() for key, value in one.items()}
    np.savez_compressed(FOLDER / "values.npz", **flat)
    print({name: float(one["energy"]) for name, one in results.items()})


if __name__ == "__main__":
    main()
