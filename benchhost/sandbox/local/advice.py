"""What to change on a machine that does not let sandboxes be made."""


def advice(said: str) -> str:
    """Say what to change when a sandbox cannot be made for a reason that the kernel gave."""
    if "mount proc" in said:
        return f"{said}: in a container, start it with --security-opt systempaths=unconfined, beside seccomp=unconfined"
    if "space left" in said:
        return f"{said}: raise the sysctl user.max_user_namespaces, which may be 0"
    return (
        f"{said}: in a container, start it with --security-opt seccomp=unconfined --security-opt "
        "systempaths=unconfined; on Ubuntu, with apparmor=unconfined too, or set the sysctl "
        "kernel.apparmor_restrict_unprivileged_userns to 0; on a Debian before 11, "
        "kernel.unprivileged_userns_clone to 1"
    )
