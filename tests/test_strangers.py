"""Files of strangers run nothing, lead nowhere, overwrite nothing and fill no memory: they are refused in one line."""

import io
import json
import lzma
import os
import pickle
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from safetensors.torch import save_file

from pcae.cli import main
from pcae.data.crops import RandomCrops
from pcae.data.files.bounds import MOST_PIXELS
from pcae.data.files.decode import Unreadable, decode
from pcae.data.images import open_images
from pcae.data.packed.reading import HEADER, sealed
from pcae.data.survey import look
from pcae.settings.verbs.pretrain import PretrainConfig
from pcae.settings.yaml_files import read_yaml
from pcae.terminal import Terminal
from pcae.weights.files import load
from pcae.writing import replace_text
from tests.data.files.cases import fits
from tests.data.files.formats import dicom
from tests.data.files.heic.make import HERE
from tests.weights.tiny import tiny_vit

ESCAPE = "\x1b]0;owned\x07\x1b[2J"
"""What renames a terminal's window and clears it."""


def refusal(capsys, *words: str) -> str:
    """The last line of what is said, with which the command line refuses."""
    with pytest.raises(SystemExit) as stop:
        main(words)
    said = capsys.readouterr().err
    assert stop.value.code == 2 and said.endswith("\n")
    return said.splitlines()[-1]


def picture(kind: str = "PNG", side: int = 8) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.arange(side * side * 3, dtype=np.uint8).reshape(side, side, 3)).save(buffer, kind)
    return buffer.getvalue()


