"""The command `ase-pet analyse`, and the report of a run."""

import json
import re

import ase.io
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from typer.testing import CliRunner

from ase_pet import cli, md


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """Folder of a run in npt, at a time step between frames that shows the vibrations."""
    folder = tmp_path_factory.mktemp("runs") / "npt"
    atoms = bulk("Cu", cubic=True)
    atoms.calc = EMT()
    settings = {"ensemble": "npt", "temperature": 300, "thermostat_time": 50, "timestep": 5}
    md.run(atoms, folder, time=2.0, interval=4, barostat_time=300, thermo_interval=2, **settings)
    return folder


def call(*arguments):
    return CliRunner().invoke(cli.app, ["analyse", *map(str, arguments)])


@pytest.mark.pictures
def test_a_run_is_analysed_into_its_folder(run_folder):
    done = call(run_folder, "--html", "--skip", 0.1)
    assert done.exit_code == 0
    for text in ("Cu4, NPT (isotropic) 300 K, 0 GPa, EMT", "coordination of Cu by Cu", "12", "C_P"):
        assert text in done.stdout
    names = {path.name for path in (run_folder / "analysis").iterdir()}
    for name in ("averages", "rdf", "msd", "vdos"):
        assert {f"{name}.json", f"{name}.csv", f"{name}.png"} <= names
    assert {"analysis.json", "heat_capacity.json", "expansion.json"} <= names
    page = (run_folder / "report.html").read_text()
    assert page.count('src="data:image/png;base64,') == 5
    assert "vibrational density of states" in page


def test_json_of_a_file(run_folder, tmp_path):
    frames = ase.io.read(run_folder / "trajectory.traj", ":")
    ase.io.write(tmp_path / "copy.extxyz", frames)
    done = call(tmp_path / "copy.extxyz", "--json", "--skip", 0, "--timestep-between-frames", 20)
    report = json.loads(done.stdout)
    assert report["interval_ps"] == 0.02
    assert report["files"] == []
    assert report["skipped"]["heat_capacity"].startswith("the heat capacity needs the ensemble")
    assert list(tmp_path.iterdir()) == [tmp_path / "copy.extxyz"]


@pytest.mark.pictures
def test_runs_at_several_temperatures_give_the_expansion(tmp_path):
    rng = np.random.default_rng(0)
    for kelvin in (300, 600):
        frames = []
        for index in range(60):
            atoms = bulk("Cu", cubic=True)
            atoms.set_cell(atoms.cell * (1 + 1e-5 * kelvin + 1e-4 * rng.normal()))
            atoms.set_momenta(0.05 * np.sqrt(kelvin) * rng.normal(size=(4, 3)))
            atoms.info["time_ps"] = 0.1 * index
            frames.append(atoms)
        ase.io.write(tmp_path / f"{kelvin}.traj", frames)
    output = tmp_path / "expansion"
    done = call(tmp_path / "300.traj", tmp_path / "600.traj", "--output", output)
    assert done.exit_code == 0
    assert "volumetric expansion" in done.stdout
    assert (output / "thermal_expansion.png").exists()


def test_bad_input_is_one_line(tmp_path):
    for arguments in ([tmp_path / "none.traj"], [tmp_path]):
        done = call(*arguments)
        assert isinstance(done.exception, OSError)


# The report


def test_report_is_one_page_with_all_that_matters(run_folder, tmp_path):
    page = md.report.write(run_folder, tmp_path).read_text()
    for text in ("Cu4, NPT (isotropic) 300 K", "mean temperature", "barostat_time", "EMT", "ase"):
        assert text in page
    # nothing is loaded from elsewhere
    assert re.findall(r'(?:src|href)="(?!data:)', page) == []
    assert 'name="viewport"' in page


def test_texts_of_files_are_escaped(run_folder, tmp_path):
    copy = tmp_path / "run"
    copy.mkdir()
    settings = (run_folder / "settings.toml").read_text()
    evil = "<script>alert(1)</script>$\\\\frac{"
    changed = settings.replace('"Cu4"', f'"{evil}"').replace("emt.EMT", f"emt.{evil}")
    (copy / "settings.toml").write_text(changed)
    (copy / "thermo.csv").write_bytes((run_folder / "thermo.csv").read_bytes())
    (tmp_path / "analysis.json").write_text(
        json.dumps(
            {
                "analyses": {"x": {"title": evil, "values": {evil: evil}, "notes": [evil]}},
                "skipped": {evil: evil},
            }
        )
    )
    page = md.report.write(copy, tmp_path).read_text()
    assert "<script>" not in page
    assert page.count("&lt;script&gt;") >= 6


def test_report_warns_of_what_is_not_equilibrated(run_folder, tmp_path):
    copy = tmp_path / "run"
    copy.mkdir()
    (copy / "settings.toml").write_bytes((run_folder / "settings.toml").read_bytes())
    rows = [f"{i},{i / 100},{i},1,{i},{300 + i},0,47" for i in range(100)]
    names = "step,time_ps,potential_eV,kinetic_eV,total_eV,temperature_K,pressure_GPa,volume_A3"
    (copy / "thermo.csv").write_text("\n".join([names, *rows]) + "\n")
    page = md.report.write(copy).read_text()
    assert "<li>temperature: not equilibrated: still drifting</li>" in page
    assert "±" not in page


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no run"):
        md.report.write(tmp_path)
