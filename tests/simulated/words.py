"""What somebody has asked for is what holds: pause, resume, abort, domains left out; and an end is an end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Final

from .evidence import FOLLOWED, OVER, Case, last_before
from .run_log import OUTCOMES, Fact, RunLog
from .witnesses import FOREVER, Ordered

WORDS: Final = frozenset({"pause", "resume", "abort"})
TAKEN: Final = frozenset({"run.started", "holder.changed"})
ENDS: Final = frozenset({"run.stopped", "run.finished"})
STEERED: Final = frozenset({"run.paused", "run.resumed", "run.aborting"}) | TAKEN | ENDS


def judge_words(case: Case) -> Iterator[str]:
    """Follow what was asked of every run."""
    for tale in case.tales.values():
        yield from _left_out(tale)
        yield from _behind_an_end(tale)
        if tale.kind == "rollout":
            asked = [each for each in case.record.commands if each.run_id == tale.run_id]
            yield from _last_words(case, tale, [each for each in asked if _can_be_followed(tale, each)])
            yield from _aborts(case, tale, [each for each in asked if each.body.get("command") == "abort"])
    yield from _left_behind(case)


def _can_be_followed(tale: RunLog, word: Ordered) -> bool:
    """Tell whether a word steers a run: one that leaves out a domain which the run has not is refused."""
    known = set(tale.domain.values()).issuperset(word.body.get("skip_domains", ()))
    return word.body.get("command") in WORDS and known


# -- in the journal ----------------------------------------------------------------------------------------------------


def _left_out(tale: RunLog) -> Iterator[str]:
    """No request names a server of a domain behind the word that left it out, but one that had ended and is retried."""
    domains: set[str] = set()
    ended: dict[str, str] = {}
    taken_up: set[str] = set()
    for fact in tale.facts:
        if fact.name == "run.resumed":
            skipped = set(fact.body.get("skip_domains", ()))
            domains |= skipped
            taken_up -= {server for server in taken_up if tale.domain.get(server, "") in skipped}
            again = {
                server for server in tale.targets if ended.get(server, "not_started") in fact.body.get("retry", ())
            }
            taken_up |= {server for server in again if tale.domain.get(server, "") not in skipped}
        elif fact.name in OUTCOMES:
            ended[fact.body["server"]] = OUTCOMES[fact.name]
        elif fact.name == "batch.submitting":
            servers = set(fact.body.get("servers", ())) - taken_up
            named = sorted(server for server in servers if tale.domain.get(server, "") in domains)
            if named:
                where = tale.domain[named[0]]
                yield f"left out: {tale.run_id} #{fact.seq} submits {named[0][:8]} of {where}, which was left out"
                return


def _behind_an_end(tale: RunLog) -> Iterator[str]:
    """Nothing is submitted behind `run.aborting` at all, and behind an end or a pause until somebody goes on."""
    ended = aborting = ""
    for fact in tale.facts:
        match fact.name:
            case "run.aborting":
                aborting = fact.name
            case "run.stopped" | "run.finished" | "run.paused":
                ended = fact.name
            case "holder.changed" | "run.resumed":
                ended = ""
            case "batch.submitting" if ended or aborting:
                yield f"over: {tale.run_id} #{fact.seq} submits behind {aborting or ended}"
                return
            case _:
                pass


# -- on the wire -------------------------------------------------------------------------------------------------------


def _left_behind(case: Case) -> Iterator[str]:
    """No request leaves behind the end that its journal tells, nor behind the return of the run's `run`."""
    returned: dict[str, list[float]] = {}
    for end in case.record.ends:
        returned.setdefault(end.run_id, []).append(end.at)
    for sent, intent in case.sent_by:
        tale = case.tales[intent.run_id]
        last = last_before(tale.facts, ENDS | TAKEN, sent.tick)
        if last is not None and last.name in ENDS:
            yield f"over: a request of {tale.run_id} left at {sent.at:.2f} s, behind {last.name} at {last.at:.2f} s"
            return
        taken = last.at if last is not None else 0.0
        gone = [at for at in returned.get(tale.run_id, ()) if taken < at < sent.at]
        if gone:
            yield f"over: a request of {tale.run_id} left at {sent.at:.2f} s, its run had returned at {gone[0]:.2f} s"
            return


