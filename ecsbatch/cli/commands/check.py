"""``ecsbatch check``: one look after the other, from the network to the quota; none restarts anything.

`Inspection` takes the looks and keeps what each came to.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import field
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit
from warnings import catch_warnings, simplefilter

from cyclopts import Parameter
from yarl import URL

from ecsbatch.cli.context import CliContext
from ecsbatch.cli.exit_codes import Exit
from ecsbatch.cli.flags import CheckFlags, ConfigFile
from ecsbatch.cli.output import columns, print_json, print_lines
from ecsbatch.cli.remedies import with_remedy
from ecsbatch.cli.store_findings import State, StoreFinding, finding_lines, of_seen
from ecsbatch.cli.wiring import make_client
from ecsbatch.config.types import format_duration
from ecsbatch.ecs.aiohttp_sender import AiohttpSender, proxy_from_environment
from ecsbatch.ecs.auth.credentials import Found, find
from ecsbatch.ecs.client import EcsClient
from ecsbatch.ecs.endpoint import is_loopback, site_of
from ecsbatch.ecs.error_codes import date_of
from ecsbatch.ecs.listing import MAX_PAGE
from ecsbatch.ecs.sender import Answer, Request
from ecsbatch.ecs.wire import ListingPage
from ecsbatch.errors import AuthError, ConfigError, EcsbatchError
from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model.freeze import Freeze
from ecsbatch.model.ownership import Exposure
from ecsbatch.model.quota import Usage
from ecsbatch.model.servers import Site
from ecsbatch.model.store_url import shown
from ecsbatch.model.text import counted, printable
from ecsbatch.policy.frozen import freeze_notice
from ecsbatch.views.text import format_span

SKEW_REFUSED: Final = 900.0
"""Seconds by which a signature's date may be off (API signing guide: 15 minutes)."""

SKEW_WARNED: Final = 60.0
"""Seconds from which on a clock is to be set."""

_UNNOTICED: Final = 2.0
"""Seconds that a round trip and whole seconds in a header may account for."""

_ABOUT_PROJECT: Final = {"Ecs.0023", "Common.0018", "APIGW.0310"}
"""Error codes by which the cloud refuses the project, not the key."""

_KEY_PATHS: Final = ("/v3/auth/tokens", "/api/token", "/securitykey")
"""Ends of the addresses that issue keys and tokens."""

_RUNS: Final = 100
_PORTS: Final = {"https": 443, "http": 80}


def check(*, flags: Annotated[CheckFlags | None, Parameter(name="*")] = None, config: ConfigFile = None) -> int:
    """Look at network, key, project, clock, listing, store and quota; restart nothing.

    It sends one request to the cloud, and one more for what has to be asked for first: the project of the region, a
    token, a temporary key. A line that is not ok says what to do. The store is created where it is missing.
    """
    context = CliContext.of(flags, config)
    inspection = Inspection(context)
    asyncio.run(inspection.look())
    if context.wants_json:
        print_json(as_json(inspection))
    else:
        print_lines(finding_lines(inspection.results, columns(to_stdout=True)), to_stdout=True)
    return Exit.OK if inspection.ok else Exit.ERROR


def as_json(inspection: Inspection) -> Mapping[str, object]:
    """Return the check as one JSON object."""
    checks = [{"name": each.name, "state": each.state, "text": each.text} for each in inspection.results]
    frozen = inspection.frozen.as_dict() if inspection.frozen is not None else None
    return {"ok": inspection.ok, "requests": inspection.requests, "checks": checks, "frozen": frozen}


@dataclass
class ClockProbe:
    """A sender that remembers what the cloud's clock said.

    Attributes:
        send: the real one.
        behind: seconds that this machine is behind the cloud, None until an answer said.
        requests: how many there were, keys and tokens included.
        for_key: whether the last one was for a key or token.
    """

    send: AiohttpSender
    behind: float | None = None
    requests: int = 0
    for_key: bool = False

    async def __call__(self, request: Request, on_sent: Callable[[], None]) -> Answer:
        """Send, and compare the answer's ``Date`` with the middle of its round trip."""
        self.requests += 1
        self.for_key = request.url.endswith(_KEY_PATHS)
        before = time.time()
        answer = await self.send(request, on_sent)
        if (said := date_of(answer.headers)) is not None:
            # The header has whole seconds, cut off.
            self.behind = said + 0.5 - (before + time.time()) / 2
        return answer


