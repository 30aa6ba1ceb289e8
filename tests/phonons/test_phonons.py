"""Phonons: symmetries of force constants, agreement of methods, files that phonopy reads."""

import json
import re
import subprocess
import sys

import ase.io
import numpy as np
import pytest
import yaml
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms
from typer.testing import CliRunner

from ase_pet import PETCalculator, phonons, shipped
from ase_pet.cli import app
from toys import tiny_pet

needs_silicon = pytest.mark.skipif(
    "silicon" not in shipped(), reason="the calculator `silicon` is not shipped yet"
)
PHONOPY = "from phonopy.scripts.phonopy_load import run; run()"  # what its command does
POINTS = [(0, 0, 0), (0.5, 0, 0.5), (0.5, 0.5, 0.5), (0.1, 0.2, 0.35)]
SMALL = {"mesh": (4, 4, 4), "temperature_max": 2000}
EIGHT = np.array([[-1, 1, 1], [1, -1, 1], [1, 1, -1]])  # the cubic cell of a primitive fcc cell


def copper(structure="fcc", **more):
    atoms = bulk("Cu", structure, **more)
    atoms.calc = EMT()
    return atoms


def silicon(dtype="float64"):
    atoms = bulk("Si", a=5.4671)
    atoms.calc = PETCalculator("silicon", dtype=dtype)
    return atoms


def at_points(spectrum):
    return spectrum.phonopy.run_qpoints(POINTS).frequencies


def command(*arguments):
    return CliRunner().invoke(app, ["phonons", *map(str, arguments)])


@pytest.fixture(scope="module")
def spectrum():
    """Phonons of copper."""
    return phonons.run(copper(a=3.6), (3, 3, 3), **SMALL)


@pytest.fixture(scope="module")
def folder(spectrum, tmp_path_factory):
    """Folder with the files of these phonons."""
    path = tmp_path_factory.mktemp("copper")
    phonons.write(spectrum, path)
    return path


def test_force_constants_obey_their_symmetries(spectrum):
    after = spectrum.residuals["after"]
    assert max(after["sum_rule"], after["exchange"]) < 1e-10
    assert after["acoustic"] < 1e-4


def test_copper_is_stable(spectrum):
    report = spectrum.as_dict()
    assert list(report)[0] == "imaginary"
    assert report["imaginary"] == {
        "modes": 0,
        "fraction_of_mesh": 0.0,
        "small_near_gamma": 0,
        "lowest": [],
    }
    assert report["relaxation"]["space_group"] == "Fm-3m (225)"
    assert report["displaced_supercells"] == 1


def test_heat_capacity_approaches_that_of_dulong_and_petit(spectrum):
    capacity = spectrum.thermal()["heat_capacity"]
    assert capacity[0] == 0
    assert (
        abs(capacity[-1] - 3 * 8.314 * 63 / 64) < 0.1
    )  # J/K/mol, without the acoustic modes at one of 64 q-points


def test_frequencies_do_not_depend_on_batches(spectrum):
    """The same displacements with `evaluate` and, as for EMT, without it."""

    class Batched(EMT):
        def evaluate(self, structures, properties):
            return [{"forces": self.get_property("forces", atoms)} for atoms in structures]

    atoms = spectrum.relaxation.atoms.copy()
    atoms.calc = Batched()
    again = phonons.run(atoms, (3, 3, 3), relaxed=False, **SMALL)
    assert np.abs(at_points(again) - at_points(spectrum)).max() < 1e-6


def test_longer_supercells_change_little(spectrum):
    larger = phonons.run(spectrum.relaxation.atoms, (4, 4, 4), relaxed=False, **SMALL)
    assert np.abs(at_points(larger) - at_points(spectrum)).max() < 0.3


def test_imaginary_modes_come_first(tmp_path):
    ase.io.write(tmp_path / "bcc.extxyz", bulk("Cu", "bcc", a=2.87))
    done = command(
        "--calculator",
        "ase.calculators.emt:EMT",
        tmp_path / "bcc.extxyz",
        "--supercell",
        "3,3,3",
        "--no-relax",
        "--mesh",
        "4,4,4",
        "--output",
        tmp_path / "out",
    )
    assert done.stdout.startswith("IMAGINARY MODES: ")
    report = json.loads((tmp_path / "out" / "phonons.json").read_text())
    assert report["imaginary"]["lowest"][0]["frequency"] == report["lowest_frequency"] < -1
    assert 0 < report["imaginary"]["fraction_of_mesh"] < 0.5
    assert "the structure is not at a minimum; thermal" in done.stdout
    assert done.stdout.count(" THz at q = ") == 3
    assert f"and {report['imaginary']['modes'] - 3} more" in done.stdout


