"""Uncertainty added to a calculator that has none: from its folder and data, into a new folder."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms

from .. import store
from ..calculator import PETCalculator
from ..calculator_info import WEIGHTS, warn_of_heads
from ..staging import staged
from . import last_layer

AT_ONCE = 256  # structures whose features are kept
OFFSET = 3.0  # mean error of energies per atom over its standard deviation: another zero

Report = Callable[[str, int, int], object]


class Fit:
    """Uncertainty of a calculator from structures and energies.

    Parameters
    ----------
    source:
        Name or path of a calculator folder.
    members:
        Number of members of the ensemble.
    device:
        Device of the evaluations, "auto", "cpu", "cuda", ...
    report:
        Called with a text, the structures done, and their number; None for no report.

    Attributes
    ----------
    calculator:
        The calculator, whose features and energies are used.
    compared:
        {split: (standard deviations (n,), errors (n,))} of energies in eV: of `val` after `run`, of
        others after `compare`.

    Raises
    ------
    ValueError
        `source` is no calculator folder, or its model has no linear last layer.
    """

    def __init__(
        self,
        source: str | Path,
        members: int = last_layer.MEMBERS,
        device: str = "auto",
        report: Report | None = None,
    ) -> None:
        self.folder = store.find(source)
        # a checkpoint has no folder to copy
        if not (self.folder / store.CARD).is_file():
            raise ValueError(
                f"`{source}` is no calculator folder: `ase-pet convert` makes one of a checkpoint"
            )
        model, self.info = store.load(self.folder)
        warn_of_heads(model, [model.energy_head], self.info)
        self.model = last_layer.extended(model, members)
        self.report = report
        self.compared: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self.calculator = PETCalculator(
            self.model,
            device=device,
            dtype=self.info.dtype,
            symmetrise=self.info.symmetrise,
        )
        if not self.calculator.model.n_features:
            raise ValueError(
                f"`symmetrise` {self.info.symmetrise!r} of `{source}` has no features of a last"
                " layer: no uncertainty"
            )

    def run(
        self, training: Sequence[Atoms], validation: Sequence[Atoms], energies: Sequence[float]
    ) -> dict[str, float]:
        """What was chosen: ridge, multiplier in eV, numbers of structures and members.

        Parameters
        ----------
        training:
            Structures of the covariance; labels are not used.
        validation:
            Structures of the calibration.
        energies:
            Their labels in eV, with the same zero as those of the calculator.

        Raises
        ------
        ValueError
            There are too few structures, or a structure or label is bad.
        """
        if not len(training):
            raise ValueError("no training structures: the covariance needs at least one")
        covariance = last_layer.Covariance(self.model.n_features)
        for part in self._parts("training", training):
            n_atoms = [len(atoms) for atoms in part]
            of_part = self._features(part)
            covariance.add(of_part, torch.tensor(n_atoms))
        features, errors = self._held("validation", validation, energies)
        sizes = np.array([len(atoms) for atoms in validation])
        _note_offset(errors / sizes)
        layer = self.model.uncertainty
        assert layer is not None  # `extended` makes it
        chosen = last_layer.fit(layer, covariance, features, torch.from_numpy(errors))
        deviations = layer.deviation(features)
        self.compared["val"] = (deviations.numpy(), errors)
        return chosen.as_dict()

    def compare(self, split: str, structures: Sequence[Atoms], energies: Sequence[float]) -> None:
        """Compare expected with observed errors of structures that had no part in the fit.

        Parameters
        ----------
        split:
            Key of the result in `compared`.
        structures:
            Structures.
        energies:
            Their labels in eV.
        """
        features, errors = self._held(split, structures, energies)
        layer = self.model.uncertainty
        assert layer is not None  # `extended` makes it
        self.compared[split] = (layer.deviation(features).numpy(), errors)

    def write(self, output: Path, chosen: dict[str, Any], card: str) -> None:
        """Write a calculator folder with the uncertainty: energies and forces are the same.

        Parameters
        ----------
        output:
            Folder to write, absent, empty or that of the calculator itself.
        chosen:
            Result of `run`, and comparisons if wanted, for calculator.toml.
        card:
            Section "Uncertainty" of the card, Markdown.
        """
        is_other = output.resolve() != self.folder.resolve()
        files = sorted(self.folder.iterdir()) if is_other else []
        self.info.provenance["uncertainty"] = chosen
        with staged(output) as stage:
            for file in files:
                # weights and calculator.toml are written anew
                is_written = file.name in (store.CARD, WEIGHTS)
                if file.is_file() and not is_written:
                    (stage / file.name).write_bytes(file.read_bytes())
            store.save(stage, self.model, self.info)
        store.write_section(output, "Uncertainty", card)

    def _held(
        self, text: str, structures: Sequence[Atoms], energies: Sequence[float]
    ) -> tuple[torch.Tensor, np.ndarray]:
        """Features (n, F) of labelled structures, and errors (n,) of their energies in eV."""
        features = [torch.zeros(0, self.model.n_features)]
        predicted: list[float] = []
        for part in self._parts(text, structures):
            features.append(self._features(part))
            rows = self.calculator.evaluate(part, ("energy",))
            predicted += [row["energy"] for row in rows]
        labels = np.asarray(energies, dtype=float)
        return torch.cat(features), np.array(predicted) - labels

    def _features(self, structures: Sequence[Atoms]) -> torch.Tensor:
        """Features (n, F), summed over the atoms of each structure."""
        rows: list[Any] = self.calculator.features(list(structures))
        return torch.from_numpy(np.array([row.sum(0) for row in rows]))

    def _parts(self, text: str, structures: Sequence[Atoms]) -> Iterator[Sequence[Atoms]]:
        for start in range(0, len(structures), AT_ONCE):
            part = structures[start : start + AT_ONCE]
            yield part
            if self.report is not None:
                self.report(text, start + len(part), len(structures))


def require_free(output: Path) -> None:
    """Raise ValueError if a folder exists and is not empty.

    Parameters
    ----------
    output:
        Folder to write.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ValueError(f"`output` {output} exists: give the name of a new folder")


def _note_offset(errors: np.ndarray) -> None:
    """Warn of errors (n,) in eV per atom that are mostly one constant."""
    known = errors[np.isfinite(errors)]
    if len(known) < last_layer.FEWEST:
        return
    mean = float(known.mean())
    if abs(mean) > OFFSET * known.std():
        warnings.warn(
            f"energies of the validation structures differ from those of the calculator by a mean"
            f" of {mean:.4g} eV/atom with a spread of {known.std():.2g}: if their zero is another"
            " one, the uncertainties mean nothing",
            stacklevel=3,
        )
