"""What `l0` can do: its commands, by name."""

import typer

from l0_core.cli import chaos, demo, doctor, export, fork, policy, prune, replay, runs, sessions, show, trace, verify

app = typer.Typer(
    name="l0",
    help="Reliable model streams: see what happened, check what works.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
# The first line of each command's own help is longer than a list has room for.
app.command("demo", short_help="Failing providers, bare and with L0, side by side.")(demo.command)
app.command("doctor", short_help="What is installed, and whether it works here.")(doctor.command)
app.command("policy", short_help="Check a policy; its digest and its worst case.")(policy.command)
app.command("chaos", short_help="A provider that fails, for any program.")(chaos.command)
app.command(
    "trace",
    short_help="Run a program nobody changed, and write down what it does.",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)(trace.command)
app.command("runs", short_help="List runs, the latest first.")(runs.command)
app.command("sessions", short_help="List sessions, the latest first.")(sessions.command)
app.command("show", short_help="What happened in a run or a session.")(show.command)
app.command("replay", short_help="Decide again what was recorded, without a call.")(replay.command)
app.command("verify", short_help="Look at every block of a journal.")(verify.command)
app.command("fork", short_help="A run that shares another's history, up to a record.")(fork.command)
app.command("export", short_help="Write a journal, or part of it, as JSON Lines.")(export.command)
app.command("import", short_help="Take in what was exported.")(export.import_command)
app.command("prune", short_help="Remove records or content for good.")(prune.command)


@app.callback()
def _group() -> None:
    """Keep `l0` a group of commands, however few it has."""
