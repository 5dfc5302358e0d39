"""What stands on the wire about networks: models, data, training, and their answers. Strict, as all requests are."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field

from app.api.schemas.expressions import Expression, ExpressionGraph
from app.nn.training import MOST_STEPS

Rows = Annotated[list[list[float]], Meta(description="Rows of numbers, all of one width", examples=[[[0.5, -1.0]]])]
Seed = Annotated[int, Meta(ge=0, le=2**32 - 1)]


class LayerBody(Struct, forbid_unknown_fields=True):
    """A layer. A row of `weights` is a neuron."""

    weights: Rows
    biases: Annotated[list[float], Meta(description="One for each neuron")]
    activation: Annotated[str, Meta(description="`linear`, or a primitive of one argument")] = "linear"


class ModelBody(Struct, forbid_unknown_fields=True):
    """A model: what goes in and what comes out."""

    layers: Annotated[list[LayerBody], Meta(description="The layers, from inputs to outputs")]


class NetworkSpec(Struct, forbid_unknown_fields=True, kw_only=True):
    """A new multilayer perceptron."""

    inputs: Annotated[int, Meta(ge=1, description="The width of a row of inputs")]
    layers: Annotated[list[Annotated[int, Meta(ge=1)]], Meta(min_length=1, description="The number of neurons of each layer")]
    activation: Annotated[str, Meta(description="Of all layers but the last")] = "relu"
    output_activation: Annotated[str, Meta(description="Of the last layer")] = "linear"
    init: Annotated[
        Literal["uniform", "he", "xavier"], Meta(description="`uniform` is micrograd's; `he` and `xavier` are normal")
    ] = "uniform"
    seed: Seed = 0


class ModelOrSpec(Struct, forbid_unknown_fields=True, kw_only=True):
    """A model, or, where `layers` are numbers of neurons, a new one, as for POST /v1/networks."""

    layers: Annotated[list[LayerBody | int], Meta(description="Layers, or, for a new model, numbers of neurons")]
    inputs: int | None = None
    activation: str | None = None
    output_activation: str | None = None
    init: Literal["uniform", "he", "xavier"] | None = None
    seed: Seed | None = None


class DataBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """Rows of inputs with their targets, or a dataset by name."""

    inputs: Annotated[Rows | None, Meta(description="Rows as wide as the model has inputs")] = None
    targets: Annotated[
        list[float | list[float]] | None,
        Meta(description="For each row a number, or a list with one for each output; for cross_entropy the class"),
    ] = None
    dataset: Annotated[str | None, Meta(description="A name of GET /v1/datasets, in place of inputs and targets")] = None
    samples: int | None = None
    noise: float | None = None
    seed: int | None = None
    name: Annotated[str | None, Meta(description="As GET /v1/datasets/{name} answers it; means nothing here")] = None
    features: int | None = None
    classes: int | None = None


class LossExpression(Struct, forbid_unknown_fields=True):
    """A loss of one's own: an expression of `score` and `target`, whose mean over rows and outputs is taken."""

    expression: Expression


LossBody = Annotated[
    str | LossExpression,
    Meta(description="max_margin, mse, mae, huber, binary_cross_entropy, cross_entropy, or an expression"),
]
L2 = Annotated[float, Meta(ge=0.0, description="Adds `l2 * sum(p*p)` over all weights and biases to the loss")]


class PredictRequest(Struct, forbid_unknown_fields=True, kw_only=True):
    """A model and rows to compute it for."""

    model: ModelOrSpec
    inputs: Rows


class NetworkBackwardRequest(Struct, forbid_unknown_fields=True, kw_only=True):
    """A model and data to differentiate the loss on."""

    model: ModelOrSpec
    data: DataBody
    loss: LossBody
    l2: L2 = 0.0
    input_gradients: Annotated[bool, Meta(description="Whether to differentiate by the inputs too")] = False


class OptimizerBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """An optimizer with PyTorch's names and defaults. Parameters that the optimizer does not have are refused."""

    name: Annotated[str, Meta(description="sgd, adam, adamw or rmsprop")] = "sgd"
    learning_rate: Annotated[
        float | str | ExpressionGraph | None, Meta(description="A number, or an expression of `step`; default: PyTorch's")
    ] = None
    momentum: float | UnsetType = UNSET
    dampening: float | UnsetType = UNSET
    weight_decay: float | UnsetType = UNSET
    nesterov: bool | UnsetType = UNSET
    betas: Annotated[tuple[float, float] | UnsetType, Meta(description="Of adam and adamw")] = UNSET
    eps: float | UnsetType = UNSET
    amsgrad: bool | UnsetType = UNSET
    alpha: float | UnsetType = UNSET
    centered: bool | UnsetType = UNSET


class BufferLayer(Struct, forbid_unknown_fields=True):
    """Numbers in the shape of a layer."""

    weights: Rows
    biases: list[float]


class BufferBody(Struct, forbid_unknown_fields=True):
    """Numbers in the shape of a model: gradients, or an optimizer's buffer."""

    layers: list[BufferLayer]


