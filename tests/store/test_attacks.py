"""A small part of `benchmarks/attacks.py`: hostile inputs are held or refused."""

import subprocess
import sys

import pytest

from paths import ROOT

KINDS = ("texts and links", "weights", "structures", "arguments")


@pytest.mark.skipif(sys.platform == "win32", reason="attacks are forked")
def test_no_attack_succeeds():
    command = [sys.executable, str(ROOT / "benchmarks" / "attacks.py")]
    command += ["--kind", *KINDS, "--every", "15"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stdout + result.stderr[-1000:]
    total = next(line for line in result.stdout.splitlines() if line.startswith("all "))
    assert int(total.split()[1]) > 20
