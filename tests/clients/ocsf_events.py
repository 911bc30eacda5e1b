"""Validates OCSF events, one JSON object a line on standard input, against the published schema.

Each is held against the JSON schema of its own class, version and profiles. Prints one line for each fault, and ends with
1 if there is any; prints the number of valid events otherwise.
"""

import json
import sys

from jsonschema import Draft202012Validator
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

VALIDATORS = {}


def validator(event):
    version = event["metadata"]["version"]
    profiles = tuple(event["metadata"].get("profiles", []))
    key = (version, event["class_uid"], profiles)
    if key not in VALIDATORS:
        schema = OcsfJsonSchemaEmbedded(get_ocsf_schema(version=version))
        name = schema.lookup_class_name_from_uid(class_uid=event["class_uid"])
        VALIDATORS[key] = Draft202012Validator(schema.get_class_schema(class_name=name, profiles=list(profiles)))
    return VALIDATORS[key]


def main():
    faults = valid = 0
    for number, line in enumerate(sys.stdin, 1):
        event = json.loads(line)
        found = list(validator(event).iter_errors(event))
        valid += not found
        for fault in found:
            faults += 1
            path = "/".join(str(part) for part in fault.absolute_path)
            print(f"event {number}: {path}: {fault.message[:300]}")
    if faults:
        sys.exit(1)
    print(f"{valid} valid events")


main()
