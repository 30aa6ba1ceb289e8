"""Nudged elastic bands: a known barrier, one calculator, ends, files."""

import json

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import fcc100
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms, FixInternals
from ase.mep import NEB, NEBTools
from ase.optimize import BFGS
from typer.testing import CliRunner

from ase_pet import neb
from ase_pet.cli import app
from laws import Function

EMT_NAME = "ase.calculators.emt:EMT"


def ends():
    """A gold atom in two hollows of Al(100), two layers of which one is fixed."""
    slab = fcc100("Al", (2, 2, 2), vacuum=4.0)
    height = slab.positions[:, 2].max() + 1.7
    spacing = slab.get_distance(0, 1)
    slab += Atoms("Au", [[spacing / 2, spacing / 2, height]])
    slab.set_constraint(FixAtoms(range(4)))
    final = slab.copy()
    final.positions[-1, 0] += spacing
    slab.calc = EMT()
    return slab, final


def by_ase(images):
    """Barrier of plain ASE with one calculator for each image."""
    first, last = ends()
    last.calc = EMT()
    for atoms in (first, last):
        BFGS(atoms, logfile=None).run(fmax=0.01)
    band = [first, *(first.copy() for _ in range(images)), last]
    for image in band[1:-1]:
        image.calc = EMT()
    path = NEB(band, method="improvedtangent", climb=True)
    path.interpolate("idpp", mic=True, apply_constraint=True)
    BFGS(path, logfile=None).run(fmax=0.05)
    return NEBTools(band).get_barrier(fit=False)[0]


class Batched:
    """EMT that evaluates lists only, and counts them."""

    def __init__(self):
        self.sizes = []
        self.calculator = EMT()

    def evaluate(self, list_of_atoms, properties):
        self.sizes.append(len(list_of_atoms))
        rows = []
        for atoms in list_of_atoms:
            rows.append({name: self.calculator.get_property(name, atoms) for name in properties})
        return rows

    def get_property(self, name, atoms=None, allow_calculation=True):
        return self.calculator.get_property(name, atoms)

    def get_potential_energy(self, atoms, force_consistent=False):
        return self.calculator.get_potential_energy(atoms)

    def get_forces(self, atoms):
        return self.calculator.get_forces(atoms)


def test_barrier_is_that_of_plain_ase():
    initial, final = ends()
    band = neb.run(initial, final, images=3)
    assert band.converged
    assert band.climbing
    assert band.highest_image == 2
    highest = max(image.get_potential_energy() for image in band.images)
    barrier = highest - band.images[0].get_potential_energy()
    assert barrier == pytest.approx(by_ase(3), abs=1e-3)  # eV
    assert band.barrier == pytest.approx(barrier, abs=2e-3)
    # both hollows are the same
    assert band.energy_change == pytest.approx(0, abs=1e-6)
    assert band.reverse_barrier == pytest.approx(band.barrier, abs=1e-6)
    # the highest image is on a saddle point: no force in any direction
    assert np.linalg.norm(band.images[2].get_forces(), axis=1).max() < 0.05


def test_images_are_evaluated_in_batches():
    initial, final = ends()
    initial.calc = Batched()
    band = neb.run(initial, final, images=3)
    assert set(initial.calc.sizes) == {2, 3}
    assert initial.calc.sizes.count(3) <= band.steps + 2
    plain, _ = ends()
    assert band.barrier == pytest.approx(neb.run(plain, final, images=3).barrier, abs=1e-9)


