"""Checks: each passes on a correct calculator and fails on its broken one; `run`, reports, CLI."""

import json
import sys

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from typer.testing import CliRunner

import laws
import toys
from ase_pet import PETCalculator, checks, plugins, store
from ase_pet.checks._results import Limit, status
from ase_pet.checks._subject import Capabilities, capabilities_of
from ase_pet.cli import app

QUICK = checks.names("quick")
LONG = [name for name in checks.names() if name not in QUICK]
ALL = [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in LONG)]


@pytest.fixture(autouse=True)
def few_evaluations(monkeypatch):
    """A thousand evaluations show the leak of the broken calculator and do not fill the memory."""
    monkeypatch.setattr(module("memory"), "MOST", 200)


def structures():
    return {name: make() for name, make in laws.STRUCTURES.items()}


def module(name):
    return plugins.load("ase_pet.checks", name)


def run(calculator, name, **options):
    return checks.run(calculator, structures(), only=[name], temperature=60, **options)


@pytest.mark.parametrize("name", ALL)
def test_correct_calculator_passes(name):
    results = run(laws.Function(laws.argon, cutoff=7.5), name)
    assert {result.status for result in results} <= {"pass", "info"}, results
    assert [result.quantity for result in results] == list(module(name).LIMITS)


@pytest.mark.parametrize("name", ALL)
def test_broken_calculator_fails_in_each_quantity(name):
    wrong = module(name).broken(laws.argon)
    results = run(laws.Function(wrong, cutoff=7.5), name)
    assert {
        result.quantity
        for result in results
        if result.status != "fail" and result.limit is not None
    } == set(), results
    assert all(np.isfinite(result.value) for result in results)


@pytest.mark.parametrize("name", ALL)
def test_broken_calculator_fails_by_the_limits_of_float32(name):
    results = run(laws.Function(module(name).broken(laws.argon), cutoff=7.5), name, dtype="float32")
    assert {
        result.quantity
        for result in results
        if result.status != "fail" and result.limit is not None
    } == set(), results


def raises(error):
    def calculate(atoms):
        raise error

    return laws.Function(calculate)


@pytest.mark.parametrize("name", ["rotation", "net_force", "jacobian"])
def test_a_crash_of_the_calculator_is_a_failed_check(name):
    results = run(raises(RuntimeError("no such\nkernel")), name)
    assert {result.status for result in results} == {"fail"}
    assert {result.note for result in results} == {"RuntimeError: no such kernel"}


def test_what_a_calculator_does_not_implement_is_not_applicable():
    results = run(raises(NotImplementedError("forces of this model")), "net_force")
    assert [(result.status, result.note) for result in results] == [
        ("not applicable", "forces of this model")
    ]


def test_numbers_that_are_not_finite_fail():
    results = run(
        laws.Function(lambda atoms: {"energy": np.nan, "forces": np.full((len(atoms), 3), np.nan)}),
        "net_force",
    )
    assert results[0].status == "fail"
    assert status(np.inf, Limit("eV"), "float64") == "fail"


def test_a_molecule_has_no_stress_and_no_supercell():
    results = checks.run(laws.lennard_jones(), laws.cluster(), only=["rotation", "supercell"])
    assert [result.status for result in results] == ["pass", "pass", *4 * ["not applicable"]]
    assert results[2].note == "a structure without a cell has no stress"


def test_a_calculator_without_evaluate_has_no_batches():
    results = checks.run(laws.lennard_jones(), laws.cluster(), only=["batch"])
    reason = "the calculator has no `evaluate(structures, properties)`"
    assert {(result.status, result.note) for result in results} == {("not applicable", reason)}


def test_the_worst_structure_is_reported():
    def wind(atoms):
        return laws.argon(atoms) | {"forces": 0.1 * np.full((len(atoms), 3), len(atoms))}

    worst = run(laws.Function(wind), "net_force")[0]
    assert (worst.structure, worst.structures) == ("cluster", 2)
    assert worst.value == pytest.approx(3**0.5 * 0.1 * 25)


def test_calculators_state_their_capabilities():
    emt = capabilities_of(EMT())
    assert emt == Capabilities(species=None, dtype=None, cutoff=None, evaluate=None)
    assert capabilities_of(laws.lennard_jones()).cutoff == 7.5  # in its parameters
    pet = PETCalculator(toys.tiny_pet("local"), dtype="float32")
    expected = Capabilities(pet.species, "float32", pet.cutoff, pet.evaluate)
    assert capabilities_of(pet) == expected


def test_names_of_mace_are_understood():
    calculator = laws.lennard_jones()
    calculator.r_max = np.array(5.0)
    calculator.default_dtype = "float32"
    stated = capabilities_of(calculator)
    assert (stated.dtype, stated.cutoff) == ("float32", 5.0)


