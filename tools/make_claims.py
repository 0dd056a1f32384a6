"""Rebuilds the tables of docs/claims.md from the committed rows: python tools/make_claims.py

Each claim of the two papers is held against what was measured here: a difference in points with its
95 % interval over paired seeds, and a verdict that follows from the interval alone. A test checks
that the page holds what this script writes.
"""

from __future__ import annotations

import itertools
import re
import runpy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from headwater.analysis import Interval, gap_trend, read_answers, t_interval
from headwater.analysis.exchange import ExchangeRate
from headwater.analysis.gap import POOLED
from headwater.facts.levels import list_facts
from headwater.report import hardness_settings
from headwater.rows import read_rows
from headwater.theory.analysis import errors, response_exponent
from headwater.theory.analysis.table import networks_table

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "claims.md"
SEEN, NOT_SEEN, UNDECIDED, NOT_RUN = "seen", "not seen", "undecided", "not run"
PAPER_COUNTS = {0: 21843, 1: 5995, 2: 2281, 3: 1038, 4: 519, 5: 285, 6: 160, 7: 92, 8: 58, 9: 38}
"""Level -> classes of ImageNet-21k; hong2023 states those of levels 0, 1, 2, 4, 6 and 9, and the
rule gives the others.
"""
STATED = 2000.0
"""Times as many images of LAION as of ImageNet that entezari2023 states."""
ABOUT = (0.8, 1.25)
"""Exponents that "about 1/k" allows [ours]."""
PARTITIONS = "headwater run studies/hong2023/grocery_partitions.yaml"
PHOTOS = "headwater run studies/entezari2023/photos.yaml"
NOISE = "headwater run studies/entezari2023/noise_vs_size.yaml"
EXCHANGE = "headwater run studies/exchange.yaml"
HARDNESS = "headwater hardness studies/hong2023/hardness.yaml"
THEORY = "headwater run studies/hong2023/theory.yaml"


@dataclass(frozen=True)
class Line:
    """What one setting says of a claim."""

    setting: str
    found: str
    verdict: str


@dataclass(frozen=True)
class Claim:
    """A claim of a paper, and what was found here."""

    words: str
    command: str
    page: str
    lines: tuple[Line, ...]


def tool(name: str) -> dict[str, Any]:
    """What another script of this folder defines."""
    return runpy.run_path(str(ROOT / "tools" / f"make_{name}.py"))


def verdict_of(low: Any, high: Any) -> str:
    """What the interval of a difference, which the claim says to be above 0, says of it."""
    if pd.isna(low) or pd.isna(high):
        return UNDECIDED
    return SEEN if low > 0 else NOT_SEEN if high < 0 else UNDECIDED


def line(setting: str, interval: Interval) -> Line:
    """A difference in points of 100."""
    if interval.mean is None or interval.low is None or interval.high is None:
        return Line(setting, "no interval", UNDECIDED)
    found = f"{interval.mean:+.1f} ({interval.low:+.1f} to {interval.high:+.1f})"
    seeds = f"{interval.num_seeds} seeds"
    return Line(setting, f"{found}, {seeds}", verdict_of(interval.low, interval.high))


def share(setting: str, value: Any, low: Any, high: Any, seeds: Any) -> Line:
    """A difference of shares in [0, 1], as points."""
    interval = Interval(
        *(None if pd.isna(x) else 100 * float(x) for x in (value, low, high)), None, int(seeds)
    )
    return line(setting, interval)


# Hong et al. 2023
class Partitions:
    """The rows of manual levels, clusters and random classes."""

    def __init__(self) -> None:
        self.made = tool("partitions")
        self.table = self.made["scores"](read_rows(self.made["ROWS"]))

    def seeds(self, source: str, how: str, kind: str, count: int | None = None) -> pd.Series:
        scores: pd.Series = self.made["by_seed"](self.table, source, how, kind, count)
        return scores

    def levels(self, source: str) -> list[int]:
        """Class counts of the manual levels, the coarsest first."""
        of_source = self.table[(self.table["source"] == source) & (self.table["kind"] == "manual")]
        return sorted(map(int, of_source["count"].unique()))

    def lines(
        self, a: tuple[str, int | None], b: tuple[str, int | None], how: str
    ) -> Iterator[Line]:
        """a - b of each source; a count is a place in its list of levels."""
        for source, title in self.made["SOURCES"].items():
            levels = self.levels(source)
            one, other = (
                self.seeds(source, how, kind, None if place is None else levels[place])
                for kind, place in (a, b)
            )
            yield line(title, t_interval((one - other).dropna().tolist()))


