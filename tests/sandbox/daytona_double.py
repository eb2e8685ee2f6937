"""Daytona's HTTP and WebSocket endpoints on loopback, as far as benchhost uses them.

Sandboxes are real: they are made by another provider, in which sessions, commands and files are what they are at
Daytona. A session is a shell that reads its commands from a pipe; a command's outputs go through a loop of `read`
into a log, each line behind a mark; the log ends about a second after the command. Hence the oddities, which are
Daytona's: NUL bytes and a missing last newline are lost, `exit 3` ends the session's shell and leaves no exit
code, what holds an output open keeps the log open, and input never ends. That was measured against Daytona's own
handlers; every answer is checked with the models that the SDK brings.

`double.faults` says what goes wrong: see :class:`Fault`.
"""

import asyncio
import contextlib
import json
import posixpath
import shlex
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime

import daytona_api_client_async as api
import daytona_toolbox_api_client_async as toolbox
from aiohttp import WSMsgType, web

from benchhost.contract import Resources, SandboxSpec, Stdout
from benchhost.errors import SandboxFileError, SandboxNotFound

FAULT = web.RequestKey("fault", object)
KEY = "dtn_0123456789abcdefghijklmnopqrstuvwxyz"
WORK = "/work"
"""Where commands start, and paths that are not absolute."""
CLOSES_AFTER = 0.9
"""Seconds between the end of a command and that of its log."""

SESSION = r"""
mkdir -p "$1" && cd "$1" && mkfifo in never || exit 1
begin='echo $$ >pid; cd /work; exec 3<>"$1/in" 4<>"$1/never"; exec /bin/bash <"$1/in"'
(setsid /bin/sh -c "$begin" sh "$1" >/dev/null 2>&1 &)
while [ ! -s pid ]; do sleep 0.01; done
"""
COMMAND = r"""
mkfifo {at}/sp {at}/ep
mark() {{ while IFS= read -r line || [ -n "$line" ]; do printf '%b%s\n' "$1" "$line"; done; }}
mark '\001\001\001' <{at}/sp >>{at}/log & r1=$!
mark '\002\002\002' <{at}/ep >>{at}/log & r2=$!
{{ {command}
}} <{session}/never >{at}/sp 2>{at}/ep
code=$?
wait "$r1" "$r2"
echo "$code" >{at}/exit.tmp; mv {at}/exit.tmp {at}/exit
"""
END_SESSION = r"""
end() { for child in $(ps -o pid= --ppid "$1"); do end "$child"; done; kill -9 "$1" 2>/dev/null; }
p=$(cat "$1/pid"); end "$p"; kill -9 -"$p" 2>/dev/null; rm -rf "$1"
"""
KEEP = "tar -cf - -C / --exclude=tmp/.daytona --exclude='tmp/.benchhost-*' tmp"
RESTORE = "tar -xpf - -C / --no-overwrite-dir"


@dataclass
class Fault:
    """What goes wrong with the requests of a route: the first `times` of them, after `after` that go well.

    `status` is answered instead. `lost` does what was asked for and then hangs up; `dropped` hangs up at once.
    `delay` is in seconds, before. Of a log: `endless` does not close it, `close` closes it with that code,
    `cut` hangs up after so many bytes. `codeless` leaves out the exit code.
    """

    route: str
    times: int = 1
    after: int = 0
    status: int | None = None
    message: str = "the double was told to"
    headers: dict[str, str] = field(default_factory=dict)
    lost: bool = False
    dropped: bool = False
    delay: float = 0.0
    endless: bool = False
    close: int | None = None
    cut: int | None = None
    codeless: bool = False


@dataclass
class Machine:
    id: str
    body: dict
    sandbox: object
    made: str
    state: str = "started"
    polls: int = 0
    sessions: dict = field(default_factory=dict)
    reason: str | None = None


