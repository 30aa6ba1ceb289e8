"""Thermodynamics, paths, projected densities and LO-TO splitting, each against another way."""

import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.phonons import Phonons

from ase_pet import phonons
from ase_pet.phonons.write import ELEMENTS

SMALL = {"mesh": (6, 6, 6), "temperatures": [0, 100, 300]}
BORN = """default
5 0 0 0 5 0 0 0 5
1 0 0 0 1 0 0 0 1
-1 0 0 0 -1 0 0 0 -1
"""
CHARGE = 1.0  # of the file
EPSILON = 5.0


def copper(a=3.5898):
    atoms = bulk("Cu", a=a)
    atoms.calc = EMT()
    return atoms


def copper_gold():
    atoms = bulk("CuAu", "cesiumchloride", a=3.0)
    atoms.calc = EMT()
    return phonons.relax(atoms).atoms


@pytest.fixture(scope="module")
def spectrum():
    """Phonons of copper."""
    return phonons.run(copper(), (3, 3, 3), relaxed=False, **SMALL)


@pytest.fixture(scope="module")
def alloy():
    """Phonons of copper-gold without and with effective charges of 1 and -1."""
    return phonons.run(copper_gold(), (2, 2, 2), relaxed=False, **SMALL)


@pytest.fixture(scope="module")
def polar(tmp_path_factory):
    """The same with effective charges of 1 and -1, in a made-up file BORN."""
    path = tmp_path_factory.mktemp("born") / "BORN"
    path.write_text(BORN)
    options = {"nac": path, "path": "G,X,M,G,R", **SMALL}
    return phonons.run(copper_gold(), (2, 2, 2), relaxed=False, **options)


def test_bands_are_those_of_the_phonons_of_ase(spectrum, tmp_path):
    other = Phonons(copper(), EMT(), supercell=(4, 4, 4), delta=0.01, name=str(tmp_path / "ase"))
    other.run()
    other.read(acoustic=True)
    points = np.array([[0.5, 0, 0.5], [0.5, 0.5, 0.5], [0.25, 0, 0.25]])
    expected = other.band_structure(points) * units._e / units._hplanck / 1e12  # eV -> THz
    larger = phonons.run(copper(), (4, 4, 4), relaxed=False, **SMALL)
    found = larger.phonopy.run_qpoints(points).frequencies
    np.testing.assert_allclose(found, expected, atol=0.01)


def test_thermodynamics_are_sums_over_modes(spectrum):
    """Against the sum over all q-points of the mesh, written out, with constants of ASE."""
    points = np.array(np.meshgrid(*3 * [np.arange(6) / 6])).reshape(3, -1).T
    frequencies = spectrum.phonopy.run_qpoints(points).frequencies * 1e12
    quanta = frequencies[frequencies > 5e10] * units._hplanck / units._e  # eV
    assert spectrum.zero_point_energy() == pytest.approx(quanta.sum() / 2 / len(points), rel=1e-6)
    ratios = quanta / (units.kB * 300)
    modes = ratios**2 * np.exp(ratios) / (np.exp(ratios) - 1) ** 2
    joules = modes.sum() / len(points) * units._k * units._Nav
    assert spectrum.heat_capacity(300.0) == pytest.approx(joules, rel=1e-6)
    thermal = spectrum.thermal()
    assert thermal["temperature"] == [0, 100, 300]
    assert thermal["heat_capacity"][2] == pytest.approx(joules, rel=1e-4)
    assert thermal["free_energy"][0] == pytest.approx(
        spectrum.zero_point_energy() * units._e * units._Nav / 1000, rel=1e-4
    )


def test_the_debye_model_has_the_heat_capacity_of_the_crystal(spectrum):
    temperature = 400.0
    edge = spectrum.debye_temperature() / temperature
    x = np.linspace(1e-6, edge, 20001)
    integrand = x**4 * np.exp(x) / (np.exp(x) - 1) ** 2
    share = 3 / edge**3 * np.trapezoid(integrand, x)
    real = 1 - 1 / 6**3  # the three acoustic modes at one of 216 q-points are left out
    expected = 3 * units._k * units._Nav * share * real
    assert spectrum.heat_capacity(temperature) == pytest.approx(expected, rel=1e-3)


def test_densities_of_the_elements_add_up(alloy, tmp_path):
    frequencies = alloy.element_dos["frequency"]
    states = np.array([alloy.element_dos[name] for name in ("Cu", "Au")])
    # three modes for each of the two atoms
    np.testing.assert_allclose(np.trapezoid(states, frequencies), [3, 3], rtol=0.05)
    total = alloy.phonopy.total_dos
    summed = np.interp(total.frequency_points, frequencies, states.sum(0))
    assert np.linalg.norm(summed - total.dos) < 0.2 * np.linalg.norm(total.dos)
    # gold is heavier: it has the low frequencies
    means = states @ frequencies / states.sum(1)
    assert means[1] < 0.7 * means[0]
    phonons.write(alloy, tmp_path)
    assert np.loadtxt(tmp_path / ELEMENTS).shape == (len(frequencies), 3)
    legend = phonons.plot(alloy).axes[1].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["total", "Cu", "Au"]