def manual_levels(rows: Partitions) -> Iterator[Claim]:
    how = "superclass"
    yield Claim(
        "Finer labels pre-train better for a coarser task: the finest level against the task's own "
        "superclasses, fine-tuned",
        PARTITIONS,
        "partitions.md",
        tuple(rows.lines(("manual", -1), ("manual", 0), how)),
    )
    yield Claim(
        "The curve over granularity is a U, its coarse side: the middle level against the "
        "superclasses, fine-tuned",
        PARTITIONS,
        "partitions.md",
        tuple(rows.lines(("manual", 1), ("manual", 0), how)),
    )
    yield Claim(
        "The curve over granularity is a U, its fine side: the finest level against one class per "
        "image, fine-tuned",
        PARTITIONS,
        "partitions.md",
        tuple(rows.lines(("manual", -1), ("instance", None), how)),
    )


LINKS = {
    ("manual", "cluster within"): "Manual labels beat clusters within the superclasses, at equal "
    "class counts",
    ("cluster within", "cluster"): "Clusters within the superclasses beat clusters of the whole "
    "set",
    ("cluster", "random"): "Clusters beat random classes",
    ("random", "instance"): "One class per image is worst, below random classes",
}


def links(rows: Partitions) -> Iterator[Claim]:
    for (better, worse), words in LINKS.items():
        found = rows.lines((better, None), (worse, None), "superclass")
        yield Claim(words, PARTITIONS, "partitions.md", tuple(found))


def level_counts() -> Claim:
    facts = list_facts("imagenet21k", "wordnet", "level", list(PAPER_COUNTS))
    counts = {int(each["view"].partition(":")[2]): each["classes"] for each in facts["levels"]}
    equal = sum(counts[level] == classes for level, classes in PAPER_COUNTS.items())
    found = f"{equal} of {len(PAPER_COUNTS)} counts equal, exact"
    return Claim(
        "Levels of ImageNet-21k: 21,843, 5,995, 2,281, ..., 38 classes at k = 0, 1, 2, ..., 9",
        "headwater labels levels --classes imagenet21k --levels 0-9",
        "study.md",
        (Line("WordNet as shipped", found, SEEN if equal == len(PAPER_COUNTS) else NOT_SEEN),),
    )


def hard_samples() -> Claim:
    made = tool("hardness")
    answers = made["checked"](read_answers(made["ANSWERS"]), read_rows(made["ROWS"]))
    seeds = answers.groupby("task")["seed"].nunique()
    found = []
    for setting in hardness_settings(answers):
        (gain,) = [each for each in setting["splits"] if each["split"] == "cross-fitted"]
        extra = gain["extra"]
        found.append(
            share(
                made["name"](setting),
                extra["gain"],
                extra["low"],
                extra["high"],
                seeds[setting["task"]],
            )
        )
    return Claim(
        "Finer labels help above all on hard samples: their gain there against that on easy ones",
        HARDNESS,
        "hardness.md",
        tuple(found),
    )


def theory() -> Iterator[Claim]:
    made = tool("theory")
    check = made["usual_noise"](made["part_of"](networks_table(read_rows(made["ROWS"])), "check"))
    table = errors(check)
    table = table[table["read_out"] == "max"]
    many = table[table["subclasses"] >= 16]
    for labels, words, wrong in (
        (
            "coarse",
            "Theorem: trained on superclasses, easy samples are right and hard ones are not",
            True,
        ),
        ("fine", "Theorem: trained on subclasses, easy and hard samples are right", False),
    ):
        mine = many[many["labels"] == labels]
        found = []
        for (k,), of_k in mine.groupby(["subclasses"]):
            rows = {row["samples"]: row for row in of_k.to_dict("records")}
            hard, easy = rows["hard"], rows["easy"]
            text = f"{made['error_word'](hard)} % of hard, {made['error_word'](easy)} % of easy"
            is_wrong = hard["low"] > 0.05 if wrong else hard["high"] > 0.05
            fits = easy["high"] < 0.05 and is_wrong == wrong
            seeds = f"{int(hard['num_seeds'])} seeds"
            found.append(Line(f"k = {k}", f"{text} wrong, {seeds}", SEEN if fits else NOT_SEEN))
        yield Claim(words, THEORY, "theory.md", tuple(found))
    fit = response_exponent(check).to_dict("records")[0]
    low, high = fit["low"], fit["high"]
    verdict = SEEN if ABOUT[0] < low and high < ABOUT[1] else NOT_SEEN
    asked = f"an exponent of {ABOUT[0]} to {ABOUT[1]}"
    words = f"1 / k^{fit['exponent']:.2f} ({low:.2f} to {high:.2f}), {int(fit['num_seeds'])} seeds"
    yield Claim(
        "Mechanism: under coarse labels responses to fine features are about 1/k of those to the "
        "common one",
        THEORY,
        "theory.md",
        (Line(f"k = {fit['from_k']} to {fit['to_k']}; about: {asked}", words, verdict),),
    )


