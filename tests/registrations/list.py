"""Lists the tools of public MCP servers over stdio, without an account at any of them.

    list.py NPM VENV OUT    NPM: a node_modules, VENV: a virtual environment, OUT: where NAME.json goes

A server that is there already is not asked again. What a server needs to start are made-up credentials: to list
its tools none of them talks to anybody. The exit code is 1 if a server could not be listed.
"""

import json
import os
import pathlib
import selectors
import signal
import subprocess
import sys
import tempfile
import time

SECONDS = 60
MAX_BYTES = 64 << 20

# name: (command, environment); `npm:` begins a script of a package, `bin:` a program of the virtual environment,
# and DIR stands for a new directory.
SERVERS = {
    "brave": (["npm:@brave/brave-search-mcp-server/dist/index.js", "--transport", "stdio"], {"BRAVE_API_KEY": "none"}),
    "context7": (["npm:@upstash/context7-mcp/dist/index.js"], {}),
    "atlassian": (
        ["bin:mcp-atlassian"],
        {
            "JIRA_URL": "https://jira.invalid",
            "JIRA_PERSONAL_TOKEN": "none",
            "CONFLUENCE_URL": "https://confluence.invalid",
            "CONFLUENCE_PERSONAL_TOKEN": "none",
        },
    ),
    "desktop-commander": (["npm:@wonderwhy-er/desktop-commander/dist/index.js", "--no-onboarding"], {}),
    "firecrawl": (["npm:firecrawl-mcp/dist/index.js"], {"FIRECRAWL_API_KEY": "none"}),
    "kubernetes": (["npm:mcp-server-kubernetes/dist/index.js"], {}),
    "notion": (["npm:@notionhq/notion-mcp-server/bin/cli.mjs"], {"NOTION_TOKEN": "none"}),
    "playwright": (["npm:@playwright/mcp/cli.js"], {}),
    "sqlite": (["bin:mcp-server-sqlite", "--db-path", "DIR/test.db"], {}),
    "tavily": (["npm:tavily-mcp/build/index.js"], {"TAVILY_API_KEY": "none"}),
}


class Server:
    """A server on the other end of two pipes."""

    def __init__(self, command, environment, directory):
        keep = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=directory,
            env={**keep, "HOME": directory, **environment},
            start_new_session=True,
        )
        self.until = time.monotonic() + SECONDS
        self.pending = b""
        os.set_blocking(self.process.stdout.fileno(), False)
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.process.stdout, selectors.EVENT_READ)

    def say(self, message):
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
        self.process.stdin.flush()

    def line(self):
        while b"\n" not in self.pending:
            left = self.until - time.monotonic()
            if left <= 0 or not self.selector.select(left):
                raise TimeoutError(f"no answer within {SECONDS} s")
            more = os.read(self.process.stdout.fileno(), 1 << 16)
            if not more:
                raise EOFError("the server ended")
            self.pending += more
            if len(self.pending) > MAX_BYTES:
                raise ValueError("the answer is too long")
        line, _, self.pending = self.pending.partition(b"\n")
        return line

    def ask(self, number, method, params):
        self.say({"id": number, "method": method, "params": params})
        while True:
            try:
                message = json.loads(self.line())
            except json.JSONDecodeError:
                continue  # a log line
            if message.get("id") == number and "method" not in message:
                if "error" in message:
                    raise ValueError(message["error"])
                return message["result"]

    def end(self):
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()


def tools_of(command, environment):
    with tempfile.TemporaryDirectory() as directory:
        command = [part.replace("DIR", directory) for part in command]
        server = Server(command, environment, directory)
        try:
            client = {"name": "list", "version": "1"}
            hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client}
            server.ask(0, "initialize", hello)
            server.say({"method": "notifications/initialized"})
            tools, cursor, number = [], None, 1
            while True:
                page = server.ask(number, "tools/list", {"cursor": cursor} if cursor else {})
                tools += page["tools"]
                cursor, number = page.get("nextCursor"), number + 1
                if not cursor or number > 100:
                    return tools
        finally:
            server.end()


def located(command, npm, venv):
    first, *rest = command
    kind, _, where = first.partition(":")
    return ["node", str(npm / where), *rest] if kind == "npm" else [str(venv / "bin" / where), *rest]


def main():
    npm, venv, out = (pathlib.Path(it).resolve() for it in sys.argv[1:4])
    out.mkdir(parents=True, exist_ok=True)
    failed = 0
    for name, (command, environment) in SERVERS.items():
        path = out / f"{name}.json"
        if path.exists():
            continue
        try:
            tools = tools_of(located(command, npm, venv), environment)
        except (OSError, ValueError, KeyError, EOFError) as error:
            print(f"{name}: {error}", file=sys.stderr)
            failed = 1
            continue
        path.write_text(json.dumps({"tools": tools}, indent=1, ensure_ascii=False))
        print(f"{name}: {len(tools)} tools")
    return failed


sys.exit(main())
