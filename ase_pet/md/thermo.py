"""The table of a run: what its rows hold, how it is read, summarised and drawn."""

import numpy as np
from ase import units

from ..extras import how_to_install
from .integrators import conserved_energy
from .momenta import temperature
from .outputs import THERMO

PICTURE = "thermo.png"
BLOCKS = 10
SETTLING = 0.1  # of a run, left out of its summary


def has_stress(atoms):
    """Whether the structure has a stress and the calculator gives it."""
    if not atoms.pbc.all() or atoms.cell.rank < 3:
        return False
    try:
        atoms.get_stress()
    except NotImplementedError:
        return False
    return True


def row(dynamics, time, freedoms, stress):
    """{column: value} of the present step; time in ps. Columns say their unit."""
    atoms, conserved = dynamics.atoms, conserved_energy(dynamics)
    found = {
        "step": dynamics.nsteps,
        "time_ps": time,
        "potential_eV": float(atoms.get_potential_energy()),
        "kinetic_eV": float(atoms.get_kinetic_energy()),
        "total_eV": float(atoms.get_total_energy()),
    }
    if conserved is not None:
        found["conserved_eV"] = conserved
    found["temperature_K"] = float(temperature(atoms, freedoms))
    if stress:
        pressure = -np.trace(atoms.get_stress(voigt=False, include_ideal_gas=True)) / 3
        found |= {
            "pressure_GPa": float(pressure / units.GPa),
            "volume_A3": float(atoms.get_volume()),
        }
    return found


def read(folder):
    """{column: (m,) array} of the table in the folder of a run."""
    with open(folder / THERMO, encoding="ascii") as file:
        names = file.readline().strip().split(",")
        return dict(zip(names, np.loadtxt(file, delimiter=",", ndmin=2).T, strict=True))


def summary(table, atoms):
    """Means over a run without its first tenth, their standard errors, and the drift of the
    conserved energy.

    table: of `read`; atoms: their number. Standard errors are those of means over ten blocks. Drift
    in meV/atom/ps. Empty for fewer than twenty rows.
    """
    rows = len(table["step"])
    late = slice(int(SETTLING * rows), None)
    if rows < 2 * BLOCKS:
        return {}
    found = {}
    for name in ("temperature_K", "pressure_GPa", "volume_A3"):
        if name in table:
            found[f"mean_{name}"] = float(table[name][late].mean())
            found[f"error_{name}"] = float(_error(table[name][late]))
    if "conserved_eV" in table:
        time, energy = table["time_ps"][late], 1000 * table["conserved_eV"][late] / atoms
        slope, offset = np.polyfit(time, energy, 1)
        rest = energy - slope * time - offset
        error = _error(rest, 2) / time.std()
        found |= {
            "drift_meV_per_atom_per_ps": float(slope),
            "error_drift": float(error),
            "rms_meV_per_atom": float(np.sqrt(np.mean(rest**2))),
        }
    return found


def plot(folder, atoms):
    """Path of a picture of the table in a folder: energies per atom, temperature and, in a cell,
    pressure.

    Raises ValueError where matplotlib is missing.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ValueError(
            f"the plot needs matplotlib, of the extra `train` ({how_to_install('train')}): {error}"
        ) from None
    table = read(folder)
    time, per_atom = table["time_ps"], 1000 / atoms
    names = [name for name in ("temperature_K", "pressure_GPa", "volume_A3") if name in table]
    figure = Figure(figsize=(7, 2.2 * (2 + len(names))), layout="constrained")
    first, second, *others = figure.subplots(2 + len(names), 1, sharex=True)
    conserved = "conserved_eV" if "conserved_eV" in table else "total_eV"
    first.plot(time, per_atom * (table[conserved] - table[conserved][0]), linewidth=0.8)
    first.set(
        ylabel=f"{conserved.removesuffix('_eV')} (meV/atom)",
        title="energies are changes since the start",
    )
    for name in ("potential", "kinetic"):
        second.plot(
            time,
            per_atom * (table[f"{name}_eV"] - table[f"{name}_eV"][0]),
            label=name,
            linewidth=0.8,
        )
    second.set(ylabel="energy (meV/atom)")
    second.legend(loc="upper right", ncols=2)
    for axes, name in zip(others, names, strict=True):
        axes.plot(time, table[name], linewidth=0.8)
        axes.set(ylabel=" (".join(name.rsplit("_", 1)) + ")")
    (others or [second])[-1].set(xlabel="time (ps)")
    figure.savefig(folder / PICTURE, dpi=130)
    return folder / PICTURE


def _error(values, fitted=1):
    means = np.array([block.mean() for block in np.array_split(values, BLOCKS)])
    return np.sqrt(means.var(ddof=fitted) / BLOCKS)
