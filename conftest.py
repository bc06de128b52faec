"""What holds for every test of the workspace."""

from hypothesis import settings

# No time limit per example: on a shared machine it measures the neighbours. Speed is the business of `make bench`.
# Everyday runs try the same examples each time, so that what fails is what was changed; `make matrix` looks for new.
settings.register_profile("default", deadline=None, derandomize=True)
settings.register_profile("matrix", deadline=None, max_examples=2_000)
settings.load_profile("default")
