#!/usr/bin/env python3
"""Writes the seeds of the fuzz targets for data files into corpus/. Files named ok_* are valid,
bad_* are not; each bad file is wrong in one way.

usage: tests/fuzz/make_corpus.py
"""
import gzip
import pathlib
import struct
import zlib

CORPUS = pathlib.Path(__file__).parent / "corpus"


def write(target, files):
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)


def idx(magic, sizes, content):
    return struct.pack(f">{1 + len(sizes)}I", magic, *sizes) + content


def pack(data):
    return gzip.compress(data, 9, mtime=0)


def idx_files():
    images = idx(0x803, [2, 3, 4], bytes(range(24)))
    packed = pack(images)
    return {
        "ok_images": images,
        "ok_labels": idx(0x801, [5], bytes([0, 9, 1, 2, 3])),
        "ok_rank_8": idx(0x808, [1] * 8, b"x"),
        "ok_gzip": packed,
        "ok_members": pack(images[:7]) + pack(images[7:20]) + pack(b"") + pack(images[20:]),
        "ok_zeros_gzip": pack(idx(0x803, [1, 200, 200], bytes(40000))),
        "bad_empty": b"",
        "bad_magic": idx(0x903, [2, 3, 4], bytes(24)),
        "bad_type": idx(0xD03, [2, 3, 4], bytes(96)),
        "bad_rank_0": idx(0x800, [], b"x"),
        "bad_rank_9": idx(0x809, [1] * 9, b"x"),
        "bad_size_0": idx(0x803, [2, 0, 4], b""),
        "bad_overflow": idx(0x803, [2**32 - 1] * 3, bytes(24)),
        "bad_overflow_gzip": pack(idx(0x804, [2**16] * 4, bytes(24))),
        "bad_header": images[:9],
        "bad_short": images[:-1],
        "bad_short_gzip": pack(images[:-1]),
        "bad_long": images + b"x",
        "bad_long_gzip": pack(images + b"x"),
        "bad_huge": idx(0x803, [2**20, 2**10, 2**10], bytes(24)),
        "bad_huge_gzip": pack(idx(0x803, [2**20, 2**10, 2**10], bytes(24))),
        "bad_bomb": pack(images + bytes(5_000_000)),
        "bad_cut_gzip": packed[:-9],
        "bad_crc": packed[:-8] + bytes([packed[-8] ^ 1]) + packed[-7:],
        "bad_length": packed[:-1] + b"\1",
        "bad_garbage": packed + b"garbage",
        "bad_member": packed + pack(images),
        "bad_web_page": b"<!DOCTYPE html><html><body>404</body></html>",
    }


def cifar_files():
    record = bytes([3]) + bytes(i * 7 % 256 for i in range(3072))
    return {
        "ok_one": record,
        "ok_two": record + bytes([9]) + record[1:],
        "bad_empty": b"",
        "bad_short": record[:-1],
        "bad_long": record + b"x",
        "bad_label": record + bytes([10]) + record[1:],
        "bad_web_page": b"<html>".ljust(3073),
    }


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(colour, depth, width, height, rows, before=b"", interlace=0, after=b""):
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before
            + chunk(b"IDAT", zlib.compress(rows, 9)) + after + chunk(b"IEND", b""))


def png_files():
    rgb = b"".join(bytes([filter]) + bytes(range(9)) for filter in range(5))
    plain = png(2, 8, 3, 5, rgb)
    palette = chunk(b"PLTE", bytes(range(12)))
    deflated = zlib.compress("σ² = 1".encode())
    frame = struct.pack(">IIIIIHHBB", 0, 3, 5, 0, 0, 1, 10, 0, 0)
    second = struct.pack(">IIIIIHHBB", 1, 1, 1, 0, 0, 1, 10, 0, 0)
    animation = (chunk(b"fcTL", second)
                 + chunk(b"fdAT", struct.pack(">I", 2) + zlib.compress(b"\0abc")))
    return {
        "ok_rgb_filters": plain,
        "ok_grey_1": png(0, 1, 3, 2, b"\0\xa0\0\x40"),
        "ok_grey_16": png(0, 16, 2, 1, b"\0\1\2\3\4"),
        "ok_palette_2": png(3, 2, 3, 1, b"\0\x1b", palette + chunk(b"tRNS", b"\0\x80")),
        "ok_grey_alpha": png(4, 8, 1, 1, b"\0\1\2"),
        "ok_rgba_16": png(6, 16, 1, 1, b"\0" + bytes(range(8))),
        "ok_interlaced": png(0, 8, 2, 2, b"\0\1\0\2\0\3\4", interlace=1),
        "ok_key": png(2, 8, 1, 1, b"\0\1\2\3", chunk(b"tRNS", b"\0\1\0\2\0\3")),
        "ok_text": png(2, 8, 3, 5, rgb,
                       chunk(b"tEXt", b"seed\x0042") + chunk(b"zTXt", b"k\0\0" + deflated)
                       + chunk(b"iTXt", b"k\0\0\0el\0k\0" + "σ".encode())
                       + chunk(b"iTXt", b"k\0\1\0\0\0" + deflated)),
        "ok_animated": png(2, 8, 3, 5, rgb, chunk(b"acTL", struct.pack(">II", 2, 0))
                           + chunk(b"fcTL", frame), after=animation),
        "ok_two_idat": plain.replace(chunk(b"IEND", b""), b"") + chunk(b"IDAT", b"")
                       + chunk(b"IEND", b""),
        "bad_empty": b"",
        "bad_signature": b"\x89PNG\n\n\x1a\n" + plain[8:],
        "bad_cut": plain[:50],
        "bad_no_end": plain[:-12],
        "bad_crc": plain[:29] + b"xxxx" + plain[33:],
        "bad_short_data": png(2, 8, 3, 5, rgb[:-1]),
        "bad_filter": png(2, 8, 3, 1, b"\7" + bytes(9)),
        "bad_size_0": png(2, 8, 0, 5, rgb),
        "bad_huge": png(2, 8, 60000, 60000, rgb),
        "bad_many_pixels": png(0, 1, 1024, 1024, bytes(129 * 1024)),
        "bad_crc_text": png(2, 8, 3, 5, rgb, chunk(b"tEXt", b"k\0v")[:-1] + b"!"),
        "bad_claim": png(2, 8, 255, 255, rgb),
        "bad_depth": png(2, 4, 3, 5, rgb),
        "bad_no_palette": png(3, 8, 1, 1, b"\0\0"),
        "bad_length": plain[:8] + struct.pack(">I", 2**31) + plain[12:],
        "bad_text": png(2, 8, 3, 5, rgb, chunk(b"tEXt", b"no end of the keyword")),
        "bad_text_bomb": png(2, 8, 3, 5, rgb, chunk(b"zTXt", b"k\0\0" + zlib.compress(
            bytes(3_000_000), 9))),
        "bad_international": png(2, 8, 3, 5, rgb, chunk(b"iTXt", b"k\0\0\0el")),
        "bad_second_header": png(2, 8, 3, 5, rgb, plain[8:33]),
        "bad_web_page": b"<!DOCTYPE html><html>404</html>",
    }


write("fuzz_idx", idx_files())
write("fuzz_cifar", cifar_files())
write("fuzz_png", png_files())