@dataclass
class Inspection:
    """All looks of one check, in their order.

    Attributes:
        context: of the command.
        results: what the looks came to so far.
        project_id: "" until it is known.
        requests: how many were sent to the cloud.
        frozen: the freeze of the store, None where there is none or it could not be asked.
    """

    context: CliContext
    results: list[StoreFinding] = field(default_factory=list[StoreFinding])
    project_id: str = ""
    requests: int = 0
    frozen: Freeze | None = None

    def note(self, name: str, state: State, text: str) -> None:
        """Keep a result."""
        self.results.append(StoreFinding(name, state, printable(text, 1000)))

    def fail(self, name: str, error: EcsbatchError) -> None:
        """Keep an error, with what can be done about it."""
        self.note(name, "failed", with_remedy(error))

    @property
    def ok(self) -> bool:
        """True where nothing failed."""
        return all(each.state in {"ok", "warning"} for each in self.results)

    async def look(self) -> None:
        """Take all looks; the cloud is not asked without a way to it or a key."""
        site = self._site()
        reachable = site is not None and await self._network(site.endpoint)
        found = self._credentials()
        if found is not None and reachable:
            await self._cloud(found)
        else:
            if found is not None:
                self.note("key", "not tried", f"{_named(found)}: the cloud cannot be asked.")
            self._not_tried("project", "clock", "listing")
        await self._store()

    def _site(self) -> Site | None:
        connection = self.context.settings.connection
        try:
            return site_of(endpoint=connection.endpoint, region=connection.region, project_id="unknown")
        except ConfigError as e:
            self.fail("network", e)
            return None

    async def _network(self, endpoint: str) -> bool:
        """See whether the endpoint, or the proxy before it, can be connected to."""
        url = URL(endpoint)
        timeout = self.context.settings.connection.connect_timeout
        try:
            proxy = proxy_from_environment(url)
        except ValueError as e:
            self.note("network", "failed", f"{e}.")
            return False
        near = urlsplit(str(proxy or url))
        host, port = near.hostname or "", near.port or _PORTS[near.scheme]
        through = f" through the proxy {host}:{port}" if proxy else ", no proxy"
        began = time.monotonic()
        try:
            async with asyncio.timeout(timeout):
                _, writer = await asyncio.open_connection(host, port)
            writer.close()
        except TimeoutError:
            what = f"no connection to {host}:{port} within {format_duration(timeout)}"
        except OSError as e:
            named = getattr(e, "errno", None) is not None and type(e).__name__ != "gaierror"
            what = f"no connection to {host}:{port} ({e.strerror})" if named else f"{host} cannot be resolved"
        else:
            self.note("network", "ok", f"{endpoint}{through}, connected in {(time.monotonic() - began) * 1000:.0f} ms")
            return True
        self.note("network", "failed", f"{what}: check --endpoint or --region, the firewall, and HTTPS_PROXY.")
        return False

    def _credentials(self) -> Found | None:
        try:
            found = find(os.environ)
        except ConfigError as e:
            self.fail("key", e)
            return None
        if found.warning:
            self.note("key file", "warning", f"{found.warning}.")
        return found

    async def _cloud(self, found: Found) -> None:
        """Ask for the project and one page of servers: one request, two where the project is to be looked up."""
        connection = self.context.settings.connection
        ca_file = Path(connection.ca_file) if connection.ca_file else None
        try:
            sender = AiohttpSender(connect_timeout=connection.connect_timeout, ca_file=ca_file)
        except ConfigError as e:
            self.fail("network", e)
            self._not_tried("key", "project", "clock", "listing")
            return
        probe = ClockProbe(sender)
        page: ListingPage | None = None
        error: EcsbatchError | None = None
        looked_up = False
        try:
            async with make_client(self.context.settings, auth=found.auth, sender=probe) as ecs:
                looked_up, self.project_id = True, ecs.site.project_id
                page = await _first_page(ecs)
        except EcsbatchError as e:
            error = e
        finally:
            await sender.aclose()
        self.requests = probe.requests
        self._key_and_project(found, error, looked_up=looked_up, no_key=probe.for_key)
        own_time = is_loopback(urlsplit(connection.endpoint).hostname or "")
        self.note("clock", *clock(probe.behind, accepted=page is not None, own_time=own_time))
        self._listing(page, None if probe.for_key else error)

    def _key_and_project(self, found: Found, error: EcsbatchError | None, *, looked_up: bool, no_key: bool) -> None:
        who = _named(found)
        about_project = isinstance(error, AuthError) and error.code in _ABOUT_PROJECT
        refused = error is not None and (no_key or isinstance(error, AuthError)) and not about_project
        if refused and error is not None:
            self.note(
                "key", "failed", f"{' '.join(str(error).split())}. It is the {who}: see that it is the right one."
            )
        elif error is None or about_project or isinstance(error, ConfigError):
            self.note("key", "ok", who)
        else:
            self.note("key", "not tried", f"{who}: the cloud did not answer.")
        if error is not None and (about_project or (not looked_up and not refused)):
            self.fail("project", error)
        elif not looked_up or refused:
            self.note("project", "not tried", self.project_id or "It is looked up with a key that is accepted.")
        else:
            self.note("project", "ok", self.project_id)

    def _listing(self, page: ListingPage | None, error: EcsbatchError | None) -> None:
        if page is None:
            if error is None or isinstance(error, AuthError | ConfigError):
                self._not_tried("listing")
            else:
                self.fail("listing", error)
            return
        total = len(page.servers) if page.count is None else page.count
        zones = Counter(view.az for view in page.servers if view.az)
        there = ", ".join(sorted(zones)) or "no zone"
        part = f" (of the first {len(page.servers):,})" if total > len(page.servers) else ""
        if total:
            self.note("listing", "ok", f"{counted(total, 'server')} in {there}{part}")
        else:
            self.note("listing", "warning", "the project has no servers: check --project-id and --region.")

    async def _store(self) -> None:
        """Open the store, which creates it where it is missing, and read what it knows of the quota."""
        from ecsbatch.store import open_store  # noqa: PLC0415 - imported when used
        from ecsbatch.store.migrations import VERSION  # noqa: PLC0415 - the same
        from ecsbatch.store.opening import look_at  # noqa: PLC0415 - the same

        try:
            url = self.context.store_url
            with catch_warnings():
                simplefilter("ignore")  # of what is found below
                opened = open_store(url)
            async with opened as store:
                held = [record.run_id for record in await store.runs(_RUNS) if record.held]
                exposure = store.exposure
                limit = self.context.settings.engine.quota.limit
                site = self._quota_site()
                usage = await store.usage(site.quota_group, limit) if site else None
                self.frozen = await store.frozen()
            seen = look_at(url, thoroughly=False)
        except EcsbatchError as e:
            self.fail("store", e)
            self._not_tried("quota")
            return
        protection = f" ({seen.address.protection})" if seen.address else ""
        self._writable(f"{seen.address.name if seen.address else shown(url)}, writable{protection}", exposure)
        for finding in of_seen(seen, VERSION):
            # Who may write a file is told above, and a freeze below.
            told = {"freeze", "rights"} if seen.file else {"freeze"}
            if finding.state != "ok" and finding.name not in told:
                self.note(f"store: {finding.name}", finding.state, finding.text)
        if self.frozen is not None:
            self.note("freeze", "warning", f"{freeze_notice(self.frozen, time.time())} ecsbatch thaw ends it.")
        self._quota(usage, held)

    def _writable(self, text: str, exposure: Exposure | None) -> None:
        if exposure is None:
            self.note("store", "ok", text)
        else:
            again = "the gate and the cmd: or url: check of a run there run only where they are given again"
            self.note("store", "warning", f"{text}; {exposure}: {again}.")

    def _quota_site(self) -> Site | None:
        connection = self.context.settings.connection
        if not self.project_id:
            return None
        return site_of(endpoint=connection.endpoint, region=connection.region, project_id=self.project_id)

    def _quota(self, usage: Usage | None, held: list[str]) -> None:
        if usage is None:
            self._not_tried("quota")
            return
        quota = self.context.settings.engine.quota
        runs = f"held now: {', '.join(held)}" if held else "no run is held by anybody"
        free = f"{usage.free:,} of {quota.limit:,} per {format_duration(quota.window)} free; {runs}"
        if usage.free:
            self.note("quota", "ok", free)
        else:
            more = f" in {format_span(usage.next_free_in)}" if usage.next_free_in is not None else ""
            self.note("quota", "warning", f"{free}; the next is free{more}.")

    def _not_tried(self, *names: str) -> None:
        for name in names:
            self.note(name, "not tried", "What stands above it has to work first.")


