"""Numbers and intervals in words: the same ones in findings, the verdict, the terminal and the
report.
"""

from __future__ import annotations

from typing import Any

from headwater.analysis.configurations import missing, shots_word


def percent(value: Any) -> str:
    """0.6123 -> '61.2 %'; nothing -> a dash."""
    return "\u2013" if missing(value) else f"{100 * float(value):.1f} %"


def points(value: Any) -> str:
    """A difference of shares in percentage points: 0.0123 -> '1.2 points'."""
    return "unknown" if missing(value) else f"{_signed(value)} points"


def _signed(value: Any) -> str:
    text = f"{100 * float(value):.1f}"
    return text[1:] if text == "-0.0" else text.replace("-", "\u2212")


def interval(low: Any, high: Any, num_seeds: int, num_comparisons: int = 1) -> str:
    """The ends of an interval in points, or why there is none."""
    if num_seeds == 0:
        return "no seed that both have"
    if missing(low) or missing(high):
        return f"{'one seed' if num_seeds == 1 else f'{num_seeds} seeds'}: no interval"
    corrected = f", corrected for {num_comparisons} comparisons" if num_comparisons > 1 else ""
    return f"95 % interval {_signed(low)} to {_signed(high)}, {num_seeds} paired seeds{corrected}"


def listed(items: list[str] | tuple[str, ...], *, most: int = 4) -> str:
    """'a, b and c'; beyond `most`, 'a, b, c and 5 more'."""
    shown = list(items)
    if len(shown) > most:
        shown = [*shown[: most - 1], f"{len(items) - most + 1} more"]
    return (
        shown[0]
        if len(shown) == 1
        else ", ".join(shown[:-1]) + " and " + shown[-1]
        if shown
        else "none"
    )


def count(number: int, noun: str) -> str:
    """'1 cell', '3 cells'."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def shots_words(shots: list[Any]) -> str:
    """[1, 5, None] -> '1, 5 and all images per class'."""
    return (
        listed(
            [
                shots_word(s)
                for s in sorted(
                    shots,
                    key=lambda s: (shots_word(s) == "all", 0 if shots_word(s) == "all" else int(s)),
                )
            ]
        )
        + " images per class"
    )
