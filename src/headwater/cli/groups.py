"""Groups of commands that show something where no command is named."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup


class ShowsByDefault(TyperGroup):
    """A group whose command `show` is meant where the first word is no command of it: `headwater
    tasks`, `headwater tasks dtd`. Options may stand before the command: `headwater tasks
    --data-root D split ...`.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        options = [option for command in self.commands.values() for option in command.params]
        flags = {
            "-h",
            "--help",
            *(
                word
                for option in options
                if getattr(option, "is_flag", False)
                for word in option.opts
            ),
        }
        at = 0
        while at < len(args) and args[at].startswith("-") and args[at] != "--":
            attached = "=" in args[at] or (not args[at].startswith("--") and len(args[at]) > 2)
            at += 1 if args[at] in flags or attached else 2
        if at < len(args) and args[at] in self.commands:
            args = [args[at], *args[:at], *args[at + 1 :]]
        elif not (len(args) == 1 and args[0] in ("-h", "--help")):
            args = ["show", *args]
        return super().parse_args(ctx, args)
