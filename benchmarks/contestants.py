"""Programs that restart every server of a cloud: ``python -m benchmarks.contestants NAME URL INTERVAL BATCH THREADS``.

Each prints the CPU seconds that it had spent when it was ready to begin. The two peers do the least that a careful
person would write: looks at every job at a fixed interval until all its sub-jobs have ended. Ours know no interval.
"""

from __future__ import annotations

# Each contestant imports what it needs itself, since its start is measured.
# ruff: noqa: PLC0415
import asyncio
import sys
import tempfile
import time
import urllib.request
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.speed import SPEED

if TYPE_CHECKING:
    from ecsbatch import EcsClient

BATCH = 100
THREADS = 32
"""What is asked for where nothing else is said."""

ENDED = {"SUCCESS", "FAIL"}
KEY, SECRET, PROJECT = (
    "SIMULATEDKEY00000000",
    "simulated-secret-key-canary-0000000000000",
    "0a0b0c0d0e0f40008000000000000001",
)


class Task(NamedTuple):
    """What a contestant is to do: restart all servers of a cloud, in batches, with looks at an interval in seconds."""

    url: str
    interval: float = 0.0
    batch: int = BATCH
    threads: int = THREADS

    def batches(self) -> list[list[str]]:
        """Fetch the ids of all servers, in batches."""
        ids = fetch_ids(self.url)
        return [ids[start : start + self.batch] for start in range(0, len(ids), self.batch)]


def fetch_ids(url: str) -> list[str]:
    """Fetch the ids of all servers."""
    with urllib.request.urlopen(f"{url}/_simulator/ids") as answer:  # noqa: S310 - the simulator on this machine
        ids: list[str] = answer.read().decode().split()
    return ids


def ready() -> None:
    """Tell what starting has cost."""
    sys.stdout.write(f"{time.process_time()}\n")
    sys.stdout.flush()


def simulated_client(url: str) -> EcsClient:
    """Make a client of `ecsbatch`."""
    from ecsbatch import EcsClient
    from ecsbatch.ecs.auth.schemes import KeyAuth

    return EcsClient(auth=KeyAuth(KEY, SECRET), project_id=PROJECT, endpoint=url, api_rate=1000)


def ours(task: Task) -> None:
    """`ecsbatch` as a library, with a store on disk."""
    from ecsbatch import Engine, Quota, Restarter, Strategy, open_store

    engine = Engine(quota=Quota(1_000_000, 1.0), typical_restart=40 / SPEED, look_workers=16)
    ids = fetch_ids(task.url)
    strategy = Strategy(max_unavailable="100%", waves="100%", batch_size=task.batch)

    async def main(store: str) -> None:
        async with (
            simulated_client(task.url) as ecs,
            open_store(f"sqlite:///{store}/restarts.db") as books,
            Restarter(ecs, books, engine=engine) as restarter,
        ):
            ready()
            await restarter.rollout(ids, strategy).run()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(folder))


def command_line(task: Task) -> None:
    """`ecsbatch restart`, as typed: by the entry of its script. It is ready when it begins to start."""
    import os

    from ecsbatch.__main__ import main

    ready()
    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder, "ids.txt")
        listed.write_text("\n".join(fetch_ids(task.url)))
        os.environ |= {"HUAWEICLOUD_SDK_AK": KEY, "HUAWEICLOUD_SDK_SK": SECRET, "HUAWEICLOUD_SDK_PROJECT_ID": PROJECT}
        line = (
            f"ecsbatch restart {listed} --endpoint {task.url} --store sqlite:///{folder}/restarts.db --yes -o json"
            " --max-unavailable 100% --waves 100% --quota 1000000/1s --api-rate 1000/s --look-workers 16"
            f" --typical-restart {40 / SPEED:.2f}s --batch-size {task.batch}"
        )
        sys.argv = line.split()
        code = main()
    assert code == 0, code


def bare(task: Task) -> None:
    """A loop of aiohttp and orjson with our signer, and nothing that a crash or a lost answer would ask for."""
    import aiohttp
    import orjson

    from ecsbatch.ecs.auth.schemes import KeyAuth, UnsignedRequest

    url, auth = task.url, KeyAuth(KEY, SECRET)
    host, root = url.partition("://")[2], f"/v1/{PROJECT}"

    async def ask(session: aiohttp.ClientSession, method: str, path: str, body: bytes = b"") -> Any:
        headers = auth.headers(UnsignedRequest(method, host, root + path, "", body, PROJECT), time.time())
        async with session.request(method, url + root + path, data=body or None, headers=headers) as answer:
            return orjson.loads(await answer.read())

    async def restart(session: aiohttp.ClientSession, servers: Sequence[str]) -> None:
        order = {"reboot": {"type": "SOFT", "servers": [{"id": server} for server in servers]}}
        submitted = await ask(session, "POST", "/cloudservers/action", orjson.dumps(order))
        ended = 0
        while ended < len(servers):
            await asyncio.sleep(task.interval)
            job = await ask(session, "GET", f"/jobs/{submitted['job_id']}")
            ended = sum(one["status"] in ENDED for one in job["entities"].get("sub_jobs", ()))

    async def main() -> None:
        async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
            ready()
            for servers in task.batches():
                group.create_task(restart(session, servers))

    asyncio.run(main())


def sdk_restart(url: str, interval: float) -> Callable[[Sequence[str]], None]:
    """Return what restarts a batch with the official SDK, in the thread that calls it."""
    warnings.simplefilter("ignore", DeprecationWarning)
    from huaweicloudsdkcore.auth.credentials import BasicCredentials
    from huaweicloudsdkecs import v2 as ecs

    # Its pool of ten connections is left as it comes: one for each thread took a tenth more CPU, not less.
    client = (
        ecs.EcsClient.new_builder().with_credentials(BasicCredentials(KEY, SECRET, PROJECT)).with_endpoint(url).build()
    )

    def restart(servers: Sequence[str]) -> None:
        option = ecs.BatchRebootSeversOption(servers=[ecs.ServerId(server) for server in servers], type="SOFT")
        body = ecs.BatchRebootServersRequestBody(reboot=option)
        job_id = client.batch_reboot_servers(ecs.BatchRebootServersRequest(body=body)).job_id
        ended = 0
        while ended < len(servers):
            time.sleep(interval)  # as its users do: each thread waits by itself for the next look
            job = client.show_job(ecs.ShowJobRequest(job_id))
            ended = sum(one.status in ENDED for one in job.entities.sub_jobs or ())

    return restart


def sdk(task: Task) -> None:
    """The official SDK, a thread for each batch under way."""
    restart = sdk_restart(task.url, task.interval)
    ready()
    with ThreadPoolExecutor(task.threads) as pool:
        list(pool.map(restart, task.batches()))


CONTESTANTS = {"ours": ours, "command_line": command_line, "bare": bare, "sdk": sdk}

if __name__ == "__main__":
    name, url, *numbers = sys.argv[1:]
    interval, batch, threads = (*numbers, "0", "0", "0")[:3]
    CONTESTANTS[name](Task(url, float(interval), int(batch) or BATCH, int(threads) or THREADS))
