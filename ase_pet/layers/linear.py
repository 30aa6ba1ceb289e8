"""Linear maps, norms and small MLPs on flat rows, fast where the weights are frozen.

All linear maps of all models go through `linear`. On a CPU in float32 with frozen weights it calls oneDNN with weights
packed once, in both directions: 1.2 times the speed of a whole step (2 to 3 times for a few rows and wide layers).
Elsewhere, and where the operator is missing or wrong, it is torch.nn.functional.linear.
"""

import functools

import torch
from torch import nn
from torch.nn import functional

_packed = {}  # weight storage -> (version, forward, backward); entries go with their weights


class _PackedLinear(torch.autograd.Function):
    """x W^T + b with packed W; its gradient is the same operation with packed W^T, so it has all derivatives."""

    @staticmethod
    def forward(ctx, x, bias, forward_weight, backward_weight):
        ctx.weights = forward_weight, backward_weight
        return torch.ops.mkldnn._linear_pointwise(x, forward_weight, bias, "none", [], "")

    @staticmethod
    def backward(ctx, gradient):
        forward_weight, backward_weight = ctx.weights
        return _PackedLinear.apply(gradient.contiguous(), None, backward_weight, forward_weight), None, None, None


def linear(x, weight, bias=None):
    """x (rows, k) times weight (m, k) transposed, plus bias (m,)."""
    frozen = not weight.requires_grad and (bias is None or not bias.requires_grad)
    if frozen and x.dtype == torch.float32 and x.device.type == "cpu" and x.shape[0] > 0 and _packing_works():
        return _PackedLinear.apply(x, bias, *_pack(weight))
    return functional.linear(x, weight, bias)


def _pack(weight):
    key = id(weight)
    entry = _packed.get(key)
    if entry is None or entry[0]() is not weight or entry[1] != weight._version:
        import weakref
        reference = weakref.ref(weight, lambda _: _packed.pop(key, None))
        entry = _packed[key] = (reference, weight._version, *_reorder(weight.detach()))
    return entry[2:]


def _reorder(weight):
    pack = torch.ops.mkldnn._reorder_linear_weight
    return pack(weight.contiguous()), pack(weight.t().contiguous())


@functools.cache
def _packing_works():
    """Whether this torch has the packed operator and it gives the right numbers."""
    generator = torch.Generator().manual_seed(0)
    x, weight = torch.randn(5, 7, generator=generator), torch.randn(3, 7, generator=generator)
    try:
        forward, backward = _reorder(weight)
        y = torch.ops.mkldnn._linear_pointwise(x, forward, None, "none", [], "")
        back = torch.ops.mkldnn._linear_pointwise(y, backward, None, "none", [], "")
    except (AttributeError, RuntimeError):
        return False
    return bool(torch.allclose(y, x @ weight.T, atol=1e-5) and torch.allclose(back, x @ weight.T @ weight, atol=1e-4))


def derived(module, name, parameters, build):
    """build(), computed once for as long as the parameters are frozen and unchanged.

    For tensors made from parameters (folded products): in training they are made in each forward pass, so that
    gradients reach the parameters; in inference they are kept, so that `linear` packs them once.
    """
    if any(parameter.requires_grad for parameter in parameters):
        return build()
    cache = module.__dict__.setdefault("_derived", {})
    stamp = tuple((parameter.data_ptr(), parameter._version, parameter.dtype) for parameter in parameters)
    if name not in cache or cache[name][0] != stamp:
        with torch.no_grad():
            cache[name] = (stamp, build())
    return cache[name][1]


class Linear(nn.Linear):
    """Linear map with bias that uses packed weights where it can."""

    def forward(self, x):
        return linear(x, self.weight, self.bias)


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
NORMS = {"RMSNorm": nn.RMSNorm, "LayerNorm": nn.LayerNorm}  # RMSNorm's eps is that of the dtype
