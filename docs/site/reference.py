"""Parts of pages that are written from code: the table of contents, and the commands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby
from pathlib import PurePosixPath

import click

from icflow.cli import COMMANDS
from icflow.commands import Command

HEADING = re.compile(r"^## (.+)$", re.MULTILINE)
LINK = re.compile(r"\]\(([^)#]+\.md)\)")


def contents(index: str) -> str:
    """Return the table of contents that the lists of an index, a page in `docs`, make."""
    _, *parts = HEADING.split(index)
    return "\n```{toctree}\n:hidden:\n\n/docs/README\n```\n" + "".join(
        f"\n```{{toctree}}\n:hidden:\n:caption: {heading}\n\n"
        + "".join(f"/{_from_root(page)}\n" for page in LINK.findall(text))
        + "```\n"
        for heading, text in zip(parts[::2], parts[1::2], strict=True)
    )


def _from_root(page: str) -> PurePosixPath:
    """Return the path of a page that is linked to from `docs`."""
    return PurePosixPath(page[3:]) if page.startswith("../") else PurePosixPath("docs", page)


def commands() -> str:
    """Return the commands with their options, group by group, as the command line has them."""
    lines: list[str] = []
    for group, members in groupby(COMMANDS, key=lambda command: command.group):
        lines += ["", f"## {group}", ""]
        for command in members:
            lines += _command(command)
    return "\n".join(lines) + "\n"


def _command(command: Command) -> Iterator[str]:
    context = click.Context(command, info_name=f"icflow {command.name}")
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    yield from (f"### icflow {command.name}", "", str(command.help), "")
    yield from ("```text", usage, "```", "")
    options = [option for option in command.params if isinstance(option, click.Option)]
    if options:
        yield from ("| option | meaning |", "| --- | --- |")
    for option in options:
        name, _ = option.get_help_record(context) or ("", "")
        yield f"| `{_cell(name)}` | {_cell(_meaning(option))} |"
    yield ""


def _meaning(option: click.Option) -> str:
    """Say what an option means, whether it must be given, and what it is by default."""
    words = option.help or ""
    if option.required:
        return f"{words}; must be given"
    if not option.show_default:
        return words
    default = option.default if isinstance(option.default, list | tuple) else [option.default]
    return f"{words}; by default `{' '.join(map(str, default))}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
