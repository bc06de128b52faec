"""Tools whose calls are steps of a run: one that has ended is not called again, one that was cut off is.

Outside a run a tool is what it was. Its calls are never tried again by themselves: nobody but its author knows what
calling it twice does.
"""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from llama_index.core.tools import BaseTool, FunctionTool, ToolOutput

from l0_core._codec import Results, read_exception, written_exception
from l0_core._errors import StepNotSerializable
from l0_core._keys import form_of
from l0_core._run import Taken
from l0_core._settings import frame_here
from l0_core._step import aperform, perform

_log = logging.getLogger("l0")


@dataclass(frozen=True, slots=True)
class Once:
    """What makes a tool's calls steps.

    Attributes:
        inner: The tool.
    """

    inner: BaseTool

    def ask(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call a method of the tool, or give what it returned when it was recorded."""
        work: Callable[..., Any] = partial(getattr(self.inner, method), *args, **kwargs)
        taken = self._taken(args, kwargs)
        if taken is None:
            return work()
        outputs = _Outputs(taken.key.name, getattr(self.inner, "real_fn", None))
        return (aperform if method == "acall" else perform)(taken, outputs, work)

    def _taken(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Taken | None:
        frame = frame_here()
        if frame is None:
            return None
        given = form_of({"args": args, "kwargs": kwargs})
        taken: Taken = frame.run.take(frame, name_of(self.inner), given, kind="tool", side_effect=True)
        return taken


def name_of(tool: BaseTool) -> str:
    """Return the name that a model calls a tool by."""
    return tool.metadata.name or type(tool).__name__


def changes_its_workflow(tool: BaseTool) -> bool:
    """Return whether a tool is handed the workflow it is called in: what it changes there no result brings back."""
    return isinstance(tool, FunctionTool) and tool.requires_context


class _Outputs(Results):
    """Writes and reads what a tool returns.

    Of what it tells the model nothing is lost. What it had in hand besides comes back as its text where it has no form
    of its own: an answer that was paid for is not refused for that.
    """

    def __init__(self, tool: str, fn: Callable[..., Any] | None) -> None:
        super().__init__(tool, fn)
        self._tool = tool

    def encode(self, value: object) -> str:
        """Return an output as JSON."""
        if type(value) is not ToolOutput:
            return json.dumps({"value": json.loads(super().encode(value))})
        error = value.exception
        told = {
            "tool_name": value.tool_name,
            "blocks": [block.model_dump(mode="json", serialize_as_any=True) for block in value.blocks],
            "raw_input": {name: self._kept(item) for name, item in (value.raw_input or {}).items()},
            "raw_output": self._kept(value.raw_output),
            "is_error": value.is_error,
            "exception": None if error is None else json.loads(written_exception(error)),
        }
        return json.dumps({"output": told}, separators=(",", ":"), ensure_ascii=False)

    def decode(self, text: str) -> Any:
        """Return the output that `encode` wrote."""
        written = json.loads(text)
        if "output" not in written:
            return super().decode(json.dumps(written["value"]))
        told = written["output"]
        told["raw_input"] = {name: self._read(item) for name, item in told["raw_input"].items()}
        told["raw_output"] = self._read(told["raw_output"])
        if told["exception"] is not None:
            told["exception"] = read_exception(json.dumps(told["exception"]), self._tool)
        return ToolOutput(**told)

    def _kept(self, value: object) -> Any:
        try:
            return {"value": json.loads(super().encode(value))}
        except StepNotSerializable:
            _log.warning("tool=%s: a %s it returned is remembered as text", self._tool, type(value).__name__)
            return {"text": str(value)}

    def _read(self, written: Any) -> Any:
        return written["text"] if "text" in written else super().decode(json.dumps(written["value"]))
