"""Analysis of trajectories: known answers, all kinds of files, bad input, files written."""

import json
import re

import ase.io
import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.geometry.rdf import get_rdf
from ase.md.analysis import DiffusionCoefficient

from ase_pet import analysis, md, statistics
from ase_pet.md import report, thermo

pytestmark = pytest.mark.filterwarnings("error")


def trajectory(frames, path, **values):
    ase.io.write(path, frames)
    return analysis.read(path, **values)


def with_times(frames, interval):
    for index, atoms in enumerate(frames):
        atoms.info["time_ps"] = interval * index
    return frames


def value(results, name):
    return results.values[name]["value"]


# Structure


def test_ideal_gas_has_g_of_one(tmp_path):
    rng = np.random.default_rng(0)
    gas = [Atoms("Ar300", 20 * rng.random((300, 3)), cell=[20] * 3, pbc=True) for _ in range(12)]
    found = analysis.radial_distribution(trajectory(gas, tmp_path / "gas.traj"), 9.0, 0.5)
    late = found.table["r_A"] > 2
    # (N - 1) / N of the density are other atoms
    assert found.table["Ar-Ar_g"][late] == pytest.approx(299 / 300, abs=0.06)
    assert found.table["Ar-Ar_g"][late].mean() == pytest.approx(299 / 300, abs=0.01)


def test_distributions_are_those_of_ase(tmp_path):
    rng = np.random.default_rng(1)
    frames = []
    for scale in (1.0, 1.02):
        atoms = bulk("NaCl", "rocksalt", a=5.64 * scale, cubic=True).repeat(2)
        atoms.positions += 0.1 * rng.normal(size=atoms.positions.shape)
        frames.append(atoms)
    found = analysis.radial_distribution(trajectory(frames, tmp_path / "salt.traj"), 5.0, 0.1)
    for pair in (("Cl", "Cl"), ("Cl", "Na"), ("Na", "Na")):
        expected = np.mean([get_rdf(atoms, 5.0, 50, elements=pair)[0] for atoms in frames], axis=0)
        shells = np.diff((0.1 * np.arange(51)) ** 3) * 4 / 3 * np.pi
        ours = found.table[f"{pair[0]}-{pair[1]}_g"]
        assert np.sum(ours * shells) == pytest.approx(np.sum(expected * shells), rel=0.02)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: bulk("Cu", cubic=True).repeat(2), {"coordination of Cu by Cu": 12}),
        (lambda: bulk("Si", cubic=True), {"coordination of Si by Si": 4}),
        (lambda: bulk("Cu"), {"coordination of Cu by Cu": 12}),
        (
            lambda: bulk("CsCl", "cesiumchloride", a=4.12).repeat(3),
            {"coordination of Cl by Cs": 8, "coordination of Cs by Cl": 8},
        ),
    ],
)
def test_coordination_numbers_of_crystals(make, expected, tmp_path):
    found = analysis.radial_distribution(trajectory([make()] * 25, tmp_path / "crystal.traj"))
    assert {name: value(found, name) for name in expected} == expected
    assert found.values[next(iter(expected))]["error"] is None  # it is constant


def test_unequal_numbers_of_elements(tmp_path):
    quartz = bulk("CaF2", "fluorite", a=5.46, cubic=True)
    found = analysis.radial_distribution(trajectory([quartz] * 2, tmp_path / "fluorite.traj"))
    assert value(found, "coordination of Ca by F") == 8
    assert value(found, "coordination of F by Ca") == 4


def test_molecules_have_neighbours_and_no_density(tmp_path):
    found = analysis.radial_distribution(
        trajectory([molecule("CH3CH2OH")] * 2, tmp_path / "ethanol.xyz"), 5.0, 0.05
    )
    total = found.table["H-O_per_A"].sum() * 0.05
    assert total == pytest.approx(1)  # one oxygen atom for each hydrogen atom


# Motion


def walk(rng, frames=800, atoms=40, width=0.1):
    """Random walk of independent atoms, wrapped into the cell: D = width^2 / (2 interval)."""
    steps = width * rng.normal(size=(frames, atoms, 3))
    positions = np.cumsum(steps, axis=0) + 10 * rng.random((atoms, 3))
    images = [Atoms(f"Ar{atoms}", place, cell=[10] * 3, pbc=True) for place in positions]
    for image in images:
        image.wrap()
    return with_times(images, 0.01)


