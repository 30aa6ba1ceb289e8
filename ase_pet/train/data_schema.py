"""The part of the schema of recipes that is about data: files, names and units of labels."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

# Strict: a text such as "10" is no number, and True is no whole number.
CONFIG = ConfigDict(strict=True, allow_inf_nan=False)
Files = tuple[Annotated[str, Field(min_length=1)], ...]
MOST = 10_000_000  # of anything that is counted


@dataclass(frozen=True, config=CONFIG)
class Data:
    """Files of structures; paths are relative to the recipe."""

    files: Annotated[
        Files,
        Field(
            description="structures that carry their split; a file that is listed twice counts"
            " twice in training",
            examples=[["training.extxyz"]],
        ),
    ] = ()
    train: Annotated[
        Files, Field(description="files of training structures", examples=[["train.extxyz"]])
    ] = ()
    val: Annotated[
        Files, Field(description="files of validation structures", examples=[["val.extxyz"]])
    ] = ()
    test: Annotated[
        Files, Field(description="files of test structures", examples=[["test.extxyz"]])
    ] = ()
    split_key: Annotated[
        str,
        Field(
            min_length=1,
            description="key of `atoms.info` that holds the split of a structure in `files`:"
            " train, val or test",
        ),
    ] = "split"
    limit: Annotated[
        int | None,
        Field(
            gt=0,
            le=MOST,
            description="number of training structures to use, drawn with the seed, for learning"
            " curves; default: all",
            examples=[1000],
        ),
    ] = None
    cache: Annotated[
        str | None,
        Field(
            min_length=1,
            description="folder for structures and neighbour lists on disk, for data larger than"
            " memory; trainings with the same data may share it; default: all data are in memory",
            examples=["cache"],
        ),
    ] = None
    val_fraction: Annotated[
        float,
        Field(
            ge=0,
            le=0.9,
            description="fraction of the structures without a split (those of `train` if there is"
            " no `val`) that become the split val; 0: none",
        ),
    ] = 0.0
    test_fraction: Annotated[
        float, Field(ge=0, le=0.9, description="the same for the split test")
    ] = 0.0
    split_by: Annotated[
        Literal["auto", "random", "blocks", "composition", "file"],
        Field(
            description="what stays together in a split by fractions: `random`: nothing; `blocks`:"
            " structures that follow each other; `composition`: all of a composition; `file`: all"
            " of a file; `auto`: blocks of those that follow each other in time, else nothing."
            " Copies stay together in any case"
        ),
    ] = "auto"
    weight_key: Annotated[
        str,
        Field(
            description="key of `atoms.info` that holds the weight of a structure in the loss; an"
            " empty name: all weigh the same"
        ),
    ] = "config_weight"


@dataclass(frozen=True, config=CONFIG)
class Units:
    """Units of the numbers in the files, where they are not those of ASE."""

    energy: Annotated[
        str,
        Field(description="unit of energies: eV, meV, Hartree, Rydberg, kcal/mol or kJ/mol"),
    ] = "eV"
    length: Annotated[str, Field(description="unit of positions and cells: A, Bohr, nm or pm")] = (
        "A"
    )
    forces: Annotated[
        str | None,
        Field(
            description="unit of forces, an energy over a length; default: that of `energy` and"
            " `length`; with a minus before it the numbers are gradients",
            examples=["Hartree/Bohr"],
        ),
    ] = None
    stress: Annotated[
        str | None,
        Field(
            description="unit of stresses: GPa, MPa, kbar, bar or an energy over a cubed length;"
            " default: that of `energy` and `length`; with a minus before it they are positive"
            " under compression",
            examples=["GPa"],
        ),
    ] = None
    virial: Annotated[
        str | None,
        Field(
            description="unit of virials; default: that of `energy`; with a minus before it they"
            " are +stress times volume",
            examples=["Hartree"],
        ),
    ] = None
    dipole: Annotated[str, Field(description="unit of dipoles: e A, e Bohr or Debye")] = "e A"
    files: Annotated[
        dict[str, dict[str, str]],
        Field(
            description="units of single files, by their name in [data], that differ from these",
            examples=[{"training.extxyz": {"energy": "Hartree", "length": "Bohr"}}],
        ),
    ] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True, config=CONFIG)
class Keys:
    """Names of the labels in the files; an empty name: this label is not used."""

    energy: Annotated[
        str | None,
        Field(
            description="energies in eV; default: ASE's `energy`, else `free_energy`",
            examples=["REF_energy"],
        ),
    ] = None
    forces: Annotated[
        str | None,
        Field(
            description="forces in eV/A; default: `forces`, else `force`", examples=["REF_forces"]
        ),
    ] = None
    stress: Annotated[
        str | None,
        Field(
            description="stresses in eV/A^3, positive under tension; default: `stress`",
            examples=["REF_stress"],
        ),
    ] = None
    virial: Annotated[
        str | None,
        Field(
            description="virials in eV, -stress times volume; default: `virial`, `virials`",
            examples=["REF_virial"],
        ),
    ] = None
    dipole: Annotated[
        str | None,
        Field(description="dipoles in e A; default: `dipole`", examples=["REF_dipole"]),
    ] = None
