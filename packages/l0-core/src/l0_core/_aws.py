"""AWS's clients with their own retries off: an attempt is one request, and the policy says how many there are."""

from typing import Any


def is_of_aws(client: object) -> bool:
    """Return whether something is a client that botocore made. It is not imported for that."""
    return type(client).__module__ == "botocore.client"


def once(client: Any) -> Any:
    """Return a client that does not ask itself whether an answer is to be had again. All else is shared."""
    endpoint = client._endpoint  # noqa: SLF001 - it has no other way to be told so once it is made
    quiet, single = object.__new__(type(client)), object.__new__(type(endpoint))
    vars(single).update(vars(endpoint), _needs_retry=lambda *_args, **_kwargs: False)
    vars(quiet).update(vars(client), _endpoint=single)
    return quiet
