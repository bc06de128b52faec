"""A streaming endpoint whose answers outlive the service: it is killed in the middle of one, and its reader goes on.

A reader asks for an answer under an id of its own. Where the connection is lost, because the service died or was
deployed anew, it asks again with the same id and says how many characters it has.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import httpx
import openai
import uvicorn
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

import l0_core
from l0_core import ports
from l0_core.testing import FaultyProvider, faults

app = FastAPI()
QUESTION = "Where does the Seine rise?"


@app.get("/answers/{answer}")
async def read(answer: UUID, question: str, offset: int = 0) -> StreamingResponse:
    """Stream an answer, from where its reader is."""
    client = openai.AsyncOpenAI(base_url=os.environ["PROVIDER"], api_key="none")
    target = ports.openai_chat(client, model="m", messages=[{"role": "user", "content": question}], name="model")
    stream = l0_core.astream(target, journal=os.environ["JOURNAL"], resume=answer.hex, from_offset=offset)

    async def texts() -> AsyncIterator[str]:
        async for chunk in stream:
            yield (chunk.choices[0].delta.content or "") if chunk.choices else ""

    return StreamingResponse(texts(), media_type="text/plain")


def service(port: int, provider: str, journal: str) -> "subprocess.Popen[bytes]":
    """Start the service as a process of its own, and wait until it answers."""
    environment = {**os.environ, "PROVIDER": provider, "JOURNAL": journal}
    running = subprocess.Popen([sys.executable, __file__, str(port)], env=environment)
    while True:
        try:
            httpx.get(f"http://127.0.0.1:{port}/docs")
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return running


def read_on(url: str, had: str, until: int | None) -> str:
    """Read an answer on from what there is of it, up to so many characters."""
    with httpx.stream("GET", url, params={"question": QUESTION, "offset": len(had)}, timeout=30) as response:
        for text in response.iter_text():
            print(text, end="", flush=True)
            had += text
            if until is not None and len(had) >= until:
                break
    return had


def main() -> None:
    """Read half of an answer, kill the service, start it again, read the rest."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with FaultyProvider(wording="varied") as provider, tempfile.TemporaryDirectory() as folder:
        provider.reply("It rises at Source-Seine in Burgundy, not far from Dijon, 446 metres above the sea.", chunks=20)
        provider.script(faults.drip(seconds=0.05))
        url, journal = f"http://127.0.0.1:{port}/answers/{uuid4()}", f"{folder}/l0.db"

        running = service(port, provider.openai_url, journal)
        answer = read_on(url, "", until=40)
        running.send_signal(signal.SIGKILL)
        running.wait()
        print("\n[the service was killed, and is started again]")

        running = service(port, provider.openai_url, journal)
        answer = read_on(url, answer, until=None)
        running.terminate()
        running.wait()
        print(f"\n\none whole answer: {provider.is_right(answer)}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        uvicorn.run(app, port=int(sys.argv[1]), log_level="error")
    else:
        main()
