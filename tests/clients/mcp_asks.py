"""A real MCP server of both eras over HTTP, whose tools ask the client for something before they answer.

    mcp_asks.py PORT
"""

import sys
from typing import Annotated

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.resolve import Elicit, ListRoots, Resolve, Sample
from mcp.types import CreateMessageResult, ListRootsResult, SamplingMessage, TextContent
from pydantic import BaseModel

server = MCPServer("curious")


class Person(BaseModel):
    name: str


class Login(BaseModel):
    name: str
    password: str


def person() -> Elicit[Person]:
    return Elicit("Who are you?", Person)


def login() -> Elicit[Login]:
    return Elicit("Log in, please.", Login)


def text(tokens: int) -> Sample:
    question = SamplingMessage(role="user", content=TextContent(type="text", text="Write."))
    return Sample([question], max_tokens=tokens)


def folders() -> ListRoots:
    return ListRoots()


@server.tool()
def plain() -> str:
    return "plain"


@server.tool()
def hidden() -> str:
    return "hidden"


@server.tool()
def ask_name(person: Annotated[Person, Resolve(person)]) -> str:
    return "hello " + person.name


@server.tool()
def ask_password(login: Annotated[Login, Resolve(login)]) -> str:
    return "thank you for " + login.password


@server.tool()
def ask_model(tokens: int, text: Annotated[CreateMessageResult, Resolve(text)]) -> str:
    return "it wrote " + text.content.text


@server.tool()
def ask_folders(folders: Annotated[ListRootsResult, Resolve(folders)]) -> str:
    return " ".join(str(root.uri) for root in folders.roots)


server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[1]))
