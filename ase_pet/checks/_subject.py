"""The calculator under examination, and how checks ask it."""

import inspect

import numpy as np

from ._results import NotApplicable

CUTOFF_NAMES = ("cutoff", "r_max", "rc_list", "rc")  # of this package, MACE, EMT and LJ of ASE


class Subject:
    """Any ASE calculator, with what checks need to know about it.

    dtype: "float64" or "float32"; None: what the calculator says, else `find_dtype` finds it.
    full: whether long runs are wanted. temperature: K, of the runs. seed: of all random numbers.
    """

    def __init__(self, calculator, *, dtype=None, full=False, temperature=300.0, seed=0):
        self.calculator, self.full, self.temperature, self.seed = (
            calculator,
            full,
            temperature,
            seed,
        )
        self.dtype = dtype or _stated_dtype(calculator)
        self.cutoff = _stated_cutoff(calculator)

    @property
    def single(self):
        """Whether rounding errors are those of float32."""
        return self.dtype == "float32"

    @property
    def batched(self):
        """`evaluate(structures, properties)` of the calculator.

        None where it has none of this form.
        """
        evaluate = getattr(self.calculator, "evaluate", None)
        if not callable(evaluate) or "properties" not in inspect.signature(evaluate).parameters:
            return None
        return evaluate

    def generator(self, stream=0):
        """numpy Generator, always the same for one stream."""
        return np.random.default_rng([self.seed, stream])

    def attached(self, atoms):
        """A copy of the atoms with the calculator."""
        atoms = atoms.copy()
        atoms.calc = self.calculator
        return atoms

    def energy(self, atoms):
        """Energy in eV."""
        return float(self.attached(atoms).get_potential_energy())

    def forces(self, atoms):
        """(n, 3) forces in eV/A."""
        return self.energy_forces(atoms)[1]

    def energy_forces(self, atoms):
        """Energy in eV and (n, 3) float64 forces in eV/A, of one calculation."""
        atoms = self.attached(atoms)
        forces = np.asarray(atoms.get_forces(), dtype=float)
        return float(atoms.get_potential_energy()), forces

    def find_dtype(self, atoms):
        """Set the dtype by that of the forces, where nothing states it.

        Float64 where the calculator fails.
        """
        if self.dtype is None:
            try:
                single = np.asarray(self.attached(atoms).get_forces()).dtype == np.float32
            except Exception:  # the checks will report it
                single = False
            self.dtype = "float32" if single else "float64"

    def stress(self, atoms):
        """(3, 3) stress in eV/A^3; raises NotApplicable for a structure without a volume."""
        if atoms.cell.rank < 3:
            raise NotApplicable("a structure without a cell has no stress")
        return np.asarray(self.attached(atoms).get_stress(voigt=False), dtype=float)

    def many(self, structures):
        """Energies (m,) in eV and list of (n, 3) forces; in batches where the calculator can."""
        if self.batched is not None:
            rows = self.batched(structures, ("energy", "forces"))
            found = [(float(row["energy"]), np.asarray(row["forces"], dtype=float)) for row in rows]
        else:
            found = [self.energy_forces(atoms) for atoms in structures]
        return np.array([energy for energy, _ in found]), [forces for _, forces in found]

    def rounding(self, energy):
        """eV, of an energy of this size in the calculator's dtype."""
        return float(np.finfo(self.dtype).eps) * abs(energy)


def _stated_dtype(calculator):
    """What a calculator says of its precision (`dtype` here, `default_dtype` in MACE), or None."""
    stated = str(getattr(calculator, "dtype", getattr(calculator, "default_dtype", "")))
    return next((name for name in ("float64", "float32") if name in stated), None)


def _stated_cutoff(calculator):
    parameters = getattr(calculator, "parameters", {})
    for name in CUTOFF_NAMES:
        value = getattr(calculator, name, None) or parameters.get(name)
        if value is not None and np.ndim(value) == 0 and not callable(value):
            return float(value)
    return None