def test_random_walk_has_its_diffusion_coefficient(tmp_path):
    exact = 1e-4 * 0.1**2 / (2 * 0.01) * 39 / 40  # cm^2/s; without the centre of mass
    deviations = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        found = analysis.mean_square_displacement(trajectory(walk(rng), tmp_path / "walk.traj"))
        result = found.values["diffusion coefficient of Ar (cm^2/s)"]
        assert result["value"] == pytest.approx(exact, rel=0.25)
        deviations.append((result["value"] - exact) / result["error"])
    assert np.abs(deviations).max() < 4
    assert np.mean(np.square(deviations)) < 4
    slope = found.table["Ar_A2"][20] / found.table["time_ps"][20]
    assert slope == pytest.approx(6 * 1e4 * exact, rel=0.15)


def test_displacements_are_those_of_ase(tmp_path):
    """One origin and no centre of mass: `DiffusionCoefficient` of unwrapped positions."""
    rng = np.random.default_rng(5)
    steps = 0.1 * rng.normal(size=(200, 10, 3))
    steps -= steps.mean(axis=1, keepdims=True)
    frames = [Atoms("Ar10", place) for place in np.cumsum(steps, axis=0)]
    reference = DiffusionCoefficient(frames, 10 * units.fs)
    reference.calculate()
    expected = np.mean(reference.slopes) / 2  # A^2 in ASE's unit of time
    found = analysis.mean_square_displacement(
        trajectory(with_times(frames, 0.01), tmp_path / "walk.traj")
    )
    ours = value(found, "diffusion coefficient of Ar (cm^2/s)")
    # both estimate D = 0.1^2 / 2 in A^2 per frame, ASE from one origin
    assert ours * 1e4 * 0.01 == pytest.approx(0.9 * 0.005, rel=0.3)
    assert expected * 10 * units.fs == pytest.approx(0.9 * 0.005, rel=0.6)


def test_a_changing_cell_is_no_diffusion(tmp_path):
    frames = []
    for index in range(160):
        atoms = bulk("Cu", cubic=True)
        atoms.set_cell(atoms.cell * (1 + 0.02 * np.sin(index)), scale_atoms=True)
        frames.append(atoms)
    found = analysis.mean_square_displacement(
        trajectory(with_times(frames, 0.01), tmp_path / "breathing.traj")
    )
    assert found.table["Cu_A2"].max() < 1e-12
    assert "do not move" in found.notes[0]


def oscillator(frequency, frames=800, interval=0.004, momenta=True):
    """Two atoms of a spring in a box: frequency in THz, interval in ps."""
    times = interval * np.arange(frames)
    images = []
    for time in times:
        phase = 2 * np.pi * frequency * time
        atoms = Atoms("Ar2", [[3, 5, 5], [7, 5, 5]], cell=[10] * 3, pbc=True)
        atoms.positions[:, 0] += np.array([-0.1, 0.1]) * np.sin(phase)
        speed = 0.1 * 2 * np.pi * frequency * np.cos(phase) / (1000 * units.fs)
        velocities = np.zeros((2, 3))
        velocities[:, 0] = [-speed, speed]
        atoms.set_velocities(velocities * momenta)
        images.append(atoms)
    return with_times(images, interval)


@pytest.mark.parametrize("momenta", [True, False])
def test_oscillator_has_a_peak_at_its_frequency(momenta, tmp_path):
    images = oscillator(8.0)
    for atoms in images:
        atoms.arrays = {
            name: array for name, array in atoms.arrays.items() if momenta or name != "momenta"
        }
    found = analysis.vibrational_density_of_states(trajectory(images, tmp_path / "spring.traj"))
    resolution = found.values["resolution (THz)"]
    assert found.values["strongest peak (THz)"] == pytest.approx(8.0, abs=resolution)
    assert found.values["strongest peak (1/cm)"] == pytest.approx(266.85, rel=0.1)
    area = np.trapezoid(found.table["total_per_THz"], found.table["frequency_THz"])
    assert area == pytest.approx(found.values["degrees of freedom"]) == 3


# Thermodynamics


def harmonic(rng, count=3000, temperature=300, atoms=8):
    """Frames of classical harmonic oscillators in nvt, independent of each other."""
    frames = []
    for _ in range(count):
        image = Atoms(f"Ar{atoms}", np.zeros((atoms, 3)))
        image.set_momenta(
            rng.normal(size=(atoms, 3))
            * np.sqrt(units.kB * temperature * image.get_masses())[:, None]
        )
        energy = units.kB * temperature * rng.chisquare(3 * atoms) / 2
        image.calc = SinglePointCalculator(image, energy=energy)
        frames.append(image)
    return with_times(frames, 0.1)


