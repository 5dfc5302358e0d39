"""Limits on files of networks."""

import numpy as np
import pytest

from app.formats.safetensors_files import write_safetensors
from app.nn import Layer, Model
from tests.service.inprocess import send
from tests.service.limits import app_with, assert_too_large

pytest.importorskip("safetensors", reason="safetensors is not installed: pip install '.[interop]'")


@pytest.mark.parametrize(("limit", "fits"), [(110, True), (109, False)])
def test_numbers_of_a_file_are_limited(limit: int, fits: bool) -> None:
    content = b"".join(write_safetensors(Model((Layer(np.ones((10, 10)), np.ones(10)),))))
    headers = {"Content-Type": "application/octet-stream"}
    answer = send(app_with(max_numbers=limit), "POST", "/v1/networks/import", content=content, headers=headers)
    if fits:
        assert answer.status_code == 200 and answer.json()["parameters"] == 110
    else:
        assert_too_large(answer, "max_numbers", limit, ())
