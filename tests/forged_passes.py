"""
Programs that try to pass without solving, each with what it tries.

The task is `add(a, b)`. None of them adds; a way to pass would be a way around the tests, and not through them.
"""

from dataclasses import dataclass

EQUAL = """
def check(candidate):
    assert candidate(1, 2) == 3
    assert candidate(10, 20) == 30
    assert candidate(-5, 5) == 0
"""
NEAR = """
def check(candidate):
    assert abs(candidate(1, 2) - 3) < 1e-6
    assert abs(candidate(10, 20) - 30) < 1e-6
"""
MAPPED = """
def check(candidate):
    assert all(map(lambda case: candidate(*case) == sum(case), [(1, 2), (10, 20)]))
"""
LISTED = """
def check(candidate):
    assert [candidate(a, 1) for a in (1, 5)] == [2, 6]
    assert sorted([candidate(2, 2), candidate(1, 1)]) == [2, 4]
"""
CONTAINED = """
def check(candidate):
    assert candidate(1, 2) in (3,)
    assert candidate(10, 20) in {30: 1}
    assert not candidate(1, 1) != 2
"""
SHIELDED = """
def check(candidate):
    for a, b in ((1, 2), (10, 20)):
        try:
            found = candidate(a, b)
        except:
            continue
        assert found == a + b
"""
LOOPED = """
def check(candidate):
    for found, right in zip(candidate(1, 2), [3]):
        assert found == right
    assert list(candidate(1, 2)) == [3]
"""


@dataclass(frozen=True, slots=True)
class Forgery:
    """A program that tries to pass."""

    tries: str
    program: str
    tests: str = EQUAL


def _add(body: str) -> str:
    return "def add(a, b):\n" + "".join(f"    {line}\n" for line in body.splitlines())


MARKS = r"""
import json, os, re, sys
def out(mark):
    lines = [f'!{{"mark": "{mark}", "passed": true, "why": ""}}\n', f"{mark}\n", mark]
    for line in lines:
        for place in (1, 2, 3, 4, 5, 6, 7):
            try:
                os.write(place, line.encode())
            except OSError:
                pass
def texts(found):
    for one in found:
        for mark in re.findall(r"[0-9a-f]{32}", repr(one)):
            out(mark)
"""
"""What all that look for a mark share: they say each text of 32 hexadecimal digits wherever they can write."""
WRONG = "def add(a, b):\n    return None\n"
VERDICT = """'!{"mark": "", "passed": true, "why": ""}\\n'"""
REPLY = "import json, os\ndef reply(**fields):\n    os.write(4, json.dumps(fields).encode() + b'\\n')\n"


LEAVING = [
    Forgery("leave with exit code 0 before the tests", "import os\nos._exit(0)"),
    Forgery("leave with exit code 0 at the first call", _add("import os\nos._exit(0)")),
    Forgery("leave by sys.exit before the tests", "import sys\nsys.exit(0)"),
    Forgery("leave by sys.exit at the first call", _add("import sys\nsys.exit(0)")),
    Forgery("leave by sys.exit, where tests catch all", _add("raise SystemExit(0)"), SHIELDED),
    Forgery("leave by os._exit, where tests catch all", _add("import os\nos._exit(0)"), SHIELDED),
    Forgery("be interrupted, where tests catch all", _add("raise KeyboardInterrupt"), SHIELDED),
    Forgery("end as a generator does, where tests catch all", _add("raise GeneratorExit"), SHIELDED),
    Forgery("an exception beside all others", "class E(BaseException): pass\n" + _add("raise E"), SHIELDED),
    Forgery("an alarm that leaves", "import os, signal\nsignal.signal(14, lambda *_: os._exit(0))\nsignal.alarm(1)\n"
            + _add("import time\ntime.sleep(5)")),
    Forgery("become a program that ends well", _add("import os\nos.execv('/usr/bin/true', ['true'])")),
    Forgery("become a program that says the verdict",
            _add(f"import os\nos.execv('/usr/bin/printf', ['printf', {VERDICT}])")),
    Forgery("become an interpreter without assertions",
            _add("import os, sys\nos.execv(sys.executable, [sys.executable, '-O', '-c', 'print(1)'])")),
    Forgery("leave well at the end", WRONG + "import atexit, os\natexit.register(os._exit, 0)"),
    Forgery("leave well when an object dies", WRONG
            + "import os\nclass D:\n    def __del__(self):\n        os._exit(0)\nkept = D()"),
    Forgery("kill whoever watches", _add("import os\nos.kill(1, 9)\nos.kill(os.getppid(), 9)\nos.kill(-1, 9)\nreturn 3")),
    Forgery("close the pipes and wait", _add("import os, time\nos.closerange(0, 64)\ntime.sleep(3)")),
    Forgery("half a line and away", REPLY + _add("os.write(4, b'{')\nos._exit(0)")),
]  # fmt: skip

