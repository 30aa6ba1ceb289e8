#!/usr/bin/env python3
"""Checkpoint of metatrain with random weights, of a published size of PET, for `single_point.py`.

    python benchmarks/random_checkpoint.py XS xs.ckpt && mtt export xs.ckpt -o xs.pt

It runs in the environment of the peers (see `single_point.py`), which has metatrain.
"""

import argparse

import torch
from metatrain.pet import PET
from metatrain.utils.architectures import get_default_hypers
from metatrain.utils.data import DatasetInfo
from metatrain.utils.data.target_info import get_energy_target_info
from omegaconf import OmegaConf

SPECIES = [1, 6, 8, 14]
SIZES = {
    "XS": {
        "cutoff": 7.5,
        "num_neighbors_adaptive": 8,
        "d_pet": 128,
        "d_node": 512,
        "d_head": 128,
        "d_feedforward": 256,
        "num_gnn_layers": 2,
    },
    "S": {
        "cutoff": 8.0,
        "num_neighbors_adaptive": 16,
        "d_pet": 256,
        "d_node": 1024,
        "d_head": 256,
        "d_feedforward": 512,
        "num_gnn_layers": 3,
    },
}
COMMON = {
    "adaptive_cutoff_method": "grid",
    "cutoff_width_adaptive": 0.5,
    "num_attention_layers": 1,
}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("size", choices=SIZES)
    parser.add_argument("output")
    args = parser.parse_args()
    torch.manual_seed(0)
    hypers = get_default_hypers("pet")["model"] | COMMON | SIZES[args.size]
    energy = OmegaConf.create({"quantity": "energy", "unit": "eV"})
    targets = {"energy": get_energy_target_info("energy", energy, True, True)}
    info = DatasetInfo(length_unit="angstrom", atomic_types=SPECIES, targets=targets)
    checkpoint = PET(hypers, info).get_checkpoint()
    torch.save(checkpoint, args.output)


if __name__ == "__main__":
    main()
