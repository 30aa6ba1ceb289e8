"""Layout of the code: direction of imports, readability limits, docstrings, plug-in contracts."""

import ast
import configparser
import dataclasses
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
    ("errors",),
    (
        "choices",
        "constraints",
        "duplicates",
        "extras",
        "plugins",
        "results",
        "rotations",
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
    ("batches", "concurrency"),
    ("calculator",),
    ("statistics",),
    ("checks", "md", "phonons"),
    ("analysis", "dispersion", "engines", "labels", "neb", "vibrations"),
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


def tree(name):
    return ast.parse((ROOT / name).read_text(encoding="utf-8"))


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


@pytest.mark.parametrize("name", FILES)
def test_imports_come_from_earlier_subpackages(name):
    own = subpackage(name)
    parts = [dotted.split(".") for dotted in outside_imports(name, "ase_pet")]
    subpackages = {
        part[1] if len(part) > 1 and part[1] in LEVEL else "__init__" for part in parts
    } - {own}
    late = sorted(other for other in subpackages if LEVEL[other] >= LEVEL[own])
    assert not late, f"{name} ({own}) imports from {', '.join(late)}"


@pytest.mark.parametrize("name", [name for name in FILES if subpackage(name) != "graph"])
def test_only_graph_searches_neighbours(name):
    assert outside_imports(name, "matscipy") == []


@pytest.mark.parametrize("name", [name for name in FILES if subpackage(name) != "calculator"])
def test_only_calculator_uses_the_interface_of_ase(name):
    error = "ase.calculators.calculator.PropertyNotImplementedError"  # what callers may catch
    assert set(outside_imports(name, "ase.calculators.calculator")) <= {error}


@pytest.mark.parametrize("name", of_subpackages(ENGINE_FREE))
def test_models_do_not_import_engines(name):
    tables = {
        "graph": ["ase.data", "ase.geometry"],
        "layers": ["ase.data"],
        "outputs": ["ase.stress"],
    }
    allowed = tables.get(subpackage(name), [])
    assert [
        dotted
        for dotted in outside_imports(name, "ase")
        if not any(inside(dotted, module) for module in allowed)
    ] == []


@pytest.mark.parametrize("name", of_subpackages(NO_FILES))
def test_only_store_and_formats_touch_files(name):
    modules = ("pathlib", "os", "io", "shutil", "tempfile", "zipfile", "pickle", "safetensors")
    if name in ("ase_pet/calculator.py", "ase_pet/arguments.py"):
        modules = modules[1:]  # the type of an argument
    assert [
        dotted for dotted in imported(name) if any(inside(dotted, module) for module in modules)
    ] == []
    assert "open" not in {node.id for node in ast.walk(tree(name)) if isinstance(node, ast.Name)}


@pytest.mark.parametrize("name", FILES)
def test_file_is_short(name):
    lines = len((ROOT / name).read_text(encoding="utf-8").splitlines())
    assert lines <= (
        MOST_LINES_OF_A_MODEL if subpackage(name) == "models" else MOST_LINES_OF_A_FILE
    )


@pytest.mark.parametrize("name", FILES)
def test_functions_are_short(name):
    sizes = {node.name: lines_of_code(node) for node in functions(name)}
    assert {key: size for key, size in sizes.items() if size > MOST_LINES_OF_A_FUNCTION} == {}


@pytest.fixture(scope="module")
def measured():
    """Table of `make measure`."""
    return reading.table([reading.measured(path) for path in sorted(PACKAGE.rglob("*.py"))])


@pytest.mark.parametrize("quantity", LARGEST)
def test_code_reads_easily(measured, quantity):
    assert measured[quantity] <= LARGEST[quantity]


@pytest.mark.parametrize("quantity", LEAST)
def test_code_is_explained(measured, quantity):
    assert measured[quantity] >= LEAST[quantity]


@pytest.mark.parametrize("name", FILES)
def test_functions_of_many_steps_are_not_dense(name):
    density = reading.measured(ROOT / name).density
    assert {place: value for place, value in density.items() if value > 17} == {}


@pytest.mark.parametrize("name", FILES)
def test_constructors_take_few_arguments(name):
    classes = [node for node in ast.walk(tree(name)) if isinstance(node, ast.ClassDef)]
    counts = {
        f"{node.name}": len(method.args.args) + len(method.args.kwonlyargs) - 1
        for node in classes
        for method in node.body
        if isinstance(method, ast.FunctionDef) and method.name == "__init__"
    }
    large = {key for key, count in counts.items() if count > MOST_ARGUMENTS}
    assert large <= set(MANY_ARGUMENTS)


@pytest.mark.parametrize("name", [name for name in FILES if not name.endswith("__main__.py")])
def test_public_names_have_docstrings(name):
    module = tree(name)
    public = [
        node
        for node in module.body
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_")
    ]
    assert ast.get_docstring(module), f"{name} has no docstring"
    assert [node.name for node in public if not ast.get_docstring(node)] == []


@pytest.mark.parametrize("name", FILES)
def test_nothing_is_left_to_do(name):
    assert (
        re.findall(r"TO" r"DO|FIX" r"ME|XX" r"X", (ROOT / name).read_text(encoding="utf-8")) == []
    )


@pytest.mark.parametrize("name", FILES)
def test_no_bag_of_odds_and_ends(name):
    assert Path(name).stem not in ("utils", "helpers", "common", "misc")


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
