#!/usr/bin/env python3
"""Holds the answers that the end-to-end tests have seen against server/openapi.json.

    tests/openapi.py DOCUMENT EXCHANGES

EXCHANGES is what `make run-tests` records: a JSON object a line with method, path, status, headers
and, where it was JSON, the body. For each the document must have the path, the method, the status,
the content type, the required headers, and a schema that the body is valid by; what is at no path
must be 404, what takes no such method 405. And the tests must have seen every operation of the
document answer well. Needs Debian's python3-jsonschema.

SPDX-License-Identifier: MIT
"""
import json
import re
import sys
import warnings
from collections import Counter

import jsonschema

warnings.filterwarnings("ignore", category=DeprecationWarning)  # of RefResolver, which old and new have

document = json.load(open(sys.argv[1]))
resolver = jsonschema.RefResolver("", document)
wrong, seen = Counter(), Counter()


def follow(node):
    while "$ref" in node:
        node = resolver.resolve(node["$ref"])[1]
    return node


def pattern(path):
    return re.compile(re.sub(r"\\{[^}]*\\}", "[^/]+", re.escape(path)) + r"\Z")


# Paths without parameters first, as OpenAPI wants them matched.
paths = sorted(((pattern(path), path) for path in document["paths"]), key=lambda p: p[1].count("{"))


def invalid(body, schema):
    validator = jsonschema.Draft202012Validator(schema, resolver=resolver)
    error = jsonschema.exceptions.best_match(validator.iter_errors(body))
    return error and f"{'/'.join(map(str, error.absolute_path))}: {error.message[:300]}"


def headers_of(exchange):
    lines = exchange["headers"].split("\r\n\r\n")
    last = [part for part in lines if part.startswith("HTTP/")][-1]  # after any 100 Continue
    pairs = (line.split(":", 1) for line in last.split("\r\n")[1:] if ":" in line)
    return {name.strip().lower(): value.strip() for name, value in pairs}


def refused(path, headers, exchange, status, allow):
    """An answer that the document tells in words: 404 and 405."""
    schema = "V2Error" if path == "/v2" or path.startswith("/v2/") else "Problem"
    if exchange["status"] != status:
        return f"the document has nothing of this, and the answer is not {status}"
    if allow and "allow" not in headers:
        return "there is no Allow"
    return exchange["body"] is not None and \
        invalid(exchange["body"], {"$ref": f"#/components/schemas/{schema}"})


def check(exchange):
    path = exchange["path"].split("?")[0]
    path = "/v2" if path == "/v2/" else path
    headers, status, body = headers_of(exchange), exchange["status"], exchange["body"]
    known = next((name for form, name in paths if form.match(path)), None)
    if known is None:
        return refused(path, headers, exchange, 404, False)
    if exchange["method"] == "OPTIONS":
        return None if status == 204 and "allow" in headers else "OPTIONS is not 204 with Allow"
    method = exchange["method"].lower()
    item = document["paths"][known]
    operation = item.get("get" if method == "head" else method)
    if operation is None:
        return refused(path, headers, exchange, 405, True)
    if str(status) not in operation["responses"]:
        return f"{status} is not in the document"
    answer = follow(operation["responses"][str(status)])
    for name, header in answer.get("headers", {}).items():
        header, value = follow(header), headers.get(name.lower())
        if value is None and header.get("required"):
            return f"there is no {name}"
        if value is not None:
            typed = int(value) if header["schema"].get("type") == "integer" else value
            error = invalid(typed, header["schema"])
            if error:
                return f"{name} {error}"
    seen[known, "get" if method == "head" else method, status] += 1
    kind = headers.get("content-type", "").split(";")[0]
    content = answer.get("content", {})
    if method == "head" or (not content and not kind):
        return None
    if kind not in content:
        return f"Content-Type {kind} is not in the document"
    return body is not None and invalid(body, content[kind]["schema"])


n = 0
for line in open(sys.argv[2]):
    exchange = json.loads(line)
    n += 1
    error = check(exchange)
    if error:
        wrong[f"{exchange['method']} {exchange['path'].split('?')[0]} {exchange['status']}: {error}"] += 1

n_operations = 0
for path, item in document["paths"].items():
    for method, operation in item.items():
        if method == "parameters":
            continue
        n_operations += 1
        if not any(seen[path, method, int(s)] for s in operation["responses"] if s[0] == "2"):
            wrong[f"{method.upper()} {path}: the tests have seen no good answer of this"] += 1

for what, times in sorted(wrong.items()):
    print(f"openapi: {what}" + (f" ({times} times)" if times > 1 else ""))
print(f"openapi: {n} answers held against {n_operations} operations, {len(seen)} kinds of answer, "
      f"{len(wrong)} wrong")
sys.exit(1 if wrong or n == 0 else 0)
