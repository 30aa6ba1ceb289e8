"""Measured numbers in README, docs and cards against the files of results.

`QUOTES` names measured numbers of README and docs: the page, the text around the numbers with a
`{}` for each, and the sources of the numbers. The tests render the text with the values of the
sources and search it in the page, so that a number that differs from its source fails. A number of
the README without a quote fails as well. The tables of the cards are compared with the same
sources.
"""

import functools
import json
import re
import tomllib
from itertools import takewhile

import pytest

from paths import ROOT

RESULTS = ROOT / "benchmarks" / "results"
PEER = "metatomic-ase"
CALCULATORS = ROOT / "calculators"

OURS, UPET = "ase_pet", "upet"

# Numbers of the README that are not measured: versions, names, settings of examples.
NOT_MEASURED = (
    "MACE-MP-0",
    "Python 3.11+",
    "November 2026",  # of the comparison with other packages
    "64 atoms or more",  # range of the measurement, stated in its results
    "Zen 5",
    "on Zen 4",
    "NeurIPS 36, 79469 (2023)",
    "arXiv:2305.19302",
)


def all_in_text(name, pattern):
    """Numbers of all matches of a pattern in a text file of results."""
    text = (RESULTS / name).read_text(encoding="utf-8")
    return [float(match) for match in re.findall(pattern, text, re.MULTILINE)]


def in_text(name, pattern):
    """Number of the one match of a pattern in a text file of results."""
    (match,) = set(all_in_text(name, pattern))
    return match


def in_json(name, *keys):
    """Number in a JSON file of results."""
    value = json.loads((RESULTS / name).read_text(encoding="utf-8"))
    for key in keys:
        value = value[key]
    return value


def in_calculator(name, split, quantity, kind):
    """Error of a split in eV and A, from the calculator.toml that the training wrote."""
    text = (CALCULATORS / name / "calculator.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)["provenance"]["errors"][split][quantity][kind]


def physics():
    """{quantity: (model, PBE, difference)} as benchmarks/silicon_physics.py printed them."""
    text = (RESULTS / "silicon_physics.txt").read_text(encoding="utf-8")
    rows = [line.split("│")[1:5] for line in text.splitlines() if line.startswith("│")]
    return {row[0].strip(): tuple(cell.strip() for cell in row[1:]) for row in rows}


def largest_phonon_error():
    """Largest difference of a phonon frequency of silicon to PBE, THz."""
    model = in_json("silicon_physics.json", "physics")
    reference = {key: float(row[1]) for key, row in physics().items() if "THz" in key}
    return max(abs(model[key] - value) for key, value in reference.items())


def calibration(case):
    """Numbers rms z, miscalibration area and rank of a case of benchmarks/calibration.py."""
    line = f"^{case} of .*"
    patterns = (r"rms z (\S+),", r"area (\S+),", r"correlation (\S+)$")
    return [in_text("calibration.txt", line + pattern) for pattern in patterns]


def cpu_ratios():
    """Ratios of median CPU times, metatomic-ase to ase_pet, for 64 atoms or more."""
    text = (RESULTS / "single_point_cpu.txt").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    systems = ("si64", "si216", "si512", "water192")
    return [float(row[6]) for row in rows if len(row) == 8 and row[0] in systems]


def ends(values):
    """Lowest and highest value."""
    return min(values), max(values)


def intel_ratios():
    """Lowest and highest of the same ratios on an Intel Xeon."""
    text = (RESULTS / "single_point_intel.txt").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    tables = [row for row in rows if row[1:2] == [PEER]]
    large = [float(row[7]) for row in tables if row[0] in ("si64", "si216", "water192")]
    return ends(large)


def zen_4_ratios(size, peer):
    """The same ratios of a size of PET and a peer on an AMD Zen 4, of all systems."""
    text = (RESULTS / "single_point_zen4.txt").read_text(encoding="utf-8")
    table = text.split("peers / ")[1 + ("XS", "S").index(size)]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
    return [float(row[7]) for row in rows if row[1:2] == [peer]]


def share_of_products(size, system):
    """Shares in %: of the products in the time of a step, of the step in the speed of the CPU."""
    pattern = rf"^PET {size} +{system} .*\((\d+) %\) .* step (\d+) %"
    text = (RESULTS / "products.txt").read_text(encoding="utf-8")
    return re.search(pattern, text, re.MULTILINE).groups()


def published_on_rmd17():
    """Published force errors in meV/A of models trained on rMD17, of PONITA and NequIP."""
    text = (CALCULATORS / "ethanol" / "README.md").read_text(encoding="utf-8")
    return re.search(r"PONITA \S+ meV and (\S+) meV/A, NequIP \S+ and (\d\.\d)", text).groups()


def nve():
    """{time step in fs: one run of silicon} of the shipped calculator."""
    text = (RESULTS / "nve.txt").read_text(encoding="utf-8").split("longer runs")[0]
    runs = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return {float(run["run"].split("_")[1].removesuffix("fs")): run for run in runs}


def start_up(size, quantity):
    """{program: number} of one table of published_checkpoint.txt.

    size: 0 for PET XS, 1 for PET S; quantity: "CPU time in s", whose sum is returned, or "Peak
    resident memory in MB", of which that after the first step is returned.
    """
    text = (RESULTS / "published_checkpoint.txt").read_text(encoding="utf-8")
    lines = text.split(quantity)[size + 1].splitlines()[1:]
    rows = takewhile(lambda line: line[:1] in ("|", "+"), lines)
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in rows]
    column = {"CPU time in s": 6, "Peak resident memory in MB": 1}[quantity]
    return {row[0]: float(row[column]) for row in cells if row[:1] in ([OURS], [UPET])}


