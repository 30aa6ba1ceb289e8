"""The python blocks of README and docs and the examples run unmodified."""

import dataclasses
import re
import runpy
import sys
import tomllib
from unittest.mock import MagicMock

import matplotlib
import matplotlib.pyplot
import pytest

from ase_pet import shipped
from ase_pet.cli import lazy
from ase_pet.store import shipped_folder
from ase_pet.train import recipe
from paths import ROOT
from test_house import LEVEL

DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
ALL_PAGES = [
    *PAGES,
    ROOT / "CHANGELOG.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "calculators").rglob("*.md")),
    ROOT / "benchmarks" / "README.md",
    ROOT / "tests" / "README.md",
]
# pages that `make docs` generates: docs/site_hooks.py
GENERATED = ("reference/cli.md", "reference/api/", "developers/contributing.md", "models/")
MOST_LINES_OF_THE_README = 120
MOST_LINES_OF_AN_EXAMPLE = 90  # as ruff formats it
MOST_KILOBYTES_OF_AN_IMAGE = 150
EXAMPLES = sorted((ROOT / "md_examples").glob("*.py"))
SMALL = {
    "00_first_energy": [],
    "01_nve_energy_conservation": ["--steps", "20"],
    "02_phonon_bands": ["--supercell", "2"],
    "03_angular_momentum": ["--steps", "10"],
    "04_nvt": ["--time", "0.1", "--thermostats", "bussi"],
    "05_npt_thermal_expansion": ["--time", "0.2", "--temperatures", "300", "900", "--repeats", "1"],
    "06_phonons": ["--supercell", "2", "--mesh", "4"],
    "07_relaxation_with_cell": ["--points", "5"],
    "08_vacancy": ["--repeats", "1"],
    "09_check_any_calculator": ["--only", "gradients", "permutation"],
    "10_train_a_potential": ["--structures", "5", "--epochs", "2", "--steps", "5"],
    "11_symmetrised_against_plain": ["--angles", "3"],
    "12_your_own_backbone": ["--updates", "3"],
    "13_active_learning": ["--rounds", "1", "--updates", "2", "--selected", "2"],
    "14_green_kubo": ["--repeat", "1", "--runs", "2", "--equilibrate", "0.01", "--time", "0.04"],
}
WRITTEN = {
    "00_first_energy": ["first_energy.json"],
    "01_nve_energy_conservation": ["energy_conservation.png", "nve.json", "nve.traj"],
    "02_phonon_bands": ["phonon_bands.png", "phonons.yaml"],
    "03_angular_momentum": ["angular_momentum.json", "angular_momentum.png", "ethanol.traj"],
    "04_nvt": ["nvt.json", "nvt.png", "nvt_bussi"],
    "05_npt_thermal_expansion": [
        "npt_300K",
        "npt_900K",
        "thermal_expansion.csv",
        "thermal_expansion.json",
        "thermal_expansion.png",
    ],
    "06_phonons": [
        "band.yaml",
        "phonons.json",
        "phonons.png",
        "phonopy_params.yaml",
        "structure.extxyz",
        "thermal_properties.yaml",
        "total_dos.dat",
    ],
    "07_relaxation_with_cell": ["elasticity.json", "relaxed.extxyz"],
    "08_vacancy": ["vacancy.json"],
    "09_check_any_calculator": ["checks_emt.html"],
    "10_train_a_potential": ["copper", "copper.extxyz", "copper.toml"],
    "11_symmetrised_against_plain": ["rotation.json", "rotation.png"],
    "12_your_own_backbone": ["your_own_backbone.json"],
    "13_active_learning": ["copper.toml", "round0", "train.extxyz", "val.extxyz"],
    "14_green_kubo": ["green_kubo.json", "green_kubo.png"],
}

needs_silicon = pytest.mark.skipif(
    "silicon" not in shipped(), reason="the calculator `silicon` is not shipped yet"
)


def blocks(page, language):
    """Code blocks of a page, padded with empty lines so that errors name lines of the page."""
    text = page.read_text(encoding="utf-8")
    matches = re.finditer(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return ["\n" * text.count("\n", 0, match.start(1)) + match[1] for match in matches]


def name(page):
    return page.relative_to(ROOT).as_posix()


@needs_silicon
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=name)
def test_python_blocks_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace = {}
    for block in blocks(page, "python"):
        exec(compile(block, name(page), "exec"), namespace)


@needs_silicon
def test_rotation_in_the_readme_changes_energies_only_without_ecse(capsys):
    for block in blocks(ROOT / "README.md", "python"):
        exec(compile(block, "README.md", "exec"), {})
    printed = dict(line.split() for line in capsys.readouterr().out.splitlines())
    assert abs(float(printed["none"])) == pytest.approx(2e-3, rel=0.5)  # eV
    assert abs(float(printed["ecse"])) < 1e-12 * 1110  # eV, rounding of the total energy


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "toml")], ids=name)
def test_recipes_are_valid(page, tmp_path):
    for block in blocks(page, "toml"):
        (tmp_path / "recipe.toml").write_text(block)
        assert recipe.read(tmp_path / "recipe.toml").name == tomllib.loads(block)["name"]


