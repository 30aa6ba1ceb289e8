"""ConvNeXt blocks on functions of position and orientation: separable convolutions of R^3 x S^2.

| symbol | variable |
|---|---|
| x_i(o), (n_atoms, O, C) features of atom i along axis o | x |
| g(ij, o), (E, O, K) kernel basis times window | basis |
| W, (C, K); F(o, p), (O, O, C) kernel among axes, divided by O | kernel; fibre |

    y_i(o) = sum_{j, i itself too} W g(ij, o) * x_j(o)          in space, axis by axis, * by channel
    z_i(p) = sum_o F(o, p) * y_i(o) + bias                      among the axes
    x' = x + s * W2 gelu(W1 LayerNorm(z))

Source: E. Bekkers et al., ICLR 2024, arXiv:2310.02970.
"""

import torch
from torch import nn
from torch.nn import functional

from .linear import Linear, linear


class Basis(nn.Module):
    """Kernel basis gelu(W2 gelu(W1 p(x) + b1) + b2), (..., n_basis) of invariants x (...,
    n_invariants).

    p are all monomials up to the degree, those that differ by the order of their factors as often
    as there are orders.
    """

    def __init__(self, n_invariants, degree, width, n_basis):
        super().__init__()
        self.degree = degree
        self.embedder = Linear(sum(n_invariants**k for k in range(1, degree + 1)), width)
        self.hidden = Linear(width, n_basis)

    def forward(self, x):
        rows = _monomials(x.reshape(-1, x.shape[-1]), self.degree)
        hidden = functional.gelu(self.hidden(functional.gelu(self.embedder(rows))))
        return hidden.view(*x.shape[:-1], hidden.shape[1])


def _monomials(x, degree):
    """(rows, n + n^2 + ... + n^degree) products of up to `degree` of the columns of x (rows, n)."""
    found = [x]
    for _ in range(degree - 1):
        found.append((found[-1][:, :, None] * x[:, None]).flatten(1))
    return torch.cat(found, 1)


class Convolution(nn.Module):
    """Separable convolution of features (n, O, C); n_basis of the kernel basis in space and among
    axes.

    oriented: whether there are axes at all; without, O = 1 and nothing happens among them.
    """

    def __init__(self, width, n_basis, oriented):
        super().__init__()
        self.kernel = Linear(n_basis, width, bias=False)
        self.fibre_kernel = Linear(n_basis, width, bias=False) if oriented else None
        self.bias = nn.Parameter(torch.zeros(width))

    def in_space(self, x, basis, edges):
        """(n, O, C) sums over edges, with basis (E, O, K) times window."""
        kernel = linear(basis.flatten(0, 1), self.kernel.weight).view(*basis.shape[:2], x.shape[2])
        found = _gathered(kernel, x, edges.neighbour, edges.centre)
        if edges.opposite is None:
            return found
        reverse = _gathered(
            kernel, x.index_select(1, edges.opposite), edges.centre, edges.neighbour
        )
        return found + reverse.index_select(1, edges.opposite)

    def of_itself(self, x, basis):
        """(n, O, C) the term j = i, with basis (1, K) of the vector 0."""
        return x * linear(basis, self.kernel.weight)

    def fibre(self, basis):
        """(O, O, C) kernel among axes, with basis (O, O, K): axis from which, axis to which."""
        kernel = linear(basis.flatten(0, 1), self.fibre_kernel.weight) / len(basis)
        return kernel.view(len(basis), len(basis), -1)

    def among_axes(self, y, fibre):
        """(n, O, C) with the kernel (O, O, C), None without axes."""
        return (
            y + self.bias if fibre is None else torch.einsum("ioc,opc->ipc", y, fibre) + self.bias
        )

    @torch.no_grad()
    def calibrate(self, x, basis, own, edges, fibre_basis):
        """Scale both kernels so that the output has the spread of x: LayerNorm would drown a small
        one in its eps.

        basis, own: of `in_space` and `of_itself`; fibre_basis: of `fibre`, None without axes.
        """
        y = self.in_space(x, basis, edges) + self.of_itself(x, own)
        self.kernel.weight *= x.std() / y.std()
        if fibre_basis is not None:
            z = self.among_axes(y, self.fibre(fibre_basis)) - self.bias
            self.fibre_kernel.weight *= y.std() / z.std()


def _gathered(kernel, x, sender, receiver):
    return torch.zeros_like(x).index_add(0, receiver, kernel * x.index_select(0, sender))


class ConvNeXt(nn.Module):
    """The block; widening: hidden width of its MLP over C; layer_scale.

    First value of s (C,), None for no s.
    """

    def __init__(self, width, n_basis, oriented, widening=4, layer_scale=None):
        super().__init__()
        self.convolution = Convolution(width, n_basis, oriented)
        self.norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            Linear(width, widening * width), nn.GELU(), Linear(widening * width, width)
        )
        self.layer_scale = (
            None if layer_scale is None else nn.Parameter(torch.full((width,), float(layer_scale)))
        )

    def forward(self, x, y, fibre):
        """(n, O, C) features after the block, of x before it and y.

        The convolution of x in space.
        """
        update = self.norm(self.convolution.among_axes(y, fibre))
        update = self.mlp(update.flatten(0, 1)).view_as(x)
        return x + (update if self.layer_scale is None else self.layer_scale * update)
