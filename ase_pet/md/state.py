"""State of a run: everything that decides how it continues, in one file that is replaced at once.

A state holds positions, momenta and cell, every number and array stored in the integrator, its
thermostat and its barostat, and the state of the random number generators. It is read from ASE's
objects attribute by attribute, whatever their names, so integrators with other variables need no
code here.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.mixing import LinearCombinationCalculator
from ase.md.md import MolecularDynamics

from ..constraints import true_forces
from ._protocols import SupportsReset
from .multiple_time_step import InnerSteps

FILE = "state.npz"
ATOMS = "atoms "  # prefix of the names of the arrays of the structure
OUTPUTS = "outputs"
FAST = "fast forces"  # cheap forces of inner steps
START = "start "  # prefix of positions and cell at the beginning of the run
END = "end "  # prefix of step and structure at its end, which need not be those of the state

# arrays of all states
REQUIRED = (
    "dynamics nsteps",
    *(ATOMS + name for name in ("numbers", "pbc", "positions", "momenta", "cell")),
)

State = dict[str, np.ndarray]


def structure(atoms: Atoms, prefix: str) -> State:
    """Positions, momenta and cell as {name: array}.

    Parameters
    ----------
    atoms:
        Structure.
    prefix:
        Beginning of the names, such as `START`.
    """
    return {
        prefix + "positions": atoms.get_positions(),
        prefix + "momenta": atoms.get_momenta(),
        prefix + "cell": atoms.cell.array.copy(),
    }


def capture(dynamics: MolecularDynamics) -> State:
    """State of an integrator and its atoms, as {name: array}.

    Energy and forces are for comparison with those of the calculator that continues the run.

    Parameters
    ----------
    dynamics:
        ASE integrator with its atoms.
    """
    atoms = dynamics.atoms
    state = structure(atoms, ATOMS) | {
        ATOMS + "numbers": atoms.numbers,
        ATOMS + "pbc": atoms.pbc,
        ATOMS + "energy": np.array(atoms.get_potential_energy(apply_constraint=False)),
        ATOMS + "forces": true_forces(atoms),
    }
    if isinstance(dynamics, InnerSteps):
        state[FAST] = dynamics.fast_forces()
    numbers = (int, float, np.generic, np.ndarray)
    for prefix, part in _parts(dynamics).items():
        for name, value in vars(part).items():
            if isinstance(value, np.random.Generator):
                text = json.dumps(value.bit_generator.state)
                state[prefix + name] = np.array(text)
            # flags (bool) are settings, not state
            elif isinstance(value, numbers) and not isinstance(value, bool):
                state[prefix + name] = np.array(value)
    return state


def place(atoms: Atoms, state: State, prefix: str = ATOMS) -> None:
    """Set positions, momenta and cell to those of a state.

    Parameters
    ----------
    atoms:
        Structure to change.
    state:
        State of a run of the same structure.
    prefix:
        `END` for the structure at the end of the run.

    Raises
    ------
    ValueError
        The state is of other elements or periodic directions.
    """
    require_same_atoms(atoms, state)
    move(atoms, state, prefix)


def require_same_atoms(atoms: Atoms, state: State) -> None:
    """Raise ValueError if `atoms` have other elements or periodic directions than a `state`."""
    for name, now in (("numbers", atoms.numbers), ("pbc", atoms.pbc)):
        if not np.array_equal(now, state[ATOMS + name]):
            raise ValueError(
                f"the structure has other {name} than the run to be continued: give the one it"
                " began with"
            )


def move(atoms: Atoms, state: State, prefix: str) -> None:
    """Set positions, momenta and cell of `atoms` to those of a `state` with this `prefix`."""
    # The state satisfies the constraints already; applying them again could change last digits.
    atoms.set_cell(state[prefix + "cell"], scale_atoms=False, apply_constraint=False)
    atoms.set_positions(state[prefix + "positions"], apply_constraint=False)
    atoms.set_momenta(state[prefix + "momenta"], apply_constraint=False)


def end_sizes(state: State) -> dict[str, int] | None:
    """Sizes of the files at the end of a run, None if the run of this `state` has not ended."""
    if END + "sizes" not in state:
        return None
    sizes: dict[str, int] = json.loads(str(state[END + "sizes"]))
    return sizes


def steps_done(state: State) -> int:
    """Number of steps of a run, which may have gone on after its last saved `state`."""
    last = int(state["dynamics nsteps"])
    return max(last, int(state.get(END + "nsteps", last)))


def restore(dynamics: MolecularDynamics, state: State) -> None:
    """Put an integrator and its atoms into a state, and reset their calculators.

    A run does this at each of its saved states, even if nothing interrupts it. Neighbour lists,
    cached forces and the memory layout of arrays, all of which may change last digits, are then
    the same as in a run that is continued from that state.

    Parameters
    ----------
    dynamics:
        ASE integrator with its atoms.
    state:
        State of the same kind of integrator.
    """
    place(dynamics.atoms, state)
    for prefix, part in _parts(dynamics).items():
        for key, value in state.items():
            name = key.removeprefix(prefix)
            # "dynamics thermostat x" would be a name of another part: names have no spaces
            if key.startswith(prefix) and " " not in name:
                _set(part, name, value)
    reset(dynamics.atoms.calc)
    if isinstance(dynamics, InnerSteps):
        reset(dynamics.fast)


def reset(calculator: Any) -> None:
    """Drop the cached results of a `calculator`, and of the calculators that it sums."""
    if isinstance(calculator, SupportsReset):
        calculator.reset()
    if isinstance(calculator, LinearCombinationCalculator):
        for part in calculator.mixer.calcs:
            reset(part)


def write(folder: Path, state: State, outputs: dict[str, int]) -> None:
    """Replace the state file of a folder.

    At every moment the file holds one complete state, the old one or the new one.

    Parameters
    ----------
    folder:
        Folder of the run.
    state:
        State to write.
    outputs:
        Sizes of the other files, see `Outputs.sizes`.
    """
    temporary = folder / (FILE + ".tmp")
    described = {OUTPUTS: np.array(json.dumps(outputs))}
    with open(temporary, "wb") as file:
        np.savez(file, **state, **described)  # type: ignore[arg-type]  # its stubs forbid **
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, folder / FILE)
    # the new name is on disk only when its folder is
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read(folder: Path) -> tuple[State, dict[str, int]] | tuple[None, None]:
    """State and output sizes of the run in a `folder`, (None, None) if it holds no state."""
    path = folder / FILE
    if not path.exists():
        return None, None
    try:
        with np.load(path, allow_pickle=False) as file:
            state = dict(file)
        sizes = json.loads(str(state.pop(OUTPUTS)))
        missing = [name for name in REQUIRED if name not in state]
        if missing:
            raise ValueError(f"it lacks {', '.join(missing)}")
        return state, sizes
    except Exception as error:  # zip, numpy and json raise errors of many kinds
        raise ValueError(
            f"`{path}` cannot be read as the state of a run: {type(error).__name__}: {error}"
        ) from None


def _parts(dynamics: MolecularDynamics) -> dict[str, object]:
    """{prefix: object} of the integrator and of the thermostat and barostat inside it."""
    parts = {
        f"{name} ": part
        for name, part in vars(dynamics).items()
        if type(part).__module__.startswith("ase.md.")
    }
    return {"dynamics ": dynamics, **parts}


def _set(part: object, name: str, value: np.ndarray) -> None:
    """Set a number, an array or the state of a random number generator."""
    current = getattr(part, name, None)
    if isinstance(current, np.random.Generator):
        current.bit_generator.state = json.loads(str(value))
    else:
        setattr(part, name, value.item() if value.ndim == 0 else value.copy())