def test_every_key_of_a_recipe_is_explained():
    page = (DOCS / "reference" / "recipe.md").read_text(encoding="utf-8")
    keys = {field.name for field in dataclasses.fields(recipe.Recipe)} - {
        "folder",
        "keys",
        "loss",
        "optimiser",
        "stated",
        "units",
    }
    for table in ("data", "keys", "units", "loss", "optimiser"):
        kind = getattr(recipe, table.capitalize())
        keys |= {f"{table}.{field.name}" for field in dataclasses.fields(kind)}
    assert [key for key in sorted(keys) if f"`{key}`" not in page and f"[{key}]" not in page] == []


def links(page):
    """Targets of the local links and images of a page, without anchors."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.M)
    targets = re.findall(r"\]\(([^)#\s]+)", text)
    return [target for target in targets if not target.startswith("https://")]


def anchors(page):
    """Anchors of the headings of a page, as GitHub and mkdocs make them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.M)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in headings]


def is_generated(path):
    return path.resolve().relative_to(DOCS).as_posix().startswith(GENERATED)


@pytest.mark.parametrize("page", ALL_PAGES, ids=name)
def test_links_lead_somewhere(page):
    missing = [link for link in links(page) if not (page.parent / link).exists()]
    assert [link for link in missing if not is_generated(page.parent / link)] == []


@pytest.mark.parametrize("page", ALL_PAGES, ids=name)
def test_anchors_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    with_anchor = re.findall(r"\]\(([^)#\s]*)#([^)\s]+)\)", text)
    inside = [link for link in with_anchor if not link[0].startswith("https://")]
    targets = [(page.parent / path if path else page, anchor) for path, anchor in inside]
    assert [anchor for path, anchor in targets if anchor not in anchors(path)] == []


def test_the_page_of_the_command_line_lists_all_options(monkeypatch):
    for module in ("config.defaults", "structure.files", "structure.pages"):
        monkeypatch.setitem(sys.modules, f"mkdocs.{module}", MagicMock())
    text = runpy.run_path(str(DOCS / "site_hooks.py"))["command_line"]()
    assert text.startswith("# Command line: `ase-pet`\n")
    for name in lazy.COMMANDS:
        section = text.partition(f"## `ase-pet {name}`\n")[2].partition("\n## ")[0]
        names = [parameter.opts[0] for parameter in lazy.load(name).params]
        assert [name for name in names if name not in section] == []


def test_every_page_is_in_the_navigation_of_the_site():
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    pages = [path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")]
    assert [page for page in pages if f" {page}\n" not in navigation] == []


def test_design_lists_every_subpackage_in_the_order_of_imports():
    text = (DOCS / "developers" / "design.md").read_text(encoding="utf-8")
    cells = re.findall(r"^\| (`.*?) \|", text, re.MULTILINE)
    names = [place.split("/")[0] for cell in cells for place in re.findall(r"`([^`]+)`", cell)]
    assert set(names) == set(LEVEL)
    levels = [LEVEL[subpackage] for subpackage in names]
    assert levels == sorted(levels)


def test_readme_is_short():
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= MOST_LINES_OF_THE_README


@pytest.mark.parametrize("image", sorted(DOCS.rglob("*.png")), ids=name)
def test_image_is_small(image):
    assert image.stat().st_size <= 1000 * MOST_KILOBYTES_OF_AN_IMAGE


def test_changelog_and_citation_name_the_same_release():
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    version, date = re.findall(r"^## \[(\d[\d.]*)\] - (\S+)$", changelog, re.MULTILINE)[0]
    assert f"\nversion: {version}\ndate-released: {date}\n" in citation


def test_shipped_calculators_stand_in_the_clone():
    assert shipped_folder() == ROOT / "calculators"


def test_every_example_is_run():
    assert [script.stem for script in EXAMPLES] == list(SMALL) == list(WRITTEN)


@pytest.mark.parametrize("script", EXAMPLES, ids=name)
def test_example_is_short(script):
    lines = script.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= MOST_LINES_OF_AN_EXAMPLE


@needs_silicon
@pytest.mark.parametrize("script", EXAMPLES, ids=name)
def test_example_runs(script, tmp_path, monkeypatch, capsys):
    matplotlib.use("Agg")
    monkeypatch.setattr(sys, "argv", [str(script), "--output", str(tmp_path), *SMALL[script.stem]])
    runpy.run_path(str(script), run_name="__main__")
    matplotlib.pyplot.close("all")
    assert sorted(path.name for path in tmp_path.iterdir()) == WRITTEN[script.stem]
    assert capsys.readouterr().out
