"""What a run is told: one frozen dataclass, checked before anything is computed."""

import dataclasses
import math
import numbers

ENSEMBLES = ("nve", "nvt", "npt")
THERMOSTATS = ("langevin", "bussi", "nose-hoover")
BAROSTATS = ("isotropic", "full")
MOMENTA = ("draw", "keep")
CHOICES = {
    "ensemble": ENSEMBLES,
    "thermostat": THERMOSTATS,
    "barostat": BAROSTATS,
    "momenta": MOMENTA,
}
POSITIVE = ("time", "timestep", "thermostat_time", "barostat_time", "max_temperature", "max_force")
COUNTS = ("interval", "thermo_interval", "checkpoint", "multiple")


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of a run.

    Raises ValueError that names the setting, what was expected, and the choices.
    """

    ensemble: str = "nve"  # nve, nvt, npt
    temperature: float = 300.0  # K
    time: float = 1.0  # ps
    timestep: float = 1.0  # fs
    seed: int = 0  # of momenta and thermostat
    # draw: by temperature, with no net momentum and, of molecules, rotation; keep: as given
    momenta: str = "draw"
    start_temperature: float | None = None  # K, of the momenta that are drawn; None: temperature
    thermostat: str = "langevin"  # of nvt: langevin, bussi, nose-hoover
    thermostat_time: float = 100.0  # fs; of langevin 1 / friction
    pressure: float = 0.0  # GPa, of npt
    barostat: str = "isotropic"  # of npt: isotropic, full
    barostat_time: float = 1000.0  # fs
    interval: int = 100  # steps between frames of the trajectory
    thermo_interval: int = 10  # steps between rows of thermo.csv
    checkpoint: int = 100  # steps between states that a run may be restarted from
    extxyz: bool = False  # a trajectory in text as well
    multiple: int = 1  # steps of direct forces in one step of the run, with a calculator `fast`
    max_temperature: float = 10000.0  # K, above which a run has exploded
    max_force: float = 100.0  # eV/A, the same

    def __post_init__(self):
        for name, valid in CHOICES.items():
            if getattr(self, name) not in valid:
                raise ValueError(
                    f"`{name}` is {getattr(self, name)!r}: valid choices are {', '.join(valid)}"
                )
        for name in POSITIVE:
            self._require(name, self._is_real(name) and getattr(self, name) > 0, "a number above 0")
        for name in COUNTS:
            self._require(
                name, self._is_whole(name) and getattr(self, name) >= 1, "a whole number, 1 or more"
            )
        least = 0 if self.ensemble == "nve" else math.ulp(0.0)
        self._require(
            "temperature", self._is_real("temperature") and self.temperature >= least, "K, above 0"
        )
        self._require(
            "seed", self._is_whole("seed") and self.seed >= 0, "a whole number, 0 or more"
        )
        self._require("pressure", self._is_real("pressure"), "a number in GPa")
        if self.start_temperature is not None:
            start = self._is_real("start_temperature") and self.start_temperature >= 0
            self._require("start_temperature", start, "K, 0 or more, or None")
        self._require(
            "time",
            self.steps >= 1,
            f"at least one step of {self.multiple * self.timestep:g} fs, in ps",
        )
        if self.multiple > 1 and self.ensemble != "nve":
            raise ValueError(
                f"`multiple` is {self.multiple}, which needs `ensemble` 'nve', got"
                f" {self.ensemble!r}"
            )

    @property
    def steps(self):
        """Number of steps of the run, each of `multiple` time steps."""
        return round(1000 * self.time / (self.multiple * self.timestep))

    def as_dict(self):
        """{name: value} without what is None."""
        return {
            name: value for name, value in dataclasses.asdict(self).items() if value is not None
        }

    def _require(self, name, condition, expected):
        if not condition:
            raise ValueError(f"`{name}` is {getattr(self, name)!r}: expected {expected}")

    def _is_real(self, name):
        value = getattr(self, name)
        return (
            isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)
        )

    def _is_whole(self, name):
        return isinstance(getattr(self, name), numbers.Integral) and not isinstance(
            getattr(self, name), bool
        )


def settings(**values):
    """Settings of these names; raises ValueError with the valid names for another one."""
    names = [field.name for field in dataclasses.fields(Settings)]
    for name in values:
        if name not in names:
            raise ValueError(f"`{name}` is not a setting: valid choices are {', '.join(names)}")
    return Settings(**values)
