"""The application: verbs, and the one place where errors become messages and exit codes."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sys
from functools import lru_cache
from typing import Any

import typer

from crosstune import __version__
from crosstune.errors import EXIT_INTERRUPTED, EXIT_USAGE, CrosstuneError, Interrupted, UsageError

# typer may carry its own copy of click: the class is taken from where typer's errors really come from
ClickError: Any = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")

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


@lru_cache(maxsize=1)
def _register() -> None:
    from crosstune.cli import (
        bench,
        data,
        demo,
        doctor,
        evaluate,
        fit,
        inspect,
        listing,
        predict,
        pretrain,
        rank,
        report,
        resume,
        reveal,
    )

    for module in (
        inspect,
        fit,
        predict,
        evaluate,
        report,
        resume,
        reveal,
        rank,
        listing,
        data,
        bench,
        pretrain,
        doctor,
        demo,
    ):
        module.register(app)


def run(arguments: list[str]) -> int:
    """Run one command; gives its exit code."""
    _register()
    as_json = "--json" in arguments
    try:
        result = app(args=arguments, prog_name="crosstune", standalone_mode=False)
        sys.stdout.flush()
        if result == EXIT_INTERRUPTED:  # Ctrl-C outside of a run, where nothing has to be said about a checkpoint
            return fail(Interrupted("interrupted"), as_json)
        return result if isinstance(result, int) else 0
    except CrosstuneError as problem:
        return fail(problem, as_json)
    except (typer.Abort, KeyboardInterrupt):
        return fail(Interrupted("interrupted"), as_json)
    except ClickError as problem:
        problem.show()
        if as_json:
            print(json.dumps(UsageError(problem.format_message(), fix=_help(problem)).as_dict()))
        return EXIT_USAGE
    except BrokenPipeError:
        return _reader_gone()
    except SystemExit as stop:  # how click ends when the reader of our output has gone
        return _reader_gone() if isinstance(stop.__context__, BrokenPipeError) else int(stop.code or 0)
    except OSError as problem:
        if problem.filename is None and problem.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS):
            raise
        place = f" {problem.filename!r}" if problem.filename is not None else ""
        return fail(
            UsageError(
                f"cannot read or write{place}: {problem.strerror}",
                cause="a mistyped path, no permission, or a full disk",
                fix="mend that and give the command again",
            ),
            as_json,
        )


def _help(problem: Any) -> str | None:
    context = getattr(problem, "ctx", None)
    return None if context is None else f"{context.command_path} --help"


def _reader_gone() -> int:
    """The reader of our output (head, less) has gone: not an error, and nothing more can be written."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def fail(problem: CrosstuneError, as_json: bool) -> int:
    """Print an error where it belongs and give its exit code."""
    if as_json:
        print(json.dumps(problem.as_dict()))
    print(f"crosstune: {problem}", file=sys.stderr)
    return problem.exit_code
