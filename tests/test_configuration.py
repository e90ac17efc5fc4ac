"""Configurations: what layers inherit, what is inferred, JSON, errors that name the layer."""

import copy
import dataclasses
import json
import pickle
import re
from dataclasses import dataclass

import numpy as np
import pytest

from minidl import (
    InputType,
    Layer,
    MultiLayerConfiguration,
    MultiLayerNetwork,
    NeuralNetConfiguration,
    WorkspaceMode,
)
from minidl.errors import ConfigurationError, ShapeError
from minidl.functions import (
    MSE,
    Identity,
    LeakyReLU,
    NormalDistribution,
    ReluInit,
    Sigmoid,
    Softmax,
    Tanh,
    UniformDistribution,
    XavierInit,
)
from minidl.layers import (
    ActivationLayer,
    ConvolutionLayer,
    ConvolutionMode,
    DenseLayer,
    DropoutLayer,
    LossLayer,
    OutputLayer,
)
from minidl.training import (
    Adam,
    AlphaDropout,
    DropConnect,
    GradientNormalization,
    MaxNorm,
    MinMaxNorm,
    Nesterovs,
    NonNegative,
    NoOp,
    Sgd,
    StepSchedule,
    UnitNorm,
    WeightNoise,
)

INPUT = InputType.feed_forward(4)


@dataclass
class Shift(Layer):
    """A custom layer."""

    by: float = 1.0
    shape: tuple = (1, 2)

    def activate(self, x, *, training, workspace_mgr):
        return x + self.by

    def backprop(self, epsilon, *, workspace_mgr):
        return epsilon


def example(**options):
    """Return a configuration that uses much of what there is."""
    options = {"seed": 12, "updater": Adam(0.01), "l2": 1e-4, "dtype": "float64"} | options
    return NeuralNetConfiguration(**options).list(
        Shift(0.5, name="shift"),
        DenseLayer(n_out=5, activation=LeakyReLU(0.2), weight_init="relu", dropout=0.8, updater=Nesterovs(0.1, 0.5)),
        ActivationLayer("tanh", gradient_normalization="ClipL2PerLayer", gradient_normalization_threshold=2),
        DropoutLayer(AlphaDropout(0.7)),
        DenseLayer(n_out=3, has_bias=False, l1=0.1, weight_decay_bias=0.2, weight_init=UniformDistribution(-1, 1)),
        DenseLayer(
            n_out=3,
            weight_noise=WeightNoise(NormalDistribution(0, 0.1)),
            constrain_weights=[MaxNorm(1.0), MinMaxNorm(0.1, 2.0)],
            bias_updater=Sgd(StepSchedule("epoch", 0.1, 0.5, 2)),
        ),
        OutputLayer(n_out=2, loss=MSE(weights=(1, 2)), activation="identity", bias_init=0.5),
        LossLayer(activation="softmax", loss="mcxent", updater="noop"),
        input_type=INPUT,
    )


# What layers inherit


def test_defaults_are_those_of_dl4j():
    conf = NeuralNetConfiguration()
    assert (conf.updater, conf.activation, conf.weight_init, conf.bias_init) == (Sgd(1e-3), Sigmoid(), XavierInit(), 0)
    assert (conf.l1, conf.l2, conf.l1_bias, conf.l2_bias, conf.weight_decay, conf.weight_decay_bias) == (0,) * 6
    assert (conf.gradient_normalization, conf.gradient_normalization_threshold) == (GradientNormalization.NONE, 1)
    assert (conf.dtype, conf.mini_batch, conf.dropout, conf.strict) == ("float32", True, None, False)
    assert conf.training_workspace_mode is conf.inference_workspace_mode is WorkspaceMode.ENABLED


