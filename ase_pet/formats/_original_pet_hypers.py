"""Hyper-parameters of the original PET in `hypers_used.yaml`: flat in 2023, in groups since.

All values are read as text, and each is converted to the type that its name implies. YAML's tags,
anchors and aliases, which can construct objects or grow without bound, are refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..choices import one_of
from ..extras import how_to_install

LARGEST = 1 << 15  # bytes of the file
DEEPEST = 4  # nested levels
GROUPS = (
    "ARCHITECTURAL_HYPERS",
    "FITTING_SCHEME",
    "MLIP_SETTINGS",
    "GENERAL_TARGET_SETTINGS",
    "UTILITY_FLAGS",
)
# name: type, default, smallest and largest value. The limits only keep a damaged file from asking
# for absurdly large models.
SETTINGS: dict[str, tuple[Any, ...]] = {
    "R_CUT": (float, 5.0, 0.1, 100.0),
    "CUTOFF_DELTA": (float, 0.2, 1e-3, 100.0),
    "N_GNN_LAYERS": (int, 3, 1, 64),
    "N_TRANS_LAYERS": (int, 3, 0, 64),
    "TRANSFORMER_D_MODEL": (int, 128, 1, 1 << 16),
    "TRANSFORMER_N_HEAD": (int, 4, 1, 1 << 16),
    "TRANSFORMER_DIM_FEEDFORWARD": (int, 512, 1, 1 << 16),
    "HEAD_N_NEURONS": (int, 128, 1, 1 << 16),
    "ACTIVATION": (str, "silu"),
    "TRANSFORMER_TYPE": (str, "PostLN"),
    "COMPRESS_MODE": (str, "mlp"),
    "USE_LENGTH": (bool, True),
    "USE_ONLY_LENGTH": (bool, False),
    "R_EMBEDDING_ACTIVATION": (bool, False),
    "BLEND_NEIGHBOR_SPECIES": (bool, False),
    "ADD_TOKEN_FIRST": (bool, True),
    "ADD_TOKEN_SECOND": (bool, True),
    "USE_BOND_ENERGIES": (bool, True),
    "AVERAGE_POOLING": (bool, False),
    "AVERAGE_BOND_ENERGIES": (bool, False),
    "RESIDUAL_FACTOR": (float, 0.5, -100.0, 100.0),
}
OTHERS: dict[str, tuple[Any, ...]] = {
    "N_TARGETS": (int, 1, 1, 1000),
    "USE_ENERGIES": (bool, True),
    "CALCULATION_TYPE": (str, None),
}
# name: type, the only value that is supported (the default), reason
FIXED: dict[str, tuple[type, Any, str]] = {
    "TRANSFORMERS_CENTRAL_SPECIFIC": (
        bool,
        False,
        "transformers of their own for each species never worked",
    ),
    "HEADS_CENTRAL_SPECIFIC": (bool, False, "heads of their own for each species never worked"),
    "USE_LONG_RANGE": (bool, False, "long-range interactions are not supported"),
    "USE_ADDITIONAL_SCALAR_ATTRIBUTES": (
        bool,
        False,
        "atoms with scalar attributes of their own are not supported",
    ),
    "D_OUTPUT": (int, 1, "a target of several numbers is not an energy"),
    "TARGET_TYPE": (str, "structural", "a target of single atoms is not the energy of a structure"),
    "TARGET_AGGREGATION": (str, "sum", "a mean over atoms is not the energy of a structure"),
}
WITHOUT_EFFECT = {"K_CUT", "K_CUT_DELTA", "SCALAR_ATTRIBUTES_SIZE", "DTYPE", "TARGET_INDEX_KEY"}
# of training, in flat files only
OF_TRAINING = {
    "INITIAL_LR",
    "EPOCH_NUM",
    "EPOCH_NUM_ATOMIC",
    "SCHEDULER_STEP_SIZE",
    "SCHEDULER_STEP_SIZE_ATOMIC",
    "EPOCHS_WARMUP",
    "EPOCHS_WARMUP_ATOMIC",
    "ATOMIC_BATCH_SIZE",
    "STRUCTURAL_BATCH_SIZE",
    "GLOBAL_AUG",
    "SLIDING_FACTOR",
    "MAX_TIME",
    "ENERGY_WEIGHT",
    "ENERGY_KEY",
    "FORCES_KEY",
    "USE_ENERGIES",
    "USE_FORCES",
    "MULTI_GPU",
    "RANDOM_SEED",
    "CUDA_DETERMINISTIC",
    "MODEL_TO_START_WITH",
    "SUPPORT_MISSING_VALUES",
    "is_set",
}
# names in the group ARCHITECTURAL_HYPERS -> names in GENERAL_TARGET_SETTINGS
TARGET_NAMES = {
    "D_OUTPUT": "TARGET_DIM",
    "TARGET_TYPE": "TARGET_TYPE",
    "TARGET_AGGREGATION": "TARGET_AGGREGATION",
}
BOOLEANS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
NOTHING = ("none", "null", "~", "")
NUMBERS: dict[type, str] = {
    int: r"[-+]?\d{1,15}",
    float: r"[-+]?(\d{1,20}\.?\d{0,20}|\.\d{1,20})([eE][-+]?\d{1,3})?",
}


@dataclass(frozen=True)
class Hypers:
    """Hyper-parameters of a model.

    Attributes
    ----------
    settings:
        {name of the model's settings: value}.
    n_targets:
        Number of targets; each has its own heads.
    self_contributions:
        Whether energies of single atoms were subtracted in training.
    states_dtype:
        Whether the file has an entry `DTYPE`, as all do since April 2024.
    """

    settings: dict[str, Any]
    n_targets: int
    self_contributions: bool
    states_dtype: bool


def read_hypers(path: Path) -> Hypers:
    """Hypers of a file.

    Parameters
    ----------
    path:
        Path of `hypers_used.yaml`.

    Raises
    ------
    ValueError
        An entry is damaged, unknown or not supported.
    """
    groups = _groups(path)
    architecture = dict(groups["ARCHITECTURAL_HYPERS"])
    kind = _value("CALCULATION_TYPE", groups["UTILITY_FLAGS"], *OTHERS["CALCULATION_TYPE"])
    if kind is not None:
        one_of("CALCULATION_TYPE", kind, ("mlip", "general_target"))
    if kind == "general_target":
        target = groups["GENERAL_TARGET_SETTINGS"]
        for name, name_in_group in TARGET_NAMES.items():
            if name_in_group in target:
                architecture.setdefault(name, target[name_in_group])
    _check_names(architecture)
    # a model with another value is not a potential, or not one that this package implements
    for name, (kind_of_value, only, reason) in FIXED.items():
        value = _value(name, architecture, kind_of_value, only)
        if value != only:
            raise ValueError(f"`{name}` is {_shown(str(value))}: {reason}")
    settings = {
        name.lower(): _value(name, architecture, *limits) for name, limits in SETTINGS.items()
    }
    uses_energies = _value("USE_ENERGIES", groups["MLIP_SETTINGS"], *OTHERS["USE_ENERGIES"])
    return Hypers(
        settings=settings,
        n_targets=_value("N_TARGETS", architecture, *OTHERS["N_TARGETS"]),
        self_contributions=uses_energies and kind != "general_target",
        states_dtype="DTYPE" in architecture,
    )


def _check_names(architecture: Mapping[str, Any]) -> None:
    """Raise ValueError for hyper-parameters that are not known."""
    known = SETTINGS.keys() | FIXED.keys() | WITHOUT_EFFECT | {"N_TARGETS"}
    unknown = sorted(architecture.keys() - known)
    if unknown:
        raise ValueError(
            f"unknown hyper-parameters {', '.join(map(_shown, unknown[:8]))}: not supported"
        )


def _groups(path: Path) -> dict[str, dict[str, Any]]:
    """{group: {name: text}} of all groups; a list or table may take the place of a text."""
    content = _parsed(path)
    if type(content) is not dict:
        raise ValueError(f"`{path.name}` is not a table of hyper-parameters")
    groups: dict[str, dict[str, Any]] = {group: {} for group in GROUPS}
    in_groups = content.keys() & groups.keys()
    if not in_groups:
        # a flat file: the architecture is what does not concern training
        groups["ARCHITECTURAL_HYPERS"] = {
            name: value for name, value in content.items() if name not in OF_TRAINING
        }
        groups["MLIP_SETTINGS"] = content
        return groups
    for name, value in content.items():
        if name not in groups or type(value) is not dict:
            raise ValueError(
                f"{_shown(name)} in `{path.name}` is not one of the groups {', '.join(GROUPS)}"
            )
    return groups | content


def _parsed(path: Path) -> Any:
    """Content of a YAML file as tables and lists of texts."""
    try:
        import yaml
    except ImportError:
        raise ValueError(
            "its settings are in YAML, and PyYAML is not installed:"
            f" {how_to_install('original_pet')}"
        ) from None
    if path.stat().st_size > LARGEST:
        raise ValueError(f"`{path.name}` has more than {LARGEST} bytes: refused")
    try:
        text = path.read_bytes().decode("utf-8-sig")
        _check_events(yaml, text)
        return yaml.load(text, Loader=yaml.BaseLoader)  # BaseLoader knows no type but text
    except yaml.MarkedYAMLError as error:
        line = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        problem = error.problem or error
        raise ValueError(f"`{path.name}` cannot be used{line}: {problem}") from None
    except (ValueError, OverflowError, yaml.YAMLError) as error:
        raise ValueError(f"`{path.name}` cannot be used: {error}") from None


def _check_events(yaml: Any, text: str) -> None:
    """Refuse YAML that could construct objects or grow, before anything is constructed.

    yaml: the module PyYAML.
    """
    depth = 0
    for event in yaml.parse(text, Loader=yaml.BaseLoader):
        line = event.start_mark.line + 1
        # aliases refer to anchors; scalars and collections may have an anchor and a tag
        is_node = isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent)
        has_label = is_node and (event.anchor is not None or event.tag is not None)
        is_alias = isinstance(event, yaml.AliasEvent)
        if is_alias or has_label:
            raise ValueError(f"a tag, an anchor or an alias in line {line} is refused")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > DEEPEST:
            raise ValueError(f"more than {DEEPEST} levels in line {line} are refused")


def _value(
    name: str,
    table: Mapping[str, Any],
    kind: type,
    default: Any,
    smallest: float | None = None,
    largest: float | None = None,
) -> Any:
    """Value of a name, converted to its type; the default if the table does not have it."""
    if name not in table:
        return default
    text = table[name]
    is_text = type(text) is str
    if is_text and default is None and text.lower() in NOTHING:
        return None
    # a list or table in place of a text
    if not is_text or not _fits(text, kind):
        raise ValueError(f"`{name}` is {_shown(str(text))}, expected {kind.__name__}")
    value = BOOLEANS[text.lower()] if kind is bool else kind(text)
    if smallest is not None and largest is not None and not smallest <= value <= largest:
        raise ValueError(f"`{name}` is {_shown(text)}: expected {smallest} to {largest}")
    return value


def _fits(text: str, kind: type) -> bool:
    """Whether a text can be converted to a type."""
    if kind is bool:
        return text.lower() in BOOLEANS
    return kind is str or re.fullmatch(NUMBERS[kind], text, re.ASCII) is not None


def _shown(text: Any) -> str:
    """Text of a file for a message: of bounded length, without control characters."""
    return f"`{ascii(text)[1:-1][:60]}`"
