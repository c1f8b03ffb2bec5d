"""The application: verbs, and the one place where errors become messages and exit codes."""

from __future__ import annotations

import json
import os
import sys

import typer

from crosstune import __version__
from crosstune.errors import EXIT_INTERRUPTED, EXIT_USAGE, CrosstuneError

app = typer.Typer(
    name="crosstune",
    help="Fine-tune pretrained transformers on data of any modality, and find out whether the transfer was worth it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(show: bool) -> None:
    if show:
        typer.echo(f"crosstune {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Show the version."),
) -> None:
    """Results go to stdout, progress and logs to stderr."""


def _register() -> None:
    from crosstune.cli import demo, doctor, evaluate, fit, inspect, listing, predict, rank, report, resume, reveal

    for module in (inspect, fit, predict, evaluate, report, resume, reveal, rank, listing, doctor, demo):
        module.register(app)


def run(arguments: list[str]) -> int:
    import click

    _register()
    as_json = "--json" in arguments
    try:
        result = app(args=arguments, prog_name="crosstune", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except CrosstuneError as problem:
        return fail(problem, as_json)
    except click.exceptions.Abort:
        return EXIT_INTERRUPTED
    except click.ClickException as problem:
        problem.show()
        return EXIT_USAGE
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # the reader of our output (head, less) has gone: not an error
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def fail(problem: CrosstuneError, as_json: bool) -> int:
    """Print an error where it belongs and give its exit code."""
    if as_json:
        print(json.dumps(problem.as_dict()))
    print(f"crosstune: {problem}", file=sys.stderr)
    return problem.exit_code