def clock(behind: float | None, *, accepted: bool, own_time: bool) -> tuple[State, str]:
    """Judge the difference between two clocks.

    Args:
        behind: seconds that this machine is behind the cloud; None where no answer told the time.
        accepted: whether the cloud accepted a request, so that its date cannot be too far off.
        own_time: the endpoint is on this machine: a simulated cloud's clock runs as fast as it was told to.
    """
    if behind is None:
        return "not tried", "No answer of the cloud told the time."
    off = abs(behind)
    if off <= _UNNOTICED:
        return "ok", "agrees with the cloud's"
    text = f"this machine is {format_span(off)} {'behind' if behind > 0 else 'ahead of'} the cloud"
    if own_time and accepted:
        return "ok", f"{text}, which keeps a time of its own here"
    if off > SKEW_REFUSED and not accepted:
        return "failed", f"{text}: above 15m no signature is accepted; set the clock (NTP)."
    if off > SKEW_WARNED:
        return "warning", f"{text}: set the clock (NTP); above 15m no signature is accepted."
    return "ok", text


async def _first_page(ecs: EcsClient) -> ListingPage | None:
    async for page in ecs.list_servers(limit=MAX_PAGE):
        return page
    return None


def _named(found: Found) -> str:
    """Name credentials for people: what they are, four characters at most, and where they were found."""
    words = repr(found.auth).strip("<>").replace("KeyAuth", "key").replace("TokenAuth", "token")
    return f"{words.removeprefix('RefreshableAuth ')}, from {found.origin}"
