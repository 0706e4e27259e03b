"""Names made from content are stable, distinct where content differs, and equal where it does not."""

import hashlib
import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from headstart.backbone.keys import space_key, tensor_digest, text_key

PART = st.one_of(st.text(), st.binary(), st.integers(), st.booleans())


def tagged(value: object) -> tuple[str, object]:
    return type(value).__name__, value


def test_a_text_key_is_the_documented_hash() -> None:
    assert text_key("Grüße") == hashlib.blake2b("Grüße".encode(), digest_size=16, person=b"headstart text").digest()


def test_a_lone_surrogate_has_a_key_of_its_own() -> None:
    assert len(text_key("\ud800")) == 16
    assert text_key("\ud800") != text_key("\ud801")


@given(st.text(), st.text())
def test_texts_share_a_key_only_when_equal(left: str, right: str) -> None:
    assert (text_key(left) == text_key(right)) == (left == right)


@given(st.dictionaries(st.text(st.characters(codec="ascii", categories=["L"]), min_size=1), PART), st.randoms())
def test_the_order_of_parts_does_not_matter(parts: dict[str, bytes | str | int], random: object) -> None:
    shuffled = list(parts.items())
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert space_key(**parts) == space_key(**dict(shuffled))


@given(st.dictionaries(st.sampled_from("abc"), PART), st.dictionaries(st.sampled_from("abc"), PART))
def test_spaces_share_a_key_only_when_every_part_is_equal_in_type_and_value(
    left: dict[str, bytes | str | int], right: dict[str, bytes | str | int]
) -> None:
    same = {name: tagged(value) for name, value in left.items()} == {name: tagged(value) for name, value in right.items()}
    assert (space_key(**left) == space_key(**right)) == same


def test_parts_do_not_run_into_each_other() -> None:
    assert space_key(a="xb", c="y") != space_key(a="x", bc="y")
    assert len({space_key(a=1), space_key(a="1"), space_key(a=b"1"), space_key(a=True)}) == 4


def test_a_float_is_refused() -> None:
    with pytest.raises(TypeError) as caught:
        space_key(rate=0.1)  # type: ignore[arg-type]
    assert str(caught.value) == "The part 'rate' of a space key is a float; give bytes, str or int."


def test_keys_are_the_same_in_another_process() -> None:
    code = (
        "import torch; from headstart.backbone.keys import *; "
        "print((text_key('a') + space_key(b=1, a='x') + tensor_digest([('w', torch.arange(6.).reshape(2, 3))])).hex())"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "7"})
    here = text_key("a") + space_key(a="x", b=1) + tensor_digest([("w", torch.arange(6.0).reshape(2, 3))])
    assert other.stdout.strip() == here.hex()


def test_a_digest_sees_name_format_shape_and_every_bit() -> None:
    base = torch.arange(6.0)
    changed = base.clone()
    changed.view(torch.uint8)[-1] ^= 1
    digests = {
        tensor_digest([("w", base)]),
        tensor_digest([("v", base)]),
        tensor_digest([("w", base.reshape(2, 3))]),
        tensor_digest([("w", base.reshape(3, 2))]),
        tensor_digest([("w", base.view(torch.int32))]),
        tensor_digest([("w", base.to(torch.bfloat16))]),
        tensor_digest([("w", changed)]),
        tensor_digest([("w", base), ("v", base)]),
        tensor_digest([]),
    }
    assert len(digests) == 9


def test_a_digest_takes_every_format_and_layout() -> None:
    matrix = torch.arange(6.0).reshape(2, 3)
    assert tensor_digest([("w", matrix.T)]) == tensor_digest([("w", matrix.T.contiguous())])
    assert tensor_digest([("a", matrix), ("b", torch.tensor(1.5))]) == tensor_digest([("b", torch.tensor(1.5)), ("a", matrix)])
    for dtype in (torch.bfloat16, torch.float16, torch.int8, torch.bool, torch.float64):
        assert len(tensor_digest([("w", matrix.to(dtype)), ("empty", torch.empty(0, 3, dtype=dtype))])) == 16
    assert tensor_digest([("w", torch.nn.Parameter(matrix))]) == tensor_digest([("w", matrix)])


def test_a_name_given_twice_is_refused() -> None:
    with pytest.raises(ValueError) as caught:
        tensor_digest([("w", torch.zeros(1)), ("w", torch.zeros(1))])
    assert str(caught.value) == "Two tensors are named 'w'; a digest needs one tensor for each name."
