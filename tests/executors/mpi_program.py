"""Program for `mpiexec -n 3 python -m mpi4py.futures`: checks the work of two ranks."""

from mpi4py.futures import MPIPoolExecutor

from ase_pet import PETCalculator
from test_executors import NAMES, OPTIONS, assert_same, crystals

if __name__ == "__main__":
    silicon = PETCalculator("silicon", **OPTIONS, batch_atoms=16)
    with MPIPoolExecutor() as executor:
        found = silicon.evaluate(crystals(), NAMES, executor=executor)
        print(executor.num_workers, "workers")
    assert_same(found, silicon.evaluate(crystals(), NAMES))
