"""Expected against observed errors of the shipped calculators, of energies and forces.

    python benchmarks/calibration.py [--data ../shared/data] [--structures 20] [--output FOLDER]

silicon: test split of silicon_pbe, and structures beyond the training (defects and surfaces of
mlearn, another zero of energy: forces only). ethanol: test split of ethanol_pbe. The numbers are
explained in `ase_pet.uncertainty.calibration`. One thread, float32.
"""

import argparse
import platform
import time
from pathlib import Path

import ase.io
import numpy as np
import torch

from ase_pet import PETCalculator
from ase_pet.uncertainty import calibration

CASES = {  # name: (calculator, files in the folder of data, split, kinds)
    "silicon, test": ("silicon", "silicon_pbe/silicon_pbe.extxyz", "test", ("energy", "forces")),
    "ethanol, test": ("ethanol", "ethanol_pbe/ethanol_pbe.extxyz", "test", ("energy", "forces")),
    "silicon, mlearn": ("silicon", "mlearn/Si_test.extxyz.xz", None, ("forces",)),
}
UNITS = {"energy": ("meV", 1e3), "forces": ("meV/A", 1e3)}


def structures(folder, pattern, split, most):
    """At most `most` structures of files, evenly distributed."""
    frames = []
    for path in sorted(folder.glob(pattern)):
        frames += ase.io.read(path, ":")
    kept = [atoms for atoms in frames if split is None or atoms.info.get("split") == split]
    return kept[:: max(1, len(kept) // most)][:most]


def values(calculator, frames, kind):
    """Standard deviations and errors of a kind of label, flat."""
    name = f"{kind}_uncertainty"
    deviations = []
    errors = []
    for atoms in frames:
        row = calculator.evaluate([atoms], (kind, name))[0]
        errors.append(np.ravel(row[kind] - atoms.calc.results[kind]))
        deviations.append(np.ravel(row[name]))
    return np.concatenate(deviations), np.concatenate(errors)


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--structures", type=int, default=20)
    parser.add_argument("--output", type=Path, help="folder of pictures")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{platform.platform()}, torch {torch.__version__}, float32, 1 thread")
    for name, (model, pattern, split, kinds) in CASES.items():
        calculator = PETCalculator(model, device="cpu")
        frames = structures(arguments.data, pattern, split, arguments.structures)
        if not frames:
            print(f"{name}: no data in {arguments.data / pattern}")
            continue
        pairs = {}
        for kind in kinds:
            start = time.process_time()
            pairs[kind] = (*values(calculator, frames, kind), UNITS[kind][0])
            seconds = time.process_time() - start
            compared = calibration.compare(*pairs[kind][:2])
            unit, factor = UNITS[kind]
            print(
                f"\n{name}, {kind} of {len(frames)} structures ({seconds:.0f} s): rms z"
                f" {compared.rms_z:.2f}, miscalibration area {compared.area:.3f}, slope"
                f" {compared.slope:.2f}, rank correlation {compared.rank:.2f}"
            )
            print(f"  {'errors':>7s} {'expected':>10s} {'observed':>10s}  ({unit})", flush=True)
            for row in compared.rows:
                expected = factor * row.expected
                observed = factor * row.observed
                print(f"  {row.count:7d} {expected:10.2f} {observed:10.2f}")
        if arguments.output:
            arguments.output.mkdir(parents=True, exist_ok=True)
            scaled = {k: (1e3 * s, 1e3 * e, u) for k, (s, e, u) in pairs.items()}
            picture = arguments.output / f"{name.replace(', ', '_')}.png"
            calibration.plot(scaled, picture)


if __name__ == "__main__":
    main()
