#!/usr/bin/env python3
"""Writes callgate.json, the Grafana dashboard, beside this file, and the chart's copy of the alerts.

Each panel is one line of PANELS, so that the same query is never written twice. The alerts are written by hand in
deploy/observe/callgate.rules.yml; a Helm chart can only read files of its own folder. With --check nothing is written, and
the exit status says whether the files are as they should be.
"""

import json
import pathlib
import re
import sys

JOB = 'job=~"$job",instance=~"$instance"'
RATE = "$__rate_interval"

# Row, title, kind, unit, [(query, legend)]. `{}` in a query stands for the selected servers.
PANELS = [
    ("Decisions", "Decisions by outcome", "timeseries", "ops", [
        ("sum by (callgate_decision) (rate(callgate_decisions_total{}[RATE]))", "{{callgate_decision}}"),
    ]),
    ("Decisions", "Denies by reason", "timeseries", "ops", [
        ('sum by (callgate_reason) (rate(callgate_decisions_total{callgate_decision="deny"}[RATE]))', "{{callgate_reason}}"),
    ]),
    ("Decisions", "Denied share", "stat", "percentunit", [
        ('sum(rate(callgate_decisions_total{callgate_decision="deny"}[RATE])) / sum(rate(callgate_decisions_total{}[RATE]))', "denied"),
    ]),
    ("Decisions", "Decisions by operation", "timeseries", "ops", [
        ("sum by (callgate_operation) (rate(callgate_decisions_total{}[RATE]))", "{{callgate_operation}}"),
    ]),
    ("Decisions", "Tools that are denied most, of the last minutes", "timeseries", "short", [
        ("topk(10, sum by (callgate_tool) (callgate_denied_tools{}))", "{{callgate_tool}}"),
    ]),
    ("Decisions", "Agents that are denied most, of the last minutes", "timeseries", "short", [
        ("topk(10, sum by (callgate_agent) (callgate_denied_agents{}))", "{{callgate_agent}}"),
    ]),
    ("Decisions", "Approvals that wait for a person", "timeseries", "short", [
        # Replicas of one database count the same approvals.
        ("max by (job) (callgate_approvals_waiting{})", "{{job}}"),
    ]),
    ("Decisions", "Decisions by adapter", "timeseries", "ops", [
        ("sum by (callgate_adapter) (rate(callgate_decisions_total{}[RATE]))", "{{callgate_adapter}}"),
    ]),
    ("Latency", "Time to decide", "timeseries", "s", [
        (f"histogram_quantile({share}, sum by (le) (rate(callgate_decision_duration_seconds_bucket{{}}[RATE])))", name)
        for share, name in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))
    ]),
    ("Latency", "Time of control writes", "timeseries", "s", [
        ("histogram_quantile(0.99, sum by (le) (rate(callgate_control_duration_seconds_bucket{}[RATE])))", "p99"),
    ]),
    ("Latency", "Requests under way", "timeseries", "short", [
        ("sum by (instance) (callgate_requests_in_flight{})", "{{instance}}"),
        ("sum by (instance) (callgate_requests_limit{})", "limit of {{instance}}"),
    ]),
    ("Latency", "Requests rejected without a decision", "timeseries", "ops", [
        ("sum by (callgate_adapter, callgate_rejection) (rate(callgate_rejections_total{}[RATE]))",
         "{{callgate_rejection}} ({{callgate_adapter}})"),
    ]),
    ("Policies", "Decisions that shadow policies would change", "timeseries", "ops", [
        ("sum by (callgate_policy_id) (rate(callgate_shadow_policies_total{}[RATE]))", "{{callgate_policy_id}}"),
    ]),
    ("Policies", "Excess privilege: granted and not used since the start", "timeseries", "percentunit", [
        # What is used on one replica is used.
        ('min by (callgate_privilege_kind) (callgate_privileges{callgate_privilege_state="unused"}'
         " / ignoring (callgate_privilege_state) sum without (callgate_privilege_state) (callgate_privileges{}))",
         "{{callgate_privilege_kind}}s"),
    ]),
    ("Policies", "Denies that were only observed", "timeseries", "ops", [
        ("sum by (callgate_reason) (rate(callgate_observed_total{}[RATE]))", "{{callgate_reason}}"),
        ("sum(rate(callgate_observed_entries_total{}[RATE]))", "entries of lists that were shown"),
    ]),
    ("Policies", "Age of the revision", "stat", "s", [
        ("max by (instance) (callgate_snapshot_age_seconds{})", "{{instance}}"),
    ]),
    ("Policies", "Revision", "timeseries", "none", [
        ("max by (instance) (callgate_snapshot_revision{})", "{{instance}}"),
    ]),
    # Rare events are shown as totals: a series that begins with 1 has no increase.
    ("Policies", "Loads of the directory since the start", "timeseries", "short", [
        ("sum by (callgate_reload) (callgate_reloads_total{})", "{{callgate_reload}}"),
    ]),
    ("Policies", "Directory has faults", "stat", "none", [
        ("max by (instance) (callgate_bundle_faulty_ratio{})", "{{instance}}"),
    ]),
    ("Policies", "Control writes", "timeseries", "ops", [
        ("sum by (callgate_control_verb, callgate_control_outcome) (rate(callgate_control_writes_total{}[RATE]))",
         "{{callgate_control_verb}} {{callgate_control_outcome}}"),
    ]),
    ("Evidence", "Decision log: records written", "timeseries", "ops", [
        ("sum by (instance) (rate(callgate_audit_records_total{}[RATE]))", "{{instance}}"),
    ]),
    ("Evidence", "Decision log: lag", "timeseries", "s", [
        ("max by (instance) (callgate_audit_lag_seconds{})", "{{instance}}"),
    ]),
    ("Evidence", "Decision log: records that wait, and records not signed yet", "timeseries", "short", [
        ("sum by (instance) (callgate_audit_queued{})", "waiting on {{instance}}"),
        ("sum by (instance) (callgate_audit_unsigned{})", "not signed on {{instance}}"),
    ]),
    ("Evidence", "Decision log: requests without a record", "stat", "short", [
        ("sum by (instance) (callgate_audit_unrecorded_total{})", "{{instance}}"),
    ]),
    ("Evidence", "Decision log: records, and capsules of records, that are lost", "stat", "short", [
        ("sum by (instance, callgate_audit_kind) (callgate_audit_lost_total{})", "{{callgate_audit_kind}} of {{instance}}"),
    ]),
    ("Evidence", "Store cannot be used, changes that are not written, clock is wrong", "stat", "short", [
        ("max by (instance) (callgate_store_failing_ratio{})", "store of {{instance}}"),
        ("max by (instance) (callgate_store_unwritten{})", "not written by {{instance}}"),
        ("max by (instance) (callgate_clock_faulty_ratio{})", "clock of {{instance}}"),
    ]),
    ("Evidence", "Decision log: size", "timeseries", "bytes", [
        ("sum by (callgate_audit_kind) (callgate_audit_size_bytes{})", "{{callgate_audit_kind}}"),
    ]),
    ("Evidence", "Decision log cannot be written, or its keys were not in place", "stat", "none", [
        ("max by (instance) (callgate_audit_failing_ratio{})", "{{instance}}"),
        ("max by (instance) (callgate_audit_key_troubles{})", "keys of {{instance}}"),
    ]),
    ("Evidence", "Telemetry that was lost since the start", "timeseries", "short", [
        ("sum by (callgate_telemetry_signal, callgate_telemetry_reason) (callgate_telemetry_dropped_total{})",
         "{{callgate_telemetry_signal}}: {{callgate_telemetry_reason}}"),
    ]),
]

