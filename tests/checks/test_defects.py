"""Hidden defects of calculators are found, good ones pass, and what is refused is no failure."""

import hashlib
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from ase.build import bulk, fcc111, molecule
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.constraints import FixAtoms
from typer.testing import CliRunner

import laws
from ase_pet import checks, plugins
from ase_pet.checks._noise import Noise, scatter
from ase_pet.checks._results import Limit, Measured, allowed
from ase_pet.cli import app
from paths import ROOT

sys.path.append(str(ROOT / "benchmarks"))
import defects  # noqa: E402

NAMES = [
    pytest.param(name, marks=[pytest.mark.slow] if level == "full" else [])
    for name, (_, _, level) in defects.DEFECTS.items()
]


@pytest.fixture(autouse=True)
def few_evaluations(monkeypatch):
    monkeypatch.setattr(plugins.load("ase_pet.checks", "memory"), "MOST", 200)


@pytest.mark.parametrize("name", NAMES)
def test_defect_is_found_and_the_same_potential_without_it_passes(name):
    kind, check, level = defects.DEFECTS[name]
    structures = {"crystal": bulk("Cu", cubic=True)}
    species = {"step in Cu-Au": defects.SPECIES}.get(name)
    found, correct = (
        checks.run(calculator, structures, species=species, level=level, only=[check])
        for calculator in (kind(), defects.Pair())
    )
    assert "fail" in {result.status for result in found}, found
    assert {result.status for result in correct} <= {"pass", "info", "not applicable"}, correct
    assert "pass" in {result.status for result in correct}


def test_each_failure_says_what_helps_and_by_how_much():
    results = checks.run(laws.windy(), laws.cluster(), only=["net_force", "rotation"])
    failed = [result for result in results if result.status == "fail"]
    assert all(result.remedy for result in failed)
    assert all(result.severity > 1 for result in failed)
    assert failed[0].severity == pytest.approx(failed[0].value / failed[0].limit)
    assert {result.remedy for result in results if result.status == "pass"} <= {""}
    assert "--symmetrise ecse" in plugins.load("ase_pet.checks", "rotation").__doc__


@pytest.mark.parametrize("name", checks.names())
def test_every_check_says_what_helps(name):
    assert "What helps: " in plugins.load("ase_pet.checks", name).__doc__


@pytest.mark.parametrize(
    ("value", "limit", "low", "severity"),
    [
        (3.0, 1.5, 0.0, 2.0),
        (1.8, 4.4, 3.6, 2.0),
        (np.nan, 1.0, 0.0, np.inf),
        (1.0, 0.0, 0.0, np.inf),
    ],
)
def test_severity_is_the_factor_beyond_the_limit(value, limit, low, severity):
    result = checks.Result("nve", "drift", "", "fail", value, limit=limit, low=low)
    assert result.severity == severity
    assert result.as_dict()["severity"] == (severity if np.isfinite(severity) else "inf")


class Refusing(Calculator):
    """Argon that refuses some structures with an error of its own."""

    implemented_properties = ["energy", "forces", "stress"]

    def __init__(self, refuses):
        super().__init__()
        self.refuses = refuses

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        {True: self._refuse, False: self._compute}[bool(self.refuses(self.atoms))]()

    def _refuse(self):
        raise RuntimeError("no such\ncell")

    def _compute(self):
        self.results = laws.argon(self.atoms)


def test_a_calculator_that_needs_a_cell_gets_one():
    results = checks.run(
        Refusing(lambda atoms: atoms.cell.rank < 3),
        laws.crystal(),
        only=["net_torque", "locality", "repulsion"],
    )
    assert {result.status for result in results} == {"pass"}


def test_what_a_calculator_refuses_is_not_applicable_with_its_message():
    slabs = Refusing(lambda atoms: 0 < atoms.pbc.sum() < 3)
    clusters = Refusing(lambda atoms: not atoms.pbc.any())
    [slab, _] = checks.run(slabs, laws.crystal(), only=["slab"])
    [torque] = checks.run(clusters, laws.crystal(), only=["net_torque"])
    assert {slab.status, torque.status} == {"not applicable"}
    assert slab.note.endswith("periodic along TTF: RuntimeError: no such cell")
    assert torque.note.endswith("refuses free structures: RuntimeError: no such cell")


