"""Training: a recipe and data in, a calculator folder out.

`ase-pet train RECIPE.toml --output FOLDER` calls `train`.
"""

from .loss import Diverged
from .recipe import Recipe, read
from .run import train

__all__ = ["Diverged", "Recipe", "read", "train"]
