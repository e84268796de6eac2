"""What differs between two mappings of settings is named, with both values."""

import pytest

from softprompt_tf.settings.setting_changes import setting_changes


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({"a": 1, "b": {"c": [1, 2]}}, {"b": {"c": [1, 2]}, "a": 1}, []),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 3, "c": 2}}, ["`a.b` is 3, it was 1"]),
        ({"a": [{"x": 1}, {"x": 2}]}, {"a": [{"x": 1}, {"x": 5}]}, ["`a.1.x` is 5, it was 2"]),
        ({"a": [1]}, {"a": [2], "b": None}, ["`a` is [2], it was [1]", "`b` is None, it was not set"]),
        ({"a": {"b": 1}}, {"a": None}, ["`a.b` is not set, it was 1", "`a` is None, it was not set"]),
        ({"a": 1}, {"a": 1.0}, []),
    ],
    ids=["equal", "nested", "list of mappings", "new key", "mapping to value", "whole number as a float"],
)
def test_each_change_is_named(old, new, expected):
    assert setting_changes(old, new) == expected
