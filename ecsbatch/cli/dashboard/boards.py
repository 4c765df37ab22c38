"""`Boards`: one `Board` for each run that somebody watches, or has just watched."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from ecsbatch.cli.dashboard.board import LAST_WORDS, Board
from ecsbatch.cli.dashboard.stream import Viewer, read_by_all
from ecsbatch.errors import EngineStopped
from ecsbatch.rollout.follower import new_history
from ecsbatch.rollout.history import need_rollout

if TYPE_CHECKING:
    from ecsbatch.model.state import RolloutState
    from ecsbatch.rollout.history import History

KEPT: Final = 60.0
"""Seconds for which a board is kept once nobody watches."""

_IDLE: Final = 8
"""Boards that are kept although nobody watches."""


class Boards:
    """The boards of the runs that somebody watches, or has just watched."""

    def __init__(self, runs: History) -> None:
        """Have none yet."""
        self._runs = runs
        self._boards: dict[str, Board] = {}
        self._users = Counter[Board]()
        self._idle: dict[Board, asyncio.TimerHandle] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._making = asyncio.Lock()
        self._closed = False

    def __len__(self) -> int:
        return len(self._boards)

    def state(self, run_id: str) -> RolloutState | None:
        """Return the state of a run that is followed, once all was read that there was; None for any other."""
        board = self._boards.get(run_id)
        return board.state if board is not None and board.is_whole else None

    @asynccontextmanager
    async def board(self, run_id: str) -> AsyncGenerator[Board]:
        """Have the board of a run for as long as the block lasts; it is kept a minute longer.

        Raises:
            RunNotFound: there is no such run.
            Invalid: it is a run of single restarts.
            StoreError: the store cannot be read.
            EngineStopped: the process is about to end.
        """
        if self._closed:
            raise EngineStopped("The process that shows this page is ending.")
        board = await self._board(run_id)
        self._users[board] += 1
        if (timer := self._idle.pop(board, None)) is not None:
            timer.cancel()
        try:
            yield board
        finally:
            self._users[board] -= 1
            if not self._users[board]:
                self._keep(board)

    async def _board(self, run_id: str) -> Board:
        async with self._making:
            known = self._boards.get(run_id)
            if known is not None and not known.gone:
                return known
            record = need_rollout(await self._runs.record(run_id))
            known = self._boards.get(record.run_id)
            if known is None or known.gone or known.record.created_at != record.created_at:
                known = self._boards[record.run_id] = Board(self._runs, await new_history(self._runs.store, record))
                known.begin()
            return known

    def _keep(self, board: Board) -> None:
        """Keep a board that nobody has a use for now, with some others, for a minute."""
        del self._users[board]
        loop = asyncio.get_running_loop()
        self._idle[board] = loop.call_later(0.0 if board.gone else KEPT, self._drop, board)
        while len(self._idle) > _IDLE:
            self._drop(next(iter(self._idle)))

    def _drop(self, board: Board) -> None:
        self._idle.pop(board).cancel()
        if self._boards.get(board.run_id) is board:
            del self._boards[board.run_id]
        ending = asyncio.get_running_loop().create_task(board.end())
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)

    async def close(self, last: bytes) -> None:
        """Tell all viewers how their runs stand, and ``last``; then end all."""
        self._closed = True
        boards = list(self._boards.values())
        await asyncio.gather(*(board.last_words() for board in boards))
        viewers = list[Viewer]()
        for board in boards:
            viewers += board.audience
            board.audience.close(last)
        await read_by_all(viewers, LAST_WORDS)
        for timer in self._idle.values():
            timer.cancel()
        await asyncio.gather(*(board.end() for board in boards), *self._ending)
