"""What training asks of decoded images, wherever they come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Images(Protocol):
    """Decoded images by row: a cache, a stream, or a part of one."""

    def __len__(self) -> int: ...

    def gather(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """(images uint8 [batch, h_max, w_max, 3], sizes int64 [batch, 2]): images in the upper left
        corner, zeros beyond their sizes.

        h_max and w_max are the batch's own. The arrays are fresh, contiguous and writable, so
        torch.from_numpy takes them as they are. May be called from several threads at once.
        """
        ...


@dataclass(frozen=True, eq=False)
class MemoryImages:
    """Images of one size that are in memory already."""

    images: NDArray[np.uint8]
    """uint8 [num_images, height, width, 3]"""

    def __len__(self) -> int:
        return len(self.images)

    def gather(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """As Images.gather."""
        return self.images[rows], np.tile(
            np.array(self.images.shape[1:3], dtype=np.int64), (len(rows), 1)
        )


@dataclass(frozen=True, eq=False)
class Subset:
    """Some rows of decoded images, numbered anew; nothing is copied."""

    images: Images
    rows: NDArray[np.int64]
    """int64 [num_images]: the row of each image in `images`."""

    def __len__(self) -> int:
        return len(self.rows)

    def gather(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """As Images.gather, by row of the subset."""
        return self.images.gather(self.rows[rows])
