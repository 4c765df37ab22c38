"""One signed request and its answer: sent once, read without our secrets, and judged by what may be done next."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol, TypeVar

from ecsbatch.clock import Clock
from ecsbatch.ecs.auth.schemes import Auth, UnsignedRequest
from ecsbatch.ecs.auth.signer import Signed, Signer, was_refused
from ecsbatch.ecs.departure import Departure, checked_answer
from ecsbatch.ecs.error_codes import RequestKind, error_of
from ecsbatch.ecs.sender import Answer, Request, Sender
from ecsbatch.errors import AuthError, ConfigError, NotSent, UnknownAnswer
from ecsbatch.foreign import Broke, asked, ours
from ecsbatch.model.servers import Site
from ecsbatch.model.text import one_line, truncate

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

_RENEWING: Final = 2.0
"""How many times the time-out of a request getting a new key or token may take: some need two requests."""


class BodyReader(Protocol[T_co]):
    """What reads the body of a 2xx answer."""

    def __call__(self, body: bytes, *, redact: Callable[[str], str]) -> T_co:
        """Return what it says; texts of it go through ``redact``."""
        ...


class AnotherKey(Exception):
    """The key or token was refused, and there is another by now.

    Attributes:
        refusal: what the cloud said.
    """

    def __init__(self, refusal: AuthError) -> None:
        super().__init__(str(refusal))
        self.refusal = refusal


class Transport:
    """Signs and sends the requests of one client.

    Args:
        site: where they go.
        auth: how they are signed.
        sender: sends one.
        clock: gives the signatures' time.
        timeout: seconds from the first step of sending to the end of the answer.
        trusted: the sender is our own, and so is all that it works with.

    Attributes:
        site: as given; the project may become known later.
        signer: what signs.

    Raises:
        ConfigError: a given endpoint of IAM is malformed.
    """

    def __init__(
        self, site: Site, auth: Auth, sender: Sender, clock: Clock, timeout: float, *, trusted: bool = False
    ) -> None:
        self.site = site
        self._sender = sender
        self._trusted = trusted
        self._timeout = timeout
        self._host = site.endpoint.partition("://")[2]
        self.signer = Signer(auth, site, clock, self._ask, _RENEWING * timeout)

    async def get(self, path: str, query: str, what: RequestKind) -> Answer:
        """Ask once; errors are those of `post`."""
        return await self._signed(self._unsigned("GET", path, query, b""), None, what)

    async def post(self, path: str, body: bytes, on_sent: Callable[[], None] | None, what: RequestKind) -> Answer:
        """Send once; return a 2xx answer, raise the error that any other one means.

        Args:
            path: behind the project's id.
            body: the bytes.
            on_sent: called before the first byte can leave; where it raises, nothing is sent.
            what: what is asked for.

        Raises:
            AnotherKey: the key or token was refused, and there is another one by now.
            CloudError: it did not succeed otherwise.
        """
        return await self._signed(self._unsigned("POST", path, "", body), on_sent, what)

    def read(self, answer: Answer, read: BodyReader[T]) -> T:
        """Read a 2xx answer without our secrets; the error about an unreadable one gets its status and request id.

        Raises:
            UnknownAnswer: it is not the documented one.
        """
        try:
            return read(answer.body, redact=self.signer.redact)
        except UnknownAnswer as e:
            if not answer.complete:
                e.message = "The cloud's answer broke off."
            e.status = answer.status
            e.request_id = truncate(self.signer.redact(one_line(answer.headers.get("x-request-id", ""))), 128)
            raise

    def _unsigned(self, method: str, path: str, query: str, body: bytes) -> UnsignedRequest:
        project_id = self.site.project_id
        if not project_id:
            raise ConfigError("The project's id is not known yet: enter the EcsClient with async with.")
        return UnsignedRequest(method, self._host, f"/v1/{project_id}{path}", query, body, project_id)

    async def _signed(self, unsigned: UnsignedRequest, on_sent: Callable[[], None] | None, what: RequestKind) -> Answer:
        spent: Signed | None = None

        async def attempt(signed: Signed) -> Answer:
            nonlocal spent
            spent = signed
            return await self._attempt(unsigned, signed, on_sent, what)

        try:
            return await self.signer.send(unsigned, attempt)
        except AuthError as e:
            if spent is not None and was_refused(e) and await self.signer.another(unsigned, spent, e):
                raise AnotherKey(e) from None
            raise

    async def _attempt(
        self, unsigned: UnsignedRequest, signed: Signed, on_sent: Callable[[], None] | None, what: RequestKind
    ) -> Answer:
        query = f"?{unsigned.query}" if unsigned.query else ""
        url = f"{self.site.endpoint}{unsigned.path}{query}"
        answer = await self._send(Request(unsigned.method, url, signed.headers, unsigned.body), on_sent)
        if 200 <= answer.status < 300:  # noqa: PLR2004 - what HTTP calls success
            return answer
        redact = self.signer.redact
        raise error_of(answer.status, answer.headers, answer.body, what=what, redact=redact, complete=answer.complete)

    async def _ask(self, request: Request) -> Answer:
        return await self._send(request, None)

    async def _send(self, request: Request, on_sent: Callable[[], None] | None) -> Answer:
        """Send once; the error says whether a byte may have left."""
        departure = Departure(on_sent)
        try:
            if self._trusted:
                return await ours(lambda: self._sender(request, departure.mark), self._timeout)
            return await asked(
                lambda: self._sender(request, departure.mark),
                checked_answer,
                self._timeout,
                given_up=departure.cut,
            )
        except Broke as e:
            if departure.refusal is not None and not departure.sent:
                raise departure.refusal from None
            reason, cause = self.signer.reason(e), self.signer.cause(e)
            if not departure.sent:
                raise NotSent(f"The request was not sent: {reason}.") from cause
            start = "Nothing could be seen" if request.method == "GET" else "The request may have been carried out"
            raise UnknownAnswer(f"{start}: {reason}.") from cause
        finally:
            departure.cut()
