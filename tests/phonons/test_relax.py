"""Relaxation within the space group, elastic constants, equation of state."""

import json
import re

import ase.io
import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from typer.testing import CliRunner

from ase_pet import PETCalculator, phonons, shipped
from ase_pet.cli import app
from paths import ROOT

needs_silicon = pytest.mark.skipif(
    "silicon" not in shipped(), reason="the calculator `silicon` is not shipped yet"
)
CARD = ROOT / "calculators/silicon/README.md"


class Biased(EMT):
    """EMT whose forces break the symmetry of a crystal by 0.01 eV/A."""

    def calculate(self, *args, **more):
        super().calculate(*args, **more)
        self.results["forces"] = self.results["forces"] + 0.01 * np.linspace(
            -1, 1, len(self.atoms)
        )[:, None] * [1, 0, 0]


def copper(a=3.55, calculator=EMT, **more):
    atoms = bulk("Cu", a=a, **more)
    atoms.calc = calculator()
    return atoms


def silicon():
    atoms = bulk("Si", a=5.45)
    atoms.calc = PETCalculator("silicon", dtype="float64")
    return atoms


def command(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments)])


def test_relaxation_finds_the_minimum_of_cell_and_atoms():
    start = copper(cubic=True)
    relaxed = phonons.relax(start)
    assert (relaxed.space_group, relaxed.atoms.calc) == ("Fm-3m (225)", start.calc)
    assert relaxed.largest_force < 1e-4
    assert relaxed.largest_stress < 1e-2
    assert relaxed.energy_change < 0
    assert start.cell[0, 0] == 3.55  # a copy was relaxed
    assert abs(relaxed.atoms.cell[0, 0] - 3.5898) < 1e-3


def test_relaxation_refines_the_structure_to_its_space_group():
    start = copper(cubic=True)
    start.rattle(1e-4, seed=1)
    relaxed = phonons.relax(start, cell=False)
    halves = 2 * (relaxed.atoms.get_scaled_positions() - relaxed.atoms.get_scaled_positions()[0])
    assert np.abs(halves - np.rint(halves)).max() < 1e-10
    assert relaxed.largest_stress is None


def test_largest_force_reveals_a_calculator_that_breaks_the_symmetry():
    relaxed = phonons.relax(copper(cubic=True, calculator=Biased), cell=False)
    assert abs(relaxed.largest_force - 0.01) < 1e-6
    assert relaxed.as_dict()["converged_within_symmetry"]


def test_molecules_relax_without_cell_and_symmetry():
    start = molecule("N2")
    start.calc = EMT()
    relaxed = phonons.relax(start)
    assert (relaxed.space_group, relaxed.largest_stress) == (None, None)
    assert relaxed.largest_force < 1e-4


@pytest.mark.parametrize("choice", ["cell", "symmetry"])
def test_cell_and_symmetry_of_a_molecule_are_refused(choice):
    start = molecule("N2")
    start.calc = EMT()
    with pytest.raises(ValueError, match="where all three directions are periodic"):
        phonons.relax(start, **{choice: True})


def test_too_few_steps_are_an_error():
    with pytest.raises(phonons.NotRelaxed, match=r"eV/A after 1 steps, and not the 1e-06"):
        phonons.relax(copper(), fmax=1e-6, steps=1)


@pytest.mark.parametrize("symmetry", [True, False])
def test_a_larger_space_group_is_a_success(symmetry):
    strained = copper(a=3.59)
    strained.set_cell(
        strained.cell * [1, 1, 1.01], scale_atoms=True
    )  # tetragonal; the minimum is cubic
    relaxed = phonons.relax(strained, symmetry=symmetry, tolerance=2e-3)
    assert relaxed.initial_space_group == "I4/mmm (139)"
    assert relaxed.space_group == "Fm-3m (225)"
    assert relaxed.symmetry_change == ("the space group was I4/mmm (139) and is Fm-3m (225) now")


@pytest.mark.parametrize("name", ["fmax", "tolerance", "steps", "pressure"])
@pytest.mark.parametrize("value", [np.nan, np.inf, "a"])
def test_bad_numbers_are_named(name, value):
    with pytest.raises(ValueError, match=f"`{name}` is {value!r}: expected a number"):
        phonons.relax(copper(), **{name: value})


@pytest.mark.parametrize("name", ["fmax", "tolerance", "steps"])
def test_zero_is_refused(name):
    with pytest.raises(ValueError, match=f"`{name}` is 0: expected a number"):
        phonons.relax(copper(), **{name: 0})


def test_atoms_need_a_calculator():
    with pytest.raises(ValueError, match="`atoms` has no calculator"):
        phonons.relax(bulk("Cu"))


