"""Seeds of random numbers in tests: others with the environment variable ASE_PET_TEST_SEED.

0, the default, gives the seeds that stand in the tests. The fixture `generator` uses them, which is
where most tests take their rotations from. Weights and structures of the small models stay as they
are: paths and limits of some tests are made for them.
"""

import os

RUN = int(os.environ.get("ASE_PET_TEST_SEED", "0"))


def seed(number=0):
    """The seed that is used in place of `number` in this run of the tests."""
    return number + 1000 * RUN
