"""Layout of the code: direction of imports, readability limits, docstrings, plug-in contracts."""

import ast
import configparser
import dataclasses
import functools
import inspect
import re
from pathlib import Path

import pytest

import reading
from ase_pet import plugins
from ase_pet.models.base import AtomisticModel
from paths import ROOT

PACKAGE = ROOT / "ase_pet"
FILES = sorted(path.relative_to(ROOT).as_posix() for path in PACKAGE.rglob("*.py"))

# A module imports from its own subpackage and from subpackages of earlier lines only.
SUBPACKAGES = (
    ("deferred", "errors"),
    (
        "choices",
        "constraints",
        "duplicates",
        "extras",
        "plugins",
        "results",
        "rotations",
        "staging",
    ),
    ("extxyz", "orientations", "ranges"),
    ("graph",),
    ("layers",),
    ("models",),
    ("symmetrisers",),
    ("evaluation", "uncertainty_policy"),
    ("outputs",),
    ("formats",),
    ("downloads", "toml_files", "weights"),
    ("published_mace",),
    ("calculator_info", "cards", "published"),
    ("store",),
    ("arguments", "display", "fingerprints", "memory"),
    ("graph_inputs",),
    ("batches", "concurrency", "executors"),
    ("descriptors", "steps"),
    ("calculator",),
    ("statistics",),
    ("checks", "md", "phonons"),
    ("uncertainty",),
    ("analysis", "dispersion", "engines", "heat_flux", "labels", "neb", "vibrations"),
    ("train",),
    ("cli",),
    ("__init__", "__main__"),
)
LEVEL = {
    subpackage: level for level, subpackages in enumerate(SUBPACKAGES) for subpackage in subpackages
}
ENGINE_FREE = (
    "plugins",
    "rotations",
    "orientations",
    "graph",
    "layers",
    "models",
    "symmetrisers",
    "evaluation",
    "outputs",
)
NO_FILES = (*ENGINE_FREE, "arguments", "calculator")

MOST_LINES_OF_A_FILE = 400
MOST_LINES_OF_A_MODEL = 500  # a model is one file, read from top to bottom
MOST_LINES_OF_A_FUNCTION = 60  # without its docstring
MOST_ARGUMENTS = 8  # of a constructor
MANY_ARGUMENTS = ("PETCalculator",)  # one object with all options of a user
# of the whole package, see `reading`: measured values may be at most, or at least, these
LARGEST = {
    "nodes per line, median": 11,
    "nodes per line, 95 %": 17,
    "long lines, %": 0,
    "tuple assignments, %": 0.5,
    "asking": 0,
}
LEAST = {"commented, %": 70, "documented, %": 100, "typed, %": 100}

PLUGINS = {  # subpackage -> names that each of its files must have
    "models": ("Settings", "Model"),
    "symmetrisers": ("parse", "wrap"),
    "formats": ("BY_CONTENT", "recognises", "read"),
    "checks": ("LEVEL", "STRUCTURES", "LIMITS", "measure", "broken"),
}
PLUGIN_FILES = [
    (subpackage, name) for subpackage in PLUGINS for name in plugins.names(f"ase_pet.{subpackage}")
]


@functools.cache
def text(name):
    return (ROOT / name).read_text(encoding="utf-8")


@functools.cache
def tree(name):
    return ast.parse(text(name))


def subpackage(name):
    return Path(name).relative_to("ase_pet").parts[0].removesuffix(".py")


def imported(name):
    """Dotted absolute names of all modules and objects that a file imports, wherever in it."""
    package = list(Path(name).parent.parts)
    names = []
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = [*base, *filter(None, [node.module])]
            names += [".".join([*base, alias.name]) for alias in node.names]
    return names


def inside(dotted, module):
    return dotted == module or dotted.startswith(module + ".")


def outside_imports(name, module):
    return [dotted for dotted in imported(name) if inside(dotted, module)]


