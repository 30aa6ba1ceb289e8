"""`python -m ase_pet` is `ase-pet`."""

from .cli import main

main()
