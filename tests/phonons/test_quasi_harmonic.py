"""Quasi-harmonic approximation and Grueneisen parameters against independent numbers."""

import csv
import functools
import json

import ase.io
import numpy as np
import phonopy.qha.qha
import pytest
from ase import units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms
from typer.testing import CliRunner

from ase_pet import PETCalculator, phonons, shipped
from ase_pet.cli import app, qha
from ase_pet.phonons._free_energy_fits import fitted
from ase_pet.phonons._ranges import grid_of
from ase_pet.phonons._strained import relaxed_volumes
from ase_pet.phonons.quasi_harmonic import J_PER_MOL

MESH = (7, 7, 7)
KELVIN = [0.0, 10.0, 100.0, 300.0, 600.0]
STRAINS = [-0.01, 0.0, 0.01, 0.02, 0.03]
QUICK = {"mesh": MESH, "strains": STRAINS, "temperatures": KELVIN}


def copper(**more):
    atoms = bulk("Cu", a=3.6, **more)
    atoms.calc = EMT()
    return atoms


@pytest.fixture(scope="module")
def result():
    """Copper with EMT, whose forces reach 6 A only."""
    return phonons.quasi_harmonic(copper(), (2, 2, 2), **QUICK)


@pytest.fixture(scope="module")
def modes():
    """Mode Grueneisen parameters of copper."""
    return phonons.gruneisen(copper(), (2, 2, 2), mesh=MESH)


@functools.cache
def by_hand(strain):
    """Volume, energy and frequencies (q, modes) of copper at a strain of the EMT lattice."""
    atoms = copper()
    relaxed = phonons.relax(atoms).atoms
    relaxed.set_cell((1 + strain) * relaxed.cell, scale_atoms=True)
    spectrum = phonons.run(relaxed, (2, 2, 2), relaxed=False, mesh=MESH)
    mesh = spectrum.phonopy.mesh
    return relaxed.get_volume(), relaxed.get_potential_energy(), mesh.frequencies, mesh.weights


def test_static_equation_of_state_is_that_of_ase(result):
    state = phonons.equation_of_state(phonons.relax(copper()).atoms)
    assert result.static["volume"] == pytest.approx(state.volume, rel=1e-4)
    assert result.static["enthalpy"] == pytest.approx(state.energy, abs=1e-5)
    # other volumes and another form: vinet against Birch-Murnaghan
    assert result.static["bulk_modulus"] == pytest.approx(state.bulk_modulus, rel=0.01)


def test_free_energy_at_0_k_is_energy_and_zero_point_energy(result):
    one = result.volumes[1]
    volume, energy, frequencies, weights = by_hand(one.strain)
    assert one.primitive_volume == pytest.approx(volume, rel=1e-6)
    zero_point = units._hplanck * 1e12 / units._e * frequencies.clip(min=0).sum(axis=1) / 2
    expected = energy + np.average(zero_point, weights=weights)
    assert result.free_energies[0, 1] == pytest.approx(expected, abs=1e-5)
    assert result.volume[0] > result.static["volume"]  # zero-point expansion
    assert result.expansion[0] == 0
    assert np.isnan(result.gruneisen[0])


def test_properties_are_derivatives_of_the_gibbs_energy(result):
    """-dG/dT is the entropy, dS/dT the heat capacity over T, dV/dT the expansion."""
    near = phonons.quasi_harmonic(
        copper(), (2, 2, 2), **{**QUICK, "temperatures": [298.0, 300.0, 302.0]}
    )
    entropy = -(near.gibbs[2] - near.gibbs[0]) / 4 * J_PER_MOL
    assert near.entropy[1] == pytest.approx(entropy, rel=1e-4)
    heat = 300 * (near.entropy[2] - near.entropy[0]) / 4
    assert near.heat_capacity_p[1] == pytest.approx(heat, rel=1e-3)
    expansion = (near.volume[2] - near.volume[0]) / 4 / near.volume[1]
    assert near.expansion[1] == pytest.approx(expansion, rel=1e-3)
    # which temperatures are asked for does not matter
    assert near.expansion[1] == pytest.approx(result.expansion[3], rel=1e-3)
    assert near.volume[1] == pytest.approx(result.volume[3], rel=1e-6)