class OptimizerState(Struct, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """What an optimizer keeps from step to step, by PyTorch's names."""

    name: str
    momentum_buffer: BufferBody | None = None
    exp_avg: BufferBody | None = None
    exp_avg_sq: BufferBody | None = None
    max_exp_avg_sq: BufferBody | None = None
    square_avg: BufferBody | None = None
    grad_avg: BufferBody | None = None


class StateBody(Struct, forbid_unknown_fields=True):
    """Where training stands: goes into the next request as it came out of the last."""

    step: Annotated[int, Meta(ge=0, le=MOST_STEPS, description="The number of steps done")]
    optimizer: OptimizerState | None = None


class TrainRequest(Struct, forbid_unknown_fields=True, kw_only=True):
    """A model, data, and how to train."""

    model: ModelOrSpec
    data: DataBody
    loss: LossBody
    l2: L2 = 0.0
    optimizer: OptimizerBody = field(default_factory=OptimizerBody)
    steps: Annotated[int, Meta(ge=1, le=MOST_STEPS, description="How many steps to do")] = 100
    batch_size: Annotated[
        int | None, Meta(description="Rows a step, drawn without repetition within an epoch; null: all, in every step")
    ] = None
    seed: Annotated[
        int, Meta(ge=0, le=2**32 - 1, description="Of the rows drawn: those of step k depend on it and k alone")
    ] = 0
    log_every: Annotated[
        int, Meta(ge=1, le=MOST_STEPS, description="Which steps are in the history: every so many, and the last")
    ] = 1
    state: Annotated[StateBody | None, Meta(description="The state that came with the model, to resume")] = None


class ModelAnswer(Struct):
    """A new model."""

    model: ModelBody
    parameters: Annotated[int, Meta(description="The number of weights and biases")]


class PredictAnswer(Struct):
    """The scores, a row for each row of inputs."""

    outputs: list[list[float]]


class NetworkBackwardAnswer(Struct, kw_only=True):
    """The loss, its parts, and its gradients in the shape of the model."""

    loss: float
    data_loss: float
    regularization_loss: float
    accuracy: float | UnsetType = UNSET
    gradients: BufferBody
    input_gradients: Rows | UnsetType = UNSET


class HistoryRow(Struct, kw_only=True):
    """A step: what held before its update. `accuracy` is absent for regression."""

    step: int
    loss: float
    data_loss: float
    regularization_loss: float
    accuracy: float | UnsetType = UNSET
    learning_rate: float


class TrainAnswer(Struct, kw_only=True):
    """A new model, the state to resume from, and the history."""

    model: ModelBody
    state: StateBody
    history: list[HistoryRow]
    stopped: Annotated[
        Literal["completed", "non-finite", "deadline"],
        Meta(description="`non-finite`: the model is that of the last finite step; `deadline`: the model so far, resumable"),
    ]
    detail: Annotated[str | UnsetType, Meta(description="Why it stopped, where it did not complete")] = UNSET


class NetworkGraphRequest(Struct, forbid_unknown_fields=True, kw_only=True):
    """A model and one row to write out as an expression."""

    model: ModelOrSpec
    inputs: Annotated[list[float], Meta(description="One row")]
    target: Annotated[float | list[float] | None, Meta(description="The row's target; then the output is the loss")] = None
    loss: LossBody | None = None


class NetworkGraphAnswer(Struct):
    """The network as a graph object that every expression endpoint takes."""

    graph: ExpressionGraph


class BoundaryRequest(Struct, forbid_unknown_fields=True, kw_only=True):
    """A model of two inputs, and where to compute it."""

    model: ModelOrSpec
    data: Annotated[DataBody | None, Meta(description="Data whose range, padded, the grid covers; default: -1 to 1")] = None
    step: Annotated[float, Meta(gt=0.0, description="The distance of neighbouring points")] = 0.25
    padding: Annotated[float, Meta(ge=0.0, description="How far the grid goes beyond the data")] = 1.0


class BoundaryPoint(Struct):
    """A point of the grid and the model's score there; of a model with several outputs the greatest one's index."""

    x: float
    y: float
    score: float


class BoundaryAnswer(Struct):
    """The points of the grid, row by row."""

    points: list[BoundaryPoint]


class HistoryRequestRow(Struct, kw_only=True):
    """A row of a history; other fields than those known are left out."""

    step: int
    loss: float
    data_loss: float | None = None
    regularization_loss: float | None = None
    accuracy: float | None = None
    learning_rate: float | None = None


class HistoryRequest(Struct, forbid_unknown_fields=True):
    """The history of a training."""

    history: list[HistoryRequestRow]


class HistoryAnswer(Struct, kw_only=True):
    """The history by column, ready to be plotted; a column that no row has is absent."""

    step: list[int]
    loss: list[float]
    data_loss: list[float | None] | UnsetType = UNSET
    regularization_loss: list[float | None] | UnsetType = UNSET
    accuracy: list[float | None] | UnsetType = UNSET
    learning_rate: list[float | None] | UnsetType = UNSET


class DatasetRow(Struct, kw_only=True):
    """A dataset that there is."""

    name: str
    description: str
    features: int
    classes: int | None
    targets: str
    samples: Annotated[int, Meta(description="The number of rows unless told otherwise")]
    noise: Annotated[float | None, Meta(description="The noise unless told otherwise; null where there is none")]


class DatasetsAnswer(Struct):
    """All datasets."""

    datasets: list[DatasetRow]


class DatasetAnswer(Struct, kw_only=True):
    """A dataset, ready to be the `data` of a training."""

    name: str
    inputs: Rows
    targets: list[float]
    features: int
    classes: int | UnsetType = UNSET
