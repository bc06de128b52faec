"""The errors of L0."""


class L0Error(Exception):
    """An outcome that L0 made."""


class PolicyError(L0Error):
    """A policy, or another setting, is wrong."""
