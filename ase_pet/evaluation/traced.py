"""Energies and their gradient as one list of operators, recorded and compiled once for many steps.

The operators of the model and of its automatic differentiation are the same in each step as long as
all arrays keep their shapes (`Graph.lengths`). So they are recorded in one step, and compiled into
fewer and faster ones for the next steps.
"""

from __future__ import annotations

import importlib
import time
import warnings
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import torch

from ..errors import error_text
from ..graph import Graph
from ..layers import linear
from ..models.base import AtomisticModel
from .derivatives import gradient

Function = Callable[..., tuple[torch.Tensor, ...]]
MOST_TRACES = 8  # each takes minutes, and some memory
ROUNDING = 1000  # largest difference of compiled results, in units of the precision
# arrays that are reused while they are needed make wrong gradients of some models (torch 2.13)
OPTIONS = {"allow_buffer_reuse": False}
MOST_LETTERS = 200  # of an error in a note
NOT_COMPILED = "steps of this model are not compiled"
SHAPE_OF_VALUES = {torch.Tag.dynamic_output_shape, torch.Tag.data_dependent_output}


class TracedGradient:
    """Energies and their gradient for the graphs of a run, which have arrays of fixed lengths.

    Parameters
    ----------
    model:
        Model with frozen weights.

    Attributes
    ----------
    traces:
        Number of times that operators were recorded and compiled: once for each set of shapes.
    seconds:
        Time that this took.
    """

    def __init__(self, model: AtomisticModel) -> None:
        self.model = model
        self.traces = 0
        self.seconds = 0.0
        self._functions: dict[Any, Function | None] = {}
        self._has_compiler = True
        self._has_noted = False

    def __call__(self, graph: Graph) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Energies (n_atoms,) in eV, float64, and dE/dv (P, 3) in eV/A.

        None where the operators depend on the values of the positions, and where too many sets of
        shapes were compiled before.

        Parameters
        ----------
        graph:
            Structures, with a room of fixed lengths.
        """
        assert graph.room is not None
        tensors = _tensors(graph)
        function = self._function(graph, tensors)
        if function is None:
            return None
        with torch.no_grad():
            energies, derivative, excess = function(*tensors.values())
        graph.room.excess.append(excess)
        return energies, derivative

    def _function(self, graph: Graph, tensors: dict[str, torch.Tensor]) -> Function | None:
        """Function of the tensors of graphs such as this one, None if there is none."""
        key = self._key(graph, tensors)
        if key in self._functions:
            return self._functions[key]
        if self.traces == MOST_TRACES:
            self._note(
                f"steps of other sizes than the first {MOST_TRACES} run without it, which is for"
                " long runs of one structure"
            )
            return None
        function = self._timed(graph, tensors)
        self._functions[key] = function
        return function

    def _note(self, text: str) -> None:
        """Say once why nothing more is compiled."""
        if not self._has_noted:
            warnings.warn(f"`compile`: {text}", stacklevel=2)
        self._has_noted = True

    def _key(self, graph: Graph, tensors: dict[str, torch.Tensor]) -> tuple[Any, ...]:
        """All that the operators for a graph depend on, but the values of its tensors."""
        assert graph.room is not None
        shapes = [(tensor.shape, tensor.dtype) for tensor in tensors.values()]
        lengths = graph.room.known(graph.n_atoms)
        # weights may be changed in place: those that are packed or multiplied once are others then
        weights = (*self.model.parameters(), *self.model.buffers())
        versions = [(weight.data_ptr(), weight._version) for weight in weights]
        head = self.model.energy_head
        scale = repr(self.model.scales.get(head))  # a number among the operators
        return (*shapes, *lengths, *versions, head, scale, graph.n_structures)

    def __getstate__(self) -> dict[str, Any]:
        # compiled functions cannot be copied
        return {**self.__dict__, "_functions": {}, "traces": 0, "seconds": 0.0}

    def _timed(self, graph: Graph, tensors: dict[str, torch.Tensor]) -> Function | None:
        """As `_made`, with a note of the time that it took."""
        start = time.perf_counter()
        function = self._made(graph, tensors)
        if function is None:
            return None
        seconds = time.perf_counter() - start
        self.traces += 1
        self.seconds += seconds
        if self._has_compiler:
            warnings.warn(
                f"`compile`: a step of {graph.n_atoms} atoms was compiled in {seconds:.0f} s"
                f" ({self.traces} so far)",
                stacklevel=2,
            )
        return function

    def _made(self, graph: Graph, tensors: dict[str, torch.Tensor]) -> Function | None:
        """Function of the tensors of a graph; None if its operators depend on their values."""
        try:
            importlib.import_module("torch._inductor")  # which makes its folder
            from torch.fx.experimental.proxy_tensor import make_fx
        except Exception as error:
            self._note(f"steps run without a compiler: {_problem(error)}")
            return None
        names = list(tensors)

        def step(*values: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return self._step(replace(graph, **dict(zip(names, values, strict=True))))

        try:
            with linear.traced():
                recorded = make_fx(step)(*tensors.values())
            depends_on_values = any(map(_depends_on_values, recorded.graph.nodes))
        except RuntimeError:  # a number of the host that depends on values
            depends_on_values = True
        if depends_on_values:
            self._note(f"{NOT_COMPILED} (symmetrised, or no PET or PONITA)")
            return None
        recorded.graph.eliminate_dead_code()
        recorded.recompile()
        return self._compiled(recorded, list(tensors.values()))

    def _step(self, graph: Graph) -> tuple[torch.Tensor, ...]:
        """Energies (n_atoms,), dE/dv (P, 3), and the largest of the numbers of rows that lack."""
        assert graph.room is not None
        room = graph.room.fixed()
        vectors = graph.pair_vectors.detach()
        vectors.requires_grad_()
        with torch.enable_grad():
            moved = replace(graph, pair_vectors=vectors, room=room)
            energies = self.model(moved).double()
            total = energies.sum()
        derivative = gradient(total, vectors)
        nothing = graph.numbers.new_zeros(())
        excess = torch.stack([*room.excess, nothing])
        return energies.detach(), derivative, excess.max()

    def _compiled(self, recorded: torch.fx.GraphModule, tensors: list[torch.Tensor]) -> Function:
        """The recorded operators, compiled where there is a compiler that makes no errors."""
        if not self._has_compiler:
            return recorded
        precision = max(torch.finfo(weight.dtype).eps for weight in self.model.parameters())
        warnings.warn("`compile`: the steps are being compiled, which takes minutes", stacklevel=2)
        problem = "compiled numbers are wrong"
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of torch's own code
                compiled: Function = torch._inductor.compile(recorded, tensors, options=OPTIONS)
            with torch.no_grad():
                found = compiled(*tensors)
                expected = recorded(*tensors)
            is_right = _agree(found, expected, precision)
        except Exception as error:  # whatever is wrong with a compiler
            is_right = False
            problem = _problem(error)
        if is_right:
            return compiled
        self._has_compiler = False
        self._note(f"steps run without a compiler: {problem}")
        return recorded


def _problem(error: Exception) -> str:
    """What keeps torch from compiling, and what to do, in one line."""
    text = error_text(error).strip()
    # the output of a compiler has its errors among many other lines
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if "error:" in line]
    shown = (telling or lines)[0][:MOST_LETTERS]
    return (
        f"{shown}. It needs a C++ compiler such as g++, header files of Python, and a folder that"
        " can be written (TORCHINDUCTOR_CACHE_DIR)"
    )


def _agree(
    found: tuple[torch.Tensor, ...], expected: tuple[torch.Tensor, ...], precision: float
) -> bool:
    """Whether numbers differ by rounding only."""
    for one, other in zip(found, expected, strict=True):
        largest = other.abs().max()
        difference = (one - other).abs().max()
        if not difference <= ROUNDING * precision * largest:
            return False
    return True


def _depends_on_values(node: torch.fx.Node) -> bool:
    """Whether the shape of the result of an operator depends on values."""
    if node.target is torch.ops.aten.index.Tensor:  # not with numbers of rows
        indices = [index for index in node.args[1] if index is not None]
        return any(index.meta["val"].dtype == torch.bool for index in indices)
    if not isinstance(node.target, torch._ops.OpOverload):
        return False
    return bool(SHAPE_OF_VALUES & set(node.target.tags))


def _tensors(graph: Graph) -> dict[str, torch.Tensor]:
    """All tensors of a graph by name."""
    values = {field.name: getattr(graph, field.name) for field in fields(graph)}
    return {name: value for name, value in values.items() if isinstance(value, torch.Tensor)}
