"""Hyper-parameters of the original PET, as its `hypers_used.yaml` holds them: flat in 2023, in
groups since.

The file is read as text by text: YAML's tags, anchors and aliases, which can make objects or grow
without bound, are refused, and each value is turned into the type that its name calls for.
"""

import re
from dataclasses import dataclass

from ..extras import how_to_install

LARGEST, DEEPEST = 1 << 15, 4  # bytes, levels
GROUPS = (
    "ARCHITECTURAL_HYPERS",
    "FITTING_SCHEME",
    "MLIP_SETTINGS",
    "GENERAL_TARGET_SETTINGS",
    "UTILITY_FLAGS",
)
# name: type, default, smallest and largest value. The limits only keep a damaged file from asking
# for the impossible.
SETTINGS = {
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
OTHERS = {
    "N_TARGETS": (int, 1, 1, 1000),
    "USE_ENERGIES": (bool, True),
    "CALCULATION_TYPE": (str, None),
}
SERVED = {  # name: type, the only value that is served (the default), why
    "TRANSFORMERS_CENTRAL_SPECIFIC": (
        bool,
        False,
        "transformers of their own for each species never worked",
    ),
    "HEADS_CENTRAL_SPECIFIC": (bool, False, "heads of their own for each species never worked"),
    "USE_LONG_RANGE": (bool, False, "long-range interactions are not served"),
    "USE_ADDITIONAL_SCALAR_ATTRIBUTES": (
        bool,
        False,
        "atoms with scalar attributes of their own are not served",
    ),
    "D_OUTPUT": (int, 1, "a target of several numbers is not an energy"),
    "TARGET_TYPE": (str, "structural", "a target of single atoms is not the energy of a structure"),
    "TARGET_AGGREGATION": (str, "sum", "a mean over atoms is not the energy of a structure"),
}
WITHOUT_EFFECT = {"K_CUT", "K_CUT_DELTA", "SCALAR_ATTRIBUTES_SIZE", "DTYPE", "TARGET_INDEX_KEY"}
OF_TRAINING = {  # flat files only
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
BOOLEANS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
NUMBERS = {
    int: r"[-+]?\d{1,15}",
    float: r"[-+]?(\d{1,20}\.?\d{0,20}|\.\d{1,20})([eE][-+]?\d{1,3})?",
}


@dataclass(frozen=True)
class Hypers:
    """settings {name of the model's settings: value}; number of targets, each with heads of its
    own; whether energies of single atoms were taken off in training; whether the file says its
    DTYPE, as all do since April 2024.
    """

    settings: dict
    n_targets: int
    self_contributions: bool
    says_dtype: bool


def read_hypers(path):
    """Hypers of a file. Raises ValueError that names what is damaged, unknown or not served."""
    tables = _tables(path)
    architecture = dict(tables["ARCHITECTURAL_HYPERS"])
    kind = _value("CALCULATION_TYPE", tables["UTILITY_FLAGS"], *OTHERS["CALCULATION_TYPE"])
    if kind not in (None, "mlip", "general_target"):
        raise ValueError(f"`CALCULATION_TYPE` is {kind!r}: valid choices are mlip, general_target")
    if kind == "general_target":
        target = tables["GENERAL_TARGET_SETTINGS"]
        named = {
            "D_OUTPUT": "TARGET_DIM",
            "TARGET_TYPE": "TARGET_TYPE",
            "TARGET_AGGREGATION": "TARGET_AGGREGATION",
        }
        architecture = {
            name: target[other] for name, other in named.items() if other in target
        } | architecture
    unknown = sorted(
        architecture.keys() - SETTINGS.keys() - SERVED.keys() - WITHOUT_EFFECT - {"N_TARGETS"}
    )
    if unknown:
        raise ValueError(
            f"unknown hyper-parameters {', '.join(map(_shown, unknown[:8]))}: not served"
        )
    for name, (kind_of_value, only, why) in SERVED.items():
        value = _value(name, architecture, kind_of_value, only)
        if value != only:
            raise ValueError(f"`{name}` is {_shown(str(value))}: {why}")
    settings = {name.lower(): _value(name, architecture, *how) for name, how in SETTINGS.items()}
    uses_energies = _value("USE_ENERGIES", tables["MLIP_SETTINGS"], *OTHERS["USE_ENERGIES"])
    return Hypers(
        settings,
        _value("N_TARGETS", architecture, *OTHERS["N_TARGETS"]),
        uses_energies and kind != "general_target",
        "DTYPE" in architecture,
    )


def _tables(path):
    """{group: {name: text, or a list or table that no name calls for}}."""
    content = _parsed(path)
    if type(content) is not dict:
        raise ValueError(f"`{path.name}` is not a table of hyper-parameters")
    if not content.keys() & set(GROUPS):
        architecture = {name: value for name, value in content.items() if name not in OF_TRAINING}
        return dict.fromkeys(GROUPS, {}) | {
            "ARCHITECTURAL_HYPERS": architecture,
            "MLIP_SETTINGS": content,
        }
    odd = [name for name in content if name not in GROUPS or type(content[name]) is not dict]
    if odd:
        raise ValueError(
            f"{_shown(odd[0])} in `{path.name}` is not one of the groups {', '.join(GROUPS)}"
        )
    return dict.fromkeys(GROUPS, {}) | content


def _parsed(path):
    """Tables and lists of texts."""
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
        return yaml.load(text, Loader=yaml.BaseLoader)  # which knows no type but text
    except (ValueError, OverflowError, yaml.YAMLError) as error:
        mark = getattr(error, "problem_mark", None)
        line = "" if mark is None else f" in line {mark.line + 1}"
        raise ValueError(
            f"`{path.name}` cannot be used{line}: {getattr(error, 'problem', None) or error}"
        ) from None


def _check_events(yaml, text):
    """Refuse what could make objects or grow, before anything is made of it."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.BaseLoader):
        line = event.start_mark.line + 1
        if getattr(event, "anchor", None) is not None or getattr(event, "tag", None) is not None:
            raise ValueError(f"a tag, an anchor or an alias in line {line} is refused")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(
            event, yaml.CollectionEndEvent
        )
        if depth > DEEPEST:
            raise ValueError(f"more than {DEEPEST} levels in line {line} are refused")


def _value(name, table, kind, default, smallest=None, largest=None):
    """The value of a name in its type, the default where the table lacks it."""
    if name not in table:
        return default
    text = table[name]
    if type(text) is str and text.lower() in ("none", "null", "~", "") and default is None:
        return None
    if type(text) is not str or not _fits(text, kind):
        raise ValueError(f"`{name}` is {_shown(str(text))}, expected {kind.__name__}")
    value = BOOLEANS[text.lower()] if kind is bool else kind(text)
    if smallest is not None and not smallest <= value <= largest:
        raise ValueError(f"`{name}` is {_shown(text)}: expected {smallest} to {largest}")
    return value


def _fits(text, kind):
    if kind is bool:
        return text.lower() in BOOLEANS
    return kind is str or re.fullmatch(NUMBERS[kind], text, re.ASCII) is not None


def _shown(text):
    """Text of a stranger, for a message: of bounded length, without control characters."""
    return f"`{ascii(text)[1:-1][:60]}`"
