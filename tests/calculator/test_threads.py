"""One calculator used by several threads, and by processes that were forked or spawned."""

import copy
import multiprocessing
import pickle
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from ase_pet import PETCalculator, concurrency
from toys import ethanol, silicon, tiny_pet

N_CALLS = 40
TIMEOUT = 60  # s; a hang lasts forever


def structures():
    """Structures of two systems, each displaced differently."""
    both = []
    for seed in range(N_CALLS // 2):
        for make in (silicon, ethanol):
            atoms = make()
            atoms.rattle(0.05, seed=seed)
            both.append(atoms)
    return both


def results_of(atoms, calculator):
    """Energy (eV) and forces (eV/A), asked for one after the other as users do."""
    atoms.calc = calculator
    return atoms.get_potential_energy(), atoms.get_forces()


@pytest.fixture(autouse=True)
def frequent_switches():
    """Threads take turns every 10 microseconds."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def test_four_threads_share_one_calculator():
    calculator = PETCalculator(tiny_pet())
    expected = [results_of(atoms, PETCalculator(tiny_pet())) for atoms in structures()[:8]]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda atoms: results_of(atoms, calculator), structures()[:8] * 5))
    for k, (energy, forces) in enumerate(found):
        assert energy == pytest.approx(expected[k % 8][0], abs=1e-9)
        np.testing.assert_allclose(forces, expected[k % 8][1], atol=1e-9)


def test_every_method_may_be_called_at_the_same_time():
    calculator = PETCalculator(tiny_pet())
    atoms = silicon()
    calls = {
        "energy": lambda: calculator.get_potential_energy(atoms),
        "evaluate": lambda: calculator.evaluate([ethanol(), atoms])[1]["energy"],
        "hessian": lambda: float(calculator.hessian(atoms, of=[0]).sum()),
        "displaced": lambda: float(calculator.displaced_forces(atoms, [(1, (0.1, 0, 0))])[0].sum()),
        "copies": lambda: copy.deepcopy(calculator).get_potential_energy(atoms),
        "pickles": lambda: pickle.loads(pickle.dumps(calculator)).get_potential_energy(atoms),
    }
    alone = {name: call() for name, call in calls.items()}
    with ThreadPoolExecutor(4) as pool:
        futures = [(name, pool.submit(calls[name])) for _ in range(4) for name in calls]
    for name, future in futures:
        assert future.result() == pytest.approx(alone[name], abs=1e-8), name


def test_a_thread_that_is_inside_may_call_again():
    calculator = PETCalculator(tiny_pet())
    with calculator._lock:
        assert np.isfinite(calculator.get_potential_energy(silicon()))


@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda calculator: pickle.loads(pickle.dumps(calculator))]
)
def test_copies_have_a_lock_of_their_own(duplicate):
    calculator = PETCalculator(tiny_pet())
    other = duplicate(calculator)
    assert other._lock is not calculator._lock
    with calculator._lock:
        thread = threading.Thread(target=other.get_potential_energy, args=(silicon(),))
        thread.start()
        thread.join(TIMEOUT)
        assert not thread.is_alive()


def test_a_lock_that_is_held_at_a_fork_is_renewed(monkeypatch):
    """As in the child of a fork: the thread that holds it does not exist there."""
    monkeypatch.setattr(torch, "set_num_threads", lambda n: None)
    calculator = PETCalculator(tiny_pet())
    calculator.get_potential_energy(silicon())
    held = threading.Event()
    done = threading.Event()

    def hold():
        with calculator._lock:
            held.set()
            done.wait(TIMEOUT)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(TIMEOUT)
    concurrency._renew()
    assert calculator.results == {}
    assert np.isfinite(calculator.get_potential_energy(silicon()))
    done.set()
    thread.join(TIMEOUT)


CHILD = """
import multiprocessing, sys, threading, torch
torch.set_num_threads(2)
from ase.build import bulk
from ase_pet import PETCalculator

calculator = PETCalculator("silicon")
atoms = bulk("Si", cubic=True) * 2

def energy(scale):
    other = atoms.copy()
    other.set_cell(atoms.cell * scale, scale_atoms=True)
    other.calc = calculator
    return other.get_potential_energy()

def main():
    expected = [energy(1.0), energy(1.01)]
    stop = threading.Event()
    def busy():
        while not stop.is_set():
            energy(1.02)
    thread = threading.Thread(target=busy)
    thread.start()
    with multiprocessing.get_context(sys.argv[1]).Pool(2) as pool:
        found = pool.map_async(energy, [1.0, 1.01]).get(60)
    stop.set()
    thread.join()
    assert max(abs(a - b) for a, b in zip(expected, found)) < 1e-3, (expected, found)
    print("right")

if __name__ == "__main__":
    main()
"""


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
def test_processes_after_threads(method, tmp_path):
    """A fork after computations with two threads of OpenMP hung in the child."""
    assert method in multiprocessing.get_all_start_methods()
    (tmp_path / "child.py").write_text(CHILD)
    result = subprocess.run(
        [sys.executable, "-W", "ignore", str(tmp_path / "child.py"), method],
        capture_output=True,
        text=True,
        timeout=3 * TIMEOUT,
    )
    assert result.stdout.strip() == "right", result.stderr[-2000:]
