"""Keys that change while a service runs: nobody notices, nothing is judged wrong, and no key is locked by us."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest

from ecsbatch.ecs.auth.credentials import find
from ecsbatch.ecs.auth.key_guard import MOST_REFUSALS, PAUSE
from ecsbatch.ecs.auth.refresh import IssueContext, IssuedAuth, RefreshableAuth
from ecsbatch.ecs.auth.schemes import KeyAuth, TokenAuth
from ecsbatch.ecs.auth.source import SourceAuth
from ecsbatch.ecs.client import EcsClient
from ecsbatch.ecs.sender import Answer, Request
from ecsbatch.errors import AuthError, NotAccepted, Refused
from ecsbatch.restarter import Restarter
from ecsbatch.simulator.sender import SimulatedSender
from ecsbatch.testing import World

T = TypeVar("T")

REFUSED = (
    b'{"error_code":"APIGW.0301","error_msg":"Incorrect IAM authentication information: verify aksk signature fail"}'
)
DENIED = b'{"error_code":"APIGW.0302","error_msg":"No permission."}'


class Gate:
    """A gateway before the world's cloud, which takes the keys and tokens that it is told to, and counts the others.

    Attributes:
        good: the ids of keys, and the tokens, that are accepted.
        seen: which ones have come, in their order.
        in_a_row: how often each was refused since it was last accepted, and the most that it ever was.
        answers: what is said instead of passing a request on.
        held: set while answers may go out; what is signed waits at the gate until then.
    """

    def __init__(self, world: World, *good: str) -> None:
        self.good = set(good)
        self.seen: list[str] = []
        self.in_a_row: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.answers: dict[str, Answer] = {}
        self.held = asyncio.Event()
        self.held.set()
        self._cloud = SimulatedSender(world.cloud)

    async def __call__(self, request: Request, on_sent: Callable[[], None]) -> Answer:
        """Pass a request on, or refuse it."""
        headers = request.headers
        found = re.search(r"Access=([^,]+),", headers.get("Authorization", ""))
        who = found[1] if found else headers["X-Auth-Token"]
        self.seen.append(who)
        await asyncio.sleep(0.1)
        await self.held.wait()
        if who in self.answers:
            on_sent()
            return self.answers[who]
        if who in self.good:
            self.in_a_row[who] = 0
            return await self._cloud(request, on_sent)
        on_sent()
        self.in_a_row[who] += 1
        self.most[who] = max(self.most[who], self.in_a_row[who])
        return Answer(401, {}, REFUSED)


def play(main: Callable[[World, Gate], Awaitable[T]], *good: str, servers: int = 10) -> T:
    """Return what ``main`` does in a world behind a gate."""
    with World(servers=servers, check_auth=False) as world:

        async def life() -> T:
            return await main(world, Gate(world, *good))

        return world.run(life)


def key(name: str) -> KeyAuth:
    return KeyAuth(name, f"{name}-CANARY-secret")


def variables(name: str, **more: str) -> dict[str, str]:
    return {"HUAWEICLOUD_SDK_AK": name, "HUAWEICLOUD_SDK_SK": f"{name}-CANARY-secret", **more}


def profile(path: Path, name: str) -> None:
    path.write_text(f"[basic]\nak = {name}\nsk = {name}-CANARY-secret\n", encoding="utf-8")


# -- sources -----------------------------------------------------------------------------------------------------------


def test_a_key_in_the_environment_is_followed() -> None:
    env = variables("OLDKEY")

    async def main(world: World, gate: Gate) -> list[str]:
        ecs = world.client(auth=find(env).auth, sender=gate)
        await ecs.look(world.ids[:1])
        env.update(variables("NEWKEY", HUAWEICLOUD_SDK_SECURITY_TOKEN="sts"))
        await ecs.look(world.ids[:1])
        return gate.seen

    assert play(main, "OLDKEY", "NEWKEY") == ["OLDKEY", "NEWKEY"]


@pytest.mark.parametrize("how", ["written over", "put in its place"])
def test_a_key_in_a_file_is_followed(tmp_path: Path, how: str) -> None:
    path = tmp_path / "credentials"
    profile(path, "OLDKEY")

    async def main(world: World, gate: Gate) -> list[str]:
        ecs = world.client(auth=find({"HUAWEICLOUD_SDK_CREDENTIALS_FILE": str(path)}).auth, sender=gate)
        await ecs.look(world.ids[:1])
        profile(path if how == "written over" else tmp_path / "new", "NEWKEY")
        if how != "written over":
            (tmp_path / "new").replace(path)
        await ecs.look(world.ids[:1])
        return gate.seen

    assert play(main, "OLDKEY", "NEWKEY") == ["OLDKEY", "NEWKEY"]


@pytest.mark.parametrize("meanwhile", ["", "[basic]\nak = NEWKEY\n", "[basic\n", None])
def test_a_file_that_cannot_be_read_for_the_moment_leaves_the_key_as_it_is(
    tmp_path: Path, meanwhile: str | None
) -> None:
    path = tmp_path / "credentials"
    profile(path, "OLDKEY")

    async def main(world: World, gate: Gate) -> list[str]:
        ecs = world.client(auth=find({"HUAWEICLOUD_SDK_CREDENTIALS_FILE": str(path)}).auth, sender=gate)
        if meanwhile is None:
            path.unlink()
        else:
            path.write_text(meanwhile, encoding="utf-8")
        await ecs.look(world.ids[:1])
        profile(path, "NEWKEY")
        await ecs.look(world.ids[:1])
        return gate.seen

    assert play(main, "OLDKEY", "NEWKEY") == ["OLDKEY", "NEWKEY"]


class Silent(SourceAuth):
    """A source that does not tell that it has changed, as a file that is written twice in one instant."""

    def __init__(self, *keys: KeyAuth) -> None:
        rest = list(keys[1:])
        super().__init__(keys[0], lambda: rest.pop(0) if rest else keys[-1], lambda: 0)


def test_a_source_is_read_again_when_its_key_is_refused() -> None:
    async def main(world: World, gate: Gate) -> list[str]:
        ecs = world.client(auth=Silent(key("OLDKEY"), key("NEWKEY")), sender=gate)
        assert len((await ecs.look(world.ids[:2])).servers) == 2
        return gate.seen

    assert play(main, "NEWKEY") == ["OLDKEY", "NEWKEY"]


def test_a_submit_whose_key_was_refused_is_sent_again_by_the_engine_alone() -> None:
    """One grant, one attempt."""

    async def main(world: World, gate: Gate) -> str:
        ecs = world.client(auth=Silent(key("OLDKEY"), key("NEWKEY")), sender=gate)
        with pytest.raises(NotAccepted, match="The key was refused and has been replaced") as again:
            await ecs.submit("SOFT", world.ids[:1])
        assert (again.value.retry_after, again.value.status, again.value.answered) == (0.0, 401, True)
        assert gate.seen == ["OLDKEY"]
        return await ecs.submit("SOFT", world.ids[:1])

    assert play(main, "NEWKEY")


def test_a_refused_key_without_another_is_an_error_at_once() -> None:
    async def main(world: World, gate: Gate) -> list[str]:
        ecs = world.client(auth=Silent(key("OLDKEY")), sender=gate)
        with pytest.raises(AuthError, match="verify aksk signature fail"):
            await ecs.look(world.ids[:1])
        return gate.seen

    assert play(main) == ["OLDKEY"]


def test_what_is_no_refusal_of_the_key_is_none_of_its_source() -> None:
    async def main(world: World, gate: Gate) -> list[str]:
        gate.answers["OLDKEY"] = Answer(403, {}, DENIED)
        ecs = world.client(auth=Silent(key("OLDKEY"), key("NEWKEY")), sender=gate)
        for _ in range(2 * MOST_REFUSALS):
            with pytest.raises(AuthError, match="permission"):
                await ecs.look(world.ids[:1])
        return gate.seen

    assert set(play(main, "NEWKEY")) == {"OLDKEY"}


def test_restarts_go_on_over_a_rotation_and_none_is_done_twice() -> None:
    """The old key is withdrawn at the instant at which the new one is there, with requests in flight."""
    env = variables("KEY0")

    async def main(world: World, gate: Gate) -> Counter[str]:
        async def rotate() -> None:
            for number in range(1, 40):
                await asyncio.sleep(7.03)
                gate.good = {f"KEY{number}"}
                env.update(variables(f"KEY{number}"))

        async with (
            world.client(auth=find(env).auth, sender=gate) as ecs,
            world.store() as store,
            Restarter(ecs, store, clock=world.clock, seed=1) as restarter,
        ):
            rotating = asyncio.create_task(rotate())
            kinds: Counter[str] = Counter()
            for first in range(0, 60, 10):
                some = world.ids[first : first + 10]
                kinds.update(each.kind.value for each in await asyncio.gather(*map(restarter.restart, some)))
            await rotating
        assert {world.cloud.restarts(server) for server in world.ids} == {1}
        return kinds

    assert play(main, "KEY0", servers=60) == {"restarted": 60}


# -- another authentication from the program ---------------------------------------------------------------------------


def test_a_program_hands_over_another_key_and_what_is_in_flight_is_judged_right() -> None:
    """The old key is withdrawn while its requests are on their way: they are asked again with the new one."""

    async def main(world: World, gate: Gate) -> tuple[list[int], list[str]]:
        ecs = world.client(auth=key("OLDKEY"), sender=gate)
        await ecs.look(world.ids[:1])
        gate.held.clear()
        looks = [asyncio.create_task(ecs.look([server])) for server in world.ids]
        submitted = asyncio.create_task(ecs.submit("SOFT", world.ids[:1]))
        await asyncio.sleep(1)
        gate.good = {"NEWKEY"}
        ecs.auth = key("NEWKEY")
        gate.held.set()
        with pytest.raises(NotAccepted, match="has been replaced"):
            await submitted
        shown = [len(look.servers) for look in await asyncio.gather(*looks)]
        assert "NEWK" in repr(ecs)
        return shown, gate.seen

    shown, seen = play(main, "OLDKEY")
    assert shown == [1] * 10
    assert Counter(seen) == {"OLDKEY": 12, "NEWKEY": 10}


def test_requests_that_the_old_key_signed_and_that_are_accepted_stay_accepted() -> None:
    async def main(world: World, gate: Gate) -> tuple[str, list[str]]:
        ecs = world.client(auth=key("OLDKEY"), sender=gate)
        gate.held.clear()
        submitted = asyncio.create_task(ecs.submit("SOFT", world.ids[:1]))
        await asyncio.sleep(1)
        ecs.auth = TokenAuth("TOKEN")
        gate.held.set()
        return await submitted, gate.seen

    job, seen = play(main, "OLDKEY")
    assert job
    assert seen == ["OLDKEY"]


@pytest.mark.parametrize("by", ["program", "source"])
def test_the_secrets_of_a_replaced_key_are_still_hidden(by: str) -> None:
    env = variables("OLDKEY")

    async def main(world: World, gate: Gate) -> str:
        ecs = world.client(auth=find(env).auth, sender=gate)
        said = b'{"error":{"code":"Ecs.0005","message":"OLDKEY-CANARY-secret and NEWKEY-CANARY-secret"}}'
        gate.answers["OLDKEY"] = Answer(400, {}, said)
        gate.held.clear()
        asked = [asyncio.create_task(ecs.look(world.ids[:1]))]
        await asyncio.sleep(1)
        if by == "program":
            ecs.auth = key("NEWKEY")
        else:
            env.update(variables("NEWKEY"))
        asked.append(asyncio.create_task(ecs.look(world.ids[:1])))
        await asyncio.sleep(1)
        gate.held.set()
        with pytest.raises(Refused) as refused:
            await asked[0]
        await asked[1]
        return str(refused.value)

    assert play(main, "NEWKEY") == "A parameter is not valid: *** and *** (HTTP 400, Ecs.0005)"


def test_a_source_is_read_only_when_it_has_changed() -> None:
    stamps, reads = [0], list[int]()

    def read() -> KeyAuth:
        reads.append(stamps[-1])
        return key("OLDKEY")

    async def main(world: World, gate: Gate) -> None:
        auth = SourceAuth(key("OLDKEY"), read, lambda: stamps[-1])
        ecs = world.client(auth=auth, sender=gate)
        for stamp in (0, 0, 1, 1, 2):
            stamps.append(stamp)
            await ecs.look(world.ids[:1])

    play(main, "OLDKEY")
    assert reads == [1, 2]


def test_a_password_may_take_a_keys_place() -> None:
    """It is bound to the client's site, and gets its first token before the next request."""

    async def issue(context: IssueContext) -> IssuedAuth:
        return IssuedAuth(TokenAuth(f"TOKEN-{context.project_id[:2]}"), context.wall() + 3600, context.wall() + 1800)

    async def main(world: World, gate: Gate) -> list[str]:
        ecs = world.client(auth=key("OLDKEY"), sender=gate)
        ecs.auth = RefreshableAuth("test", issue)
        gate.good.add(f"TOKEN-{world.config.project_id[:2]}")
        await ecs.look(world.ids[:1])
        return gate.seen

    assert [name.partition("-")[0] for name in play(main)] == ["TOKEN"]


