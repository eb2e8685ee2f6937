"""What is sent arrives whole, and who sends faster than the other end reads is made to wait."""

from __future__ import annotations

import asyncio
import socket

import pytest

from benchhost.evaluation.frames import Frames, Note

pytestmark = pytest.mark.anyio


async def test_who_sends_faster_than_is_read_waits_until_enough_is_read():
    ours, theirs = socket.socketpair()
    arrived, ended = [], asyncio.Event()
    sender = Frames(list[Note], lambda _: None, lambda: None)
    await asyncio.get_running_loop().create_unix_connection(lambda: sender, sock=ours)

    async def send() -> None:
        for number in range(10_000):
            sender.send(Note(number, "x" * 1000))
            if number % 10 == 0:
                await sender.sent()

    sending = asyncio.create_task(send())
    await asyncio.sleep(0.2)
    assert not sending.done()
    reader = Frames(list[Note], arrived.extend, ended.set)
    await asyncio.get_running_loop().create_unix_connection(lambda: reader, sock=theirs)
    await asyncio.wait_for(sending, 10)
    sender.close()
    await asyncio.wait_for(ended.wait(), 5)
    assert [note.number for note in arrived] == list(range(10_000))
    reader.close()


async def test_who_waits_for_an_end_that_is_gone_waits_no_longer():
    ours, theirs = socket.socketpair()
    sender = Frames(list[Note], lambda _: None, lambda: None)
    await asyncio.get_running_loop().create_unix_connection(lambda: sender, sock=ours)
    sender.send(Note(1, "x" * 10_000_000))
    waiting = asyncio.create_task(sender.sent())
    await asyncio.sleep(0.1)
    assert not waiting.done()
    theirs.close()
    await asyncio.wait_for(waiting, 5)