@pytest.mark.skipif("lithium" not in shipped(), reason="the calculator `lithium` is not shipped")
def test_imaginary_modes_of_a_small_supercell(tmp_path):
    """Lithium in 2x2x2 cells of 2 atoms has acoustic modes at -1.6 THz, in 4x4x4 none."""
    ase.io.write(tmp_path / "li.extxyz", bulk("Li", cubic=True, a=3.4575))
    done = command(
        *("lithium", tmp_path / "li.extxyz", "--supercell", "2,2,2", "--no-relax"),
        *("--output", tmp_path / "out"),
    )
    assert "or the supercell is too small: 6.9 A wide, and the cutoff is 5 A" in done.stdout
    report = json.loads((tmp_path / "out" / "phonons.json").read_text())
    # the speed of sound of lithium is about 6 km/s
    assert 3 < report["largest_group_velocity"] < 12


def test_small_modes_near_gamma_tell_of_the_supercell(tmp_path):
    atoms = fcc111("Cu", (2, 2, 3), vacuum=8.0)
    atoms.info.clear()
    ase.io.write(tmp_path / "slab.extxyz", atoms)
    done = command(
        *("--calculator", "ase.calculators.emt:EMT", tmp_path / "slab.extxyz"),
        *("--supercell", "1,1,1", "--output", tmp_path / "out"),
    )
    modes = json.loads((tmp_path / "out" / "phonons.json").read_text())["imaginary"]
    assert modes["small_near_gamma"] == modes["modes"] > 3
    assert "a --supercell that is too small" in done.stdout
    assert "not at a minimum" not in done.stdout


def test_zero_has_no_sign(tmp_path):
    ase.io.write(tmp_path / "cu.extxyz", bulk("Cu", a=3.59))
    done = command(
        *("--calculator", "ase.calculators.emt:EMT", tmp_path / "cu.extxyz"),
        *("--mesh", "4,4,4", "--q-points", "0 0 0", "--output", tmp_path / "out"),
    )
    assert "frequencies 0.000 to" in done.stdout
    assert "-0.000" not in done.stdout
    assert not re.search(r"e-[2-9]\d", done.stdout)


def test_plot_marks_imaginary_modes():
    results = phonons.run(copper("bcc", a=2.87), (2, 2, 2), relaxed=False, **SMALL)
    assert "IMAGINARY" in phonons.plot(results).get_suptitle()


def test_plot_joins_the_names_where_the_path_jumps(spectrum):
    bands, states = phonons.plot(spectrum).axes
    assert [label.get_text() for label in bands.get_xticklabels()] == [
        "$\\Gamma$",
        "$\\mathrm{X}$",
        "$\\mathrm{U}$|$\\mathrm{K}$",
        "$\\Gamma$",
        "$\\mathrm{L}$",
        "$\\mathrm{W}$",
        "$\\mathrm{X}$",
    ]
    assert states.get_xlabel().startswith("states")


