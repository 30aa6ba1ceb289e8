"""Harmonic vibrations of molecules and adsorbates with any ASE calculator.

`run(atoms)` computes second derivatives, projects translations and rotations out and returns
`Vibrations`: frequencies, modes, and infrared intensities where the calculator has a dipole.
`thermochemistry` computes free energies of the ideal gas, or of the harmonic oscillators of an
adsorbate, by ASE. `write` writes files: report, table, spectrum, animated modes.
"""

from .modes import EXTERNAL, IMAGINARY
from .run import METHODS, Vibrations, run
from .thermochemistry import NoThermochemistry, Thermochemistry, thermochemistry
from .write import REPORT, plot, write

__all__ = [
    "EXTERNAL",
    "IMAGINARY",
    "METHODS",
    "REPORT",
    "NoThermochemistry",
    "Thermochemistry",
    "Vibrations",
    "plot",
    "run",
    "thermochemistry",
    "write",
]
