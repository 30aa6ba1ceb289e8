"""Energies of a batch of structures and their derivatives, each computed once and only if asked
for.

With v = r_j - r_i of each pair and g = dE/dv: F_i = sum g, F_j = -sum g over the pairs, and the
derivative with respect to a symmetric strain (positions and cell) is the symmetric part of sum v
g^T. Both are exact, because a model sees positions through v only.
"""

import torch

from . import environments
from .environments import gradient


class Undefined(ValueError):
    """A property that this structure or this model does not have."""


class Evaluation:
    """Lazy results of a model on a Graph. Energies in eV and sums in float64.

    training: keep the graph of derivatives, so that a loss on forces and stress reaches the
    weights.
    direct: {"forces": head, "stress": head}, both optional: what a head of the model gives in place
    of the derivative.
    uncertain: keep the features of the last layer when the model runs, for the uncertainties.
    heads: what else to read when the model runs for its energies, such as "dipole"; other heads
    cost a run of their own.
    """

    def __init__(self, model, graph, training=False, direct=None, uncertain=False, heads=()):
        self.model = model
        self.graph = graph
        self.training = training
        self.direct = direct or {}
        self.uncertain = uncertain
        self.heads = tuple(heads)
        self._energies = None
        self._gradient = None
        self._values = {}  # of heads
        self._features = None
        self._members = None

    @property
    def energies(self):
        """(n_atoms,) energies in eV, with composition energies."""
        if self._energies is None:
            with torch.set_grad_enabled(self.training):
                self._energies = self._run(self.graph).double()
        return self._energies + self._composition()

    @property
    def interaction(self):
        """(n_structures,) energies in eV without composition energies.

        What a model is trained on.
        """
        return self._sum(self.energies - self._composition())

    @property
    def energy(self):
        """(n_structures,) energies in eV."""
        return self._sum(self.energies)

    @property
    def pair_gradient(self):
        """(P, 3) dE/dv in eV/A, in the model's dtype."""
        if self._gradient is None:
            vectors = self.graph.pair_vectors.detach().requires_grad_()
            with torch.enable_grad():
                energies = self._run(self.graph.with_vectors(vectors)).double()
                if energies.requires_grad:
                    (self._gradient,) = torch.autograd.grad(
                        energies.sum(), vectors, create_graph=self.training, allow_unused=True
                    )
            if self._gradient is None:  # no pair acts on any energy
                self._gradient = torch.zeros_like(vectors)
            self._energies = energies if self.training else energies.detach()
        return self._gradient

    @property
    def forces(self):
        """(n_atoms, 3) in eV/A; direct forces less their mean over the atoms of each structure."""
        if "forces" in self.direct:
            forces = self._head(self.direct["forces"])
            return forces - self._mean(forces)[self.graph.structure]
        return self._forces_of(self.pair_gradient.double())

    @property
    def virial(self):
        """(n_structures, 3, 3) dE/d(strain) in eV."""
        return self._virial_of(self.pair_gradient.double())

    @property
    def stress(self):
        """(n_structures, 3, 3) in eV/A^3; a direct one is (1/V) sum over atoms of the symmetric
        part of the head.

        Raises Undefined where a cell has no volume.
        """
        self.check_volume()
        if "stress" in self.direct:
            per_atom = self._head(self.direct["stress"]).view(-1, 3, 3)
            virial = self._sum((per_atom + per_atom.transpose(1, 2)) / 2)
        else:
            virial = self.virial
        return virial / self.graph.volume[:, None, None]

    @property
    def moment(self):
        """(n_structures, 3) sums over the atoms of the head `dipole` in e A."""
        return self._sum(self._head("dipole"))

    @property
    def dipole(self):
        """(n_structures, 3) dipole moments in e A. Raises Undefined where a structure is periodic
        or charged.

        The dipole of a cell changes with the choice of the cell, that of an ion with the origin.
        """
        self._check_molecules()
        return self.moment

    @property
    def features(self):
        """(n_atoms, F) float64 features of the last layer.

        Raises Undefined for a model without uncertainties.
        """
        self._check_uncertainty()
        if self._features is None:
            with torch.no_grad():
                energies, self._features = self.model.last_layer(self.graph)
            self._energies = energies.double() if self._energies is None else self._energies
        return self._features.double()

    @property
    def deviations(self):
        """(n_atoms,) standard deviations of the energies of single atoms in eV."""
        return self.model.uncertainty.deviation(self.features)

    @property
    def deviation(self):
        """(n_structures,) standard deviations of the energies of structures in eV."""
        return self.model.uncertainty.deviation(self._sum(self.features))

    @property
    def ensemble(self):
        """(n_structures, members) energies in eV, their mean that of the model."""
        self._check_uncertainty(ensemble=True)
        return self.energy[:, None].detach() + self.model.uncertainty.members(
            self._sum(self.features)
        )

    @property
    def ensemble_derivatives(self):
        """Forces (members, n_atoms, 3) in eV/A and dE/d(strain) (members, n_structures, 3, 3) in eV
        of each member of
        the ensemble, less those of their mean. One backward pass for each member.
        """
        if self.direct:
            raise Undefined(
                "the spread of derivatives over the ensemble says nothing about direct forces and"
                " stress: use non_conservative=False"
            )
        if self._members is None:
            self._check_uncertainty(ensemble=True)
            vectors = self.graph.pair_vectors.detach().requires_grad_()
            with torch.enable_grad():
                _, features = self.model.last_layer(self.graph.with_vectors(vectors))
                members = self.model.uncertainty.members(features.sum(0, keepdim=True))[0]
            gradients = (
                gradient(member, vectors, retain_graph=True).double() for member in members
            )
            found = [
                (self._forces_of(gradient), self._virial_of(gradient)) for gradient in gradients
            ]
            self._members = tuple(torch.stack(values) for values in zip(*found, strict=True))
        return self._members

    def _forces_of(self, gradient):
        """(n_atoms, 3) in eV/A of dE/dv (P, 3)."""
        zeros = gradient.new_zeros(self.graph.n_atoms, 3)
        return zeros.index_add(0, self.graph.pair_centre, gradient).index_add(
            0, self.graph.pair_neighbour, -gradient
        )

    def _virial_of(self, gradient):
        """(n_structures, 3, 3) dE/d(strain) in eV of dE/dv (P, 3)."""
        product = self.graph.pair_vectors.double()[:, :, None] * gradient[:, None, :]
        total = product.new_zeros(self.graph.n_structures, 3, 3)
        total = total.index_add(0, self.graph.structure[self.graph.pair_centre], product)
        return (total + total.transpose(1, 2)) / 2

    def split(self, per_atom):
        """Numpy arrays of the atoms of each structure."""
        sizes = torch.bincount(self.graph.structure, minlength=self.graph.n_structures).tolist()
        return [part.numpy() for part in per_atom.detach().cpu().split(sizes)]

    def check_volume(self):
        """Raise Undefined where a cell has no volume, and so no stress."""
        flat = torch.nonzero(self.graph.volume == 0)[:, 0].tolist()
        if flat:
            raise Undefined(
                "stress needs a cell of rank 3: the volume is zero"
                + (f" in structures {flat[:8]}" if self.graph.n_structures > 1 else "")
            )

    def _check_molecules(self):
        for wrong, what in ((self.graph.periodic, "periodic"), (self.graph.charge != 0, "charged")):
            found = torch.nonzero(wrong)[:, 0].tolist()
            if found:
                raise Undefined(
                    "a dipole needs a neutral molecule without periodic directions: this one is"
                    f" {what}"
                    + (f" (structures {found[:8]})" if self.graph.n_structures > 1 else "")
                )

    def _run(self, graph):
        """(n_atoms,) energies in eV.

        Features and values of other heads on the side where they are wanted.
        """
        if self.uncertain:
            self._check_uncertainty()
            energies, features = self.model.last_layer(graph)
            self._features = features.detach()
            return energies
        if self.heads:
            return self._predict(graph, self.heads)
        return self.model(graph)

    def _predict(self, graph, heads):
        """(n_atoms,) energies in eV; values of other heads go to `_values`."""
        head = self.model.energy_head
        values = self.model.predict(graph, tuple(dict.fromkeys((head, *heads))))
        self._values.update(
            {name: values[name] if self.training else values[name].detach() for name in heads}
        )
        return values[head][:, 0]

    def _check_uncertainty(self, ensemble=False):
        found = self.model.uncertainty
        if found is None:
            raise Undefined(
                "this model has no uncertainties: they come with a checkpoint that holds the"
                " covariance of its last layer (LLPR)"
            )
        if ensemble and not len(found.ensemble):
            raise Undefined("this model has uncertainties but no ensemble")

    def _head(self, name):
        """(n_atoms, components) of a head, float64.

        Energies and whatever else is wanted come out of the same call.
        """
        if name not in self._values:
            with torch.set_grad_enabled(self.training):
                energies = self._predict(self.graph, (name, *self.direct.values(), *self.heads))
            if self._energies is None:
                self._energies = energies.double()
        return self._values[name].double()

    def _sum(self, per_atom):
        """Sums over the atoms of each structure."""
        return per_atom.new_zeros(self.graph.n_structures, *per_atom.shape[1:]).index_add(
            0, self.graph.structure, per_atom
        )

    def _mean(self, per_atom):
        counts = torch.bincount(self.graph.structure, minlength=self.graph.n_structures)
        return self._sum(per_atom) / counts[:, None]

    def _composition(self):
        energies = self.model.composition
        table = self._energies.new_tensor(
            [energies.get(z, 0.0) for z in range(int(self.graph.numbers.max()) + 1)]
        )
        return table[self.graph.numbers]


