#!/usr/bin/env python3
"""The Open Inference Protocol v2 by what others wrote: its specification and Triton's own client.

    OIP_SPEC=open_inference_rest.yaml TRITON_CLIENT=src/python/library tests/protocol.py BINARY

OIP_SPEC is the OpenAPI file of kserve/open-inference-protocol (needs Debian's python3-yaml and
python3-jsonschema), TRITON_CLIENT the folder of the package tritonclient in
triton-inference-server/client (needs python3-geventhttpclient, python3-rapidjson, python3-numpy).
Neither is part of this repository; what is not there is said to be skipped. A line per check.

SPDX-License-Identifier: MIT
"""
import base64
import http.client
import json
import os
import re
import subprocess
import sys
import tempfile
import time

BINARY = sys.argv[1]
PHOTO = "tests/golden/images/baseline-420.jpg"
MODEL, CLASSES, SIDE = "cifar10-resnet20", 10, 32
counts = {"ok": 0, "WRONG": 0, "SKIPPED": 0}


def line(what, verdict, detail=""):
    counts[verdict] += 1
    print(f"{verdict:8}{what}  {detail}".rstrip(), flush=True)


def check(what, holds, detail=""):
    line(what, "ok" if holds else "WRONG", detail)


class Server:
    def __init__(self):
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen([BINARY, "serve", "--listen", "127.0.0.1:0",
                                         "--access-log", ""], stderr=self.log)
        deadline = time.monotonic() + 60
        while b"is serving on" not in self.text():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(self.text().decode())
            time.sleep(0.01)
        self.port = int(re.search(rb"http://127\.0\.0\.1:(\d+)", self.text())[1])

    def text(self):
        return os.pread(self.log.fileno(), 1 << 20, 0)

    def ask(self, method, path, body=None, kind="application/json"):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(method, path, body, {"Content-Type": kind})
        answer = connection.getresponse()
        return answer.status, answer.getheader("Content-Type", ""), answer.read()


def classify(server):
    predictions = json.loads(server.ask("POST", f"/classify?top_k={CLASSES}",
                                        open(PHOTO, "rb").read(), "image/jpeg")[2])["predictions"]
    return {p["index"]: p["score"] for p in predictions}, predictions[0]


# ---- the specification ---------------------------------------------------------------------------


def spec_request():
    picture = base64.b64encode(open(PHOTO, "rb").read()).decode()
    return {"id": "42", "parameters": {"timeout": 5000000},
            "inputs": [{"name": "input", "shape": [1], "datatype": "BYTES",
                        "parameters": {"content_type": "base64"}, "data": [picture]}],
            "outputs": [{"name": "probabilities"}]}


def run_spec(server, path):
    import jsonschema
    import yaml

    spec = yaml.safe_load(open(path))

    def valid(instance, schema):
        resolver = jsonschema.RefResolver("", spec)
        try:
            jsonschema.Draft4Validator(schema, resolver=resolver).validate(instance)
            return ""
        except jsonschema.ValidationError as error:
            return error.message[:200]

    for template, item in spec["paths"].items():
        for method in ("get", "post"):
            if method not in item:
                continue
            request = spec_request() if method == "post" else None
            body = json.dumps(request) if request else None
            names = {"good": MODEL, "no such model": "other"}
            for case, name in names.items():
                if case != "good" and "MODEL_NAME" not in template:
                    continue
                target = template.replace("${MODEL_NAME}", name).replace("${MODEL_VERSION}", "1")
                status, kind, text = server.ask(method.upper(), target, body)
                answers = item[method]["responses"]
                if case != "good":
                    # The file lists 200 and 400; its text says "typically 400" and wants this form.
                    schema = {"$ref": "#/components/schemas/inference_error_response"}
                    wrong = valid(json.loads(text), schema)
                    check(f"{method.upper()} {target}", status >= 400 and not wrong and
                          isinstance(json.loads(text).get("error"), str), f"{status} {wrong}")
                    continue
                wrong = "" if str(status) in answers else f"status {status} is not in the file"
                content = answers.get(str(status), {}).get("content", {})
                if not wrong and content:
                    media = kind.split(";")[0]
                    wrong = valid(json.loads(text), content[media]["schema"]) \
                        if media in content else f"{kind} is not in the file"
                check(f"{method.upper()} {target}", not wrong, f"{status} {wrong}")
                if request:
                    schema = item["post"]["requestBody"]["content"]["application/json"]["schema"]
                    wrong = valid(request, schema)
                    check("the request is one of the file's", not wrong, wrong)
    without = ["/v2", f"/v2/models/{MODEL}", f"/v2/models/{MODEL}/ready"]
    for target in without:
        check(f"GET {target} (without the optional part)", server.ask("GET", target)[0] == 200)
    answer = json.loads(server.ask("POST", f"/v2/models/{MODEL}/infer",
                                   json.dumps(spec_request()))[2])
    check("the id comes back", answer["id"] == "42")
    scores = classify(server)[0]
    data = answer["outputs"][0]["data"]
    check("the scores are those of /classify",
          all(abs(data[i] - scores[i]) < 1e-6 for i in scores), f"{len(data)} scores")
    status, _, text = server.ask("POST", f"/v2/models/{MODEL}/infer", "{")
    check("a broken request is 400 with {\"error\"}",
          status == 400 and list(json.loads(text)) == ["error"], text.decode().strip())


