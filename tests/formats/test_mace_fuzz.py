"""Mutants of a MACE file: each refused with one message, or read with the same numbers."""

import os
import re
import subprocess
import sys

from paths import ROOT


def test_mutants_are_refused_and_execute_nothing(reference_file):
    """The benchmark with few mutants, in a process of its own: its audit hook stays for good."""
    path = reference_file("mace/organic.model")
    script = ROOT / "benchmarks" / "fuzz_checkpoints.py"
    done = subprocess.run(
        [sys.executable, str(script), "--mutants", "2", "--seed", "1", str(path)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "written by the readers: none" in done.stdout
    assert re.search(r"^14 mutants: \{'refused': \d+, 'read': \d+\}$", done.stdout, re.M)
    growth = int(re.search(r"peak memory after the first kind grew by (\d+) MB", done.stdout)[1])
    assert growth < 200
