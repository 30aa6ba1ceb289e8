"""Phonons, relaxation, elastic constants with any ASE calculator."""
