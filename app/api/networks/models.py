"""Request and response models of the endpoints for networks.

The fields of optimizers and their states come from the table `app.nn.optimizers.OPTIMIZERS`.
"""

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, GetPydanticSchema, SkipValidation, TypeAdapter, WrapValidator, create_model
from pydantic_core import PydanticCustomError, PydanticKnownError, core_schema

from app.api.expressions.expression import Expression, ExpressionGraph
from app.engine.large_json import LargeList, LargeObject
from app.engine.scanner import NumberList
from app.nn.datasets import SOURCES
from app.nn.losses import LOSSES
from app.nn.model import ACTIVATIONS
from app.nn.optimizers import OPTIMIZERS
from app.nn.training import MAX_STEPS
from app.service.models import (
    ABSENT,
    NUMBER_SCHEMA,
    Arrays,
    ComputationRequest,
    FileRequest,
    Handler,
    Items,
    Numbers,
    PositiveInteger,
    RequestModel,
    ResponseModel,
    ResultRows,
    Results,
    Rows,
    Seed,
    Vector,
    VectorOrRows,
    WholeNumber,
    beginning,
    component,
    found_text,
    is_number,
    items,
    large_fields,
)

ExportFormat = Literal["onnx", "safetensors", "pytorch", "numpy", "c", "javascript"]
Init = Literal["uniform", "he", "xavier"]
L2 = Annotated[float, Field(ge=0.0, description="Adds `l2 * sum(p*p)` over all weights and biases to the loss")]
Activation = Annotated[
    str,
    Field(
        description="`linear`, or the name of a primitive of one argument",
        examples=["relu"],
        json_schema_extra={"enum": [*ACTIVATIONS], **component("Activation", "The activation of a layer.")},
    ),
]


DATASET_NAME = component("DatasetName", "The name of a dataset.")
DatasetName = Annotated[str, Field(json_schema_extra={"enum": [*SOURCES], **DATASET_NAME})]


class NetworkLayer(RequestModel):
    """A layer of a model. A row of `weights` is a neuron."""

    OTHER_NAMES = {
        **dict.fromkeys(("W", "kernel", "w", "weight"), "weights"),
        **dict.fromkeys(("B", "b", "bias"), "biases"),
        **dict.fromkeys(("act", "function", "nonlin"), "activation"),
    }

    weights: Rows = Field(description="One row per neuron", examples=[[[0.1, -0.2], [0.3, 0.4]]])
    biases: Vector = Field(description="One per neuron", examples=[[0.0, 0.0]])
    activation: Activation = "linear"


MAX_LAYERS = 10_000
"""Each layer takes some hundred bytes besides its numbers, and some microseconds."""


def _few(value: Any, handler: Handler) -> Any:
    """A list of no more than MAX_LAYERS entries, of which no more are decoded."""
    if isinstance(value, LargeList):
        value = value.first(MAX_LAYERS + 1)
    if len(value.values if isinstance(value, NumberList) else value if isinstance(value, list) else ()) > MAX_LAYERS:
        raise PydanticCustomError("too_many_layers", "a network has at most {limit} layers", {"limit": f"{MAX_LAYERS:,}"})
    return handler(value)


MAX_ITEMS: dict[str, Any] = {"maxItems": MAX_LAYERS}


class NetworkModel(RequestModel):
    """A model: what goes in and what comes out."""

    layers: Annotated[Items[NetworkLayer], WrapValidator(_few)] = Field(
        description="The layers, from inputs to outputs", json_schema_extra=MAX_ITEMS
    )


SPEC_NAMES = {
    **dict.fromkeys(("features", "input", "input_dim", "input_size", "in_features", "n_inputs", "nin"), "inputs"),
    **dict.fromkeys(("hidden", "hidden_layers", "hidden_layer_sizes", "hidden_sizes", "neurons", "nouts", "units"), "layers"),
    **dict.fromkeys(("initialization", "initializer", "weights_init"), "init"),
    "random_state": "seed",
    "sizes": 'Give the inputs apart: [2, 3, 1] is "inputs": 2, "layers": [3, 1].',
    **dict.fromkeys(("bias", "use_bias"), "Every layer has biases."),
    "dropout": "There is no dropout; 'l2' of a training keeps weights small.",
    "outputs": "The last of 'layers' is the number of outputs.",
    "output": "The last of 'layers' is the number of outputs.",
}
"""What people call the fields of a new network."""


