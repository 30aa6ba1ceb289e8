#!/usr/bin/env python3
"""Share of the products of matrices in a step, and of the speed at which this CPU makes them.

    OMP_NUM_THREADS=1 python benchmarks/products.py --model S --system si8 si512

The products of the linear maps of one step (energy, forces, stress, float32) are recorded, and then
made again without anything else. Printed are their number (2 for each multiplication and addition),
the CPU time of a step and that of its products alone, and the speed of both as a share of the
speed of the product of two square matrices. No program that makes the same products in float32
takes less time than these.
"""

import argparse
import time

import gpu
import single_point
import torch

from ase_pet import PETCalculator
from ase_pet.layers import linear

SIDE = 2048  # rows of the square matrices


def seconds(call, repeats):
    """Median CPU time of a call."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return sorted(times)[len(times) // 2]


def recorded_products(step):
    """Functions that make the products of a step again, and their number in GFLOP."""
    calls = []
    original = linear._onednn
    fewest = linear.FEWEST_PRODUCTS

    def recording(x, weight, bias):
        result = original(x, weight, bias)
        calls.append((x.detach().clone(), weight, bias, result.shape[1]))
        return result

    linear.FEWEST_PRODUCTS = 0  # so that all of them are made there
    linear._onednn = recording
    step()
    linear._onednn = original
    linear.FEWEST_PRODUCTS = fewest
    work = sum(2e-9 * x.shape[0] * x.shape[1] * width for x, _, _, width in calls)

    def repeat():
        with torch.no_grad():
            for x, weight, bias, _ in calls:
                original(x, weight, bias)

    return repeat, work


def line(size, system, peak, repeats):
    """Result of one system as text; peak is the speed of square matrices in GFLOP/s."""
    torch.manual_seed(0)
    model = gpu.make_published(f"PET {size}")
    calculator = PETCalculator(model, device="cpu", dtype="float32")
    steps = single_point.trajectory(single_point.SYSTEMS[system]())

    def step():
        single_point.single_point(calculator, next(steps))

    step()
    step()
    repeat, work = recorded_products(step)
    products = seconds(repeat, repeats)
    whole = seconds(step, repeats)
    return (
        f"PET {size:2} {system:9} {work:7.2f} GFLOP   step {1e3 * whole:8.1f} ms, products"
        f" {1e3 * products:8.1f} ms ({100 * products / whole:.0f} %)   share of the peak: step"
        f" {100 * work / whole / peak:.0f} %, products {100 * work / products / peak:.0f} %"
    )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", nargs="+", default=["XS", "S"], choices=("XS", "S"))
    parser.add_argument(
        "--system", nargs="+", default=["si8", "ethanol", "si64"], choices=single_point.SYSTEMS
    )
    parser.add_argument("--repeats", type=int, default=9)
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(single_point.machine(1))
    square = torch.randn(SIDE, SIDE)
    peak = 2e-9 * SIDE**3 / seconds(lambda: square @ square, 7)
    print(f"product of two matrices of {SIDE} rows: {peak:.0f} GFLOP/s")
    for size in args.model:
        for system in args.system:
            print(line(size, system, peak, args.repeats), flush=True)


if __name__ == "__main__":
    main()
