"""`ase-pet ipi`: forces for i-PI, or another program with its protocol, over a socket."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from . import options, screen

PORT = 31415  # that of i-PI's inputs
Unix = Annotated[bool, typer.Option("--unix")]


@options.with_options(options.structure_options(), options.calculator_options())
def command(
    calc: options.Calc = None,
    structure: options.Structure = None,
    *,
    calculator: options.Factory = None,
    address: str = "localhost",
    port: Annotated[int, typer.Option(min=1, max=65535)] = PORT,
    unix: Unix = False,
    stress: bool | None = None,
    **chosen: Any,
) -> None:
    """Energies, forces and virials for i-PI over a socket, until i-PI ends.

    Start i-PI first: its input has <ffsocket mode="unix"> or "inet" with the same address, and as
    many of these commands may serve it as there are beads. STRUCTURE states the elements, in the
    order of i-PI's, and what is periodic.

    Parameters
    ----------
    calc:
        Name, calculator folder or checkpoint.
    structure:
        File of the structure; the last one is used if it holds several.
    calculator:
        module:factory of any ASE calculator, instead of CALC.
    address:
        Machine where i-PI runs, or name of its socket with --unix.
    port:
        Port of i-PI, without --unix.
    unix:
        Use a socket of this machine, /tmp/ipi_ADDRESS.
    stress:
        Send virials; default: where the structure has a cell.
    chosen:
        --format, and options of the calculator, `options.CALCULATOR`.

    Examples
    --------
    Example: ase-pet ipi silicon si.cif --unix --address driver
    """
    from ase.calculators.socketio import SocketClient

    from .. import graph
    from ..calculator import MLIPCalculator

    atoms = options.structure_with_calculator(calc, structure, calculator, **chosen)
    if isinstance(atoms.calc, MLIPCalculator):  # refused now, not when i-PI asks
        graph.check(graph.from_atoms(atoms, False), atoms.calc.species)
    if stress is None:
        stress = atoms.cell.rank == 3
    where = f"/tmp/ipi_{address}" if unix else f"{address}:{port}"
    socket: dict[str, Any] = {"unixsocket": address} if unix else {"host": address, "port": port}
    try:
        if unix and not Path(where).exists():
            raise OSError("there is no such socket")
        client = SocketClient(**socket)
    except OSError as error:
        raise ValueError(
            f"`--address` {where}: {error.strerror or error}; expected a running i-PI that waits"
            " there"
        ) from None
    client.run(atoms, use_stress=stress)
    screen.say("i-PI has ended")
