"""A look at the bytes of a protobuf message before they are parsed, so that parsing them takes bounded memory.

A file of 2 bytes for each empty message takes a hundred times its size when it is parsed, and messages in messages
take the stack. Source: Protocol Buffers, Encoding.
"""

from functools import cache
from typing import Any

from .errors import OnnxError

__all__ = ["check_wire"]

MOST_FIELDS = 2_000_000  # of a whole file; a node of two inputs is about 8
DEEPEST = 64  # messages in messages; protobuf itself stops at 100

_TEXT = object()


def check_wire(data: bytes, kind: Any) -> None:
    """Raise OnnxError unless `data` is a well-formed message of the descriptor `kind`, with a bounded number of fields.

    Nothing is kept, and nothing recurses.
    """
    ends, kinds = [len(data)], [_inside(kind)]
    at, fields = 0, 0
    while ends:
        end = ends[-1]
        if at == end:
            ends.pop()
            kinds.pop()
            continue
        fields += 1
        if fields > MOST_FIELDS:
            raise OnnxError(f"the file has more than {MOST_FIELDS} fields, which no network of layers needs")
        key, at = (data[at], at + 1) if data[at] < 128 else _varint(data, at, end)
        wire = key & 7
        if wire == 0:
            _, at = _varint(data, at, end)
        elif wire == 1 or wire == 5:
            at += 8 if wire == 1 else 4
        elif wire == 2:
            length, at = (data[at], at + 1) if at < end and data[at] < 128 else _varint(data, at, end)
            if at + length > end:
                raise OnnxError(f"the file is damaged: byte {at} begins {length} bytes, where {end - at} are left")
            below = kinds[-1].get(key >> 3)
            if isinstance(below, dict):
                if len(ends) == DEEPEST:
                    raise OnnxError(f"the file has messages in messages more than {DEEPEST} deep")
                ends.append(at + length)
                kinds.append(below)
                continue
            if below is _TEXT:
                _check_text(data, at, at + length)
            at += length
        else:
            raise OnnxError(f"the file is damaged: field type {wire} before byte {at}; 0, 1, 2 and 5 are known")
        if at > end:
            raise OnnxError(f"the file is damaged: a number reaches {at - end} bytes beyond its message, to byte {at}")


def _varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """(the number that begins at a byte, where the next begins)."""
    value = shift = 0
    while at < end and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
    raise OnnxError(f"the file is damaged: a number does not end before byte {at}")


def _check_text(data: bytes, at: int, end: int) -> None:
    try:
        data[at:end].decode()
    except UnicodeDecodeError:
        raise OnnxError(f"the file is damaged: the text of {end - at} bytes at byte {at} is not UTF-8") from None


def _inside(kind: Any) -> dict[int, Any]:
    """For each field number what its bytes hold: a dict like this for a message, `_TEXT` for text."""
    return _tables(kind)[kind.full_name]


@cache
def _tables(kind: Any) -> dict[str, dict[int, Any]]:
    """The tables of a descriptor and of all that it leads to; they refer to one another in circles."""
    tables: dict[str, dict[int, Any]] = {kind.full_name: {}}
    left = [kind]
    while left:
        descriptor = left.pop()
        for field in descriptor.fields:
            if (message := field.message_type) is not None:
                if message.full_name not in tables:
                    tables[message.full_name] = {}
                    left.append(message)
                tables[descriptor.full_name][field.number] = tables[message.full_name]
            elif field.type == field.TYPE_STRING:
                tables[descriptor.full_name][field.number] = _TEXT
    return tables