def test_a_molecule_may_lie_anywhere(generator):
    """The hydrogen of a bent chain moves to the other side; a rotated final state is the same."""

    def chain(atoms):
        """Springs of the sides, and a double well of the angle in a plane of its own."""
        position = atoms.positions
        axis = position[1] - position[0]
        length = np.linalg.norm(axis)
        arm = position[2] - position[0]
        along = arm @ axis / length
        return 5 * (length - 1.0) ** 2 + 5 * (arm @ arm - 1.0) ** 2 + (along**2 - 0.25) ** 2

    def results(atoms):
        forces = np.zeros((3, 3))
        for index in np.ndindex(3, 3):
            for sign in (1, -1):
                moved = atoms.copy()
                moved.positions[index] += sign * 1e-4
                forces[index] -= sign * chain(moved) / 2e-4
        return {"energy": chain(atoms), "free_energy": chain(atoms), "forces": forces}

    def bent(sign):
        return Atoms("CNH", [[0, 0, 0], [1, 0, 0], [0.5 * sign, np.sqrt(0.75), 0]])

    initial = bent(1)
    initial.calc = Function(results)
    final = bent(-1)
    straight = neb.run(initial, final, images=3, fmax=0.03)
    final.rotate(70, (1, 2, 3))
    final.translate([3, -4, 5])
    moved = neb.run(initial, final, images=3, fmax=0.03)
    # the well has a barrier of 0.25^2 eV
    assert straight.barrier == pytest.approx(0.0625, abs=2e-3)
    assert moved.barrier == pytest.approx(straight.barrier, abs=1e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda atoms: atoms.pop(), "has 9 atoms and `final` 8"),
        (lambda atoms: atoms.symbols.__setitem__(0, "Cu"), "atom 0 is Al in `initial` and Cu"),
        (lambda atoms: atoms.set_cell(1.1 * atoms.cell), "the cells of both structures differ"),
        (lambda atoms: atoms.set_pbc(True), "`pbc` is"),
        (lambda atoms: atoms.positions.__iadd__(1.0), "is fixed, but"),
    ],
)
def test_ends_that_are_not_one_system_are_refused(change, message):
    initial, final = ends()
    final.set_constraint()
    change(final)
    with pytest.raises(ValueError, match=message):
        neb.run(initial, final)


def test_an_end_that_violates_the_constraints_is_refused():
    initial, final = ends()
    initial.set_constraint(FixInternals(bonds=[[initial.get_distance(0, 8), [0, 8]]]))
    with pytest.raises(ValueError, match=r"does not satisfy its constraints \(FixInternals\), by"):
        neb.run(initial, final, relaxed=False)


def test_one_structure_is_no_path():
    initial, _ = ends()
    with pytest.raises(ValueError, match="both structures are the same"):
        neb.run(initial, initial.copy(), relaxed=False)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"images": 0}, "`images` is 0"),
        ({"images": 10**7}, "expected 1000 or fewer"),
        ({"fmax": -1.0}, "`fmax` is -1"),
        ({"interpolation": "cubic"}, "valid choices are idpp, linear"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        neb.run(*ends(), **settings)


def test_exchanged_atoms_and_unrelaxed_ends_are_said():
    initial, final = ends()
    order = [0, 1, 2, 3, 5, 4, 6, 7, 8]
    exchanged = pytest.warns(UserWarning, match="atoms 4, 5 of the two structures seem to be")
    unrelaxed = pytest.warns(UserWarning, match="not that between two minima")
    with exchanged, unrelaxed:
        neb.run(initial, final[order], relaxed=False, steps=1, fmax=0.01)


@pytest.mark.pictures
def test_command_writes_files_and_says_whether_it_converged(tmp_path):
    initial, final = ends()
    initial.calc = None
    ase.io.write(tmp_path / "initial.traj", initial)
    ase.io.write(tmp_path / "final.traj", final)
    arguments = ["neb", "--calculator", EMT_NAME, tmp_path / "initial.traj"]
    arguments += [tmp_path / "final.traj", "--images", 3, "--json", "--output"]
    done = CliRunner().invoke(app, [*map(str, arguments), str(tmp_path / "good")])
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["converged"]
    assert report == json.loads((tmp_path / "good" / "neb.json").read_text())
    names = sorted(path.name for path in (tmp_path / "good").iterdir())
    assert names == ["band.extxyz", "neb.json", "neb.png", "neb.traj"]
    band = ase.io.read(tmp_path / "good" / "band.extxyz", ":")
    energies = [image.get_potential_energy() for image in band]
    assert max(energies) - energies[0] == pytest.approx(report["barrier"], abs=2e-3)

    arguments.insert(-1, "--steps")
    arguments.insert(-1, 1)
    done = CliRunner().invoke(app, [*map(str, arguments), str(tmp_path / "short")])
    assert done.exit_code == 1
    assert "not converged" in done.stderr
    assert not json.loads((tmp_path / "short" / "neb.json").read_text())["converged"]


def test_command_asks_for_two_structures():
    done = CliRunner().invoke(app, ["neb", "silicon", "a.xyz", "--output", "x"])
    assert "give CALC INITIAL FINAL" in str(done.exception)