def test_harmonic_heat_capacity_is_3k(tmp_path):
    read = trajectory(
        harmonic(np.random.default_rng(0), 1500), tmp_path / "nvt.traj", ensemble="nvt"
    )
    result = analysis.heat_capacity(read, 0.0).values["C_V (k per atom)"]
    # (3N - 3) of 3N degrees of freedom count in the temperature of a file
    temperature = (24 / 21) ** -2
    assert 0 < result["error"] < 0.3
    assert result["value"] == pytest.approx(3 * temperature, abs=4 * result["error"])


def test_heat_capacity_in_nve(tmp_path):
    """Harmonic motion in nve: <dK^2> / <K>^2 = (2 / f) (1 - 1 / 2)."""
    rng = np.random.default_rng(1)
    degrees = 24
    frames = []
    for _ in range(1200):
        # kinetic share of a random point on the energy shell
        share = rng.beta(degrees / 2, degrees / 2)
        atoms = Atoms("Ar9", np.zeros((9, 3)), cell=[9] * 3, pbc=True)
        momenta = rng.normal(size=(9, 3))
        momenta -= momenta.mean(axis=0)
        atoms.set_momenta(momenta)
        atoms.set_momenta(momenta * np.sqrt(share / atoms.get_kinetic_energy()))
        atoms.calc = SinglePointCalculator(atoms, energy=1 - share)
        frames.append(atoms)
    read = trajectory(with_times(frames, 0.1), tmp_path / "nve.traj", ensemble="nve")
    result = analysis.heat_capacity(read, 0.0).values["C_V (k per atom)"]
    assert result["value"] == pytest.approx(24 / 9, abs=4 * result["error"])
    assert result["error"] < 0.4


def expanding(kelvin, rng, count=300):
    """Frames with a volume of 1000 (1 + 5e-5 (T - 300)) A^3 and its fluctuations."""
    frames = []
    for _ in range(count):
        volume = 1000 * (1 + 5e-5 * (kelvin - 300)) * (1 + 0.002 * rng.normal())
        atoms = Atoms("Ar8", np.zeros((8, 3)), cell=[volume ** (1 / 3)] * 3, pbc=True)
        momenta = rng.normal(size=(8, 3)) * np.sqrt(units.kB * kelvin * atoms.get_masses())[:, None]
        atoms.set_momenta(momenta - momenta.mean(axis=0))
        frames.append(atoms)
    return with_times(frames, 0.1)


def test_thermal_expansion_of_several_runs(tmp_path):
    rng = np.random.default_rng(2)
    runs = [
        trajectory(expanding(kelvin, rng), tmp_path / f"{kelvin}.traj")
        for kelvin in (300, 500, 700)
    ]
    found = analysis.thermal_expansion(runs)
    result = found.values["volumetric expansion (1/K)"]
    assert result["value"] == pytest.approx(5e-5, abs=4 * result["error"])
    assert result["error"] < 2e-6
    linear = found.values["linear expansion (1/K)"]["value"]
    assert linear == pytest.approx(result["value"] / 3, rel=1e-3)
    with pytest.raises(ValueError, match="two or more temperatures"):
        analysis.thermal_expansion(runs[:1] * 2)


def test_density_and_lattice(tmp_path):
    frames = with_times([bulk("Cu", cubic=True)] * 30, 0.1)
    means, begin = analysis.averages(trajectory(frames, tmp_path / "copper.traj", interval=5))
    assert begin == 0
    assert means.values["density (g/cm^3)"]["value"] == pytest.approx(8.97, abs=0.01)
    assert means.values["a (A)"] == {"value": 3.61, "error": None, "note": "constant"}


# Files


@pytest.mark.parametrize("name", ["run.traj", "run.extxyz"])
def test_files_of_ase_are_analysed_and_written(name, tmp_path):
    read = trajectory(walk(np.random.default_rng(0), 120, 8), tmp_path / name)
    results = analysis.analyse(read)
    assert set(results.analyses) == {"averages", "rdf", "msd", "vdos"}
    assert "needs energies and momenta" in results.skipped["heat_capacity"]
    paths = results.write(tmp_path / "analysis")
    written = {path.name for path in paths}
    assert {"analysis.json", "rdf.csv", "rdf.png", "rdf.json", "msd.csv", "msd.png"} <= written
    report = json.loads((tmp_path / "analysis" / "analysis.json").read_text())
    assert report["frames"] == 120
    # units are in brackets, as in plots, and not a part of the name, as in columns
    names = [name for each in results.analyses.values() for name in each.values]
    assert "volume (A^3)" in names
    assert [name for name in names if re.search(r"_(K|GPa|A3|eV|per)|cm2", name)] == []
    table = np.genfromtxt(tmp_path / "analysis" / "msd.csv", delimiter=",", names=True)
    assert table["time_ps"][1] == pytest.approx(0.01)


