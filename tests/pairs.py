"""Products of parameters, most of which are slow tests."""

import pytest


def covering(names, others):
    """All pairs (name, other) as parameters of a test; those that are not needed are slow.

    Quick are each name with one of the others in turn, and the first name with all of them: a law
    that fails for a setting, or for a structure, is found without their product.
    """
    names = list(names)
    others = list(others)
    parameters = []
    for row, name in enumerate(names):
        for column, other in enumerate(others):
            quick = row == 0 or column == row % len(others)
            marks = [pytest.mark.slow] * (not quick)
            parameters.append(pytest.param(name, other, marks=marks, id=f"{name}-{label(other)}"))
    return parameters


def label(other):
    """Text of a parameter: its first word, if it is a tuple."""
    return [*other][0] if isinstance(other, tuple) else str(other)
