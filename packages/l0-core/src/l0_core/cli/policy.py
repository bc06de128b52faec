"""`l0 policy`: what a policy says, whether a file is one, and what there is to say."""

import json
import sys
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from l0_core import Policy, PolicyError

HEAD = """# Policy reference

<!-- Written by `l0 policy --reference`. -->

Every field of `l0_core.Policy`, with what it is where nothing else is said (the `standard` policy). A file says the
same in TOML or JSON, a part being a table: `[retry]`, `[timeouts]`. Unknown fields and bad values are refused by name.

| preset | what differs from `standard` |
|---|---|
"""
PRESETS = ("interactive", "batch", "strict")


def command(
    policy: Annotated[
        str | None, typer.Argument(help="A preset or a file; what `L0_POLICY` says where it is left out.")
    ] = None,
    *,
    reference: Annotated[bool, typer.Option("--reference", help="Print every field there is, as Markdown.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole policy as JSON.")] = False,
) -> None:
    """Check a policy and say what it says: its digest, what differs from the standard one, the most a call can cost."""
    if reference:
        typer.echo("\n".join(_reference()))
        return
    try:
        said = Policy.of(policy)
    except PolicyError as error:
        sys.stderr.write(f"l0 policy: {error}\n")
        raise typer.Exit(1) from None
    if as_json:
        typer.echo(said.model_dump_json(indent=1))
        return
    typer.echo(f"digest      {said.digest}")
    worst = said.worst_case()
    typer.echo(
        f"worst case  {worst.calls} calls, {worst.total:g} s, of which {worst.waiting:g} s waiting between calls"
    )
    for name, (value, usual) in said.diff(Policy.standard()).items():
        typer.echo(f"{name:<11} {_word(value)} (standard: {_word(usual)})")


def _reference() -> Iterator[str]:
    schema = Policy.model_json_schema()
    parts: Mapping[str, Any] = schema["$defs"]
    yield HEAD.rstrip()
    for preset in PRESETS:
        differs = Policy.of(preset).diff(Policy.standard())
        yield f"| `{preset}` | {', '.join(f'`{name}` {_word(value)}' for name, (value, _) in differs.items())} |"
    own = {name: field for name, field in schema["properties"].items() if not _part_of(field, parts)}
    yield from _table("policy", "What is not in a part of its own.", own)
    for name, field in schema["properties"].items():
        if part := _part_of(field, parts):
            yield from _table(name, Policy.model_fields[name].description or "", part["properties"])
    yield from _table("guards[] and input_guards[]", parts["Guard"]["description"], parts["Guard"]["properties"])


def _part_of(field: Mapping[str, Any], parts: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the part a field holds, if it holds one."""
    for option in (field, *field.get("anyOf", ())):
        if "$ref" in option:
            part: Mapping[str, Any] = parts[option["$ref"].rpartition("/")[2]]
            return part
    return None


def _table(name: str, description: str, fields: Mapping[str, Any]) -> Iterator[str]:
    yield f"\n## `{name}`\n\n{' '.join(description.split())}\n"
    yield "| field | default | allowed | what it says |\n|---|---|---|---|"
    for field, told in fields.items():
        default = _word(told["default"]) if "default" in told else "required"
        yield f"| `{field}` | {default} | {_allowed(told)} | {' '.join(told.get('description', '').split())} |"


def _allowed(field: Mapping[str, Any]) -> str:
    """Return what a field takes, from its schema."""
    options = [_kind(option) for option in field.get("anyOf", [field])]
    return " or ".join(option for option in options if option)


def _kind(field: Mapping[str, Any]) -> str:  # noqa: PLR0911 - one a kind
    match field:
        case {"$ref": str(part)}:
            return f"`{part.rpartition('/')[2]}`"
        case {"enum": choices}:
            return ", ".join(f"`{choice}`" for choice in choices)
        case {"const": choice}:
            return f"`{choice}`"
        case {"type": "array", "items": items}:
            return f"a list of {_kind(items) or 'values'}"
        case {"type": "null"}:
            return "nothing"
        case {"type": "number" | "integer" as kind}:
            least, most = field.get("ge", field.get("minimum")), field.get("le", field.get("maximum"))
            over = field.get("exclusiveMinimum")
            word = "a whole number" if kind == "integer" else "a number"
            low = f" over {over:g}" if over is not None else f" from {least:g}" if least is not None else ""
            return f"{word}{low}{f' to {most:,.10g}' if most is not None else ''}"
        case {"type": "boolean"}:
            return "`true`, `false`"
        case {"type": "string"}:
            return "text"
        case _:
            return "fields"


def _word(value: object) -> str:  # noqa: PLR0911 - one a kind
    match value:
        case None:
            return "nothing"
        case str():
            return f"`{value}`"
        case list() | tuple():
            return ", ".join(map(_word, value)) or "none"
        case dict():
            return "its own defaults"
        case bool():
            return f"`{json.dumps(value)}`"
        case float() | int():
            return f"{value:,g}"
        case _:
            return str(value)
