"""Hooks of mkdocs: what the site has besides the pages of docs/.

- `reference/cli.md` is generated from the command line itself, and `reference/api/*.md` from the
  docstrings of the modules in `API`.
- The pages in `PAGES_OF_THE_REPOSITORY` are files of the repository: cards, changelog, ...
- Links to other files of the repository (results of benchmarks, cards, examples) lead to copies of
  these files under `repository/`, so that the site is complete without the network.
"""

import posixpath
import re
import subprocess
import sys
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parent.parent
COPIES = "repository"
PAGES_OF_THE_REPOSITORY = {
    "developers/contributing.md": "CONTRIBUTING.md",
    "developers/changelog.md": "CHANGELOG.md",
    "models/index.md": "calculators/README.md",
    "models/silicon.md": "calculators/silicon/README.md",
    "models/ethanol.md": "calculators/ethanol/README.md",
    "models/ethanol-ponita.md": "calculators/ethanol-ponita/README.md",
}
API = {  # page of the reference -> modules whose public names it lists
    "ase_pet": ("ase_pet",),
    "md": ("ase_pet.md",),
    "phonons": ("ase_pet.phonons",),
    "checks": ("ase_pet.checks",),
    "train": ("ase_pet.train",),
    "formats": (
        "ase_pet.formats",
        "ase_pet.formats.metatrain",
        "ase_pet.formats.original_pet",
        "ase_pet.formats.ponita",
    ),
    "models": ("ase_pet.models.base",),
}
LINK = re.compile(r"(\]\()([^)\s#]+)(#[^)\s]*)?(\))")


def on_files(files, config):
    """Add the generated pages to the pages of docs/."""
    files.append(File.generated(config, "reference/cli.md", content=command_line()))
    for page, modules in API.items():
        text = "\n".join(reference(module) for module in modules)
        files.append(File.generated(config, f"reference/api/{page}.md", content=text))
    for page, name in PAGES_OF_THE_REPOSITORY.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=text))
    return files


def reference(module):
    """Markdown of the reference of a module."""
    path = ROOT / module.replace(".", "/")
    exists = path.with_suffix(".py").exists() or path.is_dir()
    return f"# `{module}`\n\n" + (f"::: {module}\n" if exists else "Not in this version.\n")


def on_page_markdown(markdown, page, config, files):
    """Let links to files outside of docs/ lead to copies of these files in the site."""
    source = page.file.src_uri
    # where the links of this page start from, relative to the root of the repository
    origin = PAGES_OF_THE_REPOSITORY.get(source, f"docs/{source}")

    def redirected(match):
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


def copied(path, config, files):
    """Name in the site of a copy of a file of the repository.

    A folder is represented by a list of its files. Markdown and Python files are copied as plain
    text: browsers show these, and download others.
    """
    source = ROOT / path
    if source.is_dir():
        names = sorted(entry.name for entry in source.iterdir() if entry.is_file())
        text = f"{path}/\n\n" + "\n".join(names) + "\n"
        name = f"{COPIES}/{path}/index.txt"
    else:
        text = source.read_text(encoding="utf-8")
        name = f"{COPIES}/{path}"
        if source.suffix not in (".txt", ".json"):
            name += ".txt"
    if files.get_file_from_path(name) is None:
        files.append(File.generated(config, name, content=text))
    return name


def command_line():
    """Markdown of all commands and options of `ase-pet`."""
    command = [sys.executable, "-m", "typer", "ase_pet.cli", "utils", "docs", "--name", "ase-pet"]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return done.stdout.replace("# `ase-pet`", "# Command line: `ase-pet`", 1)
