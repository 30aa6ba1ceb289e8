"""Freed memory that is kept from step to step."""

import platform
import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys
import torch
from ase_pet import memory

if sys.argv[1] == "kept":
    memory.keep_freed()
faults = []
for _ in range(12):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    arrays = [torch.ones(2**19) for _ in range(10)]  # 2 MiB each
    del arrays
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(sum(faults[2:]))
"""


def new_pages(case):
    """Number of pages that ten repetitions ask the system for."""
    command = [sys.executable, "-c", SCRIPT, case]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_freed_memory_is_kept():
    # where blocks lie is different in each process, and a few are returned in any case
    assert new_pages("kept") < new_pages("returned") / 3
