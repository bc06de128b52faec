"""JSON as models write it: in pieces, cut short, and not always JSON.

`repair` makes JSON of a text; `Partial` reads a document while it is still being written.

Example:
    >>> from l0_core import json
    >>> repaired = json.repair("Sure! {name: 'Ada', tags: [1, 2,")
    >>> repaired.value, repaired.cut
    ({'name': 'Ada', 'tags': [1, 2]}, True)
    >>> repaired.changes[0]
    Change(fix="prose", at=0)
    >>> partial = json.Partial()
    >>> partial.feed('{"name": "Ad'), partial.value
    (True, {'name': 'Ad'})
"""

from l0_core._native import Change, Partial, Repaired, Unrepairable, repair

__all__ = ["Change", "Partial", "Repaired", "Unrepairable", "repair"]