def test_steps_are_reported():
    seen = []
    phonons.relax(copper(), on_step=lambda step, force: seen.append((step, force)))
    assert [step for step, _ in seen] == list(range(len(seen)))
    assert seen[-1][1] <= 1e-4 < seen[0][1]


def test_elastic_constants_of_a_cubic_crystal():
    at_rest = phonons.relax(copper()).atoms
    elasticity = phonons.elastic(at_rest)
    assert elasticity.stable
    assert elasticity.asymmetry < 0.01
    constants = elasticity.constants
    c11 = constants[0, 0]
    c12 = constants[0, 1]
    c44 = constants[3, 3]
    np.testing.assert_allclose(np.diag(constants), 3 * [c11] + 3 * [c44], rtol=1e-5)
    bulk_modulus = elasticity.moduli()["bulk_hill"]
    assert abs(bulk_modulus - (c11 + 2 * c12) / 3) < 1e-6
    # the same modulus from energies instead of stresses
    state = phonons.equation_of_state(at_rest, points=5)
    assert abs(state.bulk_modulus / bulk_modulus - 1) < 0.005
    assert abs(state.volume / at_rest.get_volume() - 1) < 1e-4


def test_moduli_of_an_isotropic_material():
    lame = 50.0
    shear = 30.0
    # C11 = lame + 2 shear, C12 = lame, C44 = shear
    constants = np.diag(3 * [2 * shear] + 3 * [shear])
    constants[:3, :3] += lame
    moduli = phonons.Elasticity(constants, 0.0, 0.0).moduli()
    for average in ("voigt", "reuss", "hill"):
        assert moduli[f"bulk_{average}"] == pytest.approx(lame + 2 * shear / 3, rel=1e-11)
        assert moduli[f"shear_{average}"] == pytest.approx(shear, rel=1e-11)


def test_an_unstable_crystal_is_recognised():
    assert not phonons.Elasticity(np.diag([1.0, 1, 1, 1, 1, -1]), 0.0, 0.0).stable


def test_equation_of_state_needs_its_minimum():
    with pytest.raises(ValueError, match="the lowest energy is at an end of the volumes"):
        phonons.equation_of_state(copper(a=3.4), points=5)


@needs_silicon
def test_elastic_constants_of_silicon_are_those_of_its_card():
    elasticity = phonons.elastic(phonons.relax(silicon()).atoms)
    constants = elasticity.constants
    normal = constants[:3, :3]
    # cubic: the mean of the equivalent constants
    measured = {
        "C11": np.diag(normal).mean(),
        "C12": (normal.sum() - np.trace(normal)) / 6,
        "C44": np.diag(constants)[3:].mean(),
        "B": elasticity.moduli()["bulk_hill"],
    }
    quoted = dict(
        re.findall(
            r"^\| (B|C11|C12|C44) \(GPa\) \| ([0-9.]+) \|",
            CARD.read_text(encoding="utf-8"),
            re.MULTILINE,
        )
    )
    assert len(quoted) == 4
    assert measured == pytest.approx(
        {name: float(value) for name, value in quoted.items()}, rel=0.005
    )


def test_command_relaxes(tmp_path):
    ase.io.write(tmp_path / "in.extxyz", bulk("Cu", a=3.55))
    done = command(
        "relax",
        "--calculator",
        "ase.calculators.emt:EMT",
        tmp_path / "in.extxyz",
        "--output",
        tmp_path / "out",
        "--json",
    )
    report = json.loads(done.stdout)
    assert report["space_group"] == "Fm-3m (225)"
    assert report == json.loads((tmp_path / "out" / "relax.json").read_text())
    assert ase.io.read(tmp_path / "out" / "relaxed.extxyz").get_potential_energy() == pytest.approx(
        report["energy"]
    )


def test_command_prints_the_constants(tmp_path):
    ase.io.write(tmp_path / "in.extxyz", bulk("Cu", a=3.59))
    done = command(
        "elastic",
        "--calculator",
        "ase.calculators.emt:EMT",
        tmp_path / "in.extxyz",
        "--output",
        tmp_path / "out",
    )
    assert "mechanically stable" in done.stdout
    assert "-0.00" not in done.stdout
    assert done.stdout.endswith(f"files in {tmp_path / 'out'}\n")
    assert json.loads((tmp_path / "out" / "elastic.json").read_text())["stable"]


@pytest.mark.parametrize("name", ["relax", "phonons", "elastic"])
def test_commands_require_a_structure(name, tmp_path):
    done = command(name, "silicon", "--output", tmp_path)
    assert "give CALC STRUCTURE, or --calculator module:factory STRUCTURE" in str(done.exception)
