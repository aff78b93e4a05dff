"""Prefetches the next shuffle windows of several streams within a memory limit.

A stream's current window is in memory whole, because its samples are drawn in random order. The
window after it is read piece by piece while this one is used, as far as the limit allows, nearest
border first. The window that is due is read even above the limit, so a low limit slows loading but
cannot deadlock it.
"""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from alexnet.dataset.shard_reader import Encoded, Piece, ShardReader
from alexnet.loading.epoch_plan import Window

PARTS_AHEAD = 4
"""Parts of steps that each loader process may have ready before they are asked for."""


@dataclass
class _Coming:
    """A window on its way."""

    window: Window
    cuts: deque[Future[list[Piece]]]
    """The pieces of each run that is not cut yet; cutting reads an index."""
    pieces: deque[Piece] = field(default_factory=deque)
    reads: list[Future[list[Encoded]]] = field(default_factory=list)
    num_bytes: int = 0
    """Asked for so far."""


class ReadAhead:
    """The streams of one loader process. Used by one thread."""

    def __init__(
        self,
        reader: ShardReader,
        windows: list[Iterator[Window]],
        threads: ThreadPoolExecutor,
        ceiling_bytes: int,
    ) -> None:
        """Begin with each stream's first window.

        Args:
            reader: of the split.
            windows: of each stream, in order.
            threads: that read.
            ceiling_bytes: of windows that are not in use yet, over all streams.
        """
        self._reader, self._threads, self._ceiling_bytes = reader, threads, ceiling_bytes
        self._windows = windows
        self._coming = [self._begin(stream) for stream in range(len(windows))]
        self._ahead_bytes = 0
        self._left = [0] * len(windows)
        self._turns = [self._load(stream) for stream in range(len(windows))]

    def take(self, stream: int, epoch: int, position: int) -> Encoded:
        """The sample at a position of a stream; what lies before it is passed over.

        Args:
            stream: place among this process's streams.
            epoch: from 0.
            position: in the stream's epoch; rises from call to call.

        Raises:
            StoreError, DataError: reading failed.
        """
        return next(sample for place, sample in self._turns[stream] if place == (epoch, position))

    def pump(self) -> None:
        """Ask for more of the coming windows, as far as the limit allows; does not wait."""
        for stream in sorted(range(len(self._coming)), key=self._left.__getitem__):
            coming = self._coming[stream]
            while coming and (piece := _next_piece(coming)):
                if self._ahead_bytes + piece.num_bytes > self._ceiling_bytes:
                    return
                self._ahead_bytes += piece.num_bytes
                self._ask(coming)

    def _load(self, stream: int) -> Iterator[tuple[tuple[int, int], Encoded]]:
        """Epoch and position in it, and the sample whose turn it is there."""
        while (coming := self._coming[stream]) is not None:
            samples, window = self._finish(coming), coming.window
            self._coming[stream] = self._begin(stream)
            for turn, place in enumerate(window.order):
                self._left[stream] = len(window.order) - turn
                yield (window.epoch, window.start + turn), samples[place]

    def _begin(self, stream: int) -> _Coming | None:
        window = next(self._windows[stream], None)
        if window is None:
            return None
        cuts = [self._threads.submit(self._reader.pieces, run) for run in window.runs]
        return _Coming(window, deque(cuts))

    def _finish(self, coming: _Coming) -> list[Encoded]:
        """The window's samples; waits for what is missing."""
        self._ahead_bytes -= coming.num_bytes
        while coming.cuts:
            coming.pieces.extend(coming.cuts.popleft().result())
        while coming.pieces:
            self._ask(coming)
        return [sample for read in coming.reads for sample in read.result()]

    def _ask(self, coming: _Coming) -> None:
        piece = coming.pieces.popleft()
        coming.num_bytes += piece.num_bytes
        coming.reads.append(self._threads.submit(self._reader.read, piece.run))


def _next_piece(coming: _Coming) -> Piece | None:
    """The next piece whose index is known by now."""
    while not coming.pieces and coming.cuts and coming.cuts[0].done():
        coming.pieces.extend(coming.cuts.popleft().result())
    return coming.pieces[0] if coming.pieces else None
