"""The zygote's program: ``python -I -S program.py <descriptor> <hidden directory> ...``.

It makes stand-ins for the packages above its modules, so that no package's ``__init__`` loads what it has no use for.
"""

import os
import socket
import sys
import types

_PACKAGES = ("benchhost", "benchhost.sandbox", "benchhost.sandbox.judge", "benchhost.sandbox.local")

if __name__ == "__main__":
    above = os.path.abspath(__file__)
    for _ in range(4):
        above = os.path.dirname(above)
    for package in _PACKAGES:
        module = types.ModuleType(package)
        module.__path__ = [os.path.join(above, *package.split("."))]
        sys.modules[package] = module
    from benchhost.sandbox.judge import zygote

    zygote.main(socket.socket(fileno=int(sys.argv[1])), sys.argv[2:])
