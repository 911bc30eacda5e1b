"""A real enforcement point of AuthZEN, apparitor on a FastMCP server, and a real client of that server.

    apparitor_pep.py PDP_URL PDP_TOKEN whole|hidden

Lines {"token", "tool"?, "arguments"?, "resource"?, "prompt"?} in, lines out. With `hidden` the point of enforcement asks
without the values of arguments, which is its default.

Tokens of clients are `token-NAME`, for the subject NAME. A line with a tool calls it, one with a resource reads it, one
with a prompt gets it, any other lists the tools. What comes of it is {"text"}, {"tools"} or {"refused"}. The tools are
those of the server `notes`, and tell what reached them.
"""

import asyncio
import json
import logging
import sys

from apparitor.config import ScannerConfig
from apparitor.fastmcp import FastMCPAuthorizationMiddleware
from fastmcp import Client, FastMCP
from fastmcp.client.transports import StreamableHttpTransport
from fastmcp.server.auth.providers.jwt import StaticTokenVerifier
import uvicorn

NAMES = ["alice", "bob", "nobody"]


def notes(pdp_url, pdp_token, arguments):
    tokens = {f"token-{name}": {"client_id": "desk", "sub": name, "scopes": []} for name in NAMES}
    server = FastMCP("notes", auth=StaticTokenVerifier(tokens=tokens))

    @server.tool
    def list_notes(folder: str = "") -> str:
        return f"notes of {folder}"

    @server.tool
    def add_note(path: str, text: str = "") -> str:
        return f"added {path}"

    @server.tool
    def drop_notes() -> str:
        return "dropped"

    @server.tool
    def not_registered() -> str:
        return "ran"

    @server.resource("note://today")
    def today() -> str:
        return "today's note"

    @server.prompt
    def summary() -> str:
        return "sum it up"

    config = ScannerConfig(
        pdp_url=pdp_url,
        allow_insecure_pdp=True,
        default_headers={"authorization": f"Bearer {pdp_token}"},
        max_retries=0,
        redact_arguments=arguments != "whole",
    )
    server.add_middleware(
        FastMCPAuthorizationMiddleware(config=config, server_label="notes", filter_listings=True)
    )
    return server


async def step(url, wanted):
    transport = StreamableHttpTransport(url, headers={"authorization": f"Bearer {wanted['token']}"})
    try:
        async with Client(transport) as client:
            if "tool" in wanted:
                result = await client.call_tool(wanted["tool"], wanted.get("arguments", {}))
                return {"text": result.content[0].text}
            if "resource" in wanted:
                return {"text": (await client.read_resource(wanted["resource"]))[0].text}
            if "prompt" in wanted:
                return {"text": (await client.get_prompt(wanted["prompt"])).messages[0].content.text}
            return {"tools": sorted(tool.name for tool in await client.list_tools())}
    except BaseException as error:
        while isinstance(error, BaseExceptionGroup) and error.exceptions:
            error = error.exceptions[0]
        return {"refused": str(error)}


async def main():
    app = notes(*sys.argv[1:4]).http_app()
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning"))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    for line in sys.stdin:
        print(json.dumps(await step(f"http://127.0.0.1:{port}/mcp", json.loads(line))), flush=True)
    server.should_exit = True
    await serving


logging.disable(logging.WARNING)
asyncio.run(main())
