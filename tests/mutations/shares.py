"""Mutants of how processes divide a quota among themselves, and what catches each."""

from __future__ import annotations

from typing import Final

from .mutant import Mutant

SHARED: Final = "tests/engine/test_shares.py::"
TOGETHER: Final = f"{SHARED}test_all_get_the_same_and_all_of_the_quota_is_used"
TURNS: Final = "tests/store/test_turns.py::"
IN_TURN: Final = f"{TURNS}test_a_request_gets_what_its_share_lacks_and_leaves_the_same_to_those_before_it"
DEAD_TURN: Final = (
    "test_a_process_that_has_died_keeps_its_turn_until_it_would_have_asked_again_and_its_tokens_until_spent"
)

SHARES: Final = (
    Mutant(
        name="a large batch takes a large share",
        promise="Processes get equal shares, whatever the sizes of their batches.",
        file="store/accounting.py",
        old="most = min(request.want, max(lacks, least, limit - held - sum(lack for _, lack in theirs)))",
        new="most = request.want",
        tests=(IN_TURN, TOGETHER),
    ),
    Mutant(
        name="who comes first takes all",
        promise="Those who have fewer are left what their shares lack.",
        file="store/accounting.py",
        old="before = sum(lack for place, lack in theirs if place < mine.place)",
        new="before = 0",
        tests=(IN_TURN, TOGETHER),
    ),
    Mutant(
        name="others wait until a whole batch is free",
        promise="Nobody waits for one who waits for more than a part of its share.",
        file="store/accounting.py",
        old="least = min(_enough(request), max(1, fair // _LEAST_OF_A_SHARE))",
        new="least = _enough(request)",
        tests=(IN_TURN,),
    ),
    Mutant(
        name="a low limit starves",
        promise="A process that has a lower limit than others gets its share of that.",
        file="store/accounting.py",
        old="limit = min(request.limit, *(other.limit for other in others))",
        new="limit = request.limit",
        tests=(IN_TURN, f"{SHARED}test_a_process_with_a_lower_limit_is_not_starved"),
    ),
    Mutant(
        name="who was served wants no more",
        promise="A process that was served and wants more is still counted for its share.",
        file="store/ledger.py",
        old="if shared and wants > tokens:",
        new="if False:",
        tests=(f"{TURNS}test_who_was_served_counts_as_one_that_asks_again_for_half_a_second_if_it_wants_more",),
    ),
    Mutant(
        name="a dead process is waited for",
        promise="The turn of a process that has died ends within 2.5 s.",
        file="store/ledger.py",
        old="_TURN_LASTS: Final = 2.5",
        new="_TURN_LASTS: Final = 25",
        tests=(f"{TURNS}{DEAD_TURN}",),
    ),
    Mutant(
        name="one alone waits for its turn",
        promise="Who shares with nobody writes nothing for it.",
        file="store/ledger.py",
        old="shared = bool(turns or others)",
        new="shared = True",
        tests=(f"{TURNS}test_who_is_alone_has_no_turn",),
    ),
    Mutant(
        name="a process with no worker left reserves tokens",
        promise="Tokens are left to one who can use them now.",
        file="engine/producer.py",
        old="if self._slots.locked():",
        new="if False:",
        tests=(f"{SHARED}test_the_engine_says_how_many_more_it_could_send_and_that_it_could_not_send_them_yet",),
    ),
)