# ---- Triton's client -----------------------------------------------------------------------------


def run_triton(server, folder):
    sys.path.insert(0, folder)
    import numpy
    import tritonclient.http as triton
    from tritonclient.utils import InferenceServerException

    client = triton.InferenceServerClient(f"127.0.0.1:{server.port}", concurrency=4)
    check("triton: is_server_live, is_server_ready",
          client.is_server_live() and client.is_server_ready())
    check("triton: is_model_ready", client.is_model_ready(MODEL) and
          client.is_model_ready(MODEL, "1") and not client.is_model_ready("other"))
    extensions = client.get_server_metadata()["extensions"]
    check("triton: get_server_metadata", "binary_tensor_data" in extensions, str(extensions))
    metadata = client.get_model_metadata(MODEL)
    check("triton: get_model_metadata", metadata["inputs"][0]["name"] == "input")
    check("triton: get_model_config", client.get_model_config(MODEL)["max_batch_size"] == 16)

    scores, best = classify(server)
    photo = open(PHOTO, "rb").read()

    def infer(values, datatype, outputs=None, **more):
        item = triton.InferInput("input", list(values.shape), datatype)
        item.set_data_from_numpy(values, binary_data=more.pop("binary", True))
        return client.infer(MODEL, [item], outputs=outputs, **more)

    files = numpy.array([photo, photo], dtype=numpy.object_)
    answer = infer(files, "BYTES", request_id="7", timeout=5000000, priority=1)
    result = answer.as_numpy("probabilities")
    check("triton: BYTES, binary both ways", result.shape == (2, CLASSES) and
          all(abs(result[k][i] - scores[i]) < 1e-6 for i in scores for k in (0, 1)),
          str(result.shape))
    check("triton: the id comes back", answer.get_response()["id"] == "7")

    wanted = triton.InferRequestedOutput("probabilities", binary_data=False)
    result = infer(files, "BYTES", [wanted]).as_numpy("probabilities")
    check("triton: the output in JSON", abs(result[1][best["index"]] - best["score"]) < 1e-6)
    for binary in (True, False):
        wanted = triton.InferRequestedOutput("probabilities", binary_data=binary, class_count=2)
        top = infer(files, "BYTES", [wanted]).as_numpy("probabilities")
        text = top[0][0].decode() if isinstance(top[0][0], bytes) else top[0][0]
        value, index, label = text.split(":")
        check(f"triton: class_count=2, binary_data={binary}", top.shape == (2, 2) and
              int(index) == best["index"] and label == best["label"] and
              abs(float(value) - best["score"]) < 1e-6, text)

    pixels = numpy.random.default_rng(1).integers(0, 256, (3, SIDE, SIDE, 3), dtype=numpy.uint8)
    nhwc = infer(pixels, "UINT8").as_numpy("probabilities")
    planes = numpy.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
    check("triton: UINT8 in either order is the same",
          (nhwc == infer(planes, "UINT8").as_numpy("probabilities")).all() and nhwc.shape[0] == 3)
    floats = numpy.zeros((1, 3, SIDE, SIDE), dtype=numpy.float32)
    as_binary = infer(floats, "FP32").as_numpy("probabilities")
    as_json = infer(floats, "FP32", binary=False).as_numpy("probabilities")
    check("triton: FP32, binary and JSON are the same",
          (as_binary == as_json).all() and abs(as_binary.sum() - 1) < 1e-5)

    for what, shape, datatype in (("a shape that does not fit", (1, 3, 8, 8), "FP32"),
                                  ("a datatype that does not fit", (1, 3, SIDE, SIDE), "INT32")):
        kind = numpy.float32 if datatype == "FP32" else numpy.int32
        try:
            infer(numpy.zeros(shape, dtype=kind), datatype)
            check(f"triton: {what} raises", False)
        except InferenceServerException as error:
            check(f"triton: {what} raises", error.status() == "400", error.message()[:60])

    requests = []
    for _ in range(40):
        item = triton.InferInput("input", [2], "BYTES")
        item.set_data_from_numpy(files)
        requests.append(client.async_infer(MODEL, [item]))
    results = [r.get_result().as_numpy("probabilities") for r in requests]
    check("triton: 40 async_infer over 4 connections",
          all((r == results[0]).all() for r in results))
    stats = client.get_inference_statistics(MODEL)["model_stats"][0]
    batches = sum(b["batch_size"] * b["compute_infer"]["count"] for b in stats["batch_stats"])
    check("triton: get_inference_statistics", stats["inference_count"] == batches > 80,
          f"{stats['inference_count']} inferences in {stats['execution_count']} executions")


PARTS = (("OIP_SPEC", "the specification's OpenAPI file", run_spec),
         ("TRITON_CLIENT", "Triton's Python client", run_triton))
server = Server()
try:
    for variable, what, run in PARTS:
        given = os.environ.get(variable)
        if given:
            try:
                run(server, given)
            except ModuleNotFoundError as error:
                line(what, "WRONG", f"it cannot be tried: {error}")
        else:
            line(what, "SKIPPED", f"{variable} does not say where it is")
finally:
    server.process.terminate()
    server.process.wait(30)
print(f"{counts['ok']} ok, {counts['WRONG']} wrong, {counts['SKIPPED']} parts skipped")
sys.exit(1 if counts["WRONG"] else 0)