def test_an_error_on_a_given_structure_is_a_failure_and_other_checks_go_on():
    results = checks.run(
        Refusing(lambda atoms: len(atoms) > 4), laws.crystal(), only=["supercell", "net_force"]
    )
    assert [result.status for result in results] == 3 * ["fail"] + ["pass"]
    assert results[0].note == "RuntimeError: no such cell"


class Scattering(Calculator):
    """Argon with a scatter of energies and forces that is the same for the same structure."""

    implemented_properties = ["energy", "forces", "stress"]

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.results = laws.argon(self.atoms)
        seed = np.frombuffer(self.atoms.positions.tobytes(), np.uint32)
        rng = np.random.default_rng(seed)
        self.results["energy"] += 1e-7 * rng.normal()
        self.results["forces"] = self.results["forces"] + 1e-5 * rng.normal(size=(len(atoms), 3))


def test_limits_follow_the_scatter_of_self_consistent_calculators():
    names = ["noise", "translation", "permutation", "gradients", "net_force", "jacobian"]
    results = checks.run(Scattering(), laws.cluster(), only=names)
    assert {result.status for result in results} <= {"pass", "not applicable"}, results
    [noise] = [
        result for result in results if (result.check, result.quantity) == ("noise", "forces")
    ]
    assert noise.value == pytest.approx(2e-5, rel=0.9)
    assert any("limit from the scatter" in result.note for result in results)


def test_scatter_is_that_of_numbers_about_a_polynomial():
    x = np.linspace(0, 1, 11)
    noise = 1e-6 * np.random.default_rng(0).normal(size=(11, 40))
    assert scatter(1e3 + x**3 - x) < 1e-12
    assert 1e-6 < scatter((1e3 + x)[:, None] + noise) < 5e-6  # the largest of 40
    assert scatter(np.full(11, np.nan)) == 0
    assert Noise(1, 2, 3).maximum(Noise(3, 2, 1)) == Noise(3, 2, 3)


@pytest.mark.parametrize(
    ("noise", "limit"), [(0.0, 1e-8), (1e-6, 1e-4), (1.0, 1e-3), (np.nan, 1e-8)]
)
def test_a_limit_rises_with_scatter_up_to_ten_times_that_of_float32(noise, limit):
    measured = Measured("forces", 0.0, noise=noise)
    assert allowed(measured, Limit("eV/A", 1e-8, 1e-4), "float64") == pytest.approx(limit)


def test_stiffness_has_a_verdict():
    results = checks.run(EMT(), species=["Cu"], only=["cutoff_pair"])
    [stiffness] = [result for result in results if result.quantity == "stiffness"]
    assert stiffness.status == "pass"


def test_jumps_of_a_pair_are_at_the_cutoff():
    calculator = LennardJones(epsilon=0.0104, sigma=3.4, rc=8.5)
    results = checks.run(calculator, species=["Ar"], only=["cutoff_pair"])
    [jump] = [result for result in results if result.quantity == "force jump"]
    assert jump.status == "fail"
    assert "pair distance 8.5000 A, at 6.3800 A of the path" in jump.note


def test_pairs_of_all_species_are_scanned():
    results = checks.run(EMT(), species=["Cu", "Au", "Ni"], only=["repulsion"])
    assert {result.structures for result in results} == {6}


def test_constraints_are_ignored_with_a_warning():
    atoms = laws.crystal()
    atoms.set_constraint(FixAtoms([0]))
    with pytest.warns(UserWarning, match=r"FixAtoms.* ignored for the checks on `Ar4`"):
        results = checks.run(laws.windy(), atoms, only=["net_force"])
    assert results[0].value == pytest.approx(4 * 3**0.5 * 0.01, rel=1e-6)
    assert len(atoms.constraints) == 1


def test_a_slab_has_the_energy_of_a_padded_crystal():
    slab = fcc111("Cu", (2, 2, 2), vacuum=None, periodic=True)
    slab.pbc = True
    results = checks.run(EMT(), slab, only=["slab"], level="full")
    assert {result.status for result in results} == {"pass"}


