"""Blocks that models share: cutoff functions, linear maps and norms, attention on ragged neighbourhoods."""
