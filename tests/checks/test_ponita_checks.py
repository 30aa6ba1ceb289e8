"""Checks of PONITA with settings for dynamics, with and without symmetrisers."""

import pytest

from ase_pet import PETCalculator, checks
from local_toys import STRUCTURES
from ponita_toys import tiny_ponita

LAWS = [
    "batch",
    "cutoff_pair",
    "cutoff_third_atom",
    "determinism",
    "gradients",
    "lattice",
    "locality",
    "net_force",
    "permutation",
    "supercell",
    "translation",
]
SYMMETRIES = ["inversion", "net_torque", "rotation"]


def failed(model, structures, names, **options):
    """Names of the failed checks; asserts that all requested checks were measured."""
    atoms = {name: STRUCTURES[name]() for name in structures}
    results = checks.run(
        PETCalculator(model, dtype="float64", **options), atoms, only=names, dtype="float64"
    )
    assert {result.check for result in results if result.status in ("pass", "fail")} == set(names)
    return {result.check for result in results if result.status == "fail"}


@pytest.mark.parametrize(
    "name",
    ["base", *(pytest.param(name, marks=pytest.mark.slow) for name in ("bump", "PNITA"))],
)
def test_laws_that_hold_without_symmetrisers(name):
    assert failed(tiny_ponita(name), ["silicon", "ethanol"], LAWS) == set()


def test_symmetries_that_a_grid_lacks():
    """Inversion is a symmetry of the grid; rotations are not, so that angular momentum changes."""
    assert failed(tiny_ponita(), ["ethanol"], SYMMETRIES) == {"net_torque", "rotation"}


@pytest.mark.parametrize(("name", "symmetrise"), [("PNITA", "none"), ("one layer", "ecse")])
def test_symmetries_of_what_is_exact(name, symmetrise):
    assert failed(tiny_ponita(name), ["ethanol"], SYMMETRIES, symmetrise=symmetrise) == set()
