"""Notes on inputs of LAMMPS; LAMMPS itself is not needed."""

from unittest.mock import Mock

import pytest

from ase_pet.engines._lammps_input import read_script
from ase_pet.engines._lammps_notes import note_setup


def lammps(style="zero", masses=(0.0, 28.0855, 15.9994)):
    """What a note asks an instance of LAMMPS for."""
    lmp = Mock()
    lmp.extract_global.side_effect = lambda name: style if name == "pair_style" else "none"
    lmp.extract_atom.return_value = masses
    return lmp


@pytest.mark.parametrize("masses", [(0.0, 28.0855, 15.9994), None])
def test_ordinary_inputs_have_no_notes(masses):
    note_setup(lammps(masses=masses), ["Si", "O"])


def test_a_second_potential_is_noted():
    with pytest.warns(UserWarning, match="`pair_style sw`: its energies and forces are added"):
        note_setup(lammps("sw"), ["Si", "O"])


def test_exchanged_elements_are_noted():
    with (
        pytest.warns(UserWarning, match="type 1 has mass 28.* but O has 15.999"),
        pytest.warns(UserWarning, match="type 2 has mass 15.* but Si has 28.085"),
    ):
        note_setup(lammps(), ["O", "Si"])


def test_an_input_that_is_no_text_is_refused(tmp_path):
    path = tmp_path / "in.lmp"
    path.write_bytes(b"units metal\n\x83")
    with pytest.raises(ValueError, match="no text in UTF-8: byte 12 is 0x83"):
        read_script(path)
