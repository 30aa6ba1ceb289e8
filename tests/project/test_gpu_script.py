"""The script of measurements on a GPU, on machines without one."""

import importlib.util
import sys

import pytest
import torch

from paths import ROOT


@pytest.fixture
def gpu():
    """Module benchmarks/gpu.py."""
    spec = importlib.util.spec_from_file_location("gpu", ROOT / "benchmarks" / "gpu.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_without_cuda_it_says_so(gpu, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu.py"])
    assert gpu.main() == 2
    assert "sees no CUDA device" in capsys.readouterr().out


def test_what_takes_too_long_is_skipped(gpu, capsys):
    gpu.show_correctness(gpu.Report(minutes=0), "cpu", quick=True)
    assert capsys.readouterr().out.count("skipped, no time left") == 4


@pytest.mark.slow
def test_the_same_code_on_the_cpu(gpu, tmp_path, monkeypatch):
    path = tmp_path / "results.txt"
    options = ["--device", "cpu", "--quick", "--output", str(path)]
    monkeypatch.setattr(sys, "argv", ["gpu.py", *options])
    assert gpu.main() == 0
    text = path.read_text()
    assert "WRONG" not in text
    assert "All results are right" in text
    assert "batch of   16" in text


@pytest.mark.slow
def test_a_wrong_result_is_reported(gpu, tmp_path, monkeypatch):
    path = tmp_path / "results.txt"
    monkeypatch.setattr(gpu, "SAME", -1.0)
    monkeypatch.setattr(gpu, "QUICK", {"MACE": ("none",)})
    report = gpu.Report(minutes=8)
    gpu.show_correctness(report, "cpu", quick=True)
    assert not report.is_right
    assert any(line.endswith("WRONG") for line in report.lines)
    assert not path.exists()
