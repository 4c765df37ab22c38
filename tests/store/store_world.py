"""What the tests of the store share: a clock that is turned by hand, and a few names."""

from ecsbatch.model.run import Holder
from ecsbatch.store import TokenRequest

ALICE = Holder("alice@desk", "desk", 11, 1_700_000_000.0)
BOB = Holder("bob@lab", "lab", 22, 1_700_000_100.0)

WINDOW = 60.05
CRASH_HOLD = 155.05


class HandClock:
    """Stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.suspended = 0.0
        self.boot = "boot-1"
        self.walls = 1_767_225_600.0

    def wall(self) -> float:
        """Return the wall clock's reading."""
        return self.walls

    def monotonic(self) -> float:
        """Return the ledger's clock's reading."""
        return self.now

    def boottime(self) -> float:
        """Return the same with the seconds of a suspend."""
        return self.now + self.suspended

    def boot_id(self) -> str:
        """Return which boot this plays in."""
        return self.boot


def want(tokens: int, *, at_least: int = 1, limit: int = 1000, group: str = "site") -> TokenRequest:
    """Tokens that are wanted, with everything else as usual."""
    return TokenRequest(group, tokens, at_least, limit, CRASH_HOLD)
