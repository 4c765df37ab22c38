"""`Stages`: how far each server of a run is, and every count that depends on it, of the run, its waves and domains.

Servers are indexes in the plan's fleet here. Which event moves whom says `server_fold.py`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence

from ecsbatch.model.in_parts import counted
from ecsbatch.model.plan import Plan
from ecsbatch.model.tally import FAILURES, KeptOutcome, Stage, Tally


class Stages:
    """The stage of each server and the tallies of all: they change together, by the methods of this class alone.

    Attributes:
        stage: how far each server is.
        run, waves, domains: tallies; ``waves[0]`` is the first wave.
        held: who has an outcome and may still be down.
        forgiven: whose failure does not count any more.
        kept: how those failed that wait or are under way to be tried again.
        kept_waiting: how many of them wait, by how they failed.
        not_retried: why servers have kept the outcome with which they were to be tried again.
        not_retried_by: how many each of these reasons has.
    """

    def __init__(self, plan: Plan) -> None:
        """Let all servers wait."""
        n = len(plan.fleet)
        self._fleet = plan.fleet
        self._starts = [w.start for w in plan.waves]
        self._in_waves = plan.to_restart
        self.stage = bytearray(n)
        self.run = Tally(total=n, waiting=n)
        self.waves = [Tally(total=len(w), waiting=len(w)) for w in plan.waves]
        named = counted(plan.fleet.domains) if plan.fleet.domains else {"": n} if n else {}
        self.domains = defaultdict(Tally, {domain: Tally(total=of, waiting=of) for domain, of in named.items()})
        self.held, self.forgiven = set[int](), set[int]()
        self.kept, self.not_retried = dict[int, KeptOutcome](), dict[int, str]()
        self.kept_waiting, self.not_retried_by = Counter[Stage](), Counter[str]()
        self._retried_while_down = set[int]()

    def wave_of(self, i: int) -> int:
        """Return the number of a server's wave, 0 where it is in none."""
        return bisect_right(self._starts, i) if i < self._in_waves else 0

    def at(self, stages: Collection[Stage]) -> list[int]:
        """Return the servers at these stages, in their order; of a million the few that failed are found in a blink."""
        found: list[int] = []
        for stage in stages:
            i = self.stage.find(stage)
            while i >= 0:
                found.append(i)
                i = self.stage.find(stage, i + 1)
        return sorted(found)

    # -- moving ----------------------------------------------------------------------------------------------------

    def move(self, indexes: Collection[int], to: Stage) -> None:
        """Change servers' stage and every count that depends on it, those alike together."""
        stages, forgiven = self.stage, self.forgiven
        domains, starts, in_waves = self._fleet.domains, self._starts, self._in_waves
        alike: dict[tuple[int, str, int, bool], int] = {}
        kept = self.kept.keys() & indexes if self.kept else ()
        for i in kept:
            self._count_kept(i, -1)
        for i in indexes:  # for every server several times: what would be a call each stands here
            was = stages[i]
            wave = bisect_right(starts, i) if i < in_waves else 0
            key = (was, domains[i] if domains else "", wave, was in FAILURES and i not in forgiven)
            alike[key] = alike.get(key, 0) + 1
            stages[i] = to
        for i in kept:
            self._count_kept(i, 1)
        for (was, domain, wave, failed), n in alike.items():
            for tally in self._tallies(domain, wave):
                tally.move(was, to, n)
                tally.failures -= n if failed else 0

    def send(self, indexes: Collection[int], to: Stage) -> None:
        """Move servers that are under way from now on; who was down before takes a slot as one of these."""
        again = self.held.intersection(indexes)
        self.move(indexes, to)
        for i in again:
            self.release(i)
        self._retried_while_down |= again

    def retry(self, indexes: Collection[int]) -> None:
        """Let servers wait again that had their outcome; what of it was forgiven is not known any more."""
        self.move(indexes, Stage.WAITING)
        self.forgiven.difference_update(indexes)

    def end(self, i: int, to: Stage) -> None:
        """Give a server its outcome: most events are of one, and for one this is quicker than `move`."""
        if self.kept or self.not_retried:
            self._forget_kept(i)
        was, self.stage[i] = self.stage[i], to
        more = (to in FAILURES) - (was in FAILURES and i not in self.forgiven)
        self.forgiven.discard(i)
        for tally in self._tallies(self._fleet.domain(i), self.wave_of(i)):
            tally.move(was, to, 1)
            tally.failures += more

    def end_restarted(self, indexes: Collection[int]) -> None:
        """End servers that are up again: what `end` and `release` do to each."""
        if self.kept or self.not_retried:
            for i in indexes:
                self._forget_kept(i)
        self.move(indexes, Stage.RESTARTED)
        self.forgiven.difference_update(indexes)
        self._retried_while_down.difference_update(indexes)
        for i in self.held.intersection(indexes):
            self.release(i)

    def _tallies(self, domain: str, wave: int) -> Sequence[Tally]:
        if not wave:
            return self.run, self.domains[domain]
        return self.run, self.domains[domain], self.waves[wave - 1]

    def _tallies_of(self, i: int) -> Sequence[Tally]:
        return self._tallies(self._fleet.domain(i), self.wave_of(i))

    # -- the budget's slots ----------------------------------------------------------------------------------------

    def was_down(self, i: int) -> bool:
        """Return whether a server may be down, or might before it was tried again."""
        return i in self.held or i in self._retried_while_down

    def hold(self, i: int) -> None:
        """Note that a server with an outcome may still be down."""
        self._retried_while_down.discard(i)
        if i not in self.held:
            self.held.add(i)
            for tally in self._tallies_of(i):
                tally.held += 1

    def hold_again(self, indexes: Collection[int]) -> None:
        """Hold those of the servers that were down before they were tried again, as they are not under way any more."""
        for i in self._retried_while_down.intersection(indexes):
            self.hold(i)

    def release(self, i: int) -> None:
        """Note that a server is not down any more, or counts no longer as that."""
        self._retried_while_down.discard(i)
        if i in self.held:
            self.held.discard(i)
            for tally in self._tallies_of(i):
                tally.held -= 1

    def forgive(self) -> None:
        """Count no failure so far any more, and release who failed."""
        for i in [i for i in self.held if self.stage[i] in FAILURES]:
            self.release(i)
        self.forgiven.update(self.at(FAILURES))
        for kept in self.kept.values():
            kept.forgiven = True
        for tally in (self.run, *self.waves, *self.domains.values()):
            tally.failures = 0

    # -- outcomes of who is tried again ----------------------------------------------------------------------------

    def keep_until_tried(self, i: int) -> None:
        """Remember how a server has failed, for the case that it is not tried again."""
        self.kept[i] = KeptOutcome(Stage(self.stage[i]), i in self.forgiven)
        self._forget_not_retried(i)

    def keep(self, i: int, why: str) -> None:
        """End a server that was to be tried again as what it was before; ``why`` that was not done, in a word."""
        self._count_kept(i, -1)
        kept = self.kept.pop(i)
        self.not_retried[i] = why
        self.not_retried_by[why] += 1
        self.move([i], kept.stage)
        if kept.forgiven:
            self.forgiven.add(i)
        for tally in self._tallies_of(i):
            tally.failures += not kept.forgiven

    def _forget_kept(self, i: int) -> None:
        """Forget how a server had failed before: it has another outcome now."""
        self._count_kept(i, -1)
        self.kept.pop(i, None)
        self._forget_not_retried(i)

    def _forget_not_retried(self, i: int) -> None:
        if (why := self.not_retried.pop(i, None)) is not None:
            self.not_retried_by[why] -= 1

    def _count_kept(self, i: int, by: int) -> None:
        """Count a server that waits to be tried again: whoever asks how many there are does not look at them all."""
        if i in self.kept and self.stage[i] == Stage.WAITING:
            self.kept_waiting[self.kept[i].stage] += by
