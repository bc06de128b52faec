"""`l0 show`: what happened in one run or one session."""

import json
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.text import Text

from l0_core._archive import pages, row_of
from l0_core._errors import JournalError
from l0_core._journal import Journal, id_of, run_id
from l0_core._replay import SessionRecord, replay
from l0_core.cli.moment import clock, span
from l0_core.cli.opening import AsJson, JournalPath, KeyFile, console, give, opened, table, told

_GLANCE_SECONDS = 0.25
"""Between two looks at a session that is followed."""

_NS = 1_000_000_000


@told
def command(
    id_: Annotated[str, typer.Argument(metavar="ID", help="A session, or a run by the id its user gave it.")],
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Print a live session's text as it comes.")] = False,
    journal: JournalPath = None,
    key_file: KeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Show a run's steps, or a session's attempts, its timeline, its splices, and what the consumer saw."""
    with opened(journal, key_file) as found:
        kind, key = kind_of(found, id_)
        if kind == "run":
            if follow:
                raise typer.BadParameter("a session can be followed; see which with l0 sessions --run")
            _run(found, key, as_json=as_json)
        elif follow:
            _follow(found, key, as_json=as_json)
        else:
            _session(found, key, as_json=as_json)


def kind_of(journal: Journal, name: str) -> tuple[str, bytes]:
    """Return whether a name is that of a run or a session, and its id."""
    for key in dict.fromkeys([run_id(name), *([id_of(name)] if _is_id(name) else [])]):
        info = journal.native.info(key)
        if info is not None and info[0] in {"run", "session"}:
            return info[0], key
        if row_of(journal, "runs", key) is not None:  # What is made of pieces has no records of its own.
            return "run", key
    raise JournalError(f"there is no run and no session {name} in this journal", reason="missing")


def _is_id(name: str) -> bool:
    try:
        return bool(id_of(name))
    except JournalError:
        return False


# Runs ----------------------------------------------------------------------------------------------------------------


def _run(journal: Journal, key: bytes, *, as_json: bool) -> None:
    row = row_of(journal, "runs", key) or {"id": key}
    steps = list(pages(journal, "steps", run=key))[::-1]
    if as_json:
        give({"run": _plain(row), "steps": [_plain(step) for step in steps]})
        return
    facts: list[tuple[str, object]] = [
        ("run", row.get("name")),
        ("status", row.get("status")),
        ("fault", row.get("fault")),
        ("began", clock(row.get("started_at_ms"))),
        ("took", span(row.get("duration_ms"))),
        ("forked from", row["forked_from"].hex() if "forked_from" in row else None),
        ("at record", row.get("forked_at")),
    ]
    _facts(facts)
    depth: dict[bytes, int] = {}
    rows: list[list[object]] = []
    for step in steps:
        depth[step["id"]] = depth.get(step.get("parent", b""), -1) + 1
        rows.append(
            [
                "  " * depth[step["id"]] + step.get("name", ""),
                step.get("kind"),
                step.get("status"),
                step.get("fault"),
                clock(step.get("started_at_ms")),
                span(step.get("duration_ms")),
                step["session"].hex() if "session" in step else step.get("idempotency_key"),
            ]
        )
    table(["step", "kind", "status", "fault", "began", "took", "session, or idempotency key"], rows)


# Sessions ------------------------------------------------------------------------------------------------------------


def _session(journal: Journal, key: bytes, *, as_json: bool) -> None:
    name = key.hex()
    row = row_of(journal, "sessions", key) or {"id": key}
    attempts, records = journal.attempts(name), journal.records(name)
    report = replay(journal, name)
    if as_json:
        told_ = [record._asdict() for record in records]
        give({"session": _plain(row), "attempts": attempts, "records": told_, "saw": asdict(report)})
        return
    _facts(
        [
            ("session", name),
            ("status", row.get("status")),
            ("target", row.get("target")),
            ("served by", row.get("served_by")),
            ("fault", row.get("fault")),
            ("began", clock(row.get("started_at_ms"))),
            ("took", span(row.get("duration_ms"))),
            ("tokens", f"{row.get('input_tokens') or 0} in, {row.get('output_tokens') or 0} out"),
            ("wasted", row.get("wasted_tokens") or None),
            ("policy", row.get("policy_digest")),
        ]
    )
    columns = ["number", "target", "mode", "status", "fault", "first_content_ms", "duration_ms", "request_id"]
    table(
        ["attempt", "target", "mode", "status", "fault", "first ms", "took ms", "request"],
        [[attempt.get(column) for column in columns] for attempt in attempts],
    )
    print_ = console().print
    print_()
    began = records[0].at_ns if records else 0
    names = _targets(records)
    for at_ns, line in _timeline(records, names):
        print_(Text(f"{(at_ns - began) / _NS:9.3f} s  {line}"))
    print_()
    print_(Text(report.text))
    for call in report.tool_calls:
        print_(Text(f"{call.name}({call.args})"))


def _targets(records: list[SessionRecord]) -> list[str]:
    start = next((record.what for record in records if record.kind == "start"), {})
    return [target["name"] for target in start.get("targets", [])]


def _timeline(records: Iterable[SessionRecord], names: list[str]) -> Iterator[tuple[int, str]]:
    """Yield what is worth a line: chunks together, decisions one by one, what only the machinery needs not at all."""
    chunks, characters, at = 0, 0, 0
    for record in records:
        text = _text(record)
        if text is not None:
            at = at if chunks else record.at_ns
            chunks, characters = chunks + 1, characters + len(text)
            continue
        line = _line(record, names)
        if line is None:
            continue
        if chunks:
            yield at, f"{chunks} chunks, {characters} characters"
            chunks, characters = 0, 0
        yield record.at_ns, line
    if chunks:
        yield at, f"{chunks} chunks, {characters} characters"


def _text(record: SessionRecord) -> str | None:
    """Return a chunk's text; nothing where the record is of something else."""
    if record.kind == "chunk":
        return str(record.what["text"])
    said = record.what.get("input")
    if record.kind == "input" and isinstance(said, dict) and "part" in said:
        return str(said["part"]["part"]["text"])
    return None


def _line(record: SessionRecord, names: list[str]) -> str | None:
    if record.kind == "input":
        said = record.what.get("input")
        return "the process died; another goes on" if said == "resume" else "cancelled" if said == "cancel" else None
    if record.kind != "decision":
        return None
    ((name, what),) = record.what.items()
    if name == "open":
        return f"attempt {what['attempt']} on {names[what['target']]}: {what['mode']}"
    if name == "event":
        ((event, facts),) = what.items() if isinstance(what, dict) else [(what, {})]
        told_ = {key: value for key, value in facts.items() if value is not None and key not in {"at", "raised"}}
        if "target" in told_:
            told_["target"] = names[told_["target"]]
        if event == "retry":
            told_["wait"] = span(told_["wait"] // 1_000_000)
        return f"{event}: {', '.join(f'{key} {value}' for key, value in told_.items())}"
    return {"done": "done", "reset": "reset: the consumer was told to discard"}.get(name)


def _follow(journal: Journal, key: bytes, *, as_json: bool) -> None:
    """Print the text as far as it is there, and what is added, until the session is over."""
    shown, seen = "", -1
    say = _say_json if as_json else _say
    with suppress(KeyboardInterrupt):
        while True:
            info = journal.native.info(key)
            if info is not None and info[1] == seen:  # nothing new to decide again
                time.sleep(_GLANCE_SECONDS)
                continue
            seen = info[1] if info is not None else seen
            report = replay(journal, key.hex())
            is_discarded = not report.text.startswith(shown)
            say(report.text[0 if is_discarded else len(shown) :], report.status, is_discarded=is_discarded)
            shown = report.text
            if report.status != "running":
                break
    if not as_json:
        typer.echo()


def _say(text: str, _: str, *, is_discarded: bool) -> None:
    typer.echo(f"\n— discarded —\n{text}" if is_discarded else text, nl=False)


def _say_json(text: str, status: str, *, is_discarded: bool) -> None:
    """Print one JSON object a line, as there is no whole to print yet."""
    typer.echo(json.dumps({"text": text, "status": status, "discarded": is_discarded}, ensure_ascii=False))


def _facts(facts: list[tuple[str, object]]) -> None:
    print_ = console().print
    for name, value in facts:
        if value not in {None, ""}:
            print_(Text(f"{name:12} {value}"))
    print_()


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value.hex() if isinstance(value, bytes) else value for name, value in row.items()}
