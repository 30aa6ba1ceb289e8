"""The process `ase-pet`: one line for each error, exit status, notes, no control characters."""

import json
import os
import subprocess
import sys
import warnings

import ase.io
import pytest
from ase.build import bulk

from ase_pet.cli import _process, lazy, options, screen
from factories import HOSTILE
from paths import ROOT

CALCULATOR_FIRST = [  # commands with --calculator and a file of structures
    name
    for name in lazy.COMMANDS
    if {"calc", "calculator"} <= {parameter.name for parameter in lazy.load(name).params}
]
CALCULATOR_FIRST.remove("ipi")  # waits for i-PI, which asks for forces later
TRY_ALL = ("check", "singlepoint", "label")  # commands that report an error and go on
BROKEN = ("--calculator", "factories:Broken")
SECONDS = 60


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Function that returns exit status, stdout and stderr of a command line."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(screen, "_shown", set())
    monkeypatch.chdir(tmp_path)

    def command(*arguments):
        monkeypatch.setattr(sys, "argv", ["ase-pet", *map(str, arguments)])
        with warnings.catch_warnings():
            warnings.simplefilter("default")  # in tests they are errors
            status = _process.run()
        return status, *capsys.readouterr()

    return command


def is_clean(text):
    """Whether a text holds no control character but newlines."""
    return screen.plain(text) == text and "\t" not in text


def needed(name):
    """Options that a command requires."""
    required = [parameter for parameter in lazy.load(name).params if parameter.required]
    flags = [parameter.opts[0] for parameter in required if parameter.opts[0].startswith("--")]
    return [word for flag in flags for word in (flag, "made")]


def given(name, path):
    """Arguments that name a file of structures."""
    before = ["--structure"] if name == "check" else []
    again = [str(path)] if name == "neb" else []
    return [*before, str(path), *again]


@pytest.mark.parametrize(
    ("name", "flag"), [("relax", "--help"), *((name, "-h") for name in lazy.COMMANDS)]
)
def test_help_has_a_short_name(run, name, flag):
    status, out, err = run(name, flag)
    assert (status, err) == (0, "")
    assert f"Usage: ase-pet {name}" in out
    assert {"--verbose", "--quiet"} <= set(out.split())


@pytest.mark.parametrize("name", lazy.COMMANDS)
def test_version_after_a_command(run, name):
    assert run(name, "--version")[1] == run("--version")[1]


@pytest.mark.parametrize("name", lazy.COMMANDS)
def test_an_unknown_option_is_one_line(run, name):
    status, out, err = run(name, "--helpp")
    assert (status, out) == (2, "")
    assert err.startswith("ase-pet: No such option: --helpp")
    assert err.endswith(f"(see ase-pet {name} --help)\n")
    assert err.count("\n") == 1


def test_the_closest_command_is_named(run):
    status, _, err = run("relaxx")
    assert status == 2
    assert err == "ase-pet: No such command 'relaxx'. Did you mean 'relax'? (see ase-pet --help)\n"


@pytest.mark.parametrize("name", CALCULATOR_FIRST)
def test_a_missing_file_is_one_line(run, name):
    status, out, err = run(
        name, "--calculator", "ase.calculators.emt:EMT", *given(name, "no.cif"), *needed(name)
    )
    assert (status, out) == (2, "")
    assert err == "ase-pet: `no.cif`: No such file or directory\n"


@pytest.mark.parametrize("name", CALCULATOR_FIRST)
def test_a_file_without_structures_is_one_line(run, name, tmp_path):
    path = tmp_path / f"bad{HOSTILE}.extxyz"
    path.write_text(HOSTILE)
    status, out, err = run(
        name, "--calculator", "ase.calculators.emt:EMT", *given(name, path), *needed(name)
    )
    assert (status, out) == (2, "")
    assert "cannot be read as structures" in err
    assert err.count("\n") == 1
    assert is_clean(err)


@pytest.mark.parametrize("name", [name for name in CALCULATOR_FIRST if name not in TRY_ALL])
def test_a_calculator_that_raises_is_one_line(run, name, tmp_path):
    atoms = bulk("Cu", cubic=True)
    atoms.calc = options.load_calculator(None, "ase.calculators.emt:EMT")
    atoms.get_forces()
    ase.io.write(tmp_path / "cu.extxyz", atoms)
    status, out, err = run(name, *BROKEN, *given(name, "cu.extxyz"), *needed(name), "-q")
    assert (status, out) == (2, "")
    assert err.startswith("ase-pet: Broken: RuntimeError: no licence\\x1b]0;pwned\\x07")
    assert err.endswith("second line (-v shows the traceback)\n")
    assert err.count("\n") == 1
    assert is_clean(err)


