"""Run tests with other kernels, numbers of threads and seeds, and print the outcome.

    python tests/kernels.py [--quick] [TEST FILE ...]

Processors differ in the kernels that torch, MKL and oneDNN choose, and kernels in the order of
sums. Each setting below makes this processor use kernels of other processors; a test that fails in
one of them fails on other machines. Exit status 1 if any test failed. Kernels that this processor
does not have are skipped. `--quick` runs fewer tests in fewer settings, in about a minute; without
names of files the tests are those that compare numbers most closely.
"""

import argparse
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parent.parent
FILES = (
    "rotations/test_rotations.py",
    "rotations/test_orientations.py",
    "graph/test_graph.py",
    "models/test_golden.py",
    "symmetrisers/test_group.py",
    "evaluation/test_hessian.py",
    "symmetrisers/test_ecse.py",
    "symmetrisers/test_ecse_gentle.py",
    "symmetrisers/test_ecse_heads.py",
    "symmetrisers/test_ecse_layers.py",
    "symmetrisers/test_ecse_messages.py",
    "symmetrisers/test_ecse_pruned.py",
    "symmetrisers/test_ecse_smooth.py",
    "models/test_pet.py",
    "models/test_original_pet.py",
    "models/test_ponita.py",
    "symmetrisers/test_ponita_symmetry.py",
)
QUICK = ("rotations/test_rotations.py", "rotations/test_orientations.py", "models/test_golden.py")
QUICK_SELECTION = "not silicon and not residual and not feedforward"  # which take longest

# Oldest kernels that torch, MKL and oneDNN have: what a processor without AVX would use.
OLD = {
    "ATEN_CPU_CAPABILITY": "default",
    "MKL_CBWR": "COMPATIBLE",
    "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
}
SETTINGS = {  # name: environment
    "as it is": {},
    "torch: default": {"ATEN_CPU_CAPABILITY": "default"},
    "torch: avx2": {"ATEN_CPU_CAPABILITY": "avx2"},
    "torch: avx512": {"ATEN_CPU_CAPABILITY": "avx512"},
    "MKL: AVX2": {"MKL_CBWR": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"},
    "oneDNN: AVX2": {"ONEDNN_MAX_CPU_ISA": "AVX2"},
    "oneDNN off": {"ASE_PET_TEST_ONEDNN": "0"},
    "all: SSE": OLD,
    "two threads": {"OMP_NUM_THREADS": "2"},
    "seed 1": {"ASE_PET_TEST_SEED": "1"},
    "seed 2": {"ASE_PET_TEST_SEED": "2"},
}
QUICK_SETTINGS = ("torch: avx2", "all: SSE")
RANKS = ("DEFAULT", "AVX2", "AVX512")  # of torch.backends.cpu.get_cpu_capability


def possible(environment):
    """Whether this processor has the requested kernels of torch."""
    asked = environment.get("ATEN_CPU_CAPABILITY", "default").upper()
    here = torch.backends.cpu.get_cpu_capability()
    return here in RANKS and RANKS.index(asked) <= RANKS.index(here)


def run(environment, files, selection):
    """(exit status, last line of pytest, seconds, names of tests that failed) of one setting."""
    command = [sys.executable, "-m", "pytest", "-q", "--tb=line", "-p", "no:cacheprovider"]
    command += [str(ROOT / "tests" / name) for name in files]
    command += ["-m", "not slow", *(["-k", selection] if selection else [])]
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    inherited = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    variables = {"OMP_NUM_THREADS": "1", "ASE_PET_TEST_SEED": "0", **environment}
    start = time.perf_counter()
    done = subprocess.run(
        command, cwd=ROOT, env={**inherited, **variables}, capture_output=True, text=True
    )
    seconds = time.perf_counter() - start
    lines = done.stdout.strip().splitlines() or [done.stderr.strip() or "no output"]
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    return done.returncode, lines[-1], seconds, failed


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("files", nargs="*", help="test files in tests/; default: see above")
    parser.add_argument("--quick", action="store_true", help="fewer tests and settings")
    parser.add_argument("--settings", help="names of settings with commas between; default: all")
    arguments = parser.parse_args()
    chosen = QUICK_SETTINGS if arguments.quick else tuple(SETTINGS)
    if arguments.settings:
        chosen = tuple(arguments.settings.split(","))
        unknown = [name for name in chosen if name not in SETTINGS]
        if unknown:
            parser.error(f"no such setting: {', '.join(unknown)}; known: {', '.join(SETTINGS)}")
    files = arguments.files or (QUICK if arguments.quick else FILES)
    selection = QUICK_SELECTION if arguments.quick and not arguments.files else None

    print(f"torch {torch.__version__}, kernels {torch.backends.cpu.get_cpu_capability()}")
    bad = False
    for name in chosen:
        if not possible(SETTINGS[name]):
            print(f"{name:16s} this processor has no such kernels")
            continue
        status, line, seconds, failed = run(SETTINGS[name], files, selection)
        bad |= status != 0
        word = "passed" if status == 0 else "FAILED"
        print(f"{name:16s} {word} {seconds:6.0f} s  {line}", flush=True)
        for test in failed:
            print(f"{'':16s} {test}", flush=True)
    sys.exit(int(bad))


if __name__ == "__main__":
    main()
