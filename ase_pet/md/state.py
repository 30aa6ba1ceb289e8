"""The state of a run: all that decides how it goes on, in one file that is replaced at once.

A state holds positions, momenta and cell, every number and array that the integrator, its
thermostat and its barostat remember, and the state of the random numbers. It is taken from the
objects of ASE as they are, whatever their names, so that an integrator with other variables needs
nothing here.
"""

import json
import os

import numpy as np

FILE = "state.npz"
ATOMS = "atoms "  # before the names of what belongs to the structure
OUTPUTS = "outputs"


def capture(dynamics):
    """{name: array}, the state of an integrator of ASE and of its atoms."""
    atoms = dynamics.atoms
    found = {
        ATOMS + "numbers": atoms.numbers,
        ATOMS + "pbc": atoms.pbc,
        ATOMS + "positions": atoms.get_positions(),
        ATOMS + "momenta": atoms.get_momenta(),
        ATOMS + "cell": atoms.cell.array.copy(),
    }
    for prefix, holder in _holders(dynamics).items():
        for name, value in vars(holder).items():
            if isinstance(value, np.random.Generator):
                found[prefix + name] = np.array(json.dumps(value.bit_generator.state))
            elif isinstance(value, (int, float, np.generic, np.ndarray)) and not isinstance(
                value, bool
            ):
                found[prefix + name] = np.array(value)
    return found


def place(atoms, state):
    """Give the atoms the positions, momenta and cell of a state.

    Raises ValueError where the state is of other atoms.
    """
    for name, now in (("numbers", atoms.numbers), ("pbc", atoms.pbc)):
        if not np.array_equal(now, state[ATOMS + name]):
            raise ValueError(
                f"the structure has other {name} than the run to be continued: give the one it"
                " began with"
            )
    # Constraints were obeyed when the state was taken; to apply them again would change last
    # digits.
    atoms.set_cell(state[ATOMS + "cell"], scale_atoms=False, apply_constraint=False)
    atoms.set_positions(state[ATOMS + "positions"], apply_constraint=False)
    atoms.set_momenta(state[ATOMS + "momenta"], apply_constraint=False)


def restore(dynamics, state):
    """Put an integrator and its atoms into a state, and make their calculators forget what they
    computed.

    A run passes through here at each of its states, also where nothing stopped it. Neighbour lists,
    cached forces, and the layout of arrays in memory, all of which may change last digits, are then
    those of a run that is continued.
    """
    place(dynamics.atoms, state)
    for prefix, holder in _holders(dynamics).items():
        names = [
            name
            for name in state
            if name.startswith(prefix) and " " not in name.removeprefix(prefix)
        ]
        for name in names:
            _give(holder, name.removeprefix(prefix), state[name])
    for calculator in (dynamics.atoms.calc, getattr(dynamics, "fast", None)):
        reset(calculator)


def reset(calculator):
    """Make a calculator of ASE, and those that it is a sum of, forget the last structure."""
    if hasattr(calculator, "reset"):
        calculator.reset()
    for part in getattr(getattr(calculator, "mixer", None), "calcs", ()):
        reset(part)


def write(folder, state, outputs):
    """Replace the state file of a folder; `outputs` are the sizes of the other files, as their
    writers know them.

    At every moment the file holds one whole state: the old one or the new one.
    """
    temporary = folder / (FILE + ".tmp")
    with open(temporary, "wb") as file:
        np.savez(file, **state, **{OUTPUTS: np.array(json.dumps(outputs))})
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, folder / FILE)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read(folder):
    """State and sizes of the outputs of a folder, (None, None) where it holds no state."""
    path = folder / FILE
    if not path.exists():
        return None, None
    try:
        with np.load(path, allow_pickle=False) as file:
            state = dict(file)
        return state, json.loads(str(state.pop(OUTPUTS)))
    except Exception as error:  # zip, numpy and json have errors of their own
        raise ValueError(
            f"`{path}` cannot be read as the state of a run: {type(error).__name__}: {error}"
        ) from None


def _holders(dynamics):
    """{prefix: object} of the integrator and of the thermostat and barostat inside it."""
    parts = {
        f"{name} ": part
        for name, part in vars(dynamics).items()
        if type(part).__module__.startswith("ase.md.")
    }
    return {"dynamics ": dynamics, **parts}


def _give(holder, name, value):
    current = getattr(holder, name, None)
    if isinstance(current, np.random.Generator):
        current.bit_generator.state = json.loads(str(value))
    else:
        setattr(holder, name, value.item() if value.ndim == 0 else value.copy())
