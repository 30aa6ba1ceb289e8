"""Ethanol: PBE labels estimated as GFN2-xTB labels plus a learned difference (delta learning).

    python benchmarks/data/ethanol_difference.py difference --cheap GFN2 ... --expensive PBE ... \
        --out OUT
    ase-pet train benchmarks/data/ethanol_difference.toml --output runs/ethanol-difference
    python benchmarks/data/ethanol_difference.py sum --cheap GFN2 ... --expensive PBE ... --out OUT

difference: energies and forces of PBE minus those of GFN2-xTB, for structures that have both,
with their splits. The difference is smaller and smoother, so that few structures suffice.
sum: GFN2-xTB plus the predicted difference, for training structures without PBE labels;
`info["labels"]` marks them as estimated. All files are extended XYZ.
"""

import argparse

import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from ase_pet import PETCalculator
from ase_pet.train.files import structures


def labelled(atoms, energy, forces, **info):
    """The structure with other labels."""
    copy = atoms.copy()
    copy.info.update(info)
    copy.calc = SinglePointCalculator(copy, energy=energy, forces=forces)
    return copy


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("difference", "sum"))
    parser.add_argument("--cheap", nargs="+", required=True)
    parser.add_argument("--expensive", nargs="+", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument(
        "--calculator", nargs="+", default=["runs/ethanol-difference"], help="of several the mean"
    )
    arguments = parser.parse_args()
    cheap, expensive = (
        {atoms.info["config_id"]: atoms for name in names for atoms in structures(name)}
        for names in (arguments.cheap, arguments.expensive)
    )
    if arguments.what == "difference":
        relabelled = [
            labelled(
                atoms,
                atoms.get_potential_energy() - cheap[k].get_potential_energy(),
                atoms.get_forces() - cheap[k].get_forces(),
            )
            for k, atoms in expensive.items()
        ]
    else:
        rest = [
            atoms
            for k, atoms in cheap.items()
            if k not in expensive and atoms.info["split"] == "train"
        ]
        models = [
            PETCalculator(name).evaluate(rest, ("energy", "forces"))
            for name in arguments.calculator
        ]
        relabelled = [
            labelled(
                atoms,
                *(
                    base + np.mean([one[label] for one in several], axis=0)
                    for label, base in (
                        ("energy", atoms.get_potential_energy()),
                        ("forces", atoms.get_forces()),
                    )
                ),
                labels="GFN2-xTB plus a model of the difference to PBE",
            )
            for atoms, *several in zip(rest, *models, strict=True)
        ]
    write(arguments.out, relabelled, format="extxyz")
    print(f"{len(relabelled)} structures written to {arguments.out}")


if __name__ == "__main__":
    main()
