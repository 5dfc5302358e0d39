"""MCP at /mcp: the official client, in both versions of the protocol, gets from every tool what /v1 answers."""

import json
from typing import Any

import httpx
import jsonschema_rs
import pytest

from tests.conftest import ROOT
from tests.contract.bridges.mcp_client import VERSIONS, called, connected, mcp
from tests.contract.conftest import Start
from tests.contract.wire import LOCAL, json_of, strict
from tests.rows import for_each

WAVE = {"expression": "x**2*sin(y)", "inputs": {"x": 3, "y": 0.1}}
CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "evaluate": ("/v1/forward", {"expression": "exp(x)/3", "inputs": {"x": [0.1, -2.5, 300.7]}}),
    "gradient": ("/v1/backward", WAVE),
    "hessian": ("/v1/hessian", WAVE),
    "derivative": ("/v1/derivative", {"expression": "x**2*sin(y)", "wrt": ["y"]}),
    "check": ("/v1/check", WAVE),
    "minimize": ("/v1/minimize", {"expression": "(1 - x)**2 + 100*(y - x**2)**2", "initial": {"x": -1.2, "y": 1}}),
    "fit": (
        "/v1/fit",
        {
            "expression": "a*exp(-k*t)",
            "data": {"t": [0, 1, 2, 3, 4], "y": [5.0, 3.1, 1.8, 1.2, 0.7]},
            "target": "y",
            "parameters": {"a": 4, "k": {"start": 0.4, "min": 0}},
        },
    ),
    "propagate": (
        "/v1/propagate",
        {
            "expression": "R = V/I; P = V*I",
            "outputs": ["R", "P"],
            "inputs": {"V": {"value": 5, "u": 0.01}, "I": {"readings": [0.0196, 0.0197, 0.0195]}},
        },
    ),
}
CHECKED = [name for name in CALLS if name not in ("derivative", "check")]

each_version = pytest.mark.parametrize("version", VERSIONS)


@each_version
def test_client_lists_the_tools(base_url: str, version: str) -> None:
    async def use(client: Any) -> Any:
        return await client.list_tools()

    tools = {tool.name: tool for tool in connected(base_url, version, use).tools}
    assert set(tools) == set(CALLS)
    for name, tool in tools.items():
        assert tool.title and len(tool.description) > 150, name
        assert tool.annotations.read_only_hint and tool.annotations.idempotent_hint, name
        assert not tool.annotations.open_world_hint and not tool.annotations.destructive_hint, name
        for schema in (tool.input_schema, tool.output_schema):
            jsonschema_rs.meta.validate(schema)
            assert schema["type"] == "object", name
        assert ("check" in tool.input_schema["properties"]) == (name in CHECKED)


@each_version
def test_service_has_tools_only_and_explains_its_expressions(base_url: str, version: str) -> None:
    async def use(client: Any) -> Any:
        return client.server_capabilities, client.instructions

    if version == "2026-07-28":  # pinned to a version, the client asks the service nothing
        body = modern("server/discover")
        found = json_of(httpx.post(f"{base_url}/mcp", json=body, headers=modern_headers("server/discover")))["result"]
        capabilities, instructions = found["capabilities"], found["instructions"]
        assert version in found["supportedVersions"]
    else:
        described, instructions = connected(base_url, version, use)
        capabilities = described.model_dump(exclude_none=True, by_alias=True)
    assert set(capabilities) == {"tools"}
    assert "2*x, not 2x" in instructions and "logsumexp" in instructions


@each_version
@pytest.mark.parametrize("tool", CALLS)
def test_result_is_what_v1_answers_to_the_last_bit(base_url: str, client: httpx.Client, version: str, tool: str) -> None:
    path, arguments = CALLS[tool]
    expected = json_of(client.post(path, json=arguments))
    result = called(base_url, version, tool, arguments)
    assert not result.is_error
    assert result.structured_content == expected
    assert json.loads(result.content[0].text) == expected


def test_sparse_hessian_comes_with_a_check(base_url: str) -> None:
    arguments = {"expression": "x*y + sin(z)", "inputs": {"x": 1, "y": 2, "z": 3}, "format": "sparse", "check": True}
    answer = called(base_url, "2026-07-28", "hessian", arguments).structured_content
    assert answer["check"]["ok"] is True and len(answer["hessian"]["values"]) == 2
    assert answer["check"]["difference_quotients"]["z"]["z"] == pytest.approx(-0.1411200080598672)  # -sin(3)


