"""Multiple time steps: many steps of cheap forces, corrected by conservative ones now and then."""

from ase.md.md import MolecularDynamics


class MultipleTimeStep(MolecularDynamics):
    """Velocity Verlet with the forces of `fast`, and an impulse of their difference to those of
    `atoms.calc` each M steps.

    One `step()` is M time steps d:
        p += M d/2 (F - F_fast);  M times velocity Verlet of d with F_fast;  p += M d/2 (F - F_fast)
    so that F is evaluated once in M time steps. With M = 1 it is velocity Verlet with F. It is
    reversible and of second
    order in M d; where F_fast is nobody's gradient, such as a head of direct forces, its work per
    step is undone by the
    impulses to that order, and the energy of `atoms.calc` does not drift as it does with F_fast
    alone.

    atoms: with the calculator whose energy is to be conserved.
    timestep: d, in ASE's unit of time.
    fast: ASE calculator of the cheap forces, used on a copy of the atoms.
    multiple: M, 1 or more.

    `dt` is M d. Raises ValueError for M below 1, NotImplementedError for atoms with constraints.
    Source: r-RESPA, Tuckerman, Berne, Martyna, J. Chem. Phys. 97, 1990 (1992),
    doi:10.1063/1.463137; with direct forces of a model: Bigi, Langer, Ceriotti, arXiv:2412.11569.
    """

    def __init__(self, atoms, timestep, fast, multiple, **options):
        if multiple < 1 or multiple != int(multiple):
            raise ValueError(
                f"`multiple` is {multiple!r}: expected a whole number of time steps, 1 or more"
            )
        if atoms.constraints:
            raise NotImplementedError("multiple time steps of atoms with constraints: remove them")
        super().__init__(atoms, multiple * timestep, **options)
        self.timestep, self.multiple = timestep, int(multiple)
        self.fast = fast
        self._copy = atoms.copy()
        self._copy.calc = fast

    def todict(self):
        """What ASE writes into a trajectory."""
        return super().todict() | {"multiple": self.multiple}

    def step(self):
        """Move by M time steps."""
        half, masses = self.timestep / 2, self.masses
        momenta, positions = self.atoms.get_momenta(), self.atoms.get_positions()
        fast = self._fast_forces(positions)
        momenta += self.multiple * half * (self.atoms.get_forces(md=True) - fast)
        for _ in range(self.multiple):
            momenta += half * fast
            positions += self.timestep * momenta / masses
            fast = self._fast_forces(positions)
            momenta += half * fast
        self.atoms.set_positions(positions)
        momenta += self.multiple * half * (self.atoms.get_forces(md=True) - fast)
        self.atoms.set_momenta(momenta)

    def _fast_forces(self, positions):
        self._copy.set_positions(positions)
        self._copy.info = self.atoms.info  # a total charge may have been set since
        return self._copy.get_forces(md=True)
