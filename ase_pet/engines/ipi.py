"""i-PI: path integrals and other dynamics of nuclei, with a calculator of this package.

In the input of i-PI, forces come from this file, in the process of i-PI itself:

    <ffdirect name="model">
      <pes>custom</pes>
      <pes_path>... what `python -m ase_pet.engines.ipi` prints ...</pes_path>
      <parameters>{template: start.xyz, model: silicon, dtype: float64}</parameters>
    </ffdirect>

`ase-pet ipi` is the same over a socket, from another process or machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ase.io
import numpy as np

# i-PI loads this file by its path, where relative imports do not work
from ase_pet.calculator import PETCalculator
from ase_pet.extras import how_to_install

try:
    from ipi.pes._ase import ASEDriver
except ImportError as error:
    raise ImportError(
        f"i-PI is not installed ({error}): expected ipi 3.3 or later, of the extra `engines`:"
        f" {how_to_install('engines')}"
    ) from None

# names that i-PI looks for
__DRIVER_NAME__ = "ase_pet"
__DRIVER_CLASS__ = "Driver"


class Driver(ASEDriver):  # type: ignore[misc]
    """Driver of i-PI that evaluates a calculator of this package.

    Several beads that i-PI hands over at once are evaluated in one batch.

    Parameters
    ----------
    template:
        File of a structure, which ASE reads: elements, and periodic directions.
    model:
        What `PETCalculator` takes: name, folder or checkpoint.
    has_stress:
        Whether the virial is computed; None: where the template has a cell of rank 3.
    verbose:
        Of i-PI.
    verbosity:
        Of i-PI, which it adds by itself.
    options:
        Other arguments of `PETCalculator`.
    """

    def __init__(
        self,
        template: str,
        model: str,
        has_stress: bool | None = None,
        verbose: bool = False,
        verbosity: Any = None,
        **options: Any,
    ) -> None:
        self._arguments = {"model": model, **options}
        if has_stress is None:
            structure: Any = ase.io.read(template)
            has_stress = structure.cell.rank == 3
        super().__init__(template, has_stress=has_stress, verbose=verbose)

    def check_parameters(self) -> None:
        """Load the template and the calculator."""
        super().check_parameters()
        self.ase_calculator = PETCalculator.fromdict(self._arguments)

    def compute_structure(self, cell: np.ndarray, pos: np.ndarray) -> Any:
        """Energy, forces, virial and extras of one structure, in the atomic units of i-PI.

        Parameters
        ----------
        cell:
            Cell (3, 3) in bohr; columns are cell vectors.
        pos:
            Positions (n, 3) in bohr.
        """
        return self.compute([cell], [pos])[0]

    def compute(self, cell: Any, pos: Any) -> Any:
        """Results of `compute_structure`, or a list of them for lists of cells and positions.

        Parameters
        ----------
        cell:
            Cell, or list of cells.
        pos:
            Positions, or list of positions.
        """
        if not isinstance(cell, list):
            return self.compute([cell], [pos])[0]
        structures = [self._structure(*both) for both in zip(cell, pos, strict=True)]
        results = self._results(structures)
        return [self.post_process(*both) for both in zip(results, structures, strict=True)]

    def _structure(self, cell: np.ndarray, pos: np.ndarray) -> Any:
        """Structure of ASE, from a cell (3, 3) and positions (n, 3) in bohr."""
        vectors, positions = self.convert_units(cell, pos)
        structure = self.template_ase.copy()
        structure.set_cell(vectors)
        structure.positions = positions.reshape(-1, 3)
        return structure

    def _results(self, structures: list[Any]) -> list[Mapping[str, Any]]:
        """Properties of structures; of one, with the neighbours of the last step."""
        calculator = self.ase_calculator
        if len(structures) > 1:
            return list(calculator.evaluate(structures, self.capabilities))
        only = structures[0]
        # derivatives first: they come with the energy
        names = sorted(self.capabilities, reverse=True)
        return [{name: calculator.get_property(name, only) for name in names}]


if __name__ == "__main__":
    print(__file__)