INHERITED = {
    "updater": Adam(0.5),
    "bias_updater": Sgd(0.25),
    "activation": Tanh(),
    "weight_init": ReluInit(),
    "bias_init": 0.5,
    "dropout": 0.5,
    "weight_noise": DropConnect(0.9),
    "l1": 0.1,
    "l2": 0.2,
    "l1_bias": 0.3,
    "l2_bias": 0.4,
    "weight_decay": 0.5,
    "weight_decay_bias": 0.6,
    "weight_decay_apply_lr": False,
    "gradient_normalization": GradientNormalization.CLIP_L2_PER_LAYER,
    "gradient_normalization_threshold": 3.0,
    "constrain_weights": (MaxNorm(2.0),),
    "constrain_bias": (NonNegative(),),
    "constrain_all_parameters": (UnitNorm(), NonNegative()),
    "convolution_mode": ConvolutionMode.SAME,
    "max_window_bytes": 100_000,
}
OWN = {
    "updater": NoOp(),
    "bias_updater": NoOp(),
    "weight_noise": WeightNoise(NormalDistribution(0, 0.1)),
    "l1": 0.0,
    "l1_bias": 0.7,
    "l2_bias": 0.0,
    "weight_decay": 0.8,
    "weight_decay_bias": 0.0,
    "weight_decay_apply_lr": True,
    "gradient_normalization_threshold": 1.0,
    "constrain_weights": (),
    "constrain_bias": (MaxNorm(1.0),),
    "constrain_all_parameters": (),
    "activation": Identity(),
    "weight_init": XavierInit(),
    "gradient_normalization": GradientNormalization.NONE,
    "dropout": 1.0,
    "bias_init": 0.0,
    "l2": 0.0,
    "convolution_mode": ConvolutionMode.STRICT,
    "max_window_bytes": 200_000,
}


@pytest.mark.parametrize("option", INHERITED)
def test_layer_inherits_what_it_leaves_open(option):
    options = NeuralNetConfiguration(**{option: INHERITED[option]})
    images = InputType.convolutional(3, 3, 1)
    conf = options.list(ConvolutionLayer(n_out=3, kernel_size=1), input_type=images)
    assert getattr(conf.layers[0], option) == INHERITED[option]
    conf = options.list(ConvolutionLayer(n_out=3, kernel_size=1, **{option: OWN[option]}), input_type=images)
    assert getattr(conf.layers[0], option) == OWN[option] != INHERITED[option]


def test_every_option_of_a_layer_is_inherited_or_belongs_to_the_network():
    options = {field.name for field in dataclasses.fields(NeuralNetConfiguration)}
    network_only = {field.name for field in dataclasses.fields(MultiLayerConfiguration)} - {"layers", "input_type"}
    assert options - network_only == set(INHERITED)


def test_the_activation_of_a_convolution_is_identity_unless_the_network_was_given_one():
    layers, kind = [ConvolutionLayer(n_out=2, kernel_size=1), DenseLayer(n_out=2)], InputType.convolutional(3, 3, 1)
    for options, expected in (({}, (Identity(), Sigmoid())), ({"activation": "sigmoid"}, (Sigmoid(), Sigmoid()))):
        conf = NeuralNetConfiguration(**options).list(*layers, input_type=kind)
        assert tuple(layer.activation for layer in conf.layers) == expected
    assert NeuralNetConfiguration().activation == Sigmoid()


def test_custom_layer_inherits_fields_of_the_same_name():
    @dataclass
    class Own(Shift):
        activation: object = None
        seed: object = None

    (layer,) = NeuralNetConfiguration(seed=3, activation="tanh").list(Own(), input_type=INPUT).layers
    assert layer.activation == Tanh()
    assert layer.seed is None


def test_options_by_name():
    conf = NeuralNetConfiguration(
        updater="NESTEROVS",
        activation="LeakyReLU",
        weight_init="XAVIER_UNIFORM",
        gradient_normalization="RenormalizeL2PerLayer",
        dtype=np.float64,
        training_workspace_mode="none",
        l2=np.float32(0.5),
        seed=np.int64(3),
    )
    assert conf.updater == Nesterovs()
    assert conf.activation == LeakyReLU()
    assert conf.gradient_normalization is GradientNormalization.RENORMALIZE_L2_PER_LAYER
    assert conf.training_workspace_mode is WorkspaceMode.NONE
    assert (conf.dtype, type(conf.l2), type(conf.seed)) == ("float64", float, int)


@pytest.mark.parametrize("dtype", ["float32", "FLOAT32", np.float32, np.dtype("f4"), np.dtype(">f4")])
def test_type_by_name_or_as_numpys(dtype):
    assert NeuralNetConfiguration(dtype=dtype).dtype == "float32"


