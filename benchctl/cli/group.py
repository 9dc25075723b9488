"""The command group: verbs are imported when they are used, never to list or complete them."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from benchctl.cli import errors
from benchctl.cli.exits import MEANINGS, Exit
from benchctl.cli.screen import colour_setting, note

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

Verbs = Mapping[str, tuple[str, str]]
"""Verb -> ("module:attribute", one line of help)."""


def debug_option() -> click.Option:
    """The flag that every verb takes; `LazyGroup.main` reads it from the arguments."""
    return click.Option(
        ["--debug"], is_flag=True, expose_value=False, help="Show the traceback of an error."
    )


class LazyGroup(click.Group):
    """A group whose verbs live in modules that are imported on use."""

    def __init__(self, *args: Any, verbs: Verbs, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.verbs = verbs

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All verbs, in the order of the table: the usual way through them."""
        return list(self.verbs)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one verb."""
        if cmd_name not in self.verbs:
            return None
        module, _, attribute = self.verbs[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        if not any(parameter.name == "debug" for parameter in command.params):
            command.params.append(debug_option())
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb; an unknown one is an error that names the nearest."""
        name = args[0]
        known = name in self.verbs or name.startswith("-") or ctx.resilient_parsing
        if known:
            return super().resolve_command(ctx, args)
        close = get_close_matches(name, self.verbs, n=1)
        suggestion = f" Did you mean {close[0]}?" if close else ""
        raise click.UsageError(f'no command "{name}".{suggestion} ({", ".join(self.verbs)})', ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the verbs from the table, then the exit codes."""
        with formatter.section("Commands"):
            formatter.write_dl([(verb, line) for verb, (_, line) in self.verbs.items()])
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(code.value), meaning) for code, meaning in MEANINGS])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete a verb from the table."""
        from click.shell_completion import CompletionItem

        items = [
            CompletionItem(verb, help=line)
            for verb, (_, line) in self.verbs.items()
            if verb.startswith(incomplete)
        ]
        return items + click.Command.shell_complete(self, ctx, incomplete)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a verb and end the process with its exit code, errors rendered."""
        arguments = list(sys.argv[1:] if args is None else args)
        extra.setdefault("color", colour_setting())
        try:
            code = super().main(arguments, prog_name, complete_var, standalone_mode=False, **extra)
        except BrokenPipeError:
            # The reader has gone (`| head`): what it wanted was written.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(int(Exit.BROKEN_PIPE))
        except (click.Abort, KeyboardInterrupt):
            note("interrupted")
            sys.exit(int(Exit.INTERRUPTED))
        except Exception as error:
            sys.exit(int(_report(error, wants_debug(arguments))))
        sys.exit(int(code or Exit.OK))


def wants_debug(arguments: Sequence[str]) -> bool:
    """Whether `--debug` stands among the arguments, before a `--`."""
    given = list(arguments)
    end = given.index("--") if "--" in given else len(given)
    return "--debug" in given[:end]


def _report(error: Exception, debug: bool) -> Exit:
    """Print `error` for the user and return the exit code."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return Exit.USAGE
    if debug:
        note("".join(traceback.format_exception(error)).rstrip())
    text = errors.describe(error)
    note(errors.render(text))
    return text.exit_code
