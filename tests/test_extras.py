import json

import pytest

from deepen.errors import InvalidValueError
from deepen.extras import import_extra


def test_a_package_that_is_installed_is_imported():
    assert import_extra("json", extra="data", purpose="a test") is json


def test_a_missing_package_is_reported_with_the_extra_that_installs_it():
    with pytest.raises(InvalidValueError, match=r"reading Parquet needs the package parket, .*'deepen\[data\]'"):
        import_extra("parket.files", extra="data", purpose="reading Parquet")
