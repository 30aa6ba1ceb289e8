"""i-PI with calculators of this package: one bead is ASE, several beads conserve."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import units
from ase.build import bulk, molecule
from ase.calculators.socketio import SocketIOCalculator
from ase.md.velocitydistribution import thermalize_momenta
from ase.md.verlet import VelocityVerlet
from typer.testing import CliRunner

import toys
from ase_pet import PETCalculator
from ase_pet.cli import app
from paths import ROOT

ipi = pytest.importorskip("ipi", reason="needs i-PI (extra `engines`)")
from ipi.utils.units import unit_to_internal, unit_to_user  # noqa: E402

from ase_pet.engines import ipi as engine  # noqa: E402

OPTIONS = {"dtype": "float64", "device": "cpu"}
INPUT = """<simulation verbosity="low" threading="False">
 <output prefix="run">
  <properties stride="1" filename="out">
   [step, conserved{{electronvolt}}, potential{{electronvolt}}, kinetic_md{{electronvolt}}]
  </properties>
 </output>
 <total_steps>{steps}</total_steps><prng><seed>31</seed></prng>
 <ffdirect name="f" threaded="False"><pes>custom</pes><pes_path>{path}</pes_path>
  <parameters>{{template: start.xyz, model: silicon, dtype: float64, device: cpu}}</parameters>
 </ffdirect>
 <system>
  <initialize nbeads="{beads}"><file mode="ase" units="angstrom">start.xyz</file>{velocities}
  </initialize>
  <forces><force forcefield="f"/></forces>
  <ensemble><temperature units="kelvin">300</temperature></ensemble>
  <motion mode="dynamics"><dynamics mode="nve">
   <timestep units="femtosecond">{step}</timestep></dynamics></motion>
 </system>
</simulation>"""


def start():
    """Silicon in an upright cell, as i-PI wants it."""
    atoms = bulk("Si", cubic=True, a=5.45)
    rng = np.random.default_rng(3)
    atoms.rattle(0.02, rng=rng)
    thermalize_momenta(atoms, 300, rng=rng)
    return atoms


def run(folder, atoms, beads, steps, velocities, step=1.0):
    """Rows of i-PI's output: step, conserved quantity, potential and kinetic energy in eV."""
    ase.io.write(folder / "start.xyz", atoms, format="extxyz")
    text = INPUT.format(
        beads=beads, steps=steps, path=engine.__file__, velocities=velocities, step=step
    )
    (folder / "input.xml").write_text(text)
    command = [sys.executable, "-c", RUN, "input.xml"]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, env=ENVIRONMENT
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return np.loadtxt(folder / "run.out")


ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
RUN = """
import sys
from ipi.engine.simulation import Simulation
simulation = Simulation.load_from_xml(open(sys.argv[1]))
simulation.run()
"""


def of_driver(driver, structures):
    """Energies (eV), forces (eV/A) and virials (eV) that a driver returns."""
    cells = [unit_to_internal("length", "angstrom", atoms.cell.array.T) for atoms in structures]
    positions = [unit_to_internal("length", "angstrom", atoms.positions) for atoms in structures]
    results = []
    for energy, forces, virial, _ in driver(cells, positions):
        results.append(
            (
                unit_to_user("energy", "electronvolt", energy),
                unit_to_user("force", "ev/ang", forces),
                unit_to_user("energy", "electronvolt", virial),
            )
        )
    return results


@pytest.mark.parametrize("count", [1, 3])
def test_the_driver_returns_what_ase_does(tmp_path, count):
    structures = [start() for _ in range(count)]
    for k, atoms in enumerate(structures):
        atoms.rattle(0.01, seed=k)
    ase.io.write(tmp_path / "start.xyz", structures[0], format="extxyz")
    driver = engine.Driver(tmp_path / "start.xyz", "silicon", **OPTIONS)
    calculator = PETCalculator("silicon", **OPTIONS)
    for atoms, (energy, forces, virial) in zip(
        structures, of_driver(driver, structures), strict=True
    ):
        atoms.calc = calculator
        assert energy == pytest.approx(atoms.get_potential_energy(), rel=1e-12)
        np.testing.assert_allclose(forces, atoms.get_forces(), atol=1e-11)
        stress = atoms.get_stress(voigt=False)
        np.testing.assert_allclose(
            np.reshape(virial, (3, 3)), -stress * atoms.get_volume(), atol=1e-9
        )


