"""The official SDK as a foreign client: it signs, lists, reboots and reads a job without knowing who answers."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ecsbatch.simulator.cloud import CloudConfig
from ecsbatch.simulator.server import Running, serve


@pytest.fixture
def sdk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The SDK's ECS module; its import writes a file into the home directory, and its Python is of an older day."""
    monkeypatch.setenv("HOME", str(tmp_path))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import huaweicloudsdkecs.v2 as ecs  # noqa: PLC0415  # imported where its warnings are silenced

        yield ecs


def _client(sdk: Any, running: Running, secret_key: str = "") -> Any:
    from huaweicloudsdkcore.auth.credentials import BasicCredentials  # noqa: PLC0415  # as above

    config = running.cloud.config
    credentials = BasicCredentials(config.access_key, secret_key or config.secret_key, config.project_id)
    if config.security_token:
        credentials = credentials.with_security_token(config.security_token)
    return sdk.EcsClient.new_builder().with_credentials(credentials).with_endpoint(running.url).build()


@pytest.mark.parametrize("security_token", ["", "STS-TOKEN"])
async def test_the_official_sdk_lists_reboots_and_watches(sdk: Any, security_token: str) -> None:
    config = CloudConfig(servers=30, latency=0.0, init_time=0.0, security_token=security_token)
    async with serve(config) as running:
        ids = running.cloud.ids()
        running.cloud.rename(ids[8], "web a/b~1")
        client = _client(sdk, running)
        body = sdk.BatchRebootServersRequestBody(
            reboot=sdk.BatchRebootSeversOption(servers=[sdk.ServerId(one) for one in ids[:3]], type="SOFT")
        )
        listing = sdk.ListServersDetailsRequest(limit=10, name="web a/b~1", tags="app=web", not_tags="__x")
        reboot = sdk.BatchRebootServersRequest(body=body)
        listed = await asyncio.to_thread(client.list_servers_details, listing)
        submitted = await asyncio.to_thread(client.batch_reboot_servers, reboot)
        job = await asyncio.to_thread(client.show_job, sdk.ShowJobRequest(submitted.job_id))
        row = await asyncio.to_thread(client.show_server, sdk.ShowServerRequest(ids[0]))
        audit = running.audit()

    assert [server.id for server in listed.servers] == [ids[8]]
    assert listed.servers[0].os_ext_a_zavailability_zone == "az3"
    assert job.status == "RUNNING"
    assert [one.entities.server_id for one in job.entities.sub_jobs] == ids[:3]
    assert row.server.status == "REBOOT"
    assert (audit["restarts"], audit["bad_signatures"]) == (3, 0)


async def test_the_official_sdk_with_a_wrong_key_is_refused(sdk: Any) -> None:
    from huaweicloudsdkcore.exceptions.exceptions import ClientRequestException  # noqa: PLC0415  # as above

    async with serve(CloudConfig(servers=1, latency=0.0)) as running:
        client = _client(sdk, running, secret_key="wrong")
        with pytest.raises(ClientRequestException) as refused:
            await asyncio.to_thread(client.list_servers_details, sdk.ListServersDetailsRequest())

    assert (refused.value.status_code, refused.value.error_code) == (401, "APIGW.0301")
    assert len(refused.value.request_id) == 32
