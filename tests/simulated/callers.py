"""What a caller was told of one server is what the cloud did, before and afterwards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from ecsbatch.errors import EngineStopped, RunConflict
from ecsbatch.model.outcome import Outcome, OutcomeKind

from .evidence import Case, Restart
from .play import Told
from .run_log import Intent, RunLog
from .sight import UNACCEPTED, UNSEEN, unseen_for

GIVEN: Final = 1.0
"""Seconds in which what was given to the store when a caller went away becomes durable."""


def judge_callers(case: Case) -> Iterator[str]:
    """Compare what callers heard with the cloud's books."""
    record = case.record
    disk_full = record.tally["writes that found a full disk"] > 0
    for told in record.told:
        how, name = told.how, f"{told.ask.server[:8]} asked for in life {told.life}"
        if isinstance(how, Outcome):
            wrong = _untrue(case, told, how) or _untrue_later(case, told, how)
            if wrong:
                yield f"caller: {name} was told {how.kind} {how.reason}, but {wrong}"
        elif told.cancelled or isinstance(how, TimeoutError):
            if told.ask.patience is None and isinstance(how, TimeoutError):
                yield f"caller: {name} timed out without a timeout"
        elif isinstance(how, RunConflict) and (owner := _refused_for(case, told, how)):
            yield f"caller: {name} was refused for {owner}, which did not have it"
        elif not (told.doomed or isinstance(how, RunConflict | EngineStopped) or disk_full or _typed(how)):
            yield f"caller: {name} heard {how!r}"
    for tale in case.tales.values():
        if tale.kind == "direct":
            yield from _for_nobody(case, tale)


def _refused_for(case: Case, told: Told, how: RunConflict) -> str:
    """Return the direct run for which a caller was refused although nothing of it was under way; "" where one was."""
    owner = next((tale for tale in case.tales.values() if tale.kind == "direct" and tale.run_id in str(how)), None)
    if owner is None:
        return ""
    rounds = [one for one in owner.rounds if one.server == told.ask.server]
    since = case.seen_since(told.asked, GIVEN)
    had = any(
        one.batches and owner.intents[one.batches[0]].at <= told.heard and (one.fact is None or one.fact.at >= since)
        for one in rounds
    )
    return "" if had else owner.run_id


def _typed(error: BaseException) -> bool:
    """Tell whether a caller was refused since the server is being restarted with another type."""
    return "HARD" in str(error) or "SOFT" in str(error)


def _untrue(case: Case, told: Told, how: Outcome) -> str:
    restarts = [one for one, _ in case.begun.get(told.ask.server, ()) if one.at <= told.heard]
    somebody = any(begin <= told.heard for begin, _ in case.foreign(told.ask.server))
    if how.kind is OutcomeKind.RESTARTED:
        return "" if restarts or somebody else "it was never restarted"
    if how.reason == "not_begun":
        # What another run began before this caller asked is another matter.
        return "it was begun" if any(one.at >= told.asked for one in restarts) else ""
    if how.reason in UNSEEN and not how.message.startswith(UNACCEPTED):
        return unseen_for(case, [told.ask.server], told.heard, how.reason)
    if how.kind in {OutcomeKind.FAILED, OutcomeKind.TIMED_OUT} and how.reason not in {"refused", "denied"}:
        return "" if restarts or somebody else "nothing was begun"
    return ""


def _untrue_later(case: Case, told: Told, how: Outcome) -> str:
    """Who hears that nothing was started must not see the server restarted by what was sent for it."""
    if how.kind is not OutcomeKind.NOT_STARTED:
        return ""
    again = [other.asked for other in _of_the_same(case, told) if other is not told and other.asked >= told.heard]
    for restart in _direct_restarts(case, told):
        at = restart.intent.at
        anew = any(asked <= at for asked in again) or _was_anothers(case, told, at)
        if restart.begun.at >= told.asked and at <= told.heard + GIVEN and not anew:
            return f"a request of {at:.2f} s restarted it at {restart.begun.at:.2f} s"
    return ""


def _was_anothers(case: Case, told: Told, intent: float) -> bool:
    """Tell whether an intent was for callers who have heard its end while this one's server was looked up by name."""
    others = (other for other in _of_the_same(case, told) if isinstance(other.how, Outcome) and other.how.attempts)
    return case.record.world.named and any(other.asked <= intent <= other.heard < told.heard for other in others)


def _of_the_same(case: Case, told: Told) -> list[Told]:
    return [
        other
        for other in case.record.told
        if (other.life, other.ask.process, other.ask.server) == (told.life, told.ask.process, told.ask.server)
    ]


def _direct_restarts(case: Case, told: Told) -> Iterator[Restart]:
    """Yield the restarts of a caller's server by the direct requests of the process that was asked."""
    for (run_id, server, _), restarts in case.restarts.items():
        tale = case.tales[run_id]
        if server == told.ask.server and tale.kind == "direct" and _home(tale) == (told.life, told.ask.process):
            yield from restarts


def _home(tale: RunLog) -> tuple[int, int] | None:
    """Return the life and the process whose direct restarts these are, by its holder's name."""
    holder = next((str(fact.body.get("holder", "")) for fact in tale.facts if fact.name == "holder.changed"), "")
    parts = holder.split("-")
    return (int(parts[1]), int(parts[2])) if parts[0] == "life" and len(parts) > 2 else None


def _for_nobody(case: Case, tale: RunLog) -> Iterator[str]:
    """Nothing is sent for a server for which nobody waits any more."""
    home = _home(tale)
    if home is None:
        return
    for intent in tale.intents.values():
        for server in intent.servers:
            if not _wanted(case, home, server, intent) and not _sent_before(tale, server, intent):
                yield f"caller: {server[:8]} was submitted at {intent.at:.2f} s, and nobody waited for it any more"
                return


def _wanted(case: Case, home: tuple[int, int], server: str, intent: Intent) -> bool:
    """Tell whether somebody waits for a server at an intent; who was never told anything waits to this day."""
    life, process = home
    told = [one for one in case.record.told if (one.life, one.ask.process, one.ask.server) == (*home, server)]
    heard = {id(one.ask) for one in told}
    lives = case.record.world.lives
    asks = lives[life].asks if life < len(lives) else ()
    if any(ask.process == process and ask.server == server and id(ask) not in heard for ask in asks):
        return True
    return any(one.asked <= intent.at <= case.thawed(one.heard, GIVEN) for one in told)


def _sent_before(tale: RunLog, server: str, intent: Intent) -> bool:
    """Tell whether something was sent for a server before, in the same round."""
    rounds: Sequence[list[int]] = [one.batches for one in tale.rounds if one.server == server]
    return any(intent.batch in batches and batches[0] != intent.batch for batches in rounds)
