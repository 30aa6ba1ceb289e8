"""Silicon in LAMMPS on 1 and 2 processes, each on a core of its own, and the same run in ASE.

    python benchmarks/lammps.py benchmarks/results/lammps.json

Prints and writes the times of a step, the parallel efficiency, the shares of the messages between
processes and of the list of edges, the peak memory of each process, and the number of ghost atoms
that the model evaluated. Run it on a machine that does nothing else: elapsed times are those of
this machine with its load, which is written, too. CPU times depend less on it: parts alternate
--repeats times, and of each the run of least CPU time is taken. A process that waits for another
one uses its core, so that the efficiency from CPU times counts waiting as a loss.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

# this file has the name of the module of LAMMPS
sys.path = [path for path in sys.path if Path(path).resolve() != Path(__file__).resolve().parent]
MPIEXEC = str(Path(sys.executable).parent / "mpiexec")


def crystal(cells):
    """Displaced silicon of 8 cells^3 atoms."""
    from ase.build import bulk

    atoms = bulk("Si", cubic=True, a=5.466) * (cells, cells, cells)
    atoms.rattle(0.02, seed=1)
    return atoms


def in_ase(cells, steps):
    """Seconds of a step of NVE in ASE, and memory."""
    import ase.units
    from ase.md.verlet import VelocityVerlet

    from ase_pet import MLIPCalculator

    atoms = crystal(cells)
    atoms.calc = MLIPCalculator("silicon", device="cpu")
    run = VelocityVerlet(atoms, ase.units.fs)
    run.run(2)
    cpu = time.process_time()
    start = time.perf_counter()
    run.run(steps)
    return {
        "atoms": len(atoms),
        "step_s": (time.perf_counter() - start) / steps,
        "step_cpu_s": (time.process_time() - cpu) / steps,
        "peak_memory_MB": peak_memory(),
    }


def peak_memory():
    """Largest memory of this process so far in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def in_lammps(cells, steps):
    """Times of a step of NVE in LAMMPS on the processes of this run."""
    from ase_pet import MLIPCalculator
    from ase_pet.engines._ranks import load_mpi
    from ase_pet.engines.lammps import attach, instance

    comm = load_mpi().COMM_WORLD
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[comm.rank % len(cores)]})
    atoms = crystal(cells)
    length = atoms.cell[0, 0]
    lmp = instance(comm, ["-log", "none"], quiet=True)
    lmp.commands_string(
        f"units metal\natom_style atomic\nregion b block 0 {length} 0 {length} 0 {length}\n"
        "create_box 1 b\nmass 1 28.0855"
    )
    ids = list(range(1, len(atoms) + 1))
    lmp.create_atoms(len(atoms), ids, [1] * len(atoms), atoms.positions.flatten().tolist())
    potential = attach(lmp, MLIPCalculator("silicon", device="cpu"), comm, species=["Si"])
    lmp.commands_string("fix move all nve\ntimestep 0.001\nrun 2 post no")
    before = {**potential.atoms.seconds, "messages": potential.ranks.seconds}
    sent = potential.ranks.bytes_sent
    comm.barrier()
    cpu = time.process_time()
    start = time.perf_counter()
    lmp.command(f"run {steps} post no")
    cpu = (time.process_time() - cpu) / steps
    comm.barrier()
    step = (time.perf_counter() - start) / steps
    after = {**potential.atoms.seconds, "messages": potential.ranks.seconds}
    shares = {name: (after[name] - before[name]) / steps / step for name in after}
    everyone = comm.gather(
        {
            "shares": shares,
            "local_atoms": potential.atoms.n_evaluated,
            "ghosts_known": lmp.extract_setting("nghost"),
            "sent_MB_per_step": (potential.ranks.bytes_sent - sent) / steps / 1e6,
            "step_cpu_s": cpu,
            "peak_memory_MB": peak_memory(),
        }
    )
    if comm.rank:
        return None
    evaluated = sum(rank["local_atoms"] for rank in everyone)
    return {"step_s": step, "ghosts_evaluated": evaluated - len(atoms), "ranks": everyone}


def cpu_time(run):
    """CPU time of a step in s, of all processes."""
    return sum(rank["step_cpu_s"] for rank in run.get("ranks", [run]))


def part(name, cells, steps, processes=1):
    """Result of a part, in processes of its own."""
    command = [sys.executable, __file__, "-", "--part", name, "--cells", cells, "--steps", steps]
    if name == "lammps":
        command = [MPIEXEC, "-n", processes, *command]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [str(word) for word in command], env=environment, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout.strip().splitlines()[-1])


def main():
    """Run all parts and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file")
    parser.add_argument("--cells", type=int, default=8)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--part", choices=("ase", "lammps"))
    given = parser.parse_args()
    if given.part:
        run = in_ase if given.part == "ase" else in_lammps
        result = run(given.cells, given.steps)
        if result is not None:
            print(json.dumps(result), flush=True)
        return
    results = {
        "cpu": platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "steps": given.steps,
        "load_before": os.getloadavg(),
    }
    runs = {"ase": [], "lammps_1": [], "lammps_2": []}
    for _ in range(given.repeats):
        runs["ase"].append(part("ase", given.cells, given.steps))
        for processes in (1, 2):
            run = part("lammps", given.cells, given.steps, processes)
            runs[f"lammps_{processes}"].append(run)
    for name, of_part in runs.items():
        results[name] = min(of_part, key=cpu_time)
    one = results["lammps_1"]["step_s"]
    results["parallel_efficiency"] = one / 2 / results["lammps_2"]["step_s"]
    cpu = [cpu_time(results[name]) for name in ("lammps_1", "lammps_2")]
    results["parallel_efficiency_cpu"] = cpu[0] / cpu[1]
    results["load_after"] = os.getloadavg()
    rounded = json.loads(json.dumps(results), parse_float=lambda text: float(f"{float(text):.4g}"))
    Path(given.file).write_text(json.dumps(rounded, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(rounded, indent=1))
    np.testing.assert_equal(results["lammps_2"]["ghosts_evaluated"], 0)


if __name__ == "__main__":
    main()