def test_drift_of_a_crystal_that_starts_far_from_its_minimum():
    far = bulk("Cu", cubic=True).repeat((2, 1, 1))
    far.rattle(0.3, seed=1)
    results = checks.run(EMT(), far, only=["nve"])
    assert {result.status for result in results} <= {"pass", "info"}, results


def test_description_names_class_package_parameters_and_files(tmp_path):
    (tmp_path / "model.pt").write_bytes(b"weights")
    described = checks.describe(laws.lennard_jones(), tmp_path / "model.pt")
    assert described["calculator"] == "ase.calculators.lj.LennardJones"
    assert described["package"].startswith("ase 3.")
    assert described["parameters"]["rc"] == 7.5
    assert described["files"] == {"model.pt": hashlib.sha256(b"weights").hexdigest()}
    assert str(tmp_path) in checks.sentence(described)


def command(*arguments):
    return CliRunner().invoke(app, ["check", "--calculator", "laws:windy", *map(str, arguments)])


def test_nothing_applicable_is_exit_status_1():
    done = command("--species", "Ar", "--only", "batch")
    assert done.exit_code == 1
    assert "no check applies: nothing was shown" in done.stderr


def test_table_shows_severity_remedy_and_what_was_checked():
    done = command("--species", "Ar", "--only", "net_force,permutation")
    assert done.exit_code == 1
    assert "x limit" in done.stdout
    assert "What helps against net_force: a conservative model" in done.stdout
    assert "laws.Function" in done.stdout
    assert "numpy" in done.stdout


def test_a_table_in_a_file_is_narrow():
    done = command("--species", "Ar", "--only", "net_force,permutation")
    assert max(map(len, done.stdout.split("net force")[1].splitlines()[:4])) <= 100


def test_json_holds_severity_remedy_and_description():
    output = json.loads(command("--species", "Ar", "--only", "net_force", "--json").stdout)
    [row] = output["results"]
    assert row["severity"] > 1
    assert row["remedy"]
    assert output["complete"]
    assert output["description"]["calculator"] == "laws.Function"
    assert set(output["versions"]) >= {"ase", "numpy", "torch"}


def test_interrupt_keeps_what_is_done(monkeypatch, tmp_path):
    def interrupted(subject, atoms):
        raise KeyboardInterrupt

    monkeypatch.setattr(plugins.load("ase_pet.checks", "rotation"), "measure", interrupted)
    page = tmp_path / "report.html"
    names = "permutation,rotation,net_force"
    done = command("--species", "Ar", "--only", names, "--json", "--html", page)
    output = json.loads(done.stdout)
    assert done.exit_code == 130
    assert not output["complete"]
    assert {row["check"] for row in output["results"]} == {"permutation"}
    assert "Interrupted after 1 of 3 checks" in done.stderr
    assert "Interrupted after 1 of 3 checks" in page.read_text(encoding="utf-8")


PLUGIN = """
import pytest
import laws

@pytest.mark.physical_laws(only=["net_force", "permutation", "batch"])
def test_laws(physical_law):
    physical_law(laws.windy(), laws.cluster())
"""


def test_pytest_plugin_makes_a_test_of_each_check(tmp_path):
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["ase_pet.checks.pytest_plugin"]\n')
    (tmp_path / "test_mine.py").write_text(PLUGIN)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "test_mine.py"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 failed, 1 passed, 1 skipped" in done.stdout
    assert "net_force, net force: 0.0866 eV/A (limit <= 1e-08)" in done.stdout
    assert "What helps: a conservative model" in done.stdout
    assert "the calculator has no `evaluate" in done.stdout


@pytest.mark.slow
def test_gfn2_has_no_false_alarm():
    tblite = pytest.importorskip("tblite.ase")
    calculator = tblite.TBLite(method="GFN2-xTB", verbosity=0)
    names = ["determinism", "gradients", "rotation", "locality", "nve", "jacobian", "net_torque"]
    results = checks.run(calculator, molecule("CH3CH2OH"), only=names)
    assert {result.status for result in results} <= {"pass", "info", "not applicable"}, results
