"""`l0 replay`: decide a session again, or all of a run's, and say where it differs."""

import threading
from dataclasses import asdict
from typing import Annotated

import typer

from l0_core import _clock
from l0_core._archive import pages
from l0_core._errors import L0Error, ReplayDivergence
from l0_core._replay import replay, replay_stream
from l0_core.cli.opening import AsJson, JournalPath, KeyFile, give, opened, progress, table, told
from l0_core.cli.show import kind_of


class _Scaled:
    """A clock that goes so many times as fast."""

    def __init__(self, speed: float) -> None:
        self._real = _clock.RealClock()
        self._speed = speed

    def now(self) -> int:
        return int(self._real.now() * self._speed)

    def wait(self, until: int, wake: threading.Event) -> None:
        self._real.wait(int(until / self._speed), wake)

    async def wait_async(self, until: int) -> None:
        await self._real.wait_async(int(until / self._speed))

    def patience(self, until: int) -> float:
        return self._real.patience(int(until / self._speed))

    def opens(self) -> None:
        pass

    def of_session(self) -> "_Scaled":
        return self


@told
def command(
    id_: Annotated[str, typer.Argument(metavar="ID", help="A session, or a run by the id its user gave it.")],
    *,
    speed: Annotated[
        float | None, typer.Option(min=0.01, help="Print the text as it came, so many times as fast: 1 is as fast.")
    ] = None,
    journal: JournalPath = None,
    key_file: KeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Decide again what was recorded. Ends with 1 at the first record that differs. No call is made."""
    with opened(journal, key_file) as found:
        kind, key = kind_of(found, id_)
        sessions = [key.hex()]
        if kind == "run":
            sessions = [row["id"].hex() for row in pages(found, "sessions", run=key)][::-1]
        if speed is not None and not as_json:
            _clock.run_by(_Scaled(speed))
            for session in sessions:
                _print(replay_stream(found, session, timed=True))
            return
        with progress() as bar:
            reports = [replay(found, session) for session in bar.track(sessions, description="replaying")]
    if as_json:
        give([asdict(report) for report in reports])
        return
    table(
        ["session", "status", "records", "characters", "faults"],
        [[r.session_id, r.status, r.records, len(r.text), ", ".join(r.faults)] for r in reports],
    )


def _print(stream: object) -> None:
    """Print a stream as it comes; that it ended badly is part of what happened."""
    try:
        for chunk in stream:  # type: ignore[attr-defined]
            typer.echo(chunk if isinstance(chunk, str) else _text(chunk), nl=False)
    except ReplayDivergence:
        raise
    except L0Error as error:
        typer.echo(f"\n— {type(error).__name__} —", nl=False)
    typer.echo()


def _text(chunk: object) -> str:
    from l0_core.ports import port_for

    return str(port_for(chunk).facts(chunk).text)