def hong() -> Iterator[Claim]:
    rows = Partitions()
    yield from manual_levels(rows)
    yield from links(rows)
    yield hard_samples()
    yield from theory()
    yield level_counts()
    yield Claim(
        "ImageNet-21k to ImageNet-1k: 82.5 % with leaf labels down to 72.8 % with 38 classes",
        "",
        "study.md",
        (Line("14 million images at 224 px", "the labels are here, the images are not", NOT_RUN),),
    )


# Entezari et al. 2023
class Photos:
    """The rows of five sources of as many images."""

    def __init__(self) -> None:
        self.made = tool("photos")
        rows = read_rows(self.made["ROWS"])
        self.rows = self.made["of_size"](rows, self.made["SMALL"])

    def gaps(self, protocol: str) -> pd.DataFrame:
        table: pd.DataFrame = self.made["gaps"](self.rows, protocol)
        return table[table["task"] == POOLED]

    def trends(self, protocol: str) -> pd.DataFrame:
        table = gap_trend(self.rows[self.rows["protocol"] == protocol])
        return table[table["task"] == POOLED].sort_values("context")

    def lead(self, protocol: str, shots: int | None) -> Interval:
        """SimCLR over CLIP, points: means over tasks and sources, paired over seeds."""
        rows = self.rows
        at = rows["shots"].isna() if shots is None else rows["shots"] == shots
        used = rows[
            (rows["metric"] == "top1")
            & (rows["subset"] == "all")
            & (rows["protocol"] == protocol)
            & at.fillna(False)
        ]
        means = used.groupby(["method", "seed", "source", "task"])["value"].mean().astype(float)
        by_seed = 100 * means.groupby(["method", "seed"]).mean()
        return t_interval((by_seed["simclr"] - by_seed["clip"]).dropna().tolist())


PROTOCOLS = {"probe": "probe", "finetune": "fine-tuned"}


def entezari() -> Iterator[Claim]:
    photos = Photos()
    word = photos.made["method_of"]
    few = {"probe": 1, "finetune": 5}
    found = []
    for protocol, how in PROTOCOLS.items():
        table = photos.gaps(protocol)
        table = table[table["shots"] == few[protocol]].sort_values("method")
        for row in table.to_dict("records"):
            pair = f"{row['best']} over {row['worst']}"
            setting = f"{row['method']}, {how}, {few[protocol]} a class: {pair}"
            found.append(share(setting, row["gap"], row["low"], row["high"], row["num_seeds"]))
    yield Claim(
        "The choice of source matters for few-shot transfer: the best source against the worst, "
        "the interval corrected for all pairs",
        PHOTOS,
        "photos.md",
        tuple(found),
    )
    found = []
    for protocol, how in PROTOCOLS.items():
        for row in photos.trends(protocol).to_dict("records"):
            setting = f"{word(row['context'])}, {how}: {row['best']} over {row['worst']}"
            found.append(share(setting, row["change"], row["low"], row["high"], row["num_seeds"]))
    yield Claim(
        "Its role shrinks with more images: the gap at the fewest less that at all images",
        PHOTOS,
        "photos.md",
        tuple(found),
    )
    settings = [("probe", 5), ("probe", None), ("finetune", 5), ("finetune", None)]
    found = []
    for protocol, shots in settings:
        images = "all images" if shots is None else f"{shots} a class"
        found.append(line(f"{PROTOCOLS[protocol]}, {images}", photos.lead(protocol, shots)))
    yield Claim(
        "Image-image contrastive pre-training (SimCLR) transfers better than image-text (CLIP), "
        "over five sources and all tasks",
        PHOTOS,
        "photos.md",
        tuple(found),
    )
    yield Claim(
        "2,000 times as many LAION images are needed to match supervised ImageNet, 15 times for "
        "some tasks: what the authors' own rows say, where LAION was run at seven sizes",
        "headwater exchange",
        "authors_table.md",
        tuple(authors_rates()),
    )
    yield Claim(
        "Noise against size: images with wrong labels or captions are needed in larger numbers "
        "for the same accuracy, so many for one of a source without wrong ones",
        NOISE,
        "noise_vs_size.md",
        tuple(noise_rates()),
    )
    yield Claim(
        "Sources differ in what an image is worth: images of the one that are worth one of the "
        "other, mean of two tasks",
        EXCHANGE,
        "exchange_photos.md",
        tuple(source_rates()),
    )


