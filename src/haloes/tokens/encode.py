"""Rows to token ids: prompt, completion, which completion tokens are trained, and what did not fit the window."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from haloes.errors import ConfigError, DataError
from haloes.records import Message, Text
from haloes.tokens.template import Rendered, Template, make_template

Ids: TypeAlias = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Encoded:
    """One completion after its prompt, in token ids."""

    prompt: Ids
    completion: Ids
    trained: NDArray[np.bool_]
    """Which completion tokens the policy said itself; a tool's output between two assistant turns is not trained."""
    prompt_cut: bool
    """The prompt's oldest turns (or, failing that, its first tokens) were left out to fit the window."""
    completion_cut: bool
    """The completion's end, and with it the end-of-turn token, did not fit the window."""
    agrees: bool
    """See `Rendered.agrees`."""


@dataclass(frozen=True, slots=True)
class Unencodable:
    """A row that the chat template or the window refuses, and why."""

    reason: str
    message: str


Row: TypeAlias = tuple[Text, Text, Sequence[Mapping[str, Any]]]
"""Prompt, completion, tools."""


@dataclass(frozen=True, slots=True)
class Encoder:
    """Turns rows into token ids for one tokenizer and one window."""

    template: Template
    max_length: int
    """Most tokens of prompt and completion together."""

    def __post_init__(self) -> None:
        if self.max_length < 8:  # noqa: PLR2004 - a template's own marks alone need more than this
            raise ConfigError(f"tokens.max_length must be at least 8, got {self.max_length}")

    def encode(self, rows: Sequence[Row]) -> list[Encoded | Unencodable]:
        """Encode many rows with one call of the tokenizer; a row that cannot be encoded comes back as the reason."""
        rendered = [self._render(row) for row in rows]
        texts: list[str] = []
        for item in rendered:
            if isinstance(item, Rendered):
                texts.append(item.prompt)
                texts.extend(segment.text for segment in item.completion)
        ids = iter(self._ids(texts))
        return [
            item
            if isinstance(item, Unencodable)
            else self._assemble(row, item, [next(ids) for _ in range(_count(item))])
            for row, item in zip(rows, rendered, strict=True)
        ]

    def prompt_ids(self, prompt: Text, tools: Sequence[Mapping[str, Any]] = ()) -> list[int]:
        """The ids that inference starts from. Raises DataError if the template refuses the prompt."""
        ids = self._ids([self.template.prompt(prompt, tools)])[0]
        return [*self._opening(), *ids]

    def _render(self, row: Row) -> Rendered | Unencodable:
        try:
            return self.template.render(*row)
        except DataError as error:
            return Unencodable("chat template", str(error))

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        if not texts:
            return []
        ids: list[list[int]] = self.template.tokenizer(list(texts), add_special_tokens=False)["input_ids"]
        return ids

    def _opening(self) -> list[int]:
        """What the tokenizer puts before plain text (BOS). A chat template writes its own."""
        if self.template.chat:
            return []
        opened: list[int] = self.template.tokenizer("", add_special_tokens=True)["input_ids"]
        bos = self.template.tokenizer.bos_token_id
        return [bos] if bos is not None and opened[:1] == [bos] else []

    def _assemble(self, row: Row, rendered: Rendered, ids: list[list[int]]) -> Encoded | Unencodable:
        prompt = [*self._opening(), *ids[0]]
        completion = [token for part in ids[1:] for token in part]
        trained = [segment.trained for segment, part in zip(rendered.completion, ids[1:], strict=True) for _ in part]
        room = self.max_length - len(completion)
        prompt_cut = len(prompt) > room
        if prompt_cut:
            prompt = self._cut_prompt(row, prompt, room)
        completion_cut = len(prompt) + len(completion) > self.max_length
        if completion_cut:
            keep = self.max_length - len(prompt)
            completion, trained = completion[:keep], trained[:keep]
        if not any(trained):
            return Unencodable("nothing to train on", "no token of this completion is the model's own")
        return Encoded(
            prompt=np.asarray(prompt, np.int32),
            completion=np.asarray(completion, np.int32),
            trained=np.asarray(trained, np.bool_),
            prompt_cut=prompt_cut,
            completion_cut=completion_cut,
            agrees=rendered.agrees,
        )

    def _cut_prompt(self, row: Row, prompt: list[int], room: int) -> list[int]:
        """The prompt without its oldest turns; where one turn alone is too long, its end within half of the window."""
        room = max(room, self.max_length // 2)
        if len(prompt) <= room:
            return prompt
        messages, tools = row[0], row[2]
        if self.template.chat and not isinstance(messages, str):
            for shorter in _without_oldest(messages):
                prompt = self.prompt_ids(shorter, tools)
                if len(prompt) <= room:
                    return prompt
        return prompt[-room:]


def make_encoder(tokenizer: Any, *, max_length: int) -> Encoder:
    """An encoder for this tokenizer; see `Encoder`."""
    return Encoder(make_template(tokenizer), max_length)


def tokenizer_fingerprint(tokenizer: Any) -> str:
    """A hash of everything that decides which ids a text becomes: vocabulary, rules, special tokens, chat template."""
    parts = [
        tokenizer.backend_tokenizer.to_str() if tokenizer.is_fast else repr(sorted(tokenizer.get_vocab().items())),
        str(tokenizer.chat_template),
        repr(sorted((str(k), str(v)) for k, v in tokenizer.special_tokens_map.items())),
    ]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _count(rendered: Rendered) -> int:
    return 1 + len(rendered.completion)


def _without_oldest(messages: tuple[Message, ...]) -> list[tuple[Message, ...]]:
    """The conversation with ever more of its oldest exchanges left out; system turns and the last user turn stay."""
    system = tuple(m for m in messages if m.role == "system")
    turns = tuple(m for m in messages if m.role != "system")
    starts = [i for i, m in enumerate(turns) if m.role == "user" and i > 0]
    return [(*system, *turns[start:]) for start in starts]
