"""Whom to take next, as tables: each row tells of picks from one wave, one after another, and of what they take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pytest

from ecsbatch.model.plan import Wave
from ecsbatch.model.servers import Fleet
from ecsbatch.policy.picker import Picker

IDS = ["a1", "b1", "a2", "b2", "a3", "b3", "c1"]
FLEET = Fleet(IDS, [id_[0] for id_ in IDS])
WHOLE = Wave(1, 0, 7, "100%")


@dataclass(frozen=True)
class Pick:
    """Take up to so many servers.

    Attributes:
        most: how many at the most.
        room: how many more of each domain may go, none of those that are not named; None: any number of all.
        gone: servers that wait no more, from now on.
    """

    most: int
    room: Mapping[str, int] | None
    gone: Sequence[str]


@dataclass(frozen=True)
class PutBack:
    """Return servers that were picked and did not go."""

    servers: Sequence[str]


Acts = Sequence[Pick | PutBack]


def take(most: int, *, gone: str = "", **room: int) -> Pick:
    return Pick(most, room or None, gone.split())


def back(servers: str) -> PutBack:
    return PutBack(servers.split())


def picked(acts: Acts, wave: Wave = WHOLE, fleet: Fleet = FLEET) -> tuple[list[str], Picker]:
    """Return what each pick takes, and the picker after the last act."""
    gone: set[str] = set()
    picker = Picker(fleet, wave, lambda index: IDS[index] not in gone)
    taken: list[str] = []
    for act in acts:
        match act:
            case PutBack(servers):
                picker.put_back(servers)
            case Pick(most, room, gone_now):
                gone.update(gone_now)
                indexes = picker.pick(most, None if room is None else lambda domain, room=room: room.get(domain, 0))
                taken.append(" ".join(IDS[index] for index in indexes))
    return taken, picker


ORDER = {
    "the plan's order is kept": ([take(3)], ["a1 b1 a2"]),
    "a pick goes on where the one before has ended": ([take(3), take(2)], ["a1 b1 a2", "b2 a3"]),
    "no more are taken than there are": ([take(100)], ["a1 b1 a2 b2 a3 b3 c1"]),
    "when all are taken nobody is left": ([take(7), take(1)], ["a1 b1 a2 b2 a3 b3 c1", ""]),
    "who asks for nobody gets nobody, and nobody is lost": ([take(0), take(2)], ["", "a1 b1"]),
    "who waits no more is not taken": ([take(3, gone="b1")], ["a1 a2 b2"]),
    "who waits no more takes nobody's turn": ([take(2, gone="a1 b1 a2")], ["b2 a3"]),
}


@pytest.mark.parametrize(("acts", "taken"), ORDER.values(), ids=ORDER)
def test_servers_go_in_the_plans_order(acts: Acts, taken: list[str]) -> None:
    assert picked(acts)[0] == taken


DOMAINS = {
    "a domain with room for one gives one": ([take(4, a=1, b=9, c=9)], ["a1 b1 b2 b3"]),
    "whom a pick takes of a domain counts in its room": ([take(9, a=2, b=1)], ["a1 b1 a2"]),
    "a full domain is passed over, and the others go on": ([take(2, b=9, c=9)], ["b1 b2"]),
    "a domain with less than no room is full": ([take(2, a=-1, b=9)], ["b1 b2"]),
    "where all domains are full nobody goes": ([take(9, a=0)], [""]),
    "each pick asks for the room anew": ([take(1, a=1), take(1, a=1)], ["a1", "a2"]),
    "who waits no more takes no room of its domain": ([take(9, a=1, gone="a1")], ["a2"]),
    # Whom a full domain has kept back.
    "who was passed over goes first once there is room": ([take(2, b=9), take(3)], ["b1 b2", "a1 a2 a3"]),
    "who was passed over goes in the plan's order": (
        [take(3, b=9), take(1, a=1), take(1, a=1)],
        ["b1 b2 b3", "a1", "a2"],
    ),
    "the plan's order holds across domains": ([take(1, c=1), take(4)], ["c1", "a1 b1 a2 b2"]),
    "who was passed over waits on while its domain is full": ([take(1, c=1), take(4, b=2)], ["c1", "b1 b2"]),
    "no more of them go than their domain has room for": ([take(1, c=1), take(9, a=1, b=2)], ["c1", "a1 b1 b2"]),
    "they and new ones share their domain's room": ([take(1, b=1), take(9, a=2)], ["b1", "a1 a2"]),
    "who was passed over and waits no more is not taken": ([take(2, b=9), take(2, gone="a1")], ["b1 b2", "a2 a3"]),
    "who was passed over and waits no more takes no room": ([take(2, b=9), take(2, gone="a1", a=1)], ["b1 b2", "a2"]),
    "who is passed over is not lost": ([take(1, c=1), take(2, a=2), take(9)], ["c1", "a1 a2", "b1 b2 a3 b3"]),
}


@pytest.mark.parametrize(("acts", "taken"), DOMAINS.values(), ids=DOMAINS)
def test_a_domain_without_room_is_passed_over_and_goes_first_later(acts: Acts, taken: list[str]) -> None:
    assert picked(acts)[0] == taken


RETURNS = {
    "who comes back goes first": ([take(3), back("a2"), take(2)], ["a1 b1 a2", "a2 b2"]),
    "those who come back go in the plan's order": (
        [take(5), back("a2 b1 a1"), take(4)],
        ["a1 b1 a2 b2 a3", "a1 b1 a2 b3"],
    ),
    "one of a domain goes before those passed over": ([take(3, a=1, b=9), back("a1"), take(2)], ["a1 b1 b2", "a1 a2"]),
    "one can come back several times": ([take(1), back("a1"), take(1), back("a1"), take(1)], ["a1", "a1", "a1"]),
    "who comes back goes only while its domain has room": ([take(2), back("a1 b1"), take(2, b=9)], ["a1 b1", "b1 b2"]),
    "who comes back goes only while it waits": ([take(2), back("a1 b1"), take(2, gone="a1")], ["a1 b1", "b1 a2"]),
    "where nobody comes back the next ones go": ([take(2), back(""), take(1)], ["a1 b1", "a2"]),
}


@pytest.mark.parametrize(("acts", "taken"), RETURNS.values(), ids=RETURNS)
def test_who_was_picked_and_did_not_go_goes_first(acts: Acts, taken: list[str]) -> None:
    assert picked(acts)[0] == taken


SECOND = Wave(2, 2, 4, "2")
NOT_SPREAD = Fleet(IDS)


def test_a_wave_gives_its_own_servers() -> None:
    taken, picker = picked([take(1), take(9)], SECOND)

    assert (taken, picker.wave) == (["a2", "b2"], SECOND)


def test_servers_of_no_known_domain_are_of_one() -> None:
    acts = [Pick(9, {"": 2}, ()), Pick(9, {"": 0}, ()), Pick(9, None, ())]

    assert picked(acts, fleet=NOT_SPREAD)[0] == ["a1 b1", "", "a2 b2 a3 b3 c1"]


NOBODY_LEFT, SOMEBODY_LEFT = True, False
REST = {
    "a wave that nobody has picked from has servers": ([], WHOLE, SOMEBODY_LEFT),
    "a wave without servers has none": ([], Wave(3, 7, 7, "0"), NOBODY_LEFT),
    "while its last server is not picked it has one": ([take(6)], WHOLE, SOMEBODY_LEFT),
    "when the last is picked nobody is left": ([take(7)], WHOLE, NOBODY_LEFT),
    "what follows a wave in the fleet is not its own": ([take(2)], SECOND, NOBODY_LEFT),
    "who was passed over is left": ([take(7, b=9, c=9)], WHOLE, SOMEBODY_LEFT),
    "when those passed over are picked nobody is left": ([take(7, b=9, c=9), take(3)], WHOLE, NOBODY_LEFT),
    "who waits no more is not left": ([take(9, b=9, c=9, gone="a1 a2 a3")], WHOLE, NOBODY_LEFT),
    "who came back is left": ([take(7), back("b1")], WHOLE, SOMEBODY_LEFT),
    "when those who came back are picked nobody is left": ([take(7), back("b1"), take(1)], WHOLE, NOBODY_LEFT),
}


@pytest.mark.parametrize(("acts", "wave", "exhausted"), REST.values(), ids=REST)
def test_a_wave_is_exhausted_when_nobody_is_left_to_pick(acts: Acts, wave: Wave, *, exhausted: bool) -> None:
    assert picked(acts, wave)[1].exhausted is exhausted