def test_a_pattern_joins_files(tmp_path):
    frames = walk(np.random.default_rng(0), 30, 4)
    ase.io.write(tmp_path / "part1.traj", frames[:10])
    ase.io.write(tmp_path / "part2.traj", frames[10:])
    read = analysis.read(tmp_path / "part*.traj")
    assert len(read) == 30
    assert read.interval == pytest.approx(0.01)


# Bad input


def bad_frames(change):
    frames = [bulk("Cu", cubic=True) for _ in range(3)]
    return change(frames)


def moved(frames):
    frames[1].positions[0, 0] = np.nan
    return frames


def shrunk(frames):
    del frames[2][0]
    return frames


def timed(frames):
    frames[1].info["time_ps"] = "soon"
    return frames


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (timed, "frame 1 has `time_ps` 'soon' in its info: expected a number"),
        (lambda frames: frames[:1], "has 1 frame: expected two or more"),
        (moved, "frame 1 has positions or a cell that are not finite"),
        (shrunk, "frame 2 has the atoms Cu3, and frame 0 Cu4"),
    ],
)
def test_bad_trajectories_are_refused(change, message, tmp_path):
    ase.io.write(tmp_path / "bad.traj", bad_frames(change))
    with pytest.raises(ValueError, match=message):
        analysis.read(tmp_path / "bad.traj")


def test_vibrations_without_momenta_need_frames_that_are_close(tmp_path):
    water = with_times([molecule("H2O") for _ in range(30)], 0.01)
    read = trajectory(water, tmp_path / "water.traj")
    with pytest.raises(ValueError, match=r"without momenta: frames every 10 fs show .* 3\.7 fs"):
        analysis.vibrational_density_of_states(read)


def test_missing_information_is_named(tmp_path):
    read = trajectory([bulk("Cu", cubic=True)] * 30, tmp_path / "still.traj")
    with pytest.raises(ValueError, match="needs the time between frames"):
        analysis.mean_square_displacement(read)
    with pytest.raises(ValueError, match="needs energies and momenta"):
        analysis.heat_capacity(read, 0)
    with pytest.raises(FileNotFoundError, match="No such file or folder"):
        analysis.read(tmp_path / "none.traj")
    for interval in (0, -1, np.nan):
        with pytest.raises(ValueError, match="`interval`"):
            analysis.read(tmp_path / "still.traj", interval=interval)
    for cutoff in (0, np.nan, np.inf, 1e9):
        with pytest.raises(ValueError, match="`cutoff`|`width`"):
            analysis.analyse(read, cutoff=cutoff)
    with pytest.raises(ValueError, match="valid choices are nve, nvt, npt"):
        analysis.read(tmp_path / "still.traj", ensemble="nph")


def test_frames_too_far_apart_are_named(tmp_path):
    images = oscillator(8.0, 64, interval=0.1)
    read = trajectory(images, tmp_path / "coarse.traj")
    with pytest.warns(UserWarning, match="frames every 100 fs show frequencies up to 5.0 THz"):
        analysis.vibrational_density_of_states(read)
    jumps = walk(np.random.default_rng(0), 100, 4, width=3.0)
    with pytest.warns(UserWarning, match="too far apart to follow"):
        analysis.mean_square_displacement(trajectory(jumps, tmp_path / "jumps.traj"))


def test_a_drifting_trajectory_is_named(tmp_path):
    frames = []
    rng = np.random.default_rng(0)
    for index in range(60):
        atoms = bulk("Cu", cubic=True)
        atoms.set_cell(atoms.cell * (1 + 0.002 * index + 1e-4 * rng.normal()), scale_atoms=True)
        frames.append(atoms)
    read = trajectory(with_times(frames, 0.01), tmp_path / "drift.traj")
    with pytest.warns(UserWarning, match="still drifts"):
        results = analysis.analyse(read)
    assert results.equilibrated_from is None
    assert results.analyses["averages"].values["volume (A^3)"]["error"] is None


def heated(rng, rows=120):
    """Frames whose temperature rises; the volume fluctuates about the same value."""
    frames = []
    for index in range(rows):
        atoms = bulk("Cu", cubic=True).repeat((2, 2, 1))
        atoms.set_cell(atoms.cell * (1 + 1e-3 * rng.normal()), scale_atoms=True)
        scale = np.sqrt(units.kB * (300 + 5 * index) * atoms.get_masses())
        atoms.set_momenta(scale[:, None] * rng.normal(size=(len(atoms), 3)))
        frames.append(atoms)
    return with_times(frames, 0.01)