def test_a_token_that_is_withdrawn_before_its_end_is_replaced_at_most_once_a_minute() -> None:
    issued: list[str] = []

    async def issue(context: IssueContext) -> IssuedAuth:
        issued.append(f"T{len(issued)}")
        return IssuedAuth(TokenAuth(issued[-1]), context.wall() + 86_400, context.wall() + 80_000)

    async def main(world: World, gate: Gate) -> list[str]:
        ecs = world.client(auth=RefreshableAuth("test", issue), sender=gate)
        await ecs.look(world.ids[:1])
        await asyncio.sleep(61)
        gate.good = {"T1"}
        await ecs.look(world.ids[:1])
        gate.good = set()
        for _ in range(20):
            await asyncio.sleep(6)
            with pytest.raises(AuthError):
                await ecs.look(world.ids[:1])
        return issued

    assert play(main, "T0") == ["T0", "T1", "T2", "T3"]


# -- no key is locked by us --------------------------------------------------------------------------------------------


async def hammer(world: World, ecs: EcsClient, times: int) -> list[str]:
    """Ask so many times at once; return what was said."""
    asked = [ecs.look(world.ids[:1]) for _ in range(times)]
    return [str(said) for said in await asyncio.gather(*asked, return_exceptions=True)]


def test_a_key_that_turns_bad_is_never_refused_six_times_in_a_row_whatever_is_asked() -> None:
    async def main(world: World, gate: Gate) -> tuple[int, str]:
        ecs = world.client(auth=key("BADKEY"), sender=gate)
        with pytest.raises(AuthError):
            await ecs.look(world.ids[:1])
        said = await hammer(world, ecs, 50)
        return gate.most["BADKEY"], said[-1]

    most, said = play(main)
    assert most == MOST_REFUSALS
    assert re.search(r"verify aksk signature fail\. It is tried again in \d+ s, or as soon as there is another", said)
    assert "(HTTP 401, APIGW.0301)" in said


