"""`Board`: one run as a page shows it, followed once for all who watch it, and only while somebody does.

It folds the run's events into a state of its own, from the first on: so it is the same whoever holds the run, whenever
the first viewer came, and behind each restart of this process. Some times a second it makes one message of what has
changed, for all viewers.
"""

from __future__ import annotations

import asyncio
import hashlib
import zlib
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from ecsbatch.cli.dashboard.large_json import json_pieces
from ecsbatch.cli.dashboard.stories import StoryIndex, read_story
from ecsbatch.cli.dashboard.stream import Audience, event_frame
from ecsbatch.errors import RunNotFound, ServerNotFound, StoreError
from ecsbatch.host_loop import TimeSlice, aside
from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model.json_text import json_bytes
from ecsbatch.model.text import MAX_TEXT, printable
from ecsbatch.policy.progress import progress
from ecsbatch.rollout.follower import settle_now
from ecsbatch.rollout.history import explained, need_rollout, usage_of
from ecsbatch.views.page.cells import cell_states
from ecsbatch.views.page.columns import fleet_object
from ecsbatch.views.page.messages import RunMessages
from ecsbatch.views.text import visible_values

if TYPE_CHECKING:
    from ecsbatch.model.plan import Plan
    from ecsbatch.model.quota import Usage
    from ecsbatch.model.recorded import Recorded
    from ecsbatch.model.run import RunRecord
    from ecsbatch.model.state import RolloutState
    from ecsbatch.rollout.follower import RunHistory
    from ecsbatch.rollout.history import History

TICK: Final = 0.25
"""Seconds between two messages."""

LOOK: Final = 1.0
"""Seconds between two looks at what no event says: who holds the run, the freeze, the quota."""

AWAY: Final = 3.0
"""Seconds for which the store may be silent before viewers are told."""

LAST_WORDS: Final = 1.0
"""Seconds that the end of a process has, at most, for what its viewers are still to be told; twice."""

_SHARE: Final = 10
"""A message is made again after so many times what it took, at the earliest."""

_GZIP: Final = 31
"""As zlib calls it: a gzip header before the data."""

GONE: Final = "This run is not in the store any more."


@dataclass(frozen=True, slots=True)
class FleetAnswer:
    """What does not change of a run: its JSON in gzip, and its ETag."""

    body: bytes
    etag: str


def notice_frame(text: str) -> bytes:
    """Return what a page shows above all else for a while; "" ends that."""
    return event_frame("notice", json_bytes({"text": text}))


def silence(what: str) -> str:
    """Return what is told of a store that waits for something."""
    return f"The store has waited for {what} for some time, so that nothing new is seen."