def test_molecules_have_no_virial(tmp_path):
    ase.io.write(tmp_path / "start.xyz", toys.ethanol(), format="extxyz")
    driver = engine.Driver(tmp_path / "start.xyz", "ethanol", **OPTIONS)
    assert driver.capabilities == ["energy", "forces"]


@pytest.mark.slow
def test_one_bead_is_ase(tmp_path):
    """Energies are the same to the digits that i-PI writes."""
    atoms = start()
    atoms.set_momenta(np.zeros((len(atoms), 3)))
    rows = run(tmp_path, atoms, 1, 50, "")
    atoms.calc = PETCalculator("silicon", **OPTIONS)
    dynamics = VelocityVerlet(atoms, 1.0 * units.fs)
    energies = []
    dynamics.attach(lambda: energies.append(atoms.get_potential_energy()))
    dynamics.run(50)
    np.testing.assert_allclose(rows[:, 2], energies, rtol=0, atol=6e-6)
    assert np.ptp(rows[:, 2]) > 1e-2


@pytest.mark.slow
def test_four_beads_conserve(tmp_path):
    """Path integrals: the drift of the conserved quantity falls as the square of the step."""
    drifts = {}
    for step, steps in ((1.0, 20), (0.5, 40)):
        folder = tmp_path / str(step)
        folder.mkdir()
        velocities = '<velocities mode="thermal" units="kelvin">300</velocities>'
        rows = run(folder, start(), 4, steps, velocities, step)
        drifts[step] = np.ptp(rows[:, 1])
        assert np.ptp(rows[:, 2]) > 20 * drifts[step]
    assert drifts[0.5] < 0.4 * drifts[1.0]


def test_the_command_serves_a_socket(tmp_path):
    atoms = start()
    ase.io.write(tmp_path / "start.xyz", atoms, format="extxyz")
    name = tmp_path.name
    results = []

    def ask():
        moved = start()
        with SocketIOCalculator(unixsocket=name, timeout=60) as server:
            moved.calc = server
            for _ in range(2):
                moved.positions[0] += 0.01
                results.append((moved.get_forces(), moved.get_stress()))

    server = threading.Thread(target=ask)
    server.start()
    arguments = ["ipi", "silicon", str(tmp_path / "start.xyz"), "--unix", "--address", name]
    while not Path(f"/tmp/ipi_{name}").exists():
        time.sleep(0.05)
    done = CliRunner().invoke(app, [*arguments, "--dtype", "float64", "--device", "cpu"])
    assert done.exit_code == 0, done.output
    server.join(60)
    atoms.calc = PETCalculator("silicon", **OPTIONS)
    atoms.positions[0] += 0.02
    np.testing.assert_allclose(results[1][0], atoms.get_forces(), atol=1e-6)
    np.testing.assert_allclose(results[1][1], atoms.get_stress(), atol=1e-8)


def test_a_socket_that_nobody_opened_is_an_error(tmp_path):
    ase.io.write(tmp_path / "start.xyz", start(), format="extxyz")
    arguments = ["ipi", "silicon", str(tmp_path / "start.xyz"), "--unix", "--address", "nobody"]
    done = CliRunner().invoke(app, arguments)
    assert isinstance(done.exception, ValueError)
    assert "`--address` /tmp/ipi_nobody" in str(done.exception)


def test_elements_are_compared_before_i_pi_is_sought(tmp_path):
    ase.io.write(tmp_path / "water.xyz", molecule("H2O"))
    done = CliRunner().invoke(app, ["ipi", "silicon", str(tmp_path / "water.xyz"), "--unix"])
    assert "unsupported element H, O" in str(done.exception)
