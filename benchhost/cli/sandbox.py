"""``benchhost sandbox``: the commands about sandboxes and their images."""

from __future__ import annotations

import click

from benchhost.cli.commands import Commands

SANDBOX = {
    "create": ("benchhost.cli.sandboxes", "Make a sandbox, and say its id."),
    "exec": ("benchhost.cli.sandboxes", "Run a command in a sandbox."),
    "ls": ("benchhost.cli.sandboxes", "List the sandboxes, the oldest first."),
    "rm": ("benchhost.cli.sandboxes", "Delete sandboxes, with all that runs in them."),
    "image": ("benchhost.cli.sandbox", "Look after the images that sandboxes are made of."),
    "escape-suite": ("benchhost.cli.escaping", "Try to get out of a sandbox in many ways, and say what came of it."),
}
"""Where each command is, and its help in the list."""

IMAGE = {
    "load": ("benchhost.cli.sandbox_images", "Keep an image from a file under a name."),
    "ls": ("benchhost.cli.sandbox_images", "List the images that are kept here."),
    "rm": ("benchhost.cli.sandbox_images", "Remove images, or names of them."),
}
"""Likewise, of the images."""


@click.group(cls=Commands, table=SANDBOX)
def sandbox() -> None:
    """Make sandboxes, use them, and see that nothing gets out of them."""


@click.group(cls=Commands, table=IMAGE)
def image() -> None:
    """Look after the images that sandboxes are made of."""
