"""What every reader asks of the tensors of a checkpoint before it reads one."""

import re

import torch


def check_state(state, needed, is_known, what):
    """Raise ValueError where tensors are missing, unknown, or not all in float32 or all in float64.

    state {name: Stored} of the file; needed: names of the weights; is_known(name): whether another
    tensor may be there;
    what: the words for the state in messages.
    """
    missing = sorted(set(needed) - state.keys())
    unknown = sorted(name for name in state.keys() - set(needed) if not is_known(name))
    for problem, culprits in (("lacks", missing), ("holds the unknown", unknown)):
        if culprits:
            raise ValueError(
                f"{what} {problem} {', '.join(f'`{name[:80]}`' for name in culprits[:4])}"
                + (f" and {len(culprits) - 4} others" if len(culprits) > 4 else "")
            )
    dtypes = {state[name].dtype for name in needed}
    if len(dtypes) != 1 or not dtypes < {torch.float32, torch.float64}:
        shown = ", ".join(sorted(str(dtype).removeprefix("torch.") for dtype in dtypes))
        raise ValueError(f"its weights are {shown}: expected all in float32 or all in float64")


def weight_of(archive, state, name, shape):
    """A tensor of the file.

    Raises ValueError where its shape is not that of the settings, or where it is not finite.
    """
    if state[name].shape != tuple(shape):
        raise ValueError(f"`{name}` has shape {state[name].shape}: expected {tuple(shape)}")
    weight = archive.tensor(state[name])
    if not torch.isfinite(weight).all():
        raise ValueError(f"`{name}` is not finite")
    return weight


def renamed(name, patterns):
    """Our name of a weight as a file has it; patterns {regular expression.

    What takes its place}, one after the other.
    """
    for pattern, new in patterns.items():
        name = re.sub(pattern, new, name)
    return name
