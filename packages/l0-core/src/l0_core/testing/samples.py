"""Answers of the shapes that break recovery in different ways: prose, lists, code, tables, wide and joined characters.

Each is a `Template`: under varied wording it is worded anew for every request.
"""

from __future__ import annotations

from typing import Final

from l0_core.testing.phrasing import Template

__all__ = ["ALL", "CODE", "LIST", "PROSE", "REPEATS", "TABLE", "WIDE"]

PROSE: Final = Template(
    "{@tone:The capital of France is Paris|France has Paris as its capital|Paris: that is the capital of France}. "
    "{The city lies on the Seine|It stands on the banks of the Seine}, {@tone:and about|where some|and roughly} "
    "2.1 million people {live there|have their home}. "
    "{@tone:Its cafés are known all over the world|The whole world has heard of its cafés|Few cafés are as famous as "
    "those of the city}, {and on a mild day|and whenever the weather is kind}, at 18 °C, {hardly a chair|scarcely a "
    "seat} stays empty. {@tone:That is the short answer|So much for your question|I would start a visit right there}."
)

LIST: Final = Template(
    "{@tone:To make tea|For a good cup of tea|Tea is made like this}:\n\n"
    "1. {Boil|Heat up} half a litre of water{@tone: in a kettle| until it sings| on the stove}.\n"
    "2. {Put|Drop} two spoons of leaves {into|inside} the {@tone:pot|teapot you warmed|can}.\n"
    "3. {Pour|Tip} the water {over|on} the leaves and wait {@tone:four minutes|until it smells right|for a while}.\n"
    "4. {Strain|Sieve} it and {@tone:serve|enjoy|drink it hot}.\n\n"
    "{@tone:Milk goes in last|Sugar is a matter of taste|Lemon suits it too}."
)

CODE: Final = Template(
    "{@tone:This function adds two numbers|Here is how to add two numbers|You can add two numbers so}:\n\n"
    "```python\n"
    "def {add|plus}(a: int, b: int) -> int:\n"
    "    {@tone:# whole numbers only|# no floats|# int plus int}\n"
    "    return {@tone:a + b|b + a|sum((a, b))}\n"
    "```\n\n"
    "{Call|Run} it with `{@tone:(1, 2)|(3, 4)|(5, 6)}` {@tone:and look|to try it|and compare}."
)

TABLE: Final = Template(
    "{@tone:The figures|Here are the numbers|What was measured}:\n\n"
    "| {city|place} | {people|inhabitants} |\n|---|---|\n"
    "| Paris | {@tone:2,100,000|2.1 million|2100000} |\n"
    "| Lyon | {@tone:520,000|0.52 million|520000} |\n"
    "| Nice | {@tone:350,000|0.35 million|350000} |\n\n"
    "{@tone:All of them are rounded|Source: the census|None of it is exact}."
)

WIDE: Final = Template(
    "{@tone:東京は日本の首都です|日本の首都は東京です|首都といえば東京です}。"
    "{人口は|住民の数は}{@tone:およそ|約|だいたい}一千四百万人で、{朝から晩まで|一日じゅう}にぎやかです 🗼. "
    "{@tone:A family|A couple with children|Everybody} 👨‍👩‍👧‍👦 {enjoys|likes} the cafe\u0301 "
    "{@tone:at noon|in the evening|on Sundays} 🇯🇵! "
    "{@tone:वहाँ जाइए|फिर मिलेंगे|शुभ यात्रा}。"
)

REPEATS: Final = Template(
    "{@tone:He laughed|The man laughed|Then came his laugh}: ha ha ha ha ha ha ha ha ha ha.\n"
    "----------------------------------------\n"
    "{@tone:0 0 0 0 0 0 0 0 0 0 0 0|0, 0, 0, 0, 0, 0, 0, 0, 0, 0|0;0;0;0;0;0;0;0;0;0;0;0}\n"
    "{@tone:Row, row, row your boat|Knock, knock, knock on the door|Again, again, again it rang}, "
    "{gently|softly} down {@tone:the stream|the hall|the line}."
)

ALL: Final = {"code": CODE, "list": LIST, "prose": PROSE, "repeats": REPEATS, "table": TABLE, "wide": WIDE}
