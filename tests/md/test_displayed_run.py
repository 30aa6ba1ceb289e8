"""What the interpreter shows of a run, and its help: units, no arrays."""

import dataclasses
import pydoc

from ase.build import bulk
from ase.calculators.emt import EMT

from ase_pet import md


def test_a_run_is_shown_with_units(tmp_path):
    atoms = bulk("Cu", cubic=True)
    atoms.calc = EMT()
    result = md.run(atoms, tmp_path / "run", time=0.01, temperature=100)
    text = repr(result)
    assert text.startswith(f"Result(folder={tmp_path / 'run'}, ensemble=nve, temperature=100 K, ")
    assert "atoms=4, steps=10, time=0.01 ps, speed=" in text
    assert "ns/day" in result._repr_html_()


def test_help_lists_all_settings_with_units():
    text = pydoc.render_doc(md.Settings, renderer=pydoc.plaintext)
    for field in dataclasses.fields(md.Settings):
        assert f"{field.name}:\n" in text
    assert "Time step (fs). Default: 1.0." in text