@pytest.mark.parametrize("name", TRY_ALL)
def test_commands_that_go_on_after_an_error_fail(run, tmp_path, name):
    bulk("Cu").write(tmp_path / "cu.xyz")
    status, out, err = run(name, *BROKEN, *given(name, "cu.xyz"), *needed(name))
    assert status == 1
    assert "\\x1b]0;pwned" in out + err
    assert is_clean(out + err)


@pytest.mark.parametrize("name", [name for name in CALCULATOR_FIRST if name not in TRY_ALL])
def test_forces_of_a_wrong_shape_are_one_line(run, name, tmp_path):
    atoms = bulk("Cu", cubic=True)
    atoms.calc = options.load_calculator(None, "ase.calculators.emt:EMT")
    atoms.get_forces()
    ase.io.write(tmp_path / "cu.extxyz", atoms)
    wrong = ("--calculator", "factories:WrongForces")
    status, out, err = run(name, *wrong, *given(name, "cu.extxyz"), *needed(name), "-q")
    assert (status, out) == (2, "")
    assert "`forces` of WrongForces: expected (4, 3) real numbers, got (1, 3)" in err
    assert err.count("\n") == 1


NEEDS_FORCES = [name for name in CALCULATOR_FIRST if name not in (*TRY_ALL, "info")]


@pytest.mark.parametrize("name", NEEDS_FORCES)
def test_forces_that_are_missing_are_one_line(run, name, tmp_path):
    atoms = bulk("Cu", cubic=True)
    atoms.calc = options.load_calculator(None, "ase.calculators.emt:EMT")
    atoms.get_forces()
    ase.io.write(tmp_path / "cu.extxyz", atoms)
    wrong = ("--calculator", "factories:NoForces")
    status, out, err = run(name, *wrong, *given(name, "cu.extxyz"), *needed(name), "-q")
    assert (status, out) == (2, "")
    assert "`forces` of NoForces: expected a result" in err
    assert err.count("\n") == 1


def test_a_stress_that_nobody_uses_is_left_out(run, tmp_path):
    atoms = bulk("Cu", cubic=True)
    atoms.write(tmp_path / "cu.xyz")
    wrong = ("--calculator", "factories:OddStress")
    status, _, err = run("vibrations", *wrong, "cu.xyz", "--output", "made", "-q")
    assert status == 0
    assert "left out of extxyz: `stress` of OddStress: expected (6,) or (3, 3) real" in err
    assert "stress" not in ase.io.read(tmp_path / "made/structure.extxyz").calc.results


@pytest.mark.parametrize("name", TRY_ALL)
def test_commands_that_go_on_report_forces_of_a_wrong_shape(run, tmp_path, name):
    bulk("Cu", cubic=True).write(tmp_path / "cu.xyz")
    wrong = ("--calculator", "factories:WrongForces")
    status, out, err = run(name, *wrong, *given(name, "cu.xyz"), *needed(name))
    assert status == 1
    assert "of WrongForces" in " ".join((out + err).split())


@pytest.mark.parametrize(
    ("kind", "text"),
    [("Unspeakable", "NoText"), ("Odd", "BaseException: odd"), ("Generator", "GeneratorExit")],
)
@pytest.mark.parametrize("name", ["md", "relax"])
def test_odd_errors_of_a_calculator_are_one_line(run, name, tmp_path, kind, text):
    bulk("Cu", cubic=True).write(tmp_path / "cu.xyz")
    wrong = ("--calculator", f"factories:{kind}")
    status, out, err = run(name, *wrong, *given(name, "cu.xyz"), *needed(name), "-q")
    assert (status, out) == (2, "")
    assert err == f"ase-pet: {kind}: {text} (-v shows the traceback)\n"


def test_verbose_shows_the_traceback(run, tmp_path):
    bulk("Cu").write(tmp_path / "cu.xyz")
    _, _, err = run("relax", *BROKEN, "cu.xyz", "--output", "made", "-v")
    assert err.startswith("ase-pet: factories:Broken, 1 atom Cu\nTraceback")
    assert is_clean(err)


def test_the_environment_asks_for_tracebacks(run, tmp_path, monkeypatch):
    bulk("Cu").write(tmp_path / "cu.xyz")
    monkeypatch.setenv("ASE_PET_DEBUG", "1")
    assert "Traceback" in run("relax", *BROKEN, "cu.xyz", "--output", "made")[2]
    monkeypatch.setenv("ASE_PET_DEBUG", "0")
    assert "Traceback" not in run("relax", *BROKEN, "cu.xyz", "--output", "made")[2]