def test_a_method_evaluate_of_another_form_is_not_used():
    calculator = laws.lennard_jones()
    calculator.evaluate = lambda structures: []
    assert capabilities_of(calculator).evaluate is None


def test_dtype_is_stated_or_that_of_the_forces():
    def single(atoms):
        properties = laws.argon(atoms)
        return properties | {"forces": properties["forces"].astype(np.float32)}

    limits = {
        name: (
            checks.run(laws.Function(function), laws.cluster(), only=["net_force"], dtype=dtype)[
                0
            ].limit
        )
        for name, function, dtype in (
            ("single", single, None),
            ("double", laws.argon, None),
            ("stated", laws.argon, "float32"),
        )
    }
    assert limits == {"single": 1e-4, "double": 1e-8, "stated": 1e-4}


def test_metals_of_ase_are_checked_by_their_species():
    results = checks.run(EMT(), species=["Cu"], only=["gradients", "permutation"])
    assert {result.status for result in results} == {"pass"}
    assert {result.structure for result in results} == {"Cu crystal"}


def test_a_crystal_of_one_atom_is_checked_as_several():
    results = checks.run(
        laws.lennard_jones(), bulk("Ar", a=5.3), only=["nve", "jacobian", "angular_momentum"]
    )
    assert {result.status for result in results} == {"pass", "info"}


@pytest.mark.parametrize(("symmetrise", "expected"), [("none", "fail"), ("ecse", "pass")])
def test_a_plain_model_fails_where_ecse_passes(symmetrise, expected):
    calculator = PETCalculator(toys.tiny_pet("local"), symmetrise=symmetrise)
    results = checks.run(calculator, toys.ethanol(), only=["inversion", "net_torque"])
    assert {result.status for result in results if result.quantity != "stress"} == {expected}


@pytest.mark.parametrize(
    ("species", "names"),
    [
        (["Si"], ["Si crystal"]),
        ([1, 6, 8], ["CH3CH2OH"]),
        (["Cu", "Ni"], ["Cu crystal"]),
        (["Mg", "O"], ["O2", "MgO crystal"]),
        (["Ti"], ["Ti crystal"]),
        (["H", "C", "N", "O"], ["CH3CONH2"]),
    ],
)
def test_default_structures_have_supported_species_only(species, names):
    built = checks.defaults(species)
    assert list(built) == names
    known = Atoms(species).symbols
    assert all(
        set(atoms.symbols) <= set(known) and 2 <= len(atoms) <= 16 for atoms in built.values()
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"level": "deep"}, "`level` is 'deep': valid choices are quick, full"),
        (
            {"only": ["rotations"]},
            "`rotations` is not one of the checks: valid choices are angular_momentum",
        ),
        ({"dtype": "half"}, "`dtype` is 'half': valid choices are float32, float64"),
        ({"temperature": -1}, "`temperature` is -1: expected K, above 0"),
        ({"structures": None}, "does not say which species it knows"),
        ({"structures": []}, "`structures` is empty"),
        ({"structures": Atoms()}, "holds no atoms"),
        ({"structures": Atoms("Ar")}, "structure `Ar` is one atom alone"),
        (
            {"structures": Atoms("Ar2", [[np.nan, 0, 0], [4, 0, 0]])},
            "`Ar2` has positions or a cell that are not finite",
        ),
        ({"structures": None, "species": ["Og"]}, "no structure is known for the species Og"),
    ],
)
def test_bad_input_is_named(arguments, message):
    arguments = {"structures": laws.cluster(), "level": "quick"} | arguments
    with pytest.raises(ValueError, match=message):
        checks.run(laws.lennard_jones(), **arguments)


def test_unsupported_species_are_named():
    calculator = laws.lennard_jones()
    calculator.species = (10,)
    with pytest.raises(ValueError, match="atomic numbers 18: the calculator knows 10"):
        checks.run(calculator, laws.cluster())


def test_structures_and_calculator_stay_as_they_are():
    atoms = laws.crystal()
    before = atoms.copy()
    checks.run(laws.lennard_jones(), atoms, only=["gradients", "lattice"])
    assert atoms == before
    assert atoms.calc is None


def command(*arguments):
    return CliRunner().invoke(app, ["check", *map(str, arguments)])


def test_command_prints_a_table():
    done = command(
        "--calculator", "laws:lennard_jones", "--species", "Ar", "--only", "net_force,rotation"
    )
    assert done.exit_code == 0
    assert "net force" in done.output
    assert "4 pass" in done.output


def test_command_ends_with_status_1_where_a_check_fails():
    done = command(
        "--calculator", "laws:windy", "--species", "Ar", "--only", "net_force,permutation", "--json"
    )
    output = json.loads(done.stdout)
    assert done.exit_code == 1
    assert not output["passed"]
    assert [row["status"] for row in output["results"]] == ["fail", "pass", "pass", "pass"]
    assert output["results"][0]["unit"] == "eV/A"


