"""Blocks are compiled by all processes of a run or by none, whoever of them has a compiler."""

from pathlib import Path

import pytest

from tests.processes import TINY, assert_same, ended, together

WORDS = ["pretrain", "sample", *TINY, "--steps", "4"]


def pretrain(monkeypatch, out: Path, without: str, *more: str) -> list[tuple[int | None, str]]:
    """Exit statuses and words of two processes of which some have no compiler."""
    monkeypatch.setenv("WITHOUT", without)
    return ended(*together(["tests.runs.compilers", *WORDS, "--out", str(out), *more]), seconds=120)


@pytest.mark.parametrize("rank", ["0", "1"])
def test_where_one_process_cannot_compile_none_does(monkeypatch, tmp_path, rank):
    done = pretrain(monkeypatch, tmp_path / "out", rank)
    assert [status for status, _ in done] == [0, 0], done
    assert not any("is compiled" in said for _, said in done)
    reason = "blocks cannot be compiled here (no compiler); use --compile never"
    assert done[0][1].count(f"blocks are compiled in no process, because of process {rank}: {reason}") == 1
    assert "compiled" not in done[1][1]
    pretrain(monkeypatch, tmp_path / "never", rank, "--compile", "never")
    assert_same(tmp_path / "out", tmp_path / "never", 4)


def test_where_it_was_asked_for_all_end_with_the_reason(monkeypatch, tmp_path):
    done = pretrain(monkeypatch, tmp_path / "out", "0 1", "--compile", "always")
    assert [status for status, _ in done] == [2, 2], done
    assert all("in no process, because of process 0 and 1 more: blocks cannot be compiled" in said for _, said in done)
    assert not (tmp_path / "out").exists()


def test_where_all_can_compile_all_do(monkeypatch, tmp_path):
    done = pretrain(monkeypatch, tmp_path / "out", "")
    assert [status for status, _ in done] == [0, 0], done
    assert all("is compiled" in said for _, said in done)
    assert done[0][1].count("blocks are compiled, in all 2 processes") == 1 and "in all" not in done[1][1]