def png(width: int, height: int, *more: tuple[bytes, bytes], bits: int = 8) -> bytes:
    """A gray PNG of two dozen bytes of pixels, whatever it says of its size."""
    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), *more, (b"IDAT", zlib.compress(bytes(24))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


def zeros(size: int) -> bytes:
    """So many zeros, deflated to a thousandth."""
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(bytes(2**24)) for _ in range(size // 2**24)) + packer.flush()


def tiff(side: int, compression: int, strip: bytes, bits: int = 16, place: int | None = None) -> bytes:
    """A TIFF of three bands, which tifffile reads, in one strip."""
    start = 8 + 2 + 10 * 12 + 4
    tags = [(256, 4, 1, side), (257, 4, 1, side), (258, 3, 3, start), (259, 3, 1, compression), (262, 3, 1, 2),
            (273, 4, 1, start + 6 if place is None else place), (277, 3, 1, 3), (278, 4, 1, side),
            (279, 4, 1, len(strip)), (339, 3, 1, 1)]  # fmt: skip
    directory = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return b"II*\0\x08\0\0\0\x0a\0" + directory + bytes(4) + struct.pack("<3H", *[bits] * 3) + strip


def gif(width: int, height: int) -> bytes:
    whole = picture("GIF")
    return whole[:6] + struct.pack("<HH", width, height) + whole[10:]


def webp(width: int, height: int) -> bytes:
    """An animation of one small frame on a large canvas."""
    frame = bytes(6) + struct.pack("<I", 7)[:3] * 2 + bytes(4) + picture("WEBP")[12:]
    canvas = b"\x02\0\0\0" + struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    parts = [(b"VP8X", canvas), (b"ANIM", bytes(6)), (b"ANMF", frame)]
    body = b"WEBP" + b"".join(name + struct.pack("<I", len(part)) + part for name, part in parts)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def icon(inside: bytes) -> bytes:
    """An icon of 32 x 32 pixels, as it says."""
    return struct.pack("<HHHBBBBHHII", 0, 1, 1, 32, 32, 0, 0, 1, 32, len(inside), 22) + inside


def patched(content: bytes, name: bytes, place: int, value: bytes) -> bytes:
    """A file that says something else, so many bytes behind a name in it."""
    start = content.index(name) + len(name) + place
    return content[:start] + value + content[start + len(value) :]


def in_tiff(side: int, compression: int, picture: bytes) -> bytes:
    """A TIFF of 8 bits and one strip, which is a picture of its own."""
    return tiff(side, compression, picture, bits=8)


def large_jpegxl(side: int) -> bytes:
    """The first bytes of a JPEG XL: both sides in 30 bits, all else as it usually is."""
    bits = 0x0AFF | (side - 1) << 19 | 3 << 17 | 3 << 52 | (side - 1) << 54 | 1 << 84
    return bits.to_bytes(200, "little")


def codec_bombs() -> dict[str, bytes]:
    """Those for imagecodecs and netpbmfile, which have no limit of their own."""
    deep = np.arange(64 * 64 * 3, dtype=np.uint16).reshape(64, 64, 3)
    small = (deep % 256).astype(np.uint8)
    siz = struct.pack(">4I", 60_000, 60_000, 0, 0)
    jp2 = imagecodecs.jpeg2k_encode(small, level=0, codecformat="jp2")
    jpeg = imagecodecs.jpeg_encode(deep % 4096, lossless=True, bitspersample=12)
    ordinary = imagecodecs.jpeg_encode(small)
    jxl = large_jpegxl(60_000)
    zeros_of = {50000: imagecodecs.zstd_encode(bytes(2**28)), 5: imagecodecs.lzw_encode(bytes(2**24))}
    return {
        "sides.avif": patched(imagecodecs.avif_encode(small), b"ispe", 4, struct.pack(">2I", 60_000, 60_000)),
        "sides.fits": fits(deep[..., 0].astype(np.int16)).replace(b"   64 /", b"60000 /"),
        "sides.j2k": patched(imagecodecs.jpeg2k_encode(small, codecformat="j2k"), b"\xff\x51", 4, siz),
        "sides.jp2": patched(jp2, b"\xff\x51", 4, siz),
        "sides.jpg": patched(jpeg, b"\xff\xc3", 3, struct.pack(">2H", 65_000, 65_000)),
        "sides.jxl": jxl,
        "sides.pam": b"P7\nWIDTH 60000\nHEIGHT 60000\nDEPTH 4\nMAXVAL 65535\nTUPLTYPE RGB_ALPHA\nENDHDR\n" + bytes(9),
        "sides.pgm": b"P5 60000 60000 65535\n" + bytes(9),
        "sides16.png": png(50_000, 50_000, bits=16),
        "in jp2.tif": in_tiff(64, 34712, patched(jp2, b"\xff\x51", 4, siz)),
        "in jpg.tif": in_tiff(64, 7, patched(ordinary, b"\xff\xc0", 3, struct.pack(">2H", 65_000, 65_000))),
        "in jxl.tif": in_tiff(64, 50002, jxl),
        "in png.tif": in_tiff(64, 34933, png(15_000, 15_000)),
        "in webp.tif": in_tiff(64, 50001, webp(15_000, 15_000)),
        **{f"zeros {number}.tif": tiff(64, number, strip) for number, strip in zeros_of.items()},
    }


def large_npy(side: int) -> bytes:
    """The header of an array without its values."""
    said = f"{{'descr': '<u2', 'fortran_order': False, 'shape': ({side}, {side}, 3), }}".encode()
    return b"\x93NUMPY\x01\0" + struct.pack("<H", len(said) + 1) + said + b"\n" + bytes(9)


def npz(*members: tuple[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return file.getvalue()


def format_bombs() -> dict[str, bytes]:
    """Those for pi-heif, pydicom and NumPy; beside pictures, arrays are images only by the name of one."""
    eight = np.arange(64 * 64, dtype=np.uint8).reshape(1, 64, 64)
    frame = imagecodecs.jpeg2k_encode(np.zeros((9_000, 9_000), np.uint8), codecformat="j2k")
    sides = {"Rows": 60_000, "Columns": 60_000}
    heic = (HERE / "rgb8.heic").read_bytes()
    return {
        "sides.heic": patched(heic, b"ispe", 4, struct.pack(">2I", 60_000, 60_000)),
        "sides.dcm": dicom(eight, **sides),
        "sides rle.dcm": dicom(eight, syntax="5", content=[bytes(64)], **sides),
        "frame.dcm": dicom(eight, syntax="4.90", content=[frame]),
        "deflated.dcm": dicom(eight, syntax="1.99"),
        "sides npy.png": large_npy(60_000),
        "sides npz.png": npz(("a.npy", large_npy(60_000))),
        "zeros npz.png": npz(("a.npy", large_npy(60_000) + bytes(2**26))),
    }


def bombs() -> dict[str, bytes]:
    """Kilobytes that say, or unpack to, gigabytes."""
    text = b"a\0\0" + zeros(2**29)
    return {
        **codec_bombs(),
        **format_bombs(),
        "canvas.gif": gif(65_535, 65_535),
        "canvas.webp": webp(60_000, 60_000),
        "colours.png": png(8, 8, (b"iCCP", text)),
        "deflate.tif": tiff(64, 8, zeros(2**29)),
        "icon.ico": icon(png(18_000, 18_000)),
        "lzma.tif": tiff(64, 34925, lzma.compress(bytes(2**28), preset=0)),
        "nothing.tif": tiff(15_000, 8, b"", bits=64, place=0),
        "pixels.png": png(50_000, 50_000),
        "pixels.tif": tiff(60_000, 1, bytes(100), bits=8),
        "text.png": png(8, 8, (b"zTXt", text)),
    }


BOUNDED = {"lzma.tif", "zeros 5.tif"}
"""Those of which no more is unpacked than has room in the picture."""
PEAK = """
import resource, sys
from pcae.cli import main
from pcae.pages import check_data
from pcae.data.files.decode import decode
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
decode(sys.argv[1], 3)
before = peak()
main(["check-data", sys.argv[2], "--json", "--device", "cpu", "--out", sys.argv[3]])
print((peak() - before) // 1024, file=sys.stderr)
"""


@pytest.mark.slow
def test_bombs_are_bad_files_and_take_no_memory(tmp_path):
    """Through the command line, in a process of its own whose memory is measured: less than 200 MB in all."""
    (tmp_path / "in").mkdir()
    made = bombs() | {f"good {n}.tif": tiff(64, 8, zlib.compress(bytes(64 * 64 * 6))) for n in range(2)}
    for name, content in made.items():
        (tmp_path / "in" / name).write_bytes(content)
    assert sum(map(len, made.values())) < 5_000_000
    words = (tmp_path / "in" / "good 0.tif", tmp_path / "in", tmp_path / "page.html")
    ran = subprocess.run([sys.executable, "-c", PEAK, *words], capture_output=True, text=True, timeout=120, check=True)
    assert int(ran.stderr.splitlines()[-1]) < 200
    groups = json.loads(ran.stdout)["faults"]["unreadable"]["groups"]
    reasons = {Path(one["file"]).name: one["reason"] for group in groups for one in group}
    assert reasons.keys() == bombs().keys() - BOUNDED
    for name in ("canvas.gif", "canvas.webp", "icon.ico", "pixels.png", "pixels.tif"):
        assert f"than are safe to unpack ({MOST_PIXELS:,}); shrink it" in reasons[name], name


def test_a_bomb_in_a_run_is_left_out_and_named(tmp_path, capsys):
    from tests.data.shards.test_shards import TINY

    for n in range(30):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / f"{n:02d}.png").write_bytes(picture())
    (tmp_path / "in" / "30.png").write_bytes(png(50_000, 50_000))
    main(["pretrain", str(tmp_path / "in"), "--out", str(tmp_path / "run"), *TINY])
    (line,) = (tmp_path / "run" / "bad-files.jsonl").read_text().splitlines()
    assert json.loads(line)["file"] == "30.png" and "pixels are more than are safe" in json.loads(line)["reason"]
    assert "more than --max-bad-files" in refusal(
        capsys, "pretrain", str(tmp_path / "in"), "--out", str(tmp_path / "other"), *TINY, "--max-bad-files", "0"
    )


@pytest.mark.slow
def test_large_scans_are_read_whole_and_cropped(tmp_path):
    """20,000 x 10,000 pixels are more than Pillow warns of, and than it refuses by itself."""
    Image.new("L", (20_000, 10_000), 77).save(tmp_path / "a.jpg")
    tifffile.imwrite(tmp_path / "b.tif", np.full((10_000, 20_000), 77, np.uint8), compression="zlib", rowsperstrip=64)
    images = open_images(str(tmp_path), channels=1)
    for index in range(2):
        assert images.open(index).shape[:2] == (10_000, 20_000)
        crop = RandomCrops(images, (16, 32), (1.0, 1.0), seed=0)[index, 0]
        assert crop.shape == (1, 16, 32) and torch.all(crop == 77)


@pytest.mark.parametrize("hidden", [lambda script: script, lambda script: iptc(script)])
def test_an_image_that_is_a_program_is_not_run(tmp_path, hidden):
    """Ghostscript runs what an .eps says; files may have any name, and hold one another."""
    script = f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n({tmp_path}/ran) (w) file closefile\n"
    (tmp_path / "a.jpg").write_bytes(hidden(script.encode() + b"showpage\n%%EOF\n"))
    with pytest.raises(Unreadable, match="it is no image, or of a format that is not read"):
        decode(str(tmp_path / "a.jpg"), 3)
    assert look(open_images(str(tmp_path / "a.jpg")), 0).format == "unknown" and not (tmp_path / "ran").exists()


def iptc(inside: bytes) -> bytes:
    """A picture that another one, of any format, is in."""
    fields = [
        ((3, 60), b"\x01\x00"),
        ((3, 20), b"\0\x09"),
        ((3, 30), b"\0\x09"),
        ((3, 120), b"\x01"),
        ((8, 10), inside),
    ]
    return b"".join(bytes([0x1C, *tag]) + struct.pack(">H", len(body)) + body for tag, body in fields)


def test_a_tiff_leads_to_no_other_file(tmp_path):
    """OME's metadata may say that a band lies in another file, anywhere."""
    (tmp_path / "in").mkdir()
    tifffile.imwrite(tmp_path / "secret.ome.tif", np.full((2, 9, 9), 200, np.uint16), photometric="minisblack")
    places = "".join(
        f'<TiffData IFD="0" PlaneCount="1" FirstC="{band}"><UUID FileName="{name}">urn:uuid:{band}</UUID></TiffData>'
        for band, name in enumerate(("a.ome.tif", "../secret.ome.tif"))
    )
    said = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:0">'
        '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint16" SizeX="9" SizeY="9" SizeC="2" '
        f'SizeZ="1" SizeT="1">{places}</Pixels></Image></OME>'
    )
    tifffile.imwrite(tmp_path / "in" / "a.ome.tif", np.zeros((9, 9), np.uint16), description=said, metadata=None)
    assert tifffile.imread(tmp_path / "in" / "a.ome.tif").max() == 200
    with pytest.raises(Unreadable, match="it has 1 channels, not 2"):
        decode(str(tmp_path / "in" / "a.ome.tif"), 2)


def write_tar(path: Path, members: list[tuple[str, bytes]], facts: dict[str, str] | None = None) -> str:
    """A tar of these names and contents; facts: what else all headers say."""
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            info.pax_headers = facts or {}
            tar.addfile(info, io.BytesIO(content))
    return str(path)


def test_check_data_of_an_archive_that_leads_elsewhere_touches_nothing(tmp_path, capsys):
    """Names with .. and absolute ones are names; links and devices are not followed."""
    (tmp_path / "in").mkdir()
    (tmp_path / "secret.png").write_bytes(picture(side=9))
    data = write_tar(tmp_path / "in" / "a.tar", [("../../evil.png", picture()), (f"{tmp_path}/there.png", picture())])
    with tarfile.open(data, "a") as tar:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE):
            info = tarfile.TarInfo(f"{kind.decode()}.png")
            info.type, info.linkname = kind, "../secret.png"
            tar.addfile(info)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    main(["check-data", data, "--json", "--device", "cpu"])
    report = capsys.readouterr().out
    assert "secret" not in report and "unreadable" not in json.loads(report)["faults"]
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    assert open_images(data).others == {"links or devices": 5}


def test_archives_that_go_round_in_circles_or_hold_nothing_end(tmp_path):
    """10,000 empty images; 5,000 headers before the one that they are of; a sparse file of 8 TB."""
    images = open_images(write_tar(tmp_path / "a.tar", [(f"{n}.png", b"") for n in range(10_000)]))
    assert len(images) == 10_000
    with pytest.raises(Unreadable, match="no image"):
        images.open(0)
    long = tarfile.TarInfo("././@LongLink")
    long.type, long.size = tarfile.GNUTYPE_LONGNAME, 4
    (tmp_path / "b.tar").write_bytes((long.tobuf(tarfile.GNU_FORMAT) + b"a.png".ljust(512, b"\0")) * 5_000)
    with pytest.raises(ValueError, match=r"b\.tar' is cut off, damaged or no \.tar file"):
        open_images(str(tmp_path / "b.tar"))
    sparse = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": str(2**43)}
    data = write_tar(tmp_path / "c.tar", [("a.png", b"1\n0\n8796093022208\n".ljust(512, b"\0"))], sparse)
    with pytest.raises(ValueError, match=r"no image files .*, but 1 links or devices|c\.tar' is cut off, damaged"):
        open_images(data)


def test_an_image_or_a_label_of_gigabytes_is_not_read(tmp_path):
    """As holes in the file, which take no room on a disk."""
    for name, suffix in (("a.tar", "png"), ("b.tar", "json")):
        info, first = tarfile.TarInfo(f"0.{suffix}"), tarfile.TarInfo("0.jpg")
        info.size, first.size = 2**36, 0
        with (tmp_path / name).open("wb") as file:
            file.write((first.tobuf() if suffix == "json" else b"") + info.tobuf())
            file.truncate(file.tell() + info.size + 1024)
    with pytest.raises(Unreadable, match="its 68,719,476,736 bytes are more than are safe to read"):
        open_images(str(tmp_path / "a.tar")).open(0)
    with pytest.raises(ValueError, match=r"label '0\.json' has 68,719,476,736 bytes, more than"):
        open_images(str(tmp_path / "b.tar"))


def test_a_label_of_brackets_is_none(tmp_path):
    data = write_tar(tmp_path / "a.tar", [("0.png", picture()), ("0.json", b'{"label":' + b"[" * 100_000)])
    assert open_images(data).labels is None


def test_names_do_not_rewrite_the_terminal(tmp_path, capsys):
    """In refusals, and in all that verbs say."""
    data = write_tar(tmp_path / "a.tar", [(f"0.{ESCAPE}", b"")])
    (tmp_path / "list.txt").write_text(f"{ESCAPE}.png\n")
    for said in (refusal(capsys, "check-data", data), refusal(capsys, "check-data", str(tmp_path / "list.txt"))):
        assert "owned" in said and "\x1b" not in said and "\x07" not in said
    shown = io.StringIO()
    Terminal(file=shown, markup=False, emoji=False, width=200).print(f"left out: {ESCAPE} \u202e\udcff ünïcode 猫")
    assert shown.getvalue() == "left out: \\x1b]0;owned\\x07\\x1b[2J \\u202e\\udcff ünïcode 猫\n"


def test_odd_names_in_lists_are_names(tmp_path, capsys):
    for name in ("a; rm -rf ~.png", "-o.png", "$(id).png", "=1+1.png"):
        (tmp_path / name).write_bytes(picture())
    (tmp_path / "l.csv").write_text(
        "path,label\n" + "".join(f'"{path.name}",{ESCAPE}\n' for path in tmp_path.glob("*.png"))
    )
    main(["check-data", str(tmp_path / "l.csv"), "--device", "cpu"])
    said = capsys.readouterr()
    assert "\x1b]" not in said.out + said.err and "\x07" not in said.out + said.err
    (tmp_path / "zero.txt").write_bytes(b"a\0b.png\n")
    assert "which is no file" in refusal(capsys, "check-data", str(tmp_path / "zero.txt"))


LIES = {
    "another folder's file": lambda header: header["files"].update({"../secret": [[6, "0"]]}),
    "a split elsewhere": lambda header: header["splits"].update({"../secret": header["splits"]["train"]}),
    "images without end": lambda header: header["splits"]["train"].update(images=2**60),
    "fewer than none": lambda header: header["splits"]["train"].update(images=-1),
    "pixels without end": lambda header: header["settings"].update(image_size=[2**31, 2**31]),
    "no splits": lambda header: header.update(splits={}),
    "words for numbers": lambda header: header.update(files=7),
    "no settings": lambda header: header.pop("settings"),
    "too few classes": lambda header: header["splits"]["train"].update(classes=[]),
}


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    root = tmp_path_factory.mktemp("packed")
    for label in ("cat", "dog"):
        (root / "in" / label).mkdir(parents=True)
        (root / "in" / label / "a.png").write_bytes(picture())
    main(["pack", str(root / "in"), str(root / "out"), "--side", "8", "--workers", "0"])
    return root / "out"


@pytest.mark.parametrize("lie", LIES)
def test_a_packed_folder_that_lies_is_refused(packed, tmp_path, capsys, lie):
    """Its header has the right checksum: a stranger can compute it, too."""
    folder = tmp_path / "lying"
    folder.mkdir()
    (tmp_path / "secret").write_text("secret")
    for path in packed.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    header = json.loads((folder / HEADER).read_text())
    del header["checksum"]
    assert len(open_images(str(folder))) == 2
    LIES[lie](header)
    (folder / HEADER).write_text(sealed(header))
    assert "packed f" in refusal(capsys, "check-data", str(folder)) and (tmp_path / "secret").read_text() == "secret"


def test_places_that_lie_in_a_packed_folder_are_bad_files(packed, tmp_path):
    for path in packed.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    header = json.loads((tmp_path / HEADER).read_text())
    del header["checksum"]
    header["settings"]["form"] = "jpeg"
    (tmp_path / HEADER).write_text(sealed(header))
    for end in (2**62, -(2**62)):
        rows = np.frombuffer((packed / "train.index").read_bytes(), [("end", "<i8"), ("name", "<i8"), ("label", "<i4")])
        rows = rows.copy()
        rows["end"] = end
        (tmp_path / "train.index").write_bytes(rows.tobytes())
        with pytest.raises(Unreadable):
            open_images(str(tmp_path)).open(0)


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("name", ["a.pth", "a.bin", "folder", "run"])
def test_weights_that_want_to_run_code_are_refused_by_every_way_in(tmp_path, capsys, name):
    """Under each suffix, in a folder of Hugging Face's, and where a run folder's encoder should be."""
    place = tmp_path / name
    inside = {"folder": "pytorch_model.bin", "run": "encoder.safetensors"}.get(name)
    if inside:
        place.mkdir()
        (place / "config.json").write_text('{"model_type": "vit"}')
    file = place / inside if inside else place
    torch.save({"model": tiny_vit().state_dict(), "more": Payload(tmp_path / "ran")}, file)
    (tmp_path / "a.png").write_bytes(picture())
    out = ("--out", str(tmp_path / "f.npy"), "--device", "cpu")
    said = refusal(capsys, "embed", str(tmp_path / "a.png"), "--weights", str(place), *out)
    assert file.name in said and not (tmp_path / "ran").exists() and not (tmp_path / "f.npy").exists()
    with pytest.raises(ValueError, match="wants to run|no whole safetensors file"):
        load(place)
    file.write_bytes(pickle.dumps(Payload(tmp_path / "ran")))
    with pytest.raises(ValueError, match=file.name):
        load(place)
    assert not (tmp_path / "ran").exists()


def test_an_archive_of_weights_that_unpacks_to_more_than_it_is_is_refused(tmp_path):
    torch.save({"model": {"a": torch.zeros(2**22)}}, tmp_path / "a.pth")
    with (
        zipfile.ZipFile(tmp_path / "a.pth") as whole,
        zipfile.ZipFile(tmp_path / "b.pth", "w", zipfile.ZIP_DEFLATED) as small,
    ):
        for name in whole.namelist():
            small.writestr(name, whole.read(name))
    with pytest.raises(ValueError, match=r"b\.pth says that its [\d,]+ bytes unpack to 16,7[\d,]+, which torch\.save"):
        load(tmp_path / "b.pth")


def tensor(start: int, end: int, shape: list[int], kind: str = "F32") -> dict:
    return {"dtype": kind, "shape": shape, "data_offsets": [start, end]}


@pytest.mark.parametrize(
    ("header", "length"),
    [
        ({"a": tensor(2**40, 2**40 + 16, [4])}, None),
        ({"a": tensor(0, 16, [4]), "b": tensor(8, 24, [4])}, None),
        ({"a": tensor(-16, 0, [4])}, None),
        ({"a": tensor(0, 16, [2**40, 2**40])}, None),
        ({"a": tensor(0, 16, [4], "F64")}, None),
        ({"a": tensor(0, 16, [4], "PICKLE")}, None),
        ({}, 2**62),
        ({}, 99_000_000),
        ({"__metadata__": {"pcae": "[" * 100_000}, "a": tensor(0, 16, [4])}, None),
    ],
)
def test_safetensors_that_lie_are_refused(tmp_path, header, length):
    text = json.dumps(header).encode()
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", length or len(text)) + text + bytes(16))
    with pytest.raises(ValueError, match=r"a\.safetensors (is no whole safetensors file|holds no encoder)") as caught:
        load(tmp_path / "a.safetensors")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"num_hidden_layers": 10**6}, "num_hidden_layers is 1000000, but the weights have 1 blocks"),
        ({"hidden_size": 10**6, "num_attention_heads": 8}, "hidden_size is 1000000, but the weights are for 8"),
        ({"image_size": 10**6, "patch_size": 1}, "5 positions for 1 prefix tokens and a grid of 1000000 x 1000000"),
    ],
)
def test_settings_that_say_more_than_the_weights_hold_build_nothing(tmp_path, said, reason):
    """A model of these sizes would take terabytes."""
    config = {"model_type": "vit", "hidden_size": 8, "intermediate_size": 32, "num_hidden_layers": 1}
    sizes = {"num_attention_heads": 2, "image_size": 32, "patch_size": 16}
    (tmp_path / "config.json").write_text(json.dumps(config | sizes | said))
    shapes: dict[str, tuple[int, ...]] = {f"attention.attention.{name}": (8, 8) for name in ("query", "key", "value")}
    shapes |= {"intermediate.dense": (32, 8), "output.dense": (8, 32), "attention.output.dense": (8, 8)}
    shapes |= {"layernorm_before": (8,), "layernorm_after": (8,)}
    tensors = {f"encoder.layer.0.{name}.weight": torch.ones(shape) for name, shape in shapes.items()}
    tensors |= {f"encoder.layer.0.{name}.bias": torch.ones(shape[0]) for name, shape in shapes.items()}
    tensors |= {"embeddings.patch_embeddings.projection.weight": torch.ones(8, 3, 16, 16)}
    vectors = ("layernorm.weight", "layernorm.bias", "embeddings.patch_embeddings.projection.bias")
    tensors |= {name: torch.ones(8) for name in vectors}
    tensors |= {"embeddings.cls_token": torch.ones(1, 1, 8), "embeddings.position_embeddings": torch.ones(1, 5, 8)}
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=reason):
        load(tmp_path)