def test_seed_is_drawn_if_none_is_given():
    seeds = {NeuralNetConfiguration().seed for _ in range(5)}
    assert len(seeds) > 1
    assert all(isinstance(seed, int) and seed >= 0 for seed in seeds)


# What is inferred


def test_n_in_comes_from_the_layer_before():
    conf = NeuralNetConfiguration().list(
        DenseLayer(n_out=5), ActivationLayer("relu"), DenseLayer(n_out=6), OutputLayer(n_out=2), input_type=INPUT
    )
    assert [getattr(layer, "n_in", None) for layer in conf.layers] == [4, None, 5, 6]
    assert conf.input_types() == tuple(InputType.feed_forward(n) for n in (4, 5, 5, 6, 2))


def test_input_type_comes_from_the_first_layer():
    conf = NeuralNetConfiguration().list(DenseLayer(n_in=4, n_out=5), OutputLayer(n_out=2))
    assert conf.input_type == INPUT
    assert conf == dataclasses.replace(conf, input_type=InputType.feed_forward(np.int64(4)))


def test_flat_images_give_their_size():
    conf = NeuralNetConfiguration().list(DenseLayer(n_out=5), input_type=InputType.convolutional_flat(2, 3, 4))
    assert conf.layers[0].n_in == 24


def test_layers_given_are_left_as_they_were():
    layer = DenseLayer(n_out=5)
    first, second = (NeuralNetConfiguration(l2=l2).list(layer, layer, input_type=INPUT) for l2 in (0.1, 0.2))
    assert layer == DenseLayer(n_out=5)
    assert [made.l2 for conf in (first, second) for made in conf.layers] == [0.1, 0.1, 0.2, 0.2]
    assert [made.n_in for made in first.layers] == [4, 5]


def test_layer_of_a_network_leaves_its_parameters_behind():
    trained = MultiLayerNetwork(example()).init()
    conf = NeuralNetConfiguration().list(trained.layers[1], input_type=INPUT)
    assert conf.layers[0].params == {}
    assert trained.layers[1].params.keys() == {"W", "b"}


# Values


def test_configurations_are_compared_by_value():
    assert example() == example()
    assert example(seed=13) != example()
    assert example(l2=0.5) != example()
    assert example(strict=True) != example()


@pytest.mark.parametrize("conf", [NeuralNetConfiguration(), example()])
def test_configurations_are_frozen(conf):
    for field in dataclasses.fields(conf):
        with pytest.raises(dataclasses.FrozenInstanceError, match=f"^cannot assign to field '{field.name}'$"):
            setattr(conf, field.name, None)


def test_configurations_can_be_copied_and_pickled():
    conf = example()
    assert copy.deepcopy(conf) == conf
    assert pickle.loads(pickle.dumps(NeuralNetConfiguration(seed=1))) == NeuralNetConfiguration(seed=1)


# JSON


def test_json_gives_the_configuration_back():
    conf = example()
    same = MultiLayerConfiguration.from_json(conf.to_json())
    assert same == conf
    assert same.to_json() == conf.to_json()
    assert [type(layer) for layer in same.layers] == [type(layer) for layer in conf.layers]


def test_json_gives_the_same_network():
    conf = example(weight_init="xavier")
    networks = [MultiLayerNetwork(c).init() for c in (conf, MultiLayerConfiguration.from_json(conf.to_json()))]
    x, y = np.arange(12.0).reshape(3, 4), np.eye(2)[[0, 1, 1]]
    for net in networks:
        net.fit(x, y)
    assert networks[0].params.tobytes() == networks[1].params.tobytes()


def test_json_is_readable():
    data = json.loads(example().to_json())
    assert data["class"] == "MultiLayerConfiguration"
    assert data["layers"][0]["class"] == "Shift"
    assert data["layers"][0]["by"] == 0.5
    assert data["layers"][1]["updater"] == {"class": "Nesterovs", "learning_rate": 0.1, "momentum": 0.5}
    assert data["training_workspace_mode"] == "ENABLED"


