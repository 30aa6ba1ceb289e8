"""Blocks that several models share.

Cutoff functions, attention on ragged neighbourhoods, fast linear maps, uncertainties of the last
layer, the repulsion of nuclei.
"""