def functions(name):
    return [
        node
        for node in ast.walk(tree(name))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    ]


def lines_of_code(function):
    """Lines of the body of a function without its docstring."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


def of_subpackages(subpackages):
    return [name for name in FILES if subpackage(name) in subpackages]


def late_imports(name):
    """Subpackages that a file imports although they are not above it."""
    own = subpackage(name)
    parts = [dotted.split(".") for dotted in outside_imports(name, "ase_pet")]
    subpackages = {
        part[1] if len(part) > 1 and part[1] in LEVEL else "__init__" for part in parts
    } - {own}
    return sorted(other for other in subpackages if LEVEL[other] >= LEVEL[own])


def engine_imports(name):
    """Modules of ASE that a file of a model imports, but for tables."""
    tables = {
        "graph": ["ase.data", "ase.geometry"],
        "layers": ["ase.data"],
        "outputs": ["ase.stress"],
    }
    allowed = tables.get(subpackage(name), [])
    imports = outside_imports(name, "ase")
    return [name for name in imports if not any(inside(name, module) for module in allowed)]


def file_imports(name):
    """Modules for files that a file imports, and the function `open` where it uses that."""
    modules = ("pathlib", "os", "io", "shutil", "tempfile", "zipfile", "pickle", "safetensors")
    if name in ("ase_pet/calculator.py", "ase_pet/arguments.py"):
        modules = modules[1:]  # the type of an argument
    used = [dotted for dotted in imported(name) if any(inside(dotted, part) for part in modules)]
    names = {node.id for node in ast.walk(tree(name)) if isinstance(node, ast.Name)}
    return [*used, *({"open"} & names)]


def lines_above_the_limit(name):
    lines = len(text(name).splitlines())
    most = MOST_LINES_OF_A_MODEL if subpackage(name) == "models" else MOST_LINES_OF_A_FILE
    return [lines] * (lines > most)


def long_functions(name):
    sizes = {node.name: lines_of_code(node) for node in functions(name)}
    return {key: size for key, size in sizes.items() if size > MOST_LINES_OF_A_FUNCTION}


def constructors_with_many_arguments(name):
    classes = [node for node in ast.walk(tree(name)) if isinstance(node, ast.ClassDef)]
    counts = {
        f"{node.name}": len(method.args.args) + len(method.args.kwonlyargs) - 1
        for node in classes
        for method in node.body
        if isinstance(method, ast.FunctionDef) and method.name == "__init__"
    }
    large = {key for key, count in counts.items() if count > MOST_ARGUMENTS}
    return large - set(MANY_ARGUMENTS)


def names_without_docstrings(name):
    module = tree(name)
    public = [
        node
        for node in module.body
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_")
    ]
    return [
        getattr(node, "name", name) for node in (module, *public) if not ast.get_docstring(node)
    ]


def interface_of_ase(name):
    error = "ase.calculators.calculator.PropertyNotImplementedError"  # what callers may catch
    return set(outside_imports(name, "ase.calculators.calculator")) - {error}


# law: (what breaks it in a file, the files that it is for)
LAWS = {
    "imports come from earlier subpackages": (late_imports, FILES),
    "only graph searches neighbours": (
        lambda name: outside_imports(name, "matscipy"),
        [name for name in FILES if subpackage(name) != "graph"],
    ),
    "only calculator uses the interface of ase": (
        interface_of_ase,
        [name for name in FILES if subpackage(name) != "calculator"],
    ),
    "models do not import engines": (engine_imports, of_subpackages(ENGINE_FREE)),
    "only store and formats touch files": (file_imports, of_subpackages(NO_FILES)),
    "files are short": (lines_above_the_limit, FILES),
    "functions are short": (long_functions, FILES),
    "constructors take few arguments": (constructors_with_many_arguments, FILES),
    "public names have docstrings": (
        names_without_docstrings,
        [name for name in FILES if not name.endswith("__main__.py")],
    ),
    "nothing is left to do": (
        lambda name: re.findall(r"TO" r"DO|FIX" r"ME|XX" r"X", text(name)),
        FILES,
    ),
    "no bag of odds and ends": (
        lambda name: {Path(name).stem} & {"utils", "helpers", "common", "misc"},
        FILES,
    ),
}


@pytest.mark.parametrize("law", LAWS)
def test_every_file_obeys(law):
    broken, names = LAWS[law]
    assert len(names) > 10
    assert {name: found for name in names if (found := broken(name))} == {}


@pytest.fixture(scope="module")
def measurements():
    """{file: what `make measure` counts}."""
    return {name: reading.measured(ROOT / name) for name in FILES}


@pytest.fixture(scope="module")
def measured(measurements):
    """Table of `make measure`."""
    return reading.table(list(measurements.values()))


@pytest.mark.parametrize("quantity", LARGEST)
def test_code_reads_easily(measured, quantity):
    assert measured[quantity] <= LARGEST[quantity]


@pytest.mark.parametrize("quantity", LEAST)
def test_code_is_explained(measured, quantity):
    assert measured[quantity] >= LEAST[quantity]


def test_functions_of_many_steps_are_not_dense(measurements):
    dense = {}
    for name, measurement in measurements.items():
        dense |= {(name, place): n for place, n in measurement.density.items() if n > 17}
    assert dense == {}


@pytest.mark.parametrize(("where", "name"), PLUGIN_FILES)
def test_plugin_honours_its_contract(where, name):
    module = plugins.load(f"ase_pet.{where}", name)
    assert [needed for needed in PLUGINS[where] if not hasattr(module, needed)] == []


@pytest.mark.parametrize("name", plugins.names("ase_pet.models"))
def test_model_honours_its_contract(name):
    module = plugins.load("ase_pet.models", name)
    assert dataclasses.is_dataclass(module.Settings)
    assert module.Settings.__dataclass_params__.frozen
    assert list(inspect.signature(module.Model.forward).parameters) == ["self", "graph"]
    model = module.Model(module.Settings(species=(14,)))
    assert model.cutoff > 0
    assert tuple(model.species) == (14,)
    assert model.settings.species == (14,)
    assert isinstance(model.composition, dict)
    assert isinstance(model, AtomisticModel)
    assert isinstance(model.is_local, bool)


@pytest.mark.parametrize("name", plugins.names("ase_pet.symmetrisers"))
def test_symmetriser_takes_a_model_and_an_argument(name):
    module = plugins.load("ase_pet.symmetrisers", name)
    assert len(inspect.signature(module.wrap).parameters) == 2


@pytest.mark.parametrize("name", plugins.names("ase_pet.checks"))
def test_check_states_what_it_measures_and_on_what(name):
    module = plugins.load("ase_pet.checks", name)
    assert module.LEVEL in ("quick", "full")
    assert module.STRUCTURES in ("any", "periodic", "free", "pair")
    assert all(isinstance(limit.unit, str) for limit in module.LIMITS.values())
    assert any(
        limit.float64 is not None and limit.float32 is not None for limit in module.LIMITS.values()
    )


def test_every_subpackage_is_listed():
    assert {subpackage(name) for name in FILES} <= LEVEL.keys()


def test_listed_packages_are_all_there_are():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    listed = setup["options"]["packages"].split()
    on_disk = [
        ".".join(path.parent.relative_to(ROOT).parts) for path in PACKAGE.rglob("__init__.py")
    ]
    assert listed == sorted([*on_disk, "ase_pet.calculators"])
    assert setup["options"]["package_dir"].strip() == "ase_pet.calculators = calculators"


def test_calculators_are_flat_data():
    deep = [
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "calculators").glob("*/*")
        if path.is_dir()
    ]
    code = [path.relative_to(ROOT).as_posix() for path in (ROOT / "calculators").rglob("*.py")]
    assert deep + code == []
