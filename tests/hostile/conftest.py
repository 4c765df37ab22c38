"""Scenarios wait more than they work: those of a file are played three at once while its tests take them in turn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from .scenarios import play
from .stage import Product
from .verdict import Verdict

AT_ONCE = 3


@pytest.fixture(scope="module")
def playing(request: pytest.FixtureRequest) -> Iterator[Mapping[str, Future[Verdict]]]:
    """Begin every scenario of this file that was asked for."""
    product = Product.from_environment()
    here = [item for item in request.session.items if isinstance(item, pytest.Function)]
    asked = [item for item in here if item.module is request.module and "playing" in item.fixturenames]
    names = [str(item.callspec.params["name"]) for item in asked]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {name: pool.submit(play, name, product) for name in names}
        pool.shutdown(cancel_futures=True)
