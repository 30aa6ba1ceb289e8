#!/usr/bin/env python3
"""Run ASE's own tests for the calculator EMT, unmodified, on a PETCalculator.

usage: ase_tests.py [PATH ...]

PATH: files or folders below ase/test; default: the list in this file. Where a test imports EMT from
ASE (or asap3), it gets a PETCalculator of a pair potential that binds the same metals and small
molecules (tests/pair_potential.py). Tests outside the default list that compare with numbers of EMT
itself may fail, as they would with any other potential.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import ase.test

ROOT = Path(__file__).resolve().parent.parent
PATHS = (
    "calculator/test_fd.py",
    "test_mixingcalc.py",
    "test_loggingcalc.py",
    "test_potential_energies.py",
    "test_singlepointcalc.py",
    "test_forcecurve.py",
    "filter/test_filter.py",
    "filter/test_strain_emt.py",
    "constraints/test_fixcom.py",
    "constraints/test_mirror.py",
    "neb/test_shared_calculator_neb.py",
    "md/test_md.py",
    "md/test_rng.py",
    "md/test_md_stepwise.py",
    "md/test_irun_force_call_order.py",
    "optimize/test_nsteps.py",
)
PLUGIN = """
import sys, types
import ase.calculators.emt, pair_potential
ase.calculators.emt.EMT = pair_potential.morse
asap3 = types.ModuleType("asap3")
asap3.EMT = pair_potential.morse
sys.modules["asap3"] = asap3
"""


def main():
    """Run the tests and print the summary of pytest."""
    tests = Path(ase.test.__file__).parent
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "instead_of_emt.py").write_text(PLUGIN)
        code = (
            "import sys, pytest; sys.path[:0] = sys.argv[1:3]; sys.exit(pytest.main(['-p',"
            " 'instead_of_emt', '-p', 'no:cacheprovider', '-q', '--tb=line', '-rs',"
            " *sys.argv[3:]]))"
        )
        chosen = [tests / path for path in sys.argv[1:] or PATHS]
        done = subprocess.run(
            [sys.executable, "-c", code, folder, ROOT / "tests", *chosen],
            cwd=folder,
            capture_output=True,
            text=True,
        )
    kept = [
        line
        for line in done.stdout.splitlines()
        if line.startswith(("FAILED", "ERROR", "SKIPPED", "/", "E ")) or " passed" in line
    ]
    print("\n".join(line.replace(f"{tests}/", "").replace(f"{sys.prefix}/", "") for line in kept))
    print(done.stderr, end="")


if __name__ == "__main__":
    main()