def changed(**changes):
    """Return the JSON of the example with other values at the top."""
    return json.dumps(json.loads(example().to_json()) | changes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"this is not JSON: .*\. Pass the text that to_json\(\) returned\."),
        ("[" * 100_000, r"this is not JSON: .*\. Pass the text that to_json\(\) returned\."),
        ("9" * 10_000, r"this is not JSON: .*\. Pass the text that to_json\(\) returned\."),
        ("3", r"this JSON holds a int, expected a MultiLayerConfiguration\. Pass the text that to_json\(\) returned\."),
        (
            '{"class": "DenseLayer", "n_out": 3}',
            r"this JSON holds a DenseLayer, expected a MultiLayerConfiguration\. Pass the text that to_json\(\) "
            r"returned\.",
        ),
        (
            '{"class": "MyLayer"}',
            r"class 'MyLayer' is not known\. Import the module that defines it first\. Known: .*\.",
        ),
        (
            '{"class": "MultiLayerConfiguration"}',
            r"MultiLayerConfiguration cannot be made from the fields \[\]: .*missing 8 required keyword-only .*\.",
        ),
        (changed(layers=[]), r"there are no layers\. Give at least one, the last an OutputLayer or a LossLayer\."),
        (
            changed(layers=[3]),
            r"layer 0 is 3, expected an object of a class derived from Layer, such as DenseLayer\(n_out=10\)\.",
        ),
        (
            changed(input_type=4),
            r"input_type=4 is no InputType\. Use InputType\.feed_forward\(size\), [^.]+\.",
        ),
        (changed(dtype="int8"), r"dtype='int8' is not known\. Choose one of: float32, float64\."),
        (changed(seed="a"), r"seed='a' is not a whole number of at least 0\. Use 123, for example\."),
        (
            changed(inference_workspace_mode="SOMETIMES"),
            r"inference_workspace_mode='SOMETIMES' is not known\. Choose one of: [A-Z, ]*\.",
        ),
        (
            changed(layers=[{"class": "DenseLayer", "n_out": {"class": "Layer"}}]),
            r"Layer cannot be made from the fields \[\]: Can't instantiate abstract class Layer .*\.",
        ),
        (
            changed(layers=[{"class": "DenseLayer", "n_out": "3"}]),
            r"DenseLayer: n_out='3' is not a whole number of at least 1\.",
        ),
    ],
)
def test_json_that_cannot_be(text, message):
    with pytest.raises(ConfigurationError, match=f"^{message}$"):
        MultiLayerConfiguration.from_json(text)


def test_json_of_a_field_that_has_no_form_in_it():
    conf = NeuralNetConfiguration().list(Shift(shape=(object(),)), input_type=INPUT)
    with pytest.raises(
        ConfigurationError, match=r"^Shift\.shape is a object, which cannot be written as JSON\. Use .*\.$"
    ):
        conf.to_json()


# Errors


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": -1}, "seed=-1 is not a whole number of at least 0. Use 123, for example."),
        ({"seed": 1.5}, "seed=1.5 is not a whole number of at least 0. Use 123, for example."),
        ({"seed": True}, "seed=True is not a whole number of at least 0. Use 123, for example."),
        ({"dtype": "float"}, "dtype='float' is not known. Choose one of: float32, float64."),
        ({"dtype": np.float16}, "dtype=<class 'numpy.float16'> is not known. Choose one of: float32, float64."),
        ({"l1": -0.1}, "NeuralNetConfiguration: l1=-0.1 is not a finite number of at least 0."),
        ({"l2": "0.1"}, "NeuralNetConfiguration: l2='0.1' is not a finite number of at least 0."),
        ({"bias_init": np.nan}, "NeuralNetConfiguration: bias_init=nan is not a finite number."),
        (
            {"dropout": 0.0},
            "NeuralNetConfiguration: dropout=0.0 is not in (0, 1]. It is the probability to keep an element; 1 means "
            "no dropout.",
        ),
        (
            {"gradient_normalization_threshold": -1},
            "NeuralNetConfiguration: gradient_normalization_threshold=-1 is not a finite number above 0.",
        ),
        (
            {"gradient_normalization": "clip"},
            "gradient_normalization='clip' is not known. Choose one of: NONE, RENORMALIZE_L2_PER_LAYER, "
            "RENORMALIZE_L2_PER_PARAM_TYPE, CLIP_ELEMENT_WISE_ABSOLUTE_VALUE, CLIP_L2_PER_LAYER, "
            "CLIP_L2_PER_PARAM_TYPE.",
        ),
    ],
)
def test_options_that_cannot_be(options, message):
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        NeuralNetConfiguration(**options)


