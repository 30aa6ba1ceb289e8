"""Models of other kinds with random weights, for `single_point.py`; errors are not compared.

    OMP_NUM_THREADS=1 python single_point.py --calculator other_models:mace_small   # in benchmarks/

Sizes are the smallest that are published: MACE-MP-0 small (128 scalars, two layers, harmonics up to
l = 3, cutoff 6 A), the preset S of NequIP (two layers, l = 1, cutoff 6 A), and PET XS. MACE and
NequIP are evaluated by their own programs, in an environment of their own each:

    pip install mace-torch      or      pip install nequip      and then      pip install .
"""

import warnings

import torch

SYMBOLS = ("H", "C", "O", "Si")
NUMBERS = (1, 6, 8, 14)
CUTOFF = 6.0  # A


def mace_small():
    """ASE calculator of mace-torch."""
    from mace.calculators import MACECalculator

    from mace import modules

    from e3nn import o3  # isort: skip

    torch.manual_seed(0)
    blocks = modules.interaction_classes
    model = modules.ScaleShiftMACE(
        r_max=CUTOFF,
        num_bessel=10,
        num_polynomial_cutoff=5,
        max_ell=3,
        interaction_cls=blocks["RealAgnosticResidualInteractionBlock"],
        interaction_cls_first=blocks["RealAgnosticInteractionBlock"],
        num_interactions=2,
        num_elements=len(NUMBERS),
        hidden_irreps=o3.Irreps("128x0e"),
        MLP_irreps=o3.Irreps("16x0e"),
        atomic_energies=torch.zeros(len(NUMBERS)).numpy(),
        avg_num_neighbors=60.0,
        atomic_numbers=list(NUMBERS),
        correlation=3,
        gate=torch.nn.functional.silu,
        radial_MLP=[64, 64, 64],
        atomic_inter_scale=1.0,
        atomic_inter_shift=0.0,
    )
    return MACECalculator(models=[model], device="cpu", default_dtype="float32")


def nequip_small():
    """ASE calculator of NequIP, not compiled."""
    from nequip.data.transforms import ChemicalSpeciesToAtomTypeMapper, NeighborListTransform
    from nequip.integrations.ase import NequIPCalculator
    from nequip.model.nequip_models import PresetNequIPGNNModel
    from nequip.utils.global_state import set_global_state

    set_global_state()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = PresetNequIPGNNModel(
            preset="S",
            seed=0,
            model_dtype="float32",
            r_max=CUTOFF,
            type_names=list(SYMBOLS),
            avg_num_neighbors=60.0,
        )
    mapper = ChemicalSpeciesToAtomTypeMapper(
        model_type_names=list(SYMBOLS),
        chemical_species_to_atom_type_map={symbol: symbol for symbol in SYMBOLS},
    )
    transforms = [mapper, NeighborListTransform(r_max=CUTOFF)]
    return NequIPCalculator(model.eval(), device="cpu", transforms=transforms)


def pet_xs():
    """Our calculator of PET XS."""
    import gpu

    return _ours(gpu.make_published("PET XS"))


def pnita():
    """Our calculator of a PNITA of the size of benchmarks/ponita_ethanol.py."""
    import tomllib

    from ponita_ethanol import PONITA

    from ase_pet.models import ponita

    settings = tomllib.loads(PONITA.format(grid="none"))
    return _ours(ponita.Model(ponita.Settings(species=NUMBERS, **settings)))


def _ours(model):
    from ase_pet import PETCalculator

    return PETCalculator(model, device="cpu", dtype="float32")