@each_version
@pytest.mark.parametrize("tool", CHECKED)
def test_answer_comes_with_a_check_on_request(base_url: str, client: httpx.Client, version: str, tool: str) -> None:
    path, arguments = CALLS[tool]
    expected = json_of(client.post(path, json=arguments))

    async def use(client: Any) -> list[Any]:
        await client.list_tools()
        return [(await client.call_tool(tool, arguments | {"check": check})).structured_content for check in (True, False)]

    checked, plain = connected(base_url, version, use)
    report = checked.pop("check")
    assert checked == plain == expected
    assert report["ok"] is True
    errors = [error for row in report["relative_errors"].values() for error in row.values()]
    assert errors and max(errors) < 1e-6


@pytest.mark.parametrize(
    "arguments",
    [{"inputs": {"x": {"float64": "AAAAAAAA8D8="}}}, {"inputs": {"x": [1.0]}, "arrays": "base64"}],
    ids=["inputs", "answer"],
)
@pytest.mark.parametrize("tool", ["gradient", "hessian"])
def test_answer_with_base64_is_not_checked_and_says_so(base_url: str, tool: str, arguments: dict[str, Any]) -> None:
    found = called(base_url, "2026-07-28", tool, {"expression": "x**2", **arguments, "check": True}).structured_content
    assert "base64" in found["check"]["message"] and found["value"] in ([1.0], {"float64": "AAAAAAAA8D8="})


def test_check_gives_the_difference_quotients(base_url: str) -> None:
    """Of x**2*sin(y) at (3, 0.1): 2*x*sin(y) and x**2*cos(y), and of the first 2*sin(y) and 2*x*cos(y)."""
    gradient = called(base_url, "2026-07-28", "gradient", WAVE | {"check": True}).structured_content["check"]
    assert gradient["difference_quotients"]["output"] == pytest.approx({"x": 0.5990004998809687, "y": 8.955037487502232})
    hessian = called(base_url, "2026-07-28", "hessian", WAVE | {"check": True}).structured_content["check"]
    assert hessian["difference_quotients"]["x"] == pytest.approx({"x": 0.19966683329365628, "y": 5.970024991668155})


@pytest.mark.parametrize("arguments", [{"expression": "3"}, WAVE | {"wrt": []}], ids=["constant", "by nothing"])
@pytest.mark.parametrize("tool", ["gradient", "hessian"])
def test_check_of_no_derivative_is_ok(base_url: str, tool: str, arguments: dict[str, Any]) -> None:
    result = called(base_url, "2026-07-28", tool, arguments | {"check": True})
    assert not result.is_error
    assert result.structured_content["check"]["ok"] is True
    assert not any(result.structured_content["check"]["relative_errors"].values())


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        pytest.param("gradient", {"expression": "relu(x)", "inputs": {"x": 0}}, id="gradient"),
        pytest.param("hessian", {"expression": "x*relu(x)", "inputs": {"x": 0}}, id="hessian"),
    ],
)
def test_check_is_not_ok_at_a_kink(base_url: str, tool: str, arguments: dict[str, Any]) -> None:
    """By convention the derivative there is that of the flat side; the difference quotient is the mean of both sides."""
    result = called(base_url, "2026-07-28", tool, arguments | {"check": True})
    assert not result.is_error and result.structured_content["check"]["ok"] is False


@each_version
def test_null_in_an_answer_arrives(base_url: str, version: str) -> None:
    arguments = {"expression": "log(x)", "inputs": {"x": [-1, 1]}, "nonfinite": "null"}
    answer = called(base_url, version, "evaluate", arguments).structured_content
    assert answer["value"] == [None, 0.0]
    measured = {"expression": "a", "inputs": {"a": {"value": 1, "u": 0.1}}}
    result = called(base_url, version, "propagate", measured).structured_content["results"]["output"]
    assert result["degrees_of_freedom"] is None


ERRORS: dict[str, tuple[str, dict[str, Any], list[str]]] = {
    "implicit product": ("evaluate", {"expression": "2x", "inputs": {"x": 1}}, ["at /expression", "column 2", "2*x|with *"]),
    "unknown function": ("evaluate", {"expression": "foo(x)", "inputs": {"x": 1}}, ["'foo'", "logsumexp"]),
    "input without a number": ("gradient", {"expression": "x*y", "inputs": {"x": 1}}, ["'y'", "inputs"]),
    "number as a string": ("gradient", {"expression": "x", "inputs": {"x": "1"}}, ["/inputs/x", "number"]),
    "misspelt argument": ("minimize", {"expresion": "x", "initial": {"x": 1}}, ["expresion", "expression"]),
    "argument of another tool": ("derivative", {"expression": "x", "inputs": {"x": 1}}, ["/inputs", "inputs"]),
    "check of another type": ("gradient", {"expression": "x", "inputs": {"x": 1}, "check": "yes"}, ["/check", "true or false"]),
    "check where there is none": ("derivative", {"expression": "x", "check": True}, ["/check"]),
    "no arguments": ("fit", {}, ["/expression", "/data", "/target", "/parameters"]),
    "outside the domain": ("gradient", {"expression": "log(x)", "inputs": {"x": -1}}, ["log", "domain"]),
    "no lower bound": ("minimize", {"expression": "x", "initial": {"x": 0}}, ["not-converged", "bounds"]),
}


