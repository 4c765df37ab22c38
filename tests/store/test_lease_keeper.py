"""For how long a holder trusts that it still has its runs: by its own clock, from what it has sent."""

from __future__ import annotations

import pytest

from ecsbatch.errors import StoreError
from ecsbatch.store.lease_keeper import TRUST, TTL, Beat, LeaseKeeper, Renewed


class Boot:
    """The seconds of a machine."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """Read it."""
        return self.now


@pytest.fixture
def boot() -> Boot:
    return Boot()


@pytest.fixture
def keeper(boot: Boot) -> LeaseKeeper:
    """Return one that has the run ``r`` since now."""
    keeper = LeaseKeeper(boot)
    keeper.take("r", lambda: True)
    return keeper


def renews(_: Beat) -> Renewed:
    return Renewed(ours={"r"})


def fails(_: Beat) -> Renewed:
    raise StoreError("It is away.")


def test_a_run_is_trusted_for_less_than_its_lease_lasts(keeper: LeaseKeeper, boot: Boot) -> None:
    boot.now += TRUST - 0.01
    assert keeper.trusted("r")

    boot.now += 0.02
    assert not keeper.trusted("r")
    assert TRUST < TTL


def test_how_much_trust_is_left_is_told_of_the_run_that_has_the_least(boot: Boot) -> None:
    keeper = LeaseKeeper(boot)
    assert keeper.trust_left() is None, "there is no run"

    keeper.take("a", lambda: True)
    boot.now += 1.0
    keeper.take("b", lambda: True)
    assert keeper.trust_left() == TRUST - 1.0

    keeper.beat(lambda beat: Renewed(ours=beat.holds))
    assert keeper.trust_left() == TRUST

    keeper.lose("a")
    assert keeper.trust_left() == 0.0, "one of them is another's by now"
    keeper.drop("a")
    boot.now += TRUST + 1.0
    assert keeper.trust_left() == 0.0


def test_trust_runs_from_when_a_lease_was_asked_for(boot: Boot) -> None:
    keeper = LeaseKeeper(boot)

    def take() -> bool:
        boot.now += 2.5  # the database is slow
        return True

    assert keeper.take("r", take)
    boot.now += TRUST - 2.5
    assert not keeper.trusted("r")


def test_trust_runs_from_when_a_renewal_was_sent_and_not_from_its_answer(keeper: LeaseKeeper, boot: Boot) -> None:
    boot.now += 1.0

    def renew(beat: Beat) -> Renewed:
        boot.now += 2.5  # the answer is late
        return renews(beat)

    keeper.beat(renew)
    assert keeper.trusted("r")
    boot.now += TRUST - 2.5
    assert not keeper.trusted("r")


def test_a_renewal_that_fails_ends_trust_at_once_until_the_next_that_does_not(keeper: LeaseKeeper, boot: Boot) -> None:
    with pytest.raises(StoreError):
        keeper.beat(fails)
    assert not keeper.trusted("r")
    assert keeper.has("r")

    boot.now += 30.0  # nobody has taken it meanwhile
    keeper.beat(renews)
    assert keeper.trusted("r")


def test_a_run_that_another_has_is_lost_for_good(keeper: LeaseKeeper) -> None:
    keeper.beat(lambda _: Renewed(others={"r"}))
    assert not keeper.trusted("r")
    assert not keeper.has("r")

    keeper.beat(renews)
    assert not keeper.trusted("r")


def test_a_run_whose_row_is_gone_is_not_trusted_and_not_given_up(keeper: LeaseKeeper) -> None:
    keeper.beat(lambda _: Renewed())

    assert not keeper.trusted("r")
    assert keeper.has("r")


def test_a_run_that_is_taken_while_a_renewal_is_under_way_is_trusted_from_its_own_taking(boot: Boot) -> None:
    keeper = LeaseKeeper(boot)

    def renew(_: Beat) -> Renewed:
        assert keeper.take("r", lambda: True)
        return Renewed()

    keeper.beat(renew)

    assert keeper.trusted("r")


def test_a_renewal_that_was_sent_before_a_run_was_let_go_says_nothing_of_it(keeper: LeaseKeeper) -> None:
    def renew(beat: Beat) -> Renewed:
        keeper.drop("r")
        return renews(beat)

    assert keeper.beat(renew) == ["r"]
    assert not keeper.trusted("r")
    assert keeper.idle


def test_a_renewal_that_was_sent_before_a_run_was_taken_anew_says_nothing_of_it(keeper: LeaseKeeper) -> None:
    """Somebody had it in between, and has let it go again without a word."""

    def renew(_: Beat) -> Renewed:
        keeper.take_anew("r")
        return Renewed(others={"r"})

    keeper.beat(renew)
    assert keeper.has("r")
    assert not keeper.trusted("r")

    keeper.beat(renews)
    assert keeper.trusted("r")


def test_a_renewal_in_mid_taking_does_not_delete_the_new_row(boot: Boot) -> None:
    keeper = LeaseKeeper(boot)

    def take() -> bool:
        assert keeper.beat(renews) == []
        return True

    assert keeper.take("r", take)
    assert keeper.trusted("r")


def test_a_run_that_could_not_be_taken_is_not_ours(boot: Boot) -> None:
    keeper = LeaseKeeper(boot)

    assert not keeper.take("r", lambda: False)
    assert keeper.idle
    assert not keeper.trusted("r")