def test_a_bad_factory_of_cheap_forces_is_named(run, tmp_path):
    bulk("Cu").write(tmp_path / "cu.xyz")
    foreign = ("--calculator", "ase.calculators.emt:EMT", "--multiple", "2")
    _, _, err = run(
        "md", *foreign, "cu.xyz", "--output", "made", "--fast", "factories:number", "-q"
    )
    assert err.startswith("ase-pet: `--fast` 'factories:number' returned an object of int")


def test_an_element_that_a_calculator_lacks(run, tmp_path):
    bulk("Si").write(tmp_path / "si.xyz")
    foreign = ("--calculator", "ase.calculators.emt:EMT")
    _, _, err = run("relax", *foreign, "si.xyz", "--output", "made", "-q")
    message = "ase-pet: EMT: NotImplementedError: No EMT-potential for Si"
    assert err == f"{message} (-v shows the traceback)\n"


def test_a_name_where_a_factory_is_expected(run, tmp_path):
    """`--calculator silicon` can only mean the calculator of that name."""
    bulk("Si").write(tmp_path / "si.xyz")
    status, out, _ = run("info", "--calculator", "silicon", "si.xyz", "--json")
    assert status == 0
    assert json.loads(out)["name"] == "silicon"


def test_a_calculator_that_ends_the_process(run, tmp_path):
    bulk("Cu").write(tmp_path / "cu.xyz")
    status, _, err = run(
        "relax", "--calculator", "factories:Exits", "cu.xyz", "--output", "made", "-q"
    )
    assert (status, err) == (2, "ase-pet: Exits: SystemExit: 1 (-v shows the traceback)\n")


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("factories", "expected module:factory"),
        ("factories:", "expected module:factory"),
        (":EMT", "expected module:factory"),
        ("a:b:c", "expected module:factory"),
        ("no_such_module:EMT", "No module named 'no_such_module'"),
        ("factories.py:number", "name a module without .py: factories:number"),
        ("factories:rises", "factories has no rises; did you mean factories:raises?"),
        ("factories:raises", "raised KeyError: 'licence'"),
        ("factories:ends", "raised SystemExit: bye"),
        ("factories:nothing", "returned None: expected an ASE calculator"),
        ("factories:a_class", "returned the class EMT: expected an object"),
        ("factories:number", "returned an object of int: expected an ASE calculator"),
        ("factories:needs", "needs the arguments first, third"),
        ("factories:made", "is an object of EMT: expected a function or class"),
        ("wrong:EMT", "its import raised SyntaxError"),
        ("ends:EMT", "its import raised SystemExit: 3"),
        ("lacks:EMT", "its import raised ModuleNotFoundError: No module named 'no_such_module'"),
    ],
)
def test_a_factory_that_fails_is_one_line(run, tmp_path, factory, message):
    (tmp_path / "wrong.py").write_text("x = (")
    (tmp_path / "ends.py").write_text("raise SystemExit(3)")
    (tmp_path / "lacks.py").write_text("import no_such_module")
    bulk("Cu").write(tmp_path / "cu.xyz")
    status, _, err = run("relax", "--calculator", factory, "cu.xyz", "--output", "made")
    assert status == 2
    assert err.startswith(f"ase-pet: `--calculator` {factory!r}")
    assert message in err
    assert err.count("\n") == 1


def test_a_factory_of_the_present_folder(run, tmp_path):
    (tmp_path / "mine.py").write_text("from ase.calculators.emt import EMT\n")
    bulk("Cu").write(tmp_path / "cu.xyz")
    assert run("relax", "--calculator", "mine:EMT", "cu.xyz", "--output", "made")[0] == 0


def test_an_internal_error_names_a_file_with_the_traceback(run, monkeypatch):
    monkeypatch.setattr("ase_pet.store.shipped", eval("lambda: {}['key']", {}))
    monkeypatch.setattr(_process._errors, "library", lambda error: None)
    status, _, err = run("list")
    assert status == 2
    assert err.startswith("ase-pet: internal error: KeyError: 'key'; please report it, with ")
    path = err.split()[-1]
    with open(path, encoding="utf-8") as file:
        assert file.read().startswith("Traceback")
    os.remove(path)


def test_a_warning_is_one_line_and_printed_once(run, tmp_path):
    bulk("Cu").write(tmp_path / "cu.xyz")
    _, out, err = run("bench", "--calculator", "factories:Warns", "cu.xyz", "--steps", "2", "-q")
    assert err == f"ase-pet: note: old parameters{screen.plain(HOSTILE)}\n"
    assert is_clean(err)


