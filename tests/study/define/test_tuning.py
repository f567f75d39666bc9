"""What a tuning refuses before any study has it."""

from typing import Any

import pytest

from deepen.errors import InvalidValueError
from deepen.study.define.tuning import Tuning


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"rates": 4e-3}, "rates"),
        ({"rates": None}, "rates"),
        ({"rates": ("high",)}, "rates"),
        ({"options": [0.3, 0.5]}, "options"),
        ({"options": {"grow_at": 0.3}}, "options"),
        ({"options": {"insert_at": "top"}}, "options"),
        ({"options": {"grow_at": ()}}, "options"),
        ({"trials": "8"}, "trials"),
        ({"seed": 1.5}, "seed"),
        ({"share": 0}, "share"),
    ],
)
def test_a_value_that_cannot_be_tried_is_refused_by_its_field(change: dict[str, Any], field: str):
    with pytest.raises(InvalidValueError) as wrong:
        Tuning(**change)
    assert wrong.value.field == field
