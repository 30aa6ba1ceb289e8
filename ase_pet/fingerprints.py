"""A hash of everything in a calculator that decides its numbers, above all the weights."""

from __future__ import annotations

import hashlib
from typing import Any

import torch

from .models.base import AtomisticModel

ADDRESS = " at 0x"  # in the text of Python objects; the address differs between processes


def of_model(model: AtomisticModel) -> str:
    """Hexadecimal SHA-256 of the class, settings, tables and state dict of a model.

    Parameters
    ----------
    model:
        Model, symmetrised or not.
    """
    digest = hashlib.sha256()
    kinds = [type(part).__qualname__ for part in model.modules()]
    tables = (model.compositions, model.scales, model.covalent_radii)
    described: list[Any] = [kinds, model.cutoff, model.species, model.energy_head, *tables]
    settings = repr(model.settings)
    if ADDRESS not in settings:
        described.append(settings)
    # of symmetrisers with options
    if model.extra_repr():
        described.append(model.extra_repr())
    digest.update(repr(described).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        # bytes, as numpy has no bfloat16
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


class Fingerprinted:
    """Base class of calculators with a model: adds `fingerprint`."""

    model: AtomisticModel

    def fingerprint(self) -> str:
        """Hexadecimal SHA-256 of the weights, settings and symmetriser of the model.

        Runs that are continued compare it, so that replaced weights are noticed.
        """
        return of_model(self.model)
