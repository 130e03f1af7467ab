"""Encode rows as token ids: prompt, completion, the mask of trained completion tokens, and what the window cut."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from haloes.errors import ConfigError, DataError
from haloes.records import Asked, Message, Prompt
from haloes.tokens.chat_renderer import Kwargs, Tools
from haloes.tokens.chat_template import control_text
from haloes.tokens.template import Rendered, Template, TextRow, make_template
from haloes.tokens.turns import Segment

Ids: TypeAlias = NDArray[np.int32]

_OUR_RULES = "3"
"""Version of how rows become ids: raised with every change, so that rows encoded before are not taken for those now."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """The token ids of one completion and its prompt."""

    prompt: Ids
    """Token ids of the prompt, (P,)."""
    completion: Ids
    """Token ids of the completion, (C,), with its end-of-turn token."""
    trained: NDArray[np.bool_]
    """True for completion tokens of the policy's own, (C,); a tool's output between two assistant turns is not, nor is
    the reasoning before an answer unless the encoder trains it."""
    prompt_cut: bool
    """True where the prompt's oldest turns (or, failing that, its first tokens) were left out to fit the window, or the
    beginning of reasoning that is not trained."""
    completion_cut: bool
    """True where the completion's end, and with it the end-of-turn token, did not fit the window."""
    agrees: bool
    """See `Rendered.agrees`."""
    reasons: bool = False
    """See `Rendered.reasons`."""
    shows_reasoning: bool = False
    """See `Rendered.shows_reasoning`."""


