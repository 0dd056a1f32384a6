"""Label views that need more than a line of text, in words: the closed schema of a study's `views:`
block.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from headwater.registry import METHODS
from headwater.study.recipe import Method
from headwater.study.words import Flag, Fraction, Words

_Path = Annotated[str, Field(min_length=1)]


class Features(Words):
    """What clusters are made from: exactly one of `method` (an arm of the same source, size and
    seed), `timm` and `file`.
    """

    method: Method | None = None
    """The arm's method. It is trained if it has to be, whether the study measures it or not."""
    labels: str | None = None
    """Label view of an arm that needs labels; caption field of one that needs captions, which is
    the source's when left out.
    """
    timm: Annotated[str, Field(pattern=r"^[A-Za-z0-9_./-]{1,120}$")] | None = None
    """A pre-trained timm model, at its own input size and normalisation."""
    weights: _Path | None = None
    """A safetensors file for the timm model, instead of a download."""
    file: _Path | None = None
    """Embeddings: a .parquet with the columns id and embedding, or a .npy [n, d] with a .txt of ids
    (a line each) beside it.
    """

    @model_validator(mode="after")
    def _exactly_one(self) -> Features:
        given = [name for name in ("method", "timm", "file") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                "give exactly one of method, timm, file, not "
                f"{' and '.join(given) if given else 'none'}"
            )
        needs = None if self.method is None else METHODS[self.method].needs
        if self.labels is not None and needs not in ("labels", "captions"):
            raise ValueError("labels belong to an arm whose method needs labels or captions")
        if needs == "labels" and self.labels is None:
            raise ValueError(f"a {self.method} arm needs labels")
        if self.weights is not None and self.timm is None:
            raise ValueError("weights belong to a timm model")
        return self


class Noise(Words):
    """Wrong labels, at a stated rate. The realised rate stands on the row."""

    kind: Literal["symmetric", "confusion"] = "symmetric"
    """symmetric: any other class, each as likely; confusion: a sibling (`within`), or by a
    matrix.
    """
    rate: Fraction
    """Share of the images whose label is drawn anew, each by key: what is wrong at a lower rate is
    wrong at a higher one, too.
    """
    within: str | None = None
    """Level view whose classes hold the siblings."""
    matrix: _Path | None = None
    """A CSV with class names as header and first column: row = true class, column = the class that
    it is taken for, weights of any sum.
    """

    @model_validator(mode="after")
    def _fits(self) -> Noise:
        if self.kind == "symmetric" and (self.within or self.matrix):
            raise ValueError("symmetric noise has neither within nor matrix; write kind: confusion")
        if self.kind == "confusion" and (self.within is None) == (self.matrix is None):
            raise ValueError("confusion noise needs one of within (siblings) and matrix")
        return self


class ViewUse(Words):
    """A label view with a name of its own: `of`, changed."""

    of: str = "level:0"
    """The view that it starts from."""
    features: Features | None = None
    """For clusters: what they are made from; the SimCLR arm of the same source, size and seed when
    left out.
    """
    algorithm: Literal["kmeans", "ward"] | None = None
    """For clusters: k-means (when left out), or Ward's hierarchical clustering, whose classes nest
    over K.
    """
    balanced: Flag | None = None
    """For clusters: true makes their sizes equal to within one image (in each class of
    `within`).
    """
    merge: Annotated[dict[str, tuple[str, ...]], Field(min_length=1)] | None = None
    """New class names, each with the classes that become it."""
    rest: Literal["keep", "drop", "error"] | None = None
    """What becomes of classes that `merge` does not name: they stay (when left out), their images
    are left out, or they are an error.
    """
    subset: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Only these classes; images of others are left out of the arm or task."""
    noise: Noise | None = None

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, value: Any) -> Any:
        """A text alone gives a view another name."""
        return {"of": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _fits(self) -> ViewUse:
        if self.rest is not None and self.merge is None:
            raise ValueError("rest belongs to merge")
        if self.algorithm == "ward" and self.balanced:
            raise ValueError(
                "Ward's clusters have the sizes that its tree gives them; use kmeans for balanced "
                "ones"
            )
        if self.merge is not None and self.subset is not None:
            raise ValueError("give merge or subset, not both; merge with `rest: drop` does both")
        return self
