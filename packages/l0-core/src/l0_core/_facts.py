from typing import Literal

Stage = Literal["call", "open", "read"]


def read(error, *, stage, bytes_seen):
    return {
        "stage": stage,
        "bytes": bytes_seen,
        "types": [f"{c.__module__}.{c.__qualname__}" for c in type(error).__mro__],
        "status": getattr(error, "status_code", None),
    }, str(error)