@dataclass(frozen=True, slots=True)
class Unencodable:
    """A row that cannot be encoded, because the chat template refuses it or nothing trainable fits the window."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Encoder:
    """Encodes rows for one tokenizer and one window; made by `make_encoder`."""

    template: Template
    max_length: int
    """Maximum tokens of prompt and completion together: the window."""
    opening: tuple[int, ...] = ()
    """Token ids that the tokenizer puts before plain text (BOS). A chat template writes its own."""
    anchor: str = ""
    """Text put before each piece of a completion while that is tokenised, for tokenizers that treat the beginning of a
    text unlike its middle; its ids are removed afterwards."""
    anchor_ids: tuple[int, ...] = ()
    whole: bool = False
    """True: the template renders prompt and completion together and they are tokenised as one text, as a model that
    scores a finished conversation sees them. False: apart, as a model that answers sees them."""

    def __post_init__(self) -> None:
        if self.max_length < 8:  # noqa: PLR2004 - a template's own marks alone need more than this
            raise ConfigError(f"tokens.max_length must be at least 8, got {self.max_length}")

    def with_control(self, control: str) -> "Encoder":
        """Return this encoder with a control text after every prompt, in addition to the tokenizer's own."""
        return replace(self, template=replace(self.template, control=control))

    def with_reasoning(self, *, trained: bool) -> "Encoder":
        """Return this encoder with an answer's reasoning trained, or given to it as part of what came before."""
        return replace(self, template=replace(self.template, trains_reasoning=trained))

    def for_whole_conversations(self) -> "Encoder":
        """Return this encoder for models that score whole conversations (reward models) and do not answer."""
        return replace(self, whole=True)

    def encode(self, rows: Sequence[TextRow], *, finished: Sequence[bool] | None = None) -> list[Encoded | Unencodable]:
        """
        Encode many rows with few calls of the tokenizer; a row that cannot be encoded is returned as `Unencodable`.

        Args:
            rows: prompt, completion and tools of each.
            finished: False for each completion that was cut off: it gets no end of turn. None: all came to their end.
                Whole conversations end as the template ends them, as their scorer cannot know.

        Raises:
            ModelError: a row holds messages and the tokenizer has no chat template.
        """
        template = self.template.with_rendered(rows)
        if self.whole:
            return self._encode_whole(rows, template)
        # Render everything first, so that the tokenizer is called once for all prompts and once for all completions.
        rendered = [
            _render(template, row) if ended else self._without_end_of_turn(_render(template, row))
            for row, ended in zip(rows, finished or [True] * len(rows), strict=True)
        ]
        usable = [item for item in rendered if isinstance(item, Rendered)]
        prompts = iter(self._ids([item.prompt for item in usable]))
        parts = iter(self._part_ids([segment.text for item in usable for segment in item.completion]))
        return [
            item
            if isinstance(item, Unencodable)
            else self._assemble(row, item, next(prompts), [next(parts) for _ in item.completion])
            for row, item in zip(rows, rendered, strict=True)
        ]

    def prompt_ids(self, prompt: Asked, tools: Tools = (), kwargs: Kwargs | None = None) -> list[int]:
        """Return the ids that inference starts from. Raises DataError if the template refuses the prompt."""
        if isinstance(prompt, Prompt):
            return self.prompt_ids(prompt.text, prompt.tools, prompt.chat_template_kwargs)
        return self._with_opening(self._ids([self.template.prompt(prompt, tools, kwargs)])[0])

    def _without_end_of_turn(self, rendered: Rendered | Unencodable) -> Rendered | Unencodable:
        """Remove the end of turn from a completion that was cut off: ending there is not what the model did."""
        if isinstance(rendered, Unencodable):
            return rendered
        *before, last = rendered.completion
        cut = Segment(last.text.removesuffix(self.template.marks.closing), last.trained)
        return replace(rendered, completion=(*before, cut))

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        return _ids(self.template.tokenizer, texts)

    def _part_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Tokenise pieces of completions as in the middle of a text."""
        if not self.anchor:
            return self._ids(texts)
        start = len(self.anchor_ids)
        # Where a piece merges with the anchor into other tokens, there is nothing to cut off: it is tokenised alone.
        return [
            ids[start:] if tuple(ids[:start]) == self.anchor_ids else self._ids([text])[0]
            for text, ids in zip(texts, self._ids([self.anchor + text for text in texts]), strict=True)
        ]

    def _with_opening(self, ids: list[int]) -> list[int]:
        """Put BOS before the ids, unless the template wrote it already."""
        return ids if tuple(ids[: len(self.opening)]) == self.opening else [*self.opening, *ids]

    def _assemble(
        self, row: TextRow, rendered: Rendered, ids: list[int], parts: list[list[int]]
    ) -> Encoded | Unencodable:
        # Pieces are tokenised apart, as a server feeds them: the model's turn, a tool's result, the next turn.
        completion = parts[0] if len(parts) == 1 else [token for part in parts for token in part]
        trained = np.repeat([segment.trained for segment in rendered.completion], [len(part) for part in parts])
        return self._fit_window(row, self._with_opening(ids), completion, trained, rendered)

    def _encode_whole(self, rows: Sequence[TextRow], template: Template) -> list[Encoded | Unencodable]:
        """Encode each row's conversation as one text, cut into prompt and completion where the prompt's own ids end."""
        written = [_render(template, row) for row in rows]
        usable = [(row, found) for row, found in zip(rows, written, strict=True) if isinstance(found, Rendered)]
        prompts = iter(self._ids([found.prompt for _, found in usable]))
        end = "" if template.chat else template.end_of_turn
        joint = iter(self._ids([template.joint(*row) + end for row, _ in usable]))
        return [
            found if isinstance(found, Unencodable) else self._cut_whole(row, next(prompts), next(joint), found)
            for row, found in zip(rows, written, strict=True)
        ]

    def _cut_whole(
        self, row: TextRow, prompt: list[int], whole: list[int], rendered: Rendered
    ) -> Encoded | Unencodable:
        # A template may render the prompt otherwise in a whole conversation (a dropped <think> block), and tokens may
        # merge across the boundary: the cut is where both sequences stop being alike, and leaves one token at least.
        prompt, whole = self._with_opening(prompt), self._with_opening(whole)
        alike = next((i for i, (a, b) in enumerate(zip(prompt, whole, strict=False)) if a != b), len(prompt))
        cut = min(alike, len(whole) - 1)
        completion = whole[cut:]
        # Rendered together they cannot differ from it, and reasoning is scored only where it is trained.
        shown = replace(
            rendered, agrees=True, shows_reasoning=rendered.shows_reasoning and self.template.trains_reasoning
        )
        return self._fit_window(row, whole[:cut], completion, np.ones(len(completion), np.bool_), shown)

    def _fit_window(
        self, row: TextRow, prompt: list[int], completion: list[int], trained: NDArray[np.bool_], rendered: Rendered
    ) -> Encoded | Unencodable:
        """Cut the prompt, then reasoning that is not trained, and then the completion, until they fit the window."""
        whole = prompt
        if not prompt:
            # The first completion token's probability is predicted at the token before it.
            return Unencodable("empty prompt", "the prompt has no token that the completion could follow")
        # The prompt gives way first: a shorter context is still a fair question, half an answer is not what was rated.
        room = self.max_length - len(completion)
        if len(prompt) > room:
            prompt = self._cut_prompt(row, prompt, room)
        kept, is_trained = fit_completion(np.asarray(completion, np.int32), trained, room=self.max_length - len(prompt))
        is_cut = len(kept) < len(completion)
        if not is_trained.any():
            return Unencodable("nothing to train on", "the answer was cut off before its first word")
        return Encoded(
            prompt=np.asarray(prompt, np.int32),
            completion=kept,
            trained=is_trained,
            prompt_cut=len(prompt) < len(whole) or (is_cut and _lead(is_trained) < _lead(trained)),
            completion_cut=is_cut and len(kept) - _lead(is_trained) < len(completion) - _lead(trained),
            agrees=rendered.agrees,
            reasons=rendered.reasons,
            shows_reasoning=rendered.shows_reasoning,
        )

    def _cut_prompt(self, row: TextRow, prompt: list[int], room: int) -> list[int]:
        """
        Cut the prompt to `room` tokens by leaving out its oldest turns.

        Where the last user turn alone is too long, its end is kept, after BOS; a prompt may always have half of the
        window, and the completion is cut then.
        """
        messages, _, *given = row
        # Whole exchanges are left out, and each shorter chat is rendered anew, so that the prompt stays one that the
        # template could have written.
        for shorter in _without_oldest(self.template.as_messages(messages, "user")) if self.template.chat else ():
            try:
                prompt = self.prompt_ids(shorter, *given)
            except DataError:  # the template wants another first turn
                continue
            if len(prompt) <= room:
                return prompt
        # A completion longer than half of the window must not leave it without any question.
        room = max(room, self.max_length // 2)
        if len(prompt) <= room:
            return prompt
        bos = self.template.tokenizer.bos_token_id
        # Where BOS also begins each turn (as <|im_start|> may), it does not mark the beginning of the text.
        first = prompt[:1] if prompt[0] == bos and prompt.count(bos) == 1 else []
        return [*first, *prompt[len(prompt) - room + len(first) :]]


def _render(template: Template, row: TextRow) -> Rendered | Unencodable:
    completion = row[1]
    if not isinstance(completion, str) and not any(turn.role == "assistant" for turn in completion):
        return Unencodable("nothing to train on", "the completion has no turn of the assistant")
    if isinstance(completion, str) and completion.strip() and not template.bare(completion).strip():
        return Unencodable("nothing to train on", "the answer is nothing but the end of a turn")
    try:
        return template.render(*row)
    except DataError as error:
        return Unencodable("chat template", str(error))


def fit_completion(completion: Ids, trained: NDArray[np.bool_], *, room: int) -> tuple[Ids, NDArray[np.bool_]]:
    """
    Return as much of a completion, and of its mask, as there is room for.

    What goes first are tokens before the first trained one (reasoning, from its beginning, but not the mark that opens
    it), since half an answer is not what was rated; then the end.
    """
    if len(completion) <= room:
        return completion, trained
    drop = min(len(completion) - room, max(_lead(trained) - 1, 0))
    kept = np.r_[: min(1, len(completion)), 1 + drop : len(completion)][: max(room, 0)]
    return completion[kept], trained[kept]


def _lead(trained: NDArray[np.bool_]) -> int:
    """Return the number of tokens before the first trained one; all of them where none is."""
    return int(trained.argmax()) if trained.any() else len(trained)


def make_encoder(tokenizer: Any, *, max_length: int) -> Encoder:
    """Make the encoder of a tokenizer. Raises ModelError when the tokenizer cannot end a completion."""
    template = make_template(tokenizer)
    anchor, anchor_ids = _anchor(tokenizer)
    opening = () if template.chat else _opening(tokenizer)
    return Encoder(template, max_length, opening, anchor, anchor_ids)


def tokenizer_fingerprint(tokenizer: Any) -> str:
    """Hash everything that decides which ids a text becomes: vocabulary, rules, special tokens, chat template, ours."""
    if tokenizer.is_fast:
        core = json.loads(tokenizer.backend_tokenizer.to_str())
        # A tokenizer keeps the truncation and padding of its last call, which are no part of its identity.
        rules = json.dumps({name: core[name] for name in core if name not in {"truncation", "padding"}}, sort_keys=True)
    else:
        rules = repr(sorted(tokenizer.get_vocab().items()))
    special = repr(sorted((str(k), str(v)) for k, v in tokenizer.special_tokens_map.items()))
    parts = [_OUR_RULES, rules, str(tokenizer.chat_template), special, *filter(None, [control_text(tokenizer)])]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _ids(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    if not texts:
        return []
    unique = list(dict.fromkeys(texts))  # answers to one prompt often stand together
    # verbose=False: the window is checked here, and a warning about the model's would come once and without a row.
    ids = tokenizer(unique, add_special_tokens=False, verbose=False, return_attention_mask=False)["input_ids"]
    if len(unique) == len(texts):
        return list(ids)
    ids_of: dict[str, list[int]] = dict(zip(unique, ids, strict=True))
    return [ids_of[text] for text in texts]


def _opening(tokenizer: Any) -> tuple[int, ...]:
    """Return BOS if the tokenizer begins a text with it, else nothing."""
    opened: list[int] = tokenizer("", add_special_tokens=True)["input_ids"]
    bos = tokenizer.bos_token_id
    return (bos,) if bos is not None and opened[:1] == [bos] else ()


def _anchor(tokenizer: Any) -> tuple[str, tuple[int, ...]]:
    """
    Return a text after which another is tokenised as in the middle of a text, and its ids.

    SentencePiece tokenizers put a space before the first word of a text: the completion after a prompt would begin with
    one that the model never says there. Empty for other tokenizers.
    """
    alone, anchor, after = _ids(tokenizer, ["a", "\n", "\na"])
    if after[: len(anchor)] == anchor and after[len(anchor) :] != alone:
        return "\n", tuple(anchor)
    return "", ()


def _without_oldest(messages: tuple[Message, ...]) -> list[tuple[Message, ...]]:
    """Return the conversation with more and more of its oldest exchanges left out; system and last user turns stay."""
    system = tuple(m for m in messages if m.role == "system")
    turns = tuple(m for m in messages if m.role != "system")
    starts = [i for i, m in enumerate(turns) if m.role == "user" and i > 0]
    return [(*system, *turns[start:]) for start in starts]
