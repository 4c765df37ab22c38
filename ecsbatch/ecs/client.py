"""The ECS API, as much of it as restarting servers takes.

`EcsClient.submit` is exactly one attempt at one request and says by its error what may be done next; everything
else only reads and may be asked again. The client signs inside each attempt, so that a request that waited for its
turn is not dated in the past.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable, Collection, Container, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self, Unpack

import aiohttp
from aiolimiter import AsyncLimiter

from ecsbatch.clock import Clock, SystemClock
from ecsbatch.config.declare import checked
from ecsbatch.config.types import Duration, Rate
from ecsbatch.ecs.aiohttp_sender import AiohttpSender
from ecsbatch.ecs.auth.schemes import Auth, KeyAuth, canonical_query, quoted
from ecsbatch.ecs.auth.source import SourceAuth
from ecsbatch.ecs.endpoint import site_of
from ecsbatch.ecs.error_codes import RequestKind, date_of
from ecsbatch.ecs.inventory import NameSearch, fitting, see_all
from ecsbatch.ecs.listing import MAX_PAGE, Filters, listing_query, pages_of
from ecsbatch.ecs.observed_sender import ObservedSender, RequestWatcher
from ecsbatch.ecs.read_retry import read_patiently
from ecsbatch.ecs.sender import Answer, Sender
from ecsbatch.ecs.transport import AnotherKey, Transport
from ecsbatch.ecs.wire import ListingPage, job_id_of, job_of, page_of, reboot_body, view_of, views_of
from ecsbatch.errors import Invalid, NotAccepted, Refused, TokenExpired
from ecsbatch.model.servers import MAX_LOOK, Job, Look, RestartType, Server, ServerView, Site
from ecsbatch.model.view_table import PackedViews
from ecsbatch.planning.selection import as_server_id, from_view, selection_of

_NO_SERVER: Final = {"Ecs.0114", "Ecs.0614"}
_TIMEOUT: Final = Duration(0.001, 86_400.0)
_RATE: Final = Rate(0.001, 1_000_000.0)


class Closable(Protocol):
    """Something that is closed with the client."""

    async def aclose(self) -> None:
        """Close it."""
        ...


class EcsClient:
    """The API of one site, a project in a region: what a `Restarter` restarts servers by, and what selects them.

        async with EcsClient(region="eu-west-101", auth=credentials()) as ecs, Restarter(ecs) as restarter:
            web = [server async for server in ecs.select(tags={"app": "web"})]
            result = await restarter.rollout(web).run()

    ``async with`` gets the first key or token and the project's id where they are missing, and closes what is the
    client's own. One client is for one event loop, and for as many tasks and months as there are.

    Args:
        auth: how requests are signed: `credentials`, a `KeyAuth`, a `TokenAuth` or an `Auth` of one's own.
        project_id: the project in whose path all requests go; "" for the one that ``HUAWEICLOUD_SDK_PROJECT_ID`` or
            the credentials file names, else the region's, looked up when the client is entered.
        region: gives the endpoint ``https://ecs.{region}.myhuaweicloud.com``, or that of the region's own cloud.
        endpoint: another cloud's ``https://HOST[:PORT]``; ``http`` for this machine only.
        session: the program's own, whose connections, cache of names, proxy and settings of TLS are shared; whoever
            passes one closes it. Its cookies, headers, time-outs and traces are not used. Let it close idle connections
            sooner than a gateway would, as it does by default.
        sender: sends requests instead of aiohttp; whoever passes one closes it.
        clock: gives the signatures' time.
        request_timeout: how long a request may take from its first step to the end of its answer: seconds, or text such
            as ``"1m"``; 30 s by default. The engine has each token wait for as long.
        connect_timeout: how much of that the connection may take; 10 s by default.
        api_rate: requests per second, looks and restarts together; 20 by default.
        ca_file: certificates to trust besides the system's, in PEM.
        watchers: hear of each request, such as `ecsbatch.views.metrics.Metrics`.

    Attributes:
        api_rate: as given.
        request_timeout, connect_timeout: the same, in seconds.
        fallback_store: the store in memory of restarters that were given none; closed with the client.

    Raises:
        Invalid: a time-out or ``api_rate`` cannot be.
        ConfigError: another setting is missing or malformed.
    """

    def __init__(  # noqa: PLR0913 - settings, by keyword only, each with a default but two
        self,
        *,
        auth: Auth,
        project_id: str = "",
        region: str = "",
        endpoint: str = "",
        session: aiohttp.ClientSession | None = None,
        sender: Sender | None = None,
        clock: Clock | None = None,
        request_timeout: float | str = 30.0,
        connect_timeout: float | str = 10.0,
        api_rate: float = 20.0,
        ca_file: Path | None = None,
        watchers: Sequence[RequestWatcher] = (),
    ) -> None:
        self.request_timeout: float = checked("request_timeout", _TIMEOUT, request_timeout)
        self.connect_timeout: float = checked("connect_timeout", _TIMEOUT, connect_timeout)
        self.api_rate: float = checked("api_rate", _RATE, api_rate)
        project_id = project_id or os.environ.get("HUAWEICLOUD_SDK_PROJECT_ID", "").strip()
        project_id = project_id or (auth.project_id if isinstance(auth, KeyAuth | SourceAuth) else "")
        site = site_of(endpoint=endpoint, region=region, project_id=project_id)
        self.fallback_store: Closable | None = None
        self._own_sender: AiohttpSender | None = None
        if sender is None:
            sender = self._own_sender = AiohttpSender(
                connect_timeout=self.connect_timeout, ca_file=ca_file, session=session
            )
        elif session is not None:
            expected = "one of them, by which requests go"
            raise Invalid(f"session beside sender: give {expected}.", field="session", expected=expected)
        self._watchers = tuple(watchers)
        if self._watchers:
            sender = ObservedSender(sender, self._watchers)
        self._transport = Transport(
            site,
            auth,
            sender,
            clock or SystemClock(),
            self.request_timeout,
            trusted=sender is self._own_sender and session is None,
        )
        burst = max(1.0, self.api_rate)
        self._pace = AsyncLimiter(burst, burst / self.api_rate)
        self._names = NameSearch(self)

    def __repr__(self) -> str:
        return f"<EcsClient {self.site.endpoint} project {self.site.project_id} {self._transport.signer!r}>"

    async def __aenter__(self) -> Self:
        """Get the first key or token where there is none yet; look up the project's id where none was given.

        Raises:
            ConfigError: the region has no project, or several.
            AuthError: the key, the password or the endpoint is wrong.
            NotSent: IAM or the metadata service does not answer.
        """
        try:
            await self._transport.signer.ready()
            if not self.site.project_id:
                project_id = await self._transport.signer.find_project()
                endpoint, region = self.site.endpoint, self.site.region
                self._transport.site = site_of(endpoint=endpoint, region=region, project_id=project_id)
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close what is the client's own: its connections, and the store in memory of a `Restarter` without one."""
        store, self.fallback_store = self.fallback_store, None
        try:
            if store is not None:
                await store.aclose()
        finally:
            if self._own_sender is not None:
                await self._own_sender.aclose()

    @property
    def site(self) -> Site:
        """Where requests go; its project's id is "" until the client is entered, where none was given."""
        return self._transport.site

    @property
    def auth(self) -> Auth:
        """How requests are signed; another may be set at any time: ``ecs.auth = KeyAuth(...)`` after a rotation.

        What is signed from then on is signed by the new one. A request that the one before has signed, and that is
        refused for it, is signed anew. `credentials` needs none of this: it follows its file or variables by itself.
        """
        return self._transport.signer.auth

    @auth.setter
    def auth(self, auth: Auth) -> None:
        self._transport.signer.replace(auth)

    async def turn(self) -> None:
        """Wait for this client's next turn under ``api_rate``; looks do it themselves, `submit` does not."""
        await self._pace.acquire()

    async def submit(
        self,
        type_: RestartType,
        ids: Sequence[str],
        on_sent: Callable[[], None] | None = None,
    ) -> str:
        """Ask for the restart of up to 1,000 servers, in one attempt, and return the job's id (BatchRebootServers).

        Args:
            type_: ``SOFT`` or ``HARD``.
            ids: the servers.
            on_sent: called before the first byte can leave; where it raises, nothing is sent.

        Raises:
            NotSent: no byte left this machine.
            NotAccepted: certainly not carried out; `Throttled` where a limit was reached.
            Refused: the cloud refuses this request; another one may be accepted.
            AuthError: the key, the token or the endpoint is wrong.
            UnknownAnswer: it may have been carried out.
            ValueError: no servers, or more than 1,000.
        """
        body = reboot_body(type_, ids)
        try:
            answer = await self._transport.post("/cloudservers/action", body, on_sent, "submit")
        except AnotherKey as e:
            # A second attempt here would be sent without a quota grant of its own.
            ran_out = isinstance(e.refusal, TokenExpired)
            again = NotAccepted(
                "The token ran out and was renewed." if ran_out else "The key was refused and has been replaced.",
                status=e.refusal.status,
                code=e.refusal.code,
                request_id=e.refusal.request_id,
                answered=True,
            )
            again.retry_after = 0.0
            raise again from e.refusal
        return self._transport.read(answer, job_id_of)

    async def show_job(self, job_id: str, pending: Container[str], *, running: bool = False) -> Job:
        """Look at a job (ShowJob).

        Args:
            job_id: the job.
            pending: servers without an outcome yet; sub-jobs of other servers are left out.
            running: True to name the servers that it shows under way, which takes a little longer to read.

        Raises:
            JobNotFound: the cloud does not know it: read too early, or ended more than a day ago.
            AuthError: the key, the token or the endpoint is wrong.
            CloudError: nothing could be seen.
        """
        answer = await self._get(f"/jobs/{quoted(job_id)}", "", what="job")
        job = self._transport.read(answer, partial(job_of, job_id=job_id, pending=pending, running=running))
        if self._watchers:
            self._tell_of_ends(job, date_of(answer.headers))
        return job

    def _tell_of_ends(self, job: Job, answered_at: float | None) -> None:
        """Tell those who hear of requests for how long the restarts that a job shows were over by the answer's date."""
        ended = [sub.ended_at for sub in job.ended if sub.ended_at is not None]
        if ended and answered_at is not None:
            delays = [max(0.0, answered_at - at) for at in ended]
            for watcher in self._watchers:
                with suppress(Exception):
                    watcher.saw_ends(delays)

    async def look(self, ids: Sequence[str]) -> Look:
        """Look at up to 100 servers' states in one request (ListServersDetails, ``server_id``).

        Raises:
            AuthError: the key, the token or the endpoint is wrong.
            CloudError: nothing could be seen.
            ValueError: more than 100 servers.
        """
        if len(ids) > MAX_LOOK:
            raise ValueError(f"A look names at most {MAX_LOOK} servers, not {len(ids)}.")
        if not ids:
            return Look({})
        asked = [as_server_id(server) for server in ids]
        query = canonical_query([("limit", str(MAX_LOOK)), ("server_id", ",".join(asked))])
        answer = await self._get("/cloudservers/detail", query, what="look")
        views, unasked = self._transport.read(answer, partial(views_of, asked=frozenset(asked)))
        return Look({view.id: view for view in views}, date_of(answer.headers), unasked=unasked)

    async def look_at_any(self) -> Look:
        """Look at the server that the site lists first (ListServersDetails): whether anything can be seen of it.

        Raises:
            AuthError: the key, the token or the endpoint is wrong.
            CloudError: nothing could be seen.
        """
        answer = await self._get("/cloudservers/detail", canonical_query([("limit", "1")]), what="look")
        page = self._transport.read(answer, page_of)
        return Look({view.id: view for view in page.servers}, date_of(answer.headers))

    async def show_server(self, server_id: str) -> ServerView:
        """Look at one server by its own path (ShowServer); ``found`` is False where ECS says that there is none.

        Raises:
            AuthError: the key, the token or the endpoint is wrong, or the cloud does not know this request.
            CloudError: nothing could be seen.
        """
        server_id = as_server_id(server_id)
        try:
            answer = await self._get(f"/cloudservers/{quoted(server_id)}", "", what="look")
        except Refused as e:
            # Only a code of ECS is about the server: any other 404 is about the path.
            if e.code in _NO_SERVER or (e.status == HTTPStatus.NOT_FOUND and e.code.startswith("Ecs.")):
                return ServerView(server_id, found=False)
            raise
        return self._transport.read(answer, partial(view_of, asked=server_id))

    def list_servers(self, *, limit: int = MAX_PAGE, **filters: Unpack[Filters]) -> AsyncGenerator[ListingPage]:
        """Yield servers page by page, as the cloud lists them (ListServersDetails with ``marker``).

        A listing either ends or raises: what came before an error is not the whole fleet. `select` yields the servers
        themselves, and only where the listing is complete.

        Args:
            limit: rows per page, 1 to 1,000.
            filters: those of the API: ``name`` (a part of it will do), ``status``, ``tags`` (one ``key=value`` or
                ``key``), ``not_tags``, ``flavor``, ``ip``, ``ip_eq``, ``reservation_id``, ``enterprise_project_id``; an
                empty one is left out.

        Raises:
            ConfigError: the API does not have a filter; it would list the whole fleet instead.
            CloudError: 4 attempts have not brought a page, or the pages go round in circles or have no end.
        """
        params = listing_query(limit, filters)

        async def page(marker: str) -> ListingPage:
            query = canonical_query([*params, ("marker", marker)] if marker else params)

            async def ask() -> ListingPage:
                return self._transport.read(await self._get("/cloudservers/detail", query, what="look"), page_of)

            return await read_patiently(ask)

        return pages_of(page, limit)

    async def look_at_all(self, ids: Sequence[str]) -> Mapping[str, ServerView]:
        """Look at any number of servers, in as few requests as possible; return a view of each, by id.

        ``found`` is False only where the cloud says so, or shows nothing of a server in any way. Each view is made when
        it is asked for: a million are kept in a third of the memory that they would take.

        Raises:
            CloudError: not all servers could be seen, or the cloud's listing hides some.
            SelectionRefused: it cannot be found out whether some of them exist.
        """
        views = PackedViews()
        await see_all(self, ids, views)
        return views

    async def look_for(self, names: Collection[str]) -> list[ServerView]:
        """Look for servers by their exact names; several may have one name, and none is shown of a name that none has.

        Many calls at once cost few requests: names that are asked for during a search are looked for together, next.

        Raises:
            CloudError: not everything could be seen.
        """
        return await self._names.look_for(names)

    async def select(
        self,
        *,
        all: bool = False,  # noqa: A002 - the command line's word
        tags: Mapping[str, str] | Iterable[str] | None = None,
        name: str | None = None,
        az: str | Iterable[str] | None = None,
        status: str | Iterable[str] | None = None,
        enterprise_project: str | None = None,
    ) -> AsyncGenerator[Server]:
        """Yield the servers of the project that fit all filters, with zone (as ``domain``), name and address.

        The cloud's own filters are fuzzy: each server is checked again here. The first one comes once the whole listing
        was read, for a part of it is not the fleet; a filter that fits nothing yields nothing.

            async with EcsClient(region="eu-west-101", auth=credentials()) as ecs:
                servers = [server async for server in ecs.select(tags={"app": "web"}, az="eu-west-101a")]

        Args:
            all: True for every server of the project. A selection without any filter never means all: it is refused.
            tags: which tags a server must bear, all of them: ``{"app": "web"}`` or ``["app=web"]``; a tag without a
                value is ``{"app": ""}`` or ``["app"]``.
            name: the whole name, with ``*`` and ``?`` as wildcards.
            az: one availability zone, or several of which one must be the server's.
            status: one state such as ``ACTIVE``, or several of which one must be the server's.
            enterprise_project: the id of the enterprise project; ``all_granted_eps`` for all that the key may see.

        Raises:
            SelectionError: there is no filter and ``all`` is not given, both are, or a filter is empty: an empty text
                or list, as a variable may be by mistake, would select more than is meant.
            CloudError: not everything could be seen.
        """
        wanted = selection_of(
            tags, everything=all, name=name, az=az, status=status, enterprise_project=enterprise_project
        )
        for view in await fitting(self, wanted):
            yield from_view(view)

    async def _get(self, path: str, query: str, *, what: RequestKind) -> Answer:
        """Wait for a turn and ask; ask once more where the key or token was refused and there is another."""
        await self.turn()
        with suppress(AnotherKey):
            return await self._transport.get(path, query, what)
        await self.turn()
        try:
            return await self._transport.get(path, query, what)
        except AnotherKey as e:
            raise e.refusal from None