def test_a_run_whose_temperature_drifts_has_no_means(tmp_path):
    read = trajectory(heated(np.random.default_rng(0)), tmp_path / "heat.traj")
    with pytest.warns(UserWarning, match="still drifts"):
        results = analysis.analyse(read)
    values = results.analyses["averages"].values
    for name in ("temperature (K)", "volume (A^3)", "density (g/cm^3)", "a (A)"):
        assert values[name] == {"value": None, "error": None, "note": statistics.DRIFTING}
        assert report.text(values[name]) == statistics.DRIFTING
    assert values["alpha (deg)"]["value"] == 90


def test_a_ramp_has_no_means_and_no_error_bars(tmp_path):
    atoms = bulk("Cu", cubic=True)
    atoms.calc = EMT()
    md.run(
        atoms,
        tmp_path / "ramp",
        ensemble="nvt",
        temperature=(300, 600),
        time=1.0,
        ramp_time=1.0,
        timestep=5,
        interval=4,
        thermo_interval=2,
    )
    with pytest.warns(UserWarning, match="temperature ramp: structure and motion"):
        results = analysis.analyse(tmp_path / "ramp")
    values = results.analyses["averages"].values
    for name in ("temperature (K)", "pressure (GPa)", "total energy (eV)"):
        assert values[name] == {"value": None, "error": None, "note": "temperature ramp"}
    coordination = results.analyses["rdf"].values["coordination of Cu by Cu"]
    assert coordination["error"] is None
    table = thermo.summary(thermo.read(tmp_path / "ramp"), 4)
    assert set(table["notes"].values()) == {"temperature ramp", "constant"}
    assert "error_pressure_GPa" not in table


def test_few_frames_are_one_sentence_and_no_warning(tmp_path):
    frames = with_times([bulk("Cu", cubic=True) for _ in range(4)], 0.01)
    results = analysis.analyse(trajectory(frames, tmp_path / "few.traj"))
    reason = results.skipped["msd"]
    assert reason.startswith("too few frames (4): ")
    assert reason.endswith("lower --interval of the run")
    assert results.skipped["vdos"] == reason


def test_frames_that_are_not_even_in_time_are_named_once(tmp_path):
    frames = with_times([bulk("Cu", cubic=True) for _ in range(30)], 0.01)
    frames[-1].info["time_ps"] += 0.5
    results = analysis.analyse(trajectory(frames, tmp_path / "uneven.traj"))
    reason = "the frames are not evenly spaced in time (`time_ps`): expected frames at one interval"
    assert (results.skipped["msd"], results.skipped["vdos"]) == (reason, reason)


def test_a_crystal_of_a_short_run_stays_at_its_places(tmp_path):
    """Displacements grow as the square of the time before the first turn of an atom."""
    atoms = bulk("Si", cubic=True)
    velocities = np.random.default_rng(0).normal(size=(8, 3))
    frames = []
    for index in range(100):
        frame = atoms.copy()
        frame.positions += 0.1 * velocities * np.sin(0.02 * index)
        frames.append(frame)
    frames = with_times(frames, 0.005)
    found = analysis.mean_square_displacement(trajectory(frames, tmp_path / "short.traj"))
    assert found.values == {}
    assert found.notes == ("Si: no diffusion coefficient: the atoms stay near their places",)


def test_a_short_run_resolves_no_more_than_it_can(tmp_path):
    images = oscillator(8.0, frames=60)
    found = analysis.vibrational_density_of_states(trajectory(images, tmp_path / "short.traj"))
    assert found.values["resolution (THz)"] == 16
    assert found.values["strongest peak (1/cm)"] % 100 == 0
    assert "99.9 % of the states below (THz)" not in found.values
    assert "vibrations are resolved to 16 THz (521/cm)" in found.notes[0]


def test_legends_have_whole_names(tmp_path):
    images = [bulk("NaCl", "rocksalt", a=5.64, cubic=True) for _ in range(40)]
    read = trajectory(with_times(images, 0.01), tmp_path / "salt.traj")
    axes = analysis.radial_distribution(read).draw().axes[0]
    labels = axes.get_legend_handles_labels()[1]
    assert labels[:3] == ["Cl-Cl", "Cl-Na", "Na-Na"]
    found = analysis.vibrational_density_of_states(
        trajectory(oscillator(8.0), tmp_path / "spring.traj")
    )
    panels = found.draw().axes
    assert len(panels) == 1
    above = panels[0].child_axes[0]
    assert above.get_xlabel() == "wavenumber (1/cm)"
