"""Answers from a model in this process, batch by batch."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from haloes.records import Completion, Sampling
from haloes.sampling._contract import Advance, Ask, Decoding, NoAnswer, ignore_parts
from haloes.sampling.generate import sample_batches
from haloes.tokens.chat_template import control_text


@dataclass(frozen=True, slots=True)
class TransformersEngine:
    """A transformers or peft model; see `sample` for what an answer depends on."""

    model: Any
    tokenizer: Any
    name: str
    batch_size: int = 64
    """Answers at once."""
    place: str = ""
    """Folder or name that it was loaded from, for the records."""
    chat_template_kwargs: Mapping[str, Any] | None = None
    """Values of the chat template's variables that were written into the tokenizer's template, for the records."""

    def sampling(self, decoding: Decoding) -> Sampling:
        """Return the record, with the control text that the tokenizer writes."""
        return decoding.by(
            "transformers",
            self.place,
            control=control_text(self.tokenizer),
            chat_template_kwargs=self.chat_template_kwargs,
        )

    def answer(
        self, asks: Sequence[Ask], decoding: Decoding, advance: Advance = ignore_parts
    ) -> Iterator[Completion | NoAnswer]:
        """Answer batch by batch, so that a kill loses one at most. Raises DataError where a prompt has no rendering."""
        # `sample_batches` knows an answer by its prompt, so the seeds take turns.
        for seed, of_seed in groupby(sorted(asks, key=lambda ask: ask.seed), key=lambda ask: ask.seed):
            for batch in sample_batches(
                self.model,
                self.tokenizer,
                {ask.prompt_id: ask.prompt for ask in of_seed},
                max_new_tokens=decoding.max_new_tokens,
                temperature=decoding.temperature,
                top_p=decoding.top_p,
                seed=seed,
                variant=self.name,
                batch_size=self.batch_size,
                advance=advance,
            ):
                yield from batch