class Board:
    """One run for all who watch it.

    Attributes:
        audience: who watches it.
        gone: True once the run is not in the store any more, or another one has its id.
    """

    def __init__(self, runs: History, history: RunHistory) -> None:
        """Take a history without any event; `begin` follows the run."""
        self.audience = Audience()
        self.gone = False
        self._runs = runs
        self._history = history
        self._caught_up_at = history.record.seq
        self._messages = RunMessages(history.state)
        self._stories = StoryIndex(history.state.plan.fleet)
        history.watchers += [self._messages.apply, self._stories.apply]
        self._turn = asyncio.Lock()
        self._whole = asyncio.Event()
        self._usage: Usage | None = None
        self._faults: dict[str, str] = {}
        self._told_fault = ""
        self._heard_at = 0.0
        self._fleet: FleetAnswer | None = None
        self._tasks: list[asyncio.Task[None]] = []
        if not self._caught_up_at:
            self._whole.set()

    @property
    def is_whole(self) -> bool:
        """True once all events have been read that there were at its begin."""
        return self._whole.is_set() and not self.gone

    @property
    def run_id(self) -> str:
        """The run."""
        return self.record.run_id

    @property
    def record(self) -> RunRecord:
        """The run as the store knew it a moment ago."""
        return self._history.record

    @property
    def state(self) -> RolloutState:
        """The fold over all events that have been read."""
        return self._history.state

    def begin(self) -> None:
        """Follow the run from now on."""
        loop = asyncio.get_running_loop()
        self._heard_at = loop.time()
        parts = {"follow": self._follow, "look": self._look, "tell": self._tell}
        self._tasks = [
            loop.create_task(self._guarded(name, do), name=f"ecsbatch-page-{name}-{self.run_id}")
            for name, do in parts.items()
        ]

    async def end(self) -> None:
        """Stop following."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    # -- following ------------------------------------------------------------------------------------------------

    async def _guarded(self, name: str, do: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Go on where the store is away, and end where the run is; a page never stops what it watches."""
        while not self.gone:
            try:
                await do()
            except RunNotFound:
                self._leave_run()
            except StoreError as e:
                self._note_fault(name, f"The store cannot be read, so that nothing new is seen: {e}")
            except Exception as e:  # noqa: BLE001 - it must not end a rollout, and viewers are told
                self._note_fault(name, f"The page cannot go on ({type(e).__name__}): reload it.")
            await asyncio.sleep(LOOK)

    async def _follow(self) -> None:
        """Fold the run's events until nobody holds it; whoever takes it next is followed, too."""
        work = TimeSlice()
        async with aclosing(self._runs.follow(self.run_id, self.state.seq)) as events:
            async for recorded in events:
                await self._apply(recorded)
                await work.give_way()
        self._note_fault("follow", "")
        self._whole.set()

    async def _apply(self, recorded: Recorded) -> None:
        async with self._turn:
            self._history.apply(recorded)
        if recorded.seq >= self._caught_up_at:
            self._note_fault("follow", "")
            self._whole.set()

    async def _look(self) -> None:
        """Ask the store, every second while somebody watches, for what no event says."""
        await self.audience.some()
        asked = asyncio.create_task(self._look_once())
        try:
            while not (await asyncio.wait([asked], timeout=LOOK))[0]:
                self._note_silence()
        finally:
            asked.cancel()
        await asked
        self._heard_at = asyncio.get_running_loop().time()
        self._note_fault("look", "")

    async def _look_once(self) -> None:
        store, history = self._runs.store, self._history
        record = need_rollout(await store.run(self.run_id))
        if record.created_at != history.record.created_at:
            raise RunNotFound(GONE, run_id=self.run_id)
        history.record = record
        self._usage = await usage_of(store, record, self.state)
        await settle_now(store, history)

    def _note_silence(self) -> None:
        silent = asyncio.get_running_loop().time() - self._heard_at
        if silent >= AWAY:
            self._note_fault("look", silence(self._runs.store.waits_for or "an answer"))

    def _note_fault(self, part: str, text: str) -> None:
        """Note what keeps a part of this from seeing anything, "" once it sees again; viewers are told what is new."""
        if self._faults.get(part, "") == text:
            return
        self._faults[part] = text
        fault = next(filter(None, self._faults.values()), "")
        if fault != self._told_fault:
            self._told_fault = fault
            self.audience.notice(notice_frame(printable(fault, MAX_TEXT)), stays=bool(fault))

    def _leave_run(self) -> None:
        self.gone = True
        self.audience.close(event_frame("resync", json_bytes({"text": GONE})))

    # -- telling --------------------------------------------------------------------------------------------------

    async def _tell(self) -> None:
        """Tell what has changed, four times a second at most; less often where that is much work."""
        clock = asyncio.get_running_loop().time
        await self._whole.wait()
        while not self.gone:
            await self.audience.some()
            begun = clock()
            await self.tell_now()
            self._note_fault("tell", "")
            await asyncio.sleep(max(TICK, _SHARE * (clock() - begun)))

    async def tell_now(self) -> None:
        """Tell all who watch what has changed; those who have just come, or were too slow, all of it."""
        async with self._turn:
            told = self.progress()
            await self._tell_changes(told)
            for after, viewers in self.audience.wanting().items():
                known = after if after <= self.state.seq else 0
                snapshot = await self._aside(partial(self._messages.snapshot, told, known))
                frame = event_frame("snapshot", snapshot, self.state.seq)
                for viewer in viewers:
                    viewer.begin(frame)

    async def _tell_changes(self, told: dict[str, Any]) -> None:
        if not self.audience.are_current:
            self._messages.cells = cell_states(self.state)  # nobody needs to hear of what has changed until now
        changes = await self._aside(partial(self._messages.changes, told))
        if changes is not None:
            self.audience.put(event_frame("changes", changes, self.state.seq))

    async def _aside(self, make: Callable[[], Any]) -> Any:
        """Make a message beside the loop where it is one of many servers; no event is folded meanwhile."""
        return await aside(make, len(self.state.plan.fleet))

    def progress(self) -> dict[str, Any]:
        """Return how the run goes on, with the events that have been read."""
        self._history.settle()
        told = progress(self.state, self._runs.store.wall(), usage=self._usage, held=self.record.held)
        return visible_values(told.as_dict())

    async def last_words(self) -> None:
        """Tell what this process still knows of its run before it ends."""
        if not len(self.audience):
            return
        try:
            async with asyncio.timeout(LAST_WORDS):
                self._caught_up_at = (await self._runs.store.run(self.run_id)).seq
                if self.state.seq < self._caught_up_at:
                    self._whole.clear()
                    await self._whole.wait()
                await self._look_once()
                await self.tell_now()
        except (TimeoutError, StoreError, RunNotFound):
            return

    # -- asked about ----------------------------------------------------------------------------------------------

    async def fleet(self) -> FleetAnswer:
        """Return what does not change of the run."""
        if self._fleet is None:
            plan = self.state.plan
            self._fleet = await aside(partial(_fleet_answer, self.run_id, plan), len(plan.fleet))
        return self._fleet

    async def server(self, index: int) -> dict[str, Any]:
        """Return all that is known of one server, as JSON values.

        Raises:
            ServerNotFound: the run has not so many.
            StoreError: the store cannot be read.
        """
        await self._whole.wait()
        fleet = self.state.plan.fleet
        if index >= len(fleet):
            raise ServerNotFound(f"Run {self.run_id} has no server {index}.", server=str(index), run_id=self.run_id)
        store, server, outcome = self._runs.store, fleet.ids[index], self.state.outcome(index)
        story = await read_story(store, self.run_id, self._stories.numbers(index))
        why = await explained(store, self.record, self.state, server, now=store.wall())
        told = {
            "server": server,
            "name": fleet.name(index),
            "domain": fleet.domain(index),
            "host": outcome.host,
            "outcome": outcome.as_dict(),
            "story": story,
            "explain": why.as_dict(),
        }
        return visible_values(told)


def _fleet_answer(run_id: str, plan: Plan) -> FleetAnswer:
    """Pack it in small steps: this thread is one of a process that restarts servers meanwhile."""
    digest, packer, packed = hashlib.sha256(), zlib.compressobj(6, zlib.DEFLATED, _GZIP), list[bytes]()
    for piece in json_pieces(fleet_object(run_id, plan)):
        digest.update(piece)
        packed.append(packer.compress(piece))
    return FleetAnswer(b"".join([*packed, packer.flush()]), f'"{digest.hexdigest()[:32]}"')
