"""Tests of the whole house. A package, so that `tests.fakes` has one name however pytest finds it."""
