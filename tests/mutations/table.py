"""Every mutant: what it does, the promise that it breaks, and what catches it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from .decisions import DECISIONS
from .freezes import FREEZES
from .holders import HOLDERS
from .looks import LOOKS
from .mutant import Mutant
from .passwords import PASSWORDS
from .shares import SHARES

IN_TIME: Final = "tests/engine/test_in_time.py::"
FOLDS: Final = "tests/model/test_folds.py::"
DISPATCHER: Final = "tests/rollout/test_dispatcher.py::"
DIRECT: Final = "tests/engine/test_direct.py::"
BARRIER: Final = "tests/rollout/test_barrier.py::"
TAKES: Final = "tests/store/test_store_takes.py::"
HIDDEN: Final = "tests/engine/test_hidden.py::"
OBSERVER: Final = "tests/engine/test_observer.py::"
OURS: Final = "tests/engine/test_ours.py::"
TRUST: Final = "tests/engine/test_trust.py::"
SINGLE: Final = "tests/engine/test_single_restarts.py::"
VISIBILITY: Final = "tests/engine/test_visibility.py::"
ABORTS: Final = "tests/rollout/test_aborts.py::"
ORPHANS: Final = "tests/rollout/test_orphans.py::"
STANDBY: Final = "tests/rollout/test_standby.py::"
PRECHECK: Final = "tests/engine/test_triage.py::"
RESTARTS: Final = "tests/model/test_restarts.py::"

# -- never over the quota ----------------------------------------------------------------------------------------------

QUOTA: Final = (
    Mutant(
        name="the ledger outlasts the quickest client alone",
        promise="A request of a process that died counts for as long as its client may have waited for it.",
        file="engine/runtime.py",
        old="max(cloud.request_timeout for cloud in clouds.values())",
        new="min(cloud.request_timeout for cloud in clouds.values())",
        tests=("tests/engine/test_air.py::test_the_record_names_the_longest_timeout_of_all_clients",),
    ),
    Mutant(
        name="tokens run from the grant",
        promise="A window holds no more than the quota, however long a request takes.",
        file="engine/limiter.py",
        old="return Settlement(grant.id, self._cooling)",
        new="return Settlement(grant.id, max(0.001, self._cooling - self.age(grant)))",
        seeds=(26, 31, 0),
    ),
    Mutant(
        name="tokens freed at the answer",
        promise="A token comes back a window after its answer.",
        file="engine/limiter.py",
        old="return Settlement(grant.id, self._cooling)",
        new="return Settlement(grant.id, 0.001)",
        seeds=(26, 25, 0),
    ),
    Mutant(
        name="a late request leaves",
        promise="What stands still between grant and send is dropped unsent: its tokens may be another's by then.",
        file="engine/submitter.py",
        old="if age > SEND_WITHIN else",
        new='if age > float("inf") else',
        tests=(f"{IN_TIME}test_a_request_leaves_soon_after_its_grant_and_for_a_run_that_goes_on_or_not_at_all",),
        seeds=(32, 136, 175),
    ),
    Mutant(
        name="a grant's age runs from when it was heard",
        promise="A grant's age is reckoned by the ledger's clock, from the grant itself.",
        file="engine/producer.py",
        old="self._send(intent.batch_of(grant))",
        new="self._send(intent.batch_of(type(grant)(grant.id, grant.tokens, grant.granted + self._bucket.age(grant))))",
        tests=("tests/engine/test_air.py::test_a_process_that_stands_still_between_grant_and_send_sends_nothing_late",),
        seeds=(41, 37, 30),
    ),
)

# -- never twice by accident, nothing that nobody wants ----------------------------------------------------------------

ONCE: Final = (
    Mutant(
        name="no intent is written",
        promise="The intent is on disk before a request leaves.",
        file="store/sync_store.py",
        old="if grant is not None and transaction.intent is not None:",
        new="if False:",
        seeds=(1, 0, 2),
    ),
    Mutant(
        name="what may be another's by now leaves",
        promise="Trust is looked at between the commit of an intent and its first byte.",
        file="engine/submitter.py",
        old="trusted=queue.journal.trusted",
        new="trusted=True",
        tests=(
            f"{TRUST}test_what_was_committed_and_is_not_trusted_at_the_first_byte_does_not_leave",
            f"{TRUST}test_who_stood_still_while_another_took_its_run_sends_nothing_of_what_it_had_intended",
        ),
    ),
    Mutant(
        name="tokens are asked for in doubt",
        promise="Who may have lost its run wants nothing more.",
        file="engine/intent.py",
        old=" or not queue.journal.trusted",
        new="",
        tests=(f"{TRUST}test_while_it_doubts_nothing_is_asked_for_and_what_is_under_way_is_followed",),
    ),
    Mutant(
        name="a suspend makes no grant older",
        promise="A machine that was suspended between grant and send sends nothing late.",
        file="store/store.py",
        old="max(by_ledger, boottime_of(self._clock) - grant.asked)",
        new="by_ledger",
        tests=(f"{TRUST}test_a_machine_that_was_suspended_between_grant_and_send_sends_nothing_late",),
    ),
    Mutant(
        name="an unanswered request is sent again",
        promise="A request without an answer is settled by the cloud's own record, and never blindly sent again.",
        file="engine/retry.py",
        old='return AfterSubmit(charge, Next.RECONCILE, "")',
        new='return AfterSubmit(charge, Next.AGAIN, "unknown")',
        seeds=(4, 9, 2),
    ),
    Mutant(
        name="a baseline never grows stale",
        promise="Who is sent was looked at a minute ago at most.",
        file="engine/server_queue.py",
        old="return not self.refusals and self.looked_at < now - BASELINE_AGE",
        new="return False",
        tests=(f"{IN_TIME}test_a_look_is_no_baseline_any_more_after_a_while",),
        seeds=(153,),
    ),
    Mutant(
        name="resends begin anew with a holder",
        promise="A server whose requests are lost is sent again twice at most, whoever has the run.",
        file="model/state.py",
        old="        self.last_command = event.command\n",
        new="        self.last_command = event.command\n        self.unstarted.clear()\n",
        tests=(f"{FOLDS}test_how_often_a_request_was_lost_is_no_less_for_a_later_holder",),
        seeds=(8, 23, 9),
    ),
    Mutant(
        name="a look tells of when it was heard",
        promise="What a look says is judged by the instant at which it was asked.",
        file="engine/poller.py",
        old="self._resolver.server(watch, view, look.observed_at, found)",
        new="self._resolver.server(watch, view, self._visibility.observed_time(), found)",
        tests=(f"{OURS}test_a_look_that_was_asked_within_the_grace_and_answered_after_it_is_no_proof",),
    ),
    Mutant(
        name="without a trace nothing was begun",
        promise="Where the cloud tells no time of the last change, nothing is sent again.",
        file="engine/reconcile.py",
        old="return Verdict.NOT_STARTED if view.updated and case.baseline else Verdict.NO_TRACE",
        new="return Verdict.NOT_STARTED",
        tests=("tests/engine/test_reconcile.py::test_one_look_after_another_tells_what_became_of_a_server",),
        seeds=(80,),
    ),
    Mutant(
        name="an earlier request is forgotten",
        promise="What an earlier request of ours began after all is ours, and nobody else's.",
        file="engine/triage.py",
        old="elif attempt is not None and _is_ours(view, attempt):",
        new="elif False and attempt is not None:",
        tests=(f"{PRECHECK}test_a_look_tells_whose_turn_it_is",),
    ),
    Mutant(
        name="a refused request began what it found",
        promise="A restart that was under way before a request is not that request's.",
        file="engine/triage.py",
        old="refused=attempt.refused)",
        new="refused=False)",
        tests=(f"{PRECHECK}test_behind_a_refusal_a_restart_is_ours_but_for_the_one_that_was_under_way_before",),
        seeds=(3863,),
    ),
    Mutant(
        name="the record does not tell a refused request",
        promise="A restart that was under way before a request is not that request's, whoever looks.",
        file="model/server_fold.py",
        old="flight.cloud_time, refused=refused)",
        new="flight.cloud_time)",
        tests=(f"{OURS}test_what_was_under_way_before_a_refusal_is_not_ours_for_the_next_process_either",),
    ),
)

WANTED: Final = (
    Mutant(
        name="nobody is asked at the take",
        promise="Who is about to be sent is asked of its owner as its intent is given to the store.",
        file="engine/intent.py",
        old="for server in [server for server in prechecked.views if not queue.owner.wanted(queue, server)]:",
        new="for server in list[str]():",
        tests=(f"{SINGLE}test_what_nobody_waits_for_any_more_before_it_is_sent_is_left_alone",),
        seeds=(68, 11, 55),
    ),
    Mutant(
        name="left-out servers wait again",
        promise="Nothing is sent to a domain that was left out, whatever brings its servers back.",
        file="model/server_fold.py",
        old="out = [i for i in indexes if self._is_left_out(i)] if self.left_out else []",
        new="out = list[int]()",
        tests=(f"{FOLDS}test_who_waits_in_a_left_out_domain_is_left_out_whatever_brings_it_there",),
        seeds=(59, 98, 37),
    ),
    Mutant(
        name="a dropped queue's request leaves",
        promise="Nothing leaves once its run has ended.",
        file="engine/submitter.py",
        old="    if dropped:\n",
        new="    if False:\n",
        tests=(f"{IN_TIME}test_a_request_leaves_soon_after_its_grant_and_for_a_run_that_goes_on_or_not_at_all",),
    ),
    Mutant(
        name="in the air from the hand-over on",
        promise="A run's end waits for what was given to the store.",
        file="rollout/dispatcher.py",
        old="return sum(queue.in_air for queue in self._queues.values())",
        new="return sum(queue.in_air - bool(queue.given) for queue in self._queues.values())",
        tests=(f"{DISPATCHER}test_an_intent_is_in_the_air_while_the_store_has_it",),
    ),
    Mutant(
        name="claims are ignored",
        promise="No two runs have the same server.",
        file="store/taking.py",
        old="        if in_the_way:\n            raise self._conflict(in_the_way)\n        return len",
        new="        return len",
        tests=(f"{TAKES}test_a_server_is_whose_run_may_still_send_it",),
        seeds=(14, 42, 17),
    ),
    Mutant(
        name="a direct run's claims are void",
        promise="Nobody takes a server that a caller's request may restart.",
        file="store/taking.py",
        old='(record.kind == "direct" and not record.held)',
        new='record.kind == "direct"',
        tests=(f"{TAKES}test_a_server_is_whose_run_may_still_send_it",),
        seeds=(204,),
    ),
    Mutant(
        name="claims without a grant",
        promise="A server is claimed with the tokens for it: who is not sent is anybody's.",
        file="store/sync_store.py",
        old="transaction.claim if transaction.take is None else transaction.claim[: grant.tokens if grant else 0]",
        new="transaction.claim",
        tests=(f"{TAKES}test_a_server_is_claimed_with_the_tokens_for_it_and_not_without",),
        seeds=(113, 85, 55),
    ),
    Mutant(
        name="claims outlive an outcome",
        promise="A claim of a direct restart ends with whatever ends its intent.",
        file="engine/direct_state.py",
        old="servers: Iterable[str] = [event.server]",
        new="servers: Iterable[str] = []",
        tests=(f"{DIRECT}test_a_claim_ends_with_whatever_ends_the_intent",),
        seeds=(13, 32, 11),
    ),
)

# -- never worse than allowed ------------------------------------------------------------------------------------------

ALLOWED: Final = (
    Mutant(
        name="a slot is free at the answer",
        promise="A server keeps its slot in the budget until it is up.",
        file="model/state.py",
        old="return self.run.down",
        new="return sum(stage in {Stage.SUBMITTING, Stage.UNSETTLED} for stage in self.stage) + len(self.held)",
        seeds=(4, 6, 3),
    ),
    Mutant(
        name="failures are not counted",
        promise="Once failures exceed a limit, nothing new starts.",
        file="model/stages.py",
        old="more = (to in FAILURES) - (was in FAILURES and i not in self.forgiven)",
        new="more = 0",
        seeds=(20, 3, 9),
    ),
    Mutant(
        name="a take has not heard of a failure",
        promise="Nothing is granted to who has not heard of a failure: it may be one too many.",
        file="store/sync_store.py",
        old=" or (folded is not None and head.failed_at > folded):",
        new=":",
        tests=(f"{TAKES}test_who_has_not_heard_of_a_failure_gets_no_tokens",),
        seeds=(71,),
    ),
    Mutant(
        name="no soak",
        promise="A wave begins a soak after the one before has ended.",
        file="rollout/barrier.py",
        old="self._soak_until = now + self._session.plan.soak",
        new="self._soak_until = now",
        tests=(f"{BARRIER}test_a_wave_but_the_first_waits_for_the_soak",),
        seeds=(17, 2, 9),
    ),
    Mutant(
        name="a gate that raises says go",
        promise="A gate opens by its go alone.",
        file="rollout/barrier.py",
        old='return "inconclusive", str(e)',
        new='return "go", str(e)',
        tests=(f"{BARRIER}test_a_gate_opens_by_its_go_alone",),
        seeds=(124, 140, 192),
    ),
    Mutant(
        name="held servers are not watched after a resume",
        promise="Whoever takes a run over watches the servers that keep a slot.",
        file="rollout/dispatcher.py",
        old="        for index in self._state.held:\n            self._watch_held(index)\n        return unknown",
        new="        return unknown",
        tests=(f"{DISPATCHER}test_who_keeps_its_slot_is_watched_by_whoever_ends_it_and_by_the_next_holder",),
        seeds=(23, 78),
    ),
    Mutant(
        name="who keeps its slot is not watched",
        promise="A server that keeps its slot is watched by whoever ends it.",
        file="rollout/dispatcher.py",
        old="for server in (*back, event.server) if isinstance(event, ev.ServerEvent) else back:",
        new="for server in back:",
        tests=(f"{DISPATCHER}test_who_keeps_its_slot_is_watched_by_whoever_ends_it_and_by_the_next_holder",),
        seeds=(0, 6, 9),
    ),
)

# -- never stuck, never blind; never lost ------------------------------------------------------------------------------

TRUE: Final = (
    Mutant(
        name="a job's word for all its servers",
        promise="A failed job has restarted members: each server's outcome is its own.",
        file="engine/poller.py",
        old="found = self._resolver.job(watch, ended)",
        new=(
            "found = self._resolver.job(\n"
            '            watch, [sub._replace(succeeded=False) for sub in ended] if job.status == "FAIL" else ended\n'
            "        )"
        ),
        seeds=(20, 11, 22),
    ),
    Mutant(
        name="deadlines run while nothing is seen",
        promise="What cannot be seen is not counted as a failure: the clocks stand still.",
        file="engine/visibility.py",
        old="return self._now() - self._blind_total - blind",
        new="return self._now()",
        tests=(f"{VISIBILITY}test_deadlines_stand_still_from_the_first_failed_look_to_the_next_that_shows_something",),
    ),
    Mutant(
        name="who stands alone blinds the site",
        promise="A server that cannot be shown is told from a site that cannot be seen, though it stands alone.",
        file="engine/observer.py",
        old="server = self._witness(ids, others)\n",
        new="server = self._witness(ids, others)\n        if server is None:\n            return False\n",
        tests=(f"{HIDDEN}test_a_run_of_one_server_that_looks_can_never_show_comes_to_its_end",),
    ),
    Mutant(
        name="one garbled row decides",
        promise="A server is unknown only after enough looks that tell something.",
        file="engine/resolver.py",
        old="and is_garbled(view, baseline.updated)",
        new="and False",
        tests=(f"{HIDDEN}test_a_few_garbled_looks_behind_the_deadline_decide_nothing_and_nothing_waits_for_ever",),
    ),
    Mutant(
        name="a state is believed against a job",
        promise="A server that is found under way again ends as its job says, where that has not told its end.",
        file="engine/triage.py",
        old="            if batch.job_id:\n",
        new="            if False:\n",
        tests=(f"{OURS}test_who_timed_out_and_is_found_under_way_still_ends_as_its_job_says",),
    ),
    Mutant(
        name="every probe has seen the site",
        promise="A failure is told apart by a probe: where that fails too nobody is to blame.",
        file="engine/observer.py",
        old="if self._answered_at >= asked or await self._probe(ids, others):",
        new="if self._answered_at >= asked or await self._probe(ids, others) or True:",
        tests=(f"{OBSERVER}test_an_outage_blinds_and_does_not_multiply_the_requests",),
    ),
    Mutant(
        name="a refusal is blindness",
        promise="Who answers no can be seen.",
        file="engine/observer.py",
        old="            except Refused:\n                self._seen(asked)\n",
        new='            except Refused:\n                self._visibility.failed("refused")\n',
        tests=(f"{OBSERVER}test_one_server_that_cannot_be_shown_costs_the_others_a_few_looks_once",),
        seeds=(40, 28, 32),
    ),
    Mutant(
        name="a hidden job is asked about for ever",
        promise="A job that cannot be shown is given up to its servers' own states.",
        file="engine/resolver.py",
        old="return self.hidden >= (LOOKS_WHEN_OVER if late else LOOKS_WHEN_HIDDEN)",
        new="return False",
        tests=(f"{IN_TIME}test_a_job_that_cannot_be_shown_is_asked_about_so_often_and_no_oftener",),
    ),
    Mutant(
        name="restarts together end no word of before",
        promise="Of a server that was restarted after all nobody says that it was not tried again.",
        file="model/stages.py",
        old="            for i in indexes:\n                self._forget_kept(i)\n",
        new="            pass\n",
        tests=(f"{RESTARTS}test_restarts_that_are_folded_together_leave_the_state_that_they_leave_one_by_one",),
    ),
)

# -- somebody's word ---------------------------------------------------------------------------------------------------

WORDS: Final = (
    Mutant(
        name="an abort that nobody read is dropped",
        promise="An abort outlives the holder that it was asked of.",
        file="rollout/start.py",
        old="abort = None if over or session.state.aborting else _abort(asked)",
        new="abort = None",
        tests=(f"{ABORTS}test_an_abort_that_its_holder_died_before_reading_is_followed_by_the_next",),
        seeds=(10, 13, 73),
    ),
    Mutant(
        name="a later holder forgets an abort",
        promise="An abort on record is followed by every later holder.",
        file="model/state.py",
        old="        self.last_command = event.command\n",
        new="        self.last_command = event.command\n        self.aborting = False\n",
        tests=(f"{FOLDS}test_an_abort_outlives_its_holder",),
    ),
    Mutant(
        name="two words are judged by one state",
        promise="Each word is judged by a state in which the one before is folded.",
        file="rollout/driver.py",
        old="await self._commands.popleft()()",
        new="await asyncio.gather(*[self._commands.popleft()() for _ in range(len(self._commands))])",
        tests=("tests/rollout/test_words.py::test_the_last_word_holds_however_quickly_it_follows",),
        seeds=(96, 176, 231),
    ),
)

# -- whoever starts next goes on with it -------------------------------------------------------------------------------

FOUND: Final = (
    Mutant(
        name="a stop is the last event",
        promise="A run that was broken off with its process is found, whatever was written behind its stop.",
        file="rollout/orphans.py",
        old="        until, piece = after, _READ_AT_ONCE\n",
        new='        return ""\n',
        tests=(
            f"{ORPHANS}test_the_last_stop_counts_however_much_was_written_behind_it",
            f"{STANDBY}test_a_run_whose_servers_came_back_while_its_stop_was_being_written_is_found_all_the_same",
        ),
    ),
    Mutant(
        name="a taking ends with who has asked for it",
        promise="Whoever is ended while it takes orphans leaves them for one that stands by.",
        file="restarter.py",
        old="return await asyncio.shield(taking)",
        new="return await taking",
        tests=(f"{STANDBY}test_one_that_is_ended_while_it_starts_leaves_what_it_was_taking_for_one_that_stands_by",),
    ),
    Mutant(
        name="an abort hides why its run was interrupted",
        promise="A run that was aborted as its process ended is ended by the next one that looks for orphans.",
        file="rollout/driver.py",
        old="self._interruption(was)",
        new='Ending(RunStatus.INTERRUPTED, "interrupted")',
        tests=(f"{ABORTS}test_who_starts_next_ends_a_run_that_was_aborted_just_as_its_process_ended",),
    ),
)

MUTANTS: Final[Sequence[Mutant]] = (
    *QUOTA,
    *ONCE,
    *WANTED,
    *ALLOWED,
    *TRUE,
    *WORDS,
    *FOUND,
    *DECISIONS,
    *FREEZES,
    *PASSWORDS,
    *HOLDERS,
    *SHARES,
    *LOOKS,
)
"""All of them."""
