"""The configurations of docs/deploy, changed only where a test must: ports, folders, machines.

SPDX-License-Identifier: MIT
"""
import re


def rewrite(file, *changes):
    text = open(f"docs/deploy/{file}").read()
    for pattern, replacement in changes:
        text, n = re.subn(pattern, replacement, text, flags=re.M)
        if n == 0:
            raise RuntimeError(f"docs/deploy/{file} has no {pattern}")
    return text
