"""Cost of uncertainties: a step alone, with a policy, and with force uncertainties.

    python benchmarks/uncertainty_cost.py CALC [CALC ...] [--members 128] [--repeats 9]

CALC is a calculator with uncertainties, such as silicon, or a checkpoint without: a covariance and
an ensemble are added to it, as the cost depends on shapes only. CPU time, one thread, float32, 64
atoms of displaced silicon that move a little at each step.
"""

import argparse
import platform
import time
from dataclasses import replace

import numpy as np
import torch
from ase.build import bulk

from ase_pet import PETCalculator, store

CASES = {
    "energy, forces": ("off", ()),
    "and the policy 'warn'": ("warn", ()),
    "and the ensemble of energies": ("off", ("energy_ensemble",)),
    "and the spread of forces": ("off", ("forces_uncertainty",)),
}


def with_uncertainties(path, members):
    """Model with its uncertainties, or with a unit covariance and `members` readouts."""
    plain, _ = store.load(path)
    if plain.uncertainty is not None:
        return plain
    settings = replace(plain.settings, uncertainties={"energy": members})
    model = type(plain)(settings)
    missing = model.load_state_dict(plain.state_dict(), strict=False).missing_keys
    if any(not name.startswith("uncertainties.") for name in missing):
        raise ValueError(f"`{path}`: {missing}")
    model.compositions, model.scales = plain.compositions, plain.scales
    model.uncertainties["energy"].ensemble.normal_(generator=torch.Generator().manual_seed(0))
    return model


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("calculators", nargs="+")
    parser.add_argument("--members", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=9)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(
        f"{platform.platform()}, torch {torch.__version__}, Si 64,"
        " float32, 1 thread, median CPU time in ms"
    )
    for path in arguments.calculators:
        model, times = with_uncertainties(path, arguments.members), {name: [] for name in CASES}
        calculators = {
            name: PETCalculator(
                model, device="cpu", dtype="float32", uncertainty=policy, uncertainty_threshold=1e6
            )
            for name, (policy, _) in CASES.items()
        }
        atoms = bulk("Si", cubic=True) * (2, 2, 2)
        for step in range(arguments.repeats + 2):
            atoms.rattle(0.003, seed=step)
            for name, (_, further) in CASES.items():
                start = time.process_time()
                calculators[name].calculate(atoms, ("energy", "forces", *further), ["positions"])
                times[name].append(time.process_time() - start)
        print(f"{path}, {model.uncertainty.n_members} members")
        for name in CASES:
            median = float(np.median(times[name][2:]))
            ratio = median / float(np.median(times["energy, forces"][2:]))
            print(f"  {name:30s} {1e3 * median:9.1f} ms  x {ratio:.2f}")


if __name__ == "__main__":
    main()
