"""Models: one file each, with a frozen dataclass `Settings` and a class `Model(settings)`.

The contract. `forward(graph)` returns per-atom energies (n_atoms,) in eV without composition
energies; `cutoff` in A is the range of an edge; `species` the atomic numbers it knows;
`composition` {Z: eV} is added by `evaluation` in float64; `local` is True where an atom's energy
depends on nothing but its own edges; `settings` and the state dict make the model again. A model
knows no ASE, no forces and no files.
"""
