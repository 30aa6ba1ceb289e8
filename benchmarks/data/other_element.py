"""A calculator of one element from that of another, to start a training from.

    python benchmarks/data/other_element.py runs/silicon-general Ge runs/germanium-start \\
        --stretch 1.05

The weights are copied. A PET reads an edge as W (r_ij, |r_ij|) + b: with W divided by `stretch`,
the network sees the crystal of the new element at the distances of the old one. `scale`, the unit
in which the last layers predict, is that of the new forces. Energies and forces of the result mean
nothing before the training.
"""

import argparse
import dataclasses

from ase.data import atomic_numbers

from ase_pet import store
from ase_pet.calculator_info import CalculatorInfo


def main() -> None:
    """Write the calculator."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("start", help="PET of one element: name or folder")
    parser.add_argument("element", help="symbol of the other one")
    parser.add_argument("output", help="calculator folder to write")
    parser.add_argument("--stretch", type=float, default=1.0, help="ratio of the bond lengths")
    parser.add_argument("--scale", type=float, default=1.0, help="RMS force in eV/A")
    options = parser.parse_args()

    before, _ = store.load(options.start)
    number = atomic_numbers[options.element]
    settings = dataclasses.replace(
        before.settings, species=[number], cutoff=before.settings.cutoff * options.stretch
    )
    model = type(before)(settings)
    model.load_state_dict(before.state_dict())
    for layer in model.gnn_layers:
        layer.edge_embedder.weight.data /= options.stretch
    model.scales = {model.energy_head: options.scale}
    model.compositions = {model.energy_head: {number: 0.0}}
    name = f"{options.element} with the weights of {options.start}"
    store.save(options.output, model, CalculatorInfo(name=name))


if __name__ == "__main__":
    main()
