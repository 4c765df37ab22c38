"""From a list of servers to a plan that a person can read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ecsbatch.cli.flags import store_url
from ecsbatch.cli.fleet import Seen, see
from ecsbatch.cli.parts import make_client, make_store
from ecsbatch.models import Server
from ecsbatch.plan import time_model
from ecsbatch.sources import Settings
from ecsbatch.strategy import make_plan
from ecsbatch.views.planned import Planned
from ecsbatch.views.printable import printable


@dataclass(frozen=True, slots=True)
class Prepared:
    """A plan to be shown, and how many servers the project has, None where nothing told."""

    planned: Planned
    inventory: int | None


async def prepare(
    servers: Sequence[Server], settings: Settings, *, count: bool = False, opened: bool = True
) -> Prepared:
    """Look at a fleet and plan its restart; nothing is restarted.

    Args:
        servers: the fleet.
        settings: of the connection, the engine and the strategy.
        count: the project's number of servers is wanted.
        opened: the store will be written to: it is opened once, to see that it can be.

    Raises:
        ConfigError: a setting is missing or malformed.
        SelectionError: see `make_plan`.
        CloudError: not everything could be seen.
        StoreError: the store cannot be opened.
    """
    store = store_url(settings)
    if opened:
        # Whatever is wrong with the store is told before anything is looked at or asked.
        async with make_store(store):
            pass
    async with make_client(settings) as ecs:
        seen: Seen = await see(ecs, servers, count=count)
        place = f"{ecs.site.region or ecs.site.endpoint}, project {ecs.site.project_id}"
    plan = make_plan(servers, settings.strategy, views=seen.views)
    engine = settings.engine
    model = time_model(plan, engine.quota, engine.typical_restart)
    return Prepared(Planned(plan, model, engine.quota, engine.typical_restart, printable(place), store), seen.inventory)
