"""Runs a module of this package as a program: ``python -I -S alone.py <module> <argument> ...``, and its ``main``.

Such a program forks, often, and is quickly forked when it is small. So there are stand-ins for the packages above its
modules: no package's ``__init__`` is run, and loads what the program has no use for.
"""

import os
import sys
import types
from importlib import import_module

PROGRAM = os.path.abspath(__file__)

_PACKAGES = ("benchhost", "benchhost.sandbox", "benchhost.sandbox.judge", "benchhost.sandbox.local")

if __name__ == "__main__":
    above = os.path.dirname(os.path.dirname(os.path.dirname(PROGRAM)))
    for package in _PACKAGES:
        module = types.ModuleType(package)
        module.__path__ = [os.path.join(above, *package.split("."))]
        sys.modules[package] = module
    del sys.argv[0]
    import_module(sys.argv[0]).main()
