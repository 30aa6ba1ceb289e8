"""Work that processes share: same numbers, order, errors and warnings as in one process."""

import json
import os
import pickle
import subprocess
import sys
import warnings
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.emt import EMT
from typer.testing import CliRunner

import toys
from ase_pet import InvalidStructure, PETCalculator, checks, executors, labels, phonons
from ase_pet.cli import _errors, app
from paths import ROOT
from tolerances import worst

OPTIONS = {"dtype": "float64", "device": "cpu"}


@pytest.fixture(scope="module")
def pool():
    """One spawned process, which all tests share: it takes seconds to start."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
        yield executor


@pytest.fixture(scope="module")
def silicon():
    return PETCalculator("silicon", **OPTIONS, batch_atoms=16)


def crystals(count=6):
    """Displaced cells of silicon of two sizes."""
    structures = []
    for k in range(count):
        atoms = bulk("Si", cubic=k % 3 == 0, a=5.4 + 0.02 * k)
        atoms.rattle(0.02, seed=k)
        structures.append(atoms)
    return structures


def assert_same(found, expected):
    assert len(found) == len(expected)
    for row, reference in zip(found, expected, strict=True):
        assert row.keys() == reference.keys()
        for name, value in reference.items():
            assert worst(row[name], value) < 1e-13, name


class Springs(EMT):
    """A calculator of a user."""


NAMES = ("energy", "energies", "forces", "stress")


class Pickled:
    """An executor of another library: jobs and results are pickled as for another process."""

    def submit(self, function, /, *arguments):
        function, arguments = pickle.loads(pickle.dumps((function, arguments)))
        result = pickle.loads(pickle.dumps(function(*arguments)))
        return type("Future", (), {"result": lambda self: result, "cancel": lambda self: None})()


@pytest.fixture
def pickled(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # jobs do not change the threads of the tests
    return Pickled()


def test_processes_return_what_one_process_does(pool, silicon):
    structures = crystals()
    found = silicon.evaluate(structures, NAMES, executor=pool)
    assert_same(found, silicon.evaluate(structures, NAMES))


def test_any_object_with_submit_is_an_executor(silicon, pickled):
    structures = crystals(3)
    expected = silicon.evaluate(structures, NAMES)
    assert_same(silicon.evaluate(structures, NAMES, executor=pickled), expected)
    with ThreadPoolExecutor(2) as threads:
        assert_same(silicon.evaluate(structures, NAMES, executor=threads), expected)


def _dask():
    distributed = pytest.importorskip("distributed", reason="needs dask.distributed")
    cluster = distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None)
    return distributed.Client(cluster).get_executor()


def _executorlib():
    library = pytest.importorskip("executorlib", reason="needs executorlib")
    return library.SingleNodeExecutor(max_workers=2)


def _forked():
    return ProcessPoolExecutor(2, mp_context=get_context("fork"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("make", [_dask, _executorlib, _forked])
def test_executors_of_libraries_return_the_same(make, silicon):
    structures = crystals()
    executor = make()
    found = silicon.evaluate(structures, NAMES, executor=executor)
    executor.shutdown()
    assert_same(found, silicon.evaluate(structures, NAMES))


@pytest.mark.slow
def test_ranks_of_mpi_return_the_same(tmp_path):
    pytest.importorskip("mpi4py", reason="needs the extra `engines`")
    beside_python = Path(sys.executable).parent / "mpiexec"
    mpiexec = str(beside_python) if beside_python.exists() else "mpiexec"
    program = ROOT / "tests/executors/mpi_program.py"
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests"), str(ROOT / "tests/executors")])
    done = subprocess.run(
        [mpiexec, "-n", "3", sys.executable, "-m", "mpi4py.futures", program],
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
        timeout=500,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "2 workers"


def test_a_calculator_of_a_module_is_sent(pickled):
    toy = PETCalculator(toys.tiny_pet("base"), **OPTIONS)
    structures = list(toys.STRUCTURES[name]() for name in ("silicon", "ethanol", "slab"))
    found = toy.evaluate(structures, ("energy", "forces"), executor=pickled)
    assert_same(found, toy.evaluate(structures, ("energy", "forces")))


def test_a_calculator_that_cannot_be_sent_is_an_error(pickled):
    springs = Springs()
    springs.unknown = lambda: None
    with pytest.raises(ValueError, match="`executor`: Springs cannot be sent to workers"):
        executors.run(pickled, springs, _number, [1])


@pytest.mark.parametrize("executor", [4, "processes", ProcessPoolExecutor])
def test_an_executor_has_submit(executor, silicon):
    with pytest.raises(ValueError, match="`executor` is .*: expected an object with the method"):
        silicon.evaluate(crystals(1), executor=executor)


def test_weights_that_were_changed_are_an_error(pickled):
    changed = PETCalculator("silicon", **OPTIONS)
    next(changed.model.parameters()).mul_(1.01)
    with pytest.raises(ValueError, match="`model` silicon has other weights in a worker than here"):
        changed.evaluate(crystals(2), executor=pickled)


def test_errors_are_those_of_one_process(pool, silicon):
    structures = crystals(5)
    structures[3].positions[1] = structures[3].positions[0] + [0.05, 0, 0]
    with pytest.raises(InvalidStructure) as alone:
        silicon.evaluate(structures)
    with pytest.raises(InvalidStructure) as together:
        silicon.evaluate(structures, executor=pool)
    assert str(together.value) == str(alone.value)
    assert str(alone.value).startswith("structure 3: atoms 0 and 1 are 0.05 A apart")
    assert _errors.line(together.value) == _errors.line(alone.value) == str(alone.value)
    # what a worker printed is there for those who ask
    assert "graph_inputs.py" in str(together.value.__cause__)

    molecules = [toys.ethanol() for _ in range(2)]
    for atoms in molecules:
        atoms.numbers[:] = 14
    for executor in (None, pool):
        with pytest.raises(PropertyNotImplementedError, match="stress needs a cell of rank 3"):
            silicon.evaluate(molecules, ("stress",), executor=executor)


def test_errors_of_libraries_have_their_name(pickled):
    gold = bulk("Si", cubic=True)
    lines = []
    for executor in (None, pickled):
        with pytest.raises(NotImplementedError) as caught:
            phonons._forces.forces(EMT(), [gold, gold], executor=executor)
        lines.append(_errors.line(caught.value))
    assert lines[0] == lines[1]
    assert lines[0].startswith("EMT: NotImplementedError: No EMT-potential for Si")


def test_warnings_of_workers_are_given_here(pool, silicon):
    close = crystals(3)
    for atoms in close:
        atoms.positions[1] = atoms.positions[0] + [1.2, 0.4, 0.6]
    texts = []
    for executor in (None, pool):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            PETCalculator("silicon", **OPTIONS).evaluate(close, executor=executor)
        texts.append({str(note.message) for note in caught})
    assert texts[1] >= texts[0]
    assert all("closer than in training" in text for text in texts[1])


def _end(calculator, item):
    import os

    os._exit(3)


@pytest.mark.filterwarnings("ignore:.*fork")
def test_a_worker_that_ends_is_explained(silicon):
    broken = _forked()
    with pytest.raises(executors.WorkerLost, match="it was killed"):
        executors.run(broken, silicon, _end, [1])
    broken.shutdown()


def _number(calculator, item):
    return item


def test_results_are_in_order(pool, silicon):
    seen = []
    found = executors.run(pool, silicon, _number, range(20), lambda *now: seen.append(now))
    assert found == list(range(20))
    assert seen == [(done, 20) for done in range(1, 21)]


@pytest.mark.parametrize("workers", [0, -1, 1.5, True, "two", 10**6])
def test_a_number_of_workers_is_checked(workers):
    with pytest.raises(ValueError, match="`workers` is"), executors.processes(workers):
        pass


def test_displaced_supercells_are_shared(pickled):
    crystal = phonons.Crystal(bulk("Cu", a=3.6), (2, 2, 2), symmetry=False)
    structures = crystal.displaced()
    for calculator in (EMT(), PETCalculator(toys.tiny_pet("local", species=(29,)), **OPTIONS)):
        moves = crystal.moves
        alone = phonons.force_constants.forces(calculator, structures, moves)
        together = phonons.force_constants.forces(calculator, structures, moves, executor=pickled)
        assert np.abs(np.array(together) - np.array(alone)).max() < 1e-13


def test_workflows_of_crystals_are_shared(pickled):
    copper = bulk("Cu", a=3.59)
    copper.calc = EMT()
    for workflow in (phonons.equation_of_state, phonons.elastic):
        alone = workflow(copper, ions=False).as_dict()
        together = workflow(copper, ions=False, executor=pickled).as_dict()
        assert json.dumps(together) == json.dumps(alone)


@pytest.mark.slow
def test_quasi_harmonic_volumes_are_shared(pool):
    copper = bulk("Cu", a=3.59)
    copper.calc = EMT()
    options = {"temperatures": (0, 300), "mesh": (5, 5, 5)}
    alone = phonons.quasi_harmonic(copper, **options).as_dict()
    together = phonons.quasi_harmonic(copper, **options, executor=pool).as_dict()
    assert worst(together["volume_A3"], alone["volume_A3"]) < 1e-12
    modes = phonons.gruneisen(copper, mesh=(3, 3, 3))
    shared = phonons.gruneisen(copper, mesh=(3, 3, 3), executor=pool)
    assert json.dumps(shared.as_dict()) == json.dumps(modes.as_dict())


def test_checks_are_shared(pickled):
    names = ["net_force", "permutation", "cutoff_pair"]
    structures = {"a": bulk("Cu") * (2, 1, 1), "b": bulk("Cu", a=3.7)}
    alone = checks.run(EMT(), structures, only=names)
    together = checks.run(EMT(), structures, only=names, executor=pickled)
    for found, expected in zip(together, alone, strict=True):
        found, expected = found.as_dict(), expected.as_dict()
        found.pop("seconds"), expected.pop("seconds")
        assert found == expected


def test_labels_are_shared(pickled):
    structures = [bulk("Cu", cubic=True, a=3.5 + 0.05 * k) for k in range(5)]
    structures[2].numbers[0] = 14
    found = list(labels.label(EMT(), structures, executor=pickled))
    expected = list(labels.label(EMT(), structures))
    assert found[2] == expected[2]
    for k in (0, 1, 3, 4):
        assert found[k].get_potential_energy() == expected[k].get_potential_energy()
        np.testing.assert_array_equal(found[k].get_forces(), expected[k].get_forces())


@pytest.mark.slow
def test_commands_take_workers(tmp_path):
    ase.io.write(tmp_path / "cu.cif", bulk("Cu", a=3.59))
    arguments = ["elastic", "--calculator", "ase.calculators.emt:EMT", str(tmp_path / "cu.cif")]
    printed = []
    for workers in ("1", "2"):
        result = CliRunner().invoke(app, [*arguments, "--json", "--workers", workers])
        assert result.exit_code == 0, result.output
        printed.append(json.loads(result.stdout)["constants"])
    assert printed[0] == printed[1]
    bad = CliRunner().invoke(app, [*arguments, "--workers", "0"])
    assert bad.exit_code == 2


def test_a_calculator_that_exits_is_an_error():
    outcome = executors._failed(SystemExit(4))
    assert isinstance(outcome.error, RuntimeError)
    assert str(outcome.error) == "SystemExit: 4"
