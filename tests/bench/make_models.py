#!/usr/bin/env python3
"""Makes one ResNet twice, with the same random weights: as .safetensors for resnetd and as .onnx for
ONNX Runtime. For timing only; a plan's time does not depend on the values.

    apt install python3-onnx python3-numpy
    /usr/bin/python3 tests/bench/make_models.py MODEL FOLDER
with MODEL resnet18, resnet34, resnet50, resnet101, resnet152 or resnext50_32x4d

SPDX-License-Identifier: MIT
"""
import json
import struct
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

DEPTHS = {
    "resnet18": (2, [2, 2, 2, 2]),
    "resnet34": (2, [3, 4, 6, 3]),
    "resnet50": (3, [3, 4, 6, 3]),
    "resnet101": (3, [3, 4, 23, 3]),
    "resnet152": (3, [3, 8, 36, 3]),
    "resnext50_32x4d": (3, [3, 4, 6, 3]),
}


class Net:
    """Collects weights under torchvision's names and the ONNX nodes that use them."""

    def __init__(self, groups):
        self.groups = groups  # of the 3x3 of a bottleneck
        self.random = np.random.default_rng(1)
        self.weights, self.nodes = {}, []

    def add(self, op, inputs, **attributes):
        output = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [output], **attributes))
        return output

    def weight(self, name, shape, fan_in):
        values = self.random.standard_normal(shape) * (1 / fan_in) ** 0.5
        self.weights[name] = values.astype(np.float32)
        return name

    def conv(self, x, name, bn, channels, kernel, stride, relu, groups=1):
        n_in, n_out = channels[0] // groups, channels[1]
        weight = self.weight(f"{name}.weight", (n_out, n_in, kernel, kernel), n_in * kernel**2)
        x = self.add("Conv", [x, weight], kernel_shape=[kernel] * 2, strides=[stride] * 2,
                     pads=[kernel // 2] * 4, group=groups)
        names = [f"{bn}.{part}" for part in ("weight", "bias", "running_mean", "running_var")]
        for part, value in zip(names, (1, 0, 0, 1)):
            self.weights[part] = np.full(n_out, value, np.float32)
        x = self.add("BatchNormalization", [x, *names], epsilon=1e-5)
        return self.add("Relu", [x]) if relu else x

    def block(self, x, name, convs, n_in, planes, stride):
        n_out = planes * (4 if convs == 3 else 1)
        sizes = [(n_in, planes, 3), (planes, planes, 3)]
        if convs == 3:
            width = planes * 2 if self.groups > 1 else planes
            sizes = [(n_in, width, 1), (width, width, 3), (width, n_out, 1)]
        y = x
        for i, (a, b, kernel) in enumerate(sizes, 1):
            here = stride if i == convs - 1 else 1  # v1.5: the 3x3 of a bottleneck strides
            y = self.conv(y, f"{name}.conv{i}", f"{name}.bn{i}", (a, b), kernel, here, i < convs,
                          self.groups if kernel == 3 else 1)
        if stride != 1 or n_in != n_out:
            x = self.conv(x, f"{name}.downsample.0", f"{name}.downsample.1", (n_in, n_out), 1,
                          stride, False)
        return self.add("Relu", [self.add("Add", [y, x])]), n_out


def build(name):
    convs, depths = DEPTHS[name]
    net = Net(32 if name.startswith("resnext") else 1)
    x = net.conv("input", "conv1", "bn1", (3, 64), 7, 2, True)
    x = net.add("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    channels = 64
    for stage, depth in enumerate(depths):
        for i in range(depth):
            stride = 2 if stage > 0 and i == 0 else 1
            x, channels = net.block(x, f"layer{stage + 1}.{i}", convs, channels, 64 << stage, stride)
    x = net.add("Flatten", [net.add("GlobalAveragePool", [x])])
    net.weight("fc.weight", (1000, channels), channels)
    net.weights["fc.bias"] = np.zeros(1000, np.float32)
    net.nodes.append(helper.make_node("Gemm", [x, "fc.weight", "fc.bias"], ["logits"], transB=1))
    return net


def save_safetensors(path, weights):
    head, at = {}, 0
    for name, value in weights.items():
        head[name] = {"dtype": "F32", "shape": list(value.shape),
                      "data_offsets": [at, at + value.nbytes]}
        at += value.nbytes
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for value in weights.values():
            file.write(value.tobytes())


def save_onnx(path, net):
    image = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 3, 224, 224])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 1000])
    tensors = [numpy_helper.from_array(value, name) for name, value in net.weights.items()]
    graph = helper.make_graph(net.nodes, "resnet", [image], [logits], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    onnx.save(model, path)


name, folder = sys.argv[1:]
network = build(name)
save_safetensors(f"{folder}/{name}.safetensors", network.weights)
save_onnx(f"{folder}/{name}.onnx", network)