LAUGHS = "[&a [x,x,x,x,x,x,x,x,x]," + ",".join(
    f"&{name} [{','.join([f'*{before}'] * 9)}]" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"model: {LAUGHS}]", r"\*a stands for another value; write it out"),
        ("model: &a [*a]", r"\*a stands for another value"),
        ("a: &a {x: 1}\nb: {<<: [*a, *a]}", r"\*a stands for another value"),
        ("model: " + "[" * 10_000, "recursion"),
        ("model: !!python/object/apply:os.system ['touch ran']", "could not determine a constructor"),
        ("steps: " + "9" * 10_000, "4300 digits"),
    ],
)
def test_settings_run_nothing_and_do_not_multiply(tmp_path, capsys, monkeypatch, text, reason):
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(text)
    with pytest.raises(ValueError, match=rf"mine\.yaml cannot be read as YAML: .*{reason}"):
        read_yaml(PretrainConfig, Path("mine.yaml"))
    said = refusal(capsys, "pretrain", "sample", "--out", "run", "--config", "mine.yaml")
    assert len(said) < 1_000 and [path.name for path in Path().iterdir()] == ["mine.yaml"]


def test_writing_takes_the_place_of_a_link_and_does_not_follow_it(tmp_path):
    """A run folder of a stranger may hold links to our own files."""
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").symlink_to(tmp_path / "mine")
    replace_text(tmp_path / "run" / "config.yaml", "theirs")
    assert (tmp_path / "mine").read_text() == "mine" and not (tmp_path / "run" / "config.yaml").is_symlink()