def hessian(model, graph, of=None):
    """(3k, 3n) d2E/dr dr in eV/A^2 of a graph of one structure, the rows of the atoms `of` (k,);
    None for all n of them.

    One backward pass for each row, or, where an atom's energy depends on its own edges only and
    that is fewer, three for each neighbour of the atom with most, whatever the number of atoms.
    Symmetric up to rounding.

    Raises Undefined where second derivatives of the model are not those of its energy.
    """
    if not model.exact_second_derivatives:
        raise Undefined(
            "the second derivatives of this model are not exact (adaptive cutoff by the solver"
            " method)"
        )
    of = range(graph.n_atoms) if of is None else of
    rows = [3 * int(atom) + axis for atom in of for axis in range(3)]
    if environments.separable(model) and len(rows) > 3 * int(
        torch.bincount(graph.centre, minlength=1).max()
    ):
        return environments.hessian(model, graph)[rows]
    shift = torch.zeros(
        graph.n_atoms, 3, dtype=torch.float64, device=graph.numbers.device, requires_grad=True
    )
    with torch.enable_grad():
        moved = (shift[graph.pair_neighbour] - shift[graph.pair_centre]).to(
            graph.pair_vectors.dtype
        )
        energy = model(graph.with_vectors(graph.pair_vectors + moved)).double().sum()
        slopes = gradient(energy, shift, create_graph=True).flatten()
    return torch.stack([gradient(slopes[row], shift, retain_graph=True).flatten() for row in rows])
