"""`haloes settings`: every setting with its default and what it means."""

from typing import Annotated

from cyclopts import Parameter


def settings(name: Annotated[str | None, Parameter(name=["NAME"])] = None, /) -> None:
    """List the settings with their defaults and what they mean; with a section or a setting, in full.

    Parameters
    ----------
    name
        A section (train), which is listed, or a setting (train.lr, or lr), which is explained with where its
        default comes from.
    """
    from haloes.cli.views.output import show
    from haloes.cli.views.settings import settings_view
    from haloes.runs.setting_texts import find_settings

    show(settings_view(find_settings(name)))
