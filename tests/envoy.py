#!/usr/bin/env python3
"""docs/deploy/envoy.yaml against Envoy's own interface: every field known, of its type, enums by name.

    tests/envoy.py FOLDER FILE

FOLDER holds envoyproxy/data-plane-api and, beside its envoy/, what that imports: xds/ and udpa/ of
cncf/xds, validate/ of bufbuild/protoc-gen-validate, google/api and google/rpc of googleapis. Needs
Debian's protobuf-compiler, python3-protobuf and python3-yaml. Says what is wrong, or nothing.

SPDX-License-Identifier: MIT
"""
import os
import subprocess
import sys
import tempfile

import yaml
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

folder, path = sys.argv[1:]
BOOTSTRAP = "envoy/config/bootstrap/v3/bootstrap.proto"


def types_named(node):
    """What "@type" says, wherever it stands."""
    if isinstance(node, list):
        for item in node:
            yield from types_named(item)
    elif isinstance(node, dict):
        if "@type" in node:
            yield node["@type"].rsplit("/", 1)[1]
        for item in node.values():
            yield from types_named(item)


def source_of(name):
    """The file of a message: it lies where its package says."""
    package, message = name.rsplit(".", 1)
    place = os.path.join(folder, *package.split("."))
    for file in sorted(os.listdir(place)):
        if file.endswith(".proto") and f"message {message} {{" in open(os.path.join(place, file)).read():
            return os.path.relpath(os.path.join(place, file), folder)
    sys.exit(f"{name} is not in {place}")


config = yaml.safe_load(open(path))
sources = sorted({BOOTSTRAP, *map(source_of, types_named(config))})
with tempfile.NamedTemporaryFile() as compiled:
    subprocess.run(["protoc", "-I", folder, "--include_imports",
                    f"--descriptor_set_out={compiled.name}", *sources], check=True)
    files = descriptor_pb2.FileDescriptorSet.FromString(compiled.read())
pool = descriptor_pool.DescriptorPool()
for file in files.file:
    pool.Add(file)
bootstrap = pool.FindMessageTypeByName("envoy.config.bootstrap.v3.Bootstrap")
message = message_factory.MessageFactory(pool).GetPrototype(bootstrap)()
try:
    json_format.ParseDict(config, message, descriptor_pool=pool)
except json_format.ParseError as error:
    sys.exit(str(error))
