"""Settings of ECSE, and the presets that a name such as "ecse:gentle:so3" combines.

A name that has none of `FORMS` means the form `DEFAULT`. Before, it meant "published", and it still
does in calculator folders: they hold models that were trained or tested in these frames.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

POSITIVE = (
    "width",
    "beta",
    "squared_sine",
    "squared_sine_width",
    "least_weight",
    "pruning_width",
    "right_angle_distance",
    "right_angle_power",
    "collinear_distance",
    "collinear_width",
    "distance_window",
)
ROUNDING = 1e-12


@dataclass(frozen=True)
class Settings:
    """Settings of the weights. Wider switches make smoother forces and need more frames.

    The defaults here are the published form; names choose a form, see `parse_presets`.

    Attributes
    ----------
    width:
        D, width in A of every radial switching function.
    beta:
        Sharpness in 1/A of the smooth minimum; below 4 the number of frames grows fast.
    squared_sine:
        W, squared sine of the angle above which a pair has its full weight.
    squared_sine_width:
        dW, width in the squared sine over which the weight rises from zero.
    linear_factor:
        Whether pairs have a larger weight the closer they are to a right angle, as published.
    effective_distance:
        Whether weights depend on one effective distance of a pair, the compact form.
    right_angle_distance:
        c in A, by how much farther a pair counts whose angle is far from 90 degrees; of the compact
        form, as all down to `distance_window`.
    right_angle_power:
        p, how close to 90 degrees that begins.
    right_angle_reference:
        r_0 in A: c grows in proportion to the distance of a pair, and is `right_angle_distance` at
        r_0; None where c is the same at all distances.
    collinear_distance:
        g in A, by how much farther still a pair counts that is nearly collinear.
    collinear_width:
        Width in the squared sine over which it does.
    distance_window:
        A in A: pairs count whose effective distance is at most this far above the least one.
    least_weight:
        w0, total weight of an atom below which collinear environments contribute.
    gentle_width:
        Width in the squared sine over which a pair reduces R_in; None for the published R_in.
    n_azimuthal:
        Number of rotations about the axis that nearly collinear environments are averaged over;
        None where they are projected onto the axis instead.
    pruning:
        Fraction of the largest weight of an atom below which pairs are left out; None for none.
    pruning_width:
        Width in that fraction over which the weights rise from zero.
    order_width:
        delta in A: of the two orders of a pair of neighbours the one with the nearer neighbour
        first counts more, alone where distances differ by delta; None where both count.
    parity:
        Whether mirror images are included: O(3) instead of SO(3), at twice the cost.
    limit:
        Largest cost of a message-passing model relative to the model itself; may be infinite.
    """

    width: float = 0.5
    beta: float = 5.0
    squared_sine: float = 0.2
    squared_sine_width: float = 0.15
    linear_factor: bool = True
    effective_distance: bool = False
    right_angle_distance: float = 0.6
    right_angle_power: float = 2.6
    right_angle_reference: float | None = None
    collinear_distance: float = 0.8
    collinear_width: float = 0.35
    distance_window: float = 0.25
    least_weight: float = 0.5
    gentle_width: float | None = None
    n_azimuthal: int | None = None
    pruning: float | None = None
    pruning_width: float = 0.5
    order_width: float | None = None
    parity: bool = True
    limit: float = 1000.0

    def __post_init__(self) -> None:
        for name in POSITIVE:
            value = getattr(self, name)
            if not 0 < value < math.inf:
                raise ValueError(f"`{name}` is {value!r}: expected a finite number above 0")
        self._check_angles()
        self._check_pruning()
        if not self.limit > 0:
            raise ValueError(
                f"`limit` is {self.limit!r}: expected a number above 0, math.inf for no limit"
            )
        if self.least_weight > 2:
            raise ValueError(
                f"`least_weight` is {self.least_weight}: expected 2 or less, the total of one good"
                " pair"
            )

    def _check_angles(self) -> None:
        """Raise ValueError for settings of angles that are out of range."""
        if not self.squared_sine_width <= self.squared_sine < 1:
            raise ValueError(
                f"`squared_sine` is {self.squared_sine}: expected `squared_sine_width`"
                f" ({self.squared_sine_width}) or more, less than 1"
            )
        for name in ("gentle_width", "order_width", "right_angle_reference"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(
                    f"`{name}` is {value!r}: expected a finite number above 0, or None"
                )
        if self.right_angle_reference is not None and not self.effective_distance:
            raise ValueError(
                f"`right_angle_reference` is {self.right_angle_reference!r}: expected None in forms"
                " without effective distances; the preset scaled is for compact,"
                " ecse:compact:scaled"
            )
        # the energy depends on the first rotation by terms of the order sin^n_azimuthal
        count = self.n_azimuthal
        if count is not None and not (isinstance(count, int) and count >= 8):
            raise ValueError(
                f"`n_azimuthal` is {count!r}: expected None, or a whole number, 8 or more (32:"
                " exact to rounding)"
            )

    def _check_pruning(self) -> None:
        """Raise ValueError for a pruning that could leave out the largest weight of an atom."""
        most = 1 - self.pruning_width
        # sums of decimal fractions are rounded
        if self.pruning is not None and not 0 < self.pruning <= most + ROUNDING:
            raise ValueError(
                f"`pruning` is {self.pruning!r}: expected None, or more than 0 and 1 -"
                f" `pruning_width` ({most:g}) at most, so that the largest weight counts"
            )


GENTLE: dict[str, Any] = {
    "gentle_width": 0.35,
    "squared_sine": 0.05,
    "squared_sine_width": 0.05,
    "linear_factor": False,
    "least_weight": 2.0,
    "n_azimuthal": 32,
}
COMPACT: dict[str, Any] = {
    "effective_distance": True,
    "squared_sine": 0.05,
    "squared_sine_width": 0.05,
    "beta": 17.0,
    "least_weight": 2.0,
}
SCALED: dict[str, Any] = {
    "right_angle_reference": 2.5,
    "right_angle_distance": 0.54,
    "right_angle_power": 3.2,
}
PRESETS: dict[str, dict[str, Any]] = {
    # with mirror images, and without
    "o3": {"parity": True},
    "so3": {"parity": False},
    # evaluates message-passing models at any cost
    "force": {"limit": math.inf},
    # smoother forces where the closest pair of neighbours becomes collinear, with some more frames
    "gentle": GENTLE,
    # the published form with fewer frames, less smooth forces
    "pruned": {"pruning": 0.5},
    # the weights of the paper
    "published": {},
    # few frames: pairs by an effective distance, which is least at right angles
    "compact": COMPACT,
    # fewer still: the nearer neighbour of a pair first
    "ordered": {"order_width": 0.3},
    # fewer where neighbours are at very different distances, as in water
    "scaled": SCALED,
}
# presets that choose the form of the weights; the others change any of them
FORMS = ("published", "compact", "gentle", "pruned")
VARIANTS = ("ordered", "scaled")  # presets that change the weights of a form
DEFAULT = "compact"
IN_FILES = "published"  # in files that name no form


def parse_presets(
    argument: str | Settings, kind: str, presets: dict[str, dict[str, Any]]
) -> Settings:
    """Settings of the argument of a symmetriser.

    Parameters
    ----------
    argument:
        Names of presets with colons between them, in the form `DEFAULT` if they name none; or
        settings themselves.
    kind:
        Name of the symmetriser, for the error message.
    presets:
        Settings of each preset that differ from the defaults, {name: {setting: value}}.

    Raises
    ------
    ValueError
        A preset is unknown or repeated, or contradicts another one.
    """
    if isinstance(argument, Settings):
        return argument
    chosen = _words(argument)
    unknown = not set(chosen) <= presets.keys()
    repeated = len(set(chosen)) < len(chosen)
    contradiction = {"o3", "so3"} <= set(chosen)
    if unknown or repeated or contradiction:
        choices = ", ".join(f"{kind}:{preset}" for preset in presets)
        raise ValueError(
            f"`symmetrise` is '{kind}:{argument}': valid choices are {kind}, {choices}, and"
            f" several such as {kind}:gentle:so3"
        )
    others = {*FORMS} - {"compact"}
    if "scaled" in chosen and not others.isdisjoint(chosen):
        raise ValueError(
            f"`symmetrise` is '{kind}:{argument}': the preset scaled is for the form compact only:"
            f" choose {kind}:scaled, which means {kind}:compact:scaled"
        )
    changes: dict[str, Any] = {}
    for preset in _words(with_form(argument, DEFAULT)):
        changes.update(presets[preset])
    return Settings(**changes)


def names_form(argument: str) -> bool:
    """Whether the argument of a symmetriser names the form of its weights.

    Parameters
    ----------
    argument:
        Names of presets with colons between them.
    """
    return not set(_words(argument)).isdisjoint(FORMS)


def with_form(argument: str, form: str) -> str:
    """The argument of a symmetriser, with a form of the weights if it names none.

    The form comes first, so that presets such as "so3" change it. The preset "scaled" exists for
    the form "compact" only, which it therefore means in calculators of other forms, too.

    Parameters
    ----------
    argument:
        Names of presets with colons between them.
    form:
        Names to add, such as "compact:ordered"; those that are there already are not repeated.
    """
    words = _words(argument)
    if names_form(argument):
        return argument
    if "scaled" in words and "compact" not in _words(form):
        form = "compact"  # the only form that this preset changes
    added = [word for word in _words(form) if word not in words]
    return ":".join([*added, *words])


def form_of(argument: str) -> str:
    """Names of presets in an argument that decide the weights of frames, "compact:ordered".

    Parameters
    ----------
    argument:
        Names of presets with colons between them.
    """
    return ":".join(word for word in _words(argument) if word in (*FORMS, *VARIANTS))


def _words(argument: str) -> list[str]:
    """Names of presets; "" names none, but "".split(":") would name one."""
    return argument.split(":") if argument else []