def test_command_reads_structures(tmp_path):
    laws.cluster().write(tmp_path / "argon.xyz")
    done = command(
        "--calculator",
        "laws:lennard_jones",
        "--structure",
        tmp_path / "argon.xyz",
        "--only",
        "net_torque",
        "--json",
    )
    assert json.loads(done.stdout)["results"][0]["structure"] == "Ar5"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give CALC, or --calculator module:factory"),
        (
            ["silicon", "--calculator", "laws:lennard_jones"],
            "give CALC, or --calculator module:factory",
        ),
        (["--calculator", "laws:lennard_jones"], "give `species` (`--species`)"),
        (["--calculator", "laws:nothing"], "'laws:nothing'"),
        (
            ["--calculator", "laws:lennard_jones", "--species", "Ar", "--only", "gravity"],
            "`gravity` is not one of the checks",
        ),
        (["--calculator", "laws:lennard_jones", "--structure", "none.xyz"], "none.xyz"),
    ],
)
def test_bad_input_of_the_command_is_named(arguments, message):
    done = command(*arguments)
    assert isinstance(done.exception, (ValueError, OSError))
    assert message in str(done.exception)


def test_report_is_one_file(tmp_path):
    command(
        "--calculator",
        "laws:windy",
        "--species",
        "Ar",
        "--only",
        "net_force",
        "--html",
        tmp_path / "report.html",
    )
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert '<td class="fail">fail</td>' in text
    assert "http" not in text


def test_report_explains_a_failure(tmp_path):
    command(
        "--calculator",
        "laws:windy",
        "--species",
        "Ar",
        "--only",
        "net_force,permutation",
        "--html",
        tmp_path / "new" / "report.html",
    )
    text = (tmp_path / "new" / "report.html").read_text(encoding="utf-8")
    assert "Where it fails, the whole system accelerates by itself." in text
    assert "two files of the same structure" not in text  # permutation passes
    assert "1 of 2 checks failed" in text
    assert "Limits are those of float64" in text


@pytest.mark.parametrize("name", checks.names())
def test_check_states_its_law_in_one_line(name):
    first, blank = module(name).__doc__.splitlines()[:2]
    title, _, law = first.partition(": ")
    assert title
    assert law.endswith(".")
    assert blank == ""


@pytest.mark.parametrize("name", checks.names())
def test_check_explains_a_failure(name):
    assert module(name).__doc__.strip().split("\n\n")[-1].startswith("Where it fails, ")


def shipped_copy(folder):
    """A calculator folder with a card."""
    store.save(folder / "tiny", toys.tiny_pet("local"), store.Card(name="tiny", dtype="float64"))
    (folder / "tiny" / "README.md").write_text(
        "# tiny\n\nA toy.\n\n## Limits\n\nIt knows nothing.\n", encoding="utf-8"
    )
    return folder / "tiny"


def test_command_writes_the_result_into_the_card(tmp_path):
    folder = shipped_copy(tmp_path)
    for only in ("net_force", "net_force", "rotation"):
        command(folder, "--only", only, "--card")
    text = (folder / "README.md").read_text(encoding="utf-8")
    titles = [line for line in text.splitlines() if line.startswith("#")]
    assert titles == [
        "# tiny",
        "## Checks (--only net_force)",
        "## Checks (--only rotation)",
        "## Limits",
    ]
    assert "`ase-pet check tiny --only net_force --card`: 20" in text
    assert "| `net_force` | pass | net force" in text
    assert "| `rotation` | FAIL | energy" in text
    assert text.endswith("## Limits\n\nIt knows nothing.\n")


def test_missing_card_is_refused_before_the_checks(tmp_path):
    done = command("--calculator", "laws:windy", "--species", "Ar", "--card")
    assert "`--card` is for calculator folders" in str(done.exception)
    with pytest.raises(ValueError, match="is no calculator folder and has no card"):
        store.write_section(tmp_path, "Checks", "")


@pytest.mark.pictures
def test_report_shows_the_plots_and_no_markup_of_others():
    plot = checks.Plot("time (fs)", "energy (meV)", {"1 fs": ([0, 1], [0, 1])})
    page = checks.html(
        [checks.Result("nve", "drift", "meV", "pass", 1.0, note="<b>", plot=plot)], "a <calculator>"
    )
    assert page.count("data:image/png;base64,") == 1
    assert "<b>" not in page
    assert "a &lt;calculator&gt;" in page


def test_report_without_matplotlib_is_one_clear_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ValueError, match="needs matplotlib, of the extra `train`"):
        checks.html([])