def largest_splitting(symmetriser):
    """Largest splitting of degenerate phonons of silicon, THz."""
    pattern = rf"^{symmetriser} .*largest splitting (\S+) THz"
    return max(all_in_text("phonon_degeneracies.txt", pattern))


def short_distances(kind):
    """Longest bond in A, rms force and MAE of forces in eV/A, MAE of energies in meV/atom."""
    numbers = r"to (\S+) A", r"rms force (\S+) eV", r"forces (0\S+) eV/A", r"energies (\S+) eV/atom"
    values = [in_text("short_distances.txt", rf"^{kind}: .*{number}") for number in numbers]
    return [*values[:3], 1000 * values[3]]


def kills(ensemble):
    """Times that a run of an ensemble was killed before it was complete."""
    return in_text("restart.txt", rf"^{ensemble}\b.* (\d+) of \d+ killed")


def in_scientific(value, digits=0):
    """A number as the pages write it: 3e-14, 1.3e-2."""
    mantissa, exponent = f"{value:.{digits}e}".split("e")
    return f"{mantissa}e{int(exponent)}"


ENSEMBLES = ("nve", "nvt", "npt")


def silicon_errors():
    """Test errors of silicon: energy in meV/atom, forces in meV/A (RMSE)."""
    return [1000 * in_calculator("silicon", "test", name, "rmse") for name in ("energy", "forces")]


def ethanol(name, structures, quantity):
    """Mean absolute error of a calculator of ethanol, meV or meV/A."""
    return in_json("ethanol_accuracy.json", name, structures, quantity)


