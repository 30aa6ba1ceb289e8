"""Degrees of freedom and momenta of structures with constraints."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.constraints import (
    ExternalForce,
    FixAtoms,
    FixBondLengths,
    FixCartesian,
    FixCom,
    FixedLine,
    FixedMode,
    FixedPlane,
    FixInternals,
    FixLinearTriatomic,
    FixScaled,
    FixSubsetCom,
    FixSymmetry,
    Hookean,
    MirrorForce,
)

from ase_pet.constraints import motion


def copper():
    return bulk("Cu", cubic=True) * (2, 2, 2)


def slab():
    return fcc111("Cu", (2, 2, 3), vacuum=6)


def ethanol():
    return molecule("CH3CH2OH")


def equal_masses():
    atoms = ethanol()
    atoms.set_masses([5] * 9)
    return atoms


def dioxides():
    """Three molecules, atoms in the order C, O, O."""
    atoms = Atoms(cell=[14, 8, 8])
    for number in range(3):
        one = molecule("CO2")
        one.translate([4 * number, 0, 0.3 * number])
        atoms += one
    return atoms


def mode(atoms):
    return FixedMode(np.random.default_rng(0).random((len(atoms), 3)))


def triatomic(atoms):
    return FixLinearTriatomic([(1, 0, 2), (4, 3, 5), (7, 6, 8)])


# {name: (structure, constraints, velocity components that are free, conserved rigid motions)}
CASES = {
    "none": (copper, lambda atoms: [], 96, 3),
    "fixed atoms": (slab, lambda atoms: FixAtoms([0, 1, 2, 3]), 24, 0),
    "all fixed": (copper, lambda atoms: FixAtoms(range(32)), 0, 0),
    "one free": (copper, lambda atoms: FixAtoms(range(31)), 3, 0),
    "half fixed": (copper, lambda atoms: FixCartesian([0, 1], [True, False, False]), 94, 2),
    "scaled": (slab, lambda atoms: FixScaled([0, 1], [False, False, True]), 34, 2),
    "plane": (copper, lambda atoms: FixedPlane(range(32), [0, 0, 1]), 64, 2),
    "two planes": (
        copper,
        lambda atoms: [FixedPlane([0], [0, 0, 1]), FixedPlane([0], [1, 0, 0])],
        94,
        1,
    ),
    "line": (copper, lambda atoms: FixedLine([0, 1], [1, 1, 1]), 92, 1),
    "centre of mass": (copper, lambda atoms: FixCom(), 93, 0),
    "centre of mass in a plane": (
        copper,
        lambda atoms: [FixedPlane(range(32), [0, 0, 1]), FixCom()],
        62,
        0,
    ),
    "part of the centre of mass": (copper, lambda atoms: FixSubsetCom([0, 1, 2]), 93, 0),
    "bonds": (ethanol, lambda atoms: FixBondLengths([[0, 1], [1, 2]]), 25, 6),
    "a triangle of bonds": (copper, lambda atoms: FixBondLengths([[0, 1], [1, 2], [0, 2]]), 93, 3),
    "a bond twice": (copper, lambda atoms: 2 * [FixBondLengths([[0, 1]])], 95, 3),
    "a bond of fixed atoms": (
        copper,
        lambda atoms: [FixBondLengths([[0, 1]]), FixAtoms([0, 1])],
        90,
        0,
    ),
    "a bond and a fixed atom": (
        copper,
        lambda atoms: [FixBondLengths([[0, -31]]), FixAtoms([5])],
        92,
        0,
    ),
    "linear molecules": (dioxides, triatomic, 15, 6),
    "symmetry": (slab, FixSymmetry, 1, 0),
    "full symmetry": (lambda: bulk("NaCl", "rocksalt", 5.6, cubic=True), FixSymmetry, 0, 0),
    "internals": (equal_masses, lambda atoms: FixInternals(bonds=[[None, [0, 1]]]), 20, 0),
    "spring": (ethanol, lambda atoms: Hookean(0, 1, 5.0, 1.0), 27, 6),
    "springs to points": (
        ethanol,
        lambda atoms: [Hookean(k, atoms.positions[k] + 0.3, 3.0, 0.05) for k in range(4)],
        27,
        0,
    ),
    # rotations about the point are left
    "a spring to a point": (ethanol, lambda atoms: Hookean(0, (0.1, 0.2, 0.3), 3.0), 27, 3),
    # translations along the plane, and the rotation about its normal
    "a spring to a plane": (ethanol, lambda atoms: Hookean(0, (0, 0, 1, 2), 3.0), 27, 3),
    "springs of a crystal": (copper, lambda atoms: Hookean(0, (0, 0, 1, 2), 3.0), 96, 2),
    "mode": (copper, mode, 95, 2),
    "one atom of a molecule": (ethanol, lambda atoms: FixAtoms([0]), 24, 3),
    "two atoms of a molecule": (ethanol, lambda atoms: FixAtoms([0, 1]), 21, 1),
    "planes without a common symmetry": (
        ethanol,
        lambda atoms: [FixedPlane([0], [0, 0, 1]), FixedPlane([1], [1, 0, 0])],
        25,
        1,
    ),
    "overlap": (
        copper,
        lambda atoms: [
            FixAtoms([0, 1]),
            FixAtoms([1, 2]),
            FixCartesian([2, 3], [True, False, False]),
        ],
        86,
        0,
    ),
}


def constrained(make, constraints):
    atoms = make()
    atoms.set_constraint(constraints(atoms))
    motion.initialise(atoms)
    return atoms


@pytest.mark.parametrize("name", list(CASES))
def test_degrees_of_freedom_are_counted(name):
    make, constraints, count, rigid = CASES[name]
    atoms = constrained(make, constraints)
    motion.check(atoms)
    assert motion.count(atoms) == count
    assert len(motion.rigid_motions(atoms)) == rigid


@pytest.mark.parametrize("name", ["half fixed", "bonds", "linear molecules", "symmetry"])
def test_projected_momenta_share_the_kinetic_energy(name):
    make, constraints, count, _ = CASES[name]
    atoms = constrained(make, constraints)
    rng = np.random.default_rng(0)
    masses = atoms.get_masses()[:, None]
    twice = []
    for _ in range(200):
        momenta = motion.project(atoms, np.sqrt(masses) * rng.standard_normal((len(atoms), 3)))
        assert np.abs(motion.project(atoms, momenta) - momenta).max() < 1e-10
        twice.append((momenta**2 / masses).sum())
    assert np.mean(twice) == pytest.approx(count, abs=4 * np.sqrt(2 * count / 200))


@pytest.mark.parametrize(
    ("make", "constraints", "message"),
    [
        (
            copper,
            lambda atoms: [FixAtoms([0]), FixCom()],
            r"combination of constraints \(FixAtoms, FixCom\) cannot be used in dynamics",
        ),
        (
            copper,
            lambda atoms: [FixBondLengths([[0, 1]]), FixAtoms([0])],
            r"combination of constraints \(FixBondLengths, FixAtoms\) cannot",
        ),
        (
            copper,
            lambda atoms: [FixedPlane([0], [0, 0, 1]), FixedPlane([0], [1, 0, 1])],
            r"combination of constraints \(2 FixedPlane\) cannot",
        ),
        (slab, lambda atoms: FixScaled([0], [True, False, False]), "does not conserve energy"),
        (ethanol, lambda atoms: FixInternals(bonds=[[None, [0, 1]]]), "FixInternals cannot be"),
        (ethanol, lambda atoms: ExternalForce(0, 1, 0.5), "it adds to momenta"),
        (ethanol, lambda atoms: MirrorForce(0, 1), "MirrorForce cannot be used in dynamics"),
        (ethanol, mode, "FixedMode cannot be used in dynamics"),
        (
            lambda: bulk("Cu", cubic=True),
            lambda atoms: FixBondLengths([[0, 1]]),
            r"of atoms 0 and 1, 2\.55 A apart, in a cell whose shortest vector is 3\.61 A",
        ),
        (
            ethanol,
            lambda atoms: FixBondLengths([[0, 1]], bondlengths=[1.2]),
            r"does not satisfy its constraints \(FixBondLengths\), by 0\.1",
        ),
    ],
)
def test_what_ase_applies_wrongly_is_refused(make, constraints, message):
    atoms = make()
    atoms.set_constraint(constraints(atoms))
    with pytest.raises(ValueError, match=message):
        motion.check(atoms)
