"""No symmetrisation: the model as it was trained."""


def wrap(model, argument=""):
    """The model itself."""
    if argument:
        raise ValueError(f"`symmetrise` 'none' takes no argument, got {argument!r}")
    return model
