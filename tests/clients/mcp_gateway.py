"""A small gateway between an agent and a real MCP server.

    mcp_gateway.py list  -- COMMAND ARG...             prints the server's `tools/list` result
    mcp_gateway.py calls -- COMMAND ARG...             makes calls through Callgate

`calls` needs --callgate TARGET and --server NAME, and reads one call a line from stdin:
{"subject": {...}, "delegation": {...}?, "tool": NAME, "arguments": {...}}. It asks Callgate about each
and passes on only what was allowed. Per call it prints {"tool", "decision", "codes", "ran", "is_error",
"text"}.
"""

import argparse
import asyncio
import base64
import json
import sys

import grpc
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

from reflected import Reflected

AUTHORIZE = "callgate.v1.Authorization/Authorize"


async def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("verb", choices=["list", "calls"])
    parser.add_argument("--callgate")
    parser.add_argument("--server")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()

    program = StdioServerParameters(command=options.command[0], args=options.command[1:])
    async with stdio_client(program) as (reader, writer), ClientSession(reader, writer) as session:
        await session.initialize()
        if options.verb == "list":
            print(json.dumps(shown(await session.list_tools())))
            return
        with grpc.insecure_channel(options.callgate) as channel:
            callgate = Reflected(channel)
            for line in sys.stdin:
                if line.strip():
                    print(json.dumps(await relay(session, callgate, options.server, json.loads(line))), flush=True)


async def relay(session, callgate, server, wanted):
    context = {
        "subject": {"entity": wanted["subject"]},
        "operation": {
            "server": server,
            "call_tool": {
                "tool": wanted["tool"],
                "arguments_json": base64.b64encode(json.dumps(wanted["arguments"]).encode()).decode(),
            },
        },
    }
    if "delegation" in wanted:
        context["delegation"] = wanted["delegation"]
    answer = callgate.call(AUTHORIZE, {"call_context": context})
    result = {
        "tool": wanted["tool"],
        "decision": answer.get("decision"),
        "codes": [reason["code"] for reason in answer.get("reasons", [])],
        "policies": [policy["id"] for policy in answer.get("determining_policies", [])],
        "ran": False,
    }
    if answer.get("decision") == "DECISION_ALLOW":
        outcome = shown(await session.call_tool(wanted["tool"], wanted["arguments"]))
        texts = [part.get("text", "") for part in outcome.get("content", [])]
        result.update(ran=True, is_error=bool(outcome.get("isError")), text="\n".join(texts))
    return result


def shown(result):
    return result.model_dump(by_alias=True, exclude_none=True, mode="json")


if __name__ == "__main__":
    asyncio.run(main())
