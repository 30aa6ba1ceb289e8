"""Write golden/NAME.npz: values of this package itself, see tests/golden.py for their keys.

    python tests/data/make_golden.py [--force] [NAME ...]

Every value is computed in float64 on a CPU with one thread. The files record the
values when they were written, not whether these are right: tests against other programs and against
physics do that. Existing files are kept without --force: changed values are a change of the models,
which must be intended and listed in CHANGELOG.md.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from ase import Atoms
from ase.build import bulk, molecule

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # tests/
import golden
import local_toys
import original_pet_files
import ponita_toys
import toys
from ase_pet import store

DIRECT = {"energy": 1, "non_conservative_forces": 3, "non_conservative_stress": 9}
AVERAGES = ("group:O", "group:O:proper", "group:I", "group:I:proper", "quadrature:2")
# names without a form are of the time when they meant the published one, see golden.calculator
ECSE = ("ecse", "ecse:so3", "ecse:gentle", "ecse:pruned", "ecse_layers", "ecse:compact")
SECOND_DERIVATIVES = (  # symmetrisers
    "none",
    "ecse:published",
    "ecse:compact",
    "ecse_layers:published",
    "quadrature:2:proper",
)


def symmetrised(*names):
    """Options of each symmetriser."""
    return [f"symmetrise={name}" for name in names]


def rattled(atoms, seed, width=0.1):
    """The atoms, displaced at random."""
    atoms.rattle(width, seed=seed)
    return atoms


def bent(species, first, second, angle):
    """Three atoms, the first in the middle: two distances in A, an angle in degrees."""
    radians = np.deg2rad(angle)
    ends = [[first, 0, 0], [second * np.cos(radians), second * np.sin(radians), 0]]
    return Atoms(species, [[0, 0, 0], *ends])


# Isolated atoms, pairs and lines have no ECSE frames, and bent lines have some of small weight.
SILICON = {
    "si8": rattled(bulk("Si", cubic=True), 1),
    "si2_sheared": toys.sheared(),
    "pair": Atoms("Si2", [[0, 0, 0], [0.3, 0.2, 2.4]]),
    "line": bent("Si3", 2.4, 2.5, 180),
    "bent": bent("Si3", 2.4, 2.5, 160),
}
ETHANOL = {
    "ethanol": rattled(molecule("CH3CH2OH"), 2, 0.05),
    "co": Atoms("CO", [[0, 0, 0], [0.5, 0.4, 1.2]]),
    "co2": bent("COO", 1.3, 1.4, 180),
    "co2_bent": bent("COO", 1.3, 1.4, 160),
}
TOYS = {"sheared": toys.sheared(), "slab": toys.slab(), "ethanol": toys.ethanol()}
MIXED = {**TOYS, "water": rattled(molecule("H2O"), 5), "co2": bent("COO", 1.2, 1.3, 180)}
IONS = {**TOYS, "cation": toys.charged(toys.ethanol())}


def of_element(symbol, crystal, a):
    """A crystal, and a triangle of which ECSE has frames."""
    bond = (3**0.5 / 4 if crystal == "diamond" else 3**0.5 / 2) * a
    structures = {
        "crystal": rattled(bulk(symbol, crystal, a, cubic=True), 1),
        "bent": bent(f"{symbol}3", bond, 1.1 * bond, 110),
    }
    return structures, symmetrised("none"), {"bent": symmetrised("ecse")}


# NAME: structures, options of all structures, {structure: more options}.
SHIPPED = {
    "silicon": (SILICON, symmetrised("none", *ECSE, *AVERAGES), {}),
    "silicon-general": of_element("Si", "diamond", 5.47),
    "germanium": of_element("Ge", "diamond", 5.76),
    "lithium": of_element("Li", "bcc", 3.43),
    "molybdenum": of_element("Mo", "bcc", 3.17),
    "ethanol": (
        ETHANOL,
        symmetrised("ecse", "ecse:so3", "ecse:gentle", "ecse:pruned", "ecse:compact"),
        {},
    ),
    "ethanol-ponita": (
        ETHANOL,
        symmetrised("none", "group:O:proper"),
        {"co2_bent": [*symmetrised("ecse:force"), "orientations=dodecahedral"]},
    ),
    "ethanol-pnita": (ETHANOL, symmetrised("none"), {}),
}
PLAIN = symmetrised("none")
MODELS = {  # NAME: model, then as above
    "pet_feedforward": (
        toys.tiny_pet(num_attention_layers=2, attention_temperature=1.7),
        MIXED,
        symmetrised("none", "ecse_layers", "group:O:proper"),
        {"water": symmetrised("ecse:force", "ecse:so3:force", "quadrature:2:proper")},
    ),
    "pet_residual": (
        toys.tiny_pet("residual", num_gnn_layers=3),
        MIXED,
        symmetrised("none", "ecse_layers"),
        {"water": symmetrised("ecse:force")},
    ),
    "pet_original": (toys.tiny_pet("original"), MIXED, symmetrised("none", "ecse_layers"), {}),
    "pet_grid": (toys.tiny_pet("grid"), TOYS, PLAIN, {"ethanol": symmetrised("group:O:proper")}),
    "pet_solver": (toys.tiny_pet("solver"), TOYS, PLAIN, {}),
    "pet_zbl": (toys.tiny_pet("zbl"), TOYS, symmetrised("none", "ecse_layers:so3"), {}),
    "pet_conditioning": (toys.tiny_pet("conditioning"), IONS, PLAIN, {}),
    "pet_heads": (
        toys.tiny_pet("residual", heads={**DIRECT, "energy/other": 1, "dipole": 3}),
        TOYS,
        [*PLAIN, "variant=other", "non_conservative=forces"],
        {
            "sheared": ["non_conservative=stress"],
            "ethanol": symmetrised("ecse_layers", "group:O", "group:I:proper"),
        },
    ),
    "pet_local": (
        local_toys.local_pet(heads={"energy": 1, "dipole": 3}),
        {**MIXED, "chiral": local_toys.chiral()},
        symmetrised("none", *ECSE),
        {},
    ),
    "original_pet": (original_pet_files.tiny(), TOYS, symmetrised("none", "group:O:proper"), {}),
    "original_pet_blend": (original_pet_files.tiny("blend, linear"), TOYS, PLAIN, {}),
    "original_pet_local": (
        original_pet_files.tiny("local"),
        MIXED,
        symmetrised("none", "ecse", "ecse:so3"),
        {},
    ),
    "ponita": (
        ponita_toys.tiny_ponita("dipole"),
        MIXED,
        symmetrised("none", "group:O:proper"),
        {"water": [*symmetrised("ecse:force", "group:I"), "orientations=octahedral"]},
    ),
    "ponita_step": (
        ponita_toys.tiny_ponita("step", layer_scale=0.1, orientations="octahedral", softening=0.0),
        TOYS,
        PLAIN,
        {},
    ),
    "pnita": (ponita_toys.tiny_ponita("PNITA"), MIXED, PLAIN, {}),
}


def rounded(model):
    """The model with weights that are whole numbers of 1/golden.UNIT."""
    with torch.no_grad():
        for weight in model.state_dict().values():
            weight.copy_((weight * golden.UNIT).round() / golden.UNIT)
    return model


def small(name, model):
    """Entries of a file that hold a small model."""
    with tempfile.TemporaryDirectory() as folder:
        store.save(folder, rounded(model), store.Card(name, dtype="float64"))
        toml = (Path(folder) / "calculator.toml").read_text(encoding="utf-8")
        state = safetensors.torch.load_file(Path(folder) / "weights.safetensors")
    return golden.packed(toml, state)


def properties(calculator, atoms):
    """Names of the stored properties of a structure."""
    name = calculator.parameters["model"]
    names = ["energy", "energies", "forces"]
    if atoms.cell.rank == 3:
        names.append("stress")
    if "dipole" in calculator.implemented_properties and not atoms.pbc.any():
        names.append("dipole")
    plain = calculator.parameters["non_conservative"] is False
    if (
        plain
        and calculator.parameters["symmetrise"] in SECOND_DERIVATIVES
        and getattr(calculator.model, "exact_second_derivatives", True)
    ):
        # all rows of ethanol take longer than all else in these files
        few = len(atoms) <= (3 if atoms.pbc.any() or name not in SHIPPED else 4)
        names.append("hessian" if few else "hessian_rows")
        if len(atoms) >= 6:
            names.append("displaced_forces")
    return names


def values(model, structures, options, more):
    """{key: array} of all structures and options."""
    table = {}
    for name, atoms in structures.items():
        for field in golden.GEOMETRY:
            table[f"{name}/{field}"] = np.asarray(getattr(atoms, field))
        for field in golden.STATE:
            if field in atoms.info:
                table[f"{name}/{field}"] = np.array(atoms.info[field])
        for text in [*options, *more.get(name, ())]:
            calculator = golden.calculator(model, text)
            alone = calculator.model.composition
            table[f"{name}/composition"] = np.array([alone.get(z, 0.0) for z in atoms.numbers])
            computed = golden.compute(calculator, atoms, properties(calculator, atoms))
            table |= {f"{name}/{text}/{key}": value for key, value in computed.items()}
    return table


def content(name):
    """{key: array} of the file of that name."""
    if name in SHIPPED:
        return values(name, *SHIPPED[name])
    model, *rest = MODELS[name]
    entries = small(name, model)
    with tempfile.TemporaryDirectory() as folder:
        path = golden.unpack(entries, Path(folder) / name)
        return entries | values(path, *rest)


def completed(path):
    """{key: array} of a file, and of options that it lacks."""
    table = golden.read(path)
    model = path.stem
    structures, options, more = SHIPPED[model] if model in SHIPPED else MODELS[model][1:]
    there = {options for _, options, _ in golden.cases(table)}
    lacking = [text for text in options if text not in there]
    with tempfile.TemporaryDirectory() as folder:
        source = golden.unpack(table, Path(folder) / model) if "model/toml" in table else model
        return values(source, structures, lacking, {}) | table


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="files to write; default: all")
    parser.add_argument("--force", action="store_true", help="overwrite existing files")
    parser.add_argument("--add", action="store_true", help="keep all that is in existing files")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    names = arguments.names or [*SHIPPED, *MODELS]
    paths = {name: golden.FOLDER / f"{name}.npz" for name in names}
    there = [path.name for path in paths.values() if path.exists()]
    if there and not (arguments.force or arguments.add):
        sys.exit(f"{', '.join(there)}: there already; --force writes them again")
    golden.FOLDER.mkdir(exist_ok=True)
    for name, path in paths.items():
        golden.write(path, completed(path) if arguments.add else content(name))
        print(f"{path.stat().st_size:7d} bytes  {path}")


if __name__ == "__main__":
    main()
