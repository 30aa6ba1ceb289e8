"""Models of MACE (github.com/ACEsuit/mace) as mace-torch 0.3 saves them: `.model` files.

Such a file is the pickle of a whole module. It is read with torch alone, as data: nothing in the
file is executed, and neither mace-torch nor e3nn is needed (`_unpickle`, `_archive`). The code that
e3nn generated lies in the file, too; it is ignored. Sizes follow from the tensors, everything else
from attributes and the names of classes. Source of the names: mace-torch 0.3.16 (MIT).
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch

from ..models import mace
from ._archive import ZIP_ERRORS, Archive
from ._mace_modules import ModuleTable
from ._mace_settings import settings_of
from ._mace_weights import check_all_read, compositions_of, scales_of, weights_of
from ._unpickle import Inert

BY_CONTENT = True  # other formats have files of the same suffixes
# packages and names in the pickle, which become stand-ins; activations written in C are attributes
ADMITTED = (
    "mace",
    "e3nn",
    "torch",
    "opt_einsum_fx",
    "numpy",
    "builtins.getattr",
    "__builtin__.getattr",
)
MODULES = "mace.modules."
GPU_LIBRARIES = ("cuequivariance", "openequivariance")
LARGEST_LISTING = 100_000  # records of an archive
# classes of models that are energies of atoms
KINDS = ("mace.modules.models.MACE", "mace.modules.models.ScaleShiftMACE")


def recognises(path: str | Path) -> bool:
    """Whether `path` is a file of torch.save that names modules of MACE, or a package of NequIP."""
    path = Path(path)
    if not path.is_file():
        return False
    with path.open("rb") as file:
        if file.read(2) != b"PK":
            return False
    if _is_nequip(path):
        return True
    try:
        with Archive(path) as archive:
            return archive.mentions(MODULES)
    except ValueError:
        return False


def read(path: str | Path) -> mace.Model:
    """MACE of a `.model` file, on the CPU, in the dtype of its weights.

    The heads of a model with several are "energy/NAME". `metadata` names the format.

    Parameters
    ----------
    path:
        Path of the file.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        The file is damaged, or the model is of a kind that is not supported.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"`{path}` does not exist or is no file")
    try:
        if _is_nequip(path):
            raise ValueError("it is a package of NequIP or Allegro: not supported")
        with Archive(path) as archive:
            return _read(archive)
    except ValueError as error:
        raise ValueError(f"`{path}` cannot be read as a MACE: {str(error)[:500]}") from None


def _is_nequip(path: Path) -> bool:
    """Whether an archive holds code of NequIP."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()[:LARGEST_LISTING]
    except (*ZIP_ERRORS, OSError):
        return False
    return any("/nequip/" in name or "/allegro/" in name for name in names)


def _read(archive: Archive) -> mace.Model:
    """Model of an open file."""
    if archive.mentions("__torch__." + MODULES):
        raise ValueError(
            "it is compiled (TorchScript), with code that would have to be run: not supported; read"
            " the `.model` file that it was made of"
        )
    for library in GPU_LIBRARIES:
        if archive.mentions(library):
            raise ValueError(
                f"it has the layout of {library}: not supported; convert it to that of e3nn with"
                " mace-torch first"
            )
    root = archive.content(ADMITTED)
    if type(root) is not Inert:
        raise ValueError("it holds no whole model: expected what `torch.save(model, path)` writes")
    if root.name not in KINDS:
        raise ValueError(f"it is of the class `{root.name[:80]}`: expected {' or '.join(KINDS)}")
    table = ModuleTable(archive, root)
    settings = settings_of(table)
    # on "meta" no memory is allocated before the shapes are known to be those in the file
    with torch.device("meta"):
        model = mace.Model(settings)
    weights = weights_of(table, settings)
    model.compositions = compositions_of(table, settings)
    model.scales = dict(scales_of(table, settings))
    check_all_read(table)
    _check(weights, model)
    model.load_state_dict(weights, assign=True)
    model.metadata = {"format": "MACE"}
    return model


def _check(weights: Mapping[str, torch.Tensor], model: mace.Model) -> None:
    """Raise ValueError unless weights are those of a model, and of one dtype."""
    expected = model.state_dict()
    # a name that is in one of both only is an error of the settings
    for name in sorted(weights.keys() ^ expected.keys()):
        raise ValueError(f"`{name}` does not fit the other weights")
    for name, value in expected.items():
        shape = tuple(weights[name].shape)
        if shape != tuple(value.shape):
            raise ValueError(f"`{name}` has shape {shape}: expected {tuple(value.shape)}")
    dtypes = {weights[name].dtype for name, _ in model.named_parameters()}
    if dtypes not in ({torch.float32}, {torch.float64}):
        names = sorted(str(dtype).removeprefix("torch.") for dtype in dtypes)
        shown = ", ".join(names)
        raise ValueError(f"its weights are {shown}: expected all in float32 or all in float64")
