"""Settings of a molecular dynamics run: one table of defaults, units, help texts and checks.

The command line makes its options from the same table (`Settings` fields, `metadata`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from .rules import (
    COUNT,
    LENGTH,
    LONGEST,
    NVE_TEMPERATURE,
    OPTIONAL_POSITIVE,
    OPTIONAL_TEMPERATURE,
    OPTIONAL_TIME,
    POSITIVE,
    PRESSURE,
    RELAXATION_TIME,
    SEED,
    TEMPERATURE,
    TIME,
    TIMESTEP,
    Rule,
    Temperature,
    parse_temperature,
    temperatures,
)

ENSEMBLES = ("nve", "nvt", "npt")
THERMOSTATS = ("langevin", "bussi", "nose-hoover")
BAROSTATS = ("isotropic", "full")
MOMENTA = ("draw", "keep")

# headings of the options in the help of the command line
RUN = "Run"
BATHS = "Thermostat and barostat"
FILES = "Files"
LIMITS = "Limits"

# ensembles that use a setting; the others ignore it
USED_IN = {
    "thermostat": ("nvt",),
    "thermostat_time": ("nvt", "npt"),
    "pressure": ("npt",),
    "barostat": ("npt",),
    "barostat_time": ("npt",),
}


def _setting(
    default: Any,
    panel: str,
    text: str,
    *,
    unit: str | None = None,
    choices: tuple[str, ...] | None = None,
    rule: Rule | None = None,
    parse: Callable[[str], Any] | None = None,
    aliases: tuple[str, ...] = (),
) -> Any:
    """A dataclass field with metadata "help", "unit", "panel", "choices", "rule", ..."""
    metadata: dict[str, Any] = {
        "help": text,
        "unit": unit,
        "panel": panel,
        "choices": choices,
        "rule": rule,
    }
    metadata["parse"] = parse  # of the text on a command line, None for that of its type
    metadata["aliases"] = aliases  # other names of the setting
    return dataclasses.field(default=default, metadata=metadata)


def meaning(metadata: Mapping[str, Any]) -> str:
    """Help of a setting, with its choices and its unit unless the text names them.

    Parameters
    ----------
    metadata:
        Of the field of the setting.
    """
    text: str = metadata["help"]
    choices = metadata["choices"] or ()
    # a text that explains its choices or has its unit inside is not extended
    if not all(choice in text for choice in choices):
        text += f": {', '.join(choices)}"
    unit = metadata["unit"]
    if unit is not None and unit not in text.split():
        text += f" ({unit})"
    return f"{text[0].upper()}{text[1:]}."


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of a run; units and meanings are also in the metadata of each field.

    Raises
    ------
    ValueError
        A value is not accepted; the message names the setting, what was expected, and the choices.
    """

    ensemble: str = _setting("nve", RUN, "ensemble to sample", choices=ENSEMBLES)
    temperature: Temperature = _setting(
        300.0,
        RUN,
        "initial (nve) or target (nvt, npt) temperature in K; 300:1200 is a ramp, 300:1200:300 one"
        " of several parts",
        unit="K",
        parse=parse_temperature,
    )
    time: float = _setting(1.0, RUN, "total length of the run", unit="ps", rule=TIME)
    ramp_time: float | None = _setting(
        None,
        RUN,
        "time in ps of a temperature ramp, whose parts are equally long; the last temperature is"
        " kept afterwards; default: `time`",
        unit="ps",
        rule=OPTIONAL_TIME,
    )
    equilibrate: float = _setting(
        0.0,
        RUN,
        "time in ps before the run at the first `temperature`, with the thermostat (nve, nvt) or"
        " in npt; its files go to the folder equilibration",
        unit="ps",
        rule=LENGTH,
    )
    timestep: float = _setting(1.0, RUN, "time step", unit="fs", rule=TIMESTEP)
    seed: int = _setting(0, RUN, "random seed of initial momenta and thermostat", rule=SEED)
    momenta: str = _setting(
        "draw",
        RUN,
        "initial momenta: draw (Maxwell-Boltzmann, without net momentum and, for molecules, without"
        " rotation), keep (those of the structure)",
        choices=MOMENTA,
    )
    start_temperature: float | None = _setting(
        None,
        RUN,
        "temperature in K of the drawn momenta; default: `temperature`. In a perfect crystal half"
        " of the initial kinetic energy becomes potential energy",
        unit="K",
        rule=OPTIONAL_TEMPERATURE,
    )
    thermostat: str = _setting("langevin", BATHS, "thermostat of nvt", choices=THERMOSTATS)
    thermostat_time: float = _setting(
        100.0,
        BATHS,
        "time constant in fs of the thermostat; for langevin: 1 / friction",
        unit="fs",
        rule=RELAXATION_TIME,
    )
    pressure: float = _setting(0.0, BATHS, "target pressure of npt", unit="GPa", rule=PRESSURE)
    barostat: str = _setting("isotropic", BATHS, "changes of the cell in npt", choices=BAROSTATS)
    barostat_time: float = _setting(
        1000.0, BATHS, "time constant of the barostat", unit="fs", rule=RELAXATION_TIME
    )
    interval: int = _setting(
        100, FILES, "steps between frames of the trajectory", unit="steps", rule=COUNT
    )
    thermo_interval: int = _setting(
        10, FILES, "steps between rows of thermo.csv", unit="steps", rule=COUNT
    )
    checkpoint: int = _setting(
        100, FILES, "steps between saved states for restarts", unit="steps", rule=COUNT
    )
    resolve: float | None = _setting(
        None,
        FILES,
        "highest frequency in THz that frames shall resolve, as for a vibrational spectrum; warns"
        " if `interval` is too long for it",
        unit="THz",
        rule=OPTIONAL_POSITIVE,
    )
    extxyz: bool = _setting(False, FILES, "write trajectory.extxyz as well")
    multiple: int = _setting(
        1,
        RUN,
        "inner steps (r-RESPA): time steps with cheap forces for each evaluation of the full"
        " forces. Full: derivatives of the energy of the calculator; cheap: those of --inner or"
        " --fast, or forces that the model predicts directly",
        rule=COUNT,
        aliases=("inner_steps",),
    )
    max_temperature: float = _setting(
        10000.0, LIMITS, "the run stops above this temperature", unit="K", rule=POSITIVE
    )
    max_force: float = _setting(
        100.0, LIMITS, "the run stops above this force on an atom", unit="eV/A", rule=POSITIVE
    )

    def __post_init__(self) -> None:
        # a frozen dataclass is changed through its base class
        object.__setattr__(self, "temperature", parse_temperature(self.temperature))
        for field in dataclasses.fields(self):
            choices = field.metadata["choices"]
            if choices is not None:
                self._check_choice(field.name, choices)
        for field in dataclasses.fields(self):
            rule = field.metadata["rule"]
            if rule is not None:
                self._check_rule(field.name, rule)
        # nve needs no thermostat: a start from rest, at 0 K, is allowed
        self._check_rule("temperature", NVE_TEMPERATURE if self.ensemble == "nve" else TEMPERATURE)
        step = self.multiple * self.timestep
        if not step <= 1000 * LONGEST:
            raise ValueError(
                f"{_called('multiple')} is {self.multiple}: expected steps of {LONGEST:g} ps at"
                " most"
            )
        if self.steps < 1:
            raise ValueError(
                f"`time` is {self.time!r}: expected at least one step of {step:g} fs, in ps"
            )
        if self.equilibrate and round(1000 * self.equilibrate / step) < 1:
            raise ValueError(
                f"`equilibrate` is {self.equilibrate!r}: expected 0, or at least one step of"
                f" {step:g} fs, in ps"
            )
        self._set_ramp_time()

    def _set_ramp_time(self) -> None:
        if self.ramp_time is not None and not self.is_ramp:
            raise ValueError(
                f"`ramp_time` is {self.ramp_time!r}, but `temperature` {self.temperature!r} is no"
                " ramp such as 300:1200"
            )
        # stored, so that the ramp stays the same when a longer run continues this one
        if self.is_ramp and self.ramp_time is None:
            object.__setattr__(self, "ramp_time", self.time)

    @property
    def is_ramp(self) -> bool:
        """Whether the target temperature changes."""
        return isinstance(self.temperature, tuple)

    @property
    def first_temperature(self) -> float:
        """Temperature in K at the beginning."""
        return float(temperatures(self.temperature)[0])

    @property
    def steps(self) -> int:
        """Number of steps of the run, each of `multiple` time steps."""
        return round(1000 * self.time / (self.multiple * self.timestep))

    def of_equilibration(self) -> Settings:
        """Settings of the equilibration: one temperature, nvt instead of nve."""
        return dataclasses.replace(
            self,
            ensemble="nvt" if self.ensemble == "nve" else self.ensemble,
            temperature=self.first_temperature,
            ramp_time=None,
            time=self.equilibrate,
            equilibrate=0.0,
        )

    def unused(self) -> dict[str, str]:
        """{name: what it needs} of the settings that neither run nor equilibration use."""
        ensembles = {self.ensemble}
        if self.equilibrate:
            ensembles.add(self.of_equilibration().ensemble)
        needs = {
            name: f"`ensemble` {' or '.join(used)}, not {self.ensemble}"
            for name, used in USED_IN.items()
            if ensembles.isdisjoint(used)
        }
        if self.momenta == "keep":
            needs["start_temperature"] = "`momenta` draw, not keep"
        return needs

    def as_dict(self) -> dict[str, Any]:
        """{name: value} of the settings that are not None."""
        values = dataclasses.asdict(self)
        return {name: value for name, value in values.items() if value is not None}

    def _check_choice(self, name: str, choices: tuple[str, ...]) -> None:
        value = getattr(self, name)
        if value not in choices:
            raise ValueError(f"`{name}` is {value!r}: valid choices are {', '.join(choices)}")

    def _check_rule(self, name: str, rule: Rule) -> None:
        value = getattr(self, name)
        if not rule.accepts(value):
            raise ValueError(f"{_called(name)} is {value!r}: expected {rule.expected}")