PRINTING = [
    Forgery("print a verdict", WRONG + f"print({VERDICT})"),
    Forgery("print a verdict at the call", _add(f"print({VERDICT}, flush=True)")),
    Forgery("say a verdict in place of an answer", _add(f"import os\nos.write(4, {VERDICT}.encode())")),
    Forgery("say a verdict everywhere", MARKS + "out('0' * 32)\n" + _add("out('0' * 32)")),
    Forgery("print the last argument and leave (passed once)",
            "import os, sys\nos.write(1, sys.orig_argv[-1].encode())\nos._exit(0)"),
    Forgery("print all arguments", MARKS + "texts(sys.orig_argv + sys.argv)\n" + WRONG),
    Forgery("print the arguments at the end", MARKS + WRONG + "import atexit\natexit.register(texts, sys.orig_argv)"),
    Forgery("a hook that prints when it fails", WRONG
            + f"import sys\nsys.excepthook = lambda *_: print({VERDICT})\ndef add(a, b):\n    1 / 0"),
    Forgery("say passed", WRONG + "print('passed')"),
    Forgery("flood the answers", _add("import os\nwhile True:\n    os.write(4, b'x' * 65536)")),
    Forgery("flood the output", _add("import os\nwhile True:\n    os.write(2, b'x' * 65536)")),
    Forgery("say that it is ready and answer ahead", REPLY + "for _ in range(99):\n    reply(value=0, passed=True)\n"
            + WRONG),
]  # fmt: skip

LOOKING = [
    Forgery("the mark in the frames that called it", MARKS + "frame = sys._getframe()\nwhile frame:\n"
            "    texts(list(frame.f_locals.items()) + list(frame.f_globals.items()))\n    frame = frame.f_back\n" + WRONG),
    Forgery("the mark in the frames at a call", MARKS + _add("frame = sys._getframe()\nwhile frame:\n"
            "    texts(list(frame.f_locals.items()) + list(frame.f_globals.items()))\n    frame = frame.f_back")),
    Forgery("the mark among all objects", MARKS + "import gc\ntexts(gc.get_objects())\n" + WRONG),
    Forgery("the mark in its own memory", MARKS + "memory = open('/proc/self/mem', 'rb')\n" + WRONG),
    Forgery("the mark in raw memory", MARKS + "import ctypes\nplace = id(sys.orig_argv)\n"
            "texts([ctypes.string_at(place, 4096)])\n" + WRONG),
    Forgery("the mark in the environment", MARKS + "texts(os.environ.items())\n" + WRONG),
    Forgery("the mark in the first process", MARKS + "texts(open('/proc/1/environ'))\n" + WRONG),
    Forgery("the mark in its command line", MARKS + "texts(open('/proc/self/cmdline'))\n" + WRONG),
    Forgery("another file descriptor", MARKS + "for place in range(64):\n    try:\n"
            "        os.set_blocking(place, False)\n        texts([os.read(place, 65536)])\n    except OSError:\n"
            "        pass\n" + WRONG),
    Forgery("its descriptors by name", "import os\nprint(os.listdir('/proc/self/fd'))\n" + WRONG),
    Forgery("the tests by their file's name", "print(open('tests.py').read())\n" + WRONG),
    Forgery("the tests in every file that there is", "import os\nfound = [os.path.join(p, n) for p, _, ns in "
            "os.walk('/inside') for n in ns]\nfor place in found:\n"
            "    assert 'candidate(10, 20)' not in open(place, errors='replace').read()\n" + WRONG),
    Forgery("the tests by inspection", _add("import inspect\nreturn inspect.getsource(inspect.stack()[1].function)")),
    Forgery("the tests in the main module", _add("import __main__\nreturn __main__.check")),
    Forgery("the right answers in the caller", _add("import sys\nreturn sys._getframe(1).f_locals['right']")),
    Forgery("the requests before they are asked", REPLY + "os.set_blocking(3, False)\nprint(os.read(3, 9999))\n" + WRONG),
    Forgery("the memory of its parent", _add("import ctypes, os\nlibc = ctypes.CDLL(None)\n"
            "buffer = ctypes.create_string_buffer(64)\nassert libc.ptrace(16, os.getppid(), 0, 0) == 0\nreturn 3")),
    Forgery("a socket of the tests", _add("import socket\nsocket.socket(1).connect(chr(0) + 'haloes')\nreturn 3")),
]  # fmt: skip

