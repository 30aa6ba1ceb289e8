#!/usr/bin/env python3
"""N-body forecasting: a PONITA with vector inputs and outputs predicts where charges will be.

usage: nbody.py [--train 3000] [--test 2000] [--epochs 40] [--folder runs/nbody] [--forget]

Five particles of mass 1 and charge +1 or -1 (equal chances) in free space. Positions at the start
are normal with a standard deviation of 1, velocities have the length 0.5 and random directions.
Particles attract and repel each other by Coulomb forces q_i q_j / r^2, each component of the total
force on a particle is at most 100, and steps of 0.001 are made by symplectic Euler. Given charges,
positions and velocities at t = 3, the positions at t = 4 are to be predicted (frames 30 and 40 of
the original data, which are 0.1 apart).

The system is that of Kipf et al. (ICML 2018) as used by Satorras et al. (EGNN, ICML 2021) and
Brandstetter et al. (SEGNN, ICLR 2022). The trajectories here are others of the same distribution.
Error: mean squared error of coordinates. Few close encounters dominate it, so an interval is
printed: mean of trajectories +- 1.96 standard errors. Published, after up to 10 000 epochs: EGNN
0.0070, SEGNN 0.0043, PONITA 0.0043 (Bekkers et al., ICLR 2024).

The network predicts the difference from the straight line x + v. Trajectories are turned at random
in training. An interrupted training goes on; --forget starts again.
"""

import argparse
import platform
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from ase_pet import graph, rotations
from ase_pet.models import ponita

CHARGES = {-1: 1, 1: 2}  # the "element" of each charge
PARTICLES = 5
STEP = 1e-3
STEPS_TO_INPUT = 3000
STEPS_TO_TARGET = 1000
LARGEST_FORCE = 100.0
VALIDATION = 500
BATCH = 100
RATE = 3e-3
SETTINGS = ponita.Settings(
    species=tuple(CHARGES.values()),
    cutoff=100.0,
    cutoff_function="none",
    orientations="icosahedral",
    width=64,
    num_basis=32,
    num_layers=4,
    vector_inputs=1,
    heads={"displacement": 3},
)


def forces(positions, charges):
    """Coulomb forces (n, 5, 3) on particles at positions (n, 5, 3)."""
    apart = positions[:, :, None] - positions[:, None]  # (n, 5, 5, 3), from j to i
    squared = np.square(apart).sum(-1) + np.eye(PARTICLES)
    strength = charges[:, :, None] * charges[:, None] / squared**1.5
    total = (strength[..., None] * apart).sum(2)
    return np.clip(total, -LARGEST_FORCE, LARGEST_FORCE)


def advance(positions, velocities, charges, steps):
    """Positions and velocities after some time steps."""
    for _ in range(steps):
        velocities = velocities + STEP * forces(positions, charges)
        positions = positions + STEP * velocities
    return positions, velocities


def simulate(count, seed):
    """Charges (n, 5), positions and velocities (n, 5, 3) at t = 3, and positions at t = 4."""
    generator = np.random.default_rng(seed)
    charges = generator.choice(list(CHARGES), (count, PARTICLES))
    positions = generator.normal(size=(count, PARTICLES, 3))
    velocities = generator.normal(size=(count, PARTICLES, 3))
    velocities *= 0.5 / np.linalg.norm(velocities, axis=-1, keepdims=True)
    positions, velocities = advance(positions, velocities, charges, STEPS_TO_INPUT)
    targets, _ = advance(positions, velocities, charges, STEPS_TO_TARGET)
    return charges, positions, velocities, targets


def data(folder, name, count, seed):
    """Trajectories, kept in a file of the folder."""
    file = folder / f"{name}_{count}.npz"
    if not file.exists():
        began = time.process_time()
        np.savez(file, *simulate(count, seed))
        seconds = time.process_time() - began
        print(f"{count} trajectories for {name}: {seconds:.0f} CPU-s", flush=True)
    with np.load(file) as arrays:
        return list(arrays.values())