QUOTES = [
    # page, text, values of its numbers
    (
        "README.md",
        "changes forces by {} eV/A without and {} eV/A with ECSE",
        lambda: (
            in_scientific(in_text("ecse.txt", r"^(\S+) eV/A without"), 1),
            in_scientific(in_text("ecse.txt", r"without, 0 and (\S+) eV/A with ecse")),
        ),
    ),
    (
        "README.md",
        "[killed {:.0f} times](docs/guides/md.md#restart) in each of {} ensembles",
        lambda: (min(map(kills, ENSEMBLES)), len(ENSEMBLES)),
    ),
    (
        "README.md",
        "[{:.1f} to {:.1f} times](docs/benchmarks/speed.md)",
        lambda: (min(cpu_ratios()), max(cpu_ratios())),
    ),
    ("README.md", "{:.1f} to {:.1f} on an Intel Xeon", lambda: intel_ratios()),
    (
        "README.md",
        "{:.1f} to {:.1f} on a Zen 4",
        lambda: ends([ratio for size in ("XS", "S") for ratio in zen_4_ratios(size, PEER)[2:]]),
    ),
    (
        "README.md",
        "in dynamics [{:.0f} times]",
        lambda: (in_text("respa.txt", r"^exact every 8 steps +2\.00 ps .*, (\S+) of plain"),),
    ),
    (
        "docs/benchmarks/speed.md",
        "| PET XS, Si 8 | {} % | {} % |",
        lambda: share_of_products("XS", "si8"),
    ),
    (
        "docs/benchmarks/speed.md",
        "| PET XS, Si 64 | {} % | {} % |",
        lambda: share_of_products("XS", "si64"),
    ),
    (
        "docs/benchmarks/speed.md",
        "| PET S, Si 512 | {} % | {} % |",
        lambda: share_of_products("S", "si512"),
    ),
    *(
        (
            "docs/benchmarks/speed.md",
            f"| PET {size}, {peer} |" + 5 * " {:.2f} |",
            functools.partial(zen_4_ratios, size, peer),
        )
        for size in ("XS", "S")
        for peer in (PEER, "pet-kokkos")
    ),
    (
        "README.md",
        "[{:.0f} times](docs/benchmarks/ecse.md#cost) the cost",
        lambda: (in_text("ecse_cost.txt", r"^silicon 64 +ecse +\S+ +(\S+)"),),
    ),
    (
        "README.md",
        "RMSE {:.1f} meV/atom and {:.0f} meV/A, phonons within {:.2f} THz of DFT",
        lambda: (*silicon_errors(), largest_phonon_error()),
    ),
    (
        "README.md",
        "MAE {:.1f} meV/A on rMD17",
        lambda: (ethanol("ethanol-pnita", "rMD17", "forces"),),
    ),
    (
        "README.md",
        "exactly symmetric, 11 times the cost, {:.1f} meV/A",
        lambda: (ethanol("ethanol", "rMD17", "forces"),),
    ),
    ("README.md", "(models trained on rMD17: {} to {})", lambda: published_on_rmd17()),
    (
        "README.md",
        "not exactly symmetric, {:.1f} meV/A",
        lambda: (ethanol("ethanol-ponita", "rMD17", "forces"),),
    ),
    (
        "docs/benchmarks/silicon.md",
        "energy {:.1f} meV/atom, force components {:.0f} meV/A",
        lambda: silicon_errors(),
    ),
    (
        "docs/benchmarks/silicon.md",
        "| {}, {} | `python benchmarks/silicon_physics.py`",
        lambda: (physics()["a0 (A)"][2], physics()["B (GPa)"][2]),
    ),
    (
        "docs/benchmarks/silicon.md",
        "| {}, {}, {} | `python benchmarks/silicon_physics.py`",
        lambda: [physics()[f"{name} (GPa)"][2] for name in ("C11", "C12", "C44")],
    ),
    ("docs/benchmarks/silicon.md", "within {:.2f} THz", lambda: (largest_phonon_error(),)),
    (
        "docs/benchmarks/silicon.md",
        "drift ({:.1f} +- {:.1f})e-3 meV/atom/ps; halving the step divides the rms error by {:.2f}",
        lambda: (
            1000 * nve()[1.0]["drift"],
            1000 * nve()[1.0]["drift_error"],
            nve()[1.0]["rms"] / nve()[0.5]["rms"],
        ),
    ),
    (
        "docs/benchmarks/ethanol.md",
        "| 60 structures of rMD17 (MAE) |" + 3 * " {:.1f} meV, {:.1f} meV/A |",
        lambda: [
            ethanol(name, "rMD17", quantity)
            for name in ("ethanol-pnita", "ethanol", "ethanol-ponita")
            for quantity in ("energy", "forces")
        ],
    ),
    (
        "docs/benchmarks/ethanol.md",
        "| 89 structures at 500 K (MAE) |" + 3 * " {:.1f} meV, {:.1f} meV/A |",
        lambda: [
            ethanol(name, "500K", quantity)
            for name in ("ethanol-pnita", "ethanol", "ethanol-ponita")
            for quantity in ("energy", "forces")
        ],
    ),
    (
        "docs/benchmarks/speed.md",
        "| 4.5 million parameters: import, load, first step (CPU time) | {:.1f} s | {:.1f} s |",
        lambda: [start_up(0, "CPU time in s")[program] for program in (OURS, UPET)],
    ),
    (
        "docs/benchmarks/speed.md",
        "| 25.9 million parameters: import, load, first step (CPU time) | {:.1f} s | {:.1f} s |",
        lambda: [start_up(1, "CPU time in s")[program] for program in (OURS, UPET)],
    ),
    (
        "docs/benchmarks/speed.md",
        "| peak memory after it | {:.0f} MB | {:.0f} MB |",
        lambda: [start_up(0, "Peak resident memory in MB")[program] for program in (OURS, UPET)],
    ),
    (
        "docs/benchmarks/speed.md",
        "| peak memory after it | {:.0f} MB | {:.0f} MB |",
        lambda: [start_up(1, "Peak resident memory in MB")[program] for program in (OURS, UPET)],
    ),
    (
        "docs/benchmarks/ecse.md",
        "splits phonon frequencies that are degenerate\nby symmetry by up to {} THz",
        lambda: (in_scientific(largest_splitting("none"), 1),),
    ),
    (
        "docs/benchmarks/ecse.md",
        "With ECSE they agree to {} THz",
        lambda: (in_scientific(largest_splitting("ecse")),),
    ),
    (
        "docs/guides/uncertainty.md",
        "of {:.0f} steps for the 16 members of `silicon`",
        lambda: sorted(all_in_text("uncertainty_cost.txt", r"spread of forces .* x (\S+)"))[:1],
    ),
    (
        "docs/guides/uncertainty.md",
        "19.4 | 29.9 | {:.2f} | {:.3f} | {:.2f} |",
        lambda: calibration("silicon, test, energy"),
    ),
    (
        "docs/guides/uncertainty.md",
        "11.8 | 15.6 | {:.2f} | {:.3f} | {:.2f} |",
        lambda: calibration("ethanol, rMD17, forces"),
    ),
    (
        "docs/guides/uncertainty.md",
        "{:.0f} to {:.0f} steps\nfor 128 members",
        lambda: sorted(all_in_text("uncertainty_cost.txt", r"spread of forces .* x (\S+)"))[1:],
    ),
    (
        "calculators/silicon/README.md",
        "with a bond of {:.2f} A, rms force {:.0f} eV/A, forces MAE {:.3f} eV/A, energy {:.0f} meV",
        lambda: short_distances("Si8_close"),
    ),
    (
        "calculators/silicon/README.md",
        "bonds of 0.66 to {:.2f} A, rms force {:.0f} eV/A, forces MAE {:.3f} eV/A, energies {:.0f}",
        lambda: short_distances("Si8_pressed"),
    ),
    (
        "calculators/silicon/README.md",
        "Halving the step divides the rms by {:.2f}",
        lambda: (nve()[1.0]["rms"] / nve()[0.5]["rms"],),
    ),
    (
        "calculators/ethanol-ponita/README.md",
        "they change energies by {:.0f} meV (standard deviation) and forces by {:.0f} meV/A (rms)",
        lambda: [
            in_text("ponita_trained.txt", r"^icosahedral +(\S+) "),
            in_text("ponita_trained.txt", r"^icosahedral +\S+ +(\S+) "),
        ],
    ),
    (
        "docs/benchmarks/ponita.md",
        "| `antipodal:64` | yes | {:.1f}, {:.1f} |",
        lambda: [
            in_text("ponita_grids.txt", r"^antipodal:64 +yes +\S+ +(\S+)"),
            in_text("ponita_grids.txt", r"^antipodal:64 +yes +\S+ +\S+ +\S+ +(\S+)"),
        ],
    ),
    (
        "docs/benchmarks/ponita.md",
        "the error on 64 axes is {:.2f} of the mean",
        lambda: (in_text("ponita_grids.txt", r"test 0\.\d+, rMD17 (0\.\d+)"),),
    ),
    (
        "docs/guides/md.md",
        "Halving the steps\ndivides the rms by {:.2f}",
        lambda: (in_text("multiple_time_step.txt", r"divides the rms by (\S+) \(multiple\)"),),
    ),
    (
        "docs/guides/published.md",
        "{:.0f} were refused, each with one message. {:.0f} were read",
        lambda: (
            in_text("fuzz_checkpoints.txt", r"'refused': (\d+)"),
            in_text("fuzz_checkpoints.txt", r"'read': (\d+)"),
        ),
    ),
]
CARDS_WITH_ERRORS = (
    "silicon",
    "silicon-general",
    "lithium",
    "germanium",
    "molybdenum",
    "ethanol",
    "ethanol-ponita",
    "ethanol-pnita",
)
CARDS_WITH_CHECKS = {  # (card, its section) -> column of checks.txt
    ("silicon", "Checks"): "silicon",
    ("silicon", "Checks (--symmetrise ecse)"): "silicon+ecse",
    ("ethanol", "Checks"): "ethanol",
}