PATCHING = [
    Forgery(f"replace {name}", f"import builtins\nbuiltins.{name} = lambda *a, **k: True\n" + WRONG, tests)
    for name, tests in (("isinstance", EQUAL), ("abs", NEAR), ("all", MAPPED), ("sorted", LISTED), ("sum", MAPPED),
                        ("print", EQUAL), ("map", MAPPED))
] + [
    Forgery("replace AssertionError", "import builtins\nbuiltins.AssertionError = SystemExit\n" + WRONG),
    Forgery("replace exec and compile", "import builtins\nbuiltins.exec = builtins.compile = lambda *a: None\n" + WRONG),
    Forgery("replace import", "import builtins\nbuiltins.__import__ = lambda *a: True\n" + WRONG),
    Forgery("replace json.dumps", "import json\njson.dumps = lambda *a: '{\"passed\": true}'\n" + WRONG),
    Forgery("replace json.loads", "import json\njson.loads = lambda *a: {'function': 'add', 'passed': True}\n" + WRONG),
    Forgery("replace the encoding by one that says anything", "import haloes.evaluation.bench.sandbox.inside.solution "
            "as s\ns.to_json = lambda *a, **k: ['eval', 'True']\n" + WRONG),
    Forgery("replace what answers", "import haloes.evaluation.bench.sandbox.inside.solution as s\n"
            "s._answer = lambda *a: {'passed': True, 'verdict': True, 'mark': ''}\n" + WRONG),
    Forgery("replace the tests' module", "import haloes.evaluation.bench.sandbox.inside.checker as c\n"
            "c._run = lambda *a: None\nc.Caller.calls = 1\n" + WRONG),
    Forgery("be the tests", "import haloes.evaluation.bench.sandbox.inside.checker as c\nc.main()\n" + WRONG),
    Forgery("a tracer that jumps over assertions", "import sys\ndef trace(frame, event, arg):\n"
            "    frame.f_trace_lines = True\n    return trace\nsys.settrace(trace)\n" + WRONG),
    Forgery("a replaced math, random and unittest", "import sys\nfor name in ('math', 'random', 'unittest'):\n"
            "    sys.modules[name] = None\n" + WRONG),
    Forgery("numbers whose memory is written to", _add("import ctypes\n"
            "ctypes.memmove(id(30) + 24, id(3) + 24, 4)\nreturn 3")),
    Forgery("comparison of numbers, in its type", _add("import ctypes\nt = ctypes.c_void_p * 60\n"
            "slots = t.from_address(id(int))\nslots[25] = None\nreturn 3")),
    Forgery("a signal to the tests, by every number", "import os\nfor number in range(1, 5000):\n    try:\n"
            "        os.kill(number, 10 if number != os.getpid() else 0)\n    except OSError:\n        pass\n" + WRONG),
    Forgery("assertions off", "import sys\nsys.flags = type('F', (), {'optimize': 2})\n__debug__0 = False\n" + WRONG),
]  # fmt: skip

