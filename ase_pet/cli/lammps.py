"""`ase-pet lammps`: an input of LAMMPS with a calculator as the potential."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from . import options, screen
from ._errors import FAILED, status

Variables = Annotated[list[str] | None, typer.Option("--var", metavar="NAME=VALUE")]
Elements = Annotated[list[str] | None, typer.Argument(show_default=False)]


@options.with_options(options.calculator_options())
def command(
    script: Annotated[Path, typer.Argument(show_default=False)],
    elements: Elements = None,
    *,
    calculator: Annotated[str, typer.Option(show_default=False)],
    species: Annotated[str, typer.Option(show_default=False)],
    var: Variables = None,
    charge: int = 0,
    spin: int = 1,
    uncertainty: str | None = None,
    uncertainty_threshold: float | None = None,
    **chosen: Any,
) -> None:
    """Run an input of LAMMPS with a calculator, on one process or on many (mpiexec).

    The input is an ordinary one, with `units` metal or real, and without a pair style: the
    calculator is attached before the first command that evaluates forces. An error on any process
    ends the run on all of them, with exit status 1. Needs the extra `engines`: pip install
    '.[engines]' in a clone of ase_pet.

    Parameters
    ----------
    script:
        File of LAMMPS commands.
    elements:
        Further elements of --species.
    calculator:
        Name, calculator folder or checkpoint; or module:factory of an MLIPCalculator.
    species:
        Elements of the atom types 1, 2, ..., e.g. Si O.
    var:
        Variable of the input (index style), as -var of LAMMPS; may be repeated.
    charge:
        Total charge in e, for models that depend on it.
    spin:
        Spin multiplicity 2S+1, for models that depend on it.
    uncertainty:
        Action when the predicted uncertainty is too high: off, warn, stop (the run); default: off.
    uncertainty_threshold:
        Energy of an atom in eV above which it is too high; default: 0.1.
    chosen:
        Options of the calculator, `options.CALCULATOR`.

    Examples
    --------
    Example: mpiexec -n 2 ase-pet lammps in.lmp --calculator silicon --species Si
    """
    from ..engines import lammps
    from ..engines._lammps_input import execute, read_script
    from ..engines._ranks import Ranks, load_mpi
    from ..engines.lammps import SKIN, attach

    comm = load_mpi().COMM_WORLD
    ranks = Ranks(comm if comm.size > 1 else None)
    try:
        _quiet_other_ranks(ranks.rank)
        content = read_script(script)
        skin = chosen.pop("skin")
        with lammps.together(ranks):
            chosen["device"] = _device(chosen["device"], ranks)
            is_factory = ":" in calculator and not Path(calculator).exists()
            potential = options.load_calculator(
                None if is_factory else calculator,
                calculator if is_factory else None,
                **{**chosen, "device": None if is_factory else chosen["device"]},
                uncertainty=uncertainty,
                uncertainty_threshold=uncertainty_threshold,
            )
        lmp = lammps.instance(comm, _variables(var), quiet=screen.verbosity.quiet)
        types = [*species.replace(",", " ").split(), *(elements or [])]

        def attached() -> None:
            attach(
                lmp,
                potential,
                comm,
                species=types,
                skin=skin or content.skin or SKIN,
                fix=content.fix or lammps.FIX,
                charge=charge,
                spin=spin,
            )

        execute(content, lmp, attached, ranks)
        lmp.close()
    except Exception as error:
        if type(error).__name__ == "MPIAbortException":  # LAMMPS on this rank only
            screen.complain(str(error))
            comm.Abort(FAILED)
            os._exit(FAILED)  # Abort returns before the process is ended
        if ranks.rank > 0:  # the first one says it
            raise typer.Exit(status(error)) from None
        raise


def _quiet_other_ranks(rank: int) -> None:
    """Notes and warnings come from the first rank only."""
    import warnings

    if rank > 0:
        screen.verbosity.quiet = True
        warnings.simplefilter("ignore")


def _device(name: str | None, ranks: Any) -> str:
    """Device of this rank: GPUs are taken in turn, cores are shared equally."""
    import torch

    places = ("MPI_LOCALRANKID", "OMPI_COMM_WORLD_LOCAL_RANK", "SLURM_LOCALID")
    local = next((os.environ[place] for place in places if place in os.environ), ranks.rank)
    if "OMP_NUM_THREADS" not in os.environ:
        # torch takes all cores of the machine for each process
        torch.set_num_threads(max(1, torch.get_num_threads() // ranks.size))
    if name in (None, "auto", "cuda") and torch.cuda.is_available():
        return f"cuda:{int(local) % torch.cuda.device_count()}"
    return name or "auto"


def _variables(texts: list[str] | None) -> list[str]:
    """Arguments of LAMMPS for the values of --var."""
    arguments = []
    for text in texts or []:
        name, is_pair, value = text.partition("=")
        if not is_pair or not name:
            raise ValueError(f"`--var` is {text!r}: expected NAME=VALUE, such as T=300")
        arguments += ["-var", name, *value.split()]
    return arguments
