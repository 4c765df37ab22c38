"""What a shell offers for a value that only the store, or the last look at a fleet, knows of."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from ecsbatch.config.settings import default_store
from ecsbatch.errors import ConfigError

if TYPE_CHECKING:
    from cyclopts.completion import CompletionContext

    from ecsbatch.model.servers import ServerView
    from ecsbatch.store import DatabaseStore

Candidates: TypeAlias = Iterable[str | tuple[str, str]]
"""What may be typed, each alone or with what it is."""

Completer: TypeAlias = "Callable[[CompletionContext], Candidates]"

_RUNS: Final = 50
_TAGS: Final = 500
_LAST_LOOK: Final = "last-look.json"


def offered(*words: str) -> Completer:
    """Return what offers these words, for a value that may be others too."""
    return lambda _: words


def runs(context: CompletionContext) -> Candidates:
    """Offer the last runs with how they stand."""
    import asyncio  # noqa: PLC0415 - only for a completion

    return asyncio.run(_runs(_store(context)))


def domains(context: CompletionContext) -> Candidates:
    """Offer the domains of the run that is typed already, else of the latest."""
    import asyncio  # noqa: PLC0415 - only for a completion

    typed = context.get("run")
    return asyncio.run(_domains(_store(context), (typed.raw if typed else "") or ""))


def zones(context: CompletionContext) -> Candidates:
    """Offer the zones that the last plan saw."""
    return _last_look(_url(context)).get("zones", [])


def tags(context: CompletionContext) -> Candidates:
    """Offer the tags that the last plan saw."""
    return _last_look(_url(context)).get("tags", [])


def remember(views: Mapping[str, ServerView], store_url: str) -> None:
    """Keep the zones and tags of servers beside the store for the next completion; else none is offered."""
    import orjson  # noqa: PLC0415 - only for who plans

    from ecsbatch.cli.output import write_file  # noqa: PLC0415 - the same

    found = {
        "zones": sorted({view.az for view in views.values()} - {""}),
        "tags": sorted({tag for view in views.values() for tag in view.tags})[:_TAGS],
    }
    path = _place(store_url)
    with suppress(OSError, ConfigError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_file(path, [orjson.dumps(found)])


def _last_look(store_url: str) -> dict[str, list[str]]:
    import orjson  # noqa: PLC0415 - only for a completion

    try:
        kept: dict[str, list[str]] = orjson.loads(_place(store_url).read_bytes())
    except (OSError, ValueError):
        return {}
    return kept


def _place(store_url: str) -> Path:
    url = store_url if store_url.startswith("sqlite:///") else default_store()
    return Path(url.removeprefix("sqlite:///")).with_name(_LAST_LOOK)


def _url(context: CompletionContext) -> str:
    typed: Any = context.get("--store")
    return (typed.raw if typed else "") or os.environ.get("ECSBATCH_STORE", "") or default_store()


def _store(context: CompletionContext) -> str:
    """Return the store that the command would read; "" where there is none, since none is made here."""
    url = _url(context)
    is_there = not url.startswith("sqlite:///") or Path(url.removeprefix("sqlite:///")).exists()
    return url if is_there else ""


async def _runs(url: str) -> list[tuple[str, str]]:
    if not url:
        return []
    async with _opened(url) as store:
        records = await store.runs(_RUNS)
    return [(each.run_id, f"{each.status.value}, {each.ended:,} of {each.total:,}") for each in records]


async def _domains(url: str, run: str) -> list[str]:
    if not url:
        return []
    async with _opened(url) as store:
        fleet = await store.targets((await store.run(run)).run_id)
    return sorted(set(fleet.domains or ()) - {""})


def _opened(url: str) -> DatabaseStore:
    """Return a store that is read; nothing that is to be warned of is said beside what a shell offers."""
    import warnings  # noqa: PLC0415 - only for a completion

    from ecsbatch.store import open_store  # noqa: PLC0415 - the same

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return open_store(url, read_only=True)
