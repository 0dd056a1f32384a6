"""What was found: pairs of a test image and a source image that show the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

KINDS = ("pixels", "hash", "crop", "embedding")
"""How a pair was found, the plainest way first: equal decoded pixels; perceptual hashes that nearly
agree; one image's windows against the other; only as a pair that was suggested (by an encoder's
features). All but `pixels` were then aligned and compared.
"""


@dataclass(frozen=True, eq=False)
class Matches:
    """Pairs of near-duplicates, by test row, falling similarity and source row.

    A test image can be in several.
    """

    num_test: int
    num_source: int
    test_row: NDArray[np.int64]
    """int64 [num_pairs]: the row of the test image."""
    source_row: NDArray[np.int64]
    """int64 [num_pairs]: the row of the source image."""
    kind: NDArray[np.str_]
    """str [num_pairs]: one of KINDS."""
    similarity: NDArray[np.float32]
    """float32 [num_pairs], 0 to 1: the correlation of the two after aligning
    (headwater.curation.aligning); 1 for equal pixels.
    """
    flipped: NDArray[np.bool_]
    """bool [num_pairs]: whether one is the other's mirror image."""
    window: NDArray[np.float32]
    """float32 [num_pairs, 4]: left, top, right, bottom of what one image shows of the other, as
    fractions of the other's width and height.
    """
    window_of_source: NDArray[np.bool_]
    """bool [num_pairs]: whether `window` is a window of the source image (the test image is its
    crop), not of the test image.
    """

    def __len__(self) -> int:
        return len(self.test_row)

    @property
    def flagged(self) -> NDArray[np.bool_]:
        """bool [num_test]: test images that the source shows too."""
        flags = np.zeros(self.num_test, dtype=bool)
        flags[self.test_row] = True
        return flags

    @property
    def source_flagged(self) -> NDArray[np.bool_]:
        """bool [num_source]: source images that are in a pair; without them the source is rid of
        the leaks that were found, except where a test image had more copies than `candidates`.
        """
        flags = np.zeros(self.num_source, dtype=bool)
        flags[self.source_row] = True
        return flags

    def only(self, kinds: Sequence[str]) -> Matches:
        """The pairs of some kinds."""
        return self._where(np.isin(self.kind, list(kinds)))

    def summary(self) -> dict[str, Any]:
        """num_test, num_source, num_pairs, num_flagged, share_flagged (None where there is no test
        image), and the number of test images by the plainest kind that flags each.
        """
        first = np.full(self.num_test, len(KINDS))
        np.minimum.at(
            first,
            self.test_row,
            np.array([KINDS.index(kind) for kind in self.kind.tolist()], dtype=np.int64),
        )
        flagged = int((first < len(KINDS)).sum())
        return {
            "num_test": self.num_test,
            "num_source": self.num_source,
            "num_pairs": len(self),
            "num_flagged": flagged,
            "share_flagged": flagged / self.num_test if self.num_test else None,
            "by_kind": {kind: int((first == at).sum()) for at, kind in enumerate(KINDS)},
        }

    def _where(self, which: NDArray[np.bool_]) -> Matches:
        columns = {
            name: getattr(self, name)[which]
            for name in self.__dataclass_fields__
            if not name.startswith("num_")
        }
        return Matches(num_test=self.num_test, num_source=self.num_source, **columns)
