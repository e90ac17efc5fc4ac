"""Input that cannot be used: an error that says what came, what was expected and what to do, and no damage."""

import re

import numpy as np
import pytest
from networks import CLASSES, FEATURES, assert_nothing_open, data, network

from minidl import DataSet, InputType, MultiLayerNetwork, NeuralNetConfiguration, WorkspaceMode
from minidl.data import ArrayDataSetIterator
from minidl.errors import (
    ConfigurationError,
    DataError,
    DtypeError,
    MinidlError,
    NotInitializedError,
    ShapeError,
    StaleArrayError,
    WorkspaceError,
)
from minidl.eval import ROC, Evaluation
from minidl.layers import DenseLayer, OutputLayer
from minidl.workspaces import WorkspaceConfiguration, workspace_manager

X, Y = data(8)
WIDE = np.zeros((8, 7), "f4")
READ_ONLY = np.empty((8, CLASSES), "f4")
READ_ONLY.flags.writeable = False
OVERLAP = np.zeros(8 * FEATURES + 100, "f4")
NAN_LABELS = np.where(np.arange(8)[:, np.newaxis] == 3, np.nan, Y)
NAN_LABELS.flags.writeable = False


def stale_array():
    """Return an array whose workspace was left."""
    with workspace_manager.get_and_activate_workspace(WorkspaceConfiguration(initial_size=4096), "LEFT") as workspace:
        array = workspace.create((8, FEATURES))
    workspace_manager.destroy_workspace(workspace)
    return array