def test_a_new_key_that_is_bad_is_tried_by_one_request_at_a_time() -> None:
    """Eight looks at once with a key that was misspelt would have locked it before the first was answered."""

    async def main(world: World, gate: Gate) -> int:
        ecs = world.client(auth=key("OLDKEY"), sender=gate)
        await hammer(world, ecs, 20)
        ecs.auth = key("BADKEY")
        await hammer(world, ecs, 20)
        return gate.most["BADKEY"]

    assert play(main, "OLDKEY") == MOST_REFUSALS


def test_a_new_key_that_is_good_serves_all_at_once_after_its_first_answer() -> None:
    async def main(world: World, gate: Gate) -> float:
        ecs = world.client(auth=key("OLDKEY"), sender=gate, api_rate=1e6)
        await hammer(world, ecs, 20)
        ecs.auth = key("NEWKEY")
        began = world.now()
        await hammer(world, ecs, 20)
        return world.now() - began

    assert play(main, "OLDKEY", "NEWKEY") < 1.0


def test_a_key_that_is_mended_at_the_cloud_is_found_good_by_itself() -> None:
    async def main(world: World, gate: Gate) -> list[float]:
        ecs = world.client(auth=key("KEY0"), sender=gate)
        began, tried = world.now(), list[float]()
        for minute in range(20):
            await hammer(world, ecs, 3)
            tried += [world.now() - began] * (len(gate.seen) - len(tried))
            if minute == 12:
                gate.good.add("KEY0")
            await asyncio.sleep(60)
        said = await hammer(world, ecs, 3)
        assert all(each.startswith("Look") for each in said)
        return tried

    tried = play(main)
    refused = tried[: MOST_REFUSALS + 2]
    assert refused[MOST_REFUSALS] - refused[MOST_REFUSALS - 1] > PAUSE
    assert refused[MOST_REFUSALS + 1] - refused[MOST_REFUSALS] > PAUSE


def test_a_corrected_secret_of_the_same_key_is_tried_at_once() -> None:
    """The id of the key is the same: it is the secret that tells that there is another."""

    async def main(world: World, gate: Gate) -> int:
        ecs = world.client(auth=Silent(KeyAuth("KEY0", "wrong"), KeyAuth("KEY0", "right")), sender=gate)
        asked = asyncio.create_task(ecs.look(world.ids[:1]))
        await asyncio.sleep(0.15)
        gate.good.add("KEY0")
        return len((await asked).servers)

    assert play(main) == 1