def test_control_characters_of_file_names_are_shown(run, tmp_path):
    path = tmp_path / f"cu{HOSTILE}.xyz"
    bulk("Cu").write(path, format="extxyz")
    foreign = ("--calculator", "ase.calculators.emt:EMT", "--structure", path)
    status, out, err = run("check", *foreign, "--only", "permutation")
    assert status == 0
    assert is_clean(out)
    assert is_clean(err)
    assert "\\x1b]0;pwned\\x07" in out


def test_start_line_says_what_runs(run, tmp_path):
    bulk("Si", cubic=True).write(tmp_path / "si.xyz")
    arguments = ("elastic", "silicon", "si.xyz", "--no-ions", "--no-relax", "--json")
    _, out, err = run(*arguments, "--device", "cpu")
    assert err.splitlines()[0].startswith("ase-pet: silicon, 8 atoms Si8, ")
    assert " cpu, float64, " in err
    assert json.loads(out)["stable"]
    assert run(*arguments, "-q")[2] == ""


def test_a_format_that_ase_reads(run, tmp_path):
    bulk("Si").write(tmp_path / "start", format="vasp")
    assert run("info", "silicon", "start", "--format", "vasp")[0] == 0
    status, _, err = run("info", "silicon", "start", "--format", "vesp")
    assert status == 2
    assert "such as vasp;" in err


@pytest.mark.parametrize("text", ["plain", "tab\tand\nline", "Å ± 漢 é"])
def test_plain_text_stays(text):
    assert screen.plain(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J", "\\x1b[2J"),
        ("a\rb\bc\x00\x7f", "a\\x0db\\x08c\\x00\\x7f"),
        ("\x9b31m", "\\x9b31m"),
        ("\u202ea\u2066\u200f", "\\u202ea\\u2066\\u200f"),
        ("\ud800\u2028", "\\ud800\\u2028"),
        ("\U000e0041", "\\U000e0041"),
    ],
)
def test_control_characters_are_visible(text, shown):
    assert screen.plain(text) == shown
    assert screen.plain(shown) == shown


def test_json_is_valid(capsys):
    screen.print_json({"text": HOSTILE, "numbers": [float("nan"), (float("inf"), 1.5)]})
    out = capsys.readouterr().out
    assert is_clean(out)
    assert json.loads(out) == {"text": HOSTILE, "numbers": [None, [None, 1.5]]}


def test_json_is_alone_on_stdout(tmp_path):
    bulk("Cu").write(tmp_path / "cu.xyz")
    arguments = ("--calculator", "factories:Prints", "cu.xyz", "--steps", "1", "--json")
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "cli")])
    done = subprocess.run(
        [sys.executable, "-m", "ase_pet", "bench", *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert json.loads(done.stdout)["atoms"] == 1
    assert {"iteration 1", "iteration 2"} <= set(done.stderr.splitlines())


def test_progress_in_a_log_is_rare(capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(screen.time, "monotonic", lambda: now[0])
    with screen.progress("md") as report:
        for step in range(1, 101):
            now[0] += 2
            report("md", step, 100)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "md: 10/100, 20 s"
    assert len(lines) == 10


def process(*arguments, **more):
    """A running process of `ase-pet`."""
    return subprocess.Popen(
        [sys.executable, "-m", "ase_pet", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        **more,
    )


INTERRUPT = """
import os, signal, sys

class Finder:
    def find_spec(self, name, *more):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Finder())
sys.argv = ["ase-pet", "info", "silicon"]
from ase_pet.cli import main
main()
"""


@pytest.mark.parametrize(
    "module", ["typer", "rich.progress", "numpy._core._multiarray_umath", "torch._C"]
)
def test_ctrl_c_while_loading_is_one_line(module):
    """Packages of compiled code turn Ctrl-C into errors of their own."""
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPT.format(module=module)],
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert (done.returncode, done.stderr) == (130, "ase-pet: interrupted\n")


def test_a_closed_pipe_is_quiet():
    with process("--version") as running:
        running.stdout.close()
        assert running.stderr.read() == ""
        assert running.wait(SECONDS) == 141


def test_a_full_disk_is_one_line():
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "ase_pet", "--version"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=SECONDS,
        )
    assert done.returncode == 2
    assert done.stderr.startswith("ase-pet: No space left on device: what is written is incomplete")
    assert done.stderr.count("\n") == 1


def test_completion_lists_commands_and_options():
    complete = {**os.environ, "_ASE_PET_COMPLETE": "complete_bash", "COMP_CWORD": "1"}
    code = "from ase_pet.cli import main; main()"

    def words(text, number):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**complete, "COMP_WORDS": text, "COMP_CWORD": str(number)},
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        return done.stdout.split()

    assert {"phonons"} <= set(words("ase-pet ph", 1))
    assert {"--supercell"} <= set(words("ase-pet phonons --sup", 2))