def batches(trajectories):
    """[(graph, velocities (m, 1, 3), displacements (m, 3) from x + v)] of BATCH trajectories."""
    charges, positions, velocities, targets = trajectories
    numbers = np.vectorize(CHARGES.get)(charges)
    made = []
    for begin in range(0, len(charges), BATCH):
        part = slice(begin, begin + BATCH)
        structures = [
            graph.Structure(number, position, np.zeros((3, 3)), np.zeros(3, bool))
            for number, position in zip(numbers[part], positions[part], strict=True)
        ]
        whole = graph.build(structures, SETTINGS.cutoff, dtype=torch.float32)
        velocity = torch.tensor(velocities[part].reshape(-1, 1, 3), dtype=torch.float32)
        change = targets[part] - positions[part] - velocities[part]
        made.append((whole, velocity, torch.tensor(change.reshape(-1, 3), dtype=torch.float32)))
    return made


def turned(batch, matrix):
    """A batch after a rotation or reflection (3, 3)."""
    whole, velocity, change = batch
    matrix = matrix.to(torch.float32)
    vectors = whole.pair_vectors @ matrix.T
    return replace(whole, pair_vectors=vectors), velocity @ matrix.T, change @ matrix.T


def squared_errors(model, batch):
    """Mean squared error (n,) of the coordinates of each trajectory."""
    whole, velocity, change = batch
    predicted = model.predict(whole, ("displacement",), velocity)["displacement"]
    return (predicted - change).square().view(-1, 3 * PARTICLES).mean(1)


def interval(errors):
    """ "mean +- 1.96 standard errors" of errors (n,)."""
    errors = np.asarray(errors)
    return f"{errors.mean():.4f} +- {1.96 * errors.std() / len(errors) ** 0.5:.4f}"


def evaluate(model, parts):
    """Errors (n,) of all trajectories of some batches."""
    with torch.no_grad():
        return torch.cat([squared_errors(model, batch) for batch in parts]).numpy()


def train(model, parts, validation, arguments):
    """Train the model, or go on; returns CPU time in s of the training."""
    file = arguments.folder / "training.pt"
    steps = arguments.epochs * len(parts)
    optimiser = torch.optim.AdamW(model.parameters(), RATE, weight_decay=1e-8)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, RATE, total_steps=steps, pct_start=0.05, final_div_factor=100
    )
    kept = {"model": model, "optimiser": optimiser, "schedule": schedule}
    first = 0
    seconds = 0.0
    if file.exists():
        state = torch.load(file, weights_only=True)
        for name, part in kept.items():
            part.load_state_dict(state[name])
        first = state["epoch"]
        seconds = state["seconds"]
    for epoch in range(first, arguments.epochs):
        began = time.process_time()
        generator = torch.Generator().manual_seed(epoch)
        matrices = rotations.random_orthogonal(len(parts), generator)
        for index in torch.randperm(len(parts), generator=generator).tolist():
            loss = squared_errors(model, turned(parts[index], matrices[index])).mean()
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimiser.step()
            schedule.step()
        seconds += time.process_time() - began
        state = {name: part.state_dict() for name, part in kept.items()}
        torch.save({**state, "epoch": epoch + 1, "seconds": seconds}, file)
        if epoch % 10 == 9:
            print(
                f"epoch {epoch + 1}: validation {interval(evaluate(model, validation))}"
                f"  {seconds:.0f} CPU-s",
                flush=True,
            )
    return seconds


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train", type=int, default=3000)
    parser.add_argument("--test", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--folder", type=Path, default=Path("runs/nbody"))
    parser.add_argument("--forget", action="store_true", help="start the training again")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    if arguments.forget:
        (arguments.folder / "training.pt").unlink(missing_ok=True)
    training = data(arguments.folder, "train", arguments.train, 1)
    validation = batches(data(arguments.folder, "validation", VALIDATION, 2))
    test = data(arguments.folder, "test", arguments.test, 3)
    _, positions, velocities, targets = test
    model = ponita.Model(SETTINGS)
    seconds = train(model, batches(training), validation, arguments)
    still = np.square(targets - positions).mean((1, 2))
    straight = np.square(targets - positions - velocities).mean((1, 2))
    print(f"{platform.platform()}, torch {torch.__version__}, one thread")
    print(f"test, {arguments.test} trajectories: mean squared error of coordinates")
    print(f"particles stay                  {interval(still)}")
    print(f"straight lines                  {interval(straight)}")
    weights = sum(parameter.numel() for parameter in model.parameters())
    print(
        f"PONITA, {weights} weights        {interval(evaluate(model, batches(test)))}"
        f"   ({arguments.train} trajectories, {arguments.epochs} epochs, {seconds:.0f} CPU-s)"
    )


if __name__ == "__main__":
    main()
