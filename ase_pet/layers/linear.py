"""Linear maps, norms and small MLPs on flat rows, fast on a CPU.

All linear maps of all models go through `linear`. On a CPU in float32 it calls oneDNN, which is as
fast as the default library on some processors and more than twice as fast on others (AMD Zen 5);
frozen weights are packed once for both directions, which pays for few rows and wide layers.
Elsewhere, for few products, and where the operator is missing or wrong, it is
torch.nn.functional.linear. Derivatives of any order are exact on every path.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import nn
from torch.nn import functional

# A call of oneDNN takes about 15 us more than one of the default library, and as a function of
# Python 10 us more in each direction. For fewer products (rows k m) than these it saves less.
FEWEST_PRODUCTS = 3 * 10**6
ROWS = 24  # fewer rows take about as long, because most of it is to read the weight
# id of a frozen weight -> (weak reference, stamp, (packed weight, packed transpose)); an entry is
# removed together with its weight
_packed: dict[int, tuple[Any, ...]] = {}


def linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """Rows x W^T + b, (rows, m).

    Parameters
    ----------
    x:
        Input (rows, k).
    weight:
        W (m, k).
    bias:
        b (m,), or None for 0.
    """
    if not _runs_on_onednn(x):
        return functional.linear(x, weight, bias)
    if weight.requires_grad or (bias is not None and bias.requires_grad):
        return _Product.apply(x, weight.t(), bias)
    if max(x.shape[0], ROWS) * weight.numel() < FEWEST_PRODUCTS:
        return functional.linear(x, weight, bias)
    if _is_traced.get():
        return _TracedLinear.apply(x, weight, bias, False)
    return _PackedLinear.apply(x, bias, _pack(weight))


def _runs_on_onednn(x: torch.Tensor) -> bool:
    if x.dtype != torch.float32 or x.device.type != "cpu":
        return False
    # the operators fail on empty tensors
    return x.shape[0] > 0 and _onednn_works()


class _PackedLinear(torch.autograd.Function):
    """x W^T + b with W and W^T, both packed.

    Its gradient is the same operation with packed W^T, so it has all derivatives.
    """

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, bias: torch.Tensor | None, weights: tuple[Any, Any]
    ) -> torch.Tensor:
        ctx.weights = weights
        packed, _ = weights
        return _onednn(x, packed, bias)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[Any, ...]:
        packed, packed_transpose = ctx.weights
        gradient = gradient.contiguous()
        if torch.is_grad_enabled():
            to_x = _PackedLinear.apply(gradient, None, (packed_transpose, packed))
        else:
            to_x = _onednn(gradient, packed_transpose, None)
        return to_x, None, None


# whether the operators of a step are recorded, which packed weights cannot be part of
_is_traced = contextvars.ContextVar("_is_traced", default=False)
_operators = torch.library.Library("ase_pet", "FRAGMENT")
_operators.define("packed_linear(Tensor x, Tensor weight, Tensor? bias, bool transposed) -> Tensor")


@contextlib.contextmanager
def traced() -> Iterator[None]:
    """Context in which each map with frozen weights is one operator of this package."""
    token = _is_traced.set(True)
    try:
        yield
    finally:
        _is_traced.reset(token)


def _packed_linear(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, transposed: bool
) -> torch.Tensor:
    """Rows x W^T + b, or x W if `transposed`, by the packed weight of W."""
    packed, packed_transpose = _pack(weight)
    return _onednn(x.contiguous(), packed_transpose if transposed else packed, bias)


def _shape_of_packed_linear(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, transposed: bool
) -> torch.Tensor:
    """Tensor of the shape of the rows, without values."""
    return x.new_empty(x.shape[0], weight.shape[1 if transposed else 0])


_operators.impl("packed_linear", _packed_linear, "CPU")
_operators.impl("packed_linear", _shape_of_packed_linear, "Meta")


class _TracedLinear(torch.autograd.Function):
    """As `_PackedLinear`, by an operator that takes the weight itself."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        transposed: bool,
    ) -> torch.Tensor:
        ctx.weight = weight
        ctx.transposed = transposed
        result: torch.Tensor = torch.ops.ase_pet.packed_linear(x, weight, bias, transposed)
        return result

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[Any, ...]:
        to_x = _TracedLinear.apply(gradient, ctx.weight, None, not ctx.transposed)
        return to_x, None, None, None


class _Product(torch.autograd.Function):
    """x w + b for x (rows, k), w (k, m), b (m,).

    Its gradients are products again, so it has all derivatives.
    """

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
    ) -> torch.Tensor:
        ctx.save_for_backward(x, weight)
        return _onednn(x, weight.t(), bias)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[Any, ...]:
        x, weight = ctx.saved_tensors
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad
        # the gradient with respect to positions runs through here too, and must not pay for that of
        # the weights
        needs_weight = needs_weight and is_executed(ctx.next_functions[1][0])
        return (
            _Product.apply(gradient, weight.t(), None) if needs_x else None,
            _transposed_product(x, gradient) if needs_weight else None,
            gradient.sum(0) if needs_bias else None,
        )


