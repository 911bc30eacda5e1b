"""A real MCP client that answers when it is asked, to see which questions of a server reach it.

    mcp_talk.py URL    a line {"token", "mode"?, "steps"} in, a line {"era", "steps", "asked"} out

A step lists "tools", "prompts", "resources" or "templates", says "ping", or is {"tool", "arguments"?}, which calls one,
{"prompt", "arguments"?}, {"read": URI}, {"subscribe": URI}, {"unsubscribe": URI}, {"listen": URI}, or
{"complete": PROMPT, "argument": {"name", "value"}}. What comes of it is a list of names, or {"text"}, or {} where there is
nothing to tell, or {"code", "message", "data"}, or {"failed"}. `asked` tells what reached the client, e.g. "sampling".
`mode` is "legacy" (sessions, the default) or "auto" (2026-07-28 if the server speaks it).
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
        if isinstance(wanted, str):
            return await listed(client, wanted)
        if "tool" in wanted:
            result = await client.call_tool(wanted["tool"], wanted.get("arguments", {}))
            text = "\n".join(getattr(part, "text", "") for part in result.content)
            return {"failed": text} if result.is_error else {"text": text}
        return await used(client, wanted)
    except MCPError as error:
        return shown(error)


async def listed(client, what):
    match what:
        case "tools":
            return sorted(tool.name for tool in (await client.list_tools()).tools)
        case "prompts":
            return sorted(prompt.name for prompt in (await client.list_prompts()).prompts)
        case "resources":
            return sorted(str(it.uri) for it in (await client.list_resources()).resources)
        case "templates":
            return sorted(it.uri_template for it in (await client.list_resource_templates()).resource_templates)
        case "ping":
            await client.send_ping()
            return {}
    raise ValueError(what)


async def used(client, wanted):
    match wanted:
        case {"prompt": name}:
            result = await client.get_prompt(name, wanted.get("arguments"))
            return {"text": "\n".join(getattr(it.content, "text", "") for it in result.messages)}
        case {"read": uri}:
            result = await client.read_resource(uri)
            return {"text": "\n".join(getattr(part, "text", "") for part in result.contents)}
        case {"subscribe": uri}:
            await client.subscribe_resource(uri)
            return {}
        case {"unsubscribe": uri}:
            await client.unsubscribe_resource(uri)
            return {}
        case {"listen": uri}:
            async with client.listen(resource_subscriptions=[uri]):
                return {}
        case {"complete": prompt, "argument": argument}:
            result = await client.complete(types.PromptReference(type="ref/prompt", name=prompt), argument)
            return {"text": "\n".join(result.completion.values)}
    raise ValueError(wanted)


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
