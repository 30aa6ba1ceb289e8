"""Foreign checkpoints: one file each, with `recognises(path) -> bool` and `read(path, ...) ->
model`.

A format that looks into files to recognise them says `BY_CONTENT = True`, and is asked before those
that do not.
"""

from .. import plugins


def read(path):
    """Model from a checkpoint in any known foreign format.

    Raises ValueError where none recognises it.
    """
    modules = [plugins.load(__name__, name) for name in plugins.names(__name__)]
    for module in sorted(modules, key=lambda module: not getattr(module, "BY_CONTENT", False)):
        if module.recognises(path):
            return module.read(path)
    raise ValueError(
        f"`{path}` is not a calculator folder nor a checkpoint that can be read: "
        f"known formats are {', '.join(plugins.names(__name__))}"
    )
