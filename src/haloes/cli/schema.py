"""`haloes schema`: every setting, its default and where that comes from."""


def schema() -> None:
    """Print the JSON schema of a configuration file, with every setting, its default and its origin."""
    import json

    from haloes.cli.views.output import say
    from haloes.runs.setting_texts import json_schema

    say(json.dumps(json_schema(), indent=2))
