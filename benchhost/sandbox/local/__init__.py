"""Sandboxes on this machine, made by benchhost itself: no daemon, no account, no system package.

Two kinds of modules stand side by side. What the *keeper* and the *holders* consist of (everything down to
:mod:`.keeper`) imports the standard library and its own kind only: it runs in an interpreter without packages, see
:mod:`.keeping`. The other kind (:mod:`.provider` and what it uses) runs in the host and talks to them.

::

    host, its workers, graders              keeper                    sandbox
    provider ─▶ sandbox ─▶ process, files   keeper ── confinement ──▶ holder (pid 1) ── execution ──▶ a command
         │          │                         ▲  └ cgroups, quota     ▲    root, mounts, kernel,
         └──────────┼─────────────────────────┘ keeper.socket         │    seccomp, landlock, limits
                    └─────────────────────────────────────────────────┘ holder.socket
"""
