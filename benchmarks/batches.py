"""Many small systems at once: molecules and steps of replicas per CPU second, by size of the batch.

    python benchmarks/batches.py [--batches 1 4 16 64 256] [--steps 10] [--device cpu]

Ethanol, 9 atoms, with the bundled models of it (--models), float32, one thread. `evaluate` returns
energies and forces of molecules of a list, so many at a time; with torch-sim as many replicas move
together in NVE; ASE moves one. torch-sim searches neighbours once, `evaluate` for each molecule.
"""

import argparse
import platform
import time

import torch
from ase import units
from ase.build import molecule
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.md.verlet import VelocityVerlet

from ase_pet import PETCalculator
from ase_pet.engines.torch_sim import TorchSimModel

MODELS = ("ethanol", "ethanol-ponita")  # with ECSE, without
ATOMS = 9
TIMESTEP = 0.5  # fs


def displaced(count):
    """Molecules of ethanol, each displaced by 0.03 A in its own way."""
    molecules = []
    for seed in range(count):
        atoms = molecule("CH3CH2OH")
        atoms.rattle(0.03, seed=seed)
        molecules.append(atoms)
    return molecules


def clock(device):
    """Seconds: CPU time, or elapsed time where the device computes beside it."""
    if device == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def evaluated(name, batch, options):
    """Molecules per second of `evaluate`."""
    calculator = PETCalculator(name, batch_atoms=ATOMS * batch, **options)
    molecules = displaced(max(64, 2 * batch))
    calculator.evaluate(molecules[:batch], ("energy", "forces"))
    start = clock(options["device"])
    calculator.evaluate(molecules, ("energy", "forces"))
    return len(molecules) / (clock(options["device"]) - start)


def moved(name, batch, steps, options):
    """Steps of all replicas per second, NVE of torch-sim."""
    import torch_sim as ts
    from torch_sim.integrators import nve

    model = TorchSimModel(name, **options)
    state = ts.io.atoms_to_state(displaced(batch), torch.device(options["device"]), torch.float64)
    kelvin = torch.tensor(300 * units.kB, dtype=torch.float64, device=state.positions.device)
    step = torch.tensor(1e-3 * TIMESTEP, dtype=torch.float64, device=state.positions.device)
    begin, advance = nve(model, dt=step, kT=kelvin)  # of torch-sim 0.3
    moving = advance(begin(state))
    start = clock(options["device"])
    for _ in range(steps):
        moving = advance(moving)
    return batch * steps / (clock(options["device"]) - start)


def moved_by_ase(name, steps, options):
    """Steps per second of one molecule, NVE of ASE."""
    atoms = displaced(1)[0]
    atoms.calc = PETCalculator(name, **options)
    MaxwellBoltzmannDistribution(atoms, temperature_K=300)
    run = VelocityVerlet(atoms, TIMESTEP * units.fs)
    run.run(2)
    start = clock(options["device"])
    run.run(steps)
    return steps / (clock(options["device"]) - start)


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 16, 64, 256])
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    torch.set_num_threads(1)
    options = {"device": given.device, "dtype": "float32"}
    kind = "CPU second" if given.device == "cpu" else "second"
    print(f"{platform.machine()}, torch {torch.__version__}, {given.device}, per {kind}")
    for name in given.models:
        alone = moved_by_ase(name, 5 * given.steps, options)
        print(f"{name}: one molecule in ASE {alone:.0f} steps", flush=True)
        for batch in given.batches:
            molecules = evaluated(name, batch, options)
            steps = moved(name, batch, given.steps, options)
            print(f"  batch {batch:3d}: {molecules:7.0f} molecules, {steps:7.0f} steps", flush=True)


if __name__ == "__main__":
    main()
