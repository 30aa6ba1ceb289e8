"""The afternoon of a user: the script of md_examples runs, and its guide names every file."""

import os
import subprocess
import sys
from pathlib import Path

import ase.io
import pytest

from ase_pet import shipped
from paths import ROOT

SCRIPT = ROOT / "md_examples" / "day.sh"
GUIDE = ROOT / "docs" / "guides" / "day.md"


def run(folder):
    """Run the script at small size."""
    environment = {**os.environ, "SMALL": "1", "ASE_PET": "python -m ase_pet -q"}
    # by its folder, whose name may have spaces
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), environment.get("PYTHONPATH", "")])
    environment["OMP_NUM_THREADS"] = "1"
    return subprocess.run(
        ["sh", str(SCRIPT), str(folder)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.skipif("silicon" not in shipped(), reason="the calculator `silicon` is not shipped")
def test_the_afternoon_runs_and_every_file_is_in_its_guide(tmp_path):
    done = run(tmp_path / "day")
    assert done.returncode == 0, done.stderr
    written = {path.name for path in (tmp_path / "day").rglob("*") if path.is_file()}
    text = GUIDE.read_text(encoding="utf-8")
    assert sorted(name for name in written if f"`{name}`" not in text) == []
    assert {"qha.png", "phonons.png", "thermo.png", "gruneisen.png", "md.json"} <= written
    page = (tmp_path / "day" / "npt" / "report.html").read_text(encoding="utf-8")
    assert (tmp_path / "day" / "npt" / "analysis" / "analysis.json").exists()
    assert "radial distribution functions" in page
    # a second call has nothing to do but finds everything complete
    frames = (tmp_path / "day" / "labelled.extxyz").read_bytes()
    again = run(tmp_path / "day")
    assert (again.returncode, again.stdout) == (0, "")
    assert (tmp_path / "day" / "labelled.extxyz").read_bytes() == frames
    relaxed = ase.io.read(tmp_path / "day" / "relaxed" / "relaxed.extxyz")
    assert len(relaxed) == 8


def test_the_script_is_short():
    lines = SCRIPT.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 120
    assert max(map(len, lines)) <= 110
