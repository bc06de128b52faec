"""Models that are made for each call, as `init_chat_model` with configurable fields has them: each is protected."""

import sys
from functools import cache
from typing import TYPE_CHECKING, Any

from l0_langchain._model import composed
from l0_langchain._report import Found, ProtectionReport

if TYPE_CHECKING:
    from l0_langchain._protection import Protection

_KEY, _BEFORE = "_l0", "_l0_before"
_QUEUED = "_queued_declarative_operations"
_DECLARING = frozenset({"bind_tools", "with_structured_output"})
"""What is asked of such an object and done to the model: the framework answers with another such object."""


def is_chosen(found: object) -> bool:
    """Return whether an object makes a model for each call. The framework's class is not imported for that."""
    module = sys.modules.get("langchain.chat_models.base")
    kind = getattr(module, "_ConfigurableModel", None)
    return kind is not None and issubclass(type(found), kind)


def chosen(found: Any, protection: "Protection") -> Any:
    """Return such an object whose models are protected; over a protected one, with what is said anew."""
    made = _like(found, _class_for(_bare(type(found))))
    made.__dict__[_KEY] = _said(found, protection)
    made.__dict__.pop(_BEFORE, None)
    return made


def choose_in_place(found: Any, protection: "Protection") -> None:
    """Have the models protected that an object makes, wherever it is held."""
    before = found.__dict__.get(_BEFORE, found.__dict__.get(_KEY))
    said = _said(found, protection)
    object.__setattr__(found, "__class__", _class_for(_bare(type(found))))
    found.__dict__.update({_KEY: said, _BEFORE: before})


def unchosen(found: Any) -> Any:
    """Return an object that makes the same models, without protection."""
    made = _like(found, _bare(type(found)))
    for key in (_KEY, _BEFORE):
        made.__dict__.pop(key, None)
    return made


def unchoose_in_place(found: Any) -> None:
    """Make an object that was changed in place what it was before."""
    before = found.__dict__.pop(_BEFORE, None)
    if before is not None:
        found.__dict__[_KEY] = before
        return
    del found.__dict__[_KEY]
    object.__setattr__(found, "__class__", _bare(type(found)))


def is_protected(found: object) -> bool:
    """Return whether the models are protected that an object makes."""
    return is_chosen(found) and _KEY in found.__dict__


def name_of(found: Any) -> str:
    """Return what makes the models, and which one where nothing is said."""
    return f"init_chat_model/{found.__dict__['_default_config'].get('model', 'any')}"


def _said(found: Any, protection: "Protection") -> "Protection":
    known = found.__dict__.get(_KEY)
    return protection if known is None else known.changed(**protection.said)


def _like(found: Any, kind: Any) -> Any:
    """Return an object of a class with the state of another. Asked for what it lacks, it would make a model."""
    made = kind.__new__(kind)
    made.__dict__.update(found.__dict__)
    return made


def _bare(kind: Any) -> Any:
    """Return the framework's class."""
    return kind.__base__ if hasattr(kind, "l0_report") else kind


@cache
def _class_for(kind: Any) -> Any:
    """Return the class of what makes protected models: laid out as the framework's, whose objects can change to it."""

    class Chosen(kind):  # type: ignore[misc]  # known when it runs
        @property
        def l0_report(self) -> ProtectionReport:
            """What is protected: every model it makes."""
            return ProtectionReport((Found("model", name_of(self), "protected"),))

        def _model(self, config: Any = None) -> Any:
            bare = unchosen(self)
            bare.__dict__[_QUEUED] = []
            model: Any = composed(bare._model(config), self.__dict__[_KEY])
            for name, args, keywords in self.__dict__[_QUEUED]:  # So that it is done to the fallbacks, too.
                model = getattr(model, name)(*args, **keywords)
            return model

        def with_config(self, *args: Any, **keywords: Any) -> Any:
            """See `Runnable.with_config`."""
            return chosen(super().with_config(*args, **keywords), self.__dict__[_KEY])

        def __getattr__(self, name: str) -> Any:
            found = super().__getattr__(name)
            if name not in _DECLARING:
                return found
            return lambda *args, **keywords: chosen(found(*args, **keywords), self.__dict__[_KEY])

    for name in ("__name__", "__module__", "__qualname__", "__doc__"):
        setattr(Chosen, name, getattr(kind, name))
    return Chosen
