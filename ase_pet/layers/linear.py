"""Linear maps, norms and small MLPs on flat rows, fast on a CPU.

All linear maps of all models go through `linear`. On a CPU in float32 it calls oneDNN, which is as
fast as the default library on some processors and more than twice as fast on others (AMD Zen 5);
frozen weights are packed once for both directions, which pays for few rows and wide layers.
Elsewhere, and where the operator is missing or wrong, it is torch.nn.functional.linear. Derivatives
of any order are exact on every path.
"""

import functools
import weakref

import torch
from torch import nn
from torch.nn import functional

# id of a frozen weight -> (weak reference, stamp, forward, backward); entries go with their
# weights
_packed = {}


def linear(x, weight, bias=None):
    """x (rows, k) times weight (m, k) transposed, plus bias (m,)."""
    if x.dtype != torch.float32 or x.device.type != "cpu" or x.shape[0] == 0 or not _onednn_works():
        return functional.linear(x, weight, bias)
    if weight.requires_grad or (bias is not None and bias.requires_grad):
        return _Product.apply(x, weight.t(), bias)
    return _PackedLinear.apply(x, bias, *_pack(weight))


class _PackedLinear(torch.autograd.Function):
    """x W^T + b with packed W.

    Its gradient is the same operation with packed W^T, so it has all derivatives.
    """

    @staticmethod
    def forward(ctx, x, bias, forward_weight, backward_weight):
        ctx.weights = forward_weight, backward_weight
        return _onednn(x, forward_weight, bias)

    @staticmethod
    def backward(ctx, gradient):
        forward_weight, backward_weight = ctx.weights
        return (
            _PackedLinear.apply(gradient.contiguous(), None, backward_weight, forward_weight),
            None,
            None,
            None,
        )


class _Product(torch.autograd.Function):
    """x w + b for x (rows, k), w (k, m), b (m,).

    Its gradients are products again, so it has all derivatives.
    """

    @staticmethod
    def forward(ctx, x, weight, bias):
        ctx.save_for_backward(x, weight)
        return _onednn(x, weight.t(), bias)

    @staticmethod
    def backward(ctx, gradient):
        x, weight = ctx.saved_tensors
        to_x, to_weight, to_bias = ctx.needs_input_grad
        # The gradient with respect to positions runs through here too, and must not pay for that of
        # the weights.
        to_weight = to_weight and _runs(ctx.next_functions[1][0])
        return (
            _Product.apply(gradient, weight.t(), None) if to_x else None,
            _transposed_product(x, gradient) if to_weight else None,
            gradient.sum(0) if to_bias else None,
        )


def _transposed_product(x, y):
    """x^T y for x (rows, k), y (rows, m).

    The operator copies its transposed left side, so that is the narrow one.
    """
    if x.shape[1] <= y.shape[1]:
        return _Product.apply(x.t(), y, None)
    return _Product.apply(y.t(), x, None).t()


def _runs(node):
    """Whether the backward pass in progress goes on to this node of the graph."""
    ask = getattr(torch._C, "_will_engine_execute_node", None)
    return ask is None or ask(node)


def _onednn(x, weight, bias):
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


def _pack(weight):
    key, stamp = id(weight), _stamp(weight)
    entry = _packed.get(key)
    if entry is None or entry[0]() is not weight or entry[1] != stamp:
        reference = weakref.ref(weight, lambda _: _packed.pop(key, None))
        entry = _packed[key] = (reference, stamp, *_reorder(weight.detach()))
    return entry[2:]


def _stamp(parameter):
    """What changes with the numbers of a parameter.

    Unless they are changed in place through `.data`.
    """
    return parameter.data_ptr(), parameter._version, parameter.dtype


def _reorder(weight):
    pack = torch.ops.mkldnn._reorder_linear_weight
    return pack(weight.contiguous()), pack(weight.t().contiguous())


@functools.cache
def _onednn_works():
    """Whether this torch has the operators and they give the right numbers."""
    generator = torch.Generator().manual_seed(0)
    x, weight = torch.randn(5, 7, generator=generator), torch.randn(3, 7, generator=generator)
    try:
        forward, backward = _reorder(weight)
        y = _onednn(x, forward, None)
        pairs = [
            (y, x @ weight.T),
            (_onednn(x, weight, None), x @ weight.T),
            (_onednn(y, backward, None), y @ weight),
            (_onednn(y, weight.t(), None), y @ weight),
            (_onednn(x.t(), y.t(), None), x.t() @ y),
        ]
    except (AttributeError, RuntimeError):
        return False
    return all(torch.allclose(got, expected, atol=1e-5) for got, expected in pairs)


def derived(module, name, parameters, build):
    """build(), computed once for as long as the parameters are frozen and unchanged.

    For tensors made from parameters (folded products): in training they are made in each forward
    pass, so that gradients reach the parameters; in inference they are kept, so that `linear` packs
    them once.
    """
    if any(parameter.requires_grad for parameter in parameters):
        return build()
    cache = module.__dict__.setdefault("_derived", {})
    stamp = tuple(map(_stamp, parameters))
    if name not in cache or cache[name][0] != stamp:
        with torch.no_grad():
            cache[name] = (stamp, build())
    return cache[name][1]


class Linear(nn.Linear):
    """Linear map with bias that uses packed weights where it can."""

    def reset_parameters(self):
        if (
            not self.weight.is_meta
        ):  # random numbers that nobody sees: making them there imports a compiler, in 0.9 s
            super().reset_parameters()

    def forward(self, x):
        return linear(x, self.weight, self.bias)


class Embedding(nn.Embedding):
    """Table of vectors."""

    def reset_parameters(self):
        if not self.weight.is_meta:
            super().reset_parameters()


class SwiGLU(nn.Module):
    """w_out(v * sigmoid(g)) with v, g = w_in(x); note sigmoid, not SiLU, as the gate."""

    def __init__(self, width, hidden):
        super().__init__()
        self.w_in = Linear(width, 2 * hidden)
        self.w_out = Linear(hidden, width)

    def forward(self, x):
        value, gate = self.w_in(x).chunk(2, dim=-1)
        return self.w_out(value * torch.sigmoid(gate))


class SiLU(nn.Module):
    """w_out(silu(w_in(x)))."""

    def __init__(self, width, hidden):
        super().__init__()
        self.w_in = Linear(width, hidden)
        self.w_out = Linear(hidden, width)

    def forward(self, x):
        return self.w_out(functional.silu(self.w_in(x)))


def head(width, hidden):
    """Two-layer MLP with SiLU after both layers: what a readout sees."""
    return nn.Sequential(Linear(width, hidden), nn.SiLU(), Linear(hidden, hidden), nn.SiLU())


FEEDFORWARD = {"SwiGLU": SwiGLU, "SiLU": SiLU}
# With torch's default, the eps of the dtype, a model would be another function in float32 than in
# float64.
NORMS = {
    "RMSNorm": functools.partial(nn.RMSNorm, eps=torch.finfo(torch.float64).eps),
    "LayerNorm": nn.LayerNorm,
}