LYING = [
    Forgery("an object that is equal to everything", "class L:\n    def __eq__(self, o): return True\n"
            "    def __hash__(self): return 3\n" + _add("return L()")),
    Forgery("the same in a list", "class L:\n    def __eq__(self, o): return True\n" + _add("return [L()]"), LOOPED),
    Forgery("a number that is equal to everything", "class L(int):\n    def __eq__(self, o): return True\n"
            "    def __ne__(self, o): return False\n    def __hash__(self): return 30\n" + _add("return L(99)")),
    Forgery("the same among others", "class L(int):\n    def __eq__(self, o): return True\n    def __ne__(self, o): "
            "return False\n    def __hash__(self): return 30\n" + _add("return L(99)"), CONTAINED),
    Forgery("a number whose difference is none", "class L(float):\n    def __sub__(self, o): return 0.0\n"
            "    def __abs__(self): return 0.0\n" + _add("return L(99)"), NEAR),
    Forgery("a text that is equal to everything", "class L(str):\n    def __eq__(self, o): return True\n"
            "    __hash__ = str.__hash__\n" + _add("return L()")),
    Forgery("a list whose items are sorted as it likes", "class L(list):\n    def __eq__(self, o): return True\n"
            "    def __lt__(self, o): return True\n" + _add("return L()"), LISTED),
    Forgery("an object that says it is a number", "class L:\n    __class__ = int\n    def __eq__(self, o): "
            "return True\n" + _add("return L()")),
    Forgery("a class of a class that is equal", "class M(type):\n    def __eq__(self, o): return True\n"
            "    __hash__ = None\nclass L(metaclass=M): pass\n" + _add("return L")),
    Forgery("mock.ANY", "class ANY:\n    def __eq__(self, o): return True\n    def __ne__(self, o): return False\n"
            + _add("return ANY()"), CONTAINED),
    Forgery("nothing that is not a number", _add("return float('nan')"), NEAR),
    Forgery("an infinite number", _add("return float('inf')"), NEAR),
    Forgery("a complex that is not a number", _add("return complex('nan+nanj')"), NEAR),
    Forgery("NotImplemented", _add("return NotImplemented")),
    Forgery("an iterator without items", _add("return iter(())"), LOOPED),
    Forgery("an object that is rebuilt by code", "import os\nclass L:\n    def __reduce__(self): "
            "return os._exit, (0,)\n" + _add("return L()")),
    Forgery("StopIteration, which ends a map", _add("raise StopIteration"), MAPPED),
    Forgery("an exception derived from it", "class E(StopIteration): pass\n" + _add("raise E"), MAPPED),
    Forgery("StopIteration out of an iterator", _add("def g():\n    raise StopIteration\n    yield\nreturn g()"), LOOPED),
    Forgery("an assertion of its own", _add("raise AssertionError")),
    Forgery("an endless iterator", _add("import itertools\nreturn itertools.repeat(3)"), LOOPED),
]  # fmt: skip

FORGING = [
    Forgery("an answer that is a verdict", REPLY + _add("reply(mark='', passed=True, verdict=True)")),
    Forgery("an answer without a value, where tests catch all", REPLY + _add("reply(x=1)"), SHIELDED),
    Forgery("a fault without words, where tests catch all", REPLY + _add("reply(fault='')"), SHIELDED),
    Forgery("a fault that is none", REPLY + _add("reply(fault=0)"), SHIELDED),
    Forgery("an exception that leaves", REPLY + _add("reply(raised={'classes': ['SystemExit'], 'given': ['list', [0]]})")),
    Forgery("an exception that ends a map",
            REPLY + _add("reply(raised={'classes': ['StopIteration'], 'given': ['list', []]})"), MAPPED),
    Forgery("a function in place of an exception",
            REPLY + _add("reply(raised={'classes': ['exit', 'print', 'exec'], 'given': ['list', ['1']]})")),
    Forgery("a kind that is none", REPLY + _add("reply(value=['__import__', 'os'])"), SHIELDED),
    Forgery("a kind of another kind", REPLY + _add("reply(value=[['list'], 1])"), SHIELDED),
    Forgery("a value that is nested without end", REPLY + _add("os.write(4, b'{\"value\": ' + b'[' * 99999 + b'\\n')"),
            SHIELDED),
    Forgery("a number with a million digits", REPLY + _add("os.write(4, b'{\"value\": ' + b'9' * 999999 + b'}\\n')"),
            SHIELDED),
    Forgery("what is no text", REPLY + _add("os.write(4, b'\\xff\\xfe\\n')"), SHIELDED),
    Forgery("an empty line", REPLY + _add("os.write(4, b'\\n')"), SHIELDED),
    Forgery("numbers that collide", REPLY
            + _add("os.write(4, json.dumps({'value': ['set', [i * (2**61 - 1) for i in range(9999)]]}).encode() + b'\\n')")),
    Forgery("arguments of another kind", REPLY + _add("reply(value=0, arguments={'a': 1}, named=['list', [1]])")),
    Forgery("more arguments than there were", REPLY + _add("reply(value=0, arguments=['list', [0, 0, 3, 30]])")),
    Forgery("an iterator of the kind of none", REPLY + _add("reply(value=['iterator', 5, 'more'])"), LOOPED),
]  # fmt: skip

FORGERIES = [*LEAVING, *PRINTING, *LOOKING, *PATCHING, *LYING, *FORGING]
