"""The line on stderr that says what a command starts from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from . import screen

if TYPE_CHECKING:
    from ase import Atoms


def announce(name: object, calculator: Any, structures: Sequence[Atoms]) -> None:
    """Print what a command starts from on stderr: calculator, atoms, device, precision, threads.

    Parameters
    ----------
    name:
        CALC, or the value of --calculator.
    calculator:
        The calculator itself.
    structures:
        Structures to evaluate.
    """
    if screen.verbosity.quiet:
        return
    words = [str(name), *_hardware(calculator)]
    atoms = sum(map(len, structures))
    if len(structures) == 1:
        formula = structures[0].get_chemical_formula(empirical=False)
        words.insert(1, f"{atoms} atom{'s' * (atoms > 1)} {formula}")
    elif structures:
        words.insert(1, f"{len(structures)} structures of {atoms} atoms together")
    screen.note(f"ase-pet: {', '.join(words)}")


def _hardware(calculator: Any) -> list[str]:
    """Symmetriser, device, precision and threads; nothing for a calculator of another package."""
    import torch

    from ..calculator import PETCalculator
    from ..dispersion import WithDispersion

    if isinstance(calculator, WithDispersion):
        return [*_hardware(calculator.calculator), f"D3 of {calculator.functional}"]
    if not isinstance(calculator, PETCalculator):
        return []
    device = calculator.device
    on_gpu = device.type == "cuda"
    threads = torch.get_num_threads()
    symmetrise = calculator.parameters["symmetrise"] or calculator.card.symmetrise
    return [
        *([] if symmetrise == "none" else [symmetrise]),
        torch.cuda.get_device_name(device) if on_gpu else "cpu",
        str(calculator.dtype).removeprefix("torch."),
        f"{threads} thread{'s' * (threads > 1)}",
    ]
