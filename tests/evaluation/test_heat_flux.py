"""Stresses of atoms and heat fluxes: sum rules, finite differences, and conservation of energy."""

import numpy as np
import pytest
from ase import Atoms
from ase.md.velocitydistribution import thermalize_momenta
from ase.stress import voigt_6_to_full_3x3_strain

import toys
from ase_pet import PETCalculator, heat_flux
from tolerances import worst

OPTIONS = {"dtype": "float64", "device": "cpu"}
KINDS = [
    ("local", None),
    ("local", "ecse"),
    ("base", None),
    ("base", "group:O"),
    ("solver", None),
]


def calculator_of(name, symmetrise=None, **changes):
    return PETCalculator(toys.tiny_pet(name, **changes), symmetrise=symmetrise, **OPTIONS)


def moving(atoms, seed=5):
    thermalize_momenta(atoms, 900, rng=np.random.default_rng(seed))
    return atoms


@pytest.mark.parametrize(("name", "symmetrise"), KINDS)
def test_stresses_of_atoms_add_up_to_the_stress(name, symmetrise):
    for atoms in (toys.silicon(), toys.sheared()):
        atoms.calc = calculator_of(name, symmetrise)
        stresses = atoms.get_stresses()
        assert stresses.shape == (len(atoms), 6)
        assert worst(stresses.sum(0), atoms.get_stress()) < 1e-11


def test_stresses_of_a_local_model_are_strain_derivatives_of_energies():
    atoms = toys.silicon()
    calculator = calculator_of("local")
    stresses = calculator.get_property("stresses", atoms)
    step = 1e-5
    for component in range(6):
        energies = []
        for sign in (1, -1):
            strain = voigt_6_to_full_3x3_strain(sign * step * np.eye(6)[component])
            strained = atoms.copy()
            strained.set_cell(atoms.cell @ strain, scale_atoms=True)
            energies.append(calculator.get_property("energies", strained))
        slopes = (energies[0] - energies[1]) / (2 * step * atoms.get_volume())
        assert worst(stresses[:, component], slopes) < 1e-5


def test_stresses_come_in_batches_and_not_without_a_volume():
    calculator = calculator_of("local")
    crystals = [toys.silicon(1), toys.sheared()]
    rows = calculator.evaluate(crystals, ("stresses", "energy"))
    for atoms, row in zip(crystals, rows, strict=True):
        assert worst(row["stresses"], calculator.get_property("stresses", atoms)) < 1e-11
    with pytest.raises(NotImplementedError, match="stress needs a cell of rank 3"):
        calculator.get_property("stresses", toys.ethanol())


def barycentre(calculator, atoms):
    """sum_i r_i e_i in eV A, with energies that have no composition energies."""
    composition = calculator.model.composition
    energies = calculator.get_property("energies", atoms)
    energies = energies - [composition[number] for number in atoms.numbers]
    kinetic = atoms.get_masses() * (atoms.get_velocities() ** 2).sum(1) / 2
    return (energies + kinetic) @ atoms.positions


def advanced(atoms, forces, time):
    """The atoms a short time later (or earlier), to second order."""
    accelerations = forces / atoms.get_masses()[:, None]
    later = atoms.copy()
    later.positions += time * atoms.get_velocities() + time**2 / 2 * accelerations
    later.set_velocities(atoms.get_velocities() + time * accelerations)
    return later


@pytest.mark.parametrize(("name", "symmetrise"), KINDS)
def test_the_flux_is_the_derivative_of_the_barycentre_of_energy(name, symmetrise):
    """Of a molecule: d/dt sum_i r_i e_i, along its motion."""
    atoms = moving(toys.ethanol())
    calculator = calculator_of(name, symmetrise)
    forces = calculator.get_property("forces", atoms)
    step = 1e-4
    later = barycentre(calculator, advanced(atoms, forces, step))
    earlier = barycentre(calculator, advanced(atoms, forces, -step))
    flux = heat_flux.heat_flux(calculator, atoms)
    assert worst(flux, (later - earlier) / (2 * step)) < 1e-5


def chain():
    """A bent chain of three atoms, periodic in one direction."""
    positions = [[0.1, 0, 0], [1.4, 0.5, 0.2], [2.7, -0.3, 0.4]]
    return moving(Atoms("SiCO", positions, cell=[4.0, 9, 9], pbc=[True, False, False]))


def by_differences(calculator, atoms, copies):
    """Flux of a periodic chain: its definition, with derivatives by differences of energies."""
    images = [atoms]
    for shift in [k for k in range(-copies, copies + 1) if k]:
        image = atoms.copy()
        image.positions += shift * atoms.cell.array[0]
        images.append(image)
    whole = sum(images[1:], images[0].copy())
    whole.set_cell(None)
    whole.pbc = False
    step = 1e-4
    flux = np.zeros(3)
    for j, velocity in enumerate(whole.get_velocities()):
        both = []
        for sign in (1, -1):
            displaced = whole.copy()
            displaced.positions[j] += sign * step * velocity
            both.append(displaced)
        rows = calculator.evaluate(both, ("energies",))
        change = (rows[0]["energies"] - rows[1]["energies"])[: len(atoms)] / (2 * step)
        flux += change @ (atoms.positions - whole.positions[j])
    composition = calculator.model.composition
    energies = calculator.get_property("energies", atoms)
    energies = energies - [composition[number] for number in atoms.numbers]
    velocities = atoms.get_velocities()
    kinetic = atoms.get_masses() * (velocities**2).sum(1) / 2
    return flux + (energies + kinetic) @ velocities


@pytest.mark.parametrize(
    ("name", "symmetrise", "copies"),
    [("local", None, 3), ("local", "ecse", 3), ("base", None, 5), ("grid", None, 6)],
)
def test_the_flux_of_a_periodic_structure_is_its_definition(name, symmetrise, copies):
    calculator = calculator_of(name, symmetrise, cutoff=3.2)
    atoms = chain()
    expected = by_differences(calculator, atoms, copies)
    assert worst(heat_flux.heat_flux(calculator, atoms), expected) < 1e-6


def test_the_flux_does_not_depend_on_the_cell():
    for name in ("local", "base"):
        calculator = calculator_of(name, cutoff=3.2)
        atoms = chain()
        flux = heat_flux.heat_flux(calculator, atoms)
        doubled = atoms * (2, 1, 1)
        wrapped = atoms.copy()
        wrapped.positions[1] += 3 * atoms.cell.array[0]
        assert worst(heat_flux.heat_flux(calculator, doubled), 2 * flux) < 1e-10
        assert worst(heat_flux.heat_flux(calculator, wrapped), flux) < 1e-10


def test_other_calculators_have_no_flux():
    from ase.calculators.emt import EMT

    with pytest.raises(ValueError, match="`calculator` is EMT"):
        heat_flux.heat_flux(EMT(), toys.silicon())