def rendered(text, values):
    """Text of a quote with the values of its sources."""
    return text.format(*values())


def page(name):
    """Text of a file of the repository."""
    return (ROOT / name).read_text(encoding="utf-8")


def card(name, section):
    """Cells of the rows of the tables in a section of a card."""
    text = page(f"calculators/{name}/README.md").split(f"## {section}\n")[1].split("\n## ")[0]
    # the only vertical bars inside of cells are those of an absolute value
    rows = [line.replace("\\|", "/") for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.split("|")[1:-1]] for row in rows]


def errors_in_words(errors):
    """Cells of the row of one split in the format of `ase-pet train`."""
    units = {"energy": 1e3, "forces": 1e3, "stress": 160.21766208}
    cells = {
        name: f"{units[name] * value['rmse']:.3g} / {units[name] * value['mae']:.3g}"
        for name, value in errors.items()
        if name in units
    }
    percent = f"{100 * errors['forces']['rmse'] / errors['forces']['rms']:.2g} %"
    count = str(errors["structures"])
    return [count, cells["energy"], cells["forces"], percent, cells.get("stress", "-")]


def checked(calculator):
    """{(check, quantity): value} in the column of a calculator of checks.txt."""
    lines = page("benchmarks/results/checks.txt").splitlines()
    (start,) = [n for n, line in enumerate(lines) if line.startswith("check  ")]
    header = lines[start]
    end = re.search(rf" {re.escape(calculator)}(?= |$)", header).end()
    begin = re.search(r"\S+\s*$", header[: end - len(calculator)]).group()
    first = end - len(calculator) - len(begin) + len(begin.rstrip())
    values = {}
    for line in lines[start + 1 :]:
        cell = line[first:end].split()
        values[line[:17].strip(), line[18:48].strip()] = (cell or [""])[0]
    return values


