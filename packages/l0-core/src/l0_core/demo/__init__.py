"""The demonstration: what happens to a program when its provider fails, bare and with L0, side by side.

A package that has something to show names a list of `Story` in the entry point group `l0_core.demo`. `l0 demo` tells
the stories of all that is installed, in order.
"""

from l0_core.demo.story import Side, Story, stories

__all__ = ["Side", "Story", "stories"]
