"""Engines: programs that move atoms with calculators of this package."""
