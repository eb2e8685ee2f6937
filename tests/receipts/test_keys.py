"""The key is made once, is for its owner alone, and its public half is what other tools read."""

from __future__ import annotations

import os
import stat
import subprocess
import sys

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from benchhost.errors import UsageError
from benchhost.receipts import PublicKey, SigningKey


def test_a_key_is_made_on_first_use_for_its_owner_alone_and_stays(tmp_path):
    path = tmp_path / "state" / "receipt.key"
    key = SigningKey.kept(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert SigningKey.kept(path).public.id == key.public.id
    assert [each.name for each in path.parent.iterdir()] == ["receipt.key"]


def test_processes_that_make_the_key_at_once_have_the_same(tmp_path):
    code = "import sys, pathlib; from benchhost.receipts import SigningKey; "
    code += "sys.stdin.read(); print(SigningKey.kept(pathlib.Path(sys.argv[1])).public.id)"
    command = [sys.executable, "-c", code, str(tmp_path / "receipt.key")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, **pipes) for _ in range(4)]
    assert len({process.communicate("now")[0] for process in processes}) == 1


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_key_that_others_can_read_is_refused(tmp_path, mode):
    path = tmp_path / "receipt.key"
    SigningKey.kept(path)
    path.chmod(mode)
    with pytest.raises(UsageError, match="can be read by others"):
        SigningKey.kept(path)


def test_a_file_that_holds_no_key_is_refused_and_left(tmp_path):
    path = tmp_path / "receipt.key"
    path.write_bytes(b"something else")
    path.chmod(0o600)
    with pytest.raises(UsageError, match="holds no key"):
        SigningKey.kept(path)
    assert path.read_bytes() == b"something else"


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be used"):
        SigningKey.kept(tmp_path / "file" / "receipt.key")


def test_the_public_key_is_read_by_other_tools_and_by_us(tmp_path):
    key = SigningKey.kept(tmp_path / "receipt.key")
    said = os.urandom(40)
    load_pem_public_key(key.public.pem.encode()).verify(bytes.fromhex(key.sign(said)), said)
    read = PublicKey.of_pem(key.public.pem.encode())
    assert read.id == key.public.id
    assert read.has_signed(key.sign(said), said)
    assert not read.has_signed(key.sign(said), said + b"!")
    assert not read.has_signed("no signature", said)


@pytest.mark.parametrize("pem", [b"", b"-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n"])
def test_what_is_no_public_key_is_refused(pem):
    with pytest.raises(UsageError, match="no public key"):
        PublicKey.of_pem(pem)