# A call, the class of its error, and the whole text of it
CASES = {
    # features
    "wrong width": (
        lambda net: net.output(WIDE),
        ShapeError,
        "features have shape (8, 7), expected (batch, 12). Reshape the features, or change the input_type of the "
        "configuration.",
    ),
    "wrong width in fit": (
        lambda net: net.fit(WIDE, Y),
        ShapeError,
        "features have shape (8, 7), expected (batch, 12). Reshape the features, or change the input_type of the "
        "configuration.",
    ),
    "one example without a batch": (
        lambda net: net.predict(X[0]),
        ShapeError,
        "features have shape (12,), expected (batch, 12). For one example, add the batch axis: x[np.newaxis].",
    ),
    "too many axes": (
        lambda net: net.feed_forward(X.reshape(8, 3, 4)),
        ShapeError,
        "features have shape (8, 3, 4), expected (batch, 12). Flatten the examples: x.reshape(len(x), -1).",
    ),
    "no axes": (
        lambda net: net.output(3.0),
        ShapeError,
        "features have shape (), expected (batch, 12). Reshape the features, or change the input_type of the "
        "configuration.",
    ),
    "complex numbers": (
        lambda net: net.output(X.astype(complex)),
        DtypeError,
        "features: got dtype complex128, expected real numbers, integers or booleans. Convert first, for example with "
        ".astype(np.float32).",
    ),
    "objects": (
        lambda net: net.evaluate(X.astype(object), Y),
        DtypeError,
        "features have dtype object. Expected real numbers, integers or bool: convert them first.",
    ),
    "text": (
        lambda net: net.output([["a"] * 12]),
        DtypeError,
        "features: got dtype <U1, expected real numbers, integers or booleans. Convert first, for example with "
        ".astype(np.float32).",
    ),
    "ragged rows": (
        lambda net: net.output([[1, 2], [3]]),
        ShapeError,
        "features: this is not an array, as its rows differ in length. Give all the same length.",
    ),
    "nothing": (
        lambda net: net.output(None),
        DtypeError,
        "features: got an object of type NoneType, expected an array with one batch of numbers.",
    ),
    "an iterator for output": (
        lambda net: net.output(ArrayDataSetIterator(X, Y)),
        DtypeError,
        "features: got an object of type ArrayDataSetIterator, expected an array with one batch of numbers.",
    ),
    "an empty batch": (
        lambda net: net.output(X[:0]),
        DataError,
        "features of shape (0, 12) hold no examples. Give at least one.",
    ),
    "an empty batch in fit": (
        lambda net: net.fit(X[:0], Y[:0]),
        DataError,
        "features of shape (0, 12) are empty. Expected at least one example.",
    ),
    "a stale array": (
        lambda net: net.output(stale_array()),
        StaleArrayError,
        "Op [network] features argument uses leaked workspace pointer from workspace [LEFT]: the array of shape (8, "
        "12) was made in a scope of it that was left, and the workspace was destroyed. Array WS iteration: 1, "
        "Workspace current iteration: 1. All open workspaces: []. Inside the scope, call detach() to keep an "
        "independent copy, or leverage_to(id) to move the array to a workspace that stays open longer.",
    ),
    # labels
    "fewer labels than examples": (
        lambda net: net.fit(X, Y[:5]),
        ShapeError,
        "features have 8 examples, but labels have 5 (shapes (8, 12) and (5, 5)). The first axis of both counts the "
        "same examples.",
    ),
    "labels of another width": (
        lambda net: net.fit(X, WIDE),
        ShapeError,
        "labels have shape (8, 7) and dtype float32, expected (8, 5) for the network's outputs or integer class "
        "indices of shape (batch,). Give one column for each output of the last layer, or change its n_out.",
    ),
    "class indices as floats": (
        lambda net: net.score(X, np.zeros(8)),
        ShapeError,
        "labels have shape (8,) and dtype float64, expected (8, 5) for the network's outputs or integer class indices "
        "of shape (batch,). Give one column for each output of the last layer, or change its n_out.",
    ),
    "class index too large": (
        lambda net: net.fit(X, np.full(8, 5)),
        DataError,
        "class index 5 in row 0 is not a whole number from 0 to 4. Number the classes from 0, or set n_out to the "
        "number of classes.",
    ),
    "class index below 0": (
        lambda net: net.evaluate(X, np.array([0, 1, 2, -1, 0, 1, 2, 3])),
        DataError,
        "class index -1 in row 3 is not a whole number from 0 to 4. Number the classes from 0, or set n_out to the "
        "number of classes.",
    ),
    "NaN in labels": (
        lambda net: net.fit(X, NAN_LABELS),
        DataError,
        "labels: nan in row 3 of 8 is not a finite number of type float32. Remove such examples, or mask them "
        "with a labels_mask of 0 and put a number in their place. The parameters were not changed by this batch.",
    ),
    "NaN in labels of score": (
        lambda net: net.score(X, NAN_LABELS),
        DataError,
        "labels: nan in row 3 of 8 is not a finite number of type float32. Remove such examples, or mask them "
        "with a labels_mask of 0 and put a number in their place. The parameters were not changed by this batch.",
    ),
    "NaN in labels of evaluate": (
        lambda net: net.evaluate(X, NAN_LABELS),
        DataError,
        "Evaluation: labels contain NaN. Find where it comes from, or mask these rows out.",
    ),
    "labels of objects": (
        lambda net: net.fit(X, Y.astype(object)),
        DtypeError,
        "labels have dtype object. Expected real numbers, integers or bool: convert them first.",
    ),
    "a mask that does not fit": (
        lambda net: net.fit(X, Y, labels_mask=np.ones((8, 2))),
        ShapeError,
        "labels_mask has shape (8, 2), expected (8,), (8, 1) or (8, 5). Give one number for each example, or for each "
        "element.",
    ),
    "a features mask that does not fit": (
        lambda net: net.fit(X, Y, features_mask=np.ones((8, 77))),
        ShapeError,
        "features_mask has shape (8, 77), expected (8,), (8, 1) or (8, 12). Give one number for each example, or for "
        "each element.",
    ),
    "infinity in labels": (
        lambda net: net.fit(X, np.where(np.isnan(NAN_LABELS), np.inf, NAN_LABELS)),
        DataError,
        "labels: inf in row 3 of 8 is not a finite number of type float32. Remove such examples, or mask them "
        "with a labels_mask of 0 and put a number in their place. The parameters were not changed by this batch.",
    ),
    "NaN in a labels mask": (
        lambda net: net.fit(X, Y, labels_mask=[1, 1, 1, 1, 1, 1, np.nan, 1]),
        DataError,
        "labels_mask: nan in row 6 of 8 is not a finite number of type float32. Remove such examples, or mask them "
        "with a labels_mask of 0 and put a number in their place. The parameters were not changed by this batch.",
    ),
    "masked features": (
        lambda net: net.output(np.ma.masked_greater(X, 0)),
        DtypeError,
        "features: got a masked array, whose masked values would be used. Fill it first: .filled(0).",
    ),
    "a class of iterators": (
        lambda net: net.fit(ArrayDataSetIterator),
        DataError,
        "data is of type ABCMeta, which gives no batches. Pass (x, y), a DataSet, or an iterator over DataSets.",
    ),
    "a mask of other length": (
        lambda net: net.fit(X, Y, labels_mask=np.ones(7)),
        ShapeError,
        "features have 8 examples, but labels_mask have 7 (shapes (8, 12) and (7,)). The first axis of both counts the "
        "same examples.",
    ),
    "a mask of outputs in an evaluation": (
        lambda net: net.evaluate(DataSet(X, Y, labels_mask=np.ones((8, CLASSES)))),
        ShapeError,
        "Per-output masking for Evaluation is not supported: got a mask of shape (8, 5) for predictions of shape (8, "
        "5). Give a mask of shape (8,) or (8, 1).",
    ),
    "ROC of five classes": (
        lambda net: net.do_evaluation((X, Y), ROC()),
        ShapeError,
        "ROC expects predictions with 1 or 2 columns, got 5. Use ROCMultiClass for classes, ROCBinary for independent "
        "outputs.",
    ),
    # what fit and its kin are given
    "features alone": (
        lambda net: net.fit(X),
        DataError,
        "got an array of features without labels. Pass both, (x, y), or a DataSet, or an iterator over DataSets.",
    ),
    "a DataSet without labels": (
        lambda net: net.score(DataSet(X, None)),
        DataError,
        "got a DataSet without labels. Give it labels: DataSet(features, labels).",
    ),
    "no data": (
        lambda net: net.fit(None),
        DataError,
        "data is of type NoneType, which gives no batches. Pass (x, y), a DataSet, or an iterator over DataSets.",
    ),
    "a number to evaluate on": (
        lambda net: net.evaluate(3),
        DataError,
        "data is of type int, which gives no batches. Pass (x, y), a DataSet, or an iterator over DataSets.",
    ),
    "a number to score": (
        lambda net: net.score(3),
        DataError,
        "data is of type int, which gives no batches. Pass (x, y), a DataSet, or an iterator over DataSets.",
    ),
    "a batch that is a list": (
        lambda net: net.fit([[X, Y.tolist()]]),
        DataError,
        "A batch is a DataSet or a tuple (features, labels[, features_mask, labels_mask]), got a list of 2: write "
        "tuple(batch) if it holds features and labels.\nin batch 0 of list",
    ),
    "an empty iterator": (
        lambda net: net.fit([]),
        DataError,
        "list gave no batches in this pass. Give it data; a generator can be passed over only once.",
    ),
    "an empty iterator to evaluate on": (
        lambda net: net.evaluate(iter([])),
        DataError,
        "list_iterator gave no batches in this pass. Give it data; a generator can be passed over only once.",
    ),
    "an empty iterator to score": (
        lambda net: net.score([]),
        DataError,
        "list gave no batches in this pass. Give it data; a generator can be passed over only once.",
    ),
    "a generator for two epochs": (
        lambda net: net.fit((pair for pair in [(X, Y)]), epochs=2),
        DataError,
        "generator can be passed over only once, but epochs=2. Pass an object whose iter() starts anew, such as a list "
        "of DataSets or an ArrayDataSetIterator.",
    ),
    "a large batch that nobody asked for": (
        lambda net: net.fit(*data(1025)),
        DataError,
        "1025 examples in one minibatch are likely a mistake: pass batch_size=32 for minibatches, or batch_size=len(x) "
        "for one step.",
    ),
    "batches for the gradient": (
        lambda net: net.compute_gradient_and_score([(X, Y)]),
        DataError,
        "A batch is a DataSet or a tuple (features, labels[, features_mask, labels_mask]), got a list of 1: write "
        "tuple(batch) if it holds features and labels.",
    ),
    # options of calls
    "no epochs": (
        lambda net: net.fit(X, Y, epochs=0),
        ConfigurationError,
        "epochs=0 is not a whole number of at least 1.",
    ),
    "half an epoch": (
        lambda net: net.fit(X, Y, epochs=0.5),
        ConfigurationError,
        "epochs=0.5 is not a whole number of at least 1.",
    ),
    "epochs as a truth": (
        lambda net: net.fit(X, Y, epochs=True),
        ConfigurationError,
        "epochs=True is not a whole number of at least 1.",
    ),
    "batch_size of 0": (
        lambda net: net.fit(X, Y, batch_size=0),
        ConfigurationError,
        "batch_size=0 is not a whole number of at least 1.",
    ),
    "batch_size as text": (
        lambda net: net.fit(X, Y, batch_size="32"),
        ConfigurationError,
        "batch_size='32' is not a whole number of at least 1.",
    ),
    "batch_size for batches": (
        lambda net: net.fit([(X, Y)], batch_size=4),
        ConfigurationError,
        "batch_size=4 goes with arrays or one DataSet, but data is a list, which makes its own batches. Give the size "
        "to the iterator, such as ListDataSetIterator(datasets, batch_size).",
    ),
    "a mask beside batches": (
        lambda net: net.fit([(X, Y)], labels_mask=np.ones(8)),
        ConfigurationError,
        "features_mask and labels_mask go with fit(x, y) only. Put the masks into the DataSets: DataSet(features, "
        "labels, features_mask, labels_mask).",
    ),
    "a mask beside a DataSet": (
        lambda net: net.fit(DataSet(X, Y), labels_mask=np.ones(8)),
        ConfigurationError,
        "features_mask and labels_mask go with fit(x, y) only. Put the masks into the DataSets: DataSet(features, "
        "labels, features_mask, labels_mask).",
    ),
    "a report for nothing": (
        lambda net: net.memory_report(batch_size=0),
        ConfigurationError,
        "batch_size=0 is not a whole number of at least 1.",
    ),
    "no such layer": (
        lambda net: net.feed_forward_to_layer(2, X),
        ConfigurationError,
        "there is no layer 2: the network has layers 0 to 1.",
    ),
    "a layer by name": (
        lambda net: net.feed_forward_to_layer("last", X),
        ConfigurationError,
        "there is no layer 'last': the network has layers 0 to 1.",
    ),
    "no evaluation": (
        lambda net: net.do_evaluation((X, Y)),
        ConfigurationError,
        "do_evaluation() got no evaluations. Pass some: do_evaluation(data, Evaluation()).",
    ),
    "labels for do_evaluation": (
        lambda net: net.do_evaluation(X, "Y"),
        ConfigurationError,
        "'Y' is not an evaluation. Pass objects such as Evaluation(), ROC().",
    ),
    "a class of evaluations": (
        lambda net: net.do_evaluation((X, Y), Evaluation),
        ConfigurationError,
        "<class 'minidl.eval.evaluation.Evaluation'> is not an evaluation. Pass objects such as Evaluation(), ROC().",
    ),
    # out= and workspace=
    "out of another shape": (
        lambda net: net.output(X, out=np.empty((8, 3), "f4")),
        ShapeError,
        "out has shape (8, 3), expected (8, 5). Make it with np.empty((8, 5), 'float32').",
    ),
    "out of another type": (
        lambda net: net.output(X, out=np.empty((8, CLASSES))),
        DtypeError,
        "out has dtype float64, expected float32. Make it with np.empty((8, 5), 'float32').",
    ),
    "out that is no array": (
        lambda net: net.output(X, out=[0] * 8),
        DtypeError,
        "out is a list, expected an array. Make it with np.empty((8, 5), 'float32').",
    ),
    "out that cannot be written to": (
        lambda net: net.output(X, out=READ_ONLY),
        DataError,
        "out is read-only. Pass an array that can be written to.",
    ),
    "out over the input": (
        lambda net: net.output(OVERLAP[: 8 * 12].reshape(8, 12), out=OVERLAP[60:100].reshape(8, 5)),
        DataError,
        "out shares memory with the input, which would be overwritten. Pass another array.",
    ),
    "classes of another type": (
        lambda net: net.predict(X, out=np.empty(8, "i4")),
        DtypeError,
        "out has dtype int32, expected int64. Make it with np.empty((8,), 'int64').",
    ),
    "classes of another shape": (
        lambda net: net.predict(X, out=np.empty((8, 1), np.intp)),
        ShapeError,
        "out has shape (8, 1), expected (8,). Make it with np.empty((8,), 'int64').",
    ),
    "a workspace that is not open": (
        lambda net: net.output(X, workspace="CLOSED"),
        WorkspaceError,
        'Workspace "CLOSED" was provided for the network/layer outputs. It must be opened before calling the output '
        "method.",
    ),
    "out and a workspace": (
        lambda net: net.output(X, out=np.empty((8, CLASSES), "f4"), workspace="RESULT"),
        ConfigurationError,
        "out= and workspace= are both given, but the result goes to one place. Pass one of them.",
    ),
    "a workspace that is none": (
        lambda net: net.output(X, workspace=3),
        ConfigurationError,
        "workspace=3 is not a Workspace. Pass one that is open, or its id.",
    ),
    # parameters
    "too few parameters": (
        lambda net: net.set_params(np.zeros(3)),
        ShapeError,
        "parameters of shape (3,), expected (167,). Pass one flat vector in the order of network.params.",
    ),
    "parameters as text": (
        lambda net: net.set_params(["a"] * 167),
        DtypeError,
        "parameters: got dtype <U1, expected real numbers, integers or booleans. Convert first, for example with "
        ".astype(np.float32).",
    ),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("mode", ["ENABLED", "NONE"])
def test_the_error_is_clear_and_leaves_no_trace(case, mode):
    call, error, message = CASES[case]
    net, untouched = network(mode=mode), network(mode=mode)
    assert issubclass(error, MinidlError)
    if case == "a workspace that is not open" and mode == "NONE":
        pytest.skip("no output workspaces in mode NONE: test_output_workspaces_need_workspaces")
    with pytest.raises(error, match=f"^{re.escape(message)}$") as caught:
        call(net)
    assert type(caught.value) is error
    assert_nothing_open()
    assert (net.iteration_count, net.epoch_count) == (0, 0)
    assert np.array_equal(net.params, untouched.params)
    assert np.array_equal(net.fit(X, Y).params, untouched.fit(X, Y).params)
    assert np.array_equal(net.output(X), untouched.output(X))
    assert net.evaluate(X, Y).accuracy() == untouched.evaluate(X, Y).accuracy()


def test_output_workspaces_need_workspaces():
    message = (
        'Workspace "CLOSED" was provided for the network/layer outputs, but the inference workspace mode is set to '
        "NONE. Set it to ENABLED, or pass out=."
    )
    with pytest.raises(WorkspaceError, match=f"^{re.escape(message)}$") as caught:
        network(mode="NONE").output(X, workspace="CLOSED")
    assert caught.value.code == "E24"


def test_codes_of_workspace_errors():
    with pytest.raises(StaleArrayError, match=r"^Op \[network\] features argument uses leaked") as stale:
        network().fit(stale_array(), Y)
    with pytest.raises(WorkspaceError, match=r'^Workspace "CLOSED" was provided') as closed:
        network().output(X, workspace="CLOSED")
    assert (stale.value.code, closed.value.code) == ("E1", "E23")


@pytest.mark.parametrize("which", ["labels", "labels_mask"])
@pytest.mark.parametrize("call", ["fit", "score", "evaluate", "compute_gradient_and_score"])
@pytest.mark.parametrize("mode", ["ENABLED", "NONE"])
def test_stale_labels_and_masks_are_noticed(which, call, mode):
    net = network(mode=mode)
    with workspace_manager.get_and_activate_workspace(WorkspaceConfiguration(initial_size=4096), "LEFT") as workspace:
        labels, mask = workspace.create((8, CLASSES)), workspace.create((8,))
    dataset = DataSet(X, labels if which == "labels" else Y, labels_mask=mask if which == "labels_mask" else None)
    with pytest.raises(StaleArrayError, match=r"leaked workspace pointer from workspace \[LEFT\]"):
        getattr(net, call)(dataset)
    assert_nothing_open()


def test_a_bad_batch_is_named_by_its_position():
    with pytest.raises(
        DataError, match=r"^got a DataSet without labels\. Give it labels: DataSet\(features, labels\)\."
    ) as e:
        network().fit([DataSet(X, Y), DataSet(X, None)])
    assert e.value.__notes__ == ["in batch 1 of list"]


def test_a_batch_that_cannot_be_used_comes_after_those_that_were_trained_on():
    net = network()
    with pytest.raises(ShapeError, match=r"^features have shape \(8, 7\), expected \(batch, 12\)\."):
        net.fit([DataSet(X, Y), DataSet(WIDE, Y), DataSet(X, Y)])
    assert net.iteration_count == 1
    assert np.array_equal(net.params, network().fit(X, Y).params)


def test_numpy_integers_are_whole_numbers():
    net = network().fit(X, Y, epochs=np.int64(2), batch_size=np.int32(4))
    assert net.iteration_count == 4
    assert net.memory_report(np.int64(8)).batch_size == 8
    assert len(net.feed_forward_to_layer(np.int64(0), X)) == 2


# Before init

UNINITIALIZED = {
    "fit": lambda net: net.fit(X, Y),
    "compute_gradient_and_score": lambda net: net.compute_gradient_and_score(X, Y),
    "score": lambda net: net.score(X, Y),
    "output": lambda net: net.output(X),
    "predict": lambda net: net.predict(X),
    "feed_forward": lambda net: net.feed_forward(X),
    "evaluate": lambda net: net.evaluate(X, Y),
    "do_evaluation": lambda net: net.do_evaluation((X, Y), Evaluation()),
    "params": lambda net: net.params,
    "gradient": lambda net: net.gradient,
    "num_params": lambda net: net.num_params(),
    "param_table": lambda net: net.param_table(),
    "set_params": lambda net: net.set_params(np.zeros(167)),
    "memory_report": lambda net: net.memory_report(),
}


@pytest.mark.parametrize("method", UNINITIALIZED)
def test_a_network_is_initialised_first(method):
    net = MultiLayerNetwork(network().conf)
    with pytest.raises(NotInitializedError, match=r"^the network has no parameters yet\. Call init\(\) first\.$"):
        UNINITIALIZED[method](net)
    assert np.array_equal(net.init().params, network().params)


def test_score_needs_a_step_or_data():
    message = "there is no score yet. Call fit() first, or pass data: score(dataset)."
    with pytest.raises(NotInitializedError, match=f"^{re.escape(message)}$"):
        network().score()


def test_parameters_to_start_from_must_fit():
    with pytest.raises(
        ShapeError, match=r"^parameters of shape \(3,\), expected \(167,\)\. Pass one flat vector in the"
    ):
        MultiLayerNetwork(network().conf, np.zeros(3)).init()


# Configurations


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(updater="adamm"), "updater='adamm' is not known. Choose one of: adabelief, "),
        (dict(activation="rellu"), "activation='rellu' is not known. Choose one of: "),
        (dict(weight_init="best"), "weight_init='best' is not known. Choose one of: "),
        (dict(gradient_normalization="all"), "gradient_normalization='all' is not known. Choose one of: NONE, "),
        (dict(training_workspace_mode="SOME"), "training_workspace_mode='SOME' is not known. Choose one of: "),
        (dict(inference_workspace_mode=1), "inference_workspace_mode=1 is not known. Choose one of: "),
        (dict(dtype="float16"), "dtype='float16' is not known. Choose one of: float32, float64."),
        (dict(seed=1.5), "seed=1.5 is not a whole number of at least 0."),
        (dict(dropout=0.0), "NeuralNetConfiguration: dropout=0.0 is not in (0, 1]."),
        (dict(l2=-1.0), "NeuralNetConfiguration: l2=-1.0 is not a finite number of at least 0."),
    ],
)
def test_unknown_options_are_refused(options, message):
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}"):
        NeuralNetConfiguration(**options)


def test_an_unknown_loss_is_refused_with_a_list_of_what_exists():
    with pytest.raises(
        ConfigurationError, match=r"^loss='crossentropy' is not known\. Choose one of: cosine_proximity, hinge, "
    ):
        OutputLayer(n_out=3, loss="crossentropy")


def test_a_network_needs_a_configuration():
    message = (
        "a network is made from a MultiLayerConfiguration, got NeuralNetConfiguration. Call "
        "NeuralNetConfiguration(...).list(layers...) first."
    )
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        MultiLayerNetwork(NeuralNetConfiguration(seed=1))


@pytest.mark.parametrize("call", ["fit", "score", "compute_gradient_and_score"])
def test_training_needs_a_loss(call):
    configuration = NeuralNetConfiguration(seed=1).list(
        DenseLayer(n_out=3), input_type=InputType.feed_forward(FEATURES)
    )
    net = MultiLayerNetwork(configuration).init()
    message = "the last layer (DenseLayer) has no loss. End with an OutputLayer or a LossLayer to train."
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        getattr(net, call)(X, Y)
    assert net.output(X).shape == (8, 3)


def test_modes_of_a_configuration_are_checked():
    assert network(mode="none").conf.training_workspace_mode is WorkspaceMode.NONE