class NetworkSpec(RequestModel):
    """A new multilayer perceptron."""

    OTHER_NAMES = SPEC_NAMES

    inputs: WholeNumber = Field(ge=1, description="The width of a row of inputs")
    layers: Annotated[list[PositiveInteger], Field(min_length=1, fail_fast=True), WrapValidator(items), WrapValidator(_few)] = (
        Field(description="The number of neurons of each layer", json_schema_extra=MAX_ITEMS)
    )
    activation: Activation = "relu"
    output_activation: Annotated[Activation, Field(description="The activation of the last layer")] = "linear"
    init: Init = Field("uniform", description="`uniform` is micrograd's; `he` and `xavier` are normal distributions")
    seed: Seed = 0


class NewNetworkRequest(NetworkSpec, ComputationRequest):
    """A new multilayer perceptron."""


def _are_numbers(layers: object) -> bool:
    return isinstance(layers, NumberList) or any(any(map(is_number, piece)) for piece in _pieces(layers))


def _pieces(layers: object) -> Iterable[list[Any]]:
    """The entries of a list, in parts."""
    return layers.pieces() if isinstance(layers, LargeList) else [layers] if isinstance(layers, list) else []


def _model_or_spec(value: Any, handler: Handler) -> "NetworkModel | NetworkSpec":
    """A model if its layers are objects, a spec if they are numbers or it has `inputs`."""
    if isinstance(value, LargeObject):
        known = NetworkModel.model_fields | NetworkSpec.model_fields
        value = large_fields(value, known, len(known))
    layers = value.get("layers") if isinstance(value, dict) else None
    has_objects = any(any(isinstance(layer, dict | LargeObject) for layer in piece) for piece in _pieces(layers))
    if isinstance(value, dict) and not has_objects and (value.get("inputs") is not None or _are_numbers(layers)):
        spec: NetworkSpec = SPEC.validate_python(value)
        return spec
    model: NetworkModel = handler(value)
    return model


SPEC = TypeAdapter(NetworkSpec)

ModelOrSpec = Annotated[
    NetworkModel | NetworkSpec,
    GetPydanticSchema(
        lambda source, handler: core_schema.no_info_wrap_validator_function(_model_or_spec, handler(NetworkModel)),
        lambda schema, handler: {
            "oneOf": handler(core_schema.union_schema([schema["schema"], SPEC.core_schema]))["anyOf"],
            **component("ModelOrSpec", "A model, or the spec of a new one."),
        },
    ),
    Field(description="A model, or the spec of a new one, as for POST /v1/networks"),
]


class NetworkData(RequestModel):
    """Rows of inputs with their targets, or a dataset by name."""

    OTHER_NAMES = {
        **dict.fromkeys(("X", "x", "X_train", "x_train", "data", "rows"), "inputs"),
        **dict.fromkeys(("Y", "labels", "output", "outputs", "target", "y", "y_train"), "targets"),
        **dict.fromkeys(("count", "n", "n_samples", "num_samples", "size"), "samples"),
        "random_state": "seed",
    }

    inputs: Rows | None = Field(None, description="Rows as wide as the model has inputs")
    targets: VectorOrRows | None = Field(
        None, description="One number per row, or a list with one per output; for cross_entropy, the class of each row"
    )
    dataset: DatasetName | None = Field(None, description="The name of a dataset, instead of inputs and targets")
    samples: WholeNumber | None = Field(None, description="The number of rows of the dataset")
    noise: float | None = Field(None, description="The noise of a generated dataset")
    seed: WholeNumber | None = Field(None, description="The seed of what is drawn")
    name: str | None = Field(None, description="As GET /v1/datasets/{name} sends it; ignored")
    features: WholeNumber | None = Field(None, description="As GET /v1/datasets/{name} sends it; ignored")
    classes: WholeNumber | None = Field(None, description="As GET /v1/datasets/{name} sends it; ignored")


class LossExpression(RequestModel):
    """A loss of your own: an expression of `score` and `target`, averaged over rows and outputs."""

    OTHER_NAMES = dict.fromkeys(("name", "type", "kind"), 'The name of a loss stands alone: "loss": "mse".')

    expression: Expression


def _loss(value: Any, handler: Handler) -> str | LossExpression:
    if isinstance(value, str):
        return value
    if not isinstance(value, dict | LargeObject):
        context = {"form": '{"expression": "(score - target)**2"}', "found": found_text(value)}
        raise PydanticCustomError("loss", "expected the name of a loss or {form}, found {found}", context)
    loss: LossExpression = handler(value)
    return loss


