"""A provider that breaks off, stalls and refuses: what the reader of the stream sees, and what happened."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Iterator

import l0_core

ANSWER = "The Seine rises in Burgundy, passes through Paris, and meets the sea at Le Havre, 775 kilometres later. "
AGAIN = "It is 775 kilometres long, and flows from Burgundy by way of Paris to the sea at Le Havre. "
SILENCE = threading.Event()

logging.getLogger("l0").setLevel(logging.ERROR)  # Its one line a fault is told below, in a story's own words.


def words(text: str) -> list[str]:
    """Cut a text as a provider does."""
    return [f"{word} " for word in text.split()]


def breaks_off(attempt: l0_core.Attempt) -> Iterator[str]:
    """Answer in other words each time, and break off the first one; go on from a prefix if there is one."""
    if attempt.mode == "prefill":
        yield from words(ANSWER[len(attempt.prefix) :])
        return
    for word in words(ANSWER if attempt.number == 0 else AGAIN):
        if attempt.number == 0 and word == "meets ":
            raise ConnectionResetError("connection reset by peer")
        yield word


def falls_silent(attempt: l0_core.Attempt) -> Iterator[str]:
    """Say nothing at all the first time."""
    if attempt.number == 0:
        SILENCE.wait(60)
    yield from words(ANSWER)


def refuses_connections(attempt: l0_core.Attempt) -> Iterator[str]:
    """Be down."""
    raise ConnectionRefusedError(attempt.target)


def healthy(_: l0_core.Attempt) -> Iterator[str]:
    """Answer."""
    yield from words(ANSWER)


async def breaks_off_async(attempt: l0_core.Attempt) -> AsyncIterator[str]:
    """Do the same, awaited."""
    for word in breaks_off(attempt):
        await asyncio.sleep(0)
        yield word


def tell(result: l0_core.Result) -> None:
    """Say what happened behind the answer."""
    for fault in result.faults:
        print(f"    {fault.fault} on {fault.target} after {fault.at:.2f} s")
    for splice in result.splices:
        print(f"    joined at byte {splice.at} by {splice.mode} ({splice.method})")
    served = f"{result.attempts} attempts, served by {result.served_by}"
    print(f"    {result.status}: {served}{', degraded' if result.degraded else ''}\n")


def bare() -> None:
    """Show what the reader gets without L0."""
    print("Bare: the connection dies in the middle of the answer.")
    print("  > ", end="")
    attempt = l0_core.Attempt("river", 0, "fresh", "", "", "", "", 0, 60.0, "demo")
    try:
        for chunk in breaks_off(attempt):
            print(chunk, end="")
    except ConnectionResetError as error:
        print(f"\n    ConnectionResetError: {error}\n")


def sync_story(title: str, stream: l0_core.Stream[str]) -> None:
    """Show what the reader gets, and what happened."""
    print(title)
    print("  > ", end="")
    for chunk in stream:
        print(chunk, end="")
    print()
    tell(stream.result)


async def async_story(title: str, stream: l0_core.AsyncStream[str]) -> None:
    """Show the same, awaited."""
    print(title)
    print("  > ", end="")
    async for chunk in stream:
        print(chunk, end="")
    print()
    tell(stream.result)


def main() -> None:
    """Tell every story."""
    river = l0_core.Target(breaks_off, name="river", prefill=True)
    impatient = l0_core.Policy(timeouts=l0_core.Timeouts(first=0.3))
    twice = l0_core.Policy(retry=l0_core.Retry(max_retries=1))
    bare()
    sync_story("With L0: the same connection dies, and the answer goes on where it broke off.", l0_core.stream(river))
    river_async = l0_core.Target(breaks_off_async, name="river", prefill=True)
    asyncio.run(async_story("The same, awaited.", l0_core.astream(river_async)))
    sync_story("The provider says nothing: it is left after 0.3 s.", l0_core.stream(falls_silent, policy=impatient))
    sync_story(
        "The provider is down: a fallback answers, and says so.",
        l0_core.stream(refuses_connections, fallbacks=[l0_core.Target(healthy, name="second")], policy=twice),
    )
    SILENCE.set()


if __name__ == "__main__":
    main()
