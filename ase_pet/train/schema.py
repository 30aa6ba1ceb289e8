"""The schema of recipes: their keys, with types, bounds, defaults, meanings and units.

It validates recipes (`recipe.read`); `template` prints it as a commented recipe and as the table of
keys in docs/reference/recipe.md.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass
from pydantic.fields import FieldInfo

from ..ranges import Name
from ..ranges import expected as expected
from .data_schema import CONFIG, MOST
from .data_schema import Data as Data
from .data_schema import Files as Files
from .data_schema import Keys as Keys
from .data_schema import Units as Units
from .fine_tuning_schema import FineTuning as FineTuning


@dataclass(frozen=True, config=CONFIG)
class Loss:
    """Weights of the errors, each in units of the RMS of its labels over the training set.

    An energy is one label for each structure and varies with all of its atoms: with a weight of 1 a
    new model learns to predict no forces at all for thousands of steps; with 0.01 its energies
    become better as well.
    """

    energy: Annotated[
        float,
        Field(
            ge=0,
            le=1e6,
            description="weight of the energy per atom; with 1 a new model stays at zero forces"
            " for thousands of steps",
        ),
    ] = 0.01
    forces: Annotated[float, Field(ge=0, le=1e6, description="weight of the force components")] = (
        1.0
    )
    stress: Annotated[float, Field(ge=0, le=1e6, description="weight of the virial per atom")] = 0.1
    dipole: Annotated[
        float,
        Field(
            ge=0,
            le=1e6,
            description="weight of the components of the dipole, for models with a head `dipole`",
        ),
    ] = 0.0
    frame_variance: Annotated[
        float,
        Field(
            ge=0,
            le=1e6,
            description="weight of the variance of an atom's energy over its frames, in units of"
            ' the RMS of the energies; for `symmetrise = "ecse"`, `augmentation = "frames"` and'
            " `draws` of 2 or more",
        ),
    ] = 0.0
    huber: Annotated[
        float,
        Field(
            gt=0,
            le=1e6,
            description="Huber threshold in units of the RMS of the labels: larger errors count"
            " linearly",
        ),
    ] = 0.1


@dataclass(frozen=True, config=CONFIG)
class Optimiser:
    """Linear warm-up, then half a cosine down to final_rate times the peak."""

    method: Annotated[
        Literal["muon", "adam"],
        Field(
            description="`muon`: orthogonalised updates for the matrices inside the network (torch"
            " 2.9 or later), Adam for the rest; `adam`: Adam with decoupled weight decay for all"
        ),
    ] = "muon"
    epochs: Annotated[
        int, Field(gt=0, le=MOST, description="passes over the training structures")
    ] = 100
    batch_size: Annotated[int, Field(gt=0, le=MOST, description="structures in a batch")] = 8
    accumulate: Annotated[
        int,
        Field(
            gt=0,
            le=MOST,
            description="parts in which each process evaluates its structures of a batch, one after"
            " the other: the same gradient with less memory",
        ),
    ] = 1
    learning_rate: Annotated[
        float,
        Field(gt=0, le=1, description="learning rate at its peak; 0.01 suits `muon`, 0.001 `adam`"),
    ] = 1e-2
    warmup_epochs: Annotated[
        float,
        Field(
            ge=0,
            le=MOST,
            description="epochs of a linear rise to the peak, then half a cosine down",
        ),
    ] = 2
    final_rate: Annotated[
        float, Field(ge=0, le=1, description="learning rate at the end, as a fraction of the peak")
    ] = 0.01
    weight_decay: Annotated[float, Field(ge=0, le=10, description="weight decay of matrices")] = (
        1e-3
    )
    gradient_clip: Annotated[
        float, Field(gt=0, le=1e6, description="largest norm of a step's gradient")
    ] = 1.0
    ema: Annotated[
        float,
        Field(
            ge=0,
            le=1,
            description="decay of the averaged weights; the average is what is validated and kept",
        ),
    ] = 0.999
    validate_every: Annotated[
        int, Field(gt=0, le=MOST, description="epochs between validations")
    ] = 1
    batch_atoms: Annotated[
        int | None,
        Field(
            gt=0,
            le=MOST,
            description="atoms in a batch on average, instead of `batch_size`",
            examples=[64],
        ),
    ] = None
    updates: Annotated[
        int | None,
        Field(
            gt=0,
            le=MOST,
            description="updates of the weights in the training, instead of `epochs`",
            examples=[20000],
        ),
    ] = None
    patience: Annotated[
        int | None,
        Field(
            gt=0,
            le=MOST,
            description="validations without a better one, after which the training ends",
            examples=[50],
        ),
    ] = None
    time_limit: Annotated[
        float | None,
        Field(
            gt=0,
            le=1e6,
            description="hours since the start, or since it was resumed, after which the training"
            " ends with the next validation",
            examples=[12.0],
        ),
    ] = None


@dataclass(frozen=True, config=CONFIG)
class Recipe:
    """All settings of a training."""

    name: Annotated[
        Name,
        Field(
            min_length=1,
            max_length=200,
            description="name of the calculator, in printable letters",
            examples=["silicon"],
        ),
    ]
    model: Annotated[
        str, Field(description="architecture, a file of ase_pet/models/", examples=["pet"])
    ]
    settings: Annotated[
        dict[str, Any],
        Field(
            description="settings of the model, such as `species`; others keep their default"
            " unless given",
            examples=[{"species": ["Si"]}],
        ),
    ]
    data: Annotated[
        Data, Field(description="files of structures; paths are relative to the recipe")
    ]
    keys: Annotated[
        Keys,
        Field(
            description="names of the labels in the files, where they are not those of ASE; an"
            " empty name: this label is not used"
        ),
    ] = dataclasses.field(default_factory=Keys)
    units: Annotated[
        Units, Field(description="units in the files, where they are not those of ASE")
    ] = dataclasses.field(default_factory=Units)
    loss: Annotated[
        Loss,
        Field(
            description="weights of the errors, in units of the RMS of the labels over the training"
            " set"
        ),
    ] = dataclasses.field(default_factory=Loss)
    optimiser: Annotated[
        Optimiser, Field(description="optimiser and schedule of the learning rate")
    ] = dataclasses.field(default_factory=Optimiser)
    fine_tuning: Annotated[
        FineTuning,
        Field(description="with `start`: weights that are trained, heads, new elements, old data"),
    ] = dataclasses.field(default_factory=FineTuning)
    card: Annotated[
        dict[str, Any],
        Field(
            description="text for the README of the calculator: `system`, `level_of_theory`,"
            " `limits`, `licence`",
            examples=[
                {
                    "system": "Crystalline silicon.",
                    "level_of_theory": "DFT, PBE",
                    "limits": "not stated",
                    "licence": "CC BY 4.0",
                }
            ],
        ),
    ] = dataclasses.field(default_factory=dict)
    E0s: Annotated[
        str | dict[str, float],
        Field(
            description="energies of the elements that are subtracted before the training, in eV:"
            " `fit` (least squares over the training set), `isolated` (of the structures with one"
            " atom in the data), or a table such as {Si = -100.0}. With `start`, `fit` fits only"
            " the differences from its energies, and `start` keeps them; those of elements that no"
            " training structure has are kept in any case"
        ),
    ] = "fit"
    dtype: Annotated[
        Literal["float32", "float64"],
        Field(
            description="precision of the training, and of the calculator unless its user says"
            " otherwise"
        ),
    ] = "float32"
    device: Annotated[
        str, Field(description="`auto` (CUDA if there is one), `cpu`, `cuda`, `cuda:1`, ...")
    ] = "auto"
    seed: Annotated[
        int,
        Field(
            ge=0, lt=2**32, description="seed of the initial weights, the order and the rotations"
        ),
    ] = 0
    symmetrise: Annotated[
        str,
        Field(
            description="symmetriser of the calculator; the errors in its README are of the"
            " symmetrised model"
        ),
    ] = "none"
    augmentation: Annotated[
        Literal["rotations", "frames"],
        Field(
            description="`rotations`: each structure is rotated at random; `frames`: each"
            " environment is rotated into some of its frames, drawn by weight, for ECSE only"
        ),
    ] = "rotations"
    draws: Annotated[
        int,
        Field(
            gt=0,
            le=1000,
            description='frames of each atom in a step, with `augmentation = "frames"`',
        ),
    ] = 1
    uncertainty: Annotated[
        bool,
        Field(
            description="last-layer uncertainty (LLPR) of the calculator, from one pass over the"
            " data after the training"
        ),
    ] = True
    uncertainty_members: Annotated[
        int,
        Field(
            ge=0,
            le=10_000,
            description="members of its ensemble, for uncertainties of forces and stresses",
        ),
    ] = 16
    start: Annotated[
        str | None,
        Field(
            min_length=1,
            description="calculator folder, checkpoint or name, whose weights the training starts"
            " from. `model`, `settings`, `dtype`, `symmetrise` and `augmentation` are those of the"
            " start where they are not given; species and sizes must be (but for those that"
            " [fine_tuning] adds), settings without weights (`zbl`, cutoffs) may differ, which a"
            " note says",
            examples=["silicon"],
        ),
    ] = None
    # not a key of the file: `exclude` keeps it out of the schema that users see
    folder: Annotated[Path, Field(exclude=True, description="folder of the recipe")] = Path(".")
    stated: Annotated[
        frozenset[str], Field(exclude=True, description="keys that the file has: loss.stress, ...")
    ] = frozenset()


TABLES: dict[str, type] = {
    "data": Data,
    "keys": Keys,
    "units": Units,
    "loss": Loss,
    "optimiser": Optimiser,
    "fine_tuning": FineTuning,
}


def keys(table: type) -> dict[str, FieldInfo]:
    """{key: its pydantic field} of a table of a recipe.

    Parameters
    ----------
    table:
        Recipe, Data, Keys, Units, Loss or Optimiser.
    """
    schema: dict[str, FieldInfo] = table.__pydantic_fields__  # type: ignore[attr-defined]
    return {name: field for name, field in schema.items() if not field.exclude}
