"""A CUDA device that is pretended on the CPU: where code mixes devices, transfers or waits.

Inside `pretend_cuda`, tensors that are made on or moved to "cuda" are of the class `OnDevice`. They
hold their numbers in an ordinary tensor, answer `cuda:0` for their device, and refuse what tensors
on a GPU refuse: operators with tensors of the host, except single numbers, and conversion to numpy.
`COUNTS` has how often values went up to the device, came down from it, and how often the host had
to wait for the device because a shape or a decision depends on values.
"""

import contextlib
from collections import Counter
from unittest import mock

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_any, tree_map

CUDA = torch.device("cuda", 0)
CPU = torch.device("cpu")
# what the C++ of torch takes the device for: nothing else uses this one, and its engine of
# derivatives needs no library for it
INSIDE = torch.device("lazy", 0)
aten = torch.ops.aten
# operators whose result has a shape, or is a number of the host, that depends on values
WAITING = {
    aten._local_scalar_dense,
    aten.nonzero,
    aten.masked_select,
    aten._unique2,
    aten.unique_dim,
    aten.unique_consecutive,
    aten.bincount,
    aten.equal,
    aten.histc,
    aten._linalg_svd,
    aten._linalg_eigh,
    aten._linalg_det,
    aten._linalg_solve_ex,
    aten.linalg_cholesky_ex,
}
# operators that take indices, for which even a single number must be on the device
INDEXING = {
    aten.index_select,
    aten.index_add,
    aten.index_add_,
    aten.index_copy,
    aten.index_copy_,
    aten.index_fill_,
    aten.gather,
    aten.scatter_add,
    aten.embedding,
    aten.cat,
}
MOVING = {"to", "cuda", "cpu"}
WITHOUT_VALUES = {"empty", "zeros", "ones", "full", "arange", "linspace", "eye", "randn", "rand"}


class MixedDevices(RuntimeError):
    """An operator has tensors of the host and of the device."""


# number of each kind of event: "up", "down", "wait", and of "operators" on the device
COUNTS = Counter()


class OnDevice(torch.Tensor):
    """Tensor whose values are those of the tensor `held`, which must not need a gradient."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, held):
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=INSIDE,
            requires_grad=False,
        )
        made.held = held
        return made

    def __repr__(self):
        return f"OnDevice({self.held})"

    @property
    def device(self):
        return CUDA

    @property
    def is_cuda(self):
        return True

    @property
    def is_cpu(self):
        return False

    @property
    def is_meta(self):
        return False

    def get_device(self):
        return 0

    def data_ptr(self):
        return self.held.data_ptr()

    def numpy(self, *, force=False):
        raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu()")

    def __array__(self, dtype=None):
        return self.numpy()

    def tolist(self):
        COUNTS["down"] += 1
        return self.held.tolist()

    def __reduce_ex__(self, protocol):
        return self.held.__reduce_ex__(protocol)  # files have no device

    def __deepcopy__(self, memo):
        copy = OnDevice(self.held.detach().clone())
        if isinstance(self, torch.nn.Parameter):
            copy = torch.nn.Parameter(copy, self.requires_grad)
        memo[id(self)] = copy
        return copy.requires_grad_(self.requires_grad)

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        packet = func.overloadpacket
        _check_places(func, packet, args, kwargs)
        COUNTS["operators"] += 1
        if packet in WAITING or _has_mask(packet, args):
            COUNTS["wait"] += 1
        held_args = tree_map(_held, args)
        held_kwargs = tree_map(_held, kwargs)
        result = func(*held_args, **held_kwargs)
        if func._schema.is_mutable:
            return _mutated(func, args, kwargs, result)
        if packet is aten._local_scalar_dense:
            return result
        return tree_map(_on_device, result)


def _held(x):
    return x.held if isinstance(x, OnDevice) else x


def _on_device(x):
    return OnDevice(x) if isinstance(x, torch.Tensor) and not isinstance(x, OnDevice) else x


def _mutated(func, args, kwargs, result):
    """The arguments that an operator in place returns, for the `result` of what they hold."""
    by_held = {id(x.held): x for x in (*args, *kwargs.values()) if isinstance(x, OnDevice)}
    return tree_map(lambda x: by_held.get(id(x), _on_device(x)), result)


def _check_places(func, packet, args, kwargs):
    """Raise MixedDevices for tensors of the host, but single numbers."""
    if packet is aten.copy_:
        target, source = args[:2]
        if isinstance(target, OnDevice) != isinstance(source, OnDevice):
            COUNTS["up" if isinstance(target, OnDevice) else "down"] += 1
        return
    may_be_number = packet not in INDEXING and not func._schema.is_mutable

    def is_misplaced(x):
        if not isinstance(x, torch.Tensor) or isinstance(x, OnDevice):
            return False
        return x.ndim > 0 or not may_be_number

    if func._schema.is_mutable and args and isinstance(args[0], OnDevice):
        is_number = [isinstance(x, torch.Tensor) and x.ndim == 0 for x in args]
        args = [x for x, number in zip(args, is_number, strict=True) if not number]
    if tree_any(is_misplaced, (args, kwargs)):
        raise MixedDevices(f"{func} has tensors of the host and of the device")


def _has_mask(packet, args):
    """Whether an operator finds its rows by a mask."""
    if packet not in (aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_):
        return False
    return any(x is not None and x.dtype in (torch.bool, torch.uint8) for x in args[1])


def _is_cuda(device):
    return device is not None and torch.device(device).type == "cuda"


class _Devices(TorchFunctionMode):
    """Makes tensors `OnDevice` where a function is asked for the device "cuda"."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        first = args[0] if args else None
        if isinstance(first, torch.Tensor) and name in MOVING:
            return _moved(name, *args, **kwargs)
        if name == "new_tensor" and isinstance(first, OnDevice):
            with self:
                kwargs = {"dtype": first.dtype, "device": CUDA, **kwargs}
                return torch.tensor(*args[1:], **kwargs)
        if name == "__getitem__" and isinstance(first, OnDevice) and isinstance(args[1], list):
            with self:
                return first[torch.tensor(args[1], device=CUDA)]
        if not isinstance(first, OnDevice) and _is_cuda(kwargs.get("device")):
            made = func(*args, **{**kwargs, "device": CPU})
            if name not in WITHOUT_VALUES:
                COUNTS["up"] += 1
            needs_gradient = made.requires_grad
            return OnDevice(made.detach()).requires_grad_(needs_gradient)
        if isinstance(first, OnDevice) and _is_cuda(kwargs.get("device")):
            kwargs.pop("device")  # the same one
        elif isinstance(first, OnDevice) and kwargs.get("device") is not None:
            raise AssertionError(f"{name} of a tensor on the device makes one of the host")
        return func(*args, **kwargs)