@each_version
@pytest.mark.parametrize("case", ERRORS)
def test_error_of_a_tool_says_what_is_wrong_where_and_what_to_do(base_url: str, version: str, case: str) -> None:
    tool, arguments, words = ERRORS[case]
    result = called(base_url, version, tool, arguments)
    assert result.is_error and result.structured_content is None
    text = result.content[0].text
    for word in words:
        assert any(choice in text for choice in word.split("|")), f"{word!r} is not in {text!r}"
    assert "How to fix it: " in text and "GET " not in text and "/v1" not in text


@each_version
def test_unknown_tool_is_an_error_of_the_protocol_that_names_the_tools(base_url: str, version: str) -> None:
    async def use(client: Any) -> Any:
        with pytest.raises(mcp.MCPError, match="Did you mean 'gradient'.*minimize") as caught:
            await client.call_tool("gradeint", {})
        return caught.value.code

    assert connected(base_url, version, use) == -32602


# --- raw messages


def modern(method: str, **params: Any) -> dict[str, Any]:
    """Return a request in version 2026-07-28, which says in itself what older versions agree on at the start."""
    meta = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": meta}}


def modern_headers(method: str, name: str | None = None) -> dict[str, str]:
    """Return the headers that repeat what is in such a request."""
    return {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": method} | ({"Mcp-Name": name} if name else {})


def legacy(method: str, **params: Any) -> dict[str, Any]:
    """Return a request in older versions."""
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}


def error_of(response: httpx.Response) -> dict[str, Any]:
    """Return the error of a response of JSON-RPC."""
    assert response.headers["content-type"] == "application/json" and response.status_code < 500
    body = strict(response.content)
    assert body["jsonrpc"] == "2.0" and "result" not in body
    error: dict[str, Any] = body["error"]
    assert isinstance(error["code"], int) and error["message"]
    return error


MALFORMED: dict[str, tuple[bytes, int]] = {
    "nothing": (b"", -32700),
    "half an object": (b'{"jsonrpc": "2.0"', -32700),
    "not UTF-8": (b'{"jsonrpc": "2.0", "id": 1, "method": "\xff"}', -32700),
    "NaN": (b'{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"x": NaN}}', -32600),
    "a batch": (b'[{"jsonrpc": "2.0", "id": 1, "method": "ping"}]', -32600),
    "a string": (b'"ping"', -32600),
    "no version": (b'{"id": 1, "method": "ping"}', -32600),
    "JSON-RPC 1.0": (b'{"jsonrpc": "1.0", "id": 1, "method": "ping"}', -32600),
    "no method": (b'{"jsonrpc": "2.0", "id": 1}', -32600),
    "a number as method": (b'{"jsonrpc": "2.0", "id": 1, "method": 5}', -32600),
    "null as id": (b'{"jsonrpc": "2.0", "id": null, "method": "ping"}', -32600),
    "a list as id": (b'{"jsonrpc": "2.0", "id": [1], "method": "ping"}', -32600),
    "a boolean as id": (b'{"jsonrpc": "2.0", "id": true, "method": "ping"}', -32600),
    "a list of params": (b'{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": [1]}', -32600),
    "nesting": (b'{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"x": %s%s}}' % (b"[" * 5000, b"]" * 5000), -32700),
}


@for_each("case", MALFORMED)
@for_each("headers", [{}, {"MCP-Protocol-Version": "2026-07-28"}])
def test_malformed_message_is_an_error_of_json_rpc(base_url: str, case: str, headers: dict[str, str]) -> None:
    content, code = MALFORMED[case]
    response = httpx.post(f"{base_url}/mcp", content=content, headers={"Content-Type": "application/json"} | headers)
    assert response.status_code == 400 and error_of(response)["code"] == code


WRONG_CALLS: dict[str, dict[str, Any]] = {
    "no name": {"arguments": {}},
    "a number as name": {"name": 5, "arguments": {}},
    "a list as arguments": {"name": "evaluate", "arguments": ["x"]},
    "a string as arguments": {"name": "evaluate", "arguments": "x"},
    "an unknown tool": {"name": "eval", "arguments": {}},
    "a name with control characters": {"name": "\x00\x1b", "arguments": {}},
}


@pytest.mark.parametrize("case", WRONG_CALLS)
@each_version
def test_wrong_call_is_an_error_of_the_protocol(base_url: str, version: str, case: str) -> None:
    params = WRONG_CALLS[case]
    if version == "2026-07-28":
        name = params.get("name", "evaluate")
        headers = modern_headers("tools/call", name if isinstance(name, str) and name.isprintable() else "evaluate")
        error = error_of(httpx.post(f"{base_url}/mcp", json=modern("tools/call", **params), headers=headers))
        assert error["code"] in (-32602, -32020)  # the latter where a header does not repeat the name
    else:
        error = error_of(httpx.post(f"{base_url}/mcp", json=legacy("tools/call", **params)))
        assert error["code"] == -32602


