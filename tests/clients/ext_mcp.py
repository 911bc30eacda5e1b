"""Asks Callgate as agentgateway does, with stubs made from the published protocol.

    ext_mcp.py TARGET PROTO_FOLDER

One JSON question a line on stdin, one JSON answer a line on stdout. Every question has `metadata`, the object that
the gateway's expressions make, and `targets`, the names of the servers behind the gateway:

    {"do": "list", "method", "member", "targets": {NAME: [ENTRY...]}}   lists what all targets offer, merged
    {"do": "call", "targets": [NAME...], "name", "arguments"}           calls a tool by its merged name
    {"do": "answer", "targets": [NAME], "method", "result"}             passes a result on

The answer is what the client of the gateway sees: {"result": ...} or {"error": {"code", "message", "data"?}}. A call
that goes on to its server shows {"sent": PARAMS, "to": NAME, "headers": {...}, "metadata": {...}}.
"""

import json
import sys
import tempfile
from pathlib import Path

import grpc
import grpc_tools
from google.protobuf import json_format
from grpc_tools import protoc

# What the gateway makes of the codes of a refusal.
CODES = {"PERMISSION_DENIED": -32001, "RESOURCE_EXHAUSTED": -32003, "INVALID": -32600, "UNKNOWN": -32603}


def stubs(protos, folder):
    """Compiles the protocol into Python, and gives its messages and its services."""
    included = Path(grpc_tools.__file__).parent / "_proto"
    arguments = ["protoc", f"-I{protos}", f"-I{included}", f"--python_out={folder}", f"--grpc_python_out={folder}"]
    if protoc.main([*arguments, "agentgateway/ext_mcp.proto"]) != 0:
        sys.exit("the protocol does not compile")
    sys.path.insert(0, folder)
    from agentgateway import ext_mcp_pb2, ext_mcp_pb2_grpc

    return ext_mcp_pb2, ext_mcp_pb2_grpc


class Gateway:
    def __init__(self, channel, messages, services):
        self._messages = messages
        self._stub = services.ExtMcpStub(channel)

    def list(self, question):
        method, targets = question["method"], question["targets"]
        refused, _ = self._before(question, list(targets), method, None)
        if refused is not None:
            return refused
        merged = [self._renamed(name, entry, len(targets)) for name, entries in targets.items() for entry in entries]
        return self._after(question, list(targets), method, {question["member"]: merged})

    def call(self, question):
        targets, name = question["targets"], question["name"]
        target, own = (targets[0], name) if len(targets) == 1 else name.split("_", 1)
        if target not in targets:
            return {"error": {"code": -32602, "message": f"unknown service {target}"}}
        params = {"name": own, "arguments": question["arguments"]}
        headers = [("mcp-method", "tools/call"), ("mcp-name", name), ("x-callgate-decision-id", "forged")]
        refused, passed = self._before(question, [target], "tools/call", params, headers)
        if refused is not None:
            return refused
        headers = dict(headers)
        for header in passed.header_mutation.set:
            headers[header.key] = header.value.decode()
        for name in passed.header_mutation.remove:
            headers.pop(name, None)
        metadata = json_format.MessageToDict(passed.metadata)
        return {"sent": params, "to": target, "headers": headers, "metadata": metadata}

    def answer(self, question):
        return self._after(question, question["targets"], question["method"], question["result"])

    @staticmethod
    def _renamed(target, entry, targets):
        """Names as a client sees them."""
        if targets == 1:
            return entry
        if "name" in entry and "uri" not in entry:
            return {**entry, "name": f"{target}_{entry['name']}"}
        return {**entry, "uri": f"{target}+{entry['uri']}"}

    def _before(self, question, targets, method, params, headers=()):
        request = self._messages.McpRequest(service_names=targets, method=method)
        request.metadata_context.update(question["metadata"])
        if params is not None:
            request.mcp_request = json.dumps(params).encode()
        for key, value in headers:
            request.headers.add(key=key, value=value.encode())
        passed = self._stub.CheckRequest(request, timeout=10)
        return self._refused(passed), passed

    def _after(self, question, targets, method, result):
        response = self._messages.McpResponse(service_names=targets, method=method)
        response.metadata_context.update(question["metadata"])
        response.mcp_response = json.dumps(result).encode()
        passed = self._stub.CheckResponse(response, timeout=10)
        refused = self._refused(passed)
        if refused is not None:
            return refused
        if passed.WhichOneof("result") == "mutated":
            return {"result": json.loads(passed.mutated), "changed": True}
        return {"result": result, "changed": False}

    def _refused(self, answer):
        if answer.WhichOneof("result") != "error":
            return None
        code = self._messages.AuthorizationError.Code.Name(answer.error.code)
        error = {"code": CODES[code], "message": answer.error.reason}
        if answer.error.HasField("mcp_error"):
            error["data"] = json.loads(answer.error.mcp_error)
        return {"error": error}


def main():
    target, protos = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder, grpc.insecure_channel(target) as channel:
        gateway = Gateway(channel, *stubs(protos, folder))
        for line in sys.stdin:
            if line.strip():
                question = json.loads(line)
                try:
                    answer = getattr(gateway, question["do"])(question)
                except grpc.RpcError as error:
                    # Failing closed.
                    answer = {"error": {"code": -32603, "message": error.details()}}
                print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
