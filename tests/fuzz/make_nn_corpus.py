#!/usr/bin/env python3
"""Writes the seeds of fuzz_safetensors and fuzz_manifest into corpus/. Files named ok_* are valid,
bad_* are not; each bad file is wrong in one way.

usage: tests/fuzz/make_nn_corpus.py
"""
import json
import pathlib
import struct

CORPUS = pathlib.Path(__file__).parent / "corpus"


def write(target, files):
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)


def pack(header, data=b""):
    """`header` is text or a dictionary."""
    text = header if isinstance(header, bytes) else json.dumps(header, separators=(",", ":")).encode()
    return struct.pack("<Q", len(text)) + text + data


def tensor(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def safetensors_files():
    a = tensor("F32", [2], 0, 8)
    one = b'"dtype":"F32","shape":[2],"data_offsets":[0,8]'
    good = pack({"a": a}, bytes(8))
    return {
        "ok_one": good,
        "ok_none": pack(b"{}"),
        "ok_padded": pack(b"{}      "),
        "ok_metadata": pack({"__metadata__": {"config": "{\"a\":1}"}, "a": a}, bytes(8)),
        "ok_dtypes": pack({"d": tensor("F64", [1], 0, 8), "i": tensor("I64", [1], 8, 16), "f": tensor("F32", [1, 1], 16, 20),
                           "b": tensor("BF16", [1], 20, 22), "u": tensor("U8", [3], 22, 25)}, bytes(range(25))),
        "ok_scalar_and_empty": pack({"s": tensor("F32", [], 0, 4), "e": tensor("F32", [0, 9], 4, 4)}, bytes(4)),
        "ok_order": pack({"b": tensor("U8", [1], 1, 2), "a": tensor("U8", [1], 0, 1)}, b"ab"),
        "ok_escapes": pack(b'{"\\u00e9\\"\\\\": {' + one + b"}}", bytes(8)),
        "bad_empty": b"",
        "bad_short_length": b"\2\0\0",
        "bad_length_huge": struct.pack("<Q", 2**64 - 1) + b"{}",
        "bad_length_over_file": struct.pack("<Q", 100) + b"{}",
        "bad_no_header": struct.pack("<Q", 0),
        "bad_begins_with_space": pack(b" {}"),
        "bad_array": pack(b"[]"),
        "bad_json": pack(b'{"a":}'),
        "bad_zero_byte": pack(b"{}\0{"),
        "bad_utf8": pack(b'{"\xff":{' + one + b"}}", bytes(8)),
        "bad_duplicate_key": pack(b'{"a":{' + one + b'},"a":{' + one.replace(b"[0,8]", b"[8,16]") + b"}}", bytes(16)),
        "bad_duplicate_field": pack(b'{"a":{' + one + b',"dtype":"F32"}}', bytes(8)),
        "bad_duplicate_metadata": pack(b'{"__metadata__":{"k":"1","k":"2"}}'),
        "bad_metadata_number": pack({"__metadata__": {"k": 1}}),
        "bad_unknown_field": pack({"a": dict(a, extra=1)}, bytes(8)),
        "bad_control_name": pack({"a\nb": a}, bytes(8)),
        "bad_long_name": pack({"n" * 513: a}, bytes(8)),
        "bad_dtype": pack({"a": tensor("I16", [4], 0, 8)}, bytes(8)),
        "half": pack({"a": tensor("F16", [4], 0, 8)}, bytes(8)),
        "bad_rank_9": pack({"a": tensor("U8", [1] * 9, 0, 1)}, bytes(1)),
        "bad_size_negative": pack({"a": tensor("U8", [-1], 0, 1)}, bytes(1)),
        "bad_size_real": pack({"a": tensor("U8", [1.5], 0, 1)}, bytes(1)),
        "bad_size_overflow": pack({"a": tensor("F64", [2**61], 0, 0)}),
        "bad_product_overflow": pack({"a": tensor("U8", [2**32, 2**32], 0, 0)}),
        "bad_overflow_beside_zero": pack({"a": tensor("U8", [0, 2**62, 2**62], 0, 0)}),
        "bad_size_and_offsets": pack({"a": tensor("F32", [3], 0, 8)}, bytes(8)),
        "bad_offsets_reversed": pack({"a": tensor("F32", [2], 8, 0)}, bytes(8)),
        "bad_offsets_one": pack({"a": dict(a, data_offsets=[0])}, bytes(8)),
        "bad_hole": pack({"a": tensor("U8", [1], 0, 1), "b": tensor("U8", [1], 2, 3)}, bytes(3)),
        "bad_hole_first": pack({"a": tensor("U8", [1], 1, 2)}, bytes(2)),
        "bad_overlap": pack({"a": a, "b": tensor("F32", [2], 4, 12)}, bytes(12)),
        "bad_overlap_same": pack({"a": a, "b": a}, bytes(8)),
        "bad_truncated": good[:-1],
        "bad_trailing": good + b"x",
        "bad_terabyte": pack({"a": tensor("U8", [2**40], 0, 2**40)}, bytes(8)),
        "bad_nested": pack(b'{"a":' * 500),
        "bad_web_page": b"<!DOCTYPE html><html><body>404</body></html>",
    }


def manifest_files():
    good = {"format": "ito-checkpoint", "version": 1, "step": 500, "config_hash": "12ab",
            "files": {"model.safetensors": {"size": 4104, "crc32": "0012abef"}, "state.json": {"size": 2, "crc32": "ffffffff"}}}

    def changed(**fields):
        return json.dumps(dict(good, **fields)).encode()

    def entry(name, **fields):
        return changed(files={name: dict({"size": 1, "crc32": "00000000"}, **fields)})

    return {
        "ok": changed(),
        "ok_no_files": changed(files={}),
        "ok_extra_key": changed(more=[1, {"a": None}]),
        "bad_empty": b"",
        "bad_cut": changed()[:-3],
        "bad_array": b"[]",
        "bad_format": changed(format="zip"),
        "bad_newer": changed(version=2),
        "bad_step_negative": changed(step=-1),
        "bad_step_text": changed(step="1"),
        "bad_step_large": changed(step=2**64 - 1),
        "bad_hash_number": changed(config_hash=1),
        "bad_files_list": changed(files=[]),
        "bad_entry": changed(files={"a": 1}),
        "bad_name_parent": entry("../a"),
        "bad_name_hidden": entry(".."),
        "bad_name_empty": entry(""),
        "bad_name_slash": entry("a/b"),
        "bad_size": entry("a", size=-1),
        "bad_crc_short": entry("a", crc32="00"),
        "bad_crc_sign": entry("a", crc32="+0000000"),
        "bad_nested": b"[" * 5000,
    }


write("fuzz_safetensors", safetensors_files())
write("fuzz_manifest", manifest_files())
