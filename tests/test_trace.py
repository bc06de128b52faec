"""`l0 trace`: programs that know nothing of L0 are written down as they run."""

import subprocess
import sys
from pathlib import Path

import pytest

from l0_core import Journal
from l0_core.testing import FaultyProvider

LANGCHAIN = """
import sys
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_openai import ChatOpenAI
from beside import QUESTION

model = ChatOpenAI(model="gpt-4o-mini", base_url=sys.argv[1], api_key="x")
chain = ChatPromptTemplate.from_template("{x}") | model | StrOutputParser()
assert __name__ == "__main__"
for text in chain.stream({"x": QUESTION}):
    print(text, end="")
sys.exit(3 if sys.argv[2:] == ["--three"] else 0)
"""

LLAMAINDEX = """
import sys
from llama_index.core.llms import MockLLM
from beside import QUESTION

print(MockLLM().complete(QUESTION), end="")
sys.exit(3 if sys.argv[2:] == ["--three"] else 0)
"""

QUESTION = "What is the capital of France?"
ANSWER = "It is Paris."


@pytest.mark.parametrize(
    ("program", "answer"), [(LANGCHAIN, ANSWER), (LLAMAINDEX, QUESTION)], ids=["langchain", "llamaindex"]
)
def test_a_program_nobody_changed_is_written_down(program: str, answer: str, tmp_path: Path) -> None:
    """It says what it would have said, ends as it would have ended, and what it did is in the journal."""
    (tmp_path / "beside.py").write_text(f"QUESTION = {QUESTION!r}\n")
    script, file = tmp_path / "app.py", tmp_path / "l0.db"
    script.write_text(program)
    with FaultyProvider() as provider:
        provider.reply(ANSWER)
        given = [str(script), provider.openai_url, "--three"]
        bare = subprocess.run([sys.executable, *given], capture_output=True, text=True, check=False, timeout=100)
        command = [
            sys.executable,
            "-c",
            "from l0_core.cli import main; main()",
            "trace",
            "--journal",
            str(file),
            *given,
        ]
        traced = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert (bare.stdout, bare.returncode) == (answer, 3), bare.stderr
    assert (traced.stdout, traced.returncode) == (answer, 3), traced.stderr
    with Journal.open(file) as journal:
        (run,) = journal.runs()
        assert run["status"] == "finished"
        assert "model" in {row["kind"] for row in journal.steps(run["name"])}
        assert journal.verify().is_sound


def test_a_program_that_is_not_there_is_misuse(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from l0_core.cli import main; main()", "trace", str(tmp_path / "none.py")]
    assert subprocess.run(command, capture_output=True, check=False, timeout=100).returncode == 2
