"""The journal: one record per ended exchange, in memory that outlives this process.

Rule: a record is in the mapped file when `append` returns, so kill -9 cannot take it; the disk
follows within a tenth of a second, off the event loop. Nothing here ever raises into an exchange:
a journal that cannot be written is down, says so once, and is tried again.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar
from zlib import crc32

import structlog

from app import loops
from app.recording import checkpoint
from app.recording.checkpoint import Checkpoint
from app.recording.journal_files import SEGMENT_RECORDS, BootFolder, Segment, checkpoint_path
from app.recording.journal_record import BODY, HEADER, RECORD, ArmName, arm_records
from app.recording.recorder import Recorder

SYNC_EVERY_S: Final = 0.1
TRY_AGAIN_S: Final = 3.0
# A disk that takes longer for one look hangs.
TEND_MAX_S: Final = 60.0
# Lines of a checkpoint between two pauses: about a millisecond.
_LINES_AT_ONCE: Final = 100

_NOT_YET: Final = "no segment was ready in time"

_T = TypeVar("_T")

log = structlog.get_logger()


class Journal:  # ADR 0050
    """One boot's journal.

    Attributes:
        is_up: Whether records are written.
    """

    __slots__ = (
        "_at",
        "_boot",
        "_discarded",
        "_end",
        "_filled",
        "_folder",
        "_following",
        "_journals",
        "_last_number",
        "_memory",
        "_monotonic",
        "_numbers",
        "_recorder",
        "_records",
        "_segment",
        "_silent",
        "_synced_to",
        "_try_at",
        "_uncovered",
        "_why_nothing_follows",
        "_words",
        "_worker",
        "is_up",
    )

    def __init__(
        self,
        journals: Path,
        boot: str,
        recorder: Recorder,
        *,
        records: int = SEGMENT_RECORDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing is written until `open`.

        Args:
            journals: Folder of all boots' journals.
            boot: A UUID of this process' life, hexadecimal.
            recorder: What is journalled; it gets its journal by `open`.
            records: Room in one segment.
            monotonic: Seconds.
        """
        self._journals = journals
        self._boot = boot
        self._recorder = recorder
        self._records = records
        self._monotonic = monotonic
        self._folder: BootFolder | None = None
        self._numbers: dict[ArmName, int] = {}
        self._last_number = 0
        self._segment: Segment | None = None
        self._following: Segment | None = None
        self._filled: list[Segment] = []
        self._discarded: list[Segment] = []
        self._uncovered: tuple[int, Checkpoint] | None = None
        self._memory = memoryview(b"")
        self._words = memoryview(b"")
        self._at = 0
        self._end = 0
        self._synced_to = 0
        self._why_nothing_follows = _NOT_YET
        self._try_at = float("-inf")
        self._silent = False
        # One thread: what it is given is done in order, also when nobody waits for it any more.
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal")
        self.is_up = False

    # ------------------------------------------------------------------ on the way of an exchange

    def append(self, body: bytes) -> None:
        """Write one record; a full segment is left for the next one, with a checkpoint of what is counted by now.

        Args:
            body: All of it but the checksum, see app.recording.journal_record.
        """
        if not self.is_up:
            return
        at = self._at
        self._memory[at : at + BODY] = body
        # The checksum comes last: without it there is no record.
        self._words[(at + BODY) >> 2] = crc32(body)
        self._at = at = at + RECORD
        if at >= self._end:
            self._turn()

    def number(self, arm: ArmName) -> int:
        """The number that stands for an arm in this boot's records."""
        number = self._numbers.get(arm)
        if number is None:
            self._last_number = number = self._last_number + 1
            self._numbers[arm] = number
            self._introduce(arm)
        return number

    def _introduce(self, arm: ArmName) -> None:
        for body in arm_records(self._numbers[arm], arm):
            self.append(body)

    def _turn(self) -> None:
        """Go on in the next segment."""
        following = self._following
        if self._segment is None or following is None:
            self._fall(self._why_nothing_follows)
            return
        self._following = None
        self._filled.append(self._segment)
        self._take_up(following)

    def _take_up(self, segment: Segment) -> None:
        """Write to this segment from now on; all that was counted until now has to go into its checkpoint."""
        self._segment = segment
        self._memory = segment.memory
        self._words = segment.words
        self._at = self._synced_to = HEADER
        self._end = segment.end
        self._uncovered = (segment.number, self._recorder.checkpoint())
        live = self._recorder.arms()
        self._numbers = {arm: number for arm, number in self._numbers.items() if arm in live}
        for arm in self._numbers:
            self._introduce(arm)

    def _fall(self, why: str) -> None:
        """Count in memory only from now on; what is written stays for a recovery."""
        self._release()
        self._say_down(why)

    def _release(self) -> None:
        self.is_up = False
        # The worker may still be syncing them.
        self._discarded += [each for each in (self._segment, self._following, *self._filled) if each is not None]
        self._segment = self._following = self._uncovered = None
        self._filled.clear()
        self._memory = self._words = memoryview(b"")
        self._at = self._end = 0

    def _say_down(self, why: str) -> None:
        self._try_at = self._monotonic() + TRY_AGAIN_S
        if not self._silent:
            self._silent = True
            log.error("journal.down", why=why, retry_s=TRY_AGAIN_S)

    # ------------------------------------------------------------------ beside the exchanges

    async def run(self) -> None:
        """Keep it on the disk, bounded and up, until cancelled."""
        while True:
            loops.beat()
            await asyncio.sleep(SYNC_EVERY_S)
            await self.tend()

    async def open(self) -> None:
        """Begin, best before anything is counted; a failure is no reason not to serve."""
        self._recorder.journal = self
        try:
            if self._folder is None or not self._folder.path.exists():
                self._folder = await self._beside(BootFolder.create, self._journals, self._boot)
            segment = await self._beside(self._make_segment)
        except OSError as failed:
            self._say_down(str(failed))
            return
        self.is_up = True
        self._take_up(segment)
        if self._silent:
            self._silent = False
            log.warning("journal.up")
        await self.tend()

    async def tend(self) -> None:
        """Look once at everything that does not belong on an exchange's way."""
        try:
            if self._recorder.wants_coarsening:
                await self._coarsen()
            if self.is_up:
                await self._sync()
                await self._cover()
                await self._prepare()
            elif self._monotonic() >= self._try_at:
                await self._empty_if_held()
                await self.open()
        except OSError as failed:
            self._fall(str(failed))
        for segment in self._discarded:
            segment.close()
        self._discarded.clear()

    async def close(self) -> None:
        """End; with everything in Postgres, nothing stays behind."""
        self._release()
        for segment in self._discarded:
            await self._beside(segment.close)
        self._discarded.clear()
        if self._folder is not None:
            all_written = self._recorder.waiting == 0
            await self._beside(self._folder.delete if all_written else self._folder.let_go)
        self._worker.shutdown()

    async def _sync(self) -> None:
        segment, at = self._segment, self._at
        if segment is not None and at != self._synced_to:
            await self._beside(segment.sync)
            if self._segment is segment:
                self._synced_to = at

    async def _cover(self) -> None:
        """Write the checkpoint that a new segment began with, and delete what it makes superfluous."""
        uncovered = self._uncovered
        if uncovered is None or self._folder is None:
            return
        number, known = uncovered
        lines = bytearray()
        for count, line in enumerate(known.lines(), 1):
            lines += line
            if count % _LINES_AT_ONCE == 0:
                await asyncio.sleep(0)
        await self._beside(checkpoint.write, checkpoint_path(self._folder.path, number), bytes(lines))
        # By number: a compiled tuple is no object that stays the same.
        if self._uncovered is not None and self._uncovered[0] == uncovered[0]:
            self._uncovered = None
        self._recorder.is_held = False
        self._discarded += [segment for segment in self._filled if segment.number < number]
        self._filled = [segment for segment in self._filled if segment.number >= number]
        await self._beside(self._folder.delete_before, number)

    async def _prepare(self) -> None:
        """Have the next segment ready; room for it is looked for long before it is needed."""
        if self._following is not None or self._filled or self._monotonic() < self._try_at:
            return
        try:
            following = await self._beside(self._make_segment)
        except OSError as failed:
            self._why_nothing_follows = str(failed)
            self._try_at = self._monotonic() + TRY_AGAIN_S
            return
        self._why_nothing_follows = _NOT_YET
        if self.is_up:
            self._following = following
        else:
            self._discarded.append(following)

    def _make_segment(self) -> Segment:
        """The segment after all there are. Raises: OSError."""
        if self._folder is None:
            raise FileNotFoundError(self._journals)
        number = max(self._folder.numbered("segment"), default=0) + 1
        return Segment(self._folder.path, self._boot, number, self._records)

    async def _coarsen(self) -> None:
        """Merge rows, so that no replay ever sees both the old and the new ones."""
        recorder = self._recorder
        if self.is_up and self._following is not None:
            recorder.is_held = True
            recorder.coarsen()
            self._turn()
            return
        if self.is_up:
            if self._why_nothing_follows == _NOT_YET:
                return
            self._fall(self._why_nothing_follows)
        was_held = recorder.is_held
        recorder.is_held = True
        try:
            await self._empty_if_held()
        except OSError:
            recorder.is_held = was_held
            recorder.drop_oldest()
        else:
            recorder.coarsen()

    async def _empty_if_held(self) -> None:
        """Forget rows that were merged before a checkpoint said so. Raises: OSError."""
        if self._recorder.is_held:
            if self._folder is not None:
                await self._beside(self._folder.empty)
            self._recorder.is_held = False

    async def _beside(self, do: Callable[..., _T], *given: object) -> _T:
        """Do it in the worker, off the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._worker, do, *given)
