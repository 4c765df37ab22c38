"""What is old, late or in vain: what may still be sent, and what is still asked about, each decision as a table."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from world import World, Wrapper

from ecsbatch.config.settings import Strategy
from ecsbatch.engine.limiter import SEND_WITHIN, TokenBucket
from ecsbatch.engine.resolver import LOOKS_WHEN_HIDDEN, LOOKS_WHEN_OVER, JobWatch
from ecsbatch.engine.server_queue import BASELINE_AGE, Prechecked
from ecsbatch.engine.submitter import held_back
from ecsbatch.model import events as ev
from ecsbatch.model.quota import Quota
from ecsbatch.model.run import Committed, Lease, Transaction
from ecsbatch.model.servers import ServerView
from ecsbatch.model.tokens import Grant


@pytest.mark.parametrize(
    ("age", "refusals", "stale"),
    [
        (0.0, 0, False),
        (BASELINE_AGE - 1.0, 0, False),
        (BASELINE_AGE, 0, False),
        (BASELINE_AGE + 1.0, 0, True),
        (3600.0, 0, True),
        # What was refused was looked at because of that: it is halved as it is, until the offender stands alone.
        (3600.0, 1, False),
    ],
)
def test_a_look_is_no_baseline_any_more_after_a_while(age: float, refusals: int, *, stale: bool) -> None:
    assert Prechecked({"a": ServerView("a")}, 1000.0, refusals).stale(1000.0 + age) is stale


@pytest.mark.parametrize(
    ("age", "dropped", "trusted", "says"),
    [
        (0.0, False, True, ""),
        (SEND_WITHIN - 0.1, False, True, ""),
        (SEND_WITHIN, False, True, ""),
        (SEND_WITHIN + 0.1, False, True, "too long had passed since its tokens were granted"),
        (158.0, False, True, "too long had passed since its tokens were granted"),
        (0.0, False, False, "another process may have taken its run"),
        (158.0, False, False, "another process may have taken its run"),
        (0.0, True, True, "its run has ended"),
        (158.0, True, False, "its run has ended"),
    ],
)
def test_a_request_leaves_soon_after_its_grant_and_for_a_run_that_goes_on_or_not_at_all(
    age: float,
    dropped: bool,  # noqa: FBT001 - the table's
    trusted: bool,  # noqa: FBT001 - the table's
    says: str,
) -> None:
    assert held_back(age, dropped=dropped, trusted=trusted) == says


class Dated:
    """A ledger that knows how old a grant is, not exactly."""

    def __init__(self, least: float, most: float) -> None:
        self._least, self._most = least, most

    def least_age(self, _grant: Grant) -> float:
        """Return the least that it can be."""
        return self._least

    def age(self, _grant: Grant) -> float:
        """Return the most that it can be."""
        return self._most


@pytest.mark.parametrize(
    ("least", "most", "seconds"),
    [
        (0.0, 0.0, 35.0),
        (20.0, 20.0, 15.0),
        (20.0, 34.9, 15.0),  # the database has answered slowly: what may still be on its way is waited for
        (35.0, 40.0, 0.0),
        (9000.0, 9000.0, 0.0),
        (-0.5, 3.0, 35.0),  # a promoted standby's clock is behind
        (-9000.0, -9000.0, 35.0),
    ],
)
async def test_a_request_whose_end_nobody_here_has_heard_is_given_all_the_time_that_it_may_take(
    least: float, most: float, seconds: float
) -> None:
    ledger: Any = Dated(least, most)
    bucket = TokenBucket(ledger, "site", Quota(100, 60.0), request_timeout=35.0 - SEND_WITHIN)

    assert bucket.in_air_for(Grant("g", 10, 0.0)) == seconds


@pytest.mark.parametrize(
    ("hidden", "late", "in_vain"),
    [
        (LOOKS_WHEN_OVER, False, False),
        (LOOKS_WHEN_HIDDEN - 1, False, False),
        (LOOKS_WHEN_HIDDEN, False, True),
        (LOOKS_WHEN_OVER - 1, True, False),
        (LOOKS_WHEN_OVER, True, True),
    ],
)
def test_a_job_that_cannot_be_shown_is_asked_about_so_often_and_no_oftener(
    hidden: int,
    late: bool,  # noqa: FBT001 - the table's
    in_vain: bool,  # noqa: FBT001 - the table's
) -> None:
    nobodys: Any = None

    assert JobWatch(nobodys, 0.0, {"a"}, 1, hidden=hidden).in_vain(late=late) is in_vain


class Away(Wrapper):
    """A store whose database is away for a while when the first tokens are asked for.

    Attributes:
        seconds: how long.
    """

    seconds = BASELINE_AGE + 1.0

    def commit(self, lease: Lease, transaction: Transaction, *, folded: int | None = None) -> asyncio.Future[Committed]:
        """Write once it is back."""

        async def later() -> Committed:
            if transaction.take is not None:
                seconds, self.seconds = self.seconds, 0.0
                await asyncio.sleep(seconds)
            done: Committed = await self.inner.commit(lease, transaction, folded=folded)
            return done

        return asyncio.ensure_future(later())


@pytest.mark.parametrize("pauses", [False, True])
def test_behind_an_outage_of_the_database_nobody_is_sent_by_an_old_look_or_in_a_pause(*, pauses: bool) -> None:
    world, sent = World(servers=1), list[float]()

    async def main() -> None:
        async with world.client() as client, world.store() as store, world.engine(client, Away(store)) as restarter:
            rollout = restarter.rollout(world.ids, Strategy(max_unavailable="100%", waves="100%"))
            running = asyncio.create_task(rollout.run())
            if pauses:
                await asyncio.sleep(BASELINE_AGE / 2)
                rollout.pause()
                await asyncio.sleep(300)
                rollout.resume()
            await running
            events = [recorded async for recorded in rollout.events()]
            sent.extend(each.ts - world.config.epoch for each in events if isinstance(each.event, ev.BatchSubmitting))

    world.live(main)

    assert [at > (300 if pauses else BASELINE_AGE) for at in sent] == [True]
    assert world.cloud.auditor.looks["servers"] == 2
