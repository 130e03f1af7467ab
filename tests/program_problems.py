"""Problems of the kinds that benchmarks of programs have, each with a right solution and the tests of its function."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """A task as HumanEval has them: the prompt is given, and the solution goes on from there."""

    name: str
    given: str
    solution: str
    tests: str

    @property
    def source(self) -> str:
        """The tests as they are run."""
        return f"def check(candidate):\n{self.tests}\ncheck({self.name})\n"


def _problem(head: str, solution: str, tests: str, before: str = "") -> Problem:
    def indented(text: str) -> str:
        return "".join(f"    {line}\n" for line in text.splitlines())

    given = f'{before}def {head}:\n    """Do what the tests say."""\n'
    return Problem(head.partition("(")[0], given, indented(solution), indented(tests))


PROBLEMS = [
    _problem("has_close(numbers: List[float], threshold: float) -> bool",
             "return any(abs(a - b) < threshold for i, a in enumerate(numbers) for b in numbers[:i])",
             "assert candidate([1.0, 2.0, 3.9, 4.0], 0.3) == True\nassert candidate([1.0, 2.0], threshold=0.3) is False",
             "from typing import List\n\n\n"),
    _problem("find_zero(xs)",
             "low, high = -1000.0, 1000.0\nif poly(xs, low) > poly(xs, high):\n    low, high = high, low\n"
             "for _ in range(200):\n    middle = (low + high) / 2\n    if poly(xs, middle) < 0:\n        low = middle\n"
             "    else:\n        high = middle\nreturn low",
             "import copy, math, random\nrng = random.Random(42)\nfor _ in range(20):\n"
             "    coefficients = [rng.randint(-10, 10), rng.randint(1, 10)]\n"
             "    assert math.fabs(poly(coefficients, candidate(copy.deepcopy(coefficients)))) < 1e-4",
             "def poly(xs, x):\n    return sum(c * x**i for i, c in enumerate(xs))\n\n\n"),
    _problem("decode(text: str)", "return ''.join(chr((ord(c) - 5 - ord('a')) % 26 + ord('a')) for c in text)",
             "from random import choice\nimport string\nfor _ in range(50):\n"
             "    text = ''.join(choice(string.ascii_lowercase) for _ in range(12))\n"
             "    assert candidate(encode(text)) == text",
             "def encode(text):\n    return ''.join(chr((ord(c) + 5 - ord('a')) % 26 + ord('a')) for c in text)\n\n\n"),
    _problem("sort_third(xs)", "ys = list(xs)\nys[::3] = sorted(ys[::3])\nreturn ys",
             "assert tuple(candidate([5, 6, 3, 4, 8, 9, 2])) == tuple([2, 6, 3, 4, 8, 9, 5])\n"
             "assert tuple(candidate([1, 2])) == tuple(sort_third([1, 2]))"),
    _problem("sort_in_place(xs)", "xs.sort()", "xs = [3, 1, 2]\nassert candidate(xs) is None\nassert xs == [1, 2, 3]"),
    _problem("transpose_in_place(grid)",
             "for i in range(len(grid)):\n    for j in range(i):\n        grid[i][j], grid[j][i] = grid[j][i], grid[i][j]",
             "row = [1, 2]\ngrid = [row, [3, 4]]\ncandidate(grid)\nassert grid == [[1, 3], [2, 4]]\nassert row == [1, 3]"),
    _problem("count_into(words, *, table)", "for word in words:\n    table[word] = table.get(word, 0) + 1\nreturn table",
             "table = {'a': 1}\nassert candidate(['a', 'b'], table=table) == {'a': 2, 'b': 1}\nassert table['b'] == 1"),
    _problem("root(x)", "if x < 0:\n    raise ValueError('negative')\nreturn x ** 0.5",
             "assert abs(candidate(2) - 1.41421356) < 1e-6\ntry:\n    candidate(-1)\nexcept ValueError as error:\n"
             "    assert str(error) == 'negative'\nelse:\n    assert False"),
    _problem("own_error(x)", "class Wrong(KeyError):\n    pass\nraise Wrong(x)",
             "try:\n    candidate('k')\nexcept KeyError as error:\n    assert error.args == ('k',)\nelse:\n    assert False"),
    _problem("primes()", "n = 2\nwhile True:\n    if all(n % d for d in range(2, n)):\n        yield n\n    n += 1",
             "found = candidate()\nassert [next(found) for _ in range(5)] == [2, 3, 5, 7, 11]"),
    _problem("pairs(xs, ys)", "return zip(xs, ys)", "assert list(candidate([1, 2], 'ab')) == [(1, 'a'), (2, 'b')]"),
    _problem("histogram(text)", "import collections\nreturn collections.Counter(text.split())",
             "assert candidate('a b b a c') == {'a': 2, 'b': 2, 'c': 1}\nassert candidate('') == {}"),
    _problem("grouped(xs)", "import collections\nfound = collections.defaultdict(set)\nfor x in xs:\n"
             "    found[x % 2].add(x)\nreturn found", "assert candidate([1, 2, 3]) == {1: {1, 3}, 0: {2}}"),
    _problem("common(a, b)", "return sorted(set(a) & set(b))", "assert candidate([1, 4, 3], [3, 1, 9]) == [1, 3]\n"
             "assert candidate({5: 1}, (5,)) == [5]"),
    _problem("nested(x)", "return {'t': (x, [x, {x: None}]), (1, 2): frozenset([x]), None: {x}}",
             "assert candidate(7) == {'t': (7, [7, {7: None}]), (1, 2): frozenset([7]), None: {7}}"),
    _problem("factorial(n)", "return 1 if n < 2 else n * factorial(n - 1)",
             "assert candidate(5) == 120\nassert candidate(400) % 10**9 == 0\nassert len(hex(candidate(400))) > 700"),
    _problem("fibonacci(n)", "import functools\n@functools.lru_cache(None)\ndef f(n):\n"
             "    return n if n < 2 else f(n - 1) + f(n - 2)\nreturn f(n)", "assert candidate(80) == 23416728348467685"),
    _problem("roots(a, b, c)", "import cmath\nd = cmath.sqrt(b * b - 4 * a * c)\nreturn (-b + d) / (2 * a), (-b - d) / (2 * a)",
             "assert candidate(1, 0, 1) == (1j, -1j)"),
    _problem("extremes(xs)", "return (min(xs, default=float('inf')), max(xs, default=float('-inf')), float('nan'))",
             "import math\nlow, high, none = candidate([])\nassert low == math.inf and high == -math.inf\n"
             "assert math.isnan(none)"),
    _problem("pack(xs)", "return bytes(xs), bytearray(reversed(xs))",
             "assert candidate([1, 255]) == (b'\\x01\\xff', bytearray(b'\\xff\\x01'))"),
    _problem("md5(text)", "import hashlib\nreturn hashlib.md5(text.encode()).hexdigest() if text else None",
             "assert candidate('Hello world') == '3e25960a79dbc69b674cd4ec67a72c62'\nassert candidate('') is None"),
    _problem("mirror(text)", "return text[::-1]", "assert candidate('čau \U0001f600') == '\U0001f600 uač'"),
    _problem("span(n)", "return range(n)", "assert candidate(3) == range(3)\nassert list(candidate(2)) == [0, 1]"),
    _problem("keys_of(table)", "return table.keys()", "assert candidate({'a': 1}) == {'a'}"),
    _problem("count()", "global _count\n_count = globals().get('_count', 0) + 1\nreturn _count",
             "assert [candidate() for _ in range(3)] == [1, 2, 3]"),
    _problem("chatty(x)", "print('thinking about', x)\nreturn x", "assert candidate(1) == 1\nprint(candidate(2))"),
    _problem("typed(*xs, scale=1)", "return [x * scale for x in xs if type(x) in (int, float)]",
             "assert candidate(1, 2.5, True, 'x', None, scale=2) == [2, 5.0]"),
    _problem("reads(text)", "import io\nreturn [line.strip() for line in io.StringIO(text)]",
             "assert candidate('a\\n b\\n') == ['a', 'b']"),
]  # fmt: skip
