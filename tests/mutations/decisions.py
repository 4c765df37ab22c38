"""Ten mutants of each table of decisions: what is decided otherwise, and the table that must say so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from .mutant import Mutant

DECIDE: Final = "tests/policy/test_decide.py::"
BUDGET: Final = f"{DECIDE}test_a_wave_goes_on_as_the_budget_allows"
QUEUE: Final = f"{DECIDE}test_what_the_engine_has_at_hand_counts"
CAUSES: Final = f"{DECIDE}test_a_run_ends_here_for_the_first_of_its_causes"
HOLDS: Final = f"{DECIDE}test_a_wave_is_held_until_somebody_promotes_the_run"

PICKER: Final = "tests/policy/test_picker.py::"
DOMAINS: Final = f"{PICKER}test_a_domain_without_room_is_passed_over_and_goes_first_later"
RETURNS: Final = f"{PICKER}test_who_was_picked_and_did_not_go_goes_first"
REST: Final = f"{PICKER}test_a_wave_is_exhausted_when_nobody_is_left_to_pick"

RETRY: Final = "tests/engine/test_retry.py::"
ANSWERS: Final = f"{RETRY}test_a_request_without_a_job_goes_again_stops_or_is_settled"
PAUSES: Final = f"{RETRY}test_pauses_double_until_something_succeeds"

RECONCILE: Final = "tests/engine/test_reconcile.py::"
SIGNS: Final = f"{RECONCILE}test_one_look_after_another_tells_what_became_of_a_server"
UNSEEN: Final = f"{RECONCILE}test_a_server_that_no_look_shows_any_more_is_unknown_whatever_was_seen_before"
TIMES: Final = f"{RECONCILE}test_the_last_change_of_a_server_is_of_the_request_or_of_before_it"

# -- go, wait or stop --------------------------------------------------------------------------------------------------

GO_WAIT_STOP: Final = (
    Mutant(
        name="as many failures as are allowed stop",
        promise="One failure more than allowed stops a run.",
        file="policy/decide.py",
        old="if state.run.failures > limits.max_failures:",
        new="if state.run.failures >= limits.max_failures:",
        tests=(f"{DECIDE}test_failures_stop_a_run_beyond_what_is_allowed",),
    ),
    Mutant(
        name="a blind engine ends an abort",
        promise="An aborting run follows what it still can see.",
        file="policy/decide.py",
        old="if halt is not None and not state.aborting:",
        new="if halt is not None:",
        tests=(CAUSES,),
    ),
    Mutant(
        name="an exceeded limit leaves servers under way",
        promise="A run that stops for its failures waits for the end of all under way.",
        file="policy/decide.py",
        old='f"{exceeded}.", drain=True)',
        new='f"{exceeded}.")',
        tests=(CAUSES,),
    ),
    Mutant(
        name="a failed server is awaited",
        promise="Only whom somebody else restarts may come back by itself.",
        file="policy/decide.py",
        old="if (outcome := state.outcome(i)).reason in _ON_THEIR_WAY",
        new="if (outcome := state.outcome(i)).ended_at is not None",
        tests=(f"{DECIDE}test_a_full_budget_is_awaited_while_others_may_give_it_back",),
    ),
    Mutant(
        name="who has ended takes no slot",
        promise="Who has failed and may be down keeps its slot of the budget.",
        file="policy/decide.py",
        old="limits.max_unavailable - state.down - offered, ahead",
        new="limits.max_unavailable - state.run.in_flight - offered, ahead",
        tests=(BUDGET,),
    ),
    Mutant(
        name="who is queued takes no slot",
        promise="Who is in the engine's queue takes a slot of the budget, as if it were down.",
        file="policy/decide.py",
        old="limits.max_unavailable - state.down - offered, ahead",
        new="limits.max_unavailable - state.down, ahead",
        tests=(QUEUE,),
    ),
    Mutant(
        name="another wave's server gives nothing back",
        promise="While a server of whatever wave is under way a full budget waits for it.",
        file="policy/decide.py",
        old="and not offered and not state.run.in_flight:",
        new="and not offered and not wave.in_flight:",
        tests=(BUDGET,),
    ),
    Mutant(
        name="a zone without a limit has no room",
        promise="A zone that the limits do not name has the slots of the run.",
        file="policy/decide.py",
        old="limits.max_unavailable_per_domain.get(domain, limits.max_unavailable)",
        new="limits.max_unavailable_per_domain.get(domain, 0)",
        tests=(f"{DECIDE}test_a_zone_has_room_for_so_many_more",),
    ),
    Mutant(
        name="a hold ends with a wave that is passed over",
        promise="A hold outlives waves that are passed over.",
        file="policy/decide.py",
        old="while first > 1 and left_out_whole(state, first):",
        new="while first > wave and left_out_whole(state, first):",
        tests=(HOLDS,),
    ),
    Mutant(
        name="one word passes every hold",
        promise="Each hold wants a word of its own.",
        file="policy/decide.py",
        old="in state.plan.hold_after and state.promoted <= number for",
        new="in state.plan.hold_after and not state.promoted for",
        tests=(HOLDS,),
    ),
)

# -- whom to take next -------------------------------------------------------------------------------------------------

WHOM_NEXT: Final = (
    Mutant(
        name="the last that was passed over goes first",
        promise="Who was passed over goes in the plan's order.",
        file="policy/picker.py",
        old="return min(open_)[1] if open_ else None",
        new="return max(open_)[1] if open_ else None",
        tests=(DOMAINS,),
    ),
    Mutant(
        name="who is passed over is lost",
        promise="Who was passed over goes once its domain has room.",
        file="policy/picker.py",
        old="self._passed.setdefault(domain, deque()).append(index)",
        new="pass",
        tests=(DOMAINS,),
    ),
    Mutant(
        name="a pick takes no room",
        promise="Whom a pick takes of a domain counts in its room.",
        file="policy/picker.py",
        old="taken[domain] = taken.get(domain, 0) + 1",
        new="taken[domain] = 0",
        tests=(DOMAINS,),
    ),
    Mutant(
        name="a full domain has room for one",
        promise="A domain without room is passed over.",
        file="policy/picker.py",
        old="room(domain) > taken.get(domain, 0)",
        new="room(domain) >= taken.get(domain, 0)",
        tests=(DOMAINS,),
    ),
    Mutant(
        name="who waits no more is taken",
        promise="Only who waits is taken.",
        file="policy/picker.py",
        old="            if self._waiting(index):\n",
        new="            if index >= 0:\n",
        tests=(f"{PICKER}test_servers_go_in_the_plans_order",),
    ),
    Mutant(
        name="who waits no more is kept",
        promise="Who waits no more is not kept for later: the wave has nobody left.",
        file="policy/picker.py",
        old="            elif self._waiting(index):\n",
        new="            else:\n",
        tests=(REST,),
    ),
    Mutant(
        name="who comes back goes last",
        promise="Who comes back goes before those of its domain who were passed over behind it.",
        file="policy/picker.py",
        old="deque()).appendleft(index)",
        new="deque()).append(index)",
        tests=(RETURNS,),
    ),
    Mutant(
        name="those who come back go backwards",
        promise="Those who come back go in the plan's order.",
        file="policy/picker.py",
        old="for server in servers), reverse=True):",
        new="for server in servers)):",
        tests=(RETURNS,),
    ),
    Mutant(
        name="nobody asks for those passed over",
        promise="A wave is not exhausted while somebody of it was passed over.",
        file="policy/picker.py",
        old="return self._next >= self._end and not any(self._passed.values())",
        new="return self._next >= self._end",
        tests=(REST,),
    ),
    Mutant(
        name="a wave goes on into the next",
        promise="A wave gives its own servers.",
        file="policy/picker.py",
        old="self._end = wave.end",
        new="self._end = len(fleet)",
        tests=(f"{PICKER}test_a_wave_gives_its_own_servers",),
    ),
)

# -- what follows an answer --------------------------------------------------------------------------------------------

WHAT_FOLLOWS: Final = (
    Mutant(
        name="a request that never left is charged",
        promise="No byte has left, so nothing is charged.",
        file="engine/retry.py",
        old='AfterSubmit(Charge.REFUND, Next.AGAIN, "not_sent")',
        new='AfterSubmit(Charge.ANSWERED, Next.AGAIN, "not_sent")',
        tests=(ANSWERS,),
    ),
    Mutant(
        name="a 429 gives its tokens back",
        promise="A 429 has counted the request.",
        file="engine/retry.py",
        old='AfterSubmit(Charge.ANSWERED, Next.AGAIN, "throttled")',
        new='AfterSubmit(Charge.REFUND, Next.AGAIN, "throttled")',
        tests=(ANSWERS,),
    ),
    Mutant(
        name="a bad key is tried again",
        promise="A key that is not accepted stops: failures in a row lock it.",
        file="engine/retry.py",
        old='AfterSubmit(Charge.ANSWERED, Next.STOP, "auth")',
        new='AfterSubmit(Charge.ANSWERED, Next.AGAIN, "auth")',
        tests=(ANSWERS,),
    ),
    Mutant(
        name="a refusal stops the run",
        promise="A refusal says that nothing began, so its servers are looked at first.",
        file="engine/retry.py",
        old='AfterSubmit(Charge.ANSWERED, Next.LOOK, "refused")',
        new='AfterSubmit(Charge.ANSWERED, Next.STOP, "refused")',
        tests=(ANSWERS,),
    ),
    Mutant(
        name="a part that failed is a refusal of all",
        promise="A batch that failed in part does not say what of it began.",
        file="engine/retry.py",
        old="case Refused() if error.code not in PARTIAL:",
        new="case Refused():",
        tests=(ANSWERS,),
    ),
    Mutant(
        name="silence is charged as an answer",
        promise="A request without an answer may be counted late, and so its tokens come back late.",
        file="engine/retry.py",
        old="charge = Charge.ANSWERED if error.answered else Charge.GIVEN_UP",
        new="charge = Charge.ANSWERED",
        tests=(ANSWERS,),
    ),
    Mutant(
        name="a locked server is a failure",
        promise="A locked server is rightly left alone.",
        file="engine/retry.py",
        old='    "Ecs.0605": SkipReason.LOCKED,\n',
        new="",
        tests=(f"{RETRY}test_a_server_that_is_refused_alone_is_skipped_where_its_code_says_why",),
    ),
    Mutant(
        name="a pause has no longest",
        promise="No pause is longer than the longest.",
        file="engine/retry.py",
        old="pause = min(self._most, self._first * 2.0 ** min(self._failures, 16))",
        new="pause = self._first * 2.0 ** min(self._failures, 16)",
        tests=(PAUSES,),
    ),
    Mutant(
        name="a success changes no pause",
        promise="After a success pauses begin anew.",
        file="engine/retry.py",
        old='pause is the first."""\n        self._failures = 0',
        new='pause is the first."""',
        tests=(PAUSES,),
    ),
    Mutant(
        name="pauses are all certain",
        promise="Half of a pause is left to chance: two that fail together do not come back together.",
        file="engine/retry.py",
        old="return pause * (0.5 + self._chance.random() / 2)",
        new="return pause",
        tests=(PAUSES, f"{RETRY}test_two_that_have_failed_together_do_not_come_back_together"),
    ),
)

