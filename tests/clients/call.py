"""Calls any method of a gRPC server through reflection.

    call.py TARGET                     lists the services
    call.py TARGET Service/Method      one JSON request a line on stdin, one JSON answer a line on stdout

An RPC error is an answer too: {"rpc_error": {"code": ..., "message": ...}}.
"""

import argparse
import json
import sys

import grpc

from reflected import Reflected


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("target", help="e.g. 127.0.0.1:50051 or unix:/run/callgate.sock")
    parser.add_argument("method", nargs="?", help="e.g. callgate.v1.Authorization/Authorize")
    parser.add_argument("--stream", action="store_true", help="send all requests on one stream")
    parser.add_argument("--reflection", choices=["v1", "v1alpha"], default="v1")
    parser.add_argument("--header", action="append", default=[], metavar="NAME=VALUE")
    options = parser.parse_args()

    headers = [tuple(header.split("=", 1)) for header in options.header]
    with grpc.insecure_channel(options.target) as channel:
        server = Reflected(channel, options.reflection, headers)
        if options.method is None:
            print(json.dumps(server.services()))
            return
        requests = [json.loads(line) for line in sys.stdin if line.strip()]
        if options.stream:
            answers = server.stream(options.method, requests)
        else:
            answers = (ask(server, options.method, request) for request in requests)
        for answer in answers:
            print(json.dumps(answer), flush=True)


def ask(server, method, request):
    try:
        return server.call(method, request)
    except grpc.RpcError as error:
        return {"rpc_error": {"code": error.code().name, "message": error.details()}}


if __name__ == "__main__":
    main()
