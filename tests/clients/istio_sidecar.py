"""Makes of Istio's resources the Envoy that a sidecar would run, by the rules that Istio documents, without Istio.

    istio_sidecar.py FOLDER ENVOY    a line {} in, the configuration of Envoy as a line of JSON out

FOLDER holds mesh.yaml and resources.yaml. ENVOY is a configuration of Envoy with a listener, a connection manager and
clusters `mcp_server` and `callgate`. Its HTTP filters become those of an inbound listener of Istio: the token's, external
authorization as the provider says, and the router. Then each `EnvoyFilter` for inbound listeners is applied, MERGE or
INSERT_BEFORE the filter that it names, or MERGE into the connection manager.
"""

import json
import sys
from pathlib import Path

import yaml

HTTP = "type.googleapis.com/envoy.extensions.filters.http."


def external_authorization(provider):
    """MeshConfig.ExtensionProvider as Envoy's filter. Only the fields that the example has are known."""
    provider = dict(provider)
    body = provider.pop("includeRequestBodyInCheck")
    provider.pop("service"), provider.pop("port")
    filter = {
        "@type": HTTP + "ext_authz.v3.ExtAuthz",
        "transport_api_version": "V3",
        "failure_mode_allow": provider.pop("failOpen"),
        "status_on_error": {"code": int(provider.pop("statusOnError"))},
        "grpc_service": {"envoy_grpc": {"cluster_name": "callgate"}, "timeout": provider.pop("timeout")},
        "with_request_body": {
            "max_request_bytes": body.pop("maxRequestBytes"),
            "allow_partial_message": body.pop("allowPartialMessage"),
            "pack_as_bytes": body.pop("packAsBytes"),
        },
    }
    assert not provider and not body, f"{provider} {body}"
    return {"name": "envoy.filters.http.ext_authz", "typed_config": filter}


def token(rule, shipped):
    """JWTRule as Envoy's filter, with the keys of the given one. Istio lets requests without a token pass."""
    [known] = shipped["typed_config"]["providers"].values()
    provider = {
        "issuer": rule["issuer"],
        "audiences": rule["audiences"],
        "local_jwks": known["local_jwks"],
        "forward": rule["forwardOriginalToken"],
        "payload_in_metadata": "payload",
        "claim_to_headers": [{"header_name": it["header"], "claim_name": it["claim"]} for it in rule["outputClaimToHeaders"]],
    }
    requires = {"requires_any": {"requirements": [{"provider_name": "origin"}, {"allow_missing": {}}]}}
    typed = {
        "@type": HTTP + "jwt_authn.v3.JwtAuthentication",
        "providers": {"origin": provider},
        "rules": [{"match": {"prefix": "/"}, "requires": requires}],
    }
    return {"name": "envoy.filters.http.jwt_authn", "typed_config": typed}


def merged(into, value):
    """As protobuf merges: messages member by member, lists one after the other."""
    for name, member in value.items():
        if isinstance(member, dict):
            merged(into.setdefault(name, {}), member)
        elif isinstance(member, list):
            into[name] = into.get(name, []) + member
        else:
            into[name] = member


def patched(manager, filters, patch):
    match = patch["match"]
    if match["context"] != "SIDECAR_INBOUND":
        raise ValueError(f"unknown patch: {patch}")
    chain = match["listener"]["filterChain"]["filter"]
    assert chain["name"] == manager["name"] == "envoy.filters.network.http_connection_manager"
    if patch["applyTo"] == "NETWORK_FILTER" and patch["patch"]["operation"] == "MERGE":
        merged(manager, patch["patch"]["value"])
        return
    if patch["applyTo"] != "HTTP_FILTER":
        raise ValueError(f"unknown patch: {patch}")
    [at] = [i for i, it in enumerate(filters) if it["name"] == chain["subFilter"]["name"]]
    operation, value = patch["patch"]["operation"], patch["patch"]["value"]
    if operation == "MERGE":
        merged(filters[at], value)
    elif operation == "INSERT_BEFORE":
        filters.insert(at, value)
    else:
        raise ValueError(f"unknown operation: {operation}")


def main():
    folder, envoy = Path(sys.argv[1]), Path(sys.argv[2])
    [provider] = yaml.safe_load((folder / "mesh.yaml").read_text())["meshConfig"]["extensionProviders"]
    resources = list(yaml.safe_load_all((folder / "resources.yaml").read_text()))
    config = yaml.safe_load(envoy.read_text())
    [chain] = config["static_resources"]["listeners"][0]["filter_chains"]
    manager = chain["filters"][0]["typed_config"]
    # Istio does not set it.
    manager.pop("common_http_protocol_options")
    shipped = {it["name"]: it for it in manager["http_filters"]}
    [rule] = [it for it in resources if it["kind"] == "RequestAuthentication"][0]["spec"]["jwtRules"]
    filters = [
        token(rule, shipped["envoy.filters.http.jwt_authn"]),
        external_authorization(provider["envoyExtAuthzGrpc"]),
        shipped["envoy.filters.http.router"],
    ]
    for resource in resources:
        if resource["kind"] == "EnvoyFilter":
            for patch in resource["spec"]["configPatches"]:
                patched(chain["filters"][0], filters, patch)
    manager["http_filters"] = filters
    # Istio sets no context extensions.
    for host in manager["route_config"]["virtual_hosts"]:
        for route in host["routes"]:
            route.pop("typed_per_filter_config", None)
    for _ in sys.stdin:
        print(json.dumps(config), flush=True)


main()
