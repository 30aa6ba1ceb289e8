"""Readability of the package in numbers: `python tests/reading.py [FOLDER] [--list]`.

nodes per line     syntax-tree nodes of a function over its lines of code, of functions of 100 nodes
                   or more
commented          share of those functions with a comment
long lines         lines of code above 100 characters
tuple assignments  `a, b = x, y`, where both sides are tuples, over all simple statements
documented, typed  parameters of public functions that a docstring names, and that are annotated
asking             `getattr` and `hasattr` with a fixed attribute name, outside `models/base.py`
"""

import argparse
import ast
import re
import tokenize
from dataclasses import dataclass, field
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "ase_pet"
LARGE = 100  # syntax-tree nodes of a function that is measured
LONGEST = 100  # characters of a line
COMPOUND = (
    ast.FunctionDef,
    ast.ClassDef,
    ast.If,
    ast.For,
    ast.While,
    ast.With,
    ast.Try,
    ast.Import,
    ast.ImportFrom,
)


@dataclass
class File:
    """Measures of one file. Places are texts such as `ase_pet/store.py:12 name`."""

    lines: int = 0
    code: int = 0
    long: list[str] = field(default_factory=list)
    functions: list[int] = field(default_factory=list)  # lines of each, without its docstring
    density: dict[str, float] = field(default_factory=dict)  # nodes per line of large functions
    uncommented: list[str] = field(default_factory=list)  # large functions without a comment
    statements: int = 0
    tuples: list[str] = field(default_factory=list)
    parameters: int = 0
    undocumented: list[str] = field(default_factory=list)
    untyped: list[str] = field(default_factory=list)
    asking: list[str] = field(default_factory=list)


def measured(path):
    """File of a path."""
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    rows = text.splitlines()
    docstrings = docstring_lines(tree)
    with path.open(encoding="utf-8") as file:
        tokens = tokenize.generate_tokens(file.readline)
        comments = {token.start[0] for token in tokens if token.type == tokenize.COMMENT}
    counts = File(lines=len(rows))
    for number, row in enumerate(rows, 1):
        if row.strip() and number not in docstrings and not row.strip().startswith("#"):
            counts.code += 1
            if len(row.rstrip()) > LONGEST:
                counts.long.append(f"{path}:{number}")
    for node in ast.walk(tree):
        count_statement(counts, node, path)
    public = path.stem == "__init__" or not path.stem.startswith("_")
    visit(counts, tree, path, comments, rows, public, "")
    return counts


def docstring_lines(tree):
    """Numbers of the lines that are docstrings."""
    lines = set()
    for node in ast.walk(tree):
        kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
        if isinstance(node, kinds) and ast.get_docstring(node):
            lines |= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    return lines


def count_statement(counts, node, path):
    """Add a node to the counts of statements, tuple assignments and questions."""
    if isinstance(node, ast.stmt) and not isinstance(node, COMPOUND):
        counts.statements += 1
        if (
            isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Tuple)
            and isinstance(node.value, ast.Tuple)
        ):
            counts.tuples.append(f"{path}:{node.lineno}")
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("getattr", "hasattr")
        and len(node.args) > 1
        and isinstance(node.args[1], ast.Constant)
        and path.name != "base.py"
    ):
        counts.asking.append(f"{path}:{node.lineno} {node.args[1].value}")


def visit(counts, node, path, comments, rows, public, owner):
    """Add the functions below a node; owner: docstring of the class around them."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef):
            inside = public and not child.name.startswith("_")
            visit(counts, child, path, comments, rows, inside, ast.get_docstring(child) or "")
        elif isinstance(child, ast.FunctionDef):
            if public and (not child.name.startswith("_") or child.name == "__init__"):
                count_parameters(counts, child, path, owner)
            count_function(counts, child, path, comments, rows)
            visit(counts, child, path, comments, rows, False, owner)
        elif not isinstance(child, ast.expr):
            visit(counts, child, path, comments, rows, public, owner)


def count_parameters(counts, function, path, owner):
    """Add the parameters of a public function."""
    text = f"{ast.get_docstring(function) or ''}\n{owner}"
    arguments = function.args
    for argument in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]:
        if argument.arg in ("self", "cls"):
            continue
        place = f"{path}:{function.lineno} {function.name}({argument.arg})"
        counts.parameters += 1
        if argument.annotation is None:
            counts.untyped.append(place)
        if not re.search(rf"\b{re.escape(argument.arg)}\b", text):
            counts.undocumented.append(place)


def count_function(counts, function, path, comments, rows):
    """Add the size, density and comments of a function."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    if not body:
        counts.functions.append(0)
        return
    numbers = range(body[0].lineno, body[-1].end_lineno + 1)
    counts.functions.append(len(numbers))
    nodes = sum(1 for statement in body for _ in ast.walk(statement))
    if nodes < LARGE:
        return
    shown = [rows[number - 1].strip() for number in numbers]
    code = [row for row in shown if row and not row.startswith("#")]
    place = f"{path}:{function.lineno} {function.name}"
    counts.density[place] = nodes / len(code)
    if not comments & set(numbers):
        counts.uncommented.append(place)


def percentile(values, percent):
    """Percentile of the values, 0 if there are none."""
    values = sorted(values)
    return values[int(percent / 100 * (len(values) - 1))] if values else 0


def table(files):
    """{name: number} over a list of File."""

    def total(name):
        return sum(len(getattr(file, name)) for file in files)

    density = [value for file in files for value in file.density.values()]
    functions = [value for file in files for value in file.functions]
    parameters = max(1, sum(file.parameters for file in files))
    statements = max(1, sum(file.statements for file in files))
    return {
        "files": len(files),
        "lines": sum(file.lines for file in files),
        "lines of the longest file": max(file.lines for file in files),
        "lines of the longest function": max(functions, default=0),
        "nodes per line, median": round(percentile(density, 50), 1),
        "nodes per line, 95 %": round(percentile(density, 95), 1),
        "commented, %": round(100 * (1 - total("uncommented") / max(1, len(density)))),
        "long lines, %": round(100 * total("long") / sum(file.code for file in files), 1),
        "tuple assignments, %": round(100 * total("tuples") / statements, 1),
        "documented, %": round(100 * (1 - total("undocumented") / parameters), 1),
        "typed, %": round(100 * (1 - total("untyped") / parameters), 1),
        "asking": total("asking"),
    }


def places(files):
    """Lines of text: every place that worsens a number of the table."""
    for file in files:
        dense = {place: value for place, value in file.density.items() if value > 15}
        yield from (f"dense {value:.1f}: {place}" for place, value in dense.items())
        for name in ("long", "uncommented", "tuples", "undocumented", "untyped", "asking"):
            yield from (f"{name}: {place}" for place in getattr(file, name))


def main():
    """Print the table, and the places with --list."""
    parser = argparse.ArgumentParser(description="How easily a package reads.")
    parser.add_argument("paths", nargs="*", type=Path, default=[PACKAGE])
    parser.add_argument("--list", action="store_true", help="every place that lowers a number")
    chosen = parser.parse_args()
    paths = [path for root in chosen.paths for path in sorted([root, *root.rglob("*.py")])]
    files = [measured(path) for path in paths if path.is_file()]
    for name, value in table(files).items():
        print(f"{name:32s}{value}")
    if chosen.list:
        print(*places(files), sep="\n")


if __name__ == "__main__":
    main()