LOSS_NAME_SCHEMA = {
    "type": "string",
    "enum": [*LOSSES],
    "title": "LossName",
    "description": "The name of a loss.",
}
LossOrName = Annotated[
    str | LossExpression,
    GetPydanticSchema(
        lambda source, handler: core_schema.no_info_wrap_validator_function(_loss, handler(LossExpression)),
        lambda schema, handler: {
            "oneOf": [{**LOSS_NAME_SCHEMA}, handler(schema)],
            **component("Loss", "The name of a loss, or an expression of `score` and `target`."),
        },
    ),
    Field(description=f"{', '.join(LOSSES)}, or an expression"),
]


def _rate(value: Any, handler: Handler) -> Any:
    return float(value) if is_number(value) else handler(value)


Rate = Annotated[
    float | Expression,
    GetPydanticSchema(
        lambda source, handler: core_schema.no_info_wrap_validator_function(_rate, handler(Expression)),
        lambda schema, handler: {
            "oneOf": [{**NUMBER_SCHEMA}, *handler(schema)["oneOf"]],
            **component("LearningRate", "A number, or an expression of `step`."),
        },
    ),
]


def _pair(value: Any, handler: Handler) -> Any:
    """A pair of numbers; of a long list, as much as shows that it is none."""
    if isinstance(value, NumberList):
        raise PydanticKnownError("too_long", {"field_type": "List", "max_length": 2, "actual_length": len(value.values)})
    return items(beginning(value), handler)


def _optimizer_fields() -> dict[str, Any]:
    """The fields of every optimizer in the table, each optional: {name: (type, default)}."""
    types: dict[str, Any] = {
        "number": float | None,
        "flag": bool | None,
        "pair": Annotated[list[float], Field(min_length=2, max_length=2), WrapValidator(_pair)] | None,
    }
    fields: dict[str, Any] = {}
    for row in OPTIMIZERS.values():
        for parameter in row.parameters:
            known = [other.name for other in OPTIMIZERS.values() if parameter.name in [p.name for p in other.parameters]]
            described = Field(None, description=f"{parameter.description} ({', '.join(known)})")
            fields.setdefault(parameter.name, (types[parameter.kind], described))
    return fields


class OptimizerBase(RequestModel):
    """An optimizer with PyTorch's parameter names and defaults. Parameters of other optimizers are refused."""

    OTHER_NAMES = {
        **dict.fromkeys(("alpha", "eta", "learningRate", "lr", "rate", "step_size"), "learning_rate"),
        **dict.fromkeys(("algorithm", "method", "type"), "name"),
        "beta1": 'Write both together: "betas": [0.9, 0.999].',
        "beta2": 'Write both together: "betas": [0.9, 0.999].',
        "epsilon": "eps",
        **{name: f'The name is a field: {{"name": "{name}"}}.' for name in OPTIMIZERS},
    }

    name: str = Field(
        "sgd",
        description=", ".join(OPTIMIZERS),
        examples=["adam"],
        json_schema_extra={"enum": [*OPTIMIZERS], **component("OptimizerName", "The name of an optimizer.")},
    )
    learning_rate: Rate | None = Field(
        None, description="A number, or an expression of `step`; default: PyTorch's", examples=[0.01]
    )


Optimizer = create_model("Optimizer", __base__=OptimizerBase, __doc__=OptimizerBase.__doc__, **_optimizer_fields())


def _optimizer(value: Any, handler: Handler) -> Any:
    if isinstance(value, str):
        form = f'{{"name": "{value}"}}' if value in OPTIMIZERS else f'{{"name": ...}} with one of {", ".join(OPTIMIZERS)}'
        raise PydanticCustomError("optimizer", "expected an object, found a string; write {form}", {"form": form})
    return handler(value)


class LayerNumbers(RequestModel):
    """Numbers in the shape of a layer."""

    weights: Rows
    biases: Vector


class ModelNumbers(RequestModel):
    """Numbers in the shape of a model: gradients, or a buffer of an optimizer."""

    layers: Annotated[Items[LayerNumbers], WrapValidator(_few)] = Field(json_schema_extra=MAX_ITEMS)


class OptimizerStateBase(RequestModel):
    """What an optimizer keeps from step to step, by PyTorch's names."""

    name: str


BUFFERS = tuple(dict.fromkeys(buffer.name for row in OPTIMIZERS.values() for buffer in row.buffers))
_BUFFER_FIELDS: dict[str, Any] = {name: (ModelNumbers | None, None) for name in BUFFERS}
OptimizerState = create_model(
    "OptimizerState", __base__=OptimizerStateBase, __doc__=OptimizerStateBase.__doc__, **_BUFFER_FIELDS
)


class TrainingState(RequestModel):
    """Where a training stands. It goes into the next request as it came out of the last one."""

    step: WholeNumber = Field(ge=0, le=MAX_STEPS, description="The number of steps done")
    optimizer: OptimizerState | None = None


