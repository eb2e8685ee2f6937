"""The process that forks graders."""

from __future__ import annotations

import sys

import pytest

from benchhost.errors import UsageError
from benchhost.evaluation import zygote
from benchhost.server.serve import serve
from benchhost.settings import Settings


def test_a_zygote_whose_host_is_gone_before_it_has_begun_ends_without_a_word(capfd) -> None:
    process, host = zygote.start()
    host.close()
    assert process.wait(30) == 0
    assert capfd.readouterr().err == ""


def test_without_linux_it_is_said_what_is_missing_before_anything_is_begun(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(UsageError, match="only Linux keeps apart: take a container of Linux"):
        zygote.start()
    with pytest.raises(UsageError, match="container of Linux"):
        serve(Settings(state=tmp_path / "state"))
    assert not (tmp_path / "state").exists()
