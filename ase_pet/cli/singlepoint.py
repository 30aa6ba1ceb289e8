"""`ase-pet singlepoint`: label structures with energies, forces and stresses."""

from __future__ import annotations

from typing import Any

from . import _labelling, options


@options.with_options(options.structure_options(), options.calculator_options())
def command(
    calc: options.Calc = None,
    files: _labelling.Files = None,
    *,
    calculator: options.Factory = None,
    output: options.Output,
    restart: options.Restart = False,
    workers: options.Workers = 1,
    json: options.Json = False,
    **chosen: Any,
) -> None:
    """Label structures: energies, forces, stresses, uncertainties of the model.

    All structures of all FILES are written in order to one extxyz file, each with its `source`,
    file and index. They are evaluated in batches and written as they come: after an interrupt,
    --restart continues. Forces are those of the calculator, without constraints; stress is written
    where all three directions are periodic. Exit status 1: some structures have no labels; they
    are listed, and left out.

    Parameters
    ----------
    calc:
        Name, calculator folder or checkpoint.
    files:
        Files of structures, each with one or more.
    calculator:
        module:factory of any ASE calculator, instead of CALC.
    output:
        File to write, such as labelled.extxyz; it must not exist.
    restart:
        Continue an interrupted run, whose file holds the first structures. --resume is an alias.
    workers:
        Processes that share the work; each computes with one thread, or OMP_NUM_THREADS.
    json:
        Print JSON for programs.
    chosen:
        --format, and options of the calculator, `options.CALCULATOR`.

    Examples
    --------
    Example: ase-pet singlepoint silicon a.cif b.extxyz --output labelled.extxyz
    """
    _labelling.run(
        calc,
        files,
        calculator,
        output,
        restart=restart,
        workers=workers,
        json=json,
        chosen=chosen,
    )
