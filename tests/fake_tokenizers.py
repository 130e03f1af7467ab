"""Tokenizers and chat templates that differ from `fakes.byte_tokenizer` in one respect each, for tests of tokens."""

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from fakes import CHAT_TEMPLATE, IM_END, IM_START

BOS = "<|bos|>"

_TURN = "{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}"
_ASK = "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"

CHATML = "{% for m in messages %}" + _TURN + "{% endfor %}" + _ASK
"""Turns as they are, and nothing else."""

DROPS_THINKING = (
    "{% for m in messages %}{% if m['role'] == 'assistant' %}"
    "{{ '<|im_start|>assistant\n' + m['content'].split('</think>')[-1] + '<|im_end|>\n' }}"
    "{% else %}" + _TURN + "{% endif %}{% endfor %}" + _ASK
)
"""Leaves the reasoning out of every answer, as DeepSeek-R1's does."""

INSERTS_THINKING = (
    "{% for m in messages %}{{ '<|im_start|>' + ('user' if m['role'] == 'tool' else m['role']) + '\n' }}"
    "{% if m['role'] == 'assistant' and loop.last and '<think>' not in m['content'] %}"
    "{{ '<think>\n\n</think>\n\n' }}{% endif %}"
    "{{ m['content'] }}"
    "{% for c in m['tool_calls'] or [] %}"
    "{{ '<tool_call>' + c['function']['name'] + ' ' + (c['function']['arguments'] | tojson) + '</tool_call>' }}"
    "{% endfor %}"
    "{{ '<|im_end|>\n' }}{% endfor %}" + _ASK
)
"""Puts an empty think block before the last answer, and writes tool calls and tool outputs, as Qwen3's does."""

ASKS_FOR_THINKING = CHATML.replace("assistant\n' }}{% endif %}", "assistant\n<think>\n' }}{% endif %}")
"""Begins every answer with an open think block, as QwQ's does."""

REWRITES = CHATML.replace("m['content']", "m['content'].replace('.', '!')")
"""Writes other words than were said."""

REFUSES_SYSTEM = (
    "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    + _TURN
    + "{% endfor %}"
    + _ASK
)

WITHOUT_END = (
    "{% for m in messages %}{{ ('User: ' if m['role'] == 'user' else 'Bot: ') + m['content'] + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Bot: ' }}{% endif %}"
)
"""Ends no turn with a special token."""

WRITES_BOS = "{{ '<|bos|>' }}" + CHATML


def bpe_tokenizer(*merges: str, chat_template: str | None = CHAT_TEMPLATE) -> PreTrainedTokenizerFast:
    """One token a byte, and one for each of the merges ("a b"), without any rule that keeps words apart."""
    return _wrapped(_byte_core([IM_START, IM_END], merges), chat_template, bos=IM_START)


def bos_tokenizer(*, chat_template: str | None) -> PreTrainedTokenizerFast:
    """One token a byte; puts BOS before a text, and EOS after it (as some do), when special tokens are asked for."""
    core = _byte_core([IM_START, IM_END, BOS])
    marks = [(mark, core.token_to_id(mark)) for mark in (BOS, IM_END)]
    core.post_processor = processors.TemplateProcessing(single=f"{BOS} $A {IM_END}", special_tokens=marks)
    return _wrapped(core, chat_template, bos=BOS)


def word_tokenizer(*, chat_template: str | None) -> PreTrainedTokenizerFast:
    """Writes "▁" for spaces, and one before the first word of a text, as SentencePiece does; rare ones in bytes."""
    letters = [chr(code) for code in range(33, 127)]
    whole = ["▁", *letters, "▁" + "a", "▁" + "b", "▁▁"]
    vocabulary = {token: i for i, token in enumerate([IM_START, IM_END, "<unk>", *_BYTES, *whole])}
    merges = [("▁", "a"), ("▁", "b"), ("▁", "▁")]
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    core.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first", split=False)
    core.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    core.add_special_tokens([AddedToken(mark, special=True, normalized=False) for mark in (IM_START, IM_END)])
    return _wrapped(core, chat_template, bos=IM_START, unk_token="<unk>")


_BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def _byte_core(marks: list[str], merges: tuple[str, ...] = ()) -> Tokenizer:
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    pairs = [(a, b) for a, b in (merge.split(" ") for merge in merges)]
    tokens = [*marks, *letters, *(a + b for a, b in pairs)]
    core = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=pairs))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([AddedToken(mark, special=True, normalized=False) for mark in marks])
    return core


def _wrapped(core: Tokenizer, chat_template: str | None, *, bos: str, **special: str) -> PreTrainedTokenizerFast:
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token=bos,
        eos_token=IM_END,
        pad_token=IM_END,
        clean_up_tokenization_spaces=False,
        **special,
    )
    tokenizer.chat_template = chat_template
    return tokenizer