@pytest.mark.parametrize(
    ("layers", "options", "message"),
    [
        ((), {}, "there are no layers. Give at least one, the last an OutputLayer or a LossLayer."),
        (
            (DenseLayer,),
            {},
            f"layer 0 is {DenseLayer!r}, expected an object of a class derived from Layer, such as "
            "DenseLayer(n_out=10), with its brackets.",
        ),
        (
            (DenseLayer(n_in=2, n_out=3), "output"),
            {},
            "layer 1 is 'output', expected an object of a class derived from Layer, such as DenseLayer(n_out=10).",
        ),
        (
            (DenseLayer(n_out=3),),
            {},
            "the input of the first layer (DenseLayer) is not known. Give list(..., "
            "input_type=InputType.feed_forward(size)), or n_in of the first layer.",
        ),
        (
            (Shift(), DenseLayer(n_in=2, n_out=3)),
            {},
            "the input of the first layer (Shift) is not known. Give list(..., "
            "input_type=InputType.feed_forward(size)), or n_in of the first layer.",
        ),
        (
            (DenseLayer(n_out=3),),
            {"input_type": 784},
            "input_type=784 is no InputType. Use InputType.feed_forward(size), convolutional(height, width, channels) "
            "or recurrent(size).",
        ),
        (
            (DenseLayer(n_out=3),),
            {"input_type": InputType},
            "input_type=<class 'minidl.inputs.InputType'> is no InputType. Use InputType.feed_forward(size), "
            "convolutional(height, width, channels) or recurrent(size).",
        ),
    ],
)
def test_lists_that_cannot_be(layers, options, message):
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        NeuralNetConfiguration().list(*layers, **options)


class Typeless(Shift):
    def output_type(self, input_type):
        return 7


@pytest.mark.parametrize(
    ("layer", "error", "message"),
    [
        (
            DenseLayer(n_in=7, n_out=3),
            ShapeError,
            "DenseLayer: n_in=7, but its input has size 5. Set n_in=5, or leave n_in unset to take it from the input "
            "type.",
        ),
        (DenseLayer(), ConfigurationError, "DenseLayer needs n_out, the number of its outputs: n_out=10."),
        (
            Typeless(),
            ConfigurationError,
            "Typeless.output_type() returned 7, expected an InputType. Return InputType.feed_forward(size), for "
            "example.",
        ),
    ],
)
def test_layer_that_does_not_fit_is_named(layer, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}\n") as caught:
        NeuralNetConfiguration().list(DenseLayer(n_out=5), layer, OutputLayer(n_out=2), input_type=INPUT)
    assert caught.value.__notes__ == [f"in layer 1 of 3 ({type(layer).__name__})"]


@pytest.mark.parametrize("option", ["training_workspace_mode", "inference_workspace_mode"])
@pytest.mark.parametrize("mode", ["SINGLE", "separate", WorkspaceMode.SINGLE])
def test_old_modes_are_enabled_with_a_warning(option, mode):
    name = getattr(mode, "name", mode).upper()
    message = f"{option}={name} is an old name of ENABLED. Use WorkspaceMode.ENABLED."
    with pytest.warns(DeprecationWarning, match=f"^{re.escape(message)}$") as caught:
        conf = NeuralNetConfiguration(**{option: mode})
    assert [warning.filename for warning in caught] == [__file__]
    assert getattr(conf, option) is WorkspaceMode.ENABLED
    conf.list(OutputLayer(n_in=2, n_out=2))  # a second warning would be an error


def test_softmax_of_an_output_layer_is_not_inherited():
    conf = NeuralNetConfiguration(activation="tanh").list(DenseLayer(n_out=3), OutputLayer(n_out=3), input_type=INPUT)
    assert [layer.activation for layer in conf.layers] == [Tanh(), Softmax()]
