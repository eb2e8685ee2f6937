"""The process that forks graders."""

from __future__ import annotations

from benchhost.evaluation import zygote


def test_a_zygote_whose_host_is_gone_before_it_has_begun_ends_without_a_word(capfd) -> None:
    process, host = zygote.start()
    host.close()
    assert process.wait(30) == 0
    assert capfd.readouterr().err == ""
