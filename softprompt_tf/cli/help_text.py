"""Show the defaults of options in `--help`."""

import argparse


class HelpWithDefaults(argparse.ArgumentDefaultsHelpFormatter):
    """Ends the help of an option with its default, unless the help says it, or there is none."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        says_it = "default" in (action.help or "").lower()
        has_none = action.default in (None, False) or action.default == []
        return action.help if says_it or has_none else super()._get_help_string(action)
