"""What the authors of plugins, and we, test with. Nothing of the host imports it."""

from benchhost.testing.plugins import install_plugin
from benchhost.testing.server import RunningServer, serving

__all__ = ["RunningServer", "install_plugin", "serving"]
