"""The filter of system calls that is loaded in two parts refuses what the one in a single part refuses."""

from __future__ import annotations

import struct

import pytest

from benchhost.sandbox.local import seccomp
from benchhost.sandbox.local.kernel import MACHINE

LOAD, EQUAL, ABOVE, ANY_BIT, RETURN = 0x20, 0x15, 0x25, 0x45, 0x06
ARCHITECTURE = {"x86_64": 0xC000_003E, "aarch64": 0xC000_00B7}[MACHINE]
ALLOWED = 0x7FFF_0000
ARGUMENTS = (0, 1, 2, 0x5412, 0x0002_0000, 0x2000_0000, 0x7E02_0011, 0xFFFF_FFFF)
KINDS = [
    {"network": False, "memory_files": False, "uncounted": False},
    {"network": False, "memory_files": False},
    {"network": True, "memory_files": True},
]


def verdict(program: bytes, number: int, *arguments: int, architecture: int = ARCHITECTURE) -> int:
    """Run a filter as the kernel does."""
    data = struct.pack("=IIQ6Q", number, architecture, 0, *arguments, *[0] * (6 - len(arguments)))
    lines = list(struct.iter_unpack("=HBBI", program))
    loaded = at = 0
    while True:
        code, if_so, if_not, value = lines[at]
        at += 1
        if code == RETURN:
            return value
        if code == LOAD:
            (loaded,) = struct.unpack_from("=I", data, value)
        else:
            holds = {EQUAL: loaded == value, ABOVE: loaded > value, ANY_BIT: bool(loaded & value)}[code]
            at += if_so if holds else if_not


@pytest.mark.parametrize("kind", KINDS, ids=["judge", "sandbox without a network", "sandbox"])
def test_both_parts_together_refuse_what_the_whole_refuses(kind):
    whole, first, rest = seccomp.program(**kind), seccomp.program(**kind, builds=True), seccomp.rest()
    for number in (*range(500), 0x4000_0000, 0xFFFF_FFFF):
        for one in ARGUMENTS:
            for other in (0, 1, 0x5412):
                asked = number, one, other
                assert min(verdict(first, *asked), verdict(rest, *asked)) == verdict(whole, *asked), asked


def test_the_first_part_leaves_open_what_walls_are_built_with_and_no_more():
    whole, first = seccomp.program(), seccomp.program(builds=True)
    differ = [number for number in range(500) if verdict(whole, number) != verdict(first, number)]
    assert differ == [429, 430, 431, 432]


@pytest.mark.parametrize(
    "flags, allowed", [(0x1, True), (0x2, True), (0x22, True), (0x21, False), (0x4021, False), (0x4022, True)]
)
def test_shared_memory_is_refused_where_it_lies_in_no_file(flags, allowed):
    program = seccomp.program(uncounted=False)
    number = {"x86_64": 9, "aarch64": 222}[MACHINE]
    assert (verdict(program, number, 0, 4096, 3, flags) == ALLOWED) == allowed
    assert verdict(seccomp.program(), number, 0, 4096, 3, flags) == ALLOWED


@pytest.mark.parametrize(
    "family, kind, allowed",
    [(1, 1, True), (1, 5, True), (1, 0x80801, True), (1, 2, False), (1, 3, False), (2, 1, False)],
)
def test_without_a_network_pairs_of_sockets_stay_pairs(family, kind, allowed):
    number = {"x86_64": 53, "aarch64": 199}[MACHINE]
    assert (verdict(seccomp.program(network=False), number, family, kind) == ALLOWED) == allowed


@pytest.mark.parametrize("program", [seccomp.program(), seccomp.program(builds=True), seccomp.rest()])
def test_calls_of_another_machine_end_the_process(program):
    assert verdict(program, 0, architecture=0x4000_0003) == 0x8000_0000
