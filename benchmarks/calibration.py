"""Expected against observed errors of the shipped calculators, of energies and forces.

    python benchmarks/calibration.py [--data ../shared/data] [--structures 8] [--output FOLDER]

silicon: test structures of its data, bonds below 1.7 A that were held back, and groups of mlearn,
beyond the training (63 and 64 atoms; another zero of energy: forces only). ethanol: test structures
of GFN2-xTB dynamics at three temperatures, and of the revised MD17 set (forces only). Energies are
those of all structures, forces of some of them. The numbers are explained in
`ase_pet.uncertainty.calibration`. One thread, float32.
"""

import argparse
import platform
import time
from pathlib import Path

import ase.io
import numpy as np
import torch
from ase import units

from ase_pet import PETCalculator
from ase_pet.uncertainty import calibration

ROOT = Path(__file__).resolve().parents[1] / "calculators"
SILICON = "silicon/training*.extxyz.xz"
ETHANOL = "ethanol/training.extxyz.xz"
CLOSE = "silicon/held_close.extxyz.xz"
MLEARN = "mlearn/Si_test.extxyz.xz"
RMD17 = "public/ethanol_rmd17_60.xyz"
BOTH = ("energy", "forces")
KCAL = units.kcal / units.mol
CASES = {  # name: (calculator, files in calculators/ or in --data, entries of info, kinds)
    "silicon, test": ("silicon", SILICON, {"split": "test"}, BOTH),
    "silicon, pressed bonds": ("silicon", CLOSE, {}, BOTH),
    "silicon, mlearn Elastic": ("silicon", MLEARN, {"group": "Elastic"}, ("forces",)),
    "silicon, mlearn Vacancy": ("silicon", MLEARN, {"group": "Vacancy"}, ("forces",)),
    "silicon, mlearn AIMD": ("silicon", MLEARN, {"group": "AIMD-NVT"}, ("forces",)),
    "silicon, mlearn Surface": ("silicon", MLEARN, {"group": "Surface"}, ("forces",)),
    **{
        f"ethanol, {kelvin} K": (
            "ethanol",
            ETHANOL,
            {"split": "test", "config_type": f"ethanol_{kelvin}K"},
            BOTH,
        )
        for kelvin in (300, 500, 800)
    },
    "ethanol, rMD17": ("ethanol", RMD17, {}, ("forces",)),
}
FACTORS = {RMD17: KCAL}  # of labels that are not in eV
UNITS = {"energy": ("meV", 1e3), "forces": ("meV/A", 1e3)}
MOST_ATOMS = 200  # of the structures with forces; each member of the ensemble is a backward pass


def structures(folder, pattern, wanted):
    """Structures of files with these entries, and the factor to eV of their labels."""
    place = ROOT if (ROOT / pattern.split("/")[0]).is_dir() else folder
    frames = []
    for path in sorted(place.glob(pattern)):
        frames += ase.io.read(path, ":")
    kept = [
        atoms
        for atoms in frames
        if all(atoms.info.get(key) == value for key, value in wanted.items())
    ]
    return kept, FACTORS.get(pattern, 1.0)


def some(frames, most):
    """At most `most` structures, evenly distributed, with not too many atoms in all."""
    count = min(most, max(2, MOST_ATOMS // len(frames[0])))
    return frames[:: max(1, len(frames) // count)][:count]


def values(calculator, frames, kind, to_ev):
    """Standard deviations and errors of a kind of label, flat, in eV and A."""
    name = f"{kind}_uncertainty"
    deviations = []
    errors = []
    for atoms in frames:
        row = calculator.evaluate([atoms], (kind, name))[0]
        errors.append(np.ravel(row[kind] - to_ev * atoms.calc.results[kind]))
        deviations.append(np.ravel(row[name]))
    return np.concatenate(deviations), np.concatenate(errors)


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--structures", type=int, default=8, help="with forces")
    parser.add_argument("--output", type=Path, help="folder of pictures")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{platform.platform()}, torch {torch.__version__}, float32, 1 thread")
    for name, (model, pattern, wanted, kinds) in CASES.items():
        calculator = PETCalculator(model, device="cpu")
        frames, to_ev = structures(arguments.data, pattern, wanted)
        if not frames:
            print(f"{name}: no data in {arguments.data / pattern}")
            continue
        pairs = {}
        for kind in kinds:
            start = time.process_time()
            used = frames if kind == "energy" else some(frames, arguments.structures)
            pairs[kind] = (*values(calculator, used, kind, to_ev), UNITS[kind][0])
            seconds = time.process_time() - start
            compared = calibration.compare(*pairs[kind][:2])
            unit, factor = UNITS[kind]
            print(
                f"\n{name}, {kind} of {len(used)} structures ({seconds:.0f} s): rms z"
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
