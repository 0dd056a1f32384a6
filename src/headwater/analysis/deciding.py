"""From rows to a decision: which line is decided by, what enters, and what the rule says of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from headwater.analysis.certainty import Certainty, certainty_of, joined
from headwater.analysis.configurations import LOWER_IS_BETTER, Configuration, prepare
from headwater.analysis.decision import (
    ALONE,
    AS_GOOD,
    NOTHING,
    ONE_SEED,
    OPEN,
    SURE,
    Aim,
    Decision,
    NewImages,
    threshold_of,
)
from headwater.analysis.elsewhere import at_other_rates, with_more_images
from headwater.analysis.evidence import (
    BEWARE,
    Evidence,
    Line,
    copied_words,
    diverged_words,
    evidence_of,
)
from headwater.analysis.images import Answers, ImageNoise, image_noise
from headwater.analysis.leads import LEVEL
from headwater.analysis.lines import check_aim, headline_of
from headwater.analysis.power import Step, next_steps
from headwater.analysis.prices import costs_of, unknown_words
from headwater.analysis.value import valued_steps
from headwater.analysis.words import listed, shots_words
from headwater.errors import InputError

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def decide(
    rows: pd.DataFrame | Evidence,
    aim: Aim | None = None,
    *,
    metric: str | None = None,
    lines: bool = True,
    answers: Answers | None = None,
) -> Decision:
    """The decision that rows (docs/rows.md) support; without `lines` the headline alone.

    `answers` gives what each cell answered, image by image (`Store.read_answers` does, of the store
    that the rows come from): with it the headline says how sure it is for other test images, too.

    Never raises for want of data. Raises InputError where a required column of the schema is
    missing, for a protocol, shots or a task of the aim that the rows do not have, and for
    `answers` with evidence in place of rows.
    """
    aim = aim or Aim()
    if metric in LOWER_IS_BETTER:
        raise InputError(f"decide: {metric} is the better the lower, and names no best arm")
    if answers is not None and isinstance(rows, Evidence):
        raise InputError("decide: answers are looked up cell by cell; give rows, not evidence")
    # the very question that others ask, where they are asked of one table (`kept`)
    of_metric = {} if metric is None else {"metric": metric}
    found = rows if isinstance(rows, Evidence) else evidence_of(rows, **of_metric)
    check_aim(aim, found)
    headline = headline_of(found, aim)
    notes = (
        *diverged_words(found),
        *copied_words(found),
        *unknown_words(aim.prices, found),
        *(f"{BEWARE}{sentence}" for sentence in found.beware),
    )
    if headline is None:
        return Decision(NOTHING, None, tolerance=aim.tolerance, notes=notes)
    noise: ImageNoise | str | None = None
    if answers is not None and not isinstance(rows, Evidence):
        noise = f"answers tell top1, not {metric}"
        if metric in (None, "top1"):
            noise = image_noise(rows, headline, answers, aim.weights)
    if isinstance(noise, str):
        notes, noise = (*notes, f"How it is on other test images is not known: {noise}."), None
    decision = of_line(headline, found, aim, noise, valued=aim.error is None)
    if not lines:
        return replace(decision, notes=(*notes, *decision.notes))
    each = [
        decision if line.key == headline.key else of_line(line, found, aim)
        for line in found.lines()
    ]
    return replace(
        decision,
        notes=(*notes, *decision.notes, *conflicts(decision, shared_error(decision, each))),
        elsewhere=tuple(_elsewhere(rows, found, headline, decision, aim)),
        lines=tuple(shared_error(decision, each)),
    )


def _elsewhere(
    rows: pd.DataFrame | Evidence, found: Evidence, line: Line, decision: Decision, aim: Aim
) -> list[str]:
    """Whether the leader still leads with more images, and at other learning rates."""
    best = next((arm for arm in line.arms if arm.name == decision.best), None)
    said = with_more_images(line, decision, aim)
    if best is None or isinstance(rows, Evidence):
        return said
    rates = at_other_rates(
        prepare(rows), found, best, aim, lambda table: decide(table, aim, lines=False).best
    )
    return [*said, *rates]


def of_line(
    line: Line,
    found: Evidence,
    aim: Aim,
    noise: ImageNoise | None = None,
    *,
    valued: bool = False,
) -> Decision:
    """The decision of one line by itself; with the noise of its test images for others as well, and
    `valued` with what its next steps are worth.
    """
    scores = line.means(aim.weights)
    known = ~np.isnan(scores)
    complete = known.sum(axis=0) > 0
    left_out = dict(line.left_out)
    for arm in np.flatnonzero(~complete):
        left_out[line.arms[arm].name] = "no seed of it has a score in every task"
    arms = tuple(arm for arm, there in zip(line.arms, complete, strict=True) if there)
    chance = line.at_chance[complete]
    scores = scores[:, complete]
    with_rows = ~np.isnan(scores).all(axis=1)
    scores = scores[with_rows]
    about = Decision(
        NOTHING,
        None,
        tolerance=aim.tolerance,
        prices=aim.prices,
        costs=costs_of(arms, aim.prices, found),
        left_out=left_out,
        protocol=line.protocol,
        shots=line.shots,
        tasks=line.tasks,
    )
    if not arms:
        return about
    if chance.all():
        return replace(
            about,
            notes=(
                "No arm is above the share of the most frequent class, so the scores say nothing.",
            ),
        )
    if len(arms) == 1:
        return replace(
            about,
            confidence=ALONE,
            best=arms[0].name,
            mean=float(np.nanmean(scores)),
            means={arms[0].name: float(np.nanmean(scores))},
            num_seeds=int((~np.isnan(scores)).sum()),
        )
    together = joined(~np.isnan(scores))
    if len(together) < 2:
        return _without_interval(about, arms, scores)
    if len(together) < len(arms):
        apart = [arm.name for place, arm in enumerate(arms) if place not in together]
        why = dict.fromkeys(apart, "it shares no seed with the arms that are compared")
        about = replace(about, left_out={**about.left_out, **why})
        arms, chance = tuple(arms[place] for place in together), chance[together]
        scores = scores[:, together]
    single = np.isfinite(scores).sum(axis=0) < 2
    if single.any() and (~single).sum() > 1:
        why = dict.fromkeys(
            (arm.name for arm, one in zip(arms, single, strict=True) if one),
            "one seed of it says nothing of its noise; run it again",
        )
        about = replace(about, left_out={**about.left_out, **why})
        arms = tuple(arm for arm, one in zip(arms, single, strict=True) if not one)
        chance, scores = chance[~single], scores[:, ~single]
    if (np.isfinite(scores).sum(axis=1) > 1).sum() < 2:
        return _without_interval(about, arms, scores)
    level = LEVEL if aim.error is None else 1 - aim.error
    step = line.step(aim.weights)
    told = certainty_of(scores[None], step=step, level=level)
    decision = _told(about, arms, told, aim, chance)
    if decision.best is None:
        return decision
    if noise is not None:
        images = noise.among([arm.id for arm in arms])
        others = certainty_of(scores[None], step=step, level=level, images=images)
        there = _told(about, arms, others, aim, chance)
        new_images = _new_images(decision, there, arms, others, noise)
        decision = replace(decision, new_images=new_images)
    decision = replace(decision, next=next_steps(decision, arms, told, found))
    if valued:
        steps = valued_steps(decision, arms, told, line, found, aim)
        decision = replace(decision, next=steps)
    return replace(decision, notes=(*decision.notes, *otherwise(line, decision)))


def _new_images(
    these: Decision,
    decision: Decision,
    arms: tuple[Configuration, ...],
    told: Certainty,
    noise: ImageNoise,
) -> NewImages | None:
    """What a decision whose certainty speaks of new images says of them. It is never surer than
    that of these images, as the rule holds both; an arm is as good if both say so.
    """
    if decision.p is None or decision.regret_bound is None or these.regret_bound is None:
        return None
    best, second = np.argsort(-told.means[0], kind="stable")[:2]
    assert told.images is not None
    variances = told.images.variance[0, best]
    return NewImages(
        confidence=decision.confidence,
        p=decision.p,
        shortlist=decision.shortlist,
        regret_bound=decision.regret_bound,
        p_best=decision.p_best,
        expected_regret=decision.expected_regret,
        behind=decision.behind,
        as_good=tuple(name for name in these.as_good if name in decision.as_good),
        error=float(np.sqrt(variances[second])),
        variances=dict(zip((arm.name for arm in arms), variances.tolist(), strict=True)),
        num_images=noise.num_images,
    )


def _without_interval(about: Decision, arms: tuple[Configuration, ...], scores: Floats) -> Decision:
    """One seed, or none that arms share: an order, and nothing about chance."""
    means = np.nanmean(scores, axis=0)
    order = np.argsort(-means, kind="stable")
    names = [arms[arm].name for arm in order]
    seeds = (~np.isnan(scores)).sum(axis=0)
    why = (
        "one seed has no interval"
        if seeds.max() == 1
        else "arms have to share seeds, or nobody knows what the seeds did"
    )
    return replace(
        about,
        confidence=ONE_SEED,
        best=names[0],
        mean=float(means[order[0]]),
        runner_up=names[1],
        lead=float(means[order[0]] - means[order[1]]),
        shortlist=tuple(names),
        num_seeds=int((~np.isnan(scores[:, order[0]])).sum()),
        means=dict(zip(names, means[order].tolist(), strict=True)),
        next=(
            Step(
                "seeds",
                f"Run every arm at the same 3 seeds or more: {why}.",
                arms=tuple(names),
                seeds=(2, 2),
            ),
        ),
    )


def _lowest(told: Certainty, arm: int) -> float:
    """What an arm's mean over many seeds is at least (95 %, one side): seeds that were all right
    are no proof that others will be.
    """
    from scipy.special import stdtrit

    error = np.sqrt(told.variances[0, arm] / told.num_seeds[0, arm])
    low = told.means[0, arm] + stdtrit(told.variance_df[0, arm], 1 - LEVEL) * error
    return float(np.clip(low, 0.0, 1.0))


def _told(
    about: Decision,
    arms: tuple[Configuration, ...],
    told: Certainty,
    aim: Aim,
    chance: NDArray[np.bool_],
) -> Decision:
    from scipy.special import stdtrit

    threshold = aim.error or threshold_of(len(arms), int(told.num_seeds[0].max()))
    means = told.means[0]
    order = np.argsort(-means, kind="stable")
    names = [arms[arm].name for arm in order]
    best = int(told.best[0])
    leads = means[best] - means
    chances, regrets = told.p_best()
    shortlist = tuple(arms[arm].name for arm in order if told.shortlist[0, arm])
    halves = -stdtrit(told.df[0], (1 - LEVEL) / 2) * told.se[0]
    quantiles = -stdtrit(told.df[0], 1 - LEVEL)
    below = leads + quantiles * told.se[0]
    as_good = tuple(arms[arm].name for arm in order if arm != best and below[arm] <= aim.tolerance)
    bound = float(told.regret_bound[0])
    others = np.arange(len(arms)) != best
    if chance[best]:
        return replace(
            about,
            notes=(
                f"{arms[best].name} has the highest mean and is no better than always answering "
                "the most frequent class, so nothing can be recommended.",
            ),
        )
    p = float(told.p[0, others].max())
    sure = p <= threshold
    if not sure:
        # as careful as SURE is: who is not sure has a rival, and may lose something to it
        nearest = int(np.argmax(np.where(others, told.p[0], -1.0)))
        shortlist = tuple(
            arms[arm].name for arm in order if told.shortlist[0, arm] or arm == nearest
        )
        costs = [
            told.halves(best, int(arm), threshold)[0] - leads[arm] for arm in np.flatnonzero(others)
        ]
        bound = max(bound, float(max(costs)))
    if np.isfinite(bound):
        bound = min(bound, 1 - _lowest(told, best))  # no score is above 1
    confidence = SURE if sure else AS_GOOD if bound <= aim.tolerance else OPEN
    names_of_best = (names[0],)
    return replace(
        about,
        confidence=confidence,
        best=names[0],
        mean=float(means[best]),
        p=p,
        threshold=threshold,
        runner_up=names[1],
        lead=float(means[order[0]] - means[order[1]]),
        shortlist=shortlist if not sure else names_of_best,
        regret_bound=bound if np.isfinite(bound) else None,
        p_best={arms[arm].name: float(chances[0, arm]) for arm in order},
        expected_regret={arms[arm].name: float(regrets[0, arm]) for arm in order},
        behind={
            arms[arm].name: (
                float(leads[arm]),
                float(leads[arm] - halves[arm]),
                float(leads[arm] + halves[arm]),
            )
            for arm in order
        },
        as_good=as_good,
        num_seeds=int(told.num_seeds[0, best]),
        stopped_early={} if aim.error is None else _fewer_seeds(arms, told),
        means={arms[arm].name: float(means[arm]) for arm in order},
    )


def _fewer_seeds(arms: tuple[Configuration, ...], told: Certainty) -> dict[str, int]:
    seeds = told.num_seeds[0]
    return {arms[a].name: int(seeds[a]) for a in np.flatnonzero(seeds < seeds.max())}


def otherwise(line: Line, decision: Decision) -> list[str]:
    """Sentences on what would change the answer: tasks weighed in another way, or one by itself."""
    if len(line.settings) < 2 or decision.best is None:
        return []
    scores = line.by_setting
    names = [arm.name for arm in line.arms]
    ranks = np.array([_ranks(-row) for row in scores]).mean(axis=0)
    room = (scores - line.chance[:, None]) / (1 - line.chance[:, None])
    ways = {
        "by mean rank over tasks": -ranks,
        "by the share of the room above chance": room.mean(axis=0),
    }
    sentences = [
        f"It would be {names[int(np.nanargmax(values))]} {way}."
        for way, values in ways.items()
        if np.isfinite(values).any() and names[int(np.nanargmax(values))] != decision.best
    ]
    alone = {
        setting.title: names[int(np.nanargmax(row))]
        for setting, row in zip(line.settings, scores, strict=True)
        if np.nanmax(row, initial=-1.0) > row[names.index(decision.best)]
    }
    other = {title: name for title, name in alone.items() if name != decision.best}
    if other:
        by_itself = listed([f"{title}: {name}" for title, name in other.items()])
        sentences.append(f"By themselves other arms lead on {by_itself}.")
    return sentences


def _ranks(values: Floats) -> Floats:
    import pandas as pd

    return np.asarray(pd.Series(values).rank(), dtype=np.float64)


def shared_error(headline: Decision, lines: list[Decision]) -> list[Decision]:
    """Lines that share the error of one report: none is told before the headline is, and then all
    of them together are wrong in 5 % (Holm). A line that is the headline stays as it is.
    """
    ps = sorted(line.p / line.threshold for line in lines if line.p is not None)
    bar = 0.0
    for rank, p in enumerate(ps):
        if p * (len(ps) - rank) > 1:
            break
        bar = p
    return [
        line
        if not line.sure or _same(line, headline) or (headline.sure and _ratio(line) <= bar)
        else replace(line, confidence=OPEN)
        for line in lines
    ]


def _ratio(line: Decision) -> float:
    return np.inf if line.p is None else line.p / line.threshold


def _same(line: Decision, headline: Decision) -> bool:
    return line.protocol == headline.protocol and line.shots == headline.shots


def conflicts(headline: Decision, lines: list[Decision]) -> list[str]:
    """A sentence for each line that is sure of another arm than the headline."""
    return [
        f"Under {line.protocol} with {shots_words(line.shots)} it is {line.best} that is the best."
        for line in lines
        if line.sure and headline.sure and line.best != headline.best
    ]
