"""Models: one file each, with a frozen dataclass `Settings` and a class `Model(settings)`.

`base` holds the contract: what `evaluation` and every other module may ask of a model.
"""
