"""Factories for --calculator, most of which fail: `factories:NAME`."""

from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones

HOSTILE = "\x1b]0;pwned\x07\x9b31m\u202edemrof"  # title of a window, colour, direction of writing


class Broken(EMT):
    """A calculator that raises in a calculation."""

    def calculate(self, *arguments, **more):
        raise RuntimeError(f"no licence{HOSTILE}\nsecond line")


class Exits(EMT):
    """A calculator that ends the process."""

    def calculate(self, *arguments, **more):
        raise SystemExit(1)


class Warns(EMT):
    """A calculator that warns at each calculation."""

    def calculate(self, *arguments, **more):
        import warnings

        warnings.warn(f"old\nparameters{HOSTILE}", UserWarning, stacklevel=1)
        super().calculate(*arguments, **more)


class Prints(EMT):
    """A calculator that prints from Python and, as Fortran does, to the file descriptor."""

    def calculate(self, *arguments, **more):
        import os

        print("iteration 1")
        os.write(1, b"iteration 2\n")
        super().calculate(*arguments, **more)


def lennard_jones():
    return LennardJones(epsilon=0.0104, sigma=3.4, rc=8.5)


def raises():
    raise KeyError("licence")


def ends():
    raise SystemExit("bye")


def nothing():
    return None


def a_class():
    return EMT


def number():
    return 3


def needs(first, second=1, *, third):
    return EMT()


made = EMT()


class WrongForces(EMT):
    """A calculator whose forces are one row, which numpy adds to every atom."""

    def calculate(self, *arguments, **more):
        super().calculate(*arguments, **more)
        self.results["forces"] = self.results["forces"][:1]


class NoForces(EMT):
    """A calculator that forgets the forces, which it says it computes."""

    def calculate(self, *arguments, **more):
        super().calculate(*arguments, **more)
        del self.results["forces"]


class OddStress(EMT):
    """A calculator whose stress is one number."""

    def calculate(self, *arguments, **more):
        super().calculate(*arguments, **more)
        self.results["stress"] = 0.0


class NoText(Exception):
    """An error whose text cannot be made."""

    def __str__(self):
        raise ValueError("in str")


class Unspeakable(EMT):
    """A calculator that raises an error without a text."""

    def calculate(self, *arguments, **more):
        raise NoText


class Odd(EMT):
    """A calculator that raises what is no Exception."""

    def calculate(self, *arguments, **more):
        raise BaseException("odd")


class Generator(EMT):
    """A calculator that raises what ends generators."""

    def calculate(self, *arguments, **more):
        raise GeneratorExit
