"""
The prompts that judges read: files with a head in YAML and a body in Jinja.

The head says how the judge writes each verdict (`labels`), where in its reply the verdict stands (`verdict`, a rule of
`haloes.judging.extract`), how long the reply may be (`max_tokens`), what goes into the system message (`system`), and
where the prompt comes from (`source`). The body is given `prompt`, `first`, `second`, and `fence`: a code that stands
in none of them and that their authors could not know, for the markers around them.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from itertools import count
from pathlib import Path
from typing import Any, get_args

from haloes.bounded_yaml import load_yaml
from haloes.errors import ConfigError
from haloes.judging._contract import OrderedPair
from haloes.judging.extract import RULES, Extracted, Labels, extract
from haloes.records import Text, Verdict

SUFFIX = ".jinja"
_HEAD = re.compile(r"\A---\n(.*?\n)---\n(.*)\Z", re.DOTALL)
_KEYS = frozenset({"source", "labels", "max_tokens", "verdict", "system", "cut_hanging_sentence"})
_MARK = re.compile(r"<\|(?=[^<>|\s]{1,40}\|>)")
"""The beginning of what tokenizers take for one of their marks, such as <|im_end|>."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeTemplate:
    """A judge's prompt; made by `load_template`."""

    name: str
    source: str
    body: str
    labels: Labels
    rule: str
    max_tokens: int
    system: str
    cut_hanging_sentence: bool
    """Leave out an unfinished last sentence of an answer that was cut off."""
    digest: str
    """Hash of the file."""

    def render(self, comparison: OrderedPair, *, marks: Iterable[str] = ()) -> str:
        """
        Return the prompt for a comparison.

        Args:
            comparison: prompt and answers, in the order in which they are shown.
            marks: special tokens of the judge's tokenizer. Where prompt or answers spell one out, a space goes into
                it, so that no answer can end its own turn and speak for the judge.
        """
        from jinja2 import StrictUndefined, TemplateError
        from jinja2.sandbox import SandboxedEnvironment

        first, second = comparison.first, comparison.second
        if self.cut_hanging_sentence:
            first = first if comparison.first_finished else whole_sentences(first)
            second = second if comparison.second_finished else whole_sentences(second)
        texts = {"prompt": conversation(comparison.prompt), "first": first, "second": second}
        shown = {name: disarmed(text, marks) for name, text in texts.items()}
        # A template may come from anybody, so it is not let at Python; prompts are no HTML, so nothing is escaped.
        environment = SandboxedEnvironment(undefined=StrictUndefined, autoescape=False)
        try:
            return environment.from_string(self.body).render(fence=fence(comparison), **shown).strip()
        except TemplateError as error:
            raise ConfigError(f"judge template {self.name}: {error}") from error

    def messages(self, comparison: OrderedPair) -> list[dict[str, str]]:
        """Return the same as messages of a chat."""
        system = [{"role": "system", "content": self.system}] if self.system else []
        return [*system, {"role": "user", "content": self.render(comparison)}]

    def verdict(self, reply: str) -> Extracted:
        """Return the verdict in a reply, or None and the reason."""
        return extract(reply, self.labels, self.rule)


def template_names() -> list[str]:
    """Return the names of the templates that come with haloes."""
    return sorted(item.name.removesuffix(SUFFIX) for item in _shipped().iterdir() if item.name.endswith(SUFFIX))


def load_template(name: str) -> JudgeTemplate:
    """Load a template by name or path. Raises ConfigError where there is none, or it is not in order."""
    if name in template_names():
        text = (_shipped() / (name + SUFFIX)).read_text(encoding="utf-8")
        return _parsed(name, text)
    path = Path(name)
    if not path.is_file():
        raise ConfigError(
            f"judge template: there is no {name!r}. There are: {', '.join(template_names())}; or the path of a file"
        )
    try:
        return _parsed(path.stem, path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"judge template {name}: cannot be read ({error})") from error