def noise_rates() -> Iterator[Line]:
    """What one image with the right label or caption is worth in images some of which are wrong."""
    made = tool("sizes")
    rows = made["rows_of"]("noise_vs_size")
    where = (("the source itself, fine-tuned", "TUNED"), ("three other data sets, probe", "AIM"))
    for (method, what), (tasks, aim) in itertools.product(made["NOISY"], where):
        for percent in made["NOISES"][1:]:
            names = made["noisy"](method, percent), made["noisy"](method, 0)
            setting = f"{method}, {percent} % of the {what} wrong: {tasks}"
            yield of_rate(setting, made["rate_of"](rows, *names, aim=made[aim]))


def source_rates() -> Iterator[Line]:
    """Every pair of sources by each method, on two tasks that are neither's own; the one named
    first is worth more images.
    """
    made = tool("sizes")
    rows = made["rows_of"]("exchange")
    for method in made["METHODS"]:
        for a, b in itertools.combinations(made["curves"](rows, method), 2):
            found = made["rate_of"](rows, a, b)
            if found.overall.rate is not None and found.overall.rate < 1:
                a, b = b, a
                found = made["rate_of"](rows, a, b)
            first, second = (name.rpartition(" · ")[2] for name in (b, a))
            yield of_rate(f"{method}: one of {first} in images of {second}", found)


def of_rate(setting: str, found: ExchangeRate) -> Line:
    """A rate that the claim says to be above 1."""
    rate, seeds = found.overall, f"{found.num_seeds} seeds"
    low = 0.0 if rate.low is None else rate.low
    high = float("inf") if rate.high is None else rate.high
    verdict = SEEN if low > 1 else NOT_SEEN if high < 1 else UNDECIDED
    told = rate.low is not None or rate.high is not None
    return Line(setting, f"{rate.words}{' times' * told}, {seeds}", verdict)


def authors_rates() -> Iterator[Line]:
    """The rates of docs/authors_table.md with all images; the claim is held to be seen where 2,000
    is in the interval.
    """
    text = (ROOT / "docs" / "authors_table.md").read_text(encoding="utf-8")
    row = re.compile(r"\| all \| ([A-Z0-9, ]+) \| 7 \| ([\d.]+) \(([^)]+)\) \|")
    for tasks, rate, ends in row.findall(text):
        numbers = [float(number) for number in re.findall(r"[\d.]+", ends)]
        low, high = (numbers[0], numbers[-1]) if "to" in ends else (0.0, numbers[0])
        if "more" in ends:
            low, high = numbers[0], float("inf")
        holds = low <= STATED <= high
        alone = holds and high == float("inf")
        verdict = UNDECIDED if alone else SEEN if holds else NOT_SEEN
        yield Line(f"{tasks}, all images", f"{rate} times ({ends})", verdict)


def together(claim: Claim) -> str:
    """The verdict over all settings of a claim: one word where they agree."""
    verdicts = [each.verdict for each in claim.lines]
    counts = {word: verdicts.count(word) for word in (SEEN, NOT_SEEN, UNDECIDED, NOT_RUN)}
    told = {word: number for word, number in counts.items() if number}
    if len(told) == 1:
        return f"**{next(iter(told))}**"
    return ", ".join(f"{word} in {number} of {len(verdicts)}" for word, number in told.items())


def table(claims: list[Claim]) -> str:
    """A line for each setting of each claim."""
    out = [
        "| claim | verdict | where | found (95 % interval) | here | from |",
        "|---|---|---|---|---|---|",
    ]
    for claim in claims:
        command = f"`{claim.command}`" if claim.command else "\u2013"
        link = f"[{claim.page.removesuffix('.md')}]({claim.page})"
        for place, each in enumerate(claim.lines):
            first = [claim.words, together(claim)] if place == 0 else ["", ""]
            last = f"{link}, {command}" if place == 0 else ""
            out.append(
                "| " + " | ".join([*first, each.setting, each.found, each.verdict, last]) + " |"
            )
    return "\n".join(out) + "\n"


PAPERS = {"hong2023": hong, "entezari2023": entezari}


def with_blocks(page: str) -> str:
    """The page with its tables made anew."""
    for name, claims in PAPERS.items():
        mark = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        text = table(list(claims()))
        page, number = mark.subn(lambda found, text=text: found[1] + text + found[2], page)
        if number != 1:
            raise SystemExit(f"{PAGE}: has {number} blocks {name}")
    return page


def main() -> None:
    PAGE.write_text(with_blocks(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
