"""What a view's name means. Parsing needs no data; headwater.labels computes what was parsed.

Which kinds of views there are, and what may follow their names, is declared in
headwater.labels.kinds. The built-in ones are:

    level:k                  classes of level k, 0 = finest; `class` is another word for level:0
    depth:d                  classes d steps below the root (longest path)
    rank:NAME                classes of a named rank (rank:genus)
    instance                 one class per image
    random:K                 K random classes of equal size
    shuffle:K                the classes of level:0, regrouped whole at random into K
    cluster:K                K clusters of features

K can be written `like level:j`: as many classes as that level has. `random` and `cluster` take `
within level:j`: every class of level j is split for itself. `@seed=S` gives a view a seed of its
own instead of the arm's. ` with symmetric:R` and ` with confusion:R within level:j` add label noise
at rate R. What a line of text cannot say (files, merged classes, the features of clusters) has a
name in the study's `views:` block.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from headwater.errors import InputError, Location, blamed_on
from headwater.labels.kinds import ViewKind
from headwater.registry import LABEL_VIEWS
from headwater.study.views import Features, ViewUse

LONGEST = 300
"""Characters of a view; longer ones are slips, or worse."""
NONE: Mapping[str, ViewUse] = {}


@dataclass(frozen=True)
class Noise:
    """Label noise of a view."""

    kind: Literal["symmetric", "confusion"]
    rate: float
    within: View | None = None
    """The level whose classes hold the siblings."""
    matrix: Path | None = None


@dataclass(frozen=True)
class View:
    """A parsed label view."""

    name: str
    """The canonical text, or the name that a study gave it."""
    kind: str
    """The name of its kind (headwater.labels.kinds)."""
    number: int = 0
    """k, d or K; 0 where there is none."""
    rank: str = ""
    like: View | None = None
    """The level that K is counted on."""
    within: View | None = None
    """The level whose classes are split."""
    seed: int | None = None
    """A seed of its own; None takes the arm's."""
    noise: Noise | None = None
    merge: tuple[tuple[str, tuple[str, ...]], ...] = ()
    rest: Literal["keep", "drop", "error"] = "keep"
    subset: tuple[str, ...] = ()
    features: Features | None = None
    """What clusters are made from; None is the SimCLR arm."""
    algorithm: Literal["kmeans", "ward"] = "kmeans"
    balanced: bool = False

    @property
    def declared(self) -> ViewKind:
        """What its kind says of itself."""
        return LABEL_VIEWS.named(self.kind)  # type: ignore[no-any-return]

    @property
    def manual(self) -> bool:
        """Whether its classes come from the source's own labels."""
        return self.declared.own_labels or self.within is not None

    @property
    def clustered(self) -> bool:
        """Whether it needs features of the images."""
        return self.declared.needs_features

    @property
    def drawn(self) -> bool:
        """Whether the arm's seed matters to it."""
        return self.seed is None and (self.declared.seeded or self.noise is not None)

    @property
    def level(self) -> int | None:
        """k of a plain level:k; None for any other view."""
        return (
            self.number if self == View(name=self.name, kind="level", number=self.number) else None
        )

    @property
    def clean(self) -> View:
        """The view without its noise."""
        return replace(self, noise=None)


_NUMBER, _WORD = r"\d{1,9}", r"[A-Za-z][\w-]{0,63}"
_RATE = r"(?:\d{1,3}(?:\.\d{0,12})?|\.\d{1,12})(?:e-?\d{1,2})?"


def _level_form() -> str:
    """The pattern of a view that may stand after `like` and `within`."""
    arguments = {"number": f":{_NUMBER}", "name": f":{_WORD}", "count": f":{_NUMBER}", "": ""}
    forms = [kind.name + arguments[kind.argument] for kind in LABEL_VIEWS if kind.hierarchical]
    return f"(?:{'|'.join(['class', *forms])})"


def _match(text: str) -> re.Match[str] | None:
    """The parts of a view's text, whether its kind exists or not."""
    level = _level_form()
    return re.fullmatch(
        rf"(?P<kind>[a-z][a-z0-9-]*)(?::(?:like (?P<like>{level})|(?P<number>{_NUMBER})|"
        rf"(?P<word>{_WORD})))?(?: within (?P<within>{level}))?(?:@seed=(?P<seed>{_NUMBER}))?"
        rf"(?: with (?P<noise>symmetric|confusion):(?P<rate>{_RATE})"
        rf"(?: within (?P<siblings>{level}))?)?",
        text,
    )