def fence(comparison: OrderedPair) -> str:
    """
    Return twelve hexadecimal digits that none of the texts holds.

    They are the digest of everything that is compared, so that a rerun asks the same question, and an answer's author
    would have to know the other answer to foresee them.
    """
    texts = (conversation(comparison.prompt), comparison.first, comparison.second)
    for attempt in count():
        content = json.dumps([comparison.seed, attempt, *texts])
        code = hashlib.sha256(content.encode()).hexdigest()[:12]
        if not any(code in text for text in texts):
            return code
    raise AssertionError


def conversation(prompt: Text) -> str:
    """Return a prompt as the judge reads it: every turn with its role; a single user turn as its words alone."""
    if isinstance(prompt, str):
        return prompt
    if len(prompt) == 1 and prompt[0].role == "user":
        return prompt[0].content
    return "\n\n".join(f"{turn.role.capitalize()}: {turn.content}" for turn in prompt)


def whole_sentences(text: str) -> str:
    """Cut a text after its last whole sentence; a text without one stays as it is."""
    ends = [match.end() for match in re.finditer(r"[.!?](?=\s|$)", text)]
    return text[: ends[-1]] if ends else text


def disarmed(text: str, marks: Iterable[str] = ()) -> str:
    """Take special tokens that a text spells out apart by a space."""
    # Longest first: taking a short mark apart inside a longer one would leave the longer one's rest unfound.
    for mark in sorted((mark for mark in marks if len(mark) > 1 and not mark.isspace()), key=len, reverse=True):
        text = text.replace(mark, f"{mark[0]} {mark[1:]}")
    return _MARK.sub("< |", text)


def _shipped() -> Any:
    return files("haloes.judging") / "templates"


def _parsed(name: str, text: str) -> JudgeTemplate:
    import yaml

    match = _HEAD.match(text.replace("\r\n", "\n"))
    if match is None:
        raise ConfigError(f"judge template {name}: it must begin with a head between two lines of ---")
    try:
        head = load_yaml(match[1])
    except yaml.YAMLError as error:
        raise ConfigError(f"judge template {name}: the head is not YAML: {error}") from error
    body = match[2]
    _check(name, head, body)
    return JudgeTemplate(
        name=name,
        source=str(head.get("source", "")),
        body=body,
        labels={verdict: str(head["labels"][verdict]) for verdict in get_args(Verdict) if verdict in head["labels"]},
        rule=head["verdict"],
        max_tokens=int(head.get("max_tokens", 256)),
        system=str(head.get("system", "")),
        cut_hanging_sentence=bool(head.get("cut_hanging_sentence", False)),
        digest=hashlib.sha256(text.encode()).hexdigest()[:16],
    )


def _check(name: str, head: Any, body: str) -> None:
    where = f"judge template {name}"
    if not isinstance(head, Mapping) or not {"labels", "verdict"} <= set(head):
        raise ConfigError(f"{where}: the head must have labels and verdict")
    if unknown := sorted(set(map(str, head)) - _KEYS):
        raise ConfigError(f"{where}: the head has no key {unknown[0]!r}; it has: {', '.join(sorted(_KEYS))}")
    labels = head["labels"]
    if not isinstance(labels, Mapping) or not {"first", "second"} <= set(labels) <= set(get_args(Verdict)):
        raise ConfigError(f"{where}: labels must be {{first: ..., second: ...}}, and tie where it can be said")
    written = [str(label) for label in labels.values()]
    if any(not a.strip() or a in "\0".join(written[:i] + written[i + 1 :]) for i, a in enumerate(written)):
        raise ConfigError(f"{where}: each label must be a text of its own, and none may be part of another")
    if head["verdict"] not in RULES:
        raise ConfigError(f"{where}: there is no rule {head['verdict']!r}; verdict is one of: {', '.join(RULES)}")
    if missing := [part for part in ("prompt", "first", "second", "fence") if f"{{{{ {part} }}}}" not in body]:
        raise ConfigError(f"{where}: the body must hold {{{{ {missing[0]} }}}}")
