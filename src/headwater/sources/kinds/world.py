"""`kind: world`: a generated world, with known answers and no download."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from headwater.sources import Source
from headwater.sources.kinds import SourceKind, SourceWords
from headwater.study.words import Flag, Real, Whole

Domain = Literal["paint", "sketch", "night", "mosaic"]
MAX_SPECIES = 64
"""There are 66 even-weight 3x3 codes that stay distinct under flips (39 of weight 4, 27 of weight
6); two are left over.
"""


class WorldData(SourceWords):
    """A generated world: images of drawn creatures with known answers, no download.

    A creature's FAMILY shows in its silhouette (the number of lobes: large, seen in every image of
    the family), its SPECIES in a 3x3 black-and-white code drawn twice on its body (small, seen in
    one image in `species`). On a HARD image the silhouette is nearly gone and points to a wrong
    family, one patch is strong noise, and the code is intact: the data model of Hong et al. 2023,
    section C, in pixels. What answers are planted is said field by field.
    """

    kind: Literal["world"] = "world"
    domain: Domain = "paint"
    """The rendering style.

    Codes are black and white in all of them, so fine features transfer between domains; silhouettes
    transfer less.
    """
    train: Whole = Field(default=4000, ge=0, le=999_999)
    """Training images; species take turns, so classes are balanced to within one image."""
    val: Whole = Field(default=800, ge=0, le=999_999)
    """Validation images, balanced in the same way."""
    test: Whole = Field(default=1600, ge=0, le=999_999)
    """Test images, balanced in the same way."""
    hard_train: Real = Field(default=0.0, ge=0, le=1)
    """Share of hard images in train (each drawn by key, so the realised share is binomial). 0, as
    in the paper, for a source to pre-train on. For a task: a probe fitted on easy images only may
    lean on silhouettes, whatever the encoder knows, while one fitted on 0.5 uses the codes where
    the encoder has them. Fine beats coarse labels on hard images in both
    (benchmarks/world_learnability.md).
    """
    hard_val: Real | None = Field(default=None, ge=0, le=1)
    """Share of hard images in val; None means `hard_train`.

    Validation chooses learning rates and penalties, and whoever chooses has images like those
    trained on: a val split like the test split would let the choice peek at the shift that the test
    measures.
    """
    hard_test: Real = Field(default=0.5, ge=0, le=1)
    """Share of hard images in test; they carry the mark `hard`, so every metric can be read on easy
    and hard images apart.
    """
    families: Whole = Field(default=4, ge=2, le=6)
    """Superclasses: silhouettes with 2, 3, ... lobes."""
    species: Whole = Field(default=8, ge=1, le=32)
    """Subclasses in each family (k of the theory).

    Below about 8 coarse labels learn the codes as well, and there is nothing to show.
    """
    dilution: Real = Field(default=1.0, ge=1, le=1000)
    """A planted exchange rate r: r TRAINING images of this source hold the creatures that one image
    of an undiluted source holds (`diluted_by`). val and test stay undiluted.
    """
    diluted_by: Literal["empty", "copies"] = "empty"
    """What the others show. `empty`: background only; which images show a creature is drawn by key.
    `copies`: the same creature again in the same pose and light, with other pixel noise, as
    near-duplicates in web data do; r is a whole number then, and a size that r divides takes all
    copies of a creature or none. A task on such data needs a val split of its own: one that is cut
    from train shows the same creatures.

    With copies and equal images seen, r n images teach what n undiluted ones teach: the rate is r
    (benchmarks/dilution.md). Empty images plant no exact rate. At equal epochs a diluted source
    takes r times the steps, and the rate comes out below r; with wrong labels they cost more than
    their number, and it comes out above; at equal images seen each creature is shown r times less
    often, and it comes out above (benchmarks/world_learnability.md, docs/log.md).
    """
    empty_labels: Literal["wrong", "clutter"] = "wrong"
    """What images without a creature are called: a class of which they show nothing (label noise,
    beside what they take away), distributed as the right ones are; or `clutter`, a class of their
    own at every level.
    """
    wrong_captions: Real = Field(default=0.0, ge=0, le=1)
    """Share of images whose captions all name another species (uniform over the others), in every
    split.
    """
    captions_per_image: Whole = Field(default=2, ge=1, le=5)
    """Captions per image, each worded after a different template."""
    code_strength: Real = Field(default=0.6, ge=0, le=1)
    """Contrast of the code: 1 is black on white, 0 plain grey (no fine feature at all)."""
    code_cell: Real = Field(default=2.2, ge=1, le=2.6)
    """Side of a cell of the code in pixels at resolution 40; it scales with resolution and with the
    creature.
    """
    lobe_strength: Real = Field(default=1.0, ge=0, le=1.25)
    """Size of the lobes relative to the default: the strength of the common feature (alpha of the
    theory).
    """
    hard_lobes: Real = Field(default=0.1, ge=0, le=1)
    """On hard images the (wrong) lobes are shrunk to this share of their size (alpha-dagger of the
    theory).
    """
    hard_noise: Real = Field(default=0.35, ge=0, le=1)
    """Standard deviation of the noise patch of hard images, as a share of the full range."""
    noise: Real = Field(default=0.04, ge=0, le=0.5)
    """Standard deviation of the noise on every pixel, as a share of the full range."""
    clutter: Whole = Field(default=3, ge=0, le=8)
    """Blobs in the background of every image."""
    resolution: Whole = Field(default=40, ge=24, le=256)
    """Side of the image in pixels. 40 is 1.25 x 32: the cached short side of a study at 32 px."""
    seed: Whole = Field(default=0, ge=0, lt=2**31)
    """Which world: the names of its species and their codes, and all draws below them."""
    collection: Whole = Field(default=0, ge=0)
    """Which photographer: two collections of one world show the same species and share no image.

    A task that should see other images than pre-training of the same domain saw takes another
    collection.
    """
    paired: Flag = False
    """True leaves the domain out of the draws: the same id in another domain is then the same
    creature in another style. Off by default, because a training image of one domain would
    otherwise be a test image's twin in another.
    """

    @model_validator(mode="after")
    def _codes_suffice(self) -> WorldData:
        if self.families * self.species > MAX_SPECIES:
            raise ValueError(
                f"{self.families} families x {self.species} species are more than the "
                f"{MAX_SPECIES} distinct codes"
            )
        return self

    @model_validator(mode="after")
    def _copies_are_planted(self) -> WorldData:
        if self.diluted_by != "copies":
            return self
        if self.dilution != int(self.dilution):
            raise ValueError(
                f"dilution by copies takes a whole number of them, not {self.dilution:g}"
            )
        if self.noise == 0:
            raise ValueError("copies without noise are one image many times: set `noise` above 0")
        if self.empty_labels != "wrong":
            raise ValueError(
                "a world that is diluted by copies has no empty images: leave `empty_labels` out"
            )
        return self

    def hard_share(self, split: str) -> float:
        """The planned share of hard images of `train`, `val` or `test`."""
        shares = {
            "train": self.hard_train,
            "val": self.hard_train if self.hard_val is None else self.hard_val,
            "test": self.hard_test,
        }
        return shares[split]


def _make(name: str, words: WorldData, data_root: Path | None, cache: Path | None) -> Source:
    from headwater.sources.world.source import WorldSource

    return WorldSource(name, words)


ENTRY = SourceKind(
    name="world",
    version=1,
    order=40,
    title="a generated world with known answers",
    words=WorldData,
    needs="nothing",
    offers=("classes", "captions", "splits", "hard images"),
    make=_make,
)
