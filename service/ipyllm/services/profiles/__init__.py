"""Profiles: what each model takes, as data in ``profiles.toml``, and the checks that follow from it."""
