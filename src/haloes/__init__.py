"""
haloes: align language models with human feedback, and measure whether it helped.

    import haloes

    run = haloes.train(feedback="thumbs.jsonl", model="embedded", loss=haloes.KTO(beta=0.1), out="runs/first")

Every command that does something is a function of the same name (`haloes.api`).

The names below are imported when they are first used, so that `import haloes` takes no time. Type checkers read them in
`__init__.pyi`, which `make docs` writes.
"""

from haloes._lazy import homes_by_name, importer
from haloes.losses import HOME_OF as _OF_LOSSES

HOME_OF = _OF_LOSSES | homes_by_name(
    {
        "haloes.api.evaluation": ("EvaluationResult", "compare", "evaluate"),
        "haloes.api.feedback": ("Conversion", "Diagnosis", "convert", "doctor", "import_feedback"),
        "haloes.api.judging": ("JudgeResult", "RefusalResult", "judge", "refusals"),
        "haloes.api.online": ("OnlineResult", "online"),
        "haloes.api.runs": ("export", "plan", "resume", "train"),
        "haloes.api.sampling": ("SampleResult", "sample"),
        "haloes.api.serving": ("serve",),
        "haloes.errors": (
            "ConfigError",
            "DataError",
            "Interrupted",
            "MissingInputError",
            "ModelError",
            "RunError",
            "UserError",
        ),
        "haloes.feedback.read": ("FeedbackSource",),
        "haloes.records": ("Completion", "Feedback", "Message", "Pair"),
        "haloes.results": ("Score",),
        "haloes.runs.align": ("Run",),
        "haloes.progress.contract": ("NullProgress", "Progress"),
        "haloes.progress.display": ("Display",),
    }
)

__all__ = list(HOME_OF)
__all__ += ["losses"]
__getattr__ = importer("haloes", HOME_OF)


def __dir__() -> list[str]:
    return sorted(__all__)
