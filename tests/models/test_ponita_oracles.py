"""PONITA and PNITA against float64 energies, forces and vectors of the authors' code."""

import numpy as np
import pytest
import torch
from ase import Atoms

from ase_pet import PETCalculator
from ase_pet import graph as graphs
from ase_pet.formats import ponita

CHARGES = {1: [1.0], 9: [-1.0]}  # of the bodies of the N-body problem, as atoms of two kinds


@pytest.fixture
def reference(reference_file):
    """Function that returns the model of a name and its reference values."""

    def load(name, **options):
        values = np.load(reference_file(f"ponita/{name}.npz"))
        options = {
            "species": range(9),
            "scale": values["hyper/scale"],
            "shift": values["hyper/shift"],
            **options,
        }
        grid = values.get("grid", None)
        return ponita.read(reference_file(f"ponita/{name}.pt"), grid=grid, **options), values

    return load


@pytest.mark.parametrize("structure", ["ethanol_a", "ethanol_b", "methanol", "ethanol_water"])
@pytest.mark.parametrize("name", ["rmd17_small", "windowed", "pnita_r3"])
def test_energies_and_forces(reference, name, structure):
    model, values = reference(name)
    atoms = Atoms(values[f"{structure}/numbers"], values[f"{structure}/positions"])
    atoms.calc = PETCalculator(model, dtype="float64")
    assert atoms.get_potential_energy() == pytest.approx(
        float(values[f"{structure}/energy"]), abs=1e-10
    )
    assert np.abs(atoms.get_forces() - values[f"{structure}/forces"]).max() < 1e-10


@pytest.mark.parametrize("structure", ["nbody_0", "nbody_1", "nbody_2"])
def test_vectors_from_vectors(reference, structure):
    model, values = reference("nbody_vector", species=CHARGES, vector_inputs=1, vector_outputs=1)
    model, charges = model.double(), values[f"{structure}/x"][:, 0]
    bodies = Atoms(np.where(charges > 0, 1, 9), values[f"{structure}/positions"])
    graph = graphs.build([graphs.from_atoms(bodies)], model.cutoff)
    actual = model.predict(graph, ("vector",), torch.tensor(values[f"{structure}/vec"]))["vector"]
    assert (
        np.abs(actual.detach().numpy() - values[f"{structure}/vector_output"][:, 0]).max() < 1e-10
    )


@pytest.mark.parametrize("name", ["rmd17_small", "windowed", "pnita_r3"])
def test_settings_are_those_of_the_authors(reference, name):
    model, values = reference(name)
    radius, n_axes = float(values["hyper/radius"]), int(values["hyper/num_ori"])
    assert model.settings.cutoff_function == ("polynomial" if radius > 0 else "none")
    assert model.settings.orientations == (f"given:{n_axes}" if n_axes else "none")
    assert {
        key: getattr(model.settings, key)
        for key in ("width", "num_basis", "num_layers", "degree", "widening")
    } == {
        "width": values["hyper/hidden_dim"],
        "num_basis": values["hyper/basis_dim"],
        "num_layers": values["hyper/num_layers"],
        "degree": values["hyper/degree"],
        "widening": values["hyper/widening_factor"],
    }