# -- the last word -----------------------------------------------------------------------------------------------------


def _last_words(case: Case, tale: RunLog, asked: Sequence[Ordered]) -> Iterator[str]:
    """Judge each word that a living holder heard, up to the next word or holder."""
    for word, after in pairwise([*asked, None]):
        if word is None:
            return
        taken = _holder_at(tale, word)
        if taken is None:
            continue
        later = next((fact.at for fact in tale.facts if fact.name in TAKEN and fact.tick > word.tick), FOREVER)
        until = min(later, after.at if after is not None else FOREVER)
        due = case.thawed(word.at, FOLLOWED)
        if due >= until:
            continue
        yield from _swallowed(case, tale, word, due)
        if word.body["command"] != "resume":
            yield from _overheard(case, tale, word, due, until)


def _holder_at(tale: RunLog, word: Ordered) -> Fact | None:
    """Return the event by which somebody had the run when a word was asked; None where nobody had it.

    Who had it in an earlier life is dead: its successor may be long in looking at the servers before it has the run.
    """
    last = last_before(tale.facts, TAKEN | ENDS, word.tick)
    if last is None or last.name not in TAKEN:
        return None
    return last if str(last.body.get("holder", "")).startswith(f"life-{word.life}-") else None


def _overheard(case: Case, tale: RunLog, word: Ordered, due: float, until: float) -> Iterator[str]:
    """Nothing is sent once a pause or an abort must have been heard."""
    asked = word.body["command"]
    late = [intent.at for intent in tale.intents.values() if due < intent.at < until]
    sends = [sent.at for sent, intent in case.sent_by if intent.run_id == tale.run_id]
    late += [at for at in sends if due + FOLLOWED < at < until]
    if late:
        yield f"words: {tale.run_id} sends at {min(late):.2f} s, though its last word is {asked} at {word.at:.2f} s"


def _swallowed(case: Case, tale: RunLog, word: Ordered, due: float) -> Iterator[str]:
    """A run neither stays paused that somebody has resumed since, nor goes on that somebody has paused."""
    lived = any(end.run_id == tale.run_id and end.life == word.life and end.at >= due for end in case.record.ends)
    heard = [fact for fact in tale.facts if fact.name in STEERED and fact.at <= due]
    if not lived or not heard or any(fact.name == "run.aborting" for fact in heard):
        return  # who is being aborted follows no other word
    paused = heard[-1].name == "run.paused" and heard[-1].body.get("reason") == "paused"
    asked, goes_on = word.body["command"], heard[-1].name in TAKEN | {"run.resumed"}
    if (asked == "resume" and paused) or (asked != "resume" and goes_on):
        stands = "paused" if paused else "running"
        yield f"words: {tale.run_id} is {stands} at {due:.2f} s, though its last word is {asked} at {word.at:.2f} s"


def _aborts(case: Case, tale: RunLog, asked: Sequence[Ordered]) -> Iterator[str]:
    """An abort outlives the holder that heard it: nobody sends anything any more, and the run ends aborted."""
    for word in asked:
        over = last_before(tale.facts, ENDS | TAKEN, word.tick)
        if over is not None and over.name == "run.finished" and over.body["status"] in OVER:
            continue
        due = case.thawed(word.at, FOLLOWED)
        finished = [fact for fact in tale.facts if fact.name == "run.finished" and fact.tick > word.tick]
        if finished and finished[0].at <= due:
            continue  # it was over before the word was heard
        late = [intent.at for intent in tale.intents.values() if intent.at > due]
        if late:
            yield f"abort: {tale.run_id} sends at {min(late):.2f} s, though an abort was asked at {word.at:.2f} s"
        elif (finished or _went_on(case, tale, word, due)) and tale.status != "aborted":
            yield f"abort: {tale.run_id} is {tale.status}, though an abort was asked at {word.at:.2f} s"


def _went_on(case: Case, tale: RunLog, word: Ordered, due: float) -> bool:
    """Tell whether somebody had the run for long enough behind a word to follow it, and came to an end."""
    ends: list[Any] = [end for end in case.record.ends if end.run_id == tale.run_id and end.at >= due]
    taken = any(fact.name in TAKEN and fact.tick > word.tick for fact in tale.facts)
    return bool(ends) and (taken or _holder_at(tale, word) is not None)
