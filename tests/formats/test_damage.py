"""Damaged files that no format recognises any more are called damaged."""

import zipfile

import pytest
import torch

from ase_pet import formats
from ase_pet.formats._damage import BEFORE_ZIP
from paths import DATA

MODEL = DATA / "oracles" / "mace" / "organic.model"


@pytest.fixture
def flipped(tmp_path):
    """Function that writes a copy of a model in which the lowest bit of a byte is another."""

    def write(place):
        content = bytearray(MODEL.read_bytes())
        content[place] ^= 1
        path = tmp_path / "model.model"
        path.write_bytes(content)
        return path

    return write


def start_of_pickle():
    """First byte of the record of the pickle."""
    with zipfile.ZipFile(MODEL) as archive:
        return next(x.header_offset for x in archive.infolist() if x.filename.endswith("data.pkl"))


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (0, "a file of torch.save .* whose first bytes are wrong"),
        (1, "a file of torch.save .* whose first bytes are wrong"),
        (start_of_pickle() + 32, "whose record data.pkl is not what was written"),
        (start_of_pickle() + 26, "whose record data.pkl is not what was written"),  # size of name
        (-22, "lost its end"),
    ],
)
def test_a_flipped_byte_is_damage(flipped, place, message):
    with pytest.raises(ValueError, match=f"model.model` is damaged.*{message}"):
        formats.read(flipped(place))


def test_a_lost_end_is_damage(tmp_path):
    path = tmp_path / "model.model"
    path.write_bytes(MODEL.read_bytes()[:-300])
    with pytest.raises(ValueError, match="is damaged or incomplete: a ZIP archive that has lost"):
        formats.read(path)


def test_files_of_another_kind_are_not_called_damaged(tmp_path):
    """Of torch.save, but with nothing that is known; an archive of something else; text."""
    torch.save({"weights": torch.zeros(2)}, tmp_path / "other.pt")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("notes.txt", "nothing")
    (tmp_path / "other.txt").write_text("nothing")
    for name in ("other.pt", "other.zip", "other.txt"):
        with pytest.raises(ValueError, match="known formats are"):
            formats.read(tmp_path / name)


def test_a_file_of_old_torch_is_named(tmp_path):
    path = tmp_path / "old.pt"
    path.write_bytes(BEFORE_ZIP + b"rest")
    with pytest.raises(ValueError, match="from before torch 1.6"):
        formats.read(path)
