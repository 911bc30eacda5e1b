"""A real MCP server over HTTP, a real MCP client, and the tokens it shows.

    mcp_http.py serve PORT                the server, with three tools; prints which ones run
    mcp_http.py keys FILE                 writes a JWKS to FILE; a line of claims in, a line with a token out
    mcp_http.py calls URL                 a line {"token", "tool", "arguments"} in, a line with what came of it out:
                                          {"text"} or {"code", "message", "data"} or {"failed"}
"""

import asyncio
import json
import sys
import time

import httpx2
import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.server.mcpserver import MCPServer
from mcp.shared.exceptions import MCPError


def serve(port):
    server = MCPServer("notes")

    @server.tool()
    def list_notes() -> str:
        print("list_notes runs", flush=True)
        return "no notes"

    @server.tool()
    def add_note(text: str) -> str:
        print("add_note runs", flush=True)
        return "added " + text

    @server.tool()
    def drop_notes() -> str:
        print("drop_notes runs", flush=True)
        return "dropped"

    server.run("streamable-http", host="127.0.0.1", port=port)


def keys(file):
    key = ec.generate_private_key(ec.SECP256R1())
    public = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key()))
    with open(file, "w") as out:
        json.dump({"keys": [public | {"kid": "test", "alg": "ES256", "use": "sig"}]}, out)
    usual = {"iss": "https://login.example.org", "aud": "mcp", "exp": int(time.time()) + 3600}
    for line in sys.stdin:
        token = jwt.encode(usual | json.loads(line), key, "ES256", {"kid": "test"})
        print(json.dumps(token), flush=True)


async def calls(url):
    for line in sys.stdin:
        print(json.dumps(await one(url, json.loads(line))), flush=True)


async def one(url, wanted):
    headers = {"authorization": "Bearer " + wanted["token"]} if wanted.get("token") else {}
    try:
        async with (
            httpx2.AsyncClient(headers=headers, timeout=10) as http,
            streamable_http_client(url, http_client=http) as (reader, writer, *_),
            ClientSession(reader, writer) as session,
        ):
            await session.initialize()
            result = await session.call_tool(wanted["tool"], wanted.get("arguments", {}))
            return {"text": "".join(getattr(part, "text", "") for part in result.content)}
    except BaseException as error:
        return shown(error)


def shown(error):
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, MCPError):
        return {"code": error.error.code, "message": error.error.message, "data": error.error.data}
    return {"failed": f"{type(error).__name__}: {error}"}


verb, argument = sys.argv[1:]
if verb == "serve":
    serve(int(argument))
elif verb == "keys":
    keys(argument)
else:
    asyncio.run(calls(argument))