# -- what has become of a request without an answer --------------------------------------------------------------------

WHAT_BECAME: Final = (
    Mutant(
        name="a restart that was seen is forgotten",
        promise="A server that was seen in reboot and is up was restarted.",
        file="engine/reconcile.py",
        old="sign = restarting or case.under_way or moved(",
        new="sign = restarting or moved(",
        tests=(SIGNS,),
    ),
    Mutant(
        name="an old change is a sign",
        promise="A change of before the request is no sign of it.",
        file="engine/reconcile.py",
        old="return at is None or at >= cloud_time - CLOCK_TOLERANCE",
        new="return True",
        tests=(SIGNS, TIMES),
    ),
    Mutant(
        name="any time is a change",
        promise="Where nothing is known of before, a time alone tells nothing.",
        file="engine/reconcile.py",
        old="return bool(baseline)",
        new="return True",
        tests=(TIMES,),
    ),
    Mutant(
        name="a running job is not believed",
        promise="Whose job runs is under way, though no look shows it.",
        file="engine/reconcile.py",
        old="if sign or case.running:",
        new="if sign:",
        tests=(SIGNS,),
    ),
    Mutant(
        name="no restart times out",
        promise="Who is not up after its deadline has timed out.",
        file="engine/reconcile.py",
        old="return Verdict.TIMED_OUT if case.late else Verdict.UNDER_WAY",
        new="return Verdict.UNDER_WAY",
        tests=(SIGNS,),
    ),
    Mutant(
        name="no request begins late",
        promise="A request that was given up may begin until its grace is over.",
        file="engine/reconcile.py",
        old="if case.given_up_for <= case.grace or case.looks",
        new="if case.looks",
        tests=(SIGNS,),
    ),
    Mutant(
        name="one look is enough",
        promise="Three looks without a sign are needed before a server is sent again.",
        file="engine/reconcile.py",
        old="if case.given_up_for <= case.grace or case.looks < LOOKS_NEEDED:",
        new="if case.given_up_for <= case.grace or not case.looks:",
        tests=(SIGNS,),
    ),
    Mutant(
        name="another action hides nothing",
        promise="What another action does to a server may hide its restart.",
        file="engine/reconcile.py",
        old="if view.task_state:",
        new="if False and view.task_state:",
        tests=(SIGNS,),
    ),
    Mutant(
        name="a broken server has restarted",
        promise="A server that our restart has broken has failed.",
        file="engine/reconcile.py",
        old="        return Verdict.FAILED\n",
        new="        return Verdict.RESTARTED\n",
        tests=(SIGNS,),
    ),
    Mutant(
        name="a hidden server is given up at once",
        promise="A server that no look shows is unknown only after its deadline, its grace and eight looks.",
        file="engine/reconcile.py",
        old="over = case.late and case.given_up_for > case.grace and case.looks >= LOOKS_IN_VAIN",
        new="over = case.late",
        tests=(UNSEEN,),
    ),
)

DECISIONS: Final[Sequence[Mutant]] = (*GO_WAIT_STOP, *WHOM_NEXT, *WHAT_FOLLOWS, *WHAT_BECAME)
"""All of them."""
