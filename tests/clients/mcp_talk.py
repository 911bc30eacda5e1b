"""A real MCP client that answers when it is asked, to see which questions of a server reach it.

    mcp_talk.py URL    a line {"token", "mode"?, "steps"} in, a line {"era", "steps", "asked"} out

A step is "tools", which lists them, or {"tool", "arguments"?}, which calls one. What comes of it is a list of
names, or {"text"}, or {"code", "message", "data"}, or {"failed"}. `asked` tells what reached the client, e.g.
"sampling". `mode` is "legacy" (sessions, the default) or "auto" (2026-07-28 if the server speaks it).
"""

import asyncio
import json
import sys

import httpx2
from mcp import Client, types
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError


async def talk(url, wanted):
    asked = []
    headers = {"authorization": "Bearer " + wanted["token"]} if wanted.get("token") else {}

    async def sampling(context, params):
        asked.append("sampling")
        return types.CreateMessageResult(
            role="assistant", content=types.TextContent(type="text", text="a sampled text"), model="test"
        )

    async def elicitation(context, params):
        asked.append("url" if getattr(params, "mode", "form") == "url" else "form")
        if asked[-1] == "url":
            return types.ElicitResult(action="accept")
        texts = [name for name, field in fields(params).items() if field.get("type") == "string"]
        return types.ElicitResult(action="accept", content=dict.fromkeys(texts, "Ana"))

    async def roots(context):
        asked.append("roots")
        return types.ListRootsResult(roots=[types.Root(uri="file:///home/ana", name="home")])

    try:
        async with httpx2.AsyncClient(headers=headers, timeout=httpx2.Timeout(10, read=30)) as http:
            client = Client(
                streamable_http_client(url, http_client=http),
                mode=wanted.get("mode", "legacy"),
                read_timeout_seconds=20,
                sampling_callback=sampling,
                elicitation_callback=elicitation,
                list_roots_callback=roots,
            )
            async with client:
                steps = [await step(client, it) for it in wanted["steps"]]
                return {"era": client.protocol_version, "steps": steps, "asked": asked}
    except BaseException as error:
        return shown(error) | {"asked": asked}


async def step(client, wanted):
    try:
        if wanted == "tools":
            return sorted(tool.name for tool in (await client.list_tools()).tools)
        result = await client.call_tool(wanted["tool"], wanted.get("arguments", {}))
        text = "\n".join(getattr(part, "text", "") for part in result.content)
        return {"failed": text} if result.is_error else {"text": text}
    except MCPError as error:
        return shown(error)


def fields(params):
    schema = params.model_dump(by_alias=True, mode="json", exclude_none=True)["requestedSchema"]
    return schema["properties"]


def shown(error):
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, MCPError):
        return {"code": error.error.code, "message": error.error.message, "data": error.error.data}
    return {"failed": f"{type(error).__name__}: {error}"}


async def main(url):
    for line in sys.stdin:
        print(json.dumps(await talk(url, json.loads(line))), flush=True)


asyncio.run(main(sys.argv[1]))