def values_of_a_check(row):
    """Pairs (quantity, value) in the last cell of a row of a table of checks."""
    number = r"-?\d[\d.]*(?:e[+-]?\d+)?"
    matches = re.findall(rf"(?:^|; )(.+?) ({number})(?= \(| [a-zA-Z]|;|$)", row[2])
    return [(quantity.replace("/F + dE/dr/", "|F + dE/dr|"), value) for quantity, value in matches]


@pytest.mark.parametrize(
    ("name", "text", "values"), QUOTES, ids=lambda part: part[:40] if isinstance(part, str) else ""
)
def test_quoted_numbers_are_those_of_the_results(name, text, values):
    assert rendered(text, values) in page(name)


def test_every_number_of_the_readme_is_accounted_for():
    text = re.sub(r"^```.*?^```$", "", page("README.md"), flags=re.DOTALL | re.MULTILINE)
    quotes = [rendered(text, values) for name, text, values in QUOTES if name == "README.md"]
    for known in (*quotes, *NOT_MEASURED):
        text = text.replace(known, "")
    text = re.sub(r"`[^`]*`", "", text)
    text = re.sub(r"\]\([^)]*\)", "]", text)
    assert re.findall(r"(?<![A-Za-z\d])\d[\d.e-]*", text) == []


@pytest.mark.parametrize("name", CARDS_WITH_ERRORS)
def test_errors_in_a_card_are_those_of_the_training(name):
    config = tomllib.loads(page(f"calculators/{name}/calculator.toml"))
    expected = [
        [split, *errors_in_words(errors)]
        for split, errors in config["provenance"]["errors"].items()
    ]
    assert [row for row in card(name, "Errors") if row[0] in ("train", "val", "test")] == expected


@pytest.mark.parametrize("name", ["ethanol", "ethanol-ponita", "ethanol-pnita"])
def test_accuracy_in_a_card_is_that_of_the_results(name):
    expected = [
        [f"{row['energy']:.1f}", f"{row['forces']:.1f}"]
        for row in in_json("ethanol_accuracy.json", name).values()
    ]
    starts = ("60 of", "27, ", "89, ")
    rows = [row[1:] for row in card(name, "Errors") if row[0].startswith(starts)]
    assert rows == expected


def test_physics_in_the_card_of_silicon_is_that_of_the_results():
    rows = {row[0]: tuple(row[1:]) for row in card("silicon", "Physics")[2:]}
    assert rows == {key: row for key, row in physics().items() if key in rows}
    assert len(rows) == len(physics())


def test_energy_conservation_in_the_card_of_silicon_is_that_of_the_results():
    expected = [
        [
            f"{step:g}",
            f"{run['ps']:.1f}",
            f"{run['drift']:.1e}",
            f"{run['drift_error']:.0e}",
            f"{run['rms']:.5f}",
        ]
        for step, run in nve().items()
    ]
    assert card("silicon", "Energy conservation")[2:] == expected


@pytest.mark.parametrize(("where", "column"), CARDS_WITH_CHECKS.items(), ids=str)
def test_checks_in_a_card_are_those_of_the_results(where, column):
    values = checked(column)
    quoted = {
        (row[0].strip("`"), quantity): value
        for row in card(*where)[2:]
        for quantity, value in values_of_a_check(row)
    }
    assert quoted
    assert quoted == {key: values[key] for key in quoted}
