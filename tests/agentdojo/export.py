"""Writes suites of AgentDojo, as sequences of calls, to <folder>/<suite>.json. No model is involved: the calls are
the benchmark's ground truth on its own environment without injections. Needs the package `agentdojo` on the path."""

import importlib.abc
import importlib.machinery
import json
import sys
import types
from pathlib import Path

CLIENTS = ("agentdojo.agent_pipeline", "openai", "anthropic", "cohere", "google", "rich", "requests", "click")


class Absent(types.ModuleType):
    """Stands in for the clients of models, which the suites import and do not use."""

    __path__: list = []

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path=None, target=None):
        if any(name == client or name.startswith(f"{client}.") for client in CLIENTS):
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec):
        return Absent(spec.name)

    def exec_module(self, module):
        pass


def calls(task, environment):
    return [{"name": call.function, "arguments": dict(call.args)} for call in task.ground_truth(environment)]


def exported(version, name, suite):
    environment = suite.load_and_inject_default_environment({})
    tools = [
        {"name": tool.name, "description": tool.description, "inputSchema": tool.parameters.model_json_schema()}
        for tool in suite.tools
    ]
    user_tasks = [
        {"id": task.ID, "prompt": task.PROMPT, "calls": calls(task, environment)} for task in suite.user_tasks.values()
    ]
    injection_tasks = [
        {"id": task.ID, "goal": task.GOAL, "calls": calls(task, environment)}
        for task in suite.injection_tasks.values()
    ]
    return {
        "benchmark": "AgentDojo",
        "version": version,
        "suite": name,
        "tools": tools,
        "user_tasks": user_tasks,
        "injection_tasks": injection_tasks,
    }


def main(version, folder):
    sys.meta_path.insert(0, Finder())
    from agentdojo.task_suite.load_suites import get_suites

    for name, suite in get_suites(version).items():
        text = json.dumps(exported(version, name, suite), indent=1, default=str, ensure_ascii=False)
        Path(folder, f"{name}.json").write_text(text + "\n")


main(sys.argv[1], sys.argv[2])
