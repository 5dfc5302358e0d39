"""Calls the service through the generated Python client: `python python_client.py URL`.

Expectations come from hand calculation: derivatives of powers, and one step of gradient descent on two rows.
"""

import json
import sys

from autodiff_http_client import Client
from autodiff_http_client.api.expressions import backward, graph
from autodiff_http_client.api.networks import dataset, train, train_stream
from autodiff_http_client.models import (
    Activation,
    BackwardRequest,
    BackwardRequestInputs,
    BackwardResponse,
    DatasetName,
    DatasetResponse,
    ExpressionGraph,
    ExpressionNode,
    GraphRequest,
    GraphResponse,
    LossName,
    NetworkData,
    NetworkLayer,
    NetworkModel,
    Optimizer,
    OptimizerName,
    ProblemDetails,
    ProblemName,
    TrainRequest,
    TrainResponse,
)

ONE_STEP = TrainRequest(
    model=NetworkModel(layers=[NetworkLayer(weights=[[0.0]], biases=[0.0], activation=Activation.LINEAR)]),
    data=NetworkData(inputs=[[1.0], [2.0]], targets=[2.0, 4.0]),
    loss=LossName.MSE,
    optimizer=Optimizer(name=OptimizerName.SGD, learning_rate=0.1),
    steps=1,
)
"""The loss is (2**2 + 4**2)/2 = 10, its derivative by the weight -(2*1 + 4*2) = -10 and by the bias -(2 + 4) = -6."""


def numbers(**inputs: float | list[float]) -> BackwardRequestInputs:
    found = BackwardRequestInputs()
    for name, number in inputs.items():
        found[name] = number
    return found


def call_text(client: Client) -> None:
    found = backward.sync(client=client, body=BackwardRequest(expression="x**2", inputs=numbers(x=3.0)))
    assert isinstance(found, BackwardResponse), found
    assert found.value == 9.0 and found.gradients["x"] == 6.0


def call_graph(client: Client) -> None:
    nodes = [ExpressionNode(id="x", op="value", data=3.0), ExpressionNode(id="y", op="mul", args=["x", 2.0])]
    expression = ExpressionGraph(nodes=nodes, output="y")
    found = backward.sync(client=client, body=BackwardRequest(expression=expression))
    assert isinstance(found, BackwardResponse), found
    assert found.value == 6.0 and found.gradients["x"] == 2.0
    drawn = graph.sync(client=client, body=GraphRequest(expression=expression))
    assert isinstance(drawn, GraphResponse), drawn
    assert {(edge.from_, edge.to) for edge in drawn.edges} >= {("x", "y")}


def call_points(client: Client) -> None:
    found = backward.sync(client=client, body=BackwardRequest(expression="x**2 + y", inputs=numbers(x=[1.0, 2.0], y=1.0)))
    assert isinstance(found, BackwardResponse), found
    assert found.value == [2.0, 5.0] and found.gradients["x"] == [2.0, 4.0] and found.gradients["y"] == [1.0, 1.0]


def call_train(client: Client) -> None:
    found = train.sync(client=client, body=ONE_STEP)
    assert isinstance(found, TrainResponse), found
    assert found.history[0].loss == 10.0
    (layer,) = found.model.layers
    assert layer.weights == [[1.0]] and isinstance(layer.biases, list) and abs(layer.biases[0] - 0.6) < 1e-12


def call_stream(client: Client) -> None:
    found = train_stream.sync(client=client, body=ONE_STEP)
    assert isinstance(found, str), found
    events = [dict(line.split(": ", 1) for line in event.split("\n")) for event in found.strip().split("\n\n")]
    assert [event["event"] for event in events] == ["progress", "result"]
    result = TrainResponse.from_dict(json.loads(events[-1]["data"]))
    assert result.model.layers[0].weights == [[1.0]]


def call_dataset(client: Client) -> None:
    found = dataset.sync(client=client, name=DatasetName.MOONS, samples=5)
    assert isinstance(found, DatasetResponse), found
    assert isinstance(found.inputs, list) and [len(row) for row in found.inputs] == [2] * 5


def call_with_a_mistake(client: Client) -> None:
    found = backward.sync_detailed(client=client, body=BackwardRequest(expression="2x"))
    assert found.status_code == 422 and isinstance(found.parsed, ProblemDetails), found
    assert found.parsed.type_ == f"/problems/{ProblemName.SYNTAX_ERROR}" and "2*x" in found.parsed.detail
    assert found.parsed.errors and found.parsed.errors[0].pointer == "/expression"


CALLS = (call_text, call_graph, call_points, call_train, call_stream, call_dataset, call_with_a_mistake)

if __name__ == "__main__":
    with Client(base_url=sys.argv[1]) as service:
        for call in CALLS:
            call(service)
            print(f"{call.__name__} passed")
