"""Names that load the module they live in when they are first used, so that importing a package root stays cheap."""

from collections.abc import Callable, Mapping
from importlib import import_module
from sys import modules


def lazy(package: str, homes: Mapping[str, str]) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Return the module-level `__getattr__` and `__dir__` of `package` (PEP 562).

    Args:
        package: The full name of the package, its `__name__`.
        homes: Public name to `"module:attribute"`, the module relative to the package; `"module:"` is the module.
    """

    def load(name: str) -> object:
        home = homes.get(name)
        if home is None:
            message = f"module {package!r} has no attribute {name!r}"
            raise AttributeError(message, name=name, obj=modules[package])
        module_name, _, attribute = home.partition(":")
        module = import_module(module_name, package)
        value: object = getattr(module, attribute) if attribute else module
        setattr(modules[package], name, value)  # The next use is an ordinary attribute.
        return value

    def names() -> list[str]:
        return sorted({*vars(modules[package]), *homes})

    return load, names
