"""Foreign checkpoints: one file each, with `recognises(path) -> bool` and `read(path, ...) -> model`."""

from .. import plugins


def read(path):
    """Model from a checkpoint in any known foreign format. Raises ValueError where none recognises it."""
    for name in plugins.names(__name__):
        module = plugins.load(__name__, name)
        if module.recognises(path):
            return module.read(path)
    raise ValueError(f"`{path}` is not a calculator folder nor a checkpoint that can be read: "
                     f"known formats are {', '.join(plugins.names(__name__))}")
