"""Plugins are found by their names, and no two have one."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from headrace.errors import ArgumentError
from headrace.images.codecs import registry
from headrace.plugins import by_name, load_plugins


def test_each_has_its_name() -> None:
    one, two = SimpleNamespace(name="one"), SimpleNamespace(name="two")
    assert by_name("things", [one, two]) == {"one": one, "two": two}


def test_two_of_one_name_are_refused() -> None:
    with pytest.raises(ArgumentError, match=r"^two things are called 'one'; uninstall one of the distributions"):
        by_name("things", [SimpleNamespace(name="one"), SimpleNamespace(name="one")])


def test_a_codec_does_not_take_the_place_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "load_plugins", lambda group: [[SimpleNamespace(name="PNG")]])
    registry.codecs.cache_clear()
    with pytest.raises(ArgumentError, match="two codecs are called 'PNG'"):
        registry.codecs()
    registry.codecs.cache_clear()


def test_a_group_of_nobody_is_empty() -> None:
    assert load_plugins("headrace.nothing") == []