class _Factories(TorchDispatchMode):
    """Makes tensors `OnDevice` that the C++ of torch makes beside others, as derivatives do."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if kwargs.get("device") == INSIDE:
            kwargs = {**kwargs, "device": CPU}
            if func.overloadpacket is aten._efficientzerotensor:
                func = aten.zeros.default  # the other one has no storage, which the device may lack
            if not tree_any(lambda x: isinstance(x, OnDevice), args):
                return OnDevice(func(*args, **kwargs))
            kwargs.pop("device")
        return func(*args, **kwargs)


def _moved(name, x, *rest, copy=False, **kwargs):
    """The tensor x after `to`, `cpu` or `cuda`."""
    if name == "to" and rest and isinstance(rest[0], torch.Tensor):
        device = rest[0].device
        dtype = rest[0].dtype
    elif name == "to":
        device, dtype, *_ = torch._C._nn._parse_to(*rest, **kwargs)
    else:
        device = CPU if name == "cpu" else CUDA
        dtype = None
    if device is not None and _is_cuda(device) != isinstance(x, OnDevice):
        COUNTS["up" if _is_cuda(device) else "down"] += 1
        x = (_Up if _is_cuda(device) else _Down).apply(x)
    return torch.Tensor.to(x, x.dtype if dtype is None else dtype, copy=copy)


class _Up(torch.autograd.Function):
    """To the device."""

    @staticmethod
    def forward(ctx, x):
        return OnDevice(x.detach().clone())

    @staticmethod
    def backward(ctx, gradient):
        return _Down.apply(gradient)


class _Down(torch.autograd.Function):
    """To the host."""

    @staticmethod
    def forward(ctx, x):
        return x.held.clone()

    @staticmethod
    def backward(ctx, gradient):
        return _Up.apply(gradient)


@contextlib.contextmanager
def pretend_cuda():
    """Context in which torch has one CUDA device; yields the counts of events."""
    COUNTS.clear()
    devices = _Devices()
    backward = torch.autograd._engine_run_backward

    def differentiate(*args, **kwargs):
        with devices:  # which the call of a function of torch suspends, until it returns
            return backward(*args, **kwargs)

    with (
        mock.patch.object(torch.cuda, "is_available", return_value=True),
        mock.patch.object(torch.cuda, "device_count", return_value=1),
        mock.patch.object(torch.cuda, "synchronize", return_value=None),
        mock.patch.object(torch.cuda, "get_device_name", return_value="pretended"),
        _new_parameters(),
        _Factories(),
        mock.patch.object(torch.autograd, "_engine_run_backward", differentiate),
        devices,
    ):
        yield COUNTS


@contextlib.contextmanager
def _new_parameters():
    """Context in which a module that is moved gets new parameters."""
    before = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    try:
        yield
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(before)
