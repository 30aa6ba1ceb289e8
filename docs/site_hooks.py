"""Hooks of mkdocs: what the site has besides the pages of docs/.

- `reference/cli.md` is generated from the command line itself, and `reference/api/*.md` from the
  docstrings of the modules in `API`.
- The pages in `PAGES_OF_THE_REPOSITORY` are files of the repository: cards, changelog, ...
- Links to other files of the repository (results of benchmarks, cards, examples) lead to copies of
  these files under `repository/`, so that the site is complete without the network.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from typer.cli import get_docs_for_click

from ase_pet import cli, plugins
from ase_pet.cli import lazy

ROOT = Path(__file__).resolve().parent.parent
COPIES = "repository"
PAGES_OF_THE_REPOSITORY = {
    "developers/contributing.md": "CONTRIBUTING.md",
    "developers/changelog.md": "CHANGELOG.md",
    "models/index.md": "calculators/README.md",
    "models/silicon.md": "calculators/silicon/README.md",
    "models/silicon-general.md": "calculators/silicon-general/README.md",
    "models/lithium.md": "calculators/lithium/README.md",
    "models/molybdenum.md": "calculators/molybdenum/README.md",
    "models/germanium.md": "calculators/germanium/README.md",
    "models/ethanol.md": "calculators/ethanol/README.md",
    "models/ethanol-ponita.md": "calculators/ethanol-ponita/README.md",
    "models/ethanol-pnita.md": "calculators/ethanol-pnita/README.md",
}
API = {  # page of the reference -> modules whose public names it lists
    "ase_pet": ("ase_pet",),
    "md": ("ase_pet.md",),
    "analysis": ("ase_pet.analysis",),
    "statistics": ("ase_pet.statistics",),
    "phonons": ("ase_pet.phonons",),
    "vibrations": ("ase_pet.vibrations",),
    "neb": ("ase_pet.neb",),
    "labels": ("ase_pet.labels", "ase_pet.dispersion"),
    "checks": ("ase_pet.checks",),
    "train": ("ase_pet.train",),
    "uncertainty": ("ase_pet.uncertainty.calibration", "ase_pet.uncertainty.selection"),
    "formats": (
        "ase_pet.formats",
        *(f"ase_pet.formats.{name}" for name in plugins.names("ase_pet.formats")),
    ),
    "models": ("ase_pet.models.base",),
}
LINK = re.compile(r"(\]\()([^)\s#]+)(#[^)\s]*)?(\))")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages to the pages of docs/.

    Parameters
    ----------
    files:
        Pages and other files of docs/.
    config:
        Configuration of the site.

    """
    # their links are changed in `on_page_markdown`, as those of all pages
    files.append(File.generated(config, "reference/cli.md", content=command_line()))
    for page, modules in API.items():
        text = "\n".join(reference(module) for module in modules)
        files.append(File.generated(config, f"reference/api/{page}.md", content=text))
    for page, name in PAGES_OF_THE_REPOSITORY.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=text))
    return files


def reference(module: str) -> str:
    """Markdown of the reference of a module, with an instruction for mkdocstrings.

    Parameters
    ----------
    module:
        Dotted name.

    """
    path = ROOT / module.replace(".", "/")
    exists = path.with_suffix(".py").exists() or path.is_dir()
    return f"# `{module}`\n\n" + (f"::: {module}\n" if exists else "Not in this version.\n")


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Text of a page whose links to files outside of docs/ lead to copies in the site.

    Parameters
    ----------
    markdown:
        Text of the page.
    page:
        The page.
    config:
        Configuration of the site.
    files:
        Files of the site, to which copies are added.

    """
    source = page.file.src_uri
    # where the links of this page start from, relative to the root of the repository
    origin = PAGES_OF_THE_REPOSITORY.get(source, f"docs/{source}")

    # relative paths are first resolved in the repository, then made relative to the site
    def redirected(match: re.Match) -> str:
        before, target, anchor, after = match.groups()
        if "://" in target or target.startswith("mailto:"):
            return match[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(origin), target))
        if path.startswith("docs/"):
            inside = path.removeprefix("docs/")
        else:
            inside = next(
                (uri for uri, name in PAGES_OF_THE_REPOSITORY.items() if name == path), None
            ) or copied(path, config, files)
        relative = posixpath.relpath(inside, posixpath.dirname(source) or ".")
        return f"{before}{relative}{anchor or ''}{after}"

    return LINK.sub(redirected, markdown)


def copied(path: str, config: MkDocsConfig, files: Files) -> str:
    """Name in the site of a copy of a file of the repository, or of a list of a folder's files.

    Parameters
    ----------
    path:
        File or folder, relative to the root of the repository.
    config:
        Configuration of the site.
    files:
        Files of the site, to which the copy is added.

    """
    source = ROOT / path
    if source.is_dir():
        names = sorted(entry.name for entry in source.iterdir() if entry.is_file())
        text = f"{path}/\n\n" + "\n".join(names) + "\n"
        name = f"{COPIES}/{path}/index.txt"
    else:
        text = source.read_text(encoding="utf-8")
        # browsers show plain text, and download Markdown and Python files
        name = f"{COPIES}/{path}"
        if source.suffix not in (".txt", ".json"):
            name += ".txt"
    if files.get_file_from_path(name) is None:
        files.append(File.generated(config, name, content=text))
    return name


def command_line() -> str:
    """Markdown of all commands and options of `ase-pet`."""
    group = typer.main.get_command(cli.app)
    # the group itself holds placeholders, which have no options
    group.commands = {name: lazy.load(name) for name in lazy.COMMANDS}
    text = get_docs_for_click(obj=group, ctx=typer.Context(group), name="ase-pet")
    return text.replace("# `ase-pet`", "# Command line: `ase-pet`", 1)
