"""What is sent arrives whole, and who sends faster than the other end reads is made to wait."""

from __future__ import annotations

import asyncio
import socket

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchhost.evaluation.frames import ROOM, Frames, Note

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


@given(
    sizes=st.lists(st.one_of(st.integers(0, 100), st.integers(ROOM - 100, ROOM + 100)), max_size=8),
    cuts=st.lists(st.one_of(st.integers(1, 9), st.integers(1, 2 * ROOM)), min_size=1, max_size=9),
)
def test_frames_arrive_whole_however_they_are_cut(sizes, cuts):
    sent = [[Note(number, "x" * size)] for number, size in enumerate(sizes)]
    frames = [msgspec.msgpack.encode(messages) for messages in sent]
    stream = b"".join(len(frame).to_bytes(4, "big") + frame for frame in frames)

    async def run() -> None:
        arrived: list[list[Note]] = []
        reader = Frames(list[Note], arrived.append, lambda: None)
        position, turn = 0, 0
        while position < len(stream):
            room = reader.get_buffer(-1)
            piece = stream[position : position + min(len(room), cuts[turn % len(cuts)])]
            room[: len(piece)] = piece
            del room
            reader.buffer_updated(len(piece))
            # The small cuts are for where frames begin: the rest of a large frame comes in large pieces.
            position, turn = position + len(piece), turn + 1
            if turn > 200:
                cuts[:] = [ROOM]
        assert arrived == sent
        assert len(reader.get_buffer(-1)) == ROOM, "the room for a large frame is kept after it"

    asyncio.run(run())
