"""The lag of a call is that around its first token, however long the call waited for it."""

from __future__ import annotations

import asyncio
import time

import pytest

from ipyllm.runtime.loop_lag import LagMonitor
from tests.stalls import again_if_stalled

BLOCK_S = 1.0


async def _lag_s(*, blocks_at_the_end):
    with LagMonitor().measure() as lag:
        await asyncio.sleep(0.05)
        time.sleep(BLOCK_S)
        if not blocks_at_the_end:
            await asyncio.sleep(0.5)
        await asyncio.sleep(0)
        lag.end()
        await asyncio.sleep(0.05)
        time.sleep(BLOCK_S)
        await asyncio.sleep(0.05)
    return lag.worst_s


@pytest.mark.parametrize("blocks_at_the_end", [True, False])
@again_if_stalled(0.1)
def test_a_delay_counts_if_it_was_there_when_the_first_token_was_read(blocks_at_the_end):
    lag_s = asyncio.run(_lag_s(blocks_at_the_end=blocks_at_the_end))
    assert (lag_s > BLOCK_S / 2) is blocks_at_the_end