WIDTH, HEIGHT, COLUMNS = 8, 8, 24


def expression(query):
    """The query for the selected servers."""
    selected = re.sub(r"\{([^{}]*)\}", lambda found: "{" + ",".join(filter(None, [found[1], JOB])) + "}", query)
    return selected.replace("RATE", RATE)


def panel(number, title, kind, unit, queries, x, y):
    source = {"type": "prometheus", "uid": "${datasource}"}
    targets = [
        {
            "refId": chr(ord("A") + at),
            "datasource": source,
            "editorMode": "code",
            "expr": expression(query),
            "legendFormat": legend,
            "exemplar": "_duration_" in query,
            "range": True,
        }
        for at, (query, legend) in enumerate(queries)
    ]
    return {
        "id": number,
        "type": kind,
        "title": title,
        "datasource": source,
        "gridPos": {"x": x, "y": y, "w": WIDTH, "h": HEIGHT},
        "fieldConfig": {"defaults": {"unit": unit}, "overrides": []},
        "targets": targets,
    }


def panels():
    made, row, x, y = [], None, 0, 0
    for name, title, kind, unit, queries in PANELS:
        if name != row:
            y += HEIGHT if row is not None and x > 0 else 0
            grid = {"x": 0, "y": y, "w": COLUMNS, "h": 1}
            made.append({"id": len(made) + 1, "type": "row", "title": name, "collapsed": False, "gridPos": grid, "panels": []})
            row, x, y = name, 0, y + 1
        if x + WIDTH > COLUMNS:
            x, y = 0, y + HEIGHT
        made.append(panel(len(made) + 1, title, kind, unit, queries, x, y))
        x += WIDTH
    return made


def variable(name, label):
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "query": {"query": f"label_values(callgate_snapshot_revision, {name})", "refId": name},
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }


def dashboard():
    source = {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}
    return {
        "uid": "callgate",
        "title": "Callgate",
        "description": "Decisions, latency, policies in service, and the decision log",
        "tags": ["callgate"],
        "schemaVersion": 39,
        "editable": True,
        "time": {"from": "now-1h", "to": "now"},
        "refresh": "30s",
        "templating": {"list": [source, variable("job", "Job"), variable("instance", "Server")]},
        "panels": panels(),
    }


def main():
    here = pathlib.Path(__file__).parent
    wanted = {
        here / "callgate.json": json.dumps(dashboard(), indent=2) + "\n",
        here.parent / "helm/callgate/files/callgate.rules.yml": (here.parent / "observe/callgate.rules.yml").read_text(),
    }
    for path, text in wanted.items():
        if "--check" not in sys.argv[1:]:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            sys.exit(f"{path} is not what generate.py writes")


if __name__ == "__main__":
    main()
