"""The providers start, stop and fail as one context manager."""

import asyncio

import pytest

from service.demo.providers import Providers


async def test_an_error_of_the_block_comes_out_as_it_is_and_the_ports_are_free_again() -> None:
    providers = Providers()
    with pytest.raises(LookupError, match="mine"):
        async with providers:
            raise LookupError("mine")

    async with Providers(rest_port=providers.rest_port, websocket_port=providers.websocket_port) as again:
        assert again.rest_url == providers.rest_url
        assert again.websocket_url == providers.websocket_url


async def test_a_taken_port_is_an_error_and_leaves_nothing_running() -> None:
    async with Providers() as first:
        with pytest.raises(OSError, match="address already in use"):
            async with Providers(websocket_port=first.websocket_port):
                pass
    assert len(asyncio.all_tasks()) == 1


async def test_a_publisher_that_crashes_ends_the_block_with_its_error() -> None:
    providers = Providers()
    providers.faults.disconnect = "often"  # type: ignore[assignment]  # a mistake that shows at the first event
    with pytest.raises(ExceptionGroup) as failed:
        async with providers:
            await asyncio.Event().wait()
    assert failed.group_contains(TypeError)


async def test_an_endless_story_cannot_be_built_beforehand() -> None:
    with pytest.raises(ValueError, match="total"):
        Providers(prebuilt=True)
