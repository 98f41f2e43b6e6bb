"""What the cases of Http11Probe (github.com/MDA2AV/Http11Probe, C#) send and how they judge, read out of
their source; there is no .NET in Debian to run them by.

SPDX-License-Identifier: MIT
"""
import glob
import re


def unescape(text):
    """A C# literal as ASCII, where \\x takes up to four digits; what is no ASCII becomes ?."""
    text = re.sub(r"\\x([0-9A-Fa-f]{1,4})", lambda m: "\\u%04x" % int(m.group(1), 16), text)
    text = text.replace("\\0", "\\u0000")
    return text.encode("latin-1", "replace").decode("unicode_escape").encode("ascii", "replace")


def literal(text, names):
    """The bytes of a string that may be $"…{name}…"; KeyError where it holds more than names."""
    dollar, inner = text[0] == "$", text.lstrip("$")[1:-1]
    if not dollar:
        return unescape(inner)
    out = b""
    for piece in re.split(r"(\{\{|\}\}|\{[^{}]+\})", inner):
        if piece in ("{{", "}}"):
            out += piece[:1].encode()
        elif piece.startswith("{"):
            out += names[piece[1:-1]]
        else:
            out += unescape(piece)
    return out


STRING = r'\$?"(?:[^"\\]|\\.)*"'
CALL = r"(?:MakeRequest|Encoding\.ASCII\.GetBytes)\(\s*"
TERMS = (  # pattern, what it is worth
    (STRING, lambda m, names: literal(m.group(), names)),
    (r"new string\('(.)', ([\d_]+)\)", lambda m, _: m.group(1).encode() * int(m.group(2))),
    (r"Encoding\.ASCII\.GetByteCount\((\w+)\)", lambda m, names: b"%d" % len(names[m.group(1)])),
    (r"(\w+)\.Length \+ (\d+)", lambda m, names: b"%d" % (len(names[m.group(1)]) + int(m.group(2)))),
    (r'(\w+)\.ToString\("x"\)', lambda m, names: b"%x" % int(names[m.group(1)])),
    (r"new byte\[([^\]]*Length[^\]]*)\]",  # into which they are copied in that order
     lambda m, names: b"".join(names[name] for name in re.findall(r"(\w+)\.Length", m.group(1)))),
    (r"\[(0x[^\]]*)\]", lambda m, _: bytes(int(x, 16) for x in m.group(1).split(","))),
    (r"\w+", lambda m, names: names[m.group()]),
)


def value(text, names):
    """The bytes of a sum of terms; ValueError or KeyError where it is more than that."""
    text, out = re.sub(rf"^{CALL}(.*)\)$", r"\1", text.strip(), flags=re.DOTALL).strip(), b""
    while text:
        for pattern, worth in TERMS:
            found = re.match(pattern, text)
            if found:
                break
        else:
            raise ValueError(text)
        out += worth(found, names)
        text = re.sub(r"^\s*\+\s*", "", text[found.end():].strip())
    return out


def payload(factory, host):
    """What a factory makes: an expression, or a block of declarations with a return."""
    names = {"ctx.HostHeader": host.encode()}
    try:
        if not factory.startswith("{"):
            return value(factory, names)
        for line in re.findall(rf"((?:{STRING}|'.'|[^;'\"])*);", re.sub(r"(?m)(^|;)\s*//.*$", r"\1", factory[1:])):
            found = re.match(r"\s*(?:var|const string|byte\[\]) (\w+) =\s*(.*)", line, re.DOTALL)
            if found:
                names[found.group(1)] = value(found.group(2), names)
            elif line.strip().startswith("return "):
                return value(line.strip()[len("return "):], names)
    except (KeyError, ValueError):
        pass
    return None


def balanced(text):
    """The beginning of a text up to the , or } that ends it."""
    depth = 0
    for token in re.finditer(rf"{STRING}|'.'|//[^\n]*|.", text, re.DOTALL):
        word = token.group()
        if word in ("(", "[", "{"):
            depth += 1
        elif word in (")", "]", "}", ","):
            if depth == 0:
                break
            depth -= word != ","
    return text[:token.start()].strip()


def cases(folder, host):
    """(id, source, whether it is a MUST, what it sends step by step, None where that is made by more
    code than is understood here)"""
    for path in sorted(glob.glob(folder + "/*.cs")):
        with open(path) as f:
            sources = re.split(r"yield return new ", f.read())[1:]
        for source in sources:
            level = re.search(r"RfcLevel = RfcLevel\.(\w+)", source)
            steps = [payload(balanced(source[found.end():]), host)
                     for found in re.finditer(r"PayloadFactory = (?:\w+ =>\s*)?", source)]
            yield (re.search(r'Id = "(.*?)"', source).group(1), source, not level or level.group(1) == "Must",
                   steps if steps and None not in steps else None)


def verdicts(case):
    """(status codes, 2xx is good, close is good, silence is good) of a case's own rules."""
    exact = re.search(r"ExpectedStatus = StatusCodeRange\.(\w+)(?:\((\d+)\))?", case)
    good = r"(?:Pass|Warn)"
    codes, ok, close = set(), False, "AllowConnectionClose = true" in case
    if exact and exact.group(2):
        codes.add(int(exact.group(2)))
    elif exact:
        ok = exact.group(1) == "Range2xx"
        codes |= set(range(400, 500)) if exact.group(1) == "Range4xx" else set()
    if "EchoValidator" in case:
        ok = True
    # "anything but": what a row of 25 looks at more closely, and no protocol is changed here
    if re.search(rf"\? TestVerdict\.Fail : TestVerdict\.{good}|\n\s*return TestVerdict\.{good};\s*\}}\s*\}}",
                 case):
        codes |= set(range(200, 600))
    if "MakeValidator" in case:  # of header names: refused, or dropped
        codes, close = set(range(400, 500)), True
    if re.search(r">= 200 and < 300[^;{}]*\)\s*(?:return (?!TestVerdict\.Fail)|\{[^}]*TestVerdict\.Pass)", case):
        ok = True
    for condition in re.findall(rf"if \(([^;{{}}]*?)\)\s*return TestVerdict\.{good}", case) + \
            re.findall(rf"return ([^;?]*?)\s*\?\s*TestVerdict\.{good}", case):
        codes |= {int(c) for c in re.findall(r"(?<!>= )(?<!< )\b([1-5]\d\d)\b", condition)} - {200, 300}
        ok = ok or ">= 200 and < 300" in condition
        for low, high in re.findall(r">= (\d+) and < (\d+)", condition):
            codes |= set(range(int(low), int(high)))
        close = close or "ClosedByServer" in condition
    return codes, ok, close, bool(re.search(rf"TimedOut[^;]*TestVerdict\.{good}|TimedOut[^;]*\)\s*return "
                                            rf"TestVerdict\.{good}", case))
