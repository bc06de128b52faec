"""A program's own failure tests, with the pytest plugin: `pytest examples/test_failures.py`."""

import pytest
from langchain_core.output_parsers import StrOutputParser
from langchain_core.runnables import Runnable
from langchain_openai import ChatOpenAI

from l0_core import ExhaustedError, Policy, Retry
from l0_core.testing import FaultyProvider, faults
from l0_langchain import L0ChatModel


def chain(base_url: str) -> Runnable[str, str]:
    """Return what is tested: the program's own chain, talking to wherever it is told."""
    policy = Policy(retry=Retry(max_retries=1, base=0.0, base_overload=0.0))
    model = L0ChatModel(model=ChatOpenAI(model="gpt-5-mini", base_url=base_url, api_key="none"), policy=policy)
    return model | StrOutputParser()


@pytest.mark.parametrize("fault", [faults.reset_after(chunks=4), faults.overloaded(), faults.role_only()], ids=repr)
def test_what_passes_is_healed(faulty_provider: FaultyProvider, fault: faults.Fault) -> None:
    """A fault that passes is not seen by the chain's reader."""
    faulty_provider.script(fault, faults.ok())
    text = "".join(chain(faulty_provider.openai_url).stream("Where does the Seine rise?"))
    assert faulty_provider.is_right(text)


def test_what_stays_is_told(faulty_provider: FaultyProvider) -> None:
    """A fault that stays is an error that says so, and no half answer."""
    faulty_provider.script(faults.overloaded())
    with pytest.raises(ExhaustedError) as caught:
        chain(faulty_provider.openai_url).invoke("Where does the Seine rise?")
    assert (caught.value.attempts, caught.value.partial_chars) == (2, 0)
