"""Blocks that models share.

Cutoff functions, linear maps and norms, attention on ragged neighbourhoods.
"""
