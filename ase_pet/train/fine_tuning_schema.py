"""The part of the schema of recipes that is about fine-tuning."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from .data_schema import CONFIG, Files

MOST = 100_000  # structures that are made
USUAL_RANK = 8


@dataclass(frozen=True, config=CONFIG)
class FineTuning:
    """What is trained of the calculator that `start` names, and what it must not forget."""

    weights: Annotated[
        Literal["full", "heads", "lora"],
        Field(
            description="`full`: all weights are trained; `heads`: the readouts of the trained head"
            " only; `lora`: a low-rank matrix is added to each linear map (and to the readouts),"
            " all else is kept"
        ),
    ] = "full"
    rank: Annotated[
        int,
        Field(
            gt=0,
            le=4096,
            description="rank of the matrices of `lora`; maps that are narrower train in full",
        ),
    ] = USUAL_RANK
    layer_rate: Annotated[
        float,
        Field(
            gt=0,
            le=1,
            description="factor on the learning rate from each layer to the one below it: readouts"
            " have the full rate, the last layer this times it, the embeddings the smallest",
        ),
    ] = 1.0
    variant: Annotated[
        str | None,
        Field(
            description="energy head of the start that is trained or copied, by its name after"
            ' "energy/"; default: the plain energy',
            examples=["pbe"],
        ),
    ] = None
    new_head: Annotated[
        str | None,
        Field(
            min_length=1,
            description='name after "energy/" of a new energy head, a copy of the head `variant`,'
            " that is trained in its place; those of the start are kept beside it",
            examples=["r2scan"],
        ),
    ] = None
    new_species: Annotated[
        dict[str, str] | list[str],
        Field(
            description="elements that the start lacks, and those whose weights they begin with,"
            ' such as {Ge = "Si"}; in a list, ["Ge"], of the same group of the periodic table, else'
            " the next atomic number",
            examples=[{"Ge": "Si"}],
        ),
    ] = Field(default_factory=list)
    replay: Annotated[
        Files,
        Field(
            description="files of structures like those that the start was trained on, which are"
            " trained on as well, so that it does not forget them",
            examples=[["old.extxyz"]],
        ),
    ] = ()
    replay_labels: Annotated[
        Literal["files", "start"],
        Field(
            description="labels of these files: their own, of the method of the start, or energies,"
            " forces and stresses that the start gives"
        ),
    ] = "files"
    replay_generated: Annotated[
        int,
        Field(
            ge=0,
            le=MOST,
            description="number of structures that are made for the same purpose: training"
            " structures, strained and rattled, with elements of the start; its labels",
        ),
    ] = 0
    replay_share: Annotated[
        float,
        Field(gt=0, lt=1, description="share of such structures among those of an epoch"),
    ] = 0.5
    old_data: Annotated[
        Files,
        Field(
            description="files of labelled structures on which errors before and after are"
            " compared; default: a tenth of those of `replay`, which are then not trained on",
            examples=[["old_test.extxyz"]],
        ),
    ] = ()
