"""Bugs by which a frozen store would not stop what it must, or would stop more; each is caught by tests it names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from .mutant import Mutant

ENGINE: Final = "tests/engine/test_freezes.py::"
STORE: Final = "tests/store/test_freezes_stored.py::"
AUDIT: Final = "tests/audit/test_replay.py::test_every_broken_promise_is_found"
STANDS: Final = "tests/policy/test_frozen.py::"

FREEZES: Final[Sequence[Mutant]] = (
    Mutant(
        name="a take does not look for a freeze",
        promise="Nobody gets a token of a frozen store.",
        file="store/sync_store.py",
        old="        if freeze is not None:\n            return Shortage(0, None, 0, frozen=freeze)",
        new="        if False:\n            return Shortage(0, None, 0, frozen=freeze)",
        tests=(f"{STORE}test_a_frozen_store_grants_nothing_and_says_who_has_frozen_it",),
    ),
    Mutant(
        name="a freeze never ends by itself",
        promise="A freeze with an end ends by the clock of the store.",
        file="store/freezes.py",
        old="thawed_at = until",
        new="pass",
        tests=(f"{STORE}test_it_ends_by_itself_by_the_clock_of_the_store",),
    ),
    Mutant(
        name="what was granted just before a freeze leaves",
        promise="No request leaves later than a second behind a freeze.",
        file="engine/submitter.py",
        old="why := why or self._bucket.freeze.holds_back(age)",
        new="why := why",
        tests=(f"{ENGINE}test_a_batch_whose_tokens_were_granted_just_before_does_not_leave",),
    ),
    Mutant(
        name="what is not known of a freeze is taken for none",
        promise="A request leaves where it is known that there was no freeze a moment ago.",
        file="engine/freeze_watch.py",
        old="if unknown_for > known_for else",
        new="if False else",
        tests=(f"{ENGINE}test_a_request_leaves_where_it_is_known_that_there_was_no_freeze_a_moment_ago",),
    ),
    Mutant(
        name="a look counts however long it took",
        promise="What a look tells that took long is not what is so now.",
        file="engine/freeze_watch.py",
        old="known_for = KNOWN_FOR + min(self._took, LONGEST_LOOK)",
        new="known_for = KNOWN_FOR + self._took",
        tests=(f"{ENGINE}test_what_a_look_tells_counts_for_a_moment_where_it_did_not_take_long",),
    ),
    Mutant(
        name="an older answer counts for more than a newer one",
        promise="What was heard last is what is known.",
        file="engine/freeze_watch.py",
        old="if asked_at >= self._heard_at:",
        new="if True:",
        tests=(f"{ENGINE}test_an_answer_that_is_older_than_what_was_heard_since_changes_nothing",),
    ),
    Mutant(
        name="tokens are asked for before the thaw is on record",
        promise="First it is on record that the store was thawed, then something is sent.",
        file="engine/limiter.py",
        old="if self.freeze.freeze is not None:",
        new="if False:",
        tests=(f"{ENGINE}test_a_bucket_asks_for_no_tokens_while_a_freeze_is_known",),
    ),
    Mutant(
        name="who takes a run over does not look for a freeze first",
        promise="The record tells of no freeze that is over when something is sent.",
        file="rollout/rollout.py",
        old="            await self._session.look_for_freeze()\n",
        new="",
        tests=(f"{ENGINE}test_whoever_takes_a_run_over_records_first_that_the_store_was_thawed_meanwhile",),
    ),
    Mutant(
        name="a freeze counts as time without an accepted request",
        promise="No deadline counts the time of a freeze.",
        file="engine/pipeline.py",
        old="            queue.unaccepted = None\n        self.wake()",
        new="            pass\n        self.wake()",
        tests=(f"{ENGINE}test_no_deadline_counts_the_time_of_a_freeze",),
    ),
    Mutant(
        name="the engine asks again and again while it is frozen",
        promise="A freeze of an hour costs next to nothing.",
        file="engine/producer.py",
        old="if self._bucket.freeze.freeze is None else None",
        new="",
        tests=(f"{ENGINE}test_a_freeze_of_an_hour_costs_next_to_nothing",),
    ),
    Mutant(
        name="an idle engine looks for a freeze",
        promise="An engine with nothing to do asks for nothing.",
        file="rollout/live_engine.py",
        old="if self.rollouts or runtime.queued or runtime.in_air or runtime.freeze.freeze is not None:",
        new="if True:",
        tests=(f"{ENGINE}test_an_engine_with_nothing_to_do_does_not_ask",),
    ),
    Mutant(
        name="what came back unspent stays counted",
        promise="What a run spent is without what came back.",
        file="store/sync_store.py",
        old="self._spending.took(group, run_id, -tokens, 0, self._moment.stamp())",
        new="pass",
        tests=(f"{STORE}test_what_came_back_unspent_is_not_counted",),
    ),
    Mutant(
        name="the audit does not judge intents of a frozen store",
        promise="Nothing is sent of a frozen store.",
        file="audit/requests.py",
        old="if self._freezes.going_on:",
        new="if False:",
        tests=(AUDIT,),
    ),
    Mutant(
        name="the audit does not judge when a request left a frozen store",
        promise="No request leaves later than a second behind a freeze.",
        file="audit/requests.py",
        old="(late := self._freezes.since_begin(request.sent)) > ON_ITS_WAY",
        new="(late := 0.0) > ON_ITS_WAY",
        tests=(AUDIT,),
    ),
    Mutant(
        name="a run of which nothing waits stands frozen",
        promise="A run is frozen while servers wait that it would send.",
        file="policy/standing.py",
        old="if freeze is None or not state.run.waiting:",
        new="if freeze is None:",
        tests=(f"{STANDS}test_a_run_stands_frozen_while_servers_wait",),
    ),
)
"""About freezes."""
