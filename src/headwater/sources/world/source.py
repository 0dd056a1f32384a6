"""The source that a `WorldData` describes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from headwater import keys
from headwater.errors import InputError
from headwater.sources import Positions, Source, Table
from headwater.sources.world import species as words
from headwater.sources.world.drawing import NUM_DRAWS, RECIPE, Look, Scene, draw

if TYPE_CHECKING:
    from headwater.sources.kinds.world import WorldData

HUES = 16
"""Bins of the background hue; with two heights of the creature they make 32 `misaligned` labels."""

CLUTTER = "clutter"
"""What an image without a creature shows."""
_FEWEST_LOBES = 2


def _ids(numbers: Mapping[str, NDArray[np.int64]]) -> list[str]:
    return [f"{split}/{i:06d}" for split, each in numbers.items() for i in each.tolist()]


class WorldSource(Source):
    """The images of one `WorldData`.

    Ids are `train/000000`, `val/000000`, `test/000000`, ...; levels, finest first, are species,
    family and order (few or many lobes). Text fields, each a list of strings per sample:
    `captions`; `misaligned`, one label such as `hue03-low` that tells background hue and height and
    has nothing to do with the class; `content`, `creature` or `clutter` (an image that carries
    nothing, see `dilution`).

    A sample's class, pose and pixels follow from (seed, domain, collection, id) and the strengths
    in the spec, whatever the other counts and shares are: a larger train split begins with the
    smaller one, and a larger hard share keeps the hard images of the smaller.
    """

    generated = True

    def __init__(self, name: str, spec: WorldData) -> None:
        self.name = name
        self.spec = spec
        shown = self._shown()
        self._class = np.concatenate(list(shown.values())) % self.num_species
        counts = {split: np.arange(count) for split, count in self._counts().items()}
        ids = np.array(_ids(counts), dtype=object)
        split_of = np.repeat(
            np.array(list(self._counts()), dtype=object), list(self._counts().values())
        )
        self._hashes = keys.sample_hashes(list(ids))
        self._creatures = ids
        if spec.diluted_by == "copies":
            self._creatures = np.array(_ids(shown), dtype=object)
        self._creature_hashes = keys.sample_hashes(list(self._creatures))
        chance = self._uniform("world sample", self._creature_hashes, 8)
        empty = spec.diluted_by == "empty"
        self._empty = (split_of == "train") & (chance[:, 0] >= 1 / spec.dilution) & empty
        shares = {split: spec.hard_share(split) for split in self._counts()}
        self._hard = (
            chance[:, 1] < np.array([shares[split] for split in split_of], dtype=np.float64)
        ) & ~self._empty
        others = (
            self._family() + 1 + (chance[:, 2] * (spec.families - 1)).astype(np.int64)
        ) % spec.families
        self._lobes = np.where(self._hard, others, self._family()) + _FEWEST_LOBES
        self._bin = (chance[:, 3] * HUES).astype(np.int64)
        self._low = chance[:, 4] >= 0.5
        self._codes = words.codes(spec.seed, self.num_species)
        self.table = Table(
            ids=ids,
            splits={"split": split_of},
            levels=self._levels(),
            texts=self._texts(chance),
            hard=self._hard.copy(),
        )

    @property
    def num_species(self) -> int:
        """Species of all families together."""
        return self.spec.families * self.spec.species

    def _counts(self) -> dict[str, int]:
        return {
            "test": self.spec.test,
            "train": self.spec.train,
            "val": self.spec.val,
        }  # sorted, as ids are

    def _shown(self) -> dict[str, NDArray[np.int64]]:
        """Split -> the number of the creature that each image shows: its own, but for copies."""
        spec = self.spec
        shown = {split: np.arange(count) for split, count in self._counts().items()}
        if spec.diluted_by == "copies":
            shown["train"] = shown["train"] // int(spec.dilution)
        return shown

    @cached_property
    def size_hashes(self) -> NDArray[np.int64]:
        """int64 [len(table)]: those of the creatures, so that a size takes all copies of one or
        none.
        """
        return self._creature_hashes

    def _key(self, purpose: str) -> int:
        """The key of a purpose; the domain is part of it unless images are paired across
        domains.
        """
        return keys.key(
            self.spec.seed,
            purpose,
            self.spec.collection,
            "" if self.spec.paired else self.spec.domain,
        )

    def _uniform(self, purpose: str, hashes: NDArray[np.int64], n: int) -> NDArray[np.float32]:
        return np.asarray(keys.uniform(self._key(purpose), hashes, n), dtype=np.float32)

    def _family(self) -> NDArray[np.int64]:
        return self._class // self.spec.species

    def _levels(self) -> tuple[NDArray[np.object_], ...]:
        names = np.array(words.species_names(self.spec.seed, self.num_species), dtype=object)
        families = np.array(words.family_names(self.spec.families), dtype=object)
        orders = np.array(
            [words.order_of(f, self.spec.families) for f in range(self.spec.families)], dtype=object
        )
        told = names[self._class], families[self._family()], orders[self._family()]
        if self.spec.empty_labels == "wrong":
            return told
        return tuple(np.where(self._empty, CLUTTER, level).astype(object) for level in told)

    def _texts(self, chance: NDArray[np.float32]) -> dict[str, NDArray[np.object_]]:
        """Text fields; `chance` holds the uniforms of each sample, of which 5-7 are used here."""
        spec, n = self.spec, self.num_species
        names, families = words.species_names(spec.seed, n), words.family_names(spec.families)
        wrong = (self._class + 1 + (chance[:, 6] * (n - 1)).astype(np.int64)) % n
        told = np.where(chance[:, 5] < spec.wrong_captions, wrong, self._class)
        first = (chance[:, 7] * len(words.TEMPLATES)).astype(np.int64)
        out = {
            field: np.empty(len(told), dtype=object)
            for field in ("captions", "misaligned", "content")
        }
        for i, one in enumerate(told.tolist()):
            empty = spec.empty_labels == "clutter" and self._empty[i]
            out["captions"][i] = words.captions(
                CLUTTER if empty else names[one],
                CLUTTER if empty else families[one // spec.species],
                spec.domain,
                int(first[i]),
                spec.captions_per_image,
            )
            out["misaligned"][i] = [f"hue{self._bin[i]:02d}-{'low' if self._low[i] else 'high'}"]
            out["content"][i] = [CLUTTER if self._empty[i] else "creature"]
        return out

    def image(self, position: int) -> NDArray[np.uint8]:
        """uint8 [resolution, resolution, 3], RGB.

        Raises InputError for a position outside the table.
        """
        return self.images(np.array([position]))[0]  # type: ignore[no-any-return]

    def images(self, positions: Positions | Sequence[int]) -> NDArray[np.uint8]:
        """uint8 [n, resolution, resolution, 3], RGB: the same pixels as `image` gives, many at
        once. Raises InputError as `image` does.
        """
        at = np.asarray(positions, dtype=np.int64)
        if at.size and (at.min() < 0 or at.max() >= len(self.table)):
            raise InputError(
                f"{self.name}: positions must lie between 0 and {len(self.table) - 1}, not "
                f"{at.min()} to {at.max()}"
            )
        return draw(self._scene(at), self._look())

    def _scene(self, at: Positions) -> Scene:
        spec = self.spec
        draws = self._uniform("world draws", self._creature_hashes[at], NUM_DRAWS)
        hard, empty = self._hard[at], self._empty[at]
        return Scene(
            domain=spec.domain,
            noise_key=self._key("world noise"),
            hashes=self._hashes[at],
            draws=draws,
            codes=self._codes[self._class[at]],
            lobes=self._lobes[at],
            lobe_size=np.where(
                hard, spec.lobe_strength * spec.hard_lobes, spec.lobe_strength
            ).astype(np.float32),
            hue=(self._bin[at] + np.float32(0.15) + np.float32(0.7) * draws[:, 31]).astype(
                np.float32
            )
            / np.float32(HUES),
            low=self._low[at],
            patch=np.where(hard, spec.hard_noise, 0).astype(np.float32),
            empty=empty,
        )

    def _look(self) -> Look:
        s = self.spec
        return Look(
            resolution=s.resolution,
            code_strength=s.code_strength,
            code_cell=s.code_cell,
            noise=s.noise,
            clutter=s.clutter,
        )

    def byte_hashes(self, positions: Positions) -> list[str]:
        """A hex digest of all that decides each sample's pixels, known without drawing them.

        Counts, shares, captions and what does not show in an image (the code of an empty one, say)
        are left out, so that an image has the same digest in every spec that holds it.
        """
        s = self.spec
        shared = json.dumps(
            [RECIPE, s.seed, s.collection, s.domain, s.paired, s.noise, s.clutter, s.resolution]
        ).encode()
        creature = json.dumps([s.code_strength, s.code_cell, s.lobe_strength]).encode()
        hard = json.dumps([s.hard_lobes, s.hard_noise]).encode()
        codes = [code.astype(np.int64).astype(str) for code in self._codes]
        spelled = ["".join(cells).encode() for cells in codes]
        out = []
        for at in np.asarray(positions, dtype=np.int64).tolist():
            parts = [shared, self.table.ids[at].encode()]
            if self._creatures[at] != self.table.ids[at]:
                parts.append(self._creatures[at].encode())
            if not self._empty[at]:
                parts += [
                    creature,
                    str(self._lobes[at]).encode(),
                    spelled[self._class[at]],
                    hard if self._hard[at] else b"",
                ]
            out.append(hashlib.blake2b(b"\x1f".join(parts), digest_size=16).hexdigest())
        return out