def test_effective_charges_split_optical_modes_as_they_must(alloy, polar):
    """Lyddane, Sachs and Teller: w_LO^2 - w_TO^2 = Z^2 e^2 / (epsilon_0 epsilon V mu)."""
    alloy.phonopy.run_qpoints([[0, 0, 0]])
    transverse = alloy.phonopy.qpoints.frequencies[0]
    polar.phonopy.run_qpoints([[0, 0, 0]], nac_q_direction=[1, 0, 0])
    split = polar.phonopy.qpoints.frequencies[0]
    np.testing.assert_allclose(split[:5], transverse[:5], atol=1e-5)
    primitive = polar.crystal.primitive
    masses = primitive.get_masses() * units._amu
    reduced = masses.prod() / masses.sum()
    volume = primitive.get_volume() * 1e-30
    squares = (CHARGE * units._e) ** 2 / (units._eps0 * EPSILON * volume * reduced)
    expected = squares / (2 * np.pi * 1e12) ** 2  # THz^2
    assert split[5] ** 2 - transverse[5] ** 2 == pytest.approx(expected, rel=1e-5)
    # the bands have it at Gamma
    assert polar.phonopy.band_structure.frequencies[0][0][5] == pytest.approx(split[5])


@pytest.mark.parametrize(
    "text", ["", "1 2 3", BORN + "1 0 0 0 1 0 0 0 1\n", BORN.replace("5 0 0 0 5", "nan 0 0 0 5")]
)
def test_bad_files_of_charges_are_refused(text, tmp_path):
    (tmp_path / "BORN").write_text(text)
    with pytest.raises(ValueError, match="which is no BORN file of this crystal"):
        phonons.run(copper_gold(), (1, 1, 1), relaxed=False, nac=tmp_path / "BORN")
    for relaxed in (True, False):
        with pytest.raises(ValueError, match="o such file"):
            phonons.run(copper_gold(), (1, 1, 1), relaxed=relaxed, nac=tmp_path / "absent")


@pytest.mark.parametrize("basis", ["usual", "skewed"])
def test_points_have_their_names_in_any_primitive_cell(basis):
    """The same frequencies at X, L and K, whatever vectors span the lattice."""
    atoms = copper()
    vectors = {"usual": np.eye(3), "skewed": [[1, 0, 0], [1, 1, 0], [0, -1, 1]]}[basis]
    atoms.set_cell(np.array(vectors) @ atoms.cell)
    found = phonons.run(atoms, (2, 2, 2), relaxed=False, path="X,G,L|K,G", **SMALL)
    bands = found.phonopy.band_structure
    a = 3.5898
    cartesian = 2 * np.pi / a * np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.75, 0.75, 0]])
    cell = np.array(found.phonopy.primitive.cell)
    expected = found.phonopy.run_qpoints(cartesian @ cell.T / (2 * np.pi)).frequencies
    ends = [bands.frequencies[0][0], bands.frequencies[1][-1], bands.frequencies[2][0]]
    np.testing.assert_allclose(ends, expected, atol=1e-4)
    assert bands.labels == [
        r"$\mathrm{X}$",
        r"$\Gamma$",
        r"$\mathrm{L}$",
        r"$\mathrm{K}$",
        r"$\Gamma$",
    ]


def test_q_points_are_listed():
    points = phonons.q_points("0 0 0, 1/2 0 0.5")
    np.testing.assert_array_equal(points, [[0, 0, 0], [0.5, 0, 0.5]])
    found = phonons.run(copper(), relaxed=False, q_points=points, path="0 0 0, 1/2 0 1/2", **SMALL)
    listed = found.as_dict()["q_points"]
    assert listed[1]["q"] == [0.5, 0, 0.5]
    assert listed[1]["frequencies"] == pytest.approx(
        found.phonopy.band_structure.frequencies[0][-1].tolist(), abs=1e-6
    )
    assert found.phonopy.band_structure.labels == ["(0 0 0)", "(1/2 0 1/2)"]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("G", "expected two points or more"),
        ("G,,X", "expected two points or more"),
        ("G,Q", "valid names of this crystal are G, X, L"),
        ("G,G", "a line from GAMMA to itself"),
        ("0 0 0, 1/0 0 0", "expected three numbers for each"),
    ],
)
def test_bad_paths_are_refused(path, message):
    with pytest.raises(ValueError, match=message):
        phonons.run(copper(), relaxed=False, path=path)


def test_pressure_stiffens_the_modes():
    free = phonons.run(copper(), relaxed=False, **SMALL)
    pressed = phonons.run(copper(), pressure=10.0, **SMALL)
    relaxation = pressed.relaxation
    stress = relaxation.atoms.get_stress() / units.GPa
    np.testing.assert_allclose(stress, [-10, -10, -10, 0, 0, 0], atol=0.01)
    assert relaxation.as_dict()["pressure"] == 10.0
    assert pressed.frequencies.max() > free.frequencies.max() + 0.3
    with pytest.raises(ValueError, match="`pressure` is that of a relaxation"):
        phonons.run(copper(), relaxed=False, pressure=1.0)


def test_elastic_constants_under_pressure_give_the_slope_of_the_pressure():
    """B = -V dP/dV from stresses alone, against the elastic constants and the energies."""
    at = {value: phonons.relax(copper(), pressure=value).atoms for value in (9.9, 10.0, 10.1)}
    volumes = {value: atoms.get_volume() for value, atoms in at.items()}
    expected = -volumes[10.0] * 0.2 / (volumes[10.1] - volumes[9.9])
    elasticity = phonons.elastic(at[10.0], pressure=10.0)
    assert elasticity.stress < 0.01
    assert elasticity.asymmetry < 0.05
    assert elasticity.moduli()["bulk_hill"] == pytest.approx(expected, rel=0.005)
    state = phonons.equation_of_state(at[10.0], points=7, pressure=10.0)
    assert state.bulk_modulus == pytest.approx(expected, rel=0.01)
    assert state.volume == pytest.approx(volumes[10.0], rel=1e-3)
