"""Numbers, structures and costs that are refused before anything is computed."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT

from ase_pet import phonons
from ase_pet.phonons import _costs


def emt(atoms, calculator=EMT):
    atoms.calc = calculator()
    return atoms


def copper(**more):
    return emt(bulk("Cu", a=3.59, **more))


class Broken(EMT):
    """EMT with a property that is NaN."""

    name = "forces"

    def calculate(self, *args, **more):
        super().calculate(*args, **more)
        self.results[self.name] = self.results[self.name] * np.nan


class NanStress(Broken):
    """EMT whose stress is NaN."""

    name = "stress"


class NanEnergy(Broken):
    """EMT whose energy is NaN."""

    name = "energy"


NUMBERS = {
    "displacement": [5, 1e-12, np.nan, -0.01, "a", None, True],
    "mesh": [(2.5, 2, 2), (0, 1, 1), (np.nan, 2, 2), (-2, 2, 2), "abc", None, (2, 2), 4],
    "supercell": [(0, 0, 0), (-1, -1, 1), (2, 2, np.nan), (2.5, 2, 2), np.ones((3, 3)), 2, "abc"],
    "fmax": [np.nan, np.inf, 0, -1],
    "pressure": [np.nan, np.inf, 1e9],
    "temperature_max": [np.nan, np.inf, 0, -5, 1e300],
    "temperatures": [[np.nan], [-1], [], "abc"],
    "tolerance": [np.nan, 0, -1, 10],
    "steps": [0, 1.5, np.nan],
    "q_points": [[0, 0, 0], [[np.nan, 0, 0]]],
}
CASES = [(name, value) for name, values in NUMBERS.items() for value in values]


@pytest.mark.parametrize(("name", "value"), CASES, ids=str)
def test_bad_numbers_of_phonons_are_named(name, value):
    with pytest.raises(ValueError, match=f"`{name}` "):
        phonons.run(copper(), **{name: value})


@pytest.mark.parametrize("name", ["normal", "shear", "fmax", "pressure"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -1e9, "a"])
def test_bad_numbers_of_elastic_constants_are_named(name, value):
    with pytest.raises(ValueError, match=f"`{name}` is"):
        phonons.elastic(copper(), **{name: value})


@pytest.mark.parametrize(
    ("name", "value"), [("strain", np.nan), ("strain", 0), ("points", 3), ("pressure", np.nan)]
)
def test_bad_numbers_of_equations_of_state_are_named(name, value):
    with pytest.raises(ValueError, match=f"`{name}` is"):
        phonons.equation_of_state(copper(), **{name: value})


@pytest.mark.parametrize("mass", [-1.0, 0.0, np.nan, np.inf])
def test_bad_masses_are_refused(mass):
    atoms = copper()
    atoms.set_masses([mass])
    with pytest.raises(ValueError, match=r"atom 0 \(Cu\) has a mass of"):
        phonons.run(atoms)


@pytest.mark.parametrize("task", [phonons.relax, phonons.run], ids=["relax", "run"])
@pytest.mark.parametrize("calculator", [Broken, NanStress, NanEnergy])
def test_nan_of_a_calculator_is_refused(task, calculator):
    with pytest.raises(ValueError, match="the calculator returned .* that are NaN or infinite"):
        task(emt(bulk("Cu", a=3.55), calculator))


def test_nan_of_displaced_supercells_is_refused():
    class Late(EMT):
        """EMT whose forces are NaN for supercells."""

        def calculate(self, *args, **more):
            super().calculate(*args, **more)
            self.results["forces"] *= np.nan if len(self.atoms) > 1 else 1.0

    with pytest.raises(ValueError, match="forces of displaced structure 0 that are NaN"):
        phonons.run(emt(bulk("Cu", a=3.59), Late), relaxed=False)


@pytest.mark.parametrize(
    ("task", "calculator"),
    [
        (phonons.elastic, NanStress),
        (phonons.elastic, Broken),
        (phonons.equation_of_state, NanEnergy),
    ],
)
def test_nan_of_strained_cells_is_refused(task, calculator):
    with pytest.raises(ValueError, match="NaN or infinite"):
        task(emt(bulk("Cu", a=3.59), calculator))


def test_forces_that_differ_in_the_supercell_are_reported():
    class NoImages(EMT):
        """EMT with a force on the first atom of large cells."""

        def calculate(self, *args, **more):
            super().calculate(*args, **more)
            self.results["forces"][0, 0] += 0.05 * (len(self.atoms) > 1)

    with pytest.warns(UserWarning, match=r"0\.05 in the supercell, which repeats it"):
        phonons.run(emt(bulk("Cu", a=3.59), NoImages), relaxed=False, mesh=(2, 2, 2))


TASKS = {
    "phonons": phonons.run,
    "elastic": phonons.elastic,
    "equation of state": phonons.equation_of_state,
}


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(
    ("atoms", "message"),
    [
        (Atoms("Cu", cell=[20, 20, 20], pbc=True), "these are isolated atoms"),
        (Atoms("Cu", pbc=True), "its cell has no volume"),
        (molecule("N2"), "need three periodic directions"),
        (Atoms(), "the structure has no atoms"),
        (Atoms("Cu", cell=[[2.5, 0, 0], [5, 0, 0], [0, 0, 2.5]], pbc=True), "no volume"),
        (Atoms("Cu", positions=[[np.nan, 0, 0]], cell=[2.5] * 3, pbc=True), "NaN or infinite"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_structures_that_are_no_crystals_are_refused(task, atoms, message):
    with pytest.raises(ValueError, match=message):
        TASKS[task](emt(atoms.copy()))


def test_atoms_beyond_the_cutoff_are_refused():
    box = emt(Atoms("Cu", cell=[7.5] * 3, pbc=True))
    with pytest.raises(ValueError, match="the largest force constant is 0 eV/A"):
        phonons.run(box, relaxed=False)
    with pytest.raises(ValueError, match="the largest elastic constant is 0 GPa"):
        phonons.elastic(box)


def test_costs_are_predicted():
    with pytest.raises(ValueError, match=r"64000 atoms \(64000 cells of 1\).*824 GiB.*--no-limits"):
        phonons.run(copper(), (40, 40, 40))
    with pytest.raises(ValueError, match=r"1000000000000 q-points, 3000000000000 frequencies"):
        phonons.run(copper(), mesh=(10000, 10000, 10000))
    with pytest.raises(ValueError, match="24000 displaced supercells of 4000 atoms"):
        _costs.require_evaluations(24000, 4000)


def test_limits_can_be_lifted(monkeypatch):
    monkeypatch.setattr(_costs, "MOST_ATOMS", 7)
    with pytest.raises(ValueError, match="the limit is 7 atoms"):
        phonons.run(copper(), relaxed=False)
    found = phonons.run(copper(), relaxed=False, limits=False, mesh=(2, 2, 2))
    assert found.facts["supercell_atoms"] == 8