def test_phonopy_gives_the_same_bands_from_the_folder(folder, spectrum):
    path = "0 0 0 1/2 0 1/2, 1/2 1/2 1/2 1/10 1/5 7/20"
    subprocess.run(
        [
            sys.executable,
            "-c",
            PHONOPY,
            "phonopy_params.yaml",
            "--band",
            path,
            "--band-points",
            "2",
        ],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    bands = yaml.safe_load((folder / "band.yaml").read_text())["phonon"]
    frequencies = [[mode["frequency"] for mode in point["band"]] for point in bands]
    assert np.abs(np.array(frequencies) - at_points(spectrum)).max() < 1e-6


def test_files_are_listed(folder):
    assert {path.name for path in folder.iterdir()} >= {
        "phonopy_params.yaml",
        "band.yaml",
        "total_dos.dat",
        "thermal_properties.yaml",
        "phonons.json",
        "phonons.png",
        "structure.extxyz",
    }


@needs_silicon
def test_silicon_by_displacements_and_by_second_derivatives():
    results = phonons.run(silicon(), EIGHT, relaxed=False, **SMALL)
    exact = phonons.run(silicon(), EIGHT, relaxed=False, method="hessian", **SMALL)
    assert np.abs(at_points(results) - at_points(exact)).max() < 0.02
    assert exact.residuals["before"]["exchange"] < 1e-10  # derivatives commute


def test_second_derivatives_without_symmetry_agree_with_displacements():
    atoms = bulk("Si")
    atoms.rattle(0.1, seed=1)
    atoms.calc = PETCalculator(tiny_pet("local", cutoff_function="bump", cutoff=3.0), skin=0)
    options = {"relaxed": False, "symmetry": False, "projection": "none", **SMALL}
    options["allow_forces"] = True  # the atoms were displaced
    shifts = phonons.run(atoms, (2, 2, 2), displacement=1e-4, **options)
    exact = phonons.run(atoms, (2, 2, 2), method="hessian", **options)
    assert shifts.facts["displaced_supercells"] == 12
    assert np.abs(at_points(shifts) - at_points(exact)).max() < 1e-3


def test_the_full_hessian_equals_its_rows():
    atoms = bulk("Si")
    atoms.calc = PETCalculator(tiny_pet("local", cutoff_function="bump", cutoff=3.0))
    crystals = [phonons.Crystal(atoms, (2, 2, 2)) for _ in range(2)]

    class Full:
        """A calculator whose `hessian` has no argument `of`."""

        def hessian(self, structure):
            return atoms.calc.hessian(structure)

    crystals[0].from_hessian(atoms.calc)
    crystals[1].from_hessian(Full())
    np.testing.assert_allclose(
        *(crystal.phonopy.force_constants for crystal in crystals), atol=1e-10
    )


def test_projection_restores_the_symmetries():
    crystal = phonons.Crystal(copper(), (2, 2, 2))
    structures = crystal.displaced()
    noise = np.random.default_rng(0).normal(size=(len(structures), 8, 3))
    crystal.from_forces(
        [
            structure_noise + EMT().get_property("forces", atoms)
            for structure_noise, atoms in zip(1e-3 * noise, structures, strict=True)
        ]
    )
    before = crystal.residuals()
    crystal.project("symfc")
    assert max(before["exchange"], before["sum_rule"]) > 1e-2
    assert crystal.residuals()["sum_rule"] < 1e-10
    assert crystal.residuals()["exchange"] < 1e-10


def test_forces_by_three_methods_agree():
    """Copies with a displaced atom, batches, and one structure at a time."""
    atoms = bulk("Si")
    calculator = PETCalculator(tiny_pet("local", cutoff_function="bump", cutoff=3.0))
    crystal = phonons.Crystal(atoms, (2, 2, 2))
    structures = crystal.displaced()

    class Single:
        """The same calculator without its methods for many structures."""

        def get_property(self, name, atoms):
            return calculator.get_property(name, atoms)

    compute = phonons.force_constants.forces
    single = compute(Single(), structures)
    np.testing.assert_allclose(compute(calculator, structures), single, atol=1e-10)
    np.testing.assert_allclose(compute(calculator, structures, crystal.moves), single, atol=1e-10)


def test_supercells_keep_masses_and_moments():
    atoms = copper(cubic=True)
    atoms.set_tags([1, 2, 3, 4])
    atoms.set_masses([60, 61, 62, 63])
    crystal = phonons.Crystal(atoms, (2, 1, 1), symmetry=False)
    assert sorted(crystal.supercell.get_tags()) == [1, 1, 2, 2, 3, 3, 4, 4]
    np.testing.assert_array_equal(crystal.supercell.get_masses(), 59 + crystal.supercell.get_tags())
    np.testing.assert_allclose(crystal.phonopy.supercell.masses, crystal.supercell.get_masses())


@pytest.mark.filterwarnings("ignore:constraints of the structure")
def test_forces_ignore_constraints_of_the_unit_cell():
    """A constraint of the unit cell does not act on displaced supercells."""
    free = copper()
    fixed = copper()
    fixed.set_constraint([FixAtoms([0])])
    results = [phonons.run(atoms, (2, 2, 2), relaxed=False, **SMALL) for atoms in (free, fixed)]
    np.testing.assert_array_equal(at_points(results[0]), at_points(results[1]))


BAD = {
    "method": ({"method": "dfpt"}, "`method` is 'dfpt': valid choices are displacements, hessian"),
    "projection": (
        {"projection": "all"},
        "`projection` is 'all': valid choices are symfc, traditional, none",
    ),
    "displacement": ({"displacement": 0}, "`displacement` is 0: expected a number from 1e-05"),
    "supercell": ({"supercell": (2, 2, 0)}, r"`supercell` is \(2, 2, 0\): expected three repeats"),
    "no hessian": ({"method": "hessian"}, "EMT has no method of that name"),
    "mesh": ({"mesh": (2, 2)}, r"`mesh` is \(2, 2\): expected three numbers"),
    "temperature": ({"temperature_max": 0}, "`temperature_max` is 0: expected K above 0"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_arguments_are_named(name):
    arguments, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        phonons.run(copper(a=3.6), **{"relaxed": False, **arguments})


@pytest.mark.parametrize(
    ("atoms", "message"),
    [
        (molecule("H2O"), "phonons need three periodic directions"),
        (Atoms("Cu", cell=3 * [2.0], pbc=True, info={"charge": 1}), "neutral crystal"),
    ],
)
def test_structures_without_phonons_are_refused(atoms, message):
    atoms.calc = EMT()
    with pytest.raises(ValueError, match=message):
        phonons.run(atoms)


@pytest.mark.parametrize("text", ["2,2", "a,b,c", "2.5,2,2"])
def test_command_explains_the_supercell(text, tmp_path):
    done = command("silicon", "x.cif", "--supercell", text, "--output", tmp_path)
    assert "expected 3 or 9 whole numbers, such as 2,2,2" in str(done.exception)


def test_missing_packages_are_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "seekpath", None)
    with pytest.raises(ValueError, match=r"pip install '\.\[phonons\]' in a clone"):
        phonons.Crystal(copper(), (2, 2, 2))