PREDICT_MODEL = 'It belongs in a layer of the model: "model": {"layers": [{"weights": [[1, 2]], "biases": [0]}]}.'


class PredictRequest(ComputationRequest):
    """A model, and rows to compute its scores for."""

    OTHER_NAMES = {
        **dict.fromkeys(("X", "data", "input", "rows", "x"), "inputs"),
        **dict.fromkeys(("net", "network"), "model"),
        **dict.fromkeys(("biases", "layers", "weights"), PREDICT_MODEL),
    }

    model: ModelOrSpec
    inputs: Rows = Field(description="Rows as wide as the model has inputs", examples=[[[0.5, -1.0]]])


class NetworkBackwardRequest(ComputationRequest):
    """A model, and data to differentiate the loss on."""

    model: ModelOrSpec
    data: NetworkData
    loss: LossOrName
    l2: L2 = 0.0
    input_gradients: bool = Field(False, description="Whether to differentiate by the inputs too")


EVALUATED = "Evaluate the model that comes back, by /v1/networks/predict or /v1/networks/backward."
EPOCHS = "Give the number of 'steps': one per epoch without 'batch_size', else one per batch."


class TrainRequest(ComputationRequest):
    """A model, data, and how to train."""

    OTHER_NAMES = {
        **dict.fromkeys(("criterion", "loss_function", "objective"), "loss"),
        **dict.fromkeys(("net", "network"), "model"),
        **dict.fromkeys(("optim", "solver"), "optimizer"),
        **dict.fromkeys(("learningRate", "lr", "rate", "step_size"), "learning_rate"),
        "alpha": "Conventions differ: 'l2' is a penalty on the weights, and 'learning_rate' belongs in 'optimizer'.",
        **dict.fromkeys(("stream", "progress"), "Send the same request to /v1/networks/train/stream for progress."),
        **dict.fromkeys(("shuffle", "drop_last"), "Rows are always drawn at random, without repetition within an epoch."),
        **dict.fromkeys(("validation_data", "validation_split", "metrics", "callbacks"), EVALUATED),
        **dict.fromkeys(("iterations", "max_iter", "n_iter", "n_steps", "num_steps"), "steps"),
        **dict.fromkeys(("batch", "batchSize", "minibatch"), "batch_size"),
        **dict.fromkeys(("X", "input", "inputs", "x"), "inputs"),
        **dict.fromkeys(("labels", "target", "targets", "y"), "targets"),
        **dict.fromkeys(("epoch", "epochs", "n_epochs", "num_epochs"), EPOCHS),
        "hidden": "layers",
        "random_state": "seed",
        "verbose": "log_every",
    }

    model: ModelOrSpec = Field(examples=[{"inputs": 2, "layers": [3, 1]}])
    data: NetworkData = Field(examples=[{"dataset": "moons"}])
    loss: LossOrName
    l2: L2 = 0.0
    optimizer: Annotated[Optimizer, WrapValidator(_optimizer)] = Field(default_factory=Optimizer)
    steps: WholeNumber = Field(100, ge=1, le=MAX_STEPS, description="How many steps to do")
    batch_size: PositiveInteger | None = Field(
        None, description="Rows per step, drawn without repetition within an epoch; by default all rows in every step"
    )
    seed: Seed = Field(0, description="The seed of the rows drawn; those of step k depend only on it and k")
    log_every: WholeNumber = Field(1, ge=1, le=MAX_STEPS, description="The history has every so many steps, and the last one")
    state: TrainingState | None = Field(None, description="The state that came with the model, to resume")


class NetworkGraphRequest(ComputationRequest):
    """A model and one row to write out as an expression."""

    model: ModelOrSpec
    inputs: Vector = Field(description="One row", examples=[[0.5, -1.0]])
    target: Numbers | None = Field(None, description="The row's target; with it, the output is the loss")
    loss: LossOrName | None = None


class NetworkExportRequest(ComputationRequest):
    """A model to write in another format."""

    model: ModelOrSpec
    format: ExportFormat = Field(
        description="`onnx` and `safetensors` are files of weights; the others are source code with the weights in it"
    )


class NetworkImportRequest(FileRequest):
    """The bytes of an ONNX or safetensors file."""


class BoundaryRequest(ComputationRequest):
    """A model of two inputs, and the grid to compute it on."""

    model: ModelOrSpec
    data: NetworkData | None = Field(None, description="Data whose range, padded, the grid covers; default: -1 to 1")
    step: float = Field(0.25, gt=0.0, description="The distance between neighbouring points")
    padding: float = Field(1.0, ge=0.0, description="How far the grid extends beyond the data")