def _called(name: str) -> str:
    """Name of a setting, with its other names, such as that of the command line."""
    (field,) = [field for field in dataclasses.fields(Settings) if field.name == name]
    others = [f" (`{alias}`)" for alias in field.metadata["aliases"]]
    return "".join([f"`{name}`", *others])


def _attributes() -> str:
    """Section of a docstring that lists all settings."""
    lines = ["", "    Attributes", "    ----------"]
    for field in dataclasses.fields(Settings):
        lines.append(f"    {field.name}:")
        lines.append(f"        {meaning(field.metadata)} Default: {field.default!r}.")
    return "\n".join([*lines, "    "])


Settings.__doc__ = (Settings.__doc__ or "") + _attributes()  # for help(Settings)

# settings that may change when a run is continued: its length, what it writes, where it stops
MAY_CHANGE = (
    "time",
    *(f.name for f in dataclasses.fields(Settings) if f.metadata["panel"] in (FILES, LIMITS)),
)


def make_settings(**values: Any) -> Settings:
    """Settings with these values; a ValueError lists the valid names if one is unknown."""
    names = [field.name for field in dataclasses.fields(Settings)]
    for field in dataclasses.fields(Settings):
        for alias in field.metadata["aliases"]:
            if alias not in values:
                continue
            if field.name in values:
                raise ValueError(f"`{alias}` and `{field.name}` are the same setting: give one")
            values[field.name] = values.pop(alias)
    for name in values:
        if name not in names:
            raise ValueError(f"`{name}` is not a setting: valid choices are {', '.join(names)}")
    return Settings(**values)


def refuse_unused(settings: Settings, given: Mapping[str, Any]) -> None:
    """Raise ValueError for settings that were given, and that the run would ignore.

    Parameters
    ----------
    settings:
        Settings of the run.
    given:
        {name: value} of those that were given. A complete table, as of `Settings.as_dict`, is
        accepted: nobody chose each of its values.
    """
    if set(settings.as_dict()) <= set(given):
        return
    unused = settings.unused()
    ignored = [name for name in given if name in unused and given[name] is not None]
    if ignored:
        texts = [f"`{name}` needs {unused[name]}" for name in ignored]
        raise ValueError(f"{'; '.join(texts)}: it would be ignored. Leave it out, or change that")
