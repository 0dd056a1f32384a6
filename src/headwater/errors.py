"""The one error that means "the input is wrong": shown as a single line, exit code 2, never a traceback."""

from __future__ import annotations


class InputError(ValueError):
    """A study, a file or an option is wrong. The message says what was wrong, where (file, line, key), and what to do."""