def _transposed_product(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """x^T y for x (rows, k), y (rows, m).

    The operator copies its transposed left side, so that is the narrow one.
    """
    if x.shape[1] <= y.shape[1]:
        return _Product.apply(x.t(), y, None)
    return _Product.apply(y.t(), x, None).t()


def is_executed(node: Any) -> bool:
    """Whether the backward pass in progress reaches this node of the autograd graph.

    Parameters
    ----------
    node:
        Node, one of `ctx.next_functions` of a function.
    """
    try:
        return torch._C._will_engine_execute_node(node)
    except AttributeError:  # a torch without this function
        return True


def _onednn(x: torch.Tensor, weight: Any, bias: torch.Tensor | None) -> torch.Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


def _pack(weight: torch.Tensor) -> tuple[Any, Any]:
    """Packed weight and packed transpose, computed again if the weight has changed."""
    key = id(weight)
    stamp = _stamp(weight)
    entry = _packed.get(key)
    # an id may be that of another tensor whose memory was freed
    if entry is None or entry[0]() is not weight or entry[1] != stamp:
        reference = weakref.ref(weight, lambda _: _packed.pop(key, None))
        entry = (reference, stamp, _reorder(weight.detach()))
        _packed[key] = entry
    weights: tuple[Any, Any] = entry[2]
    return weights


def _stamp(parameter: torch.Tensor) -> tuple[Any, ...]:
    """Values that change when a parameter does, unless it is changed in place through `.data`."""
    return parameter.data_ptr(), parameter._version, parameter.dtype


def _reorder(weight: torch.Tensor) -> tuple[Any, Any]:
    pack = torch.ops.mkldnn._reorder_linear_weight
    return pack(weight.contiguous()), pack(weight.t().contiguous())


@functools.cache
def _onednn_works() -> bool:
    """Whether this torch has the operators and they give the right numbers."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(5, 7, generator=generator)
    weight = torch.randn(3, 7, generator=generator)
    # each way in which this file calls the operators, against torch.matmul
    try:
        packed, packed_transpose = _reorder(weight)
        y = _onednn(x, packed, None)
        pairs = [
            (y, x @ weight.T),
            (_onednn(x, weight, None), x @ weight.T),
            (_onednn(y, packed_transpose, None), y @ weight),
            (_onednn(y, weight.t(), None), y @ weight),
            (_onednn(x.t(), y.t(), None), x.t() @ y),
        ]
    except (AttributeError, RuntimeError):
        return False
    return all(torch.allclose(got, expected, atol=1e-5) for got, expected in pairs)


def derived(
    module: nn.Module, name: str, parameters: Iterable[torch.Tensor], build: Callable[[], Any]
) -> Any:
    """Result of build(), computed once for as long as the parameters are frozen and unchanged.

    For tensors computed from parameters, such as products of two weights: in training they are
    computed in each forward pass, so that gradients reach the parameters; in inference they are
    kept, so that `linear` packs them once.

    Parameters
    ----------
    module:
        Module that the result is kept in.
    name:
        Name of the result within the module.
    parameters:
        All tensors that the result depends on.
    build:
        Function without arguments.
    """
    parameters = tuple(parameters)
    # in training the result is part of the autograd graph of one step
    if any(parameter.requires_grad for parameter in parameters):
        return build()
    cache = module.__dict__.setdefault("_derived", {})
    stamp = tuple(map(_stamp, parameters))
    of, _, result = cache.get(name, (None, None, None))
    if of != stamp:
        with torch.no_grad():
            result = build()
        # the parameters are kept as well: their freed memory might be that of the next ones
        cache[name] = (stamp, parameters, result)
    return result


class Linear(nn.Linear):
    """Linear map that uses packed weights where it can."""

    def reset_parameters(self) -> None:
        """Draw random weights, unless they are on the device `meta` and have no values.

        Drawing them there imports a compiler, which takes 0.9 s.
        """
        if not self.weight.is_meta:
            super().reset_parameters()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Rows (rows, out_features) for x (rows, in_features)."""
        return linear(x, self.weight, self.bias)


class Embedding(nn.Embedding):
    """Table of vectors."""

    def reset_parameters(self) -> None:
        """Draw random vectors, unless they are on the device `meta` and have no values."""
        if not self.weight.is_meta:
            super().reset_parameters()


class SwiGLU(nn.Module):
    """w_out(v * sigmoid(g)) with v, g = w_in(x); note sigmoid, not SiLU, as the gate.

    Parameters
    ----------
    width:
        Width of input and output.
    hidden:
        Width of v and g.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.w_in = Linear(width, 2 * hidden)
        self.w_out = Linear(hidden, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Rows (rows, width) for x (rows, width)."""
        return self.w_out(functional.glu(self.w_in(x)))


class SiLU(nn.Module):
    """w_out(silu(w_in(x))).

    Parameters
    ----------
    width:
        Width of input and output.
    hidden:
        Width of the hidden layer.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.w_in = Linear(width, hidden)
        self.w_out = Linear(hidden, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Rows (rows, width) for x (rows, width)."""
        return self.w_out(functional.silu(self.w_in(x)))


def head(width: int, hidden: int) -> nn.Sequential:
    """Two-layer MLP with SiLU after both layers, whose output is the input of a linear readout.

    Parameters
    ----------
    width:
        Width of tokens.
    hidden:
        Width of both layers.
    """
    return nn.Sequential(Linear(width, hidden), nn.SiLU(), Linear(hidden, hidden), nn.SiLU())


def stack(n: int, build: Callable[..., nn.Module], *arguments: Any) -> nn.ModuleList:
    """n modules build(*arguments), each with weights of its own.

    Parameters
    ----------
    n:
        Number of modules.
    build:
        Class of the modules, or a function that returns one.
    arguments:
        Arguments of each call of `build`.

    """
    return nn.ModuleList(build(*arguments) for _ in range(n))


FEEDFORWARD = {"SwiGLU": SwiGLU, "SiLU": SiLU}
