"""`benchctl completion`: the script that teaches a shell to complete benchctl."""

from __future__ import annotations

import click

from benchctl.cli.screen import write


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> int:
    """Print the script for shell completion.

    \b
    eval "$(benchctl completion bash)"       in ~/.bashrc
    eval "$(benchctl completion zsh)"        in ~/.zshrc
    benchctl completion fish | source        in ~/.config/fish/config.fish
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"this version of click completes no {shell}")
    root = ctx.find_root().command
    # Made by hand and not by source(): that one asks the installed bash for its version.
    script = kind(root, {}, "benchctl", "_BENCHCTL_COMPLETE")
    write([script.source_template % script.source_vars()])
    return 0
