"""Runs that an earlier version began are continued as that version would have."""

import ase.io
import pytest
from typer.testing import CliRunner

from ase_pet import PETCalculator, cli, md, shipped
from toys import silicon

needs_silicon = pytest.mark.skipif("silicon" not in shipped(), reason="silicon is not shipped")


@needs_silicon
def test_a_run_with_ecse_of_version_0_2_keeps_the_published_form(tmp_path):
    structure, folder = tmp_path / "start.xyz", tmp_path / "run"
    ase.io.write(structure, silicon(), format="extxyz")
    steps = ("--time", "0.002", "--interval", "1", "--symmetrise", "ecse:published")
    command = ["md", "silicon", str(structure), *steps, "--output", str(folder)]
    assert CliRunner().invoke(cli.app, command).exit_code == 0
    settings = folder / "settings.toml"
    text = settings.read_text()
    assert text.count("ecse:published") == 2
    settings.write_text(text.replace("ecse:published", "ecse"))  # as version 0.2 wrote it

    again = ["md", "--restart", "--output", str(folder), "--time", "0.003"]
    refused = CliRunner().invoke(cli.app, [*again, "--symmetrise", "ecse"])
    assert "'ecse:compact'" in str(refused.exception)
    assert "'ecse:published'" in str(refused.exception)
    assert CliRunner().invoke(cli.app, again).exit_code == 0
    whole = ase.io.read(structure)
    whole.calc = PETCalculator("silicon", symmetrise="ecse:published")
    uninterrupted = md.run(whole, tmp_path / "whole", time=0.003, interval=1)
    energies = [frame.get_potential_energy() for frame in uninterrupted.frames()]
    frames = ase.io.read(folder / "trajectory.traj", ":")
    assert [frame.get_potential_energy() for frame in frames] == energies
