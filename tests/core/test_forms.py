"""Forms, as servers read them."""

from __future__ import annotations

import pytest

from ap_resume_shim.core import forms

MULTIPART = "multipart/form-data; boundary=b"


def test_of_duplicate_fields_the_last_one_counts() -> None:
    assert forms.read(b"a=1&b=&a=x+y%21", "application/x-www-form-urlencoded; charset=utf-8") == {"a": "x y!", "b": ""}


@pytest.mark.parametrize("media_type", ["application/json", "", "text/plain", "multipart/form-data"])
def test_other_bodies_have_no_fields(media_type: str) -> None:
    assert forms.read(b"a=1", media_type) == {}


@pytest.mark.parametrize("media_type", [MULTIPART, 'Multipart/Form-Data; charset=utf-8; boundary="b"'])
def test_the_parts_of_a_multipart_form_are_fields(media_type: str) -> None:
    body = (
        b'preamble\r\n--b\r\nContent-Disposition: form-data; name="a"\r\n\r\none\r\n'
        b"--b\r\nContent-Type: text/plain\r\ncontent-disposition: form-data; name=a\r\n\r\ntwo\r\n\r\n--b is no end\r\n"
        b"--b--\r\n"
    )
    assert forms.read(body, media_type)["a"] == "two\r\n\r\n--b is no end"


@pytest.mark.parametrize(
    "part",
    [
        b'Content-Disposition: form-data; name="a"; filename="a.txt"\r\n\r\none',
        b"Content-Disposition: form-data\r\n\r\none",
        b"Content-Type: text/plain\r\n\r\none",
        b'Content-Disposition: form-data; name="a"\r\none',
    ],
)
def test_a_file_and_a_part_without_a_name_are_skipped(part: bytes) -> None:
    assert forms.read(b"--b\r\n" + part + b"\r\n--b--\r\n", MULTIPART) == {}
