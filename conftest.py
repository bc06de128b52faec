"""What holds for every test of the workspace."""

from hypothesis import settings

# No time limit per example: on a shared machine it measures the neighbours. Speed is the business of `make bench`.
settings.register_profile("default", deadline=None)
settings.register_profile("matrix", deadline=None, max_examples=2_000)
settings.load_profile("default")
