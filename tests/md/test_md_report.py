"""report.html: settings that count, with units; the command; parts; analyses that are too old."""

import html
import json
import re
import shlex

import pytest
from ase.calculators.emt import EMT
from typer.testing import CliRunner

import springs
from ase_pet import cli, md

COMMAND = {"calculator": "ase.calculators.emt:EMT", "structure": "my file.extxyz"}
RAMP = {
    "ensemble": "nvt",
    "temperature": "300:600",
    "timestep": 5.0,
    "equilibrate": 0.2,
    "thermo_interval": 1,
    "interval": 2,
}


def run(folder, **values):
    atoms = springs.copper()
    atoms.calc = EMT()
    return md.run(atoms, folder, about={"command": COMMAND}, **values)


def text(folder):
    page = html.unescape(md.report.write(folder).read_text())
    return re.sub(r"\s+", " ", re.sub("<[^>]*>", " ", page))


def test_settings_have_units_and_those_that_are_not_used_are_left_out(tmp_path):
    run(tmp_path / "npt", ensemble="npt", timestep=5.0, time=0.05)
    page = text(tmp_path / "npt")
    for shown in ("thermostat_time 100 fs", "pressure 0 GPa", "time 0.05 ps"):
        assert shown in page
    assert "langevin" not in page
    run(tmp_path / "nvt", ensemble="nvt", timestep=5.0, time=0.05)
    page = text(tmp_path / "nvt")
    assert "thermostat langevin" in page
    assert "barostat" not in page
    assert "plain mean temperature" in page


def test_values_are_texts_and_not_those_of_python(tmp_path):
    run(tmp_path, timestep=5.0, time=0.05)
    description = md.folders.read(tmp_path)
    parameters = {"model": "'silicon'", "extra": "None", "dtype": "'float32'"}
    description["calculator"] |= {"parameters": parameters, "files": {}}
    md.folders.write(tmp_path, description)
    page = text(tmp_path)
    assert "parameters model silicon " in page
    assert not re.search("parameters extra|files|'silicon'|{}", page)


def test_the_command_can_be_pasted(tmp_path):
    run(tmp_path, time=0.5, **RAMP)
    page = html.unescape(md.report.write(tmp_path).read_text())
    line = re.search("<pre>(.*)</pre>", page)[1]
    words = shlex.split(line)
    assert words[:3] == ["ase-pet", "md", "my file.extxyz"]
    again = dict(zip(words[3::2], words[4::2], strict=True))
    assert again["--temperature"] == "300:600"
    assert again["--output"] == str(tmp_path)
    springs.copper().write(tmp_path / "my file.extxyz")
    words[2] = str(tmp_path / "my file.extxyz")
    words[-1] = str(tmp_path / "again")
    assert CliRunner().invoke(cli.app, words[1:]).exit_code == 0
    assert (tmp_path / "again" / "settings.toml").exists()


def test_parts_are_those_of_the_terminal_and_an_old_analysis_is_left_out(tmp_path):
    run(tmp_path, time=0.5, **RAMP)
    with pytest.warns(UserWarning, match="temperature ramp"):
        done = CliRunner().invoke(cli.app, ["analyse", str(tmp_path), "--html"])
    assert done.exit_code == 0
    page = text(tmp_path)
    assert "300 to 600 K, 0 to 0.5 ps mean" in page
    assert "equilibration, 0.2 ps" in page
    assert "radial distribution" in page
    assert "still drifting" not in page.split("Plots")[0].split("radial")[0].split("Means")[0]
    frames = json.loads((tmp_path / "analysis" / "analysis.json").read_text())["frames"]
    run(tmp_path, time=0.6, restart=True, ramp_time=0.5, **RAMP)
    page = text(tmp_path)
    assert f"is left out: it is of {frames} frames, and the run went on to {frames + 10}" in page
    assert "radial distribution" not in page


def test_means_that_drift_have_no_unit_and_an_equilibration_is_to_be_lengthened():
    drifting = "not equilibrated: still drifting"
    means = {"mean_temperature_K": 300.0, "notes": {"temperature_K": drifting}}
    settings = md.Settings(equilibrate=1.0)
    rows = md.report.summary_rows(settings, means, means, [])
    assert rows == [
        ("equilibration, 1 ps", f"{drifting}; lengthen --equilibrate", ""),
        ("mean temperature", drifting, ""),
    ]
