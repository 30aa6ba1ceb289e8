"""Work on many structures that several processes share.

`executor` may be any object with the method `submit` of concurrent.futures: ProcessPoolExecutor,
MPIPoolExecutor of mpi4py.futures, `Client(...).get_executor()` of dask.distributed, or
SingleNodeExecutor of executorlib. Workers are told how to make the calculator, and keep it. Results
come in the order of the items; errors and warnings are those that one process would have given.

Use processes that are spawned rather than forked (`processes` does): threads of OpenMP and CUDA do
not survive a fork. A script then needs its body under `if __name__ == "__main__":`, as workers
import it again.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import multiprocessing
import pickle
import signal
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, runtime_checkable

from ..choices import shown
from ..errors import error_text, origin
from ._recipes import Recipe, calculator_of, made_by, recipe_of

__all__ = ["Executor", "WorkerLost", "check", "made_by", "processes", "run", "stream", "work"]

MOST_WORKERS = 1024
Result = TypeVar("Result")

_one_at_a_time = threading.RLock()


@runtime_checkable
class Executor(Protocol):
    """An executor, as those of concurrent.futures are."""

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Any:
        """Future of function(*arguments), whose method `result` waits for it."""


class WorkerLost(RuntimeError):
    """A worker ended without a result."""


@dataclass
class Job:
    """What a worker is given: the calculator itself stays in its process.

    Attributes
    ----------
    recipe:
        How to make the calculator.
    function:
        Function of the calculator and the item.
    item:
        What is computed.
    calculator:
        The calculator, None in another process.
    """

    recipe: Recipe
    function: Callable[[Any, Any], Any]
    item: Any
    calculator: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "calculator": None}


@dataclass
class Outcome:
    """What a worker returns.

    Attributes
    ----------
    value:
        Result of the function.
    error:
        Exception that it raised, else None.
    origin:
        Library that raised it, "" for a message of this package to users.
    trace:
        Text of its traceback.
    notes:
        Warnings, text and category.
    """

    value: Any = None
    error: Exception | None = None
    origin: str = ""
    trace: str = ""
    notes: list[tuple[str, type[Warning]]] = field(default_factory=list)


class Remote(Exception):
    """Traceback in a worker, shown as the cause of its error.

    Parameters
    ----------
    trace:
        Text of the traceback.
    """

    def __init__(self, trace: str) -> None:
        super().__init__(f"in a worker:\n{trace}")


def stream(
    executor: Any,
    calculator: Any,
    function: Callable[[Any, Any], Result],
    items: Sequence[Any],
) -> Iterator[Result]:
    """function(calculator, item) for each of the items, in order.

    Parameters
    ----------
    executor:
        Object with `submit`; None computes in this process.
    calculator:
        Any ASE calculator. One that is not made by name or path is sent to the workers.
    function:
        Function of a module, that workers can import.
    items:
        What is computed, independently of each other.

    Raises
    ------
    ValueError
        The executor has no `submit`, or the calculator cannot be sent.
    WorkerLost
        A worker ended without a result.
    """
    if executor is None:
        for item in items:
            yield function(calculator, item)
        return
    check(executor)
    recipe = recipe_of(calculator)
    futures: list[Any] = []
    try:
        with _workers_that_end():
            for item in items:
                futures.append(executor.submit(work, Job(recipe, function, item, calculator)))
        told: set[str] = set()
        for future in futures:
            with _workers_that_end():
                outcome = future.result()
            yield _value(outcome, told)
    finally:
        # after an error, what has not begun is not begun
        for future in futures:
            future.cancel()


def run(
    executor: Any,
    calculator: Any,
    function: Callable[[Any, Any], Result],
    items: Sequence[Any],
    on_progress: Callable[[int, int], object] | None = None,
) -> list[Result]:
    """[function(calculator, item) for each of the items], see `stream`.

    Parameters
    ----------
    executor:
        Object with `submit`; None computes in this process.
    calculator:
        Any ASE calculator.
    function:
        Function of a module, that workers can import.
    items:
        What is computed.
    on_progress:
        Function called as on_progress(items done, number of items).
    """
    results = []
    for result in stream(executor, calculator, function, items):
        results.append(result)
        if on_progress is not None:
            on_progress(len(results), len(items))
    return results


def check(executor: Any) -> None:
    """Raise ValueError unless `executor` is None or has the method `submit`.

    Parameters
    ----------
    executor:
        What was given.
    """
    if executor is not None and (isinstance(executor, type) or not isinstance(executor, Executor)):
        raise ValueError(
            f"`executor` is {shown(executor)}: expected an object with the method `submit`, such as"
            " concurrent.futures.ProcessPoolExecutor(...)"
        )


@contextlib.contextmanager
def processes(workers: int) -> Iterator[Any]:
    """Executor of new processes on this machine; None for one worker, which is this process.

    Parameters
    ----------
    workers:
        Number of processes. Each computes with one thread, or OMP_NUM_THREADS.

    Raises
    ------
    ValueError
        The number is not 1 or more.
    """
    is_number = isinstance(workers, int) and not isinstance(workers, bool)
    if not is_number or not 1 <= workers <= MOST_WORKERS:
        raise ValueError(
            f"`workers` is {shown(workers)}: expected a number of processes, 1 to {MOST_WORKERS}"
        )
    if workers == 1:
        yield None
        return
    executor = concurrent.futures.ProcessPoolExecutor(
        workers, mp_context=multiprocessing.get_context("spawn"), initializer=_ignore_interrupts
    )
    before = set(multiprocessing.active_children())
    try:
        yield executor
    except BaseException:
        # what runs may take minutes, and nobody waits for it any more
        executor.shutdown(wait=False, cancel_futures=True)
        for process in set(multiprocessing.active_children()) - before:
            process.terminate()
        raise
    executor.shutdown()


def work(job: Job) -> Outcome:
    """What the function of a job returned or raised; called in a worker.

    Parameters
    ----------
    job:
        What is computed.
    """
    if job.calculator is not None:
        # threads of the process of the calculator take turns, as calculators keep their results
        with _one_at_a_time:
            return _outcome(job, job.calculator)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            calculator = calculator_of(job.recipe)
        except Exception as error:
            outcome = _failed(error)
        else:
            outcome = _outcome(job, calculator)
    outcome.notes = [(str(note.message), note.category) for note in caught]
    return outcome


def _outcome(job: Job, calculator: Any) -> Outcome:
    """Outcome of a job."""
    try:
        return Outcome(value=job.function(calculator, job.item))
    # of any library; a foreign calculator may call sys.exit
    except (Exception, SystemExit) as error:
        return _failed(error)


def _failed(error: Exception | SystemExit) -> Outcome:
    """Outcome of an error, which the parent can unpickle."""
    trace = "".join(traceback.format_exception(error))
    where = origin(error)
    try:
        sent = pickle.loads(pickle.dumps(error))
        sent.__cause__ = None
        assert isinstance(sent, Exception)
    except Exception:  # errors of libraries may need arguments that they do not keep
        sent = RuntimeError(error_text(error))
    return Outcome(error=sent, origin=where, trace=trace)


def _value(outcome: Outcome, told: set[str]) -> Any:
    """Value of an outcome; its warnings are given once, and its error is raised."""
    for text, category in outcome.notes:
        if text not in told:
            told.add(text)
            warnings.warn(text, category, stacklevel=4)
    if outcome.error is None:
        return outcome.value
    error = outcome.error
    # the command line names the library, as if it had been raised here
    vars(error)["origin"] = outcome.origin
    raise error from Remote(outcome.trace)


@contextlib.contextmanager
def _workers_that_end() -> Iterator[None]:
    """Explain the error of executors whose workers have ended."""
    try:
        yield
    except concurrent.futures.BrokenExecutor as error:
        raise WorkerLost(
            f"a worker ended without a result ({error_text(error)}): it was killed, as without"
            " memory, or a script lacks `if __name__ == '__main__':` around its body; use fewer"
            " workers"
        ) from error


def _ignore_interrupts() -> None:
    """Leave Ctrl-C to the parent, which ends its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
