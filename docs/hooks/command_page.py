"""Make the reference page of the command line from its argument parser."""

import argparse
from collections.abc import Iterator, Sequence

INTRODUCTION = """# Commands

All commands of `softprompt`, with their arguments. `softprompt COMMAND --help` prints the same. If you
are new, begin with `softprompt demo` or [Get started](../get_started.md). The commands of one task, in
order: `train` (or `tune`), `evaluate`, `predict`, `export`, `serve`, `query`.

| exit status | meaning |
|---|---|
| 0 | done |
| 1 | an export does not answer as it should, or a fault of this library |
| 2 | a mistake in what was asked, reported in one line |
| 75 | another [worker](../how_to/many_machines.md) of the training was lost: start all of them again |
| 130 | interrupted with Ctrl-C or SIGTERM |
"""


def command_page(parser: argparse.ArgumentParser) -> str:
    """Return the page of all sub-commands, in the parser's order."""
    commands = next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    helps = {choice.dest: choice.help or "" for choice in commands._choices_actions}
    names = "\n".join(f"| [`{name}`](#softprompt-{name}) | {_cell(helps[name])} |" for name in helps)
    sections = [_section(name, helps[name], commands.choices[name]) for name in helps]
    return "\n".join([INTRODUCTION, f"| command | what it does |\n|---|---|\n{names}\n", *sections])


def _section(name: str, summary: str, parser: argparse.ArgumentParser) -> str:
    rows = "\n".join(_rows(parser._actions))
    usage = " ".join(parser.format_usage().split()).removeprefix("usage: ")
    return (
        f"## softprompt {name}\n\n{summary[:1].upper()}{summary[1:]}.\n\n```text\n{_wrapped(usage)}\n```\n\n"
        f"| argument | default | meaning |\n|---|---|---|\n{rows}\n"
    )


def _rows(actions: Sequence[argparse.Action]) -> Iterator[str]:
    for action in actions:
        if isinstance(action, argparse._HelpAction):
            continue
        yield f"| {_names(action)} | {_default(action)} | {_cell(_meaning(action))} |"


def _names(action: argparse.Action) -> str:
    value = action.metavar or (action.dest.upper() if action.option_strings else action.dest)
    value = " ".join(value) if isinstance(value, tuple) else value
    if not action.option_strings:
        return f"`{value}`"
    takes_value = action.nargs != 0
    return ", ".join(f"`{name}{f' {value}' if takes_value else ''}`" for name in action.option_strings)


def _default(action: argparse.Action) -> str:
    if action.default in (None, argparse.SUPPRESS, [], False) or not action.option_strings:
        return "required" if action.required and action.option_strings else ""
    return f"`{action.default}`"


def _meaning(action: argparse.Action) -> str:
    text = (action.help or "").replace("%(default)s", str(action.default)).replace("%%", "%")
    choices = "" if action.choices is None else f"one of {', '.join(f'`{choice}`' for choice in action.choices)}"
    return "; ".join(part for part in (text, choices) if part)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _wrapped(usage: str, width: int = 100) -> str:
    """Return a usage in lines of at most `width` characters, split at its options."""
    lines, line = [], ""
    for word in usage.replace(" [", "\n[").split("\n"):
        if line and len(line) + 1 + len(word) > width:
            lines.append(line)
            line = "    " + word
        else:
            line = f"{line} {word}" if line else word
    return "\n".join([*lines, line])
