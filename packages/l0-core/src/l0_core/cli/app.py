"""What `l0` can do: its commands, by name."""

import typer

from l0_core.cli import chaos, demo, doctor, export, fork, policy, prune, replay, runs, sessions, show, verify

app = typer.Typer(
    name="l0",
    help="Reliable model streams: see what happened, check what works.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("chaos")(chaos.command)
app.command("demo")(demo.command)
app.command("runs")(runs.command)
app.command("sessions")(sessions.command)
app.command("show")(show.command)
app.command("replay")(replay.command)
app.command("verify")(verify.command)
app.command("fork")(fork.command)
app.command("export")(export.command)
app.command("import")(export.import_command)
app.command("prune")(prune.command)
app.command("doctor")(doctor.command)
app.command("policy")(policy.command)


@app.callback()
def _group() -> None:
    """Keep `l0` a group of commands, however few it has."""
