#!/usr/bin/env python3
"""Memory of a step per atom, against metatomic-ase, and its growth over many steps.

    OMP_NUM_THREADS=1 python benchmarks/step_memory.py --peer XS.pt --ours XS.ckpt
    OMP_NUM_THREADS=1 python benchmarks/step_memory.py --ours XS.ckpt --steps 10000

Each program runs in a process of its own. It makes steps (energy, forces, stress) of silicon of 64
atoms first, then of larger cells, after the peak of the resident memory was reset. Printed is the
peak of each, and the slope between the largest and the smallest, which is the memory per atom.
With --steps, 8 atoms of silicon move, and printed ten times are the resident memory and what the C
library has handed out of its heap: the first also grows where freed blocks lie apart. Linux with
glibc 2.33 or later only; models and environment of the peer as in `single_point.py`.
"""

import argparse
import ctypes
import gc
import subprocess
import sys
import time

import single_point


def resident(name):
    """Entry of /proc/self/status in MB: VmHWM is the peak, VmRSS what it is now."""
    with open("/proc/self/status") as lines:
        return next(float(line.split()[1]) / 1024 for line in lines if line.startswith(name))


class HeapUse(ctypes.Structure):
    """`struct mallinfo2` of glibc."""

    names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
    _fields_ = [(name, ctypes.c_size_t) for name in names.split()]


def allocated():
    """Memory in MB that the C library has handed out of its heap."""
    library = ctypes.CDLL(None)
    library.mallinfo2.restype = HeapUse
    return library.mallinfo2().uordblks / 2**20


def peaks(path):
    """Print number of atoms and peak of the resident memory in MB, one line for each cell."""
    calculator = single_point.load(path, "float32")
    for repeats in (2, 2, 3, 4):  # the first one loads what is loaded at the first step
        steps = single_point.trajectory(single_point.silicon(repeats))
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")  # the peak is what is resident now
        for _ in range(2):
            single_point.single_point(calculator, next(steps))
        print("peak", 8 * repeats**3, resident("VmHWM"), flush=True)


def growth(path, count):
    """Print the resident and the allocated memory in the course of a run of 8 atoms."""
    calculator = single_point.load(path, "float32")
    steps = single_point.trajectory(single_point.silicon(1))
    for k in range(count + 1):
        single_point.single_point(calculator, next(steps))
        if k == 100 or k % (count // 10) == 0:
            gc.collect()
            print(
                f"step {k:6} {resident('VmRSS'):8.1f} MB resident, {allocated():8.2f} MB allocated",
                flush=True,
            )


def peaks_of(path):
    """{atoms: MB} of a new process."""
    command = [sys.executable, __file__, "--ours", path, "--worker"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("peak")]
    return {atoms: float(peak) for atoms, peak in lines}


def slope(peak):
    """Memory in MB per atom."""
    least, *_, most = peak
    return (peak[most] - peak[least]) / (int(most) - int(least))


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peer", help="model of metatomic (.pt)")
    parser.add_argument("--ours", required=True, help="the checkpoint that it was made from")
    parser.add_argument("--steps", type=int, help="steps of a run of ours")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def main():
    args = arguments()
    if args.worker:
        peaks(args.ours)
        return
    print(single_point.machine(1))
    if args.steps:
        start = time.process_time()
        growth(args.ours, args.steps)
        print(f"{time.process_time() - start:.0f} s of CPU time")
        return
    slopes = {}
    for name, path in {"metatomic-ase": args.peer, "ase_pet": args.ours}.items():
        peak = peaks_of(path)
        slopes[name] = slope(peak)
        shown = ", ".join(f"Si {atoms}: {megabytes:.0f} MB" for atoms, megabytes in peak.items())
        print(f"{name:14} {shown}   {slopes[name]:.2f} MB/atom", flush=True)
    print(f"ase_pet / metatomic-ase: {slopes['ase_pet'] / slopes['metatomic-ase']:.2f}")


if __name__ == "__main__":
    main()