def coco(folder: Path, name: str, width: int, height: int, polygon: list[int]) -> list[str]:
    """Words that read annotations of one image and one object."""
    annotation = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 5, 5], "segmentation": [polygon]}
    content = {
        "images": [{"id": 1, "file_name": name, "width": width, "height": height}],
        "categories": [{"id": 1, "name": "thing"}],
        "annotations": [annotation],
    }
    (folder / "in").mkdir(exist_ok=True)
    (folder / "in" / "train.json").write_text(json.dumps(content))
    (folder / "in" / "inside.png").write_bytes(picture())
    words = ["--validation", str(folder / "in" / "train.json"), "--from-scratch", "--out", str(folder / "out")]
    return ["detect", "train", str(folder / "in"), *words, "--device", "cpu"]


def test_no_image_of_coco_annotations_lies_outside(tmp_path, capsys):
    (tmp_path / "outside.png").write_bytes(picture())
    for name in (str(tmp_path / "outside.png"), "../outside.png", "in/../../outside.png"):
        words = coco(tmp_path, name, 8, 8, [0, 0, 5, 0, 5, 5])
        for more in ([], ["--images", str(tmp_path / "in")]):
            said = refusal(capsys, *words, *more)
            assert f"name the image '{name}', which is not in" in said and "--images DIR" in said
    assert not (tmp_path / "out").exists()


