"""The error of a property that a structure or a model does not have."""


class Undefined(ValueError):
    """A property that this structure or this model does not have."""
