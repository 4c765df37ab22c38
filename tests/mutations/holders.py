"""Mutants of what keeps several machines from holding one run, each with the scenes and tests that show it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from .mutant import Mutant

KEEPER: Final = "tests/store/test_lease_keeper.py::"
IN_TIME: Final = "tests/engine/test_in_time.py::"
LEASES: Final = "tests/store/test_store_leases.py::"
FAILOVER: Final = "tests/store/test_store_failover.py::"

HOLDERS: Final[Sequence[Mutant]] = (
    Mutant(
        name="no fence is compared",
        promise="Every write looks in its own transaction whether the run is still its writer's.",
        file="store/sync_store.py",
        old="        if fence != lease.fence:\n",
        new="        if False:\n",
        tests=(f"{LEASES}test_a_run_whose_lease_has_run_out_is_orphaned_and_taken_and_its_holder_writes_nothing_more",),
        scenes=(8, 4, 12),
    ),
    Mutant(
        name="no nonce is compared",
        promise="Between a lease and its fence there are seconds in which the holder before writes nothing either.",
        file="store/leases.py",
        old='return row is not None and row[0] == self._us["nonce"] and self.keeper.has(run_id)',
        new="return True",
        tests=(f"{LEASES}test_a_run_that_somebody_is_just_taking_is_not_written_by_its_holder_any_more",),
        scenes=(111,),
    ),
    Mutant(
        name="trust runs from the answer",
        promise="A holder trusts itself from when it sent a renewal: the lease may run from then.",
        file="store/lease_keeper.py",
        old="max(hold.until, beat.sent + TRUST) if ours",
        new="self._boottime() + TRUST if ours",
        tests=(f"{KEEPER}test_trust_runs_from_when_a_renewal_was_sent_and_not_from_its_answer",),
        scenes=(95, 91, 132),
    ),
    Mutant(
        name="a run that is taken anew is held as before",
        promise="A holder that has a run is trusted again: what a late renewal tells of others is over by then.",
        file="store/lease_keeper.py",
        old="            self._holds[run_id] = _Hold(begun=True)\n",
        new="            pass\n",
        tests=(f"{KEEPER}test_a_renewal_that_was_sent_before_a_run_was_taken_anew_says_nothing_of_it",),
        scenes=(4140,),
    ),
    Mutant(
        name="tokens are taken although nobody wants them any more",
        promise="Nobody is sent by a look from before an outage of the database, or in a pause that began in one.",
        file="store/sync_store.py",
        old="if wanted is not None and not wanted():",
        new="if False:",
        tests=(f"{IN_TIME}test_behind_an_outage_of_the_database_nobody_is_sent_by_an_old_look_or_in_a_pause",),
        scenes=(5154,),
    ),
    Mutant(
        name="trust stays after a failed renewal",
        promise="Once a renewal has failed nothing is sent until one succeeds.",
        file="store/lease_keeper.py",
        old="            for hold in beat.holds.values():\n                hold.until = _NEVER",
        new="            pass",
        tests=(f"{KEEPER}test_a_renewal_that_fails_ends_trust_at_once_until_the_next_that_does_not",),
    ),
    Mutant(
        name="a failed renewal counts as none",
        promise="Once a renewal has failed nothing is sent until one succeeds.",
        file="store/lease_keeper.py",
        old="            for hold in beat.holds.values():\n                hold.until = _NEVER",
        new="            for hold in beat.holds.values():\n                hold.until = self._boottime() + TRUST",
        scenes=(56, 95, 98),
    ),
    Mutant(
        name="nobody looks at trust before the first byte",
        promise="What stood still between its intent and its first byte is sent by nobody else's leave.",
        file="engine/submitter.py",
        old="trusted=queue.journal.trusted",
        new="trusted=True",
        tests=(
            "tests/engine/test_trust.py::test_what_was_committed_and_is_not_trusted_at_the_first_byte_does_not_leave",
        ),
    ),
    Mutant(
        name="trust stands still with its machine",
        promise="Trust ends while a machine is suspended.",
        file="store/sqlite.py",
        old="return LeaseLocks(self, nonce, partial(boottime_of, clock), now=self._clock)",
        new="return LeaseLocks(self, nonce, clock.monotonic, now=self._clock)",
        tests=(f"{LEASES}test_a_suspended_machine_trusts_nothing_although_its_clock_stood_still",),
        scenes=(181, 222),
    ),
    Mutant(
        name="a lease is taken while its holder trusts itself",
        promise="Nobody takes a run whose lease has not run out.",
        file="store/leases.py",
        old="        OR leases.lease_until <= :now - :excused ",
        new="        OR leases.lease_until <= :now + 2 - :excused ",
        tests=(f"{LEASES}test_nobody_takes_a_run_whose_lease_has_not_run_out",),
    ),
    Mutant(
        name="a lease that another took is renewed",
        promise="A renewal renews what is ours, and nothing else.",
        file="store/leases.py",
        old="    WHERE nonce = :nonce\n    RETURNING run_id",
        new="    WHERE nonce <> :nonce || ' '\n    RETURNING run_id",
        tests=(f"{LEASES}test_a_renewal_that_finds_another_ends_trust_for_good",),
    ),
    Mutant(
        name="who stood still while it took a run takes it",
        promise="Whoever takes a run piece by piece looks in each transaction whether it is still its own.",
        file="store/taking.py",
        old="            if not self._locks.mine(run_id):\n",
        new="            if False:\n",
        tests=(f"{LEASES}test_whoever_stood_still_while_it_created_a_run_leaves_that_of_another_alone",),
    ),
    Mutant(
        name="a failover is not waited out",
        promise="Where the timeline has changed, tokens wait until none that was forgotten can count.",
        file="store/failover.py",
        old="        if _timeline_of(noted) != timeline or seems_new:",
        new="        if False:",
        scenes=(60, 55, 127),
    ),
    Mutant(
        name="nobody looks again behind a failover",
        promise="Servers that a forgotten request may have restarted are not sent again.",
        file="store/sync_store.py",
        old="        if head.epoch == self._failover.epoch:",
        new="        if True:",
        scenes=(22, 203, 127),
    ),
    Mutant(
        name="what was forgotten is not written again",
        promise="A holder writes again what it remembers, so that its record has no gap.",
        file="store/sync_store.py",
        old="        changed = epoch and (epoch, fence, seq) != (head.epoch, head.fence, head.seq)",
        new="        changed = False",
        scenes=(20, 47, 55),
    ),
    Mutant(
        name="a dead holder's lease is another's for good",
        promise="A taking-over that was forgotten is made again, whoever's row has come back.",
        file="store/leases.py",
        old="        AND lease_until > :now                                           -- sqlite\n",
        new="",
        tests=(f"{FAILOVER}test_a_taking_over_that_was_forgotten_is_made_again",),
    ),
    Mutant(
        name="what a refused write has mended counts as mended",
        promise="A write that is refused takes what was written again with it, and the next one does it anew.",
        file="store/sync_store.py",
        old="            self._fences.pop(write.run_id, None)\n",
        new="",
        tests=(f"{FAILOVER}test_a_write_that_is_refused_does_not_take_the_mending_with_it",),
    ),
    Mutant(
        name="timelines of one name are one",
        promise="Two standbys that were promoted apart are told apart.",
        file="store/failover.py",
        old='    return f"{timeline}:{uuid4().hex[:12]}"',
        new='    return f"{timeline}:"',
        tests=(f"{FAILOVER}test_two_standbys_that_were_promoted_apart_are_told_apart_by_all",),
    ),
    Mutant(
        name="a command has the number of one that was forgotten",
        promise="A command behind a failover is followed, whatever was followed before it.",
        file="store/statements.py",
        old="max(:number, coalesce(max(id), 0) + 1)",
        new="coalesce(max(id), 0) + 1",
        tests=(f"{FAILOVER}test_a_command_behind_a_failover_has_a_number_that_no_forgotten_one_had",),
    ),
    Mutant(
        name="a forgotten freeze is over",
        promise="A freeze that was forgotten is in force again once somebody writes who knows of it.",
        file="store/sync_store.py",
        old="        self._failover.on_lost = self.freezes.write_again\n",
        new="",
        tests=(f"{FAILOVER}test_a_freeze_that_was_forgotten_is_in_force_again_once_somebody_writes_who_knows_of_it",),
    ),
    Mutant(
        name="what is tried again cannot have been sent",
        promise="What a forgotten retry has sent is not sent once more.",
        file="engine/triage.py",
        old="    if attempt is not None and attempt.updated:",
        new="    if attempt is not None:",
        tests=("tests/rollout/test_failovers.py::test_what_a_forgotten_retry_has_sent_is_not_sent_once_more",),
    ),
    Mutant(
        name="who has no lease any more waits for ever",
        promise="A run that waits gets its lease back where a failover has forgotten it.",
        file="engine/journal.py",
        old="        if record.fence != self._lease.fence or not record.held:",
        new="        if record.fence != self._lease.fence:",
        tests=(
            "tests/rollout/test_failovers.py::test_a_run_that_waits_is_not_stuck_where_it_or_its_lease_was_forgotten",
        ),
    ),
)
"""What several machines can break."""