def test_sizes_of_coco_annotations_are_bounded(tmp_path, capsys, monkeypatch):
    """With bounds made small, so that no input here is a large one."""
    monkeypatch.setattr("pcae.data.coco.checks.MOST_PIXELS", 1_000)
    words = coco(tmp_path, "inside.png", 50, 40, [0, 0, 5, 0, 5, 5])
    assert "image 1 is said to have 50 x 40 pixels; 1,000 are the most" in refusal(capsys, *words)
    monkeypatch.setattr("pcae.data.coco.segmentations.MOST_OUTLINE", 20)
    words = coco(tmp_path, "inside.png", 8, 8, [0, 0, 8, 8, 0, 8] * 2)
    assert "has a polygon whose outline has more than 20 pixels" in refusal(capsys, *words)


class Ran:
    """Something that a pickle runs when it is read."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple:
        return Path.write_text, (self.place, "ran")


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_an_array_of_pickles_is_not_unpickled(tmp_path, name):
    array, file = np.array([[Ran(tmp_path / "ran")]], object), io.BytesIO()
    np.save(file, array, allow_pickle=True)
    (tmp_path / name).write_bytes(npz(("a.npy", file.getvalue())) if name == "a.npz" else file.getvalue())
    with pytest.raises(Unreadable, match="its values are object, which are no pixels"):
        decode(str(tmp_path / name), 1)
    assert not (tmp_path / "ran").exists()


def test_a_zip_of_other_things_is_no_image(tmp_path):
    for members in ([], [("../../evil.txt", b"words")], [("a.npy", b"words")]):
        with pytest.raises(Unreadable, match="it is no image|it holds 0 arrays|magic|cut off") as caught:
            decode(npz(*members), 1, name="a")
        assert "\n" not in caught.value.reason