def test_thermodynamic_relations(result):
    """C_p - C_v = alpha^2 B V T, and the linear expansion is a third of that of the volume."""
    for row in range(1, len(KELVIN)):
        modulus = result.bulk_modulus[row] * units.GPa
        product = result.expansion[row] ** 2 * modulus * result.volume[row] * KELVIN[row]
        difference = result.heat_capacity_p[row] - result.heat_capacity_v[row]
        assert difference == pytest.approx(J_PER_MOL * product, rel=0.03, abs=1e-4)
    np.testing.assert_allclose(result.axial_expansion.sum(axis=1), result.expansion, rtol=0.01)
    np.testing.assert_allclose(result.lengths[:, 0] ** 3 / np.sqrt(2), result.volume, rtol=1e-4)
    # Dulong and Petit
    assert result.heat_capacity_v[-1] == pytest.approx(3 * units._k * units._Nav, rel=0.03)


def test_expansion_follows_from_the_mode_parameters(result, modes):
    """alpha = gamma C_v / (3 B V) for each length; gamma is that of the modes at V of 0 GPa."""
    for row, tolerance in ((2, 0.03), (3, 0.06)):
        gamma = modes.mean(KELVIN[row])
        modulus = result.bulk_modulus[row] * units.GPa
        capacity = result.heat_capacity_v[row] / J_PER_MOL
        linear = gamma * capacity / (3 * modulus * result.volume[row])
        assert result.axial_expansion[row, 0] == pytest.approx(linear, rel=tolerance)
        assert result.gruneisen[row] == pytest.approx(gamma, rel=tolerance)


def test_mode_parameters_are_finite_differences_of_frequencies(modes):
    smaller = by_hand(-0.003)
    larger = by_hand(0.003)
    _, _, frequencies, weights = by_hand(0.0)
    np.testing.assert_allclose(modes.frequencies, frequencies, atol=1e-3)
    np.testing.assert_array_equal(modes.weights, weights)
    change = np.log(larger[2][1:] / smaller[2][1:]) / np.log(larger[0] / smaller[0])
    np.testing.assert_allclose(modes.parameters[1:], -change, rtol=2e-3)
    # the acoustic modes at Gamma have none
    assert np.isnan(modes.parameters[0]).all()


def test_pressure_changes_volume_and_energy(result):
    pressed = phonons.quasi_harmonic(copper(), (2, 2, 2), pressure=5.0, **QUICK)
    row = KELVIN.index(300.0)
    assert pressed.volume[row] < result.volume[row]
    # the fit of the free energies at 0 GPa has this volume at 5 GPa: B_0 and B' from experience
    strain = np.log(pressed.volume[row] / result.volume[row])
    mean = (pressed.bulk_modulus[row] + result.bulk_modulus[row]) / 2
    assert -mean * strain == pytest.approx(5.0, rel=0.02)
    # dG = V dp
    volume = (pressed.volume[row] + result.volume[row]) / 2
    change = pressed.gibbs[row] - result.gibbs[row]
    assert change == pytest.approx(5.0 * units.GPa * volume, rel=0.005)


@pytest.mark.slow
@pytest.mark.skipif("silicon" not in shipped(), reason="silicon is not shipped")
def test_silicon_shrinks_when_cold():
    """As it does in nature, below 120 K: transverse acoustic modes soften under pressure."""
    atoms = bulk("Si", a=5.46)
    atoms.calc = PETCalculator("silicon", dtype="float64")
    result = phonons.quasi_harmonic(
        atoms, (2, 2, 2), mesh=(5, 5, 5), strains=STRAINS, temperatures=[80, 800]
    )
    assert result.expansion[0] < -3e-6
    assert 3e-6 < result.expansion[1] < 12e-6