class HistoryRequestRow(RequestModel):
    """A row of a history."""

    model_config = {"extra": "ignore"}

    step: WholeNumber = Field(ge=0, le=MAX_STEPS)
    loss: float
    data_loss: float | None = None
    regularization_loss: float | None = None
    accuracy: float | None = None
    learning_rate: float | None = None


class HistoryRequest(ComputationRequest):
    """The history of a training."""

    history: Items[HistoryRequestRow]


class NewModelResponse(ResponseModel):
    """A new model."""

    model: NetworkModel
    parameters: int = Field(description="The number of weights and biases")


class NetworkImportResponse(NewModelResponse):
    """A model that was read from a file."""

    removed: list[str] = Field(
        description="The operators that were left out because they follow the scores: a last Softmax or Sigmoid, and what "
        "makes labels of it"
    )


class PredictResponse(ResponseModel):
    """The scores: one row for each row of inputs."""

    outputs: ResultRows


class NetworkBackwardResponse(ResponseModel):
    """The loss, its parts, and its gradients in the shape of the model."""

    loss: float
    data_loss: float
    regularization_loss: float
    accuracy: float = Field(ABSENT, description="The share of rows that are classified correctly; absent for regression")
    gradients: ModelNumbers
    input_gradients: ResultRows = Field(ABSENT, description="If requested, the gradients by the inputs")


class HistoryRowResponse(ResponseModel):
    """A step of a training: what held before its update."""

    step: int
    loss: float
    data_loss: float
    regularization_loss: float
    accuracy: float = Field(ABSENT, description="Absent for regression")
    learning_rate: float


class TrainResponse(ResponseModel):
    """A new model, the state to resume from, and the history."""

    model: NetworkModel
    state: TrainingState
    history: SkipValidation[list[HistoryRowResponse]]
    stopped: Literal["completed", "non-finite", "deadline"] = Field(
        description="`non-finite`: the model is that of the last finite step. `deadline`: the model so far; resume from it"
    )
    detail: str = Field(ABSENT, description="Why the training stopped, if it did not complete")


class NetworkGraphResponse(ResponseModel):
    """The network as a graph object, which every endpoint for expressions takes."""

    graph: ExpressionGraph


class BoundaryPoint(ResponseModel):
    """A point of the grid and the model's score there; for several outputs, the index of the largest."""

    x: float
    y: float
    score: float


class BoundaryResponse(ResponseModel):
    """The points of the grid, row by row."""

    points: SkipValidation[list[BoundaryPoint]]


class HistoryResponse(ResponseModel):
    """The history by column, ready to be plotted. A column that no row has is absent."""

    step: list[int]
    loss: Results
    data_loss: Results = ABSENT
    regularization_loss: Results = ABSENT
    accuracy: Results = ABSENT
    learning_rate: Results = ABSENT


class DatasetRow(ResponseModel):
    """A dataset."""

    name: str
    description: str
    features: int = Field(description="The width of a row of inputs")
    classes: int | None = Field(description="The number of classes; null if the targets are not classes")
    targets: str = Field(description="What the targets are")
    samples: int = Field(description="The default number of rows")
    noise: float | None = Field(description="The default noise; null for a bundled dataset, which has none")


class DatasetsResponse(ResponseModel):
    """All datasets."""

    datasets: list[DatasetRow]


class DatasetQuery(RequestModel):
    """The size, noise and seed of a dataset."""

    model_config = {"strict": False}

    samples: "QueryInteger | None" = Field(None, description="The number of rows; default: the dataset's own")
    noise: "QueryNumber | None" = Field(None, description="The noise of a generated dataset; default: the dataset's own")
    seed: "QueryInteger" = Field(0, description="The seed of what is drawn")
    arrays: Arrays = Field("list", description="How the rows and the targets are written: as lists, or in base64")


class DatasetResponse(ResponseModel):
    """A dataset, ready to be the `data` of a training."""

    name: str
    inputs: ResultRows
    targets: Results
    features: int = Field(description="The width of a row of inputs")
    classes: int = Field(ABSENT, description="The number of classes; absent if the targets are not classes")


def _query_text(value: Any) -> Any:
    """Refuse what Python takes for a number and JSON does not."""
    if isinstance(value, str) and "_" in value:
        raise PydanticCustomError("number", "expected a number without underscores")
    return value


QueryInteger = Annotated[int, BeforeValidator(_query_text)]
QueryNumber = Annotated[float, BeforeValidator(_query_text)]
DatasetQuery.model_rebuild()