class Double:
    def __init__(self, provider, key=KEY):
        self.provider = provider
        self.key = key
        self.url = ""
        self.machines = {}
        self.snapshots = {}
        self.faults = []
        self.seen = []
        self.headers = []
        self.creating_polls = 0
        self.page = 100

    @contextlib.asynccontextmanager
    async def running(self):
        app = web.Application(middlewares=[self._middleware], client_max_size=2**30)
        for route in self._routes():
            app.router.add_route(*route)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await runner.cleanup()
            for machine in self.machines.values():
                await self.provider.delete(machine.sandbox.id)

    def _routes(self):
        box, tool = "/api/sandbox/{id}", "/toolbox/{id}"
        session = tool + "/process/session"
        command = session + "/{sid}/command/{cid}"
        return [
            ("POST", "/api/sandbox", self.create),
            ("GET", "/api/sandbox", self.list),
            ("GET", box, self.get),
            ("DELETE", box, self.delete),
            ("PUT", box + "/labels", self.labels),
            ("POST", box + "/start", self.start),
            ("POST", box + "/stop", self.stop),
            ("POST", box + "/snapshot", self.snapshot),
            ("GET", box + "/toolbox-proxy-url", self.proxy_url),
            ("POST", tool + "/process/execute", self.execute),
            ("POST", session, self.make_session),
            ("GET", session + "/{sid}", self.get_session),
            ("DELETE", session + "/{sid}", self.end_session),
            ("POST", session + "/{sid}/exec", self.run),
            ("GET", command, self.command),
            ("GET", command + "/logs", self.logs),
            ("POST", tool + "/files/bulk-upload", self.upload),
            ("POST", tool + "/files/bulk-download", self.download),
            ("GET", tool + "/files/info", self.file_info),
            ("GET", tool + "/files", self.files),
            ("DELETE", tool + "/files", self.remove),
            ("POST", tool + "/files/permissions", self.permissions),
        ]

    @web.middleware
    async def _middleware(self, request, handler):
        name = getattr(handler, "__name__", "unknown")
        if name == "logs" and request.headers.get("Upgrade", "").lower() != "websocket":
            name = "whole_log"
        if request.path == "/api/socket.io/":
            raise web.HTTPNotFound
        self.seen.append(name)
        self.headers.append(dict(request.headers))
        if request.headers.get("Authorization") != f"Bearer {self.key}":
            return error(401, "Invalid credentials")
        request[FAULT] = fault = self._fault(name)
        if fault.delay:
            await asyncio.sleep(fault.delay)
        if fault.dropped:
            return hang_up(request)
        if fault.status:
            return error(fault.status, fault.message, fault.headers)
        try:
            answer = await handler(request)
        except SandboxNotFound:
            return error(404, "Sandbox not found")
        return hang_up(request) if fault.lost else answer

    def _fault(self, name):
        for fault in self.faults:
            if fault.route == name and fault.times > 0:
                if fault.after > 0:
                    fault.after -= 1
                    continue
                fault.times -= 1
                return fault
        return Fault(name)

    def machine(self, request):
        found = self.machines.get(request.match_info["id"])
        if found is None or found.state == "destroyed":
            raise SandboxNotFound
        return found

    def running_sandbox(self, request):
        found = self.machine(request)
        if found.state != "started":
            raise web.HTTPBadRequest(text=error(400, "bad request: failed to get runner info: no IP address").text)
        return found.sandbox

    # The API, beside which stands the number of its row in the notes on Daytona's endpoints.

    async def create(self, request):  # A1
        body = api.CreateSandbox.from_dict(await request.json()).to_dict()
        snapshot = body.get("snapshot")
        if snapshot is not None and snapshot not in self.snapshots:
            return error(404, f"Snapshot {snapshot} not found")
        labels = body.get("labels", {})
        spec = SandboxSpec(
            env=body.get("env", {}),
            labels={"double": self.url},
            resources=Resources(vcpu=body.get("cpu", 1), memory=body.get("memory", 1), disk=body.get("disk", 3)),
        )
        sandbox = await self.provider.create(spec)
        if snapshot is not None:
            assert (await sandbox.run(RESTORE, stdin=self.snapshots[snapshot])).ok
        machine = Machine(str(uuid.uuid4()), body | {"labels": labels}, sandbox, datetime.now(UTC).isoformat())
        if self.creating_polls:
            machine.state, machine.polls = "creating", self.creating_polls
        self.machines[machine.id] = machine
        return checked(api.Sandbox, self.shown(machine))

    def shown(self, machine):
        body = machine.body
        shown = {
            "id": machine.id,
            "organizationId": "8a6f3c1e-0000-4000-8000-000000000001",
            "name": body.get("name") or machine.id,
            "user": "daytona",
            "env": body.get("env", {}),
            "labels": body.get("labels", {}),
            "public": False,
            "networkBlockAll": body.get("networkBlockAll", False),
            "kvm": False,
            "target": body.get("target", "us"),
            "cpu": body.get("cpu", 1),
            "gpu": 0,
            "memory": body.get("memory", 1),
            "disk": body.get("disk", 3),
            "state": machine.state,
            "createdAt": machine.made,
            "autoStopInterval": body.get("autoStopInterval", 15),
            "autoDeleteInterval": body.get("autoDeleteInterval", -1),
            "toolboxProxyUrl": f"{self.url}/toolbox",
        }
        if body.get("snapshot"):
            shown["snapshot"] = body["snapshot"]
        if machine.reason:
            shown["errorReason"] = machine.reason
        return shown

    async def get(self, request):  # A2
        machine = self.machine(request)
        if machine.state in ("creating", "starting", "snapshotting"):
            machine.polls -= 1
            if machine.polls <= 0:
                machine.state = "started"
        return checked(api.Sandbox, self.shown(machine))

    async def list(self, request):  # A3
        wanted = json.loads(request.query.get("labels", "{}"))
        found = [
            {name: value for name, value in self.shown(machine).items() if name not in ("env", "kvm")}
            for machine in self.machines.values()
            if machine.state != "destroyed" and wanted.items() <= machine.body["labels"].items()
        ]
        first = int(request.query.get("cursor", 0))
        after = first + self.page
        page = {"items": found[first:after], "nextCursor": str(after) if after < len(found) else None}
        return checked(api.ListSandboxesResponse, page)

    async def delete(self, request):  # A4
        machine = self.machine(request)
        machine.state = "destroyed"
        await self.provider.delete(machine.sandbox.id)
        return checked(api.Sandbox, self.shown(machine) | {"state": "destroying"})

    async def labels(self, request):  # A5
        body = await request.json()
        self.machine(request).body["labels"] = body["labels"]
        return checked(api.SandboxLabels, body)

    async def start(self, request):  # A6
        machine = self.machine(request)
        machine.state, machine.polls = "starting", 1
        return checked(api.Sandbox, self.shown(machine))

    async def stop(self, request):
        machine = self.machine(request)
        machine.state = "stopped"
        return checked(api.Sandbox, self.shown(machine))

    async def snapshot(self, request):
        machine = self.machine(request)
        name = (await request.json())["name"]
        self.snapshots[name] = (await machine.sandbox.run(KEEP, max_output=2**40)).stdout
        machine.state, machine.polls = "snapshotting", 1
        return checked(api.Sandbox, self.shown(machine))

    async def proxy_url(self, request):  # A7
        self.machine(request)
        return checked(api.ToolboxProxyUrl, {"url": f"{self.url}/toolbox"})

    # The toolbox in a sandbox.

    async def execute(self, request):  # B1
        body = toolbox.ExecuteRequest.from_dict(await request.json())
        done = await self.running_sandbox(request).run(
            ["/bin/sh", "-c", f"exec 2>&1; {body.command}"], cwd=body.cwd, env=body.envs, timeout=body.timeout or 360
        )
        if done.exited.reason == "timeout":
            return error(408, "command execution timeout", code="REQUEST_TIMEOUT")
        if done.exited.code is None:
            raise SandboxNotFound
        code = done.exited.code if done.exited.code >= 0 else 128 - done.exited.code
        return checked(toolbox.ExecuteResponse, {"exitCode": code, "result": done.text})

    async def make_session(self, request):  # B2
        sandbox = self.running_sandbox(request)
        sid = (await request.json())["sessionId"]
        sessions = self.machine(request).sessions
        if sid in sessions:
            return error(409, "session already exists")
        sessions[sid] = []
        done = await sandbox.run(["/bin/sh", "-c", SESSION, "sh", place(sid)])
        assert done.ok, done
        return web.Response(status=201)

    def session(self, request):
        sessions = self.machine(request).sessions
        if request.match_info["sid"] not in sessions:
            raise web.HTTPNotFound(text=error(404, "session not found").text, content_type="application/json")
        return sessions[request.match_info["sid"]]

    async def run(self, request):  # B3
        commands = self.session(request)
        body = toolbox.SessionExecuteRequest.from_dict(await request.json())
        sid, cid = request.match_info["sid"], str(uuid.uuid4())
        commands.append({"id": cid, "command": body.command})
        at = f"{place(sid)}/{cid}"
        line = COMMAND.format(at=at, session=place(sid), command=body.command)
        feed = f"mkdir -p {at}; : >{at}/log; cat >{place(sid)}/in"
        done = await self.running_sandbox(request).run(feed, stdin=line.encode())
        assert done.ok, done
        return checked(toolbox.SessionExecuteResponse, {"cmdId": cid}, status=202)

    async def _exit_code(self, request):
        at = f"{place(request.match_info['sid'])}/{request.match_info['cid']}"
        return (await self.running_sandbox(request).run(f"cat {at}/exit 2>/dev/null")).text.strip()

    async def logs(self, request):  # B4, B5
        self.session(request)
        at = f"{place(request.match_info['sid'])}/{request.match_info['cid']}"
        if request.headers.get("Upgrade", "").lower() != "websocket":
            whole = (await self.running_sandbox(request).run(["cat", f"{at}/log"])).text
            out, err = ("".join(split(whole, mark)) for mark in ("\1\1\1", "\2\2\2"))
            return checked(toolbox.SessionCommandLogsResponse, {"output": whole, "stdout": out, "stderr": err})
        fault = request[FAULT]
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        sending = asyncio.ensure_future(self._send_log(request, socket, at, fault))
        ending = asyncio.ensure_future(self._wait_for_end(request, fault))
        leaving = asyncio.ensure_future(self._until_left(socket))
        await asyncio.wait([sending, ending, leaving], return_when=asyncio.FIRST_COMPLETED)
        for task in (sending, ending, leaving):
            task.cancel()
        await asyncio.gather(sending, ending, leaving, return_exceptions=True)
        if not socket.closed:
            await socket.close(code=fault.close or 1000, message=b"" if fault.close is None else b"the double")
        return socket

    async def _send_log(self, request, socket, at, fault):
        left = fault.cut if fault.cut is not None else 2**62
        follow = ["tail", "-c", "+1", "-f", f"{at}/log"]
        async with self.running_sandbox(request).start(follow, timeout=None, max_output=2**40) as process:
            async for said in process:
                if isinstance(said, Stdout):
                    await socket.send_bytes(said.data[:left])
                    left -= len(said.data)
                    if left <= 0:
                        request.transport.abort()
                        return

    async def _wait_for_end(self, request, fault):
        while fault.endless or not await self._exit_code(request):
            await asyncio.sleep(0.1)
            if fault.close is not None:
                return
        await asyncio.sleep(CLOSES_AFTER)

    async def _until_left(self, socket):
        async for message in socket:
            if message.type is WSMsgType.ERROR:
                return

    async def command(self, request):  # B6
        for command in self.session(request):
            if command["id"] == request.match_info["cid"]:
                code = await self._exit_code(request)
                known = {"exitCode": int(code)} if code and not request[FAULT].codeless else {}
                return checked(toolbox.Command, command | known)
        return error(404, "command not found")

    async def get_session(self, request):  # B7
        commands = self.session(request)
        return checked(toolbox.Session, {"sessionId": request.match_info["sid"], "commands": commands})

    async def end_session(self, request):
        self.session(request)
        sid = request.match_info["sid"]
        await self.running_sandbox(request).run(["/bin/bash", "-c", END_SESSION, "bash", place(sid)])
        del self.machine(request).sessions[sid]
        return web.Response(status=204)

    async def upload(self, request):  # B8
        sandbox, path, stored, errors = self.running_sandbox(request), None, [], []
        async for part in await request.multipart():
            if part.name.endswith(".path"):
                path = absolute(await part.text())
                continue
            data = bytes(await part.read())
            try:
                await sandbox.write(path, data)
                stored.append({"path": path, "bytes": len(data)})
            except SandboxFileError as failed:
                errors.append(f"{path}: {failed}")
        if errors:
            return web.json_response({"errors": errors}, status=400)
        return checked(toolbox.UploadFilesResponse, {"files": stored})

    async def download(self, request):  # B9
        sandbox = self.running_sandbox(request)
        boundary = uuid.uuid4().hex
        answer = web.StreamResponse(headers={"Content-Type": f"multipart/form-data; boundary={boundary}"})
        parts = [await self._part(sandbox, path) for path in map(absolute, (await request.json())["paths"])]
        await answer.prepare(request)
        for name, path, kind, data in parts:
            shown = path.replace("\\", "\\\\").replace('"', '\\"').replace("\r", "%0D").replace("\n", "%0A")
            head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="{shown}"\r\n'
            await answer.write(f"{head}Content-Type: {kind}\r\nContent-Length: {len(data)}\r\n\r\n".encode())
            for first in range(0, len(data), 65536):
                await answer.write(data[first : first + 65536])
                if request[FAULT].cut is not None:
                    request.transport.abort()
                    return answer
            await answer.write(b"\r\n")
        await answer.write(f"--{boundary}--\r\n".encode())
        return answer

    async def _part(self, sandbox, path):
        if (await sandbox.run(["test", "-d", path])).ok:
            said = {"statusCode": 400, "message": f"path is a directory: {path}", "code": "INVALID_FILE_PATH"}
        elif not (await sandbox.run(["test", "-e", path])).ok:
            said = {"statusCode": 404, "message": f"file not found: {path}", "code": "FILE_NOT_FOUND"}
        else:
            return "file", path, "application/octet-stream", await sandbox.read(path, 2**40)
        said["source"] = "DAYTONA_DAEMON"
        return "error", path, "application/json", json.dumps(said).encode()

    async def file_info(self, request):  # B10
        path = absolute(request.query["path"])
        found = await self._stat(request, [path])
        return checked(toolbox.FileInfo, found[0]) if found else self._no_file(path)

    async def files(self, request):
        path = absolute(request.query["path"])
        listed = await self.running_sandbox(request).run(["find", path, "-mindepth", "1", "-maxdepth", "1", "-print0"])
        if not listed.ok:
            return self._no_file(path)
        found = await self._stat(request, listed.text.split("\0")[:-1]) if listed.text else []
        return web.json_response([toolbox.FileInfo.from_dict(each).to_dict() for each in found])

    async def _stat(self, request, paths):
        shape = "%F|%s|%a|%U|%G|%y|%A|%n\\0"
        done = await self.running_sandbox(request).run(["stat", "-L", "--printf", shape, "--", *paths])
        found = []
        for line in done.text.split("\0")[:-1]:
            kind, size, mode, owner, group, moment, letters, name = line.split("|", 7)
            found.append(
                {
                    "name": name.rpartition("/")[2],
                    "isDir": kind == "directory",
                    "size": int(size),
                    "mode": letters,
                    "permissions": mode,
                    "owner": owner,
                    "group": group,
                    "modTime": moment,
                }
            )
        return found

    def _no_file(self, path):
        return error(404, f"file not found: {path}", code="FILE_NOT_FOUND")

    async def remove(self, request):
        recursive = ["-r"] if request.query.get("recursive") == "true" else []
        path = absolute(request.query["path"])
        done = await self.running_sandbox(request).run(["rm", *recursive, "--", path])
        return web.Response(status=204) if done.ok else self._no_file(path)

    async def permissions(self, request):
        path = absolute(request.query["path"])
        done = await self.running_sandbox(request).run(["chmod", request.query["mode"], path])
        return web.Response(status=200) if done.ok else self._no_file(path)


def absolute(path):
    return posixpath.join(WORK, path)


def place(sid):
    return shlex.quote(f"/tmp/.daytona/{sid}")


def split(log, mark):
    for line in log.splitlines(keepends=True):
        if line.startswith(mark):
            yield line[3:]


def checked(model, body, status=200):
    """Answer with what a model of the SDK's generated clients takes."""
    assert model.from_dict(json.loads(json.dumps(body))) is not None
    return web.json_response(body, status=status)


def error(status, message, headers=None, code=None):
    body = {"statusCode": status, "message": message, "error": "double", "source": "DAYTONA_DAEMON"}
    return web.json_response(body | ({"code": code} if code else {}), status=status, headers=headers)


def hang_up(request):
    request.transport.abort()
    return web.Response()
