"""Rotations of space: random elements of O(3)."""

import torch


def random_orthogonal(count, generator, dtype=torch.float64):
    """(count, 3, 3) orthogonal matrices, Haar-distributed over O(3): half of them are improper.

    generator: torch.Generator, so that a seed fixes the result.
    Source: F. Mezzadri, Notices of the AMS 54, 592 (2007): QR of a Gaussian matrix with the signs of R removed.
    """
    gaussian = torch.randn(count, 3, 3, generator=generator, dtype=torch.float64)
    q, r = torch.linalg.qr(gaussian)
    return (q * r.diagonal(dim1=-2, dim2=-1).sign()[:, None, :]).to(dtype)
