"""Which nodes have an image, for the names that pods ask for: worked out when asked first, then kept current."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from tiphys.kinds.core.node import ContainerImage

Sizes = npt.NDArray[np.float64]
_KEPT = 64


class Images:
    def __init__(self) -> None:
        self._rows = 0
        self._held: dict[int, Mapping[str, int]] = {}
        self._sizes: OrderedDict[str, Sizes] = OrderedDict()

    def grow(self, rows: int) -> None:
        more = (0, rows - self._rows)
        self._rows = rows
        self._sizes = OrderedDict((name, np.pad(sizes, more)) for name, sizes in self._sizes.items())

    def set_row(self, row: int, images: Sequence[ContainerImage]) -> None:
        """The images of the node in a row; none if it is gone."""
        held = {name: image.size_bytes for image in images for name in image.names}
        if held == self._held.get(row, {}):
            return
        self._held[row] = held
        for name, sizes in self._sizes.items():
            sizes[row] = held.get(name, 0)

    def sizes(self, name: str) -> Sizes:
        """Row by row, the bytes of an image that need not be pulled. Not to be written to."""
        known = self._sizes.get(name)
        if known is None:
            known = self._sizes[name] = np.zeros(self._rows)
            for row, held in self._held.items():
                known[row] = held.get(name, 0)
            if len(self._sizes) > _KEPT:
                self._sizes.popitem(last=False)
        self._sizes.move_to_end(name)
        return known


def full_names(images: Iterable[str]) -> list[str]:
    """As nodes report them: without a tag or a digest it is the latest."""
    return [image if ":" in image.rpartition("/")[2] or "@" in image else f"{image}:latest" for image in images]