def parse_view(text: str) -> View:
    """The view that a text means, under its canonical name: no spaces about colons, no leading
    zeros, level:0 for class.

    Raises InputError, with all valid forms, for what is none.
    """
    if len(text) > LONGEST:
        raise InputError(
            f"{_short(text)!r} is no label view; one has at most {LONGEST} characters (numbers of "
            "at most 9 digits)"
        )
    plain = " ".join(re.sub(r"\s*([:@=])\s*", r"\1", text.strip()).split())
    match = _match("level:0" if plain == "class" else re.sub(r"^class(?= with )", "level:0", plain))
    kind = LABEL_VIEWS[match["kind"]] if match and match["kind"] in LABEL_VIEWS else None
    if match is None or kind is None or not _complete(match, kind):
        raise InputError(
            f"{_short(text)!r} is no label view{_nearest(plain)}; the views are {_forms()} "
            "(numbers of at most 9 digits)"
        )
    number = int(match["number"] or 0)
    if kind.argument == "count" and match["like"] is None and number < 2:
        raise InputError(f"{text!r}: the number should be at least 2")
    like, within, siblings = (
        parse_view(match[part]) if match[part] else None for part in ("like", "within", "siblings")
    )
    noise = None
    if match["noise"]:
        rate = float(match["rate"])
        if not 0 <= rate <= 1:
            raise InputError(f"{text!r}: a rate of noise is between 0 and 1")
        noise = Noise("symmetric" if match["noise"] == "symmetric" else "confusion", rate, siblings)
    seed = None if match["seed"] is None else int(match["seed"])
    view = View("", match["kind"], number, match["word"] or "", like, within, seed, noise)
    if view.clustered and noise:
        raise InputError(
            f"{text!r}: noise is for views whose classes are known before training, not for "
            "clusters"
        )
    return replace(view, name=_canonical(view))


def _nearest(plain: str) -> str:
    """A hint at the kind of view that an unknown first word may mean."""
    word = re.split(r"[:@ ]", plain)[0]
    names = (*LABEL_VIEWS.names(), "class")
    near = [] if word in names else difflib.get_close_matches(word.lower(), names, n=1, cutoff=0.5)
    return f" (did you mean {near[0]!r}?)" if near else ""


def _complete(match: re.Match[str], kind: ViewKind) -> bool:
    """Whether a view has the argument and no more of the rest than its kind takes."""
    given = {
        "number": match["number"],
        "name": match["word"],
        "count": match["number"] or match["like"],
        "": None,
    }[kind.argument]
    others = [match[part] for part in ("number", "word", "like") if match[part] is not None]
    confused = match["noise"] == "confusion"
    return (
        len(others) == (1 if kind.argument else 0)
        and (given is not None or not kind.argument)
        and (match["within"] is None or kind.within is not None)
        and (match["seed"] is None or kind.seeded or match["noise"] is not None)
        and (match["siblings"] is not None) == confused
    )


def _canonical(view: View) -> str:
    argument = (
        f"like {view.like.name}"
        if view.like
        else view.rank or (str(view.number) if view.declared.argument else "")
    )
    parts = [
        view.kind,
        f":{argument}" if argument else "",
        f" within {view.within.name}" if view.within else "",
    ]
    parts.append("" if view.seed is None else f"@seed={view.seed}")
    if view.noise:
        parts.append(
            f" with {view.noise.kind}:{rate_text(view.noise.rate)}"
            + (f" within {view.noise.within.name}" if view.noise.within else "")
        )
    return "".join(parts)


def rate_text(rate: float) -> str:
    """All digits of a rate, and no more: 0.2, 1."""
    return repr(rate).removesuffix(".0")


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."


def _forms() -> str:
    forms: list[str] = []
    for kind in LABEL_VIEWS:
        forms.append(kind.form)
        if kind.within is not None:
            forms.append(f"{kind.form} within level:j")
    seeded = ", ".join(kind.name for kind in LABEL_VIEWS if kind.seeded)
    more = (
        "class",
        "K as `like level:j`",
        f"@seed=S after {seeded}",
        "` with symmetric:R` or ` with confusion:R within level:j`",
    )
    return ", ".join([*forms, *more])