@pytest.mark.parametrize(
    "method", ["resources/list", "prompts/list", "logging/setLevel", "completion/complete", "tools/delete"]
)
@each_version
def test_there_is_nothing_but_tools(base_url: str, version: str, method: str) -> None:
    is_modern = version == "2026-07-28"
    body = modern(method) if is_modern else legacy(method)
    headers = modern_headers(method) if is_modern else {}
    assert error_of(httpx.post(f"{base_url}/mcp", json=body, headers=headers))["code"] in (-32601, -32602)


def test_message_over_the_limit_is_refused(base_url: str) -> None:
    body = legacy("tools/call", name="evaluate", arguments={"expression": "x", "inputs": {"x": [0.5] * 70_000}})
    response = httpx.post(f"{base_url}/mcp", json=body)
    assert response.status_code == 413
    assert "262,144 bytes" in error_of(response)["message"]


@each_version
def test_answer_over_the_limit_is_an_error_of_the_tool(base_url: str, version: str) -> None:
    arguments = {"expression": "x/7", "inputs": {"x": list(range(1, 20_001))}}
    result = called(base_url, version, "evaluate", arguments)
    assert result.is_error and "262,144 bytes" in result.content[0].text


@each_version
def test_answer_in_other_scripts_arrives(base_url: str, client: httpx.Client, version: str) -> None:
    """In a response it takes six times its bytes: it is there twice, with each character as an escape sequence."""
    names = [f"{'é' * 60}{k}" for k in range(800)]
    arguments = {"expression": "+".join(names), "inputs": dict.fromkeys(names, 1.5), "values": True}
    expected = json_of(client.post("/v1/backward", json=arguments))
    assert called(base_url, version, "gradient", arguments).structured_content == expected


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT"])
def test_other_methods_are_not_allowed(base_url: str, method: str) -> None:
    """There is no stream of messages from the service, and no session to end."""
    response = httpx.request(method, f"{base_url}/mcp", headers={"Accept": "text/event-stream"})
    assert response.status_code == 405 and response.headers["allow"] == "POST"


def test_calls_need_no_session(base_url: str) -> None:
    body = legacy("tools/call", name="gradient", arguments={"expression": "x*x", "inputs": {"x": 3}})
    response = httpx.post(f"{base_url}/mcp", json=body, headers={"Mcp-Session-Id": "made-up"})
    assert json_of(response)["result"]["structuredContent"]["gradients"] == {"x": 6.0}
    assert "mcp-session-id" not in response.headers


def test_notification_gets_no_answer(base_url: str) -> None:
    response = httpx.post(f"{base_url}/mcp", json={"jsonrpc": "2.0", "method": "notifications/initialized"})
    assert response.status_code == 202 and not response.content


def test_headers_of_every_response_are_there(base_url: str) -> None:
    response = httpx.post(f"{base_url}/mcp", json=legacy("ping"), headers={"X-Request-ID": "given"})
    assert response.headers["x-request-id"] == "given"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["content-security-policy"].startswith("default-src 'none'")


def test_requests_are_counted_by_route(base_url: str, client: httpx.Client) -> None:
    httpx.post(f"{base_url}/mcp", json=legacy("ping"))
    assert 'autodiff_requests_total{route="/mcp",status="200"}' in client.get("/metrics").text


def test_configuration_of_the_readme_names_the_endpoint() -> None:
    section = (ROOT / "README.md").read_text("utf-8").partition("### MCP\n")[2]
    server = json.loads(section.partition("```json\n")[2].partition("```")[0])["mcpServers"]["autodiff"]
    assert server == {"type": "http", "url": "http://localhost:8000/mcp"}


@pytest.mark.skipif(not LOCAL, reason="starts a server of its own")
def test_address_on_the_command_line_decides_which_hosts_may_be_named(start: Start) -> None:
    """A service on all addresses is called by names that it cannot know."""
    url = start("--host", "0.0.0.0").url
    assert httpx.post(f"{url}/mcp", json=legacy("ping"), headers={"Host": "anything.example"}).status_code == 200


def test_local_service_is_not_called_by_other_names(base_url: str) -> None:
    """Where a page has made its own name resolve to this machine."""
    if httpx.URL(base_url).host not in ("127.0.0.1", "localhost"):
        pytest.skip("the service is not a local one")
    response = httpx.post(f"{base_url}/mcp", json=legacy("ping"), headers={"Host": "evil.example"})
    assert response.status_code == 421
