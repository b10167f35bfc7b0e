"""What is read from the optimised text of a program."""

import pytest

from lenet_alexnet.bench import cost
from lenet_alexnet.errors import DataError
from lenet_alexnet.info import hlo
from tests.helpers import ROOT

# A loop of 8 steps: it reads one of 8 batches, calls a convolution, updates one row in place, sums
# over the devices, and in an inner loop of 3 adds.
TEXT = (ROOT / "tests" / "helpers" / "step_on_two_gpus.hlo").read_text()
KERNELS = {
    "x": 8 + 4 + 32,  # one of the 8 batches, its number, the result
    "conv": 2 * 32 + 16 + 6,
    "all": 2 * 32,
    "sum": 3 * 32,
    "row": 2 * 8,
    "new": 8 + 4 + 8,  # one row of the table is written, none read
}


def test_the_bytes_of_each_kernel():
    found = [(k.instruction.name, k.bytes) for k in hlo.read(TEXT).kernels()]
    names = ["x", "conv", "all", "sum", "sum", "sum", "row", "new"]
    assert found == [(name, KERNELS[name]) for name in names]


def test_of_a_value_that_a_fusion_reads_in_parts_only_these_count():
    """Each once, in the type that is stored, whatever is computed of it entry by entry."""
    inside = """%fused (p: bf16[4,6]) -> f32[4,2] {
  %p = bf16[4,6]{1,0} parameter(0)
  %wide = f32[4,6]{1,0} convert(%p)
  %square = f32[4,6]{1,0} multiply(%wide, %wide)
  %a = f32[4,2]{1,0} slice(%wide), slice={[0:4], [0:2]}
  %b = f32[4,2]{1,0} slice(%square), slice={[0:4], [0:2]}
  %c = f32[4,2]{1,0} slice(%wide), slice={[0:4], [4:6]}
  ROOT %sum = f32[4,2]{1,0} add(%a, %b)
}

"""
    line = "%k = f32[4,2]{1,0} fusion(%half), kind=kLoop, calls=%fused"
    text = inside + TEXT.replace(
        "  %row = ", f"  %half = bf16[4,6]{{1,0}} copy(%x)\n  {line}\n  %row = "
    )
    (found,) = [k.bytes for k in hlo.read(text).kernels() if k.instruction.name == "k"]
    assert found == 2 * (8 * 2) + 8 * 4
    whole = text.replace("add(%a, %b)", "add(%wide, %wide)")
    (found,) = [k.bytes for k in hlo.read(whole).kernels() if k.instruction.name == "k"]
    assert found == 24 * 2 + 8 * 4


def test_the_figures_of_a_step():
    found = cost.of_text(TEXT, ["conv1", "fc8"], rows=4)
    total = sum(KERNELS.values()) + 2 * KERNELS["sum"]
    assert found["bytes"] == total
    assert found["bytes_per_image"] == total // 4
    assert found["bytes_by_layer"] == {"other": total - KERNELS["conv"], "conv1": KERNELS["conv"]}
    assert found["kernels"] == 8
    assert found["kernels_by_kind"]["__cudnn$convForward"] == 1
    assert found["exchanged"] == {"all-reduce": 32}
    assert found["trip_count"] == 8
    assert found["host_transfers"] == []


def test_a_loop_whose_length_is_not_known():
    text = TEXT.replace('"known_trip_count":{"n":"8"},', "")
    assert hlo.read(text).trip_count() is None
    table = cost.as_table(
        cost.of_text(text, [], rows=4)
        | {"for": "h100", "devices": 2, "mode": "dp", "batch_size": 8, "precision": "float32"}
        | {"flops": 10**9, "peak_bytes": 10**9}
    )
    assert "not known" in table
    assert "2 devices" in table


@pytest.mark.parametrize(
    "line",
    [
        "%h = f32[4,2]{1,0:S(5)} copy(%x)",
        "%h = ((f32[4,2]{1,0}), token[]) infeed(%x)",
        '%h = f32[] custom-call(%x), custom_call_target="xla_ffi_python_gpu_callback"',
    ],
)
def test_what_waits_for_the_host_in_the_loop(line):
    before = "  %row = "
    assert hlo.read(TEXT.replace(before, f"  {line}\n{before}")).host_transfers() == ["h"]
    outside = "  %start = "
    assert hlo.read(TEXT.replace(outside, f"  {line}\n{outside}")).host_transfers() == []


def test_what_cannot_be_read():
    with pytest.raises(DataError, match="no loop over steps"):
        hlo.read(
            "ENTRY %main (a: s32[]) -> s32[] {\n  ROOT %a = s32[] parameter(0)\n}\n"
        ).trip_count()
    with pytest.raises(DataError, match="type 'f8e9' is not known"):
        list(hlo.read(TEXT.replace("f32[1,2]{1,0} slice", "f8e9[1,2]{1,0} slice")).kernels())