@pytest.mark.parametrize("kelvin", [[0.0], [300.0], [0.0, 5.0, 10.0], [1.0, 300.0, 304.999999999]])
def test_every_temperature_has_neighbours(kelvin):
    grid = grid_of(np.array(kelvin))
    assert set(kelvin) <= set(grid)
    assert (np.diff(grid) > 1e-6).all()
    for temperature in kelvin:
        row = int(np.searchsorted(grid, temperature))
        assert row > 0 or temperature == 0
        assert row < len(grid) - 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"strains": [0.0, 0.01]}, "expected 5 or more"),
        ({"strains": [0.01, 0.0, 0.02, 0.03, 0.04]}, "`strains`: expected numbers in ascending"),
        ({"strains": [0.01, 0.02, 0.03, 0.04, np.nan]}, "`strains` are"),
        ({"strains": [0.02, 0.03, 0.04, 0.05, 0.06]}, "an end of `strains`"),
        ({"temperatures": [-1.0, 5.0]}, "none below 0"),
        ({"temperatures": [300.0, 200.0]}, "in ascending order"),
        ({"temperatures": [np.inf]}, "finite numbers"),
        ({"temperatures": []}, "finite numbers"),
        ({"pressure": np.nan}, "`pressure` is nan"),
        ({"displacement": 5.0}, "`displacement` is 5"),
        ({"mesh": (2.5, 3, 3)}, "`mesh` is"),
        ({"equation": "cubic"}, "valid choices are vinet, birch_murnaghan, murnaghan"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        phonons.quasi_harmonic(copper(), (2, 2, 2), **{**QUICK, **settings})


def test_a_layer_has_no_volume():
    atoms = copper()
    atoms.pbc = [True, True, False]
    with pytest.raises(ValueError, match="three periodic directions"):
        phonons.quasi_harmonic(atoms, (2, 2, 1), **QUICK)


@pytest.mark.slow
def test_temperatures_beyond_the_volumes_are_left_out():
    settings = {**QUICK, "temperatures": [300.0, 3000.0], "strains": np.linspace(-0.01, 0.01, 5)}
    message = "at 3000 K the free energy has its minimum .* 1 of 2 temperatures are left out"
    with pytest.warns(UserWarning, match=message):
        result = phonons.quasi_harmonic(copper(), (2, 2, 2), **settings)
    alone = phonons.quasi_harmonic(copper(), (2, 2, 2), **settings | {"temperatures": [300.0]})
    assert result.temperatures == [300.0]
    assert result.volume == alone.volume
    assert result.gibbs == alone.gibbs


def test_one_temperature_must_be_within_the_volumes():
    settings = {**QUICK, "temperatures": [3000.0], "strains": np.linspace(-0.01, 0.01, 5)}
    with pytest.raises(ValueError, match="at 3000 K the free energy has its minimum"):
        phonons.quasi_harmonic(copper(), (2, 2, 2), **settings)


def test_imaginary_modes_are_refused():
    """Body-centred copper is no minimum."""
    atoms = bulk("Cu", "bcc", a=2.9)
    atoms.calc = EMT()
    with pytest.raises(ValueError, match=r"imaginary modes at the strains -0\.01 \(-"):
        phonons.quasi_harmonic(atoms, (2, 2, 2), **QUICK)


def test_constraints_are_ignored_with_a_warning():
    atoms = copper()
    atoms.set_constraint(FixAtoms([0]))
    with pytest.warns(UserWarning, match="FixAtoms.* are ignored for phonons at several volumes"):
        (volume,) = relaxed_volumes(atoms, (2, 2, 2), [0.0])
    assert volume.energy == pytest.approx(phonons.relax(copper()).atoms.get_potential_energy())


def test_a_hexagonal_cell_relaxes_its_shape():
    """At constant volume c/a goes to its minimum: no stress that changes the shape is left."""
    atoms = bulk("Cu", "hcp", a=2.56, c=4.4)
    atoms.calc = EMT()
    volumes = relaxed_volumes(atoms, (2, 2, 2), [-0.01, 0.01])
    for one in volumes:
        stress = one.atoms.get_stress()
        assert stress[0] == pytest.approx(stress[2], abs=2e-5)
    change = volumes[1].atoms.get_volume() / volumes[0].atoms.get_volume()
    assert change == pytest.approx((1.01 / 0.99) ** 3, rel=1e-6)
    ratios = [one.atoms.cell.lengths()[2] / one.atoms.cell.lengths()[0] for one in volumes]
    assert np.ptp(ratios) > 1e-6


@pytest.mark.pictures
def test_files(result, modes, tmp_path):
    paths = phonons.write_quasi_harmonic(result, tmp_path, modes)
    assert sorted(path.name for path in paths) == [
        "gruneisen.csv",
        "gruneisen.png",
        "qha.csv",
        "qha.json",
        "qha.png",
    ]
    report = json.loads((tmp_path / "qha.json").read_text())
    assert report["volume_A3"] == pytest.approx(result.volume)
    assert report["gruneisen"][0] is None  # NaN is no JSON
    assert report["mode_gruneisen"]["mean"]["300_K"] == pytest.approx(modes.mean(300))
    with (tmp_path / "qha.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["temperature_K"]) for row in rows] == KELVIN
    assert rows[0]["gruneisen"] == ""
    expansion = float(rows[3]["thermal_expansion_1e-6_per_K"])
    assert expansion == pytest.approx(1e6 * result.expansion[3])
    with (tmp_path / "gruneisen.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == modes.parameters.size


def test_plots_name_their_curves(result, modes):
    free_energies = phonons.plot_quasi_harmonic(result).axes[0]
    named = [text.get_text() for text in free_energies.get_legend().get_texts()]
    assert named == [*(f"{kelvin:g} K" for kelvin in KELVIN), "minimum"]
    (axes,) = phonons.plot_gruneisen(modes).axes
    named = [text.get_text() for text in axes.get_legend().get_texts()]
    assert named[0] == "modes of the mesh"
    assert named[1].endswith(f"by heat capacity at 300 K: {modes.mean(300.0):.3f}")


def test_command(tmp_path):
    ase.io.write(tmp_path / "cu.cif", bulk("Cu", a=3.6))
    arguments = ["qha", "--calculator", "ase.calculators.emt:EMT", tmp_path / "cu.cif"]
    arguments += ["--supercell", "2,2,2", "--mesh", "3,3,3", "--temperatures", "0:300:100"]
    arguments += ["--strains=-0.01:0.03:0.01", "--output", tmp_path / "out"]
    done = CliRunner().invoke(app, [*map(str, arguments), "--gruneisen"], catch_exceptions=False)
    assert done.exit_code == 0
    assert "without phonons: 11.5" in done.stdout
    assert "mode Grueneisen parameters" in done.stdout
    report = json.loads((tmp_path / "out" / "qha.json").read_text())
    assert report["temperature_K"] == [0, 100, 200, 300]
    assert [one["strain"] for one in report["volumes"]] == pytest.approx(STRAINS)


def test_ranges_of_numbers():
    assert qha.numbers("strains", "-0.01:0.03:0.01") == STRAINS
    assert qha.numbers("temperatures", "0:1000:10") == list(range(0, 1001, 10))
    assert qha.numbers("temperatures", "300,600") == [300, 600]


@pytest.mark.parametrize(
    "text", ["", "a", "1:2", "2:1:1", "0:1:0", "0:inf:1", "0:1:1e-9", "1:2:3:4"]
)
def test_bad_ranges_are_refused(text):
    with pytest.raises(ValueError, match="`--strains`"):
        qha.numbers("strains", text)


def test_temperatures_without_a_fit_are_left_out(result, monkeypatch):
    """A crystal that is too hot for its equation of state keeps the results below."""
    fit = phonopy.qha.qha.fit_to_eos
    # free energies fall with the temperature: of 600 K and above there is no fit
    limit = result.free_energies[3:, 0].mean() - result.volumes[0].primitive_energy

    def failing(volumes, energies, equation):
        if energies[0] < limit:
            raise RuntimeError("no minimum")
        return fit(volumes, energies, equation)

    monkeypatch.setattr(phonopy.qha.qha, "fit_to_eos", failing)
    with pytest.warns(UserWarning, match="above 300 K .* 1 of 5 temperatures are left out"):
        found, rows = fitted(result.volumes, np.array(KELVIN), MESH, 0.0, "vinet")
    np.testing.assert_allclose(found.temperatures[rows], KELVIN[:4])
    np.testing.assert_allclose(found.equilibrium_volumes[rows], result.volume[:4], rtol=1e-6)
    np.testing.assert_allclose(found.thermal_expansion[rows], result.expansion[:4], rtol=1e-6)
    limit = np.inf
    with pytest.raises(ValueError, match="does not follow an equation of state"):
        fitted(result.volumes, np.array(KELVIN), MESH, 0.0, "vinet")
