"""What there is so far: the packages import, and the native module says how it was built."""

import importlib

import l0_core

for name in ("l0_core", "l0_langchain", "l0_llamaindex"):
    package = importlib.import_module(name)
    print(f"{name:14} {package.__version__}")
print(l0_core.build_info())
print("Streaming is being written; this demonstration will break a stream and show it arrive whole.")