def resolve_view(text: str, named: Mapping[str, ViewUse] = NONE, root: Path | None = None) -> View:
    """The view that a text or a name of the study's `views:` block means.

    Files are looked for under `root`, the data root.

    Raises InputError for what is neither, and for words that do not fit the view that they change.
    """
    if text not in named:
        try:
            return parse_view(text)
        except InputError as error:
            defined = f"; defined under views are {', '.join(sorted(named))}" if named else ""
            raise InputError(f"{error}{defined}") from None
    with blamed_on("views", text):
        kinds = (*LABEL_VIEWS.names(), "class")
        if _match(text) and text.partition(":")[0].split(" ")[0] in kinds:
            raise InputError(f"views.{text}: this is a view already; choose another name")
        return _changed(text, named[text], root)


def _changed(name: str, use: ViewUse, root: Path | None) -> View:
    view = parse_view(use.of)
    for word in ("features", "algorithm", "balanced"):
        if getattr(use, word) is not None and not view.clustered:
            raise InputError(
                f"views.{name}: {word} is for clusters, and {use.of!r} is none",
                at=("views", name, word),
            )
    for word in ("merge", "subset", "noise"):
        if getattr(use, word) is not None and (
            view.clustered or (word != "noise" and view.kind == "instance")
        ):
            raise InputError(
                f"views.{name}: {use.of!r} cannot have {word}; its classes have no names that one "
                "could know",
                at=("views", name, word),
            )
    noise = view.noise
    if use.noise is not None:
        if noise is not None:
            raise InputError(
                f"views.{name}: {use.of!r} has noise already; write it in one place",
                at=("views", name, "noise"),
            )
        matrix = (
            None
            if use.noise.matrix is None
            else find_file(use.noise.matrix, root, f"views.{name}.noise.matrix")
        )
        noise = Noise(
            use.noise.kind,
            use.noise.rate,
            None if use.noise.within is None else _level(use.noise.within, name),
            matrix,
        )
    features = use.features
    if features is not None:
        paths = {
            word: str(find_file(path, root, f"views.{name}.features.{word}"))
            for word in ("weights", "file")
            if (path := getattr(features, word))
        }
        features = features.model_copy(update=paths)
    return replace(
        view,
        name=name,
        noise=noise,
        merge=tuple(sorted((new, tuple(sorted(old))) for new, old in (use.merge or {}).items())),
        rest=use.rest or "keep",
        subset=tuple(sorted(use.subset or ())),
        features=features,
        algorithm=use.algorithm or "kmeans",
        balanced=bool(use.balanced),
    )


def _level(text: str, name: str) -> View:
    view = parse_view(text)
    if not view.declared.hierarchical or view.noise:
        raise InputError(
            f"views.{name}: {text!r} is no level", at=("views", name, "noise", "within")
        )
    return view


def find_file(path: str, root: Path | None, where: str) -> Path:
    """A file of a study: absolute, or under the data root. Raises InputError where there is
    none.
    """
    try:
        file = Path(path).expanduser()
        if not file.is_absolute():
            if root is None:
                raise InputError(
                    f"{where}: the file {path!r} is not beside the study file, and no data root is "
                    "given in which it could be (--data-root or HEADWATER_DATA)"
                )
            file = root / file
        if file.is_file():
            return file
    except (RuntimeError, OSError) as error:  # ~somebody, or a name that is too long
        raise InputError(f"{where}: the file {path!r} cannot be found ({error})") from None
    raise InputError(f"{where}: there is no file {str(file)!r}")


def distinct_views(views: Iterable[str], at: Location, named: Mapping[str, ViewUse] = NONE) -> None:
    """Raises InputError, blamed on its place in the list at `at`, for what is no view and for one
    that says the same as an earlier one.
    """
    seen: dict[View, str] = {}
    for i, text in enumerate(views):
        with blamed_on(*at, i):
            view = replace(parse_view(text), name="") if text not in named else View(text, "named")
            if view in seen:
                raise InputError(
                    f"{'.'.join(map(str, at))}: {text!r} is the same view as {seen[view]!r}; list "
                    "it once"
                )
            seen[view] = text
