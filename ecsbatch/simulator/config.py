"""The settings of the simulated cloud. Facts about the real API are written where they are used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

BadIds = Literal["request", "sub_job"]

NO_SHARES: Mapping[str, float] = {}


@dataclass(frozen=True, slots=True)
class Faults:
    """The probability of each fault; at most one is drawn for each request, and without one it goes well.

    Attributes:
        reject_503: the gateway answers 503 and passes nothing on.
        throttle: the gateway answers 429 although the quota is not used up.
        reset_before: the connection dies before anything is carried out.
        reset_after: carried out, then the connection dies.
        lost_reply: carried out, the reply never comes.
        silent: not carried out, no reply either.
        late_execution: no reply; carried out up to ``late_max`` seconds after the client has given up.
        error_500_after: carried out, then 500.
        retryable_400: ``Ecs.1000`` after carrying out a part of the servers, or none.
        ecs_0603_501: 501 ``Ecs.0603``, "commands are being executed"; not carried out.
        no_job_id: carried out, 2xx with ``{}``.
        html_502: an HTML page; carried out in half of the cases.
        empty_body: carried out, 200 with no body.
        truncated: carried out, the body breaks off.
        garbage: carried out, 200 with random bytes, wrong JSON types, nulls or unknown fields.
        huge: carried out, a body of ``huge_bytes``.
        slow: goes well, ``slow_by`` seconds later.
        late_max: the longest late execution, in seconds after the client has given up.
        slow_by: seconds that ``slow`` adds before the execution.
        huge_bytes: the size of a ``huge`` body.
    """

    reject_503: float = 0.0
    throttle: float = 0.0
    reset_before: float = 0.0
    reset_after: float = 0.0
    lost_reply: float = 0.0
    silent: float = 0.0
    late_execution: float = 0.0
    error_500_after: float = 0.0
    retryable_400: float = 0.0
    ecs_0603_501: float = 0.0
    no_job_id: float = 0.0
    html_502: float = 0.0
    empty_body: float = 0.0
    truncated: float = 0.0
    garbage: float = 0.0
    huge: float = 0.0
    slow: float = 0.0
    late_max: float = 45.0
    slow_by: float = 10.0
    huge_bytes: int = 40 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class CloudConfig:
    """What the cloud is like. Durations are seconds of the cloud's time, rates are shares between 0 and 1.

    Attributes:
        seed: decides everything that is random.
        epoch: the cloud's wall time (seconds since 1970) at time 0, unless `SimulatedCloud` is given a wall clock.
        clock_skew: seconds by which the cloud's wall clock is ahead of it.
        region: in the names of IAM projects.
        project_id: the only project.

        servers: how many there are.
        zones: their availability zones, taken in turn.
        servers_per_host: how many share a ``hostId``.
        name_prefix: before the number in a server's name.
        tags: sets of tags (``key=value``), taken in turn after the zones.
        enterprise_project_id: of all servers.
        user_data: a canary in every row: a secret that must not be logged or stored.
        locked, shutoff, error: how many servers are, a count (int) or a share of all (float).

        restart_median, restart_sigma: the log-normal distribution of a restart, from its sub-job's begin to its end.
        power_median: the median of starting or stopping a server, with the same sigma.
        parent_lag: from the end of a job's last sub-job to its own end (8.3 s in the one recorded job).
        init_time: for how long a job is INIT with ``entities: {}``.
        task_state_lag: from the begin of a restart until the server shows it.
        boot_time: from the end of a restart until the guest answers its health check.
        job_retention: from a job's end until the cloud forgets it (the reference says a day).
        job_visible_after: from the submit until the cloud knows the job's id.
        launched_moves: whether ``launched_at`` moves at a restart; the reference does not say.
        parent_fails: whether one failed sub-job makes the job itself FAIL.
        bad_ids: what one missing, locked or busy server does: refuse the ``request``, or fail its ``sub_job``.
        hard_overrides_soft: a HARD reboot is taken while a SOFT one runs, as in OpenStack; the reference is silent.
        accepted_status: the HTTP status of an accepted action, 200 or 202.

        fail_rate: restarts whose sub-job fails.
        fail_to_error: of these, the share whose server ends in ERROR instead of ACTIVE.
        stuck_rate: restarts that never end.
        unhealthy_rate: restarts that succeed while the guest never comes up.
        fail_zones, stuck_zones, unhealthy_zones: rates for single zones, in place of the general ones.
        fail_hosts, unhealthy_hosts: rates for single hosts (by ``hostId``), in place of both.

        check_auth: whether requests must be signed or carry a token.
        access_key, secret_key: the one key pair.
        security_token: not empty for temporary credentials: it must come with each signed request.
        iam_user, iam_password, iam_domain: the user that can get a token.
        token_ttl: how long a token is valid.
        max_failures: bad signatures in a row before a key is locked.
        lock_time: for how long it is locked then.

        quota_limit, quota_window: how many servers may be restarted in any window of seconds; None for any number.
        quota_counts_refused: whether a request that was refused with 429 is counted too.
        foreign_load: servers per minute that somebody else restarts with the same quota.
        api_rate: requests per second that the gateway lets through; None for any number.
        max_batch: the most servers in one request.

        latency: the mean round trip. For the HTTP server these are real seconds whatever its speed.
        latency_sigma: its log-normal spread.
        submit_faults, look_faults: faults of POST actions, and of all other requests to ECS.
        outages: spans (start, end) of the cloud's time in which connections are refused.
        blackholes: spans in which connections open and nothing ever comes back.
        client_patience: after how long a client that never hangs up is taken to have given up.
    """

    seed: int = 1
    epoch: float = 1_767_225_600.0
    clock_skew: float = 0.0
    region: str = "eu-west-101"
    project_id: str = "0a0b0c0d0e0f40008000000000000001"

    servers: int = 100
    zones: tuple[str, ...] = ("az1", "az2", "az3")
    servers_per_host: int = 20
    name_prefix: str = "server"
    tags: tuple[tuple[str, ...], ...] = (("app=web", "stage=prod"), ("app=db", "stage=prod"), ("app=web", "stage=test"))
    enterprise_project_id: str = "0"
    user_data: str = "Y2FuYXJ5LXNlY3JldC11c2VyLWRhdGE="
    locked: float = 0
    shutoff: float = 0
    error: float = 0

    restart_median: float = 40.0
    restart_sigma: float = 0.25
    power_median: float = 15.0
    parent_lag: float = 8.0
    init_time: float = 0.3
    task_state_lag: float = 0.0
    boot_time: float = 0.0
    job_retention: float = 86_400.0
    job_visible_after: float = 0.0
    launched_moves: bool = False
    parent_fails: bool = True
    bad_ids: BadIds = "sub_job"
    hard_overrides_soft: bool = True
    accepted_status: int = 200

    fail_rate: float = 0.0
    fail_to_error: float = 0.5
    stuck_rate: float = 0.0
    unhealthy_rate: float = 0.0
    fail_zones: Mapping[str, float] = field(default_factory=lambda: NO_SHARES)
    stuck_zones: Mapping[str, float] = field(default_factory=lambda: NO_SHARES)
    unhealthy_zones: Mapping[str, float] = field(default_factory=lambda: NO_SHARES)
    fail_hosts: Mapping[str, float] = field(default_factory=lambda: NO_SHARES)
    unhealthy_hosts: Mapping[str, float] = field(default_factory=lambda: NO_SHARES)

    check_auth: bool = True
    access_key: str = "SIMULATEDKEY00000000"
    secret_key: str = "simulated-secret-key-canary-0000000000000"  # noqa: S105  # a canary, it opens nothing
    security_token: str = ""
    iam_user: str = "simulated-user"
    iam_password: str = "simulated-password-canary"  # noqa: S105  # a canary, it opens nothing
    iam_domain: str = "simulated-domain"
    token_ttl: float = 86_400.0
    max_failures: int = 5
    lock_time: float = 300.0

    quota_limit: int | None = 1000
    quota_window: float = 60.0
    quota_counts_refused: bool = False
    foreign_load: float = 0.0
    api_rate: int | None = None
    max_batch: int = 1000

    latency: float = 0.1
    latency_sigma: float = 0.3
    submit_faults: Faults = field(default_factory=Faults)
    look_faults: Faults = field(default_factory=Faults)
    outages: tuple[tuple[float, float], ...] = ()
    blackholes: tuple[tuple[float, float], ...] = ()
    client_patience: float = 30.0
